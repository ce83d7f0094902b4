//! Recipes with mistakes, and whole experiments on a small log whose truth is known.

mod search;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::{Kind as ErrorKind, Result};
use crate::learn::Interrupt;
use crate::model::Threads;
use crate::model::bundle::Bundle;
use crate::model::features::hash;

const SCHEMA: &str = "version = 1\nname = \"small\"\n[fields]\nrequest = { kind = \"group\" }\ntime = { kind = \"time\" }\n\
    click = { kind = \"label\" }\nsite = { kind = \"categorical\" }\nad = { kind = \"categorical\" }\nhour = { kind = \"categorical\" }\n";

pub(crate) const RECIPE: &str = r#"
name = "small"
question = "Does a linear model beat the base rate?"
seeds = [1, 2]
threads = 1

[data]
schema = "schema.toml"
files = ["log.csv"]
truth = ["truth.csv"]

[split]
train = 0.6
valid = 0.2
test = 0.2

[[models]]
name = "base"
kind = "base-rate"

[[models]]
name = "lr"
kind = "ftrl"
params = { bits = 12, passes = 1, batch_rows = 256 }
grid = { alpha = [0.000001, 0.1] }

[[models]]
name = "linfa"
kind = "linfa-logistic"
seeds = [1]
params = { dimensions = 64, row_limit = 2000 }

[bootstrap]
rounds = 200
"#;

/// A log of `rows` rows whose clicks follow site and ad, its truth, its schema and a recipe.
pub(crate) fn write_inputs(folder: &Path, rows: u64) {
    let (mut log, mut truth) = ("request,time,click,site,ad,hour\n".to_owned(), "p\n".to_owned());
    for row in 0..rows {
        let draw = |salt: u64, below: u64| (hash::uniform(salt, row) * below as f64) as u64;
        let (site, ad, hour) = (draw(1, 8), draw(2, 6), row / 100 % 24);
        let logit = -1.5 + (site as f64 - 3.5) * 0.5 + if ad == 0 { 1.0 } else { -0.2 };
        let p = 1.0 / (1.0 + (-logit).exp());
        let click = u8::from(hash::uniform(3, row) < p);
        writeln!(log, "r{},{},{click},s{site},a{ad},{hour}", row / 5, 1_700_000_000 + row * 60).unwrap();
        writeln!(truth, "{p}").unwrap();
    }
    std::fs::write(folder.join("log.csv"), log).unwrap();
    std::fs::write(folder.join("truth.csv"), truth).unwrap();
    std::fs::write(folder.join("schema.toml"), SCHEMA).unwrap();
}

pub(crate) fn options(folder: &Path) -> RunOptions {
    RunOptions { out: folder.join("out"), resume: false, command: "pctr experiment recipe.toml".into() }
}

fn recipe(folder: &Path, text: &str, settings: &[&str]) -> Result<Recipe> {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    Recipe::parse(text, &settings, "recipe.toml", folder)
}

