//! Comparisons of synthetic predictions whose difference is known.

use std::path::{Path, PathBuf};

use super::*;
use crate::learn::experiment::predictions::{PredictionTable, TEST_FILE};
use crate::learn::experiment::record::{FoldPlace, GridPlace, folder_name};
use crate::learn::experiment::rules::BlockBy;
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

/// Two folds of one split: the second one's test rows follow those of the first.
#[test]
fn the_test_rows_of_folds_are_judged_together() {
    let mut template = template();
    let folder = tempfile::tempdir().unwrap();
    let split = template.data.split;
    for number in 0..2 {
        template.fold = Some(FoldPlace { number, of: 2 });
        template.data.split = if number == 0 { split } else { hash::Fingerprint::of(b"second") };
        for seed in [1, 2, 3] {
            for (model, noise) in [("a", 0.2), ("b", 0.9)] {
                let salt = 1000 * seed + 100_000 * number as u64 + if model == "a" { 0 } else { 500 };
                let parent = folder.path().join(format!("fold-{number}"));
                let run = write(&parent, &template, model, seed, 4_000, noise, salt);
                let mut record = RunRecord::read(&run).unwrap();
                record.settings = serde_json::json!({ "noise": noise });
                let runs = folder.path().join(format!("{model}-f{}-{seed}", number + 1));
                std::fs::rename(&run, &runs).unwrap();
                record.write(&runs).unwrap();
            }
        }
    }
    for number in 0..2 {
        std::fs::remove_dir(folder.path().join(format!("fold-{number}"))).unwrap();
    }
    let comparison = of(folder.path()).unwrap();
    assert_eq!((comparison.folds.len(), comparison.models.len()), (2, 2));
    let [a, b] = &comparison.models[..] else { panic!() };
    assert_eq!((a.name.as_str(), a.seeds.as_slice(), a.runs.len()), ("a", &[1, 2, 3][..], 6));
    let means: f64 = a.runs.iter().map(|run| run.record.test.log_loss).sum::<f64>() / 6.0;
    assert!((a.log_loss.mean - means).abs() < 1e-12 && a.log_loss.values.len() == 3);
    let pair = b.versus_best.as_ref().unwrap();
    assert!((pair.difference.estimate - (b.log_loss.mean - a.log_loss.mean)).abs() < 1e-9);
    // The rows of both folds are the same here, so that no variance comes from the fold.
    let components = b.components.unwrap();
    assert_eq!((components.seeds, components.folds), (3, 2));
    assert!(b.components_minus_best.unwrap().mean > 0.0);
    assert!(comparison.winner.unwrap().run.ends_with("a-f2-1") || comparison.reason.contains("a wins"));

    std::fs::remove_dir_all(folder.path().join("b-f2-3")).unwrap();
    let fewer = of(folder.path()).unwrap();
    assert_eq!(fewer.models[1].seeds, [1, 2]);
    assert!(fewer.notes.iter().any(|note| note.contains("b, seed 3, is left out")), "{:?}", fewer.notes);
}

#[test]
fn blocks_are_rows_groups_or_hours() {
    let template = template();
    let folder = tempfile::tempdir().unwrap();
    let run = write(folder.path(), &template, "a", 1, 2_000, 0.3, 100);
    let runs = vec![LoadedRun { record: RunRecord::read(&run).unwrap(), folder: run.clone() }];
    let model = ModelSummary::new("a".into(), runs, None, &Limits::default());
    let blocks = |blocks, block_rows| {
        let bootstrap = BootstrapConfig { blocks, block_rows, ..BootstrapConfig::default() };
        evidence::TestRows::read(&model, &bootstrap).map(|rows| (rows.blocks.blocks(), rows.blocks_are))
    };
    assert_eq!(blocks(BlockBy::Auto, 0).unwrap().0, 20, "100 rows each");
    assert_eq!(blocks(BlockBy::Rows, 50).unwrap().0, 40);
    let error = blocks(BlockBy::Hour, 0).unwrap_err().to_string();
    assert!(error.contains("bootstrap.blocks") && error.contains("no time"), "{error}");
    let mut table = PredictionTable::read(&run.join(TEST_FILE)).unwrap();
    table.times = Some((0..2_000).map(|row| 1_700_000_000 + row * 60).collect());
    table.groups = Some((0..2_000).map(|row| row / 4).collect());
    table.write(&run.join(TEST_FILE)).unwrap();
    assert_eq!(blocks(BlockBy::Auto, 0).unwrap(), (500, "the rows of one group stay together".to_owned()));
    assert_eq!(blocks(BlockBy::Hour, 0).unwrap(), (34, "the rows of one hour stay together".to_owned()));
}

/// A model that is wrong in one slice only differs there, and breaks a limit there.
#[test]
fn slices_show_where_a_model_is_wrong() {
    let template = template();
    let folder = tempfile::tempdir().unwrap();
    for (model, off) in [("a", 0.0), ("b", 1.0)] {
        let run = write(folder.path(), &template, model, 1, 20_000, 0.0, 100);
        let mut table = PredictionTable::read(&run.join(TEST_FILE)).unwrap();
        // Five hours of many days; in the third one B promises far too much.
        table.times = Some((0..20_000).map(|row| row % 1_000 * 86_400 + row / 4_000 * 3_600).collect());
        for p in &mut table.probabilities[8_000..12_000] {
            *p = 1.0 / (1.0 + (1.0 - *p) / *p * f64::exp(-off));
        }
        table.write(&run.join(TEST_FILE)).unwrap();
        let mut record = RunRecord::read(&run).unwrap();
        record.test = metrics::evaluate(&table.labels, &table.probabilities, None, None).unwrap();
        record.write(&run).unwrap();
    }
    let comparison = of(folder.path()).unwrap();
    let hours = comparison.sliced.iter().find(|sliced| sliced.by == sliced::SlicedBy::Hour).unwrap();
    assert_eq!(hours.slices.len(), 5);
    for (at, slice) in hours.slices.iter().enumerate() {
        let minus = slice.models[1].minus_best.unwrap();
        let pcoc = slice.models[1].pcoc.unwrap();
        match at {
            2 => assert!(minus.low.unwrap() > 0.0 && pcoc.low.unwrap() > 1.1, "{slice:?}"),
            _ => assert!(minus.value.abs() < 1e-12 && (pcoc.value - 1.0).abs() < 0.1, "{slice:?}"),
        }
    }
    let farthest = sliced::farthest_off(&comparison.sliced, 2, 0.95);
    let (off, name) = farthest[1].clone().unwrap();
    assert!(off > 0.1 && name.contains("02:00"), "{off} {name}");
    let limits = Limits { slice_pcoc_within: Some(0.05), ..Limits::default() };
    let mut model = comparison.models[1].clone();
    model.check_slices(&limits, farthest[1].clone());
    assert!(model.broken_limits[0].contains("02:00 to 02:59: PCOC away from 1"), "{:?}", model.broken_limits);
    let time = comparison.sliced.iter().find(|sliced| sliced.by == sliced::SlicedBy::Time).unwrap();
    assert!((2..=30).contains(&time.slices.len()));
    assert_eq!(time.slices.iter().map(|slice| slice.rows).sum::<u64>(), 20_000);
}
