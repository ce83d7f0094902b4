//! The request log: what it holds, what it costs nobody, and that a replay finds the same bits or the field that differs.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;
mod workspace;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bundles::{MODELS, bundle, row, written};
use pctr::model::bundle::{Bundle, ModelKind};
use pctr::model::row::Cell;
use pctr::predict::budget::Budget;
use pctr::predict::given::Given;
use pctr::predict::http::{ServeOptions, Source, spawn};
use pctr::predict::log::{Answer, Line, LogSettings, RequestLog, Value, replay};
use pctr::predict::scorer::{Scratch, score};
use pctr::predict::{Live, LiveModel};
use serde_json::json;
use workspace::Workspace;

fn settings(folder: &Path) -> LogSettings {
    LogSettings { folder: Some(folder.to_path_buf()), rate: 1.0, ..LogSettings::default() }
}

/// Answers 300 requests of one to four candidates and logs them.
fn answered(live: &Live, log: &RequestLog, at: impl Fn(usize) -> jiff::Timestamp) {
    let mut scratch = Scratch::default();
    for request in 0..300 {
        let rows: Vec<Vec<String>> = (0..=request % 4).map(|candidate| row(request + 7 * candidate)).collect();
        let values: [&[u8]; 2] = [b"cars", b"a"];
        let context =
            || [(4, bundles::cell(&rows[0][4])), (8, Cell::Values(&values)), (6, Cell::Number(30.5))].into_iter();
        let cells = |row: &'_ Vec<String>| -> Vec<(usize, Cell<'static>)> {
            let text = |at: usize| bundles::cell(row[at].clone().leak());
            vec![(5, text(5)), (7, text(7)), (8, if row[8].len() > 4 { text(8) } else { Cell::Missing })]
        };
        let candidates = || rows.iter().map(|row| cells(row).into_iter());
        let model = live.model_arc();
        let scored = score(&model, context(), candidates(), &Budget::unlimited(), &mut scratch).unwrap().to_vec();
        let mut given = Given::default();
        given.fill(context(), candidates(), usize::MAX);
        let took = Duration::from_micros(request as u64);
        let id = request.is_multiple_of(2).then(|| format!("r-{request}"));
        log.offer(Answer { at: at(request), id, model, given, scored, budget: Some(Duration::from_millis(5)), took });
    }
}

fn lines(folder: &Path) -> Vec<Line> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A log of 300 requests answered by `bundle`.
fn logged(folder: &Path, bundle: &Bundle) {
    let live = Live::new(LiveModel::new(bundle.clone()).unwrap());
    let log = RequestLog::start(&settings(folder)).unwrap().unwrap();
    // The clock steps back all the time: nothing depends on it.
    answered(&live, &log, |request| jiff::Timestamp::from_second(2_000_000_000 - request as i64).unwrap());
    drop(log);
}

#[test]
fn every_model_answers_the_same_bits_again() {
    for (kind, seed) in MODELS {
        let folder = tempfile::tempdir().unwrap();
        let bundle = bundle(kind, seed);
        logged(folder.path(), &bundle);
        let found = replay(folder.path(), &bundle, || Ok(())).unwrap();
        assert_eq!((found.requests, found.candidates), (300, 750));
        assert_eq!((found.differing, found.damaged, found.first), (0, 0, None), "{kind} {seed}");
    }
}

#[test]
fn a_line_says_everything_and_clocks_may_step() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(ModelKind::Ftrl, 1);
    logged(folder.path(), &bundle);
    let lines = lines(folder.path());
    assert_eq!(lines.len(), 300);
    let (first, second) = (&lines[0], &lines[1]);
    assert_eq!((first.at.as_str(), second.at.as_str()), ("2033-05-18T03:33:20Z", "2033-05-18T03:33:19Z"));
    assert_eq!((first.id.as_deref(), second.id.as_deref()), (Some("r-0"), None));
    assert_eq!((second.took_us, second.budget_us), (1, Some(5000)), "durations are not those of the stamps");
    assert_eq!(first.model, bundle.manifest.model);
    assert_eq!(first.context["tags"], Value::Values(vec!["cars".into(), "a".into()]));
    assert_eq!(first.context["age"], Value::Number(30.5));
    assert_eq!(first.context["site"], Value::Text("news".into()));
    assert_eq!(lines[6].candidates.len(), 3);
    let candidate = &first.candidates[0];
    assert_eq!(candidate.row.len(), 16);
    assert_eq!(candidate.codes.as_ref().unwrap().len(), 8 * bundle.encoder.width());
}

