//! Models exchanged under requests: what takes over, what is refused, what is recorded, and that no answer mixes two models.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bundles::{SCHEMA, bundle, bundle_of, written};
use pctr::model::bundle::{Bundle, ModelKind, Parts, Tier};
use pctr::model::calibration::Calibrator;
use pctr::predict::http::{ServeOptions, ServerHandle, Source, spawn};
use pctr::predict::live::{Beyond, Entry, Follower, Happening, SwapSettings, compare, history};
use pctr::predict::live::{Live, LiveModel, Look, Shift};
use pctr::registry::{PRODUCTION, Registry, SchemaChange};
use serde_json::{Value, json};

/// A registry with these bundles published, the first of them promoted.
fn registry(folder: &Path, bundles: &[&Bundle]) -> Registry {
    let registry = Registry::create(&folder.join("registry")).unwrap();
    for bundle in bundles {
        registry.publish(&written(folder, bundle)).unwrap();
    }
    promote(&registry, bundles[0]);
    registry
}

fn promote(registry: &Registry, bundle: &Bundle) {
    registry.promote(&bundle.manifest.model, PRODUCTION, SchemaChange::Refuse).unwrap();
}

fn name(bundle: &Bundle) -> &str {
    &bundle.manifest.model
}

fn server(registry: &Registry, swap: SwapSettings) -> ServerHandle {
    let source = Source::Registry { folder: registry.folder().to_path_buf(), stage: PRODUCTION.into() };
    let listen = ([127, 0, 0, 1], 0).into();
    spawn(&ServeOptions { listen, threads: 2, poll_ms: 10, swap, ..ServeOptions::new(source) }).unwrap()
}

fn get(server: &ServerHandle, path: &str) -> String {
    let mut response = ureq::get(format!("http://{}{path}", server.local_addr())).call().unwrap();
    response.body_mut().read_to_string().unwrap()
}

fn ready(server: &ServerHandle) -> Value {
    serde_json::from_str(&get(server, "/readyz")).unwrap()
}

fn score(server: &ServerHandle, body: &Value) -> Value {
    let mut response = ureq::post(format!("http://{}/v1/score", server.local_addr())).send_json(body).unwrap();
    response.body_mut().read_json().unwrap()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Requests with different answers under every model.
fn requests() -> Vec<Value> {
    let sites = ["news", "news.example", "42", "true"];
    (0..16)
        .map(|at| {
            let candidates: Vec<Value> =
                (0..3).map(|slot| json!({ "slot": (at + slot) % 4, "bid_floor": 0.1 * f64::from(slot) })).collect();
            json!({ "context": { "site": sites[at as usize % 4], "age": 20 + at }, "candidates": candidates })
        })
        .collect()
}

fn ledger(registry: &Registry) -> Vec<Entry> {
    history(&registry.folder().join("served.jsonl")).unwrap()
}

/// Makes the stage name a model behind the gate's back.
fn forge(registry: &Registry, from: &str, to: &str) {
    let stage = registry.folder().join("stages/production.json");
    let change = registry.resolve(PRODUCTION).unwrap().change;
    let forged = fs::read_to_string(&stage)
        .unwrap()
        .replace(&format!("\"model\": \"{from}\""), &format!("\"model\": \"{to}\""))
        .replace(&format!("\"change\": {change}"), &format!("\"change\": {}", change + 1));
    // As the registry itself does: a service that looks meanwhile reads one or the other.
    let whole = stage.with_extension("forged");
    fs::write(&whole, forged).unwrap();
    fs::rename(&whole, &stage).unwrap();
}

fn damage(file: PathBuf, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, change(bytes)).unwrap();
}