/// Runs the recipe; returns the comparison and, by folder, whether each run was there before.
fn experiment(folder: &Path, settings: &[&str], resume: bool) -> Result<(Comparison, BTreeMap<String, bool>)> {
    let recipe = recipe(folder, RECIPE, settings)?;
    let mut finished = BTreeMap::new();
    let mut on_event = |event: Event<'_>| {
        if let Event::Finished { record, kept } = event {
            finished.insert(record.folder_name(), kept);
        }
    };
    let options = RunOptions { resume, ..options(folder) };
    let comparison = run(&recipe, &options, Threads::one(), &mut on_event, &Interrupt::default())?;
    Ok((comparison, finished))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_experiment_from_log_to_verdict() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 8_000);
    let (comparison, finished) = experiment(folder.path(), &[], false).unwrap();
    let expected = ["base-1", "base-2", "linfa-1", "lr-g001-1", "lr-g002-1", "lr-g002-2"];
    assert_eq!(finished.keys().collect::<Vec<_>>(), expected, "each point once, the chosen one with all seeds");
    assert!(finished.values().all(|kept| !kept));

    let model = |name: &str| comparison.models.iter().find(|model| model.name == name).unwrap();
    let (base, lr, linfa) = (model("base"), model("lr"), model("linfa"));
    assert!(lr.log_loss.mean < base.log_loss.mean - 0.01 && linfa.log_loss.mean < base.log_loss.mean - 0.01);
    let grid = lr.grid.as_ref().unwrap();
    assert_eq!((grid.tried.len(), grid.chosen.as_str(), lr.seeds.len()), (2, "alpha = 0.1", 2));
    assert!(grid.tried[1].1 < grid.tried[0].1, "chosen on the validation loss");
    assert!(lr.versus_base.as_ref().unwrap().sentence().starts_with("lr is better than base by"));
    let excess = lr.excess_log_loss.as_ref().unwrap().mean;
    assert!(excess > 0.0 && excess < 0.02, "{excess}");
    assert!(linfa.notes[0].contains("a sample of 2000 of 4800 rows"), "{:?}", linfa.notes);
    assert!(lr.grouped_auc.is_some() && lr.pcoc.is_some());

    let winner = comparison.winner.as_ref().unwrap();
    assert_eq!(winner.model, "lr", "{}", comparison.reason);
    let bundle = Bundle::open(&winner.run.join(BUNDLE)).unwrap();
    let record = RunRecord::read(&winner.run).unwrap();
    assert_eq!(record.bundle.as_deref(), Some(bundle.manifest.model.as_str()));
    assert_eq!((record.data.train.rows, record.data.valid.rows, record.data.test.rows), (4800, 1600, 1600));
    assert!(record.scoring.one.p50_micros > 0.0 && record.scoring.hundred.p99_micros >= record.scoring.one.p50_micros);
    assert!(!record.training.curve.is_empty() && record.wall_seconds > 0.0);

    // The same numbers from the folder alone.
    let again = compare(&[folder.path().join("out")], Threads::one(), &Interrupt::default()).unwrap();
    assert_eq!(again, comparison);
}

#[test]
fn finished_runs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 3_000);
    let (first, _) = experiment(folder.path(), &[], false).unwrap();
    let prepared = std::fs::metadata(folder.path().join("out/data/all/manifest.json")).unwrap().modified().unwrap();
    std::fs::remove_dir_all(folder.path().join("out/runs/lr-g002-2")).unwrap();
    let (second, finished) = experiment(folder.path(), &[], false).unwrap();
    let again = std::fs::metadata(folder.path().join("out/data/all/manifest.json")).unwrap().modified().unwrap();
    assert_eq!(prepared, again, "data are prepared once");
    assert_eq!(
        finished.iter().filter(|(_, kept)| !**kept).map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["lr-g002-2"]
    );
    for (a, b) in first.models.iter().zip(&second.models) {
        assert_eq!((&a.name, &a.log_loss, &a.auc, &a.pcoc), (&b.name, &b.log_loss, &b.auc, &b.pcoc), "bit for bit");
        assert_eq!((&a.versus_best, &a.versus_base), (&b.versus_best, &b.versus_base));
    }

    let refused = experiment(folder.path(), &["models.0.name=constant"], false).unwrap_err();
    assert!(refused.kind() == ErrorKind::Config && refused.to_string().contains("--resume"), "{refused}");
    let (renamed, finished) = experiment(folder.path(), &["models.0.name=constant"], true).unwrap();
    assert_eq!(finished.iter().filter(|(_, kept)| !**kept).count(), 2, "only the renamed model runs: {finished:?}");
    assert!(renamed.models.iter().all(|model| model.name != "base"), "runs of the former recipe are left out");
}