#[test]
fn the_first_field_that_differs_is_named() {
    let workspace = Workspace::new();
    let trained = bundle(ModelKind::Ftrl, 1);
    let place = written(&workspace.path(""), &trained);
    let place = place.to_str().unwrap();
    let log = workspace.path("log");
    logged(&log, &trained);
    let file = log.join("requests-00000001.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    assert!(workspace.run(&["replay", "log", "--bundle", place]).stderr.contains("300 requests with 750 candidates"));
    let json = workspace.ok(&["replay", "log/requests-00000001.jsonl", "--bundle", place, "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["first"], json!(null));

    // Line 7 has candidates; each change is found where it was made.
    let edited = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        change(&mut lines[6]);
        fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        workspace.fails(3, &["replay", "log", "--bundle", place])
    };
    let told = edited(&|line| line["context"]["site"] = json!("elsewhere"));
    assert!(told.contains(":7: candidates[0]: site: the log has the code"), "{told}");
    assert!(told.contains("1 of 300 requests"), "{told}");
    let told = edited(&|line| line["candidates"][2]["given"]["slot"] = json!("a new slot"));
    assert!(told.contains(":7: candidates[2]: slot: "), "{told}");
    let told = edited(&|line| {
        line["candidates"][1]["given"]["slot"] = json!("a new slot");
        line["candidates"][1].as_object_mut().unwrap().remove("codes");
    });
    assert!(told.contains(":7: candidates[1]: row: the log has the fingerprint"), "{told}");
    let told = edited(&|line| {
        let probability = line["candidates"][1]["probability"].as_f64().unwrap();
        line["candidates"][1]["probability"] = json!(f64::from_bits(probability.to_bits() + 1));
    });
    assert!(told.contains(":7: candidates[1]: probability: "), "one bit is enough: {told}");
    let told = edited(&|line| line["candidates"][0]["given"]["bid_floor"] = json!("dear"));
    assert!(told.contains("bid_floor") && told.contains("a refusal"), "{told}");
    let told = edited(&|line| line["candidates"][0]["given"]["sight"] = json!("x"));
    assert!(told.contains("sight") && told.contains("no such field"), "{told}");
    let told = edited(&|line| line["candidates"][0]["tier"] = json!("base-rate"));
    assert!(told.contains("candidates[0]: probability"), "{told}");

    // Damaged lines and those of other models are passed over, but something must be left.
    fs::write(&file, format!("{text}{{\"half\": \n")).unwrap();
    assert!(workspace.run(&["replay", "log", "--bundle", place]).stderr.contains("1 damaged"));
    let other = written(&workspace.path(""), &bundle(ModelKind::BaseRate, 1));
    let told = workspace.fails(3, &["replay", "log", "--bundle", other.to_str().unwrap()]);
    assert!(told.contains("300 are from others, 1 cannot be read"), "{told}");
}

#[test]
fn a_share_is_chosen_and_the_same_one_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let start = |rate| RequestLog::start(&LogSettings { rate, ..settings(folder.path()) }).unwrap().unwrap();
    let (tenth, other, none) = (start(0.1), start(0.1), start(0.0));
    let chosen = (0..20_000).filter(|_| tenth.wants(None)).count();
    assert!((1_800..2_200).contains(&chosen), "{chosen}");
    let ids: Vec<String> = (0..2_000).map(|at| format!("request {at}")).collect();
    let of_ids = |log: &RequestLog| -> Vec<bool> { ids.iter().map(|id| log.wants(Some(id.as_bytes()))).collect() };
    assert_eq!(of_ids(&tenth), of_ids(&other));
    assert!((140..260).contains(&of_ids(&tenth).iter().filter(|chosen| **chosen).count()));
    assert!(!none.wants(None) && !of_ids(&none).contains(&true));
    for (settings, key) in [
        (LogSettings { rate: 1.5, ..settings(folder.path()) }, "rate"),
        (LogSettings { queue: 0, ..settings(folder.path()) }, "queue"),
        (LogSettings { files: 1, ..settings(folder.path()) }, "files"),
        (LogSettings { file_bytes: 1, ..settings(folder.path()) }, "file_bytes"),
    ] {
        assert!(RequestLog::start(&settings).unwrap_err().to_string().contains(key));
    }
}

#[test]
fn a_full_queue_drops_and_counts_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let live = Live::new(LiveModel::new(bundle(ModelKind::BaseRate, 1)).unwrap());
    let log = RequestLog::start(&LogSettings { queue: 3, ..settings(folder.path()) }).unwrap().unwrap();
    for _ in 0..20 {
        answered(&live, &log, |_| jiff::Timestamp::UNIX_EPOCH);
    }
    let dropped = log.counts().dropped;
    assert!(dropped > 0, "6000 answers are more than three places");
    drop(log);
    assert_eq!(lines(folder.path()).len() as u64, 6000 - dropped);
}

/// Mounts a folder of 64 KiB, where the system lets us; a full disk is also tested without (`predict::log::files`).
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path) -> Option<SmallDisk<'a>> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(folder)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_server_goes_on_when_the_log_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    let disk = SmallDisk::mount(&log);
    let bundle = bundle(ModelKind::Ftrl, 1);
    let source = Source::Bundle(written(folder.path(), &bundle));
    let listen = ([127, 0, 0, 1], 0).into();
    let server =
        spawn(&ServeOptions { listen, threads: 1, request_log: settings(&log), ..ServeOptions::new(source) }).unwrap();
    let ask = |path: &str| format!("http://{}{path}", server.local_addr());
    let body = json!({ "context": { "site": "x".repeat(1000) }, "candidates": [{ "slot": 1 }, { "slot": 2 }] });
    let score = || {
        let mut response = ureq::post(ask("/v1/score")).send_json(&body).unwrap();
        response.body_mut().read_json::<serde_json::Value>().unwrap()["candidates"].clone()
    };
    let expected = score();
    let outcome = |name: &str| -> u64 {
        let metrics = ureq::get(ask("/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
        let line = format!("pctr_request_log_total{{outcome=\"{name}\"}} ");
        metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse().unwrap()
    };
    let wait_until = |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_until("the first line is written", &|| outcome("written") == 1);
    for _ in 0..200 {
        assert_eq!(score(), expected);
    }
    let settled = || outcome("written") + outcome("failed") + outcome("dropped");
    wait_until("every request was written or lost", &|| settled() == 201);
    if let Some(disk) = disk {
        assert!(outcome("failed") > 0, "64 KiB do not hold 200 lines");
        // What is on the disk is whole.
        assert_eq!(lines(&log).len() as u64, outcome("written"));
        assert_eq!(replay(&log, &bundle, || Ok(())).unwrap().first, None);
        let before = outcome("written");
        drop(disk);
        wait_until("there is room again", &|| {
            score();
            outcome("written") > before
        });
    }
    server.join().unwrap();
}