#[test]
fn every_answer_is_that_of_the_model_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (bundle(ModelKind::Ftrl, 1), bundle(ModelKind::Dcn, 2));
    let registry = registry(folder.path(), &[&a, &b]);
    let server = server(&registry, SwapSettings::default());
    let probabilities = |answer: &Value| -> Vec<f64> {
        let candidates = answer["candidates"].as_array().unwrap();
        candidates.iter().map(|candidate| candidate["probability"].as_f64().unwrap()).collect()
    };
    // What each model answers alone.
    let requests = requests();
    let mut known = Vec::new();
    for bundle in [&b, &a] {
        promote(&registry, bundle);
        wait_until("it takes over", || ready(&server)["model"] == name(bundle));
        known
            .push((name(bundle), requests.iter().map(|body| probabilities(&score(&server, body))).collect::<Vec<_>>()));
    }
    assert_ne!(known[0].1, known[1].1);

    let done = AtomicBool::new(false);
    let checked = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut checked = [0; 2];
                    while !done.load(Ordering::Relaxed) {
                        for (at, body) in requests.iter().enumerate() {
                            let answer = score(&server, body);
                            let model = known.iter().position(|(name, _)| answer["model"] == *name).unwrap();
                            assert_eq!(probabilities(&answer), known[model].1[at], "{answer}");
                            checked[model] += 1;
                        }
                    }
                    checked
                })
            })
            .collect();
        for swap in 0..20 {
            let next = [&b, &a][swap % 2];
            promote(&registry, next);
            wait_until("it takes over", || ready(&server)["model"] == name(next));
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let both: Vec<usize> = (0..2).map(|model| checked.iter().map(|counts| counts[model]).sum()).collect();
    assert!(both.iter().all(|count| *count > 0), "both models answered: {both:?}");
    server.join().unwrap();

    let lines = ledger(&registry);
    assert_eq!(lines.len(), 24, "began, 22 swaps, ended");
    assert_eq!((lines[0].happening, lines[23].happening), (Happening::Began, Happening::Ended));
    let second = &lines[3];
    assert_eq!((second.happening, second.model.as_deref()), (Happening::TookOver, Some(name(&b))));
    assert_eq!((second.from.as_deref(), second.kept), (Some(name(&a)), Some(true)), "it was in memory from before");
    let shift = second.shift.as_ref().unwrap();
    assert!(shift.candidates > 0 && shift.greatest != 0.0 && shift.refused == 0, "{shift:?}");
}

#[test]
fn what_is_wrong_never_takes_over_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = bundle(ModelKind::Ftrl, 1);
    let (cut, flipped, swapped, next) = (
        bundle(ModelKind::Ftrl, 2),
        bundle(ModelKind::Ftrl, 3),
        bundle(ModelKind::Ftrl, 4),
        bundle(ModelKind::BaseRate, 1),
    );
    let other = bundle_of(
        &SCHEMA.replace("note = { kind = \"ignore\" }", "note = { kind = \"categorical\" }"),
        ModelKind::Ftrl,
        1,
    );
    let registry = registry(folder.path(), &[&good, &cut, &flipped, &swapped, &other, &next]);
    let server = server(&registry, SwapSettings::default());
    assert_eq!(ready(&server)["refused"], Value::Null);
    let place = |bundle: &Bundle| registry.folder().join("models").join(name(bundle));
    damage(place(&cut).join("weights.safetensors"), |bytes| bytes[..bytes.len() / 2].to_vec());
    damage(place(&flipped).join("weights.safetensors"), |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    });
    // A folder that holds another model than its name says.
    fs::remove_dir_all(place(&swapped)).unwrap();
    next.write(&place(&swapped)).unwrap();

    let mut before = name(&good).to_owned();
    let cases = [(&cut, "is cut"), (&flipped, "corrupted"), (&swapped, "got that of"), (&other, "schema")];
    for (count, (bad, reason)) in (1..).zip(cases) {
        forge(&registry, &before, name(bad));
        before = name(bad).to_owned();
        wait_until("the refusal is told", || ready(&server)["refused"]["model"] == name(bad));
        let ready = ready(&server);
        assert_eq!((&ready["status"], &ready["model"]), (&json!("ready"), &json!(name(&good))), "{ready}");
        let told = ready["refused"]["reason"].as_str().unwrap();
        assert!(told.contains(name(bad)) && told.contains(reason), "{told}");
        let counted = format!("pctr_model_refusals_total {count}\n");
        wait_until("the refusal is counted", || get(&server, "/metrics").contains(&counted));
        assert_eq!(score(&server, &requests()[0])["model"], name(&good));
        let last = || ledger(&registry).pop().unwrap();
        wait_until("the refusal is written down", || last().model.as_deref() == Some(name(bad)));
        let last = last();
        assert_eq!(last.happening, Happening::Refused);
        assert!(last.reason.unwrap().contains(reason));
    }
    // The registry's folder gone: the same.
    let hidden = folder.path().join("hidden");
    fs::rename(registry.folder(), &hidden).unwrap();
    wait_until("its absence is told", || {
        ready(&server)["refused"]["model"] == Value::Null && !ready(&server)["refused"].is_null()
    });
    assert_eq!(score(&server, &requests()[0])["model"], name(&good));
    fs::rename(&hidden, registry.folder()).unwrap();
    // A good one takes over after all of that, and nothing is refused any more.
    forge(&registry, &before, name(&next));
    wait_until("the good one takes over", || ready(&server)["model"] == name(&next));
    wait_until("nothing is refused", || ready(&server)["refused"].is_null());
    server.join().unwrap();
}