#[test]
fn an_interrupted_experiment_leaves_whole_runs_only() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 3_000);
    let recipe = recipe(folder.path(), RECIPE, &[]).unwrap();
    let interrupt = Interrupt::default();
    let mut on_event = |event: Event<'_>| {
        if matches!(event, Event::Started { run: "lr-g001-1", .. }) {
            interrupt.set();
        }
    };
    let error = run(&recipe, &options(folder.path()), Threads::one(), &mut on_event, &interrupt).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(names(&folder.path().join("out/runs")), ["base-1", "base-2"]);

    let partial = compare(&[folder.path().join("out")], Threads::one(), &Interrupt::default()).unwrap();
    assert!(partial.notes[0].contains("was not finished"), "{:?}", partial.notes);
    let (_, finished) = experiment(folder.path(), &[], false).unwrap();
    assert_eq!((finished.len(), finished.values().filter(|kept| **kept).count()), (6, 2));
}

#[test]
fn logs_that_stand_apart() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 3_000);
    let text = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (name, rows) in [("train.csv", 1..2001), ("test.csv", 2001..3001)] {
        let part = [&lines[..1], &lines[rows]].concat().join("\n");
        std::fs::write(folder.path().join(name), part + "\n").unwrap();
    }
    let apart = RECIPE
        .replace("files = [\"log.csv\"]", "train = [\"train.csv\"]\ntest = [\"test.csv\"]")
        .replace("truth = [\"truth.csv\"]", "")
        .replace("[split]\ntrain = 0.6\nvalid = 0.2\ntest = 0.2", "");
    let recipe = recipe(folder.path(), &apart, &[]).unwrap();
    let planned = plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
    let part = |part: record::PartRecord| part.rows;
    assert_eq!((part(planned.data().train), part(planned.data().valid), part(planned.data().test)), (1800, 200, 1000));
    assert_eq!((planned.runs, planned.models[1].runs, planned.models[1].points.len()), (6, 3, 2));
    assert!(planned.models[1].memory_bytes > 4096 * 12 && !folder.path().join("out/runs").exists());
    let seconds = |model: &plan::PlannedModel| model.seconds.is_some_and(|seconds| seconds > 0.0);
    assert!(planned.models.iter().all(seconds) && planned.seconds.is_some_and(|seconds| seconds < 600.0));
    assert_eq!((planned.kept, planned.parallel), (0, 1));

    let mistake = |from: &str, to: &str| {
        let recipe = super::Recipe::parse(&apart.replace(from, to), &[], "recipe.toml", folder.path()).unwrap();
        let planned = plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default());
        planned.map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    };
    let swapped =
        mistake("train = [\"train.csv\"]\ntest = [\"test.csv\"]", "train = [\"test.csv\"]\ntest = [\"train.csv\"]");
    assert!(
        swapped.contains("data.test: leakage by time: expected test rows after the last validation row"),
        "{swapped}"
    );
    let twice = mistake("test.csv", "train.csv");
    assert!(twice.contains("holds the same bytes as") && twice.contains("of data.train"), "{twice}");
    // The last third of the training rows again, as test rows: later than nothing, and copies.
    let copies = [&lines[..1], &lines[1401..2001], &lines[2001..2401]].concat().join("\n");
    std::fs::write(folder.path().join("test.csv"), copies + "\n").unwrap();
    assert!(mistake("none", "none").contains("leakage by time"));
    let copied = mistake("[bootstrap]", "[leakage]\nallow_time_overlap = true\n[bootstrap]");
    assert!(
        copied.contains("leakage: 600 of 1000 test rows (60.0 %) are also training or validation rows"),
        "{copied}"
    );
    let borne = mistake("[bootstrap]", "[leakage]\nallow_time_overlap = true\nmax_duplicates = 0.6\n[bootstrap]");
    assert_eq!(borne, "", "what the recipe bears is no error");
}

