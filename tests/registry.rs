//! The registry as several processes use it: gate, history, damage, concurrency, and a writer killed at any moment.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bundles::{bundle, bundle_of, written};
use pctr::error::{Error, Kind};
use pctr::model::bundle::{Bundle, Model, ModelKind};
use pctr::registry::{Action, PRODUCTION, Registry, SchemaChange};

/// A registry with three published models, in the order base rate, FTRL, FTRL of another seed.
fn registry_of_three(folder: &Path) -> (Registry, [String; 3]) {
    let registry = Registry::create(&folder.join("registry")).unwrap();
    let models = [(ModelKind::BaseRate, 1), (ModelKind::Ftrl, 1), (ModelKind::Ftrl, 2)].map(|(kind, seed)| {
        let published = registry.publish(&written(folder, &bundle(kind, seed))).unwrap();
        assert!(published.new);
        published.model
    });
    (registry, models)
}

fn promote(registry: &Registry, model: &str) -> Result<pctr::registry::Stage, Error> {
    registry.promote(model, PRODUCTION, SchemaChange::Refuse)
}

/// Changes one byte of a file of a published bundle, past its protection.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn published_models_are_promoted_and_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, [a, b, c]) = registry_of_three(folder.path());
    assert_eq!(registry.resolve(PRODUCTION).unwrap_err().kind(), Kind::Config, "nothing is promoted yet");

    for (change, model) in [&a, &b, &c].into_iter().enumerate() {
        let stage = promote(&registry, model).unwrap();
        assert_eq!((&stage.model, stage.change), (model, change as u64 + 1));
        let resolved = registry.resolve(PRODUCTION).unwrap();
        assert_eq!(&Bundle::open(&resolved.path).unwrap().manifest.model, model);
    }
    assert_eq!(promote(&registry, &c).unwrap().change, 3, "promoting what serves changes nothing");
    assert_eq!(registry.rollback(PRODUCTION).unwrap().model, b);
    assert_eq!(registry.rollback(PRODUCTION).unwrap().model, a);
    let error = registry.rollback(PRODUCTION).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("served nothing before"), "{error}");

    let told: Vec<(Action, String)> = registry.history().into_iter().map(|entry| (entry.action, entry.model)).collect();
    let expected = [
        (Action::Published, &a),
        (Action::Published, &b),
        (Action::Published, &c),
        (Action::Promoted, &a),
        (Action::Promoted, &b),
        (Action::Promoted, &c),
        (Action::RolledBack, &b),
        (Action::RolledBack, &a),
    ];
    assert_eq!(told, expected.map(|(action, model)| (action, model.clone())));

    let listed = registry.list().unwrap();
    assert_eq!(listed.len(), 3);
    for model in &listed {
        assert_eq!(model.stages, if model.model == a { vec![PRODUCTION] } else { vec![] });
        assert!(model.published.is_some() && model.manifest.is_some() && model.problem.is_none());
    }
}

#[test]
fn publishing_again_changes_nothing_and_repairs() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, [_, b, _]) = registry_of_three(folder.path());
    let source = folder.path().join(&b);
    let again = registry.publish(&source).unwrap();
    assert_eq!((again.new, registry.history().len()), (false, 3));

    damage(&again.path.join("weights.safetensors"));
    let shown = registry.show(&b).unwrap();
    assert!(shown.problem.is_some_and(|problem| problem.contains("weights.safetensors is corrupted")));
    registry.publish(&source).unwrap();
    assert!(registry.show(&b).unwrap().problem.is_none(), "the good copy took its place");
}