/// A model whose logits are those of another plus a constant.
fn shifted(by: f64) -> Bundle {
    let Bundle { manifest, schema, encoder, indexer, model, tiers, .. } = bundle(ModelKind::Ftrl, 1);
    let calibrator = Calibrator { log_kept_negatives: by, ..Calibrator::identity() };
    let parts = Parts { schema, encoder, indexer, model, calibrator, tiers };
    Bundle::new(parts, manifest.provenance, manifest.profile, manifest.metrics)
}

/// A live model that has answered 200 requests with the same candidate twice, as the ring keeps them.
fn asked(model: LiveModel) -> Live {
    asked_again(model, 200)
}

/// The same, where only so many of the requests are different ones.
fn asked_again(model: LiveModel, different: usize) -> Live {
    use pctr::model::row::Cell;
    use pctr::predict::given::Given;
    let live = Live::new(model);
    let mut given = Given::default();
    for row in 0..200 {
        let cells = bundles::row(row % different);
        let cells = || cells.iter().enumerate().map(|(column, text)| (column, bundles::cell(text)));
        let nothing = std::iter::empty::<(usize, Cell<'_>)>;
        if live.recent().wants() {
            given.fill(cells(), [nothing(), nothing()].into_iter(), 32);
            live.recent().keep(&live.model(), &given);
        }
    }
    live
}

#[test]
fn a_shift_beyond_its_limit_is_refused_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    // The second is sure that nearly everybody clicks, the third all but the same as the first.
    let (good, sure, close) = (shifted(0.0), shifted(3.0), shifted(1e-6));
    let registry = registry(folder.path(), &[&good, &sure, &close]);
    let refuse = SwapSettings { beyond: Beyond::Refuse, ..SwapSettings::default() };
    let (mut follower, model) = Follower::new(registry.clone(), PRODUCTION, refuse).unwrap();
    let live = asked(model);

    promote(&registry, &close);
    let Look::Swapped(swap) = follower.look(&live) else { panic!("it is close enough") };
    assert_eq!((swap.kept, &swap.warning), (false, &None));
    let shift = swap.shift.unwrap();
    assert_eq!((shift.requests, shift.candidates), (200, 400));
    assert!((shift.mean - 1e-6).abs() < 1e-9 && (shift.calibration_ratio - 1.0).abs() < 1e-5, "{shift:?}");

    promote(&registry, &sure);
    let Look::Refused(refused) = follower.look(&live) else { panic!("it is too far away") };
    assert_eq!(refused.model.as_deref(), Some(name(&sure)));
    assert!(refused.reason.contains("logits are") && refused.reason.contains("--force"), "{}", refused.reason);
    assert_eq!(live.model().name(), name(&close));
    assert!(matches!(follower.look(&live), Look::Same), "told once");

    registry.rollback(PRODUCTION).unwrap();
    assert!(matches!(follower.look(&live), Look::Same), "it serves that already");
    assert!(live.refused().is_none());
    registry.promote(name(&sure), PRODUCTION, SchemaChange::Allow).unwrap();
    let Look::Swapped(swap) = follower.look(&live) else { panic!("it was forced") };
    let warning = swap.warning.unwrap();
    assert!(warning.contains("200 recent requests"), "{warning}");
    assert_eq!(live.model().name(), name(&sure));
    // Going back reads nothing from disk.
    fs::remove_dir_all(registry.folder().join("models").join(name(&good))).unwrap();
    registry.rollback(PRODUCTION).unwrap();
    fs::remove_dir_all(registry.folder().join("models")).unwrap();
    let Look::Swapped(swap) = follower.look(&live) else { panic!("the way back is always open") };
    assert!(swap.kept && swap.to == name(&close) && swap.shift.is_none(), "in a hurry nothing is compared");
}

