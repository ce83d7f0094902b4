//! Searches, folds and runs side by side on a small log: what is chosen, what is left on disk, and that nothing depends on how
//! many run at a time.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::learn::experiment::search::{SearchRecord, Strategy};

const SEARCHED: &str = r#"
name = "searched"
seeds = [1, 2]

[data]
schema = "schema.toml"
files = ["log.csv"]
truth = ["truth.csv"]

[split]
train = 0.5
valid = 0.1
test = 0.2
folds = 2

[[models]]
name = "base"
kind = "base-rate"
seeds = [1]

[[models]]
name = "halved"
kind = "ftrl"
params = { bits = 12, passes = 1, batch_rows = 256 }
search = { strategy = "halving", trials = 6, keep_one_of = 2, least_share = 0.2, space = { alpha = { log_uniform = [0.0001, 0.5] } } }

[[models]]
name = "drawn"
kind = "ftrl"
params = { bits = 12, batch_rows = 256 }
search = { strategy = "random", trials = 2, seed = 4, space = { passes = { int = [1, 2] }, l1 = { choice = [0.0, 1.0] } } }

[bootstrap]
rounds = 200
"#;

/// Every file below `folder` with its bytes, but for what depends on machine and moment.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(at: &Path, root: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, root, files);
            } else if !path.ends_with(record::MACHINE_FILE) {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files);
    files
}

fn searched(folder: &Path, out: &str, threads: usize, parallel: usize, memory_mb: u64) -> Comparison {
    let mut recipe = recipe(folder, SEARCHED, &[]).unwrap();
    (recipe.machine.parallel, recipe.machine.memory_mb) = (parallel, memory_mb);
    let options = RunOptions { out: folder.join(out), ..options(folder) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    run(&recipe, &options, Threads::of(&pool), &mut |_| {}, &Interrupt::default()).unwrap()
}

#[test]
fn runs_side_by_side_leave_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 6_000);
    let alone = searched(folder.path(), "alone", 1, 1, 0);
    let together = searched(folder.path(), "together", 3, 4, 0);
    // So little memory that runs wait for each other.
    searched(folder.path(), "tight", 2, 4, 25);
    let expected = results(&folder.path().join("alone"));
    for out in ["together", "tight"] {
        let got = results(&folder.path().join(out));
        assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, bytes) in &expected {
            assert!(got[name] == *bytes, "{out}/{name} differs");
        }
    }
    let losses = |comparison: &Comparison| {
        comparison.models.iter().map(|model| (model.name.clone(), model.log_loss.mean)).collect::<Vec<_>>()
    };
    assert_eq!(losses(&alone), losses(&together));

    let own = RunRecord::read(&folder.path().join("together/runs/base-f2-1")).unwrap();
    assert!(own.timed_alone, "runs that were timed beside others are timed again");
    assert_eq!(own.fold, Some(record::FoldPlace { number: 1, of: 2 }));
}

