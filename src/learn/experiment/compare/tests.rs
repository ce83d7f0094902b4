//! Comparisons of synthetic predictions whose difference is known.

use std::path::{Path, PathBuf};

use super::*;
use crate::learn::experiment::predictions::{PredictionTable, TEST_FILE};
use crate::learn::experiment::record::{GridPlace, folder_name};
use crate::learn::experiment::{RunOptions, tests as experiments};
use crate::metrics;
use crate::model::Threads;
use crate::model::features::hash;

/// The record of a real run, to be filled with other predictions.
fn template() -> RunRecord {
    let folder = tempfile::tempdir().unwrap();
    experiments::write_inputs(folder.path(), 600);
    let recipe = crate::learn::experiment::Recipe::parse(experiments::RECIPE, &[], "r", folder.path()).unwrap();
    let options: RunOptions = experiments::options(folder.path());
    let run = crate::learn::experiment::run;
    run(&recipe, &options, Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
    RunRecord::read(&options.out.join("runs/lr-g002-1")).unwrap()
}

/// Writes a run of `model` whose logits are the true ones plus normal-like noise of this size.
fn write(folder: &Path, template: &RunRecord, model: &str, seed: u64, rows: usize, noise: f64, salt: u64) -> PathBuf {
    let mut table = PredictionTable::default();
    for row in 0..rows as u64 {
        let draw = |salt: u64| hash::uniform(salt, row);
        let logit = -1.0 + 3.0 * (draw(1) - 0.5);
        let off: f64 = (0..6).map(|at| draw(salt + at) - 0.5).sum::<f64>() * noise;
        table.rows.push(row);
        table.labels.push(u8::from(draw(2) < 1.0 / (1.0 + f64::exp(-logit))));
        table.probabilities.push(1.0 / (1.0 + f64::exp(-logit - off)));
    }
    let mut record = template.clone();
    record.model = model.into();
    record.seed = seed;
    record.grid = None;
    record.settings = serde_json::json!({ "noise": noise, "salt": salt / 1000 });
    record.identity = crate::model::features::hash::Fingerprint::of(format!("{model} {seed} {salt}").as_bytes());
    record.data.test.rows = rows as u64;
    record.test = metrics::evaluate(&table.labels, &table.probabilities, None, None).unwrap();
    let run = folder.join(folder_name(model, None, None, seed));
    std::fs::create_dir_all(&run).unwrap();
    table.write(&run.join(TEST_FILE)).unwrap();
    record.write(&run).unwrap();
    run
}

fn of(folder: &Path) -> Result<Comparison> {
    compare(&[folder.to_path_buf()], Threads::one(), &Interrupt::default())
}

#[test]
fn equal_models_are_not_distinguishable_and_a_better_one_is_better() {
    let template = template();
    let folder = tempfile::tempdir().unwrap();
    for seed in [1, 2, 3] {
        // A and B are the truth with equally large, independent errors; C errs far more.
        write(folder.path(), &template, "a", seed, 20_000, 0.3, 100 * seed);
        write(folder.path(), &template, "b", seed, 20_000, 0.3, 7000 + 100 * seed);
        write(folder.path(), &template, "c", seed, 20_000, 1.5, 9000 + 100 * seed);
    }
    let comparison = of(folder.path()).unwrap();
    assert_eq!(comparison.models[2].name, "c");
    let equal = comparison.models[1].versus_best.as_ref().unwrap();
    assert_ne!(equal.verdict, verdict::Verdict::Better, "{}", equal.sentence());
    assert!(comparison.verdict.contains("not distinguishable"), "{}", comparison.verdict);
    let clear = comparison.models[2].versus_best.as_ref().unwrap();
    assert_eq!(clear.verdict, verdict::Verdict::Better, "{}", clear.sentence());
    assert!(clear.difference.low > 0.0 && clear.difference.low < clear.difference.estimate);
    let loss = &comparison.models[2].log_loss;
    let expected = loss.mean - comparison.models[0].log_loss.mean;
    assert!((clear.difference.estimate - expected).abs() < 1e-9, "the difference of the means over seeds");
    assert_eq!(loss.values.len(), 3);
    assert!(loss.sd.unwrap() > 0.0);
    let winner = comparison.winner.unwrap();
    assert!(
        winner.model != "c" && comparison.reason.contains("cannot be told apart") || comparison.reason.contains("fast")
    );
}

#[test]
fn limits_and_ties_decide_the_winner() {
    let mut template = template();
    let folder = tempfile::tempdir().unwrap();
    template.scoring.hundred.p99_micros = 900.0;
    write(folder.path(), &template, "slow", 1, 5_000, 0.0, 100);
    template.scoring.hundred.p99_micros = 20.0;
    write(folder.path(), &template, "fast", 1, 5_000, 0.05, 200);
    let comparison = of(folder.path()).unwrap();
    assert_eq!(comparison.winner.unwrap().model, "fast", "{}", comparison.reason);
    assert!(comparison.reason.contains("scores faster"), "{}", comparison.reason);
    assert!(comparison.notes.iter().any(|note| note.contains("One seed only: ")));

    let limits = Limits { p99_micros_100: Some(10.0), ..Limits::default() };
    let mut models = comparison.models;
    for model in &mut models {
        *model = ModelSummary::new(model.name.clone(), model.runs.clone(), None, &limits);
    }
    let (winner, reason) = winner::choose(&models, &limits, &VerdictConfig::default(), 0.0005, &|_, _| None);
    assert!(reason.contains("The rule: ") && reason.contains("p99 for 100 rows at most 10 µs"), "{reason}");
    assert!(winner.is_none() && reason.contains("p99 for 100 rows 900 µs, at most 10 µs allowed"), "{reason}");
}

#[test]
fn a_reference_may_lead_but_not_win() {
    let mut template = template();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &template, "ours", 1, 20_000, 1.0, 100);
    template.kind = Kind::parse("smartcore-forest", "t").unwrap();
    write(folder.path(), &template, "theirs", 1, 20_000, 0.1, 200);
    let comparison = of(folder.path()).unwrap();
    assert_eq!((comparison.models[0].name.as_str(), comparison.winner.unwrap().model.as_str()), ("theirs", "ours"));
    assert!(
        comparison.reason.contains("theirs has a better log loss but cannot be published"),
        "{}",
        comparison.reason
    );
}