#[test]
fn mistakes_in_recipes_are_named_before_training() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 500);
    let error = |from: &str, to: &str| {
        let text = RECIPE.replacen(from, to, 1);
        assert_ne!(text, RECIPE, "{from} stands in the recipe");
        let recipe = match recipe(folder.path(), &text, &[]) {
            Ok(recipe) => recipe,
            Err(error) => return error.to_string(),
        };
        plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default())
            .unwrap_err()
            .to_string()
    };
    let cases = [
        ("question", "qestion", "did you mean \"question\"?"),
        ("valid = 0.2", "vallid = 0.2", "did you mean \"valid\"?"),
        ("rounds", "round", "did you mean \"rounds\"?"),
        ("rounds = 200", "rounds = 1", "bootstrap.rounds: expected 100"),
        ("base-rate", "base_rate", "did you mean \"base-rate\"?"),
        ("passes = 1", "pases = 1", "model lr: pases: a ftrl model has no such setting; did you mean \"passes\"?"),
        ("row_limit", "row_limt", "did you mean \"row_limit\"?"),
        ("dimensions = 64", "dimensions = 1", "model linfa: dimensions: expected 2 to 4096"),
        ("row_limit = 2000", "row_limit = 10", "row_limit: expected between 1000"),
        ("alpha = [0.000001, 0.1]", "alpha = []", "grid.alpha: expected a list of at least one value"),
        ("alpha = [0.000001, 0.1]", "alhpa = [0.1]", "did you mean \"alpha\"?"),
        ("alpha = [0.000001, 0.1]", "bits = [10]", "stands in params too"),
        ("alpha = [0.000001, 0.1]", "alpha = [-1.0]", "alpha: expected more than 0"),
        ("train = 0.6", "train = 0.9", "more than all 500 rows"),
        ("test = 0.2", "test = 0", "split.test: expected test rows"),
        ("valid = 0.2", "valid = 0", "split.valid: a grid is chosen on validation rows"),
        ("seeds = [1, 2]", "seeds = []", "at least one seed"),
        ("name = \"lr\"", "name = \"l/r\"", "expected letters"),
        ("name = \"lr\"", "name = \"Base\"", "two models are named"),
        ("files = [\"log.csv\"]", "files = [\"no.csv\"]", "no.csv"),
        ("files = [\"log.csv\"]", "", "exactly one of files"),
        ("schema = \"schema.toml\"", "schema = \"critoe\"", "did you mean \"criteo\"?"),
        ("truth.csv", "log.csv", "expected the header p"),
        ("[bootstrap]", "[calibration]\nmethods = []\n[bootstrap]", "calibration.methods"),
        ("[bootstrap]", "[limits]\nmodel_mb = -1\n[bootstrap]", "limits.model_mb: expected a number above 0"),
    ];
    for (from, to, expected) in cases {
        let message = error(from, to);
        assert!(message.contains(expected), "{to}: {message}");
    }
    assert!(!folder.path().join("out/runs").exists());
}

#[test]
fn the_truth_fits_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 500);
    let recipe = recipe(folder.path(), RECIPE, &[]).unwrap();
    let message = |truth: &str| {
        std::fs::write(folder.path().join("truth.csv"), truth).unwrap();
        plan(&recipe, &options(folder.path()), Threads::one(), &mut |_| {}, &Interrupt::default())
            .unwrap_err()
            .to_string()
    };
    assert!(message("p\n0.5\n").contains("one true probability for each of 500"), "{}", message("p\n0.5\n"));
    let third = message("p\n0.5\n2\n");
    assert!(third.contains("truth.csv:3: p: expected a probability, got 2"), "{third}");
}

#[test]
fn foreign_folders_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path(), 500);
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("out/cat.jpg"), "meow").unwrap();
    let error = experiment(folder.path(), &[], true).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("experiment.json"), "{error}");
    assert_eq!(names(&folder.path().join("out")), ["cat.jpg"]);
}

#[test]
fn the_example_recipe_is_a_recipe() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("experiments/example.toml");
    let recipe = Recipe::read(&path, &[]).unwrap();
    recipe.check_models(&recipe.schema().unwrap().unwrap()).unwrap();
    assert!(recipe.models.len() >= 4 && recipe.models.iter().any(|model| model.points.len() > 1));
    let changed = Recipe::read(&path, &["seeds=[7, 8]".into()]).unwrap();
    assert_ne!(changed.fingerprint, recipe.fingerprint);
}