#[test]
fn searches_leave_what_was_tried() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 6_000);
    let comparison = searched(folder.path(), "out", 1, 1, 0);
    let out = folder.path().join("out");
    let read = |name: &str| -> SearchRecord {
        serde_json::from_str(&std::fs::read_to_string(out.join(SEARCH).join(name)).unwrap()).unwrap()
    };
    let halved = read("halved.json");
    assert_eq!(halved.strategy, Strategy::Halving);
    let shares: Vec<(f64, usize)> = halved.rungs.iter().map(|rung| (rung.share, rung.trials.len())).collect();
    assert_eq!(shares, [(0.25, 6), (0.5, 3), (1.0, 2)]);
    let kept = halved.rungs[0].trials.iter().filter(|trial| trial.kept).map(|trial| trial.valid_log_loss);
    let lost = halved.rungs[0].trials.iter().filter(|trial| !trial.kept).map(|trial| trial.valid_log_loss);
    assert!(kept.flatten().fold(f64::MIN, f64::max) <= lost.flatten().fold(f64::MAX, f64::min), "the best go on");
    assert_eq!(names(&out.join(TRIALS)).len(), 9, "six trials, then three");
    assert!(names(&out.join(TRIALS)).iter().all(|name| name.starts_with("halved-g")));

    // Two points with everything and one seed, then the chosen one with both seeds on both folds.
    let runs = names(&out.join(RUNS));
    let of = |model: &str| runs.iter().filter(|name| name.starts_with(model)).count();
    assert_eq!((of("halved-"), of("base-")), (2 + 3, 2));
    let chosen = format!("halved-g{:03}-f2-2", halved.chosen + 1);
    assert!(runs.contains(&chosen), "{runs:?}");
    let drawn = read("drawn.json");
    assert_eq!((drawn.strategy, drawn.by, drawn.rungs.len()), (Strategy::Random, None, 1));
    assert_eq!(drawn.keys, ["passes", "l1"]);

    // Test rows of the folds do not overlap, and times of what was learned from lie before.
    let record = |name: &str| RunRecord::read(&out.join(RUNS).join(name)).unwrap();
    let (first, second) = (record("base-f1-1"), record("base-f2-1"));
    assert!(first.data.test.to < second.data.test.from && second.data.train.rows > first.data.train.rows + 1000);
    assert!(second.data.train.to < second.data.valid.from && second.data.valid.to < second.data.test.from);
    assert_eq!(second.data.duplicates.map(|found| found.copies), Some(Some(0)));
    let table = predictions::PredictionTable::read(&out.join(RUNS).join(&chosen).join(predictions::TEST_FILE)).unwrap();
    let rows = table.rows.len();
    assert_eq!(
        (table.times.unwrap().len(), table.groups.unwrap().len(), table.truth.unwrap().len()),
        (rows, rows, rows)
    );
    assert!(comparison.models.iter().any(|model| model.name == "halved" && model.log_loss.mean < 0.6));
}

#[test]
fn nothing_that_is_there_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 3_000);
    searched(folder.path(), "out", 1, 1, 0);
    let recipe = recipe(folder.path(), SEARCHED, &[]).unwrap();
    let planned = plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
    assert_eq!((planned.kept, planned.models[1].trials, planned.models[1].runs), (planned.runs, 9, 5));
    assert_eq!(planned.seconds, Some(0.0));
    let trial = folder.path().join("out/trials");
    let lost = names(&trial).remove(3);
    std::fs::remove_file(trial.join(&lost)).unwrap();
    let mut done = Vec::new();
    let mut on_event = |event: Event<'_>| match event {
        Event::Tried { run, kept: false, .. } => done.push(run.to_owned()),
        Event::Finished { record, kept: false } => done.push(record.folder_name()),
        _ => {}
    };
    run(&recipe, &options(folder.path()), Threads::one(), &mut on_event, &Interrupt::default()).unwrap();
    assert_eq!(done, [lost.trim_end_matches(".json")]);
}