#[test]
fn shifts_are_those_of_the_answers() {
    let (good, moved) = (shifted(0.0), shifted(0.25));
    let live = asked(LiveModel::new(good.clone()).unwrap());
    let moved = LiveModel::new(moved).unwrap();
    let same = compare(&live.model(), &LiveModel::new(good).unwrap(), &live.recent().requests()).unwrap();
    assert_eq!((same.mean, same.quantiles, same.greatest, same.psi), (0.0, [0.0; 3], 0.0, 0.0));
    assert_eq!((same.calibration_ratio, same.refused), (1.0, 0));
    let shift = compare(&live.model(), &moved, &live.recent().requests()).unwrap();
    // A constant beside the logit is a constant of the shift.
    for found in [shift.mean, shift.quantiles[0], shift.quantiles[2], shift.greatest] {
        assert!((found.abs() - 0.25).abs() < 1e-6, "{shift:?}");
    }
    assert!((1.0..1.3).contains(&shift.calibration_ratio) && shift.psi > same.psi, "{shift:?}");
    assert_eq!(compare(&live.model(), &moved, &[]), None);
}

#[test]
fn what_chance_gives_is_no_shift() {
    let (good, moved) = (shifted(0.0), LiveModel::new(shifted(0.25)).unwrap());
    let compared = |different: usize| {
        let live = asked_again(LiveModel::new(good.clone()).unwrap(), different);
        compare(&live.model(), &moved, &live.recent().requests()).unwrap()
    };
    // χ² of nine degrees of freedom exceeds 27.9 once in a thousand times; 400 candidates are 200 rows at most.
    let (many, few) = (compared(200), compared(4));
    assert_eq!((many.candidates, few.candidates), (400, 400));
    assert!((0.27..0.6).contains(&many.psi_by_chance), "{many:?}");
    assert!(few.psi_by_chance > 3.0, "four rows may fall anywhere: {few:?}");
    let judged = |psi: f64, shift: &Shift| SwapSettings::default().judge(&Shift { psi, ..shift.clone() });
    assert_eq!((judged(0.4, &many), judged(3.0, &few)), (None, None));
    let told = judged(1.0, &many).expect("a shift that chance does not give");
    assert!(told.contains("the stability index is 1.000, expected at most 0.25 and 0."), "{told}");
}

#[test]
fn models_are_freed_by_who_follows_and_not_before_the_last_request() {
    let folder = tempfile::tempdir().unwrap();
    let bundles: Vec<Bundle> = (1..=4).map(|seed| bundle(ModelKind::Ftrl, seed)).collect();
    let registry = registry(folder.path(), &bundles.iter().collect::<Vec<_>>());
    let (mut follower, model) = Follower::new(registry.clone(), PRODUCTION, SwapSettings::default()).unwrap();
    let live = Live::new(model);
    let first = Arc::downgrade(&live.model_arc());
    let request = live.model();
    for next in &bundles[1..] {
        promote(&registry, next);
        assert!(matches!(follower.look(&live), Look::Swapped(_)));
    }
    follower.look(&live);
    assert!(request.bundle.has(Tier::Full), "a request goes on with the model it began with");
    assert!(first.upgrade().is_some());
    drop(request);
    follower.look(&live);
    assert!(first.upgrade().is_none(), "nobody needs it any more");
}