#[test]
fn only_runs_on_the_same_rows_compare() {
    let mut template = template();
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), &template, "a", 1, 2_000, 0.3, 100);
    template.data.split = crate::model::features::hash::Fingerprint::of(b"other");
    let second = write(folder.path(), &template, "b", 1, 2_000, 0.3, 200);
    let error = compare(&[first.clone(), second], Threads::one(), &Interrupt::default()).unwrap_err().to_string();
    assert!(error.contains("other split"), "{error}");
    template.data.fingerprint = template.data.split;
    let third = write(folder.path(), &template, "c", 1, 2_000, 0.3, 200);
    let error = compare(&[first.clone(), third], Threads::one(), &Interrupt::default()).unwrap_err().to_string();
    assert!(error.contains("other data"), "{error}");
    let once = compare(&[first.clone(), first.clone()], Threads::one(), &Interrupt::default()).unwrap();
    assert_eq!(once.models[0].seeds, [1], "the same run twice counts once");
    let empty = tempfile::tempdir().unwrap();
    assert!(of(empty.path()).unwrap_err().to_string().contains("no finished run"));
}

#[test]
fn equal_names_of_different_models_are_told_apart() {
    let mut template = template();
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), &template, "lr", 1, 2_000, 0.3, 100);
    template.experiment.name = "later".into();
    let second = write(&folder.path().join("later"), &template, "lr", 1, 2_000, 0.2, 200);
    let comparison = compare(&[first, second], Threads::one(), &Interrupt::default()).unwrap();
    let mut names: Vec<&str> = comparison.models.iter().map(|model| model.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["lr (later)", "lr (small)"]);
}

#[test]
fn the_grid_is_chosen_on_validation_rows() {
    let template = template();
    let folder = tempfile::tempdir().unwrap();
    // The second point is worse on the test rows but better on the validation rows: it is the one to report.
    for (point, noise, valid) in [(0, 0.1, 0.5), (1, 0.8, 0.4)] {
        let run = write(folder.path(), &template, &format!("p{point}"), 1, 2_000, noise, 100);
        let mut record = RunRecord::read(&run).unwrap();
        record.model = "lr".into();
        record.grid = Some(GridPlace { point, values: format!("alpha = {point}") });
        record.selection_log_loss = Some(valid);
        record.write(&run).unwrap();
    }
    let comparison = of(folder.path()).unwrap();
    let [model] = &comparison.models[..] else { panic!("one model") };
    let grid = model.grid.as_ref().unwrap();
    assert_eq!((grid.chosen.as_str(), grid.seeds), ("alpha = 1", 1));
    assert_eq!(grid.tried, [("alpha = 0".to_owned(), 0.5), ("alpha = 1".to_owned(), 0.4)]);
}