#[test]
fn the_first_failure_stops_all_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 3_000);
    let mut recipe = recipe(folder.path(), SEARCHED, &[]).unwrap();
    recipe.machine.parallel = 3;
    plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
    // Something else stands where a run is to stand, which is found when it is written.
    let taken = folder.path().join("out/runs/base-f2-1");
    std::fs::create_dir_all(&taken).unwrap();
    std::fs::write(taken.join("thesis.txt"), "years of work").unwrap();
    let error = run(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap_err();
    assert!(error.to_string().contains("base-f2-1") && error.to_string().contains("run.json"), "{error}");
    assert_eq!(names(&taken), ["thesis.txt"]);
    std::fs::remove_dir_all(&taken).unwrap();
    run(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
}

#[test]
fn mistakes_in_searches_and_folds_are_named_before_training() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 600);
    let error = |from: &str, to: &str| {
        let text = SEARCHED.replacen(from, to, 1);
        assert_ne!(text, SEARCHED, "{from} stands in the recipe");
        let planned = recipe(folder.path(), &text, &[]).and_then(|recipe| {
            plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default())
        });
        planned.unwrap_err().to_string()
    };
    let cases = [
        ("folds = 2", "folds = 4", "of 4 folds, each 120 test rows later, ask for more than all 600 rows"),
        ("folds = 2", "by = \"chance\"\nfolds = 2", "split.folds: rolling folds follow time"),
        ("folds = 2", "folds = 2\nwindow = \"rolling\"", "expected `growing` or `sliding`"),
        ("log_uniform", "log_unifrom", "did you mean \"log_uniform\"?"),
        ("alpha = { log", "alhpa = { log", "did you mean \"alpha\"?"),
        (
            "strategy = \"halving\"",
            "strategy = \"halving\", by = \"passes\"",
            "halving by passes needs at least 2 passes (alpha =",
        ),
        ("seeds = [1, 2]", "memory_mb = 1\nseeds = [1, 2]", "model base: memory: a run takes about"),
        (
            "[bootstrap]",
            "[leakage]\nmax_duplicates = 2\n[bootstrap]",
            "leakage.max_duplicates: expected a share from 0 to 1",
        ),
        ("[bootstrap]", "[leakage]\nmax_duplicate = 1\n[bootstrap]", "did you mean \"max_duplicates\"?"),
        (
            "[bootstrap]",
            "[auction]\nprices = \"prices.toml\"\nvalue_per_click = 1.0\n[bootstrap]",
            "log.csv:1: the header lacks the column \"paid\"",
        ),
    ];
    let prices = "version = 1\nname = \"p\"\ncurrency = \"EUR\"\nunit = \"cpm\"\nmarket_price = \"paid\"\n";
    std::fs::write(folder.path().join("prices.toml"), prices).unwrap();
    for (from, to, expected) in cases {
        let message = error(from, to);
        assert!(message.contains(expected), "{to}: {message}");
    }
    // One point of a grid that cannot fit is named, and nothing else runs.
    let grid = SEARCHED.replacen(
        "bits = 12, passes = 1, batch_rows = 256 }\nsearch",
        "passes = 1 }\ngrid = { bits = [12, 26] }\n#",
        1,
    );
    let mut recipe = recipe(folder.path(), &grid, &[]).unwrap();
    recipe.machine.memory_mb = 200;
    let planned = plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default());
    let message = planned.unwrap_err().to_string();
    assert!(message.contains("model halved: memory: a run (bits = 26) takes about 13"), "{message}");
    assert!(message.contains("and 200 MB are allowed (memory_mb)"), "{message}");
    assert!(!folder.path().join("out/runs").exists());
}

#[test]
fn auctions_of_a_recipe_are_replayed_for_every_model() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 4_000);
    let log = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    let mut priced = String::new();
    for (number, line) in log.lines().enumerate() {
        let price = if number == 0 { "paid".to_owned() } else { (100 + number % 300).to_string() };
        priced.push_str(&format!("{line},{price}\n"));
    }
    std::fs::write(folder.path().join("log.csv"), priced).unwrap();
    let prices = "version = 1\nname = \"p\"\ncurrency = \"EUR\"\nunit = \"cpm\"\nmarket_price = \"paid\"\n";
    std::fs::write(folder.path().join("prices.toml"), prices).unwrap();
    let auction = "[auction]\nprices = \"prices.toml\"\nvalue_per_click = 1.0\nbudget = 50.0\n[bootstrap]";
    let recipe = recipe(folder.path(), &SEARCHED.replace("[bootstrap]", auction), &[]).unwrap();
    run(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("out").join(AUCTION_FILE)).unwrap();
    let report: crate::learn::auction::AuctionReport = serde_json::from_str(&text).unwrap();
    assert_eq!(report.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["base", "halved", "drawn"]);
    assert_eq!(
        (report.rows.rows, report.rows.replayed, report.scenarios.len()),
        (4_000, 800, 3),
        "test rows of the last fold"
    );
}