#[test]
fn the_gate_refuses_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, [a, b, _]) = registry_of_three(folder.path());
    promote(&registry, &a).unwrap();
    let refused = |result: Result<String, Error>, kind: Kind, names: &[&str]| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        names.iter().for_each(|name| assert!(error.to_string().contains(name), "{error} does not name {name}"));
        assert_eq!(registry.resolve(PRODUCTION).unwrap().model, a, "what serves goes on serving");
    };
    let promoted = |model: &str| promote(&registry, model).map(|stage| stage.model);
    let published = |path: &Path| registry.publish(path).map(|published| published.model);

    refused(promoted("ftrl-0000"), Kind::Config, &["ftrl-0000", "no such model"]);
    refused(promoted("../registry"), Kind::Config, &["no such model"]);
    refused(promoted(&a[..a.len() - 1]), Kind::Config, &[&format!("did you mean {a:?}?")]);
    let stage = registry.promote(&b, "../production", SchemaChange::Refuse).map(|stage| stage.model);
    refused(stage, Kind::Config, &["../production"]);

    damage(&registry.folder().join("models").join(&b).join("encoder.bin"));
    refused(promoted(&b), Kind::Bundle, &[&b, "encoder.bin is corrupted"]);

    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("manifest.json"), "{\"magic\": \"other\"}").unwrap();
    refused(published(&foreign), Kind::Bundle, &["foreign", "no bundle"]);
    refused(published(&folder.path().join("nowhere")), Kind::Io, &["nowhere"]);

    let renamed = folder.path().join("renamed");
    let mut bundle = bundle(ModelKind::Ftrl, 3);
    bundle.manifest.model = "ftrl-../../outside".into();
    bundle.write(&renamed).unwrap();
    refused(published(&renamed), Kind::Bundle, &["renamed", "outside"]);

    bundle = bundles::bundle(ModelKind::BaseRate, 3);
    let Model::BaseRate(model) = &mut bundle.model else { panic!("asked for a base rate") };
    model.logit = f32::NAN;
    let parts = pctr::model::bundle::Parts {
        schema: bundle.schema,
        encoder: bundle.encoder,
        indexer: bundle.indexer,
        model: bundle.model,
        calibrator: bundle.calibrator,
        tiers: bundle.tiers,
    };
    let broken = Bundle::new(parts, bundle.manifest.provenance, bundle.manifest.profile, Default::default());
    refused(published(&written(folder.path(), &broken)), Kind::Bundle, &["NaN"]);
}

#[test]
fn another_schema_needs_force() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, [a, ..]) = registry_of_three(folder.path());
    promote(&registry, &a).unwrap();
    let schema = bundles::SCHEMA.replace("max_values = 3", "max_values = 4").replace("\"ads\"", "\"other ads\"");
    let other = registry.publish(&written(folder.path(), &bundle_of(&schema, ModelKind::Ftrl, 1))).unwrap().model;
    let error = promote(&registry, &other).unwrap_err();
    assert_eq!(error.kind(), Kind::Bundle);
    assert!(error.to_string().contains("other ads") && error.to_string().contains("--force"), "{error}");
    assert_eq!(registry.promote(&other, PRODUCTION, SchemaChange::Allow).unwrap().model, other);
    assert_eq!(registry.rollback(PRODUCTION).unwrap().model, a, "the way back needs no force");
    assert_eq!(registry.promote(&other, "trial", SchemaChange::Refuse).unwrap().stage, "trial", "a stage of its own");
}

#[test]
fn other_folders_are_no_registries() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Registry::open(&folder.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), Kind::Io);
    assert_eq!(Registry::open(folder.path()).unwrap_err().kind(), Kind::Config, "empty");
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let foreign = Registry::create(folder.path()).unwrap_err();
    assert!(foreign.kind() == Kind::Config && foreign.to_string().contains("thesis.txt"), "{foreign}");
    fs::write(folder.path().join("registry.json"), "{\"magic\": \"pctr-registry\", \"format\": 7}").unwrap();
    assert!(Registry::open(folder.path()).unwrap_err().to_string().contains("format 7"));
}

#[test]
fn readers_always_see_a_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, models) = registry_of_three(folder.path());
    promote(&registry, &models[0]).unwrap();
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut latest = 0;
                while !done.load(Ordering::Relaxed) {
                    let resolved = registry.resolve(PRODUCTION).unwrap();
                    assert_eq!(Bundle::open(&resolved.path).unwrap().manifest.model, resolved.model);
                    assert!(resolved.change >= latest, "changes only grow");
                    latest = resolved.change;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (registry, models, folder) = (&registry, &models, folder.path());
                scope.spawn(move || {
                    for round in 0..8 {
                        registry.publish(&folder.join(&models[(writer + round) % 3])).unwrap();
                        promote(registry, &models[(writer + round) % 3]).unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    assert!(reads.load(Ordering::Relaxed) > 2);
    let stage = registry.stage(PRODUCTION).unwrap().unwrap();
    let changes = registry.history().iter().filter(|entry| entry.action == Action::Promoted).count();
    assert_eq!(changes as u64, stage.change, "no change is lost and none is told twice");
}

/// Runs `pctr models` on a registry; exit code, standard output, standard error.
fn models(registry: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pctr"));
    let output = command.arg("models").args(arguments).arg("--registry").arg(registry).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_line_tells_and_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().join("registry");
    let path = |kind, seed| written(folder.path(), &bundle(kind, seed)).display().to_string();
    let done = |arguments: &[&str]| {
        let (code, out, err) = models(&registry, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        out
    };
    let refused = |arguments: &[&str], code: i32, message: &str| {
        let (got, out, err) = models(&registry, arguments);
        assert_eq!((got, out.as_str()), (Some(code), ""), "{arguments:?}: {err}");
        assert!(err.contains(message), "{arguments:?}: {err}");
    };
    refused(&["list"], 4, "registry");
    let a = done(&["publish", &path(ModelKind::BaseRate, 1)]).trim().to_owned();
    let b = done(&["publish", &path(ModelKind::Ftrl, 1)]).trim().to_owned();
    assert_eq!(done(&["promote", &a]), format!("production serves {a}\n"));
    assert_eq!(done(&["promote", &b]), format!("production serves {b} (before: {a})\n"));
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&done(arguments)).unwrap();
    assert_eq!(json(&["rollback", "--json"])["model"], a.as_str());
    let listed = json(&["list", "--json"]);
    assert_eq!((&listed[0]["model"], &listed[0]["stages"][0]), (&a.as_str().into(), &PRODUCTION.into()));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(done(&["list"]).contains(&b) && done(&["show", &b]).contains("promoted to production"));

    refused(&["rollback"], 2, "served nothing before");
    refused(&["promote", &b[..b.len() - 1]], 2, &format!("did you mean {b:?}?"));
    refused(&["publish", folder.path().to_str().unwrap()], 5, "holds no manifest.json");
    damage(&registry.join("models").join(&b).join("weights.safetensors"));
    refused(&["promote", &b], 5, "weights.safetensors is corrupted");
    let (code, out, err) = models(&registry, &["show", &b]);
    assert!(code == Some(5) && out.contains("refused") && err.contains(&b), "{out} {err}");
}

/// Plays two roles: the test itself, and, started by it with a registry in its environment, the writer that is killed.
#[test]
fn a_killed_writer_leaves_a_whole_registry() {
    const REGISTRY: &str = "PCTR_TEST_CHURN";
    if let Ok(folder) = std::env::var(REGISTRY) {
        let folder = Path::new(&folder);
        let registry = Registry::open(&folder.join("registry")).unwrap();
        let models: Vec<String> = registry.list().unwrap().into_iter().map(|listed| listed.model).collect();
        for round in 0.. {
            let new = written(&folder.join("new"), &bundle(ModelKind::Ftrl, 100 + round));
            let model = registry.publish(&new).unwrap().model;
            promote(&registry, &model).unwrap();
            promote(&registry, &models[round as usize % models.len()]).unwrap();
            registry.rollback(PRODUCTION).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (registry, models) = registry_of_three(folder.path());
    promote(&registry, &models[0]).unwrap();
    let mut changes = 1;
    for kill in 0..6 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_writer_leaves_a_whole_registry", "--test-threads", "1"])
            .env(REGISTRY, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while registry.resolve(PRODUCTION).unwrap().change == changes {
            assert!(Instant::now() < deadline, "the writer writes");
            assert!(writer.try_wait().unwrap().is_none(), "the writer goes on until it is killed");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(7 * kill));
        writer.kill().unwrap();
        writer.wait().unwrap();
        changes = registry.resolve(PRODUCTION).unwrap().change;

        let resolved = registry.resolve(PRODUCTION).unwrap();
        assert_eq!(Bundle::open(&resolved.path).unwrap().manifest.model, resolved.model);
        for listed in registry.list().unwrap() {
            assert_eq!(registry.show(&listed.model).unwrap().problem, None, "{} is whole", listed.model);
        }
    }
    // The next change completes the ledger.
    let next = if registry.resolve(PRODUCTION).unwrap().model == models[1] { &models[2] } else { &models[1] };
    let stage = promote(&registry, next).unwrap();
    let told = registry.history().iter().filter(|entry| entry.stage.is_some()).count();
    assert_eq!(told as u64, stage.change, "every change is told once");
}
