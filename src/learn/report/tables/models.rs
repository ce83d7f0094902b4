//! Models and their runs → leaderboard, cost, calibration, grids, runs.

use super::{Column, column, marked, optional, rounded, runs_of, share, spread, table};
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::summary::{GridSummary, ModelSummary, Spread};
use crate::learn::experiment::compare::verdict::thousands;
use crate::learn::experiment::record::RunRecord;
use crate::learn::experiment::search::{RungRecord, SearchRecord, TrialSummary};
use crate::learn::report::content::Table;

pub(in crate::learn::report) fn leaderboard(comparison: &Comparison) -> Table {
    let models = &comparison.models;
    let mut columns: Vec<Column<ModelSummary>> = vec![
        column("Model", "name in the recipe", |model: &ModelSummary| model.name.clone()),
        column("Log loss", "mean log loss in nats on the test rows; less is better", |model: &ModelSummary| {
            spread(&model.log_loss, 5)
        }),
    ];
    let any = |has: fn(&ModelSummary) -> bool| models.iter().any(has);
    let mut push = |there: bool, column: Column<ModelSummary>| {
        if there {
            columns.push(column);
        }
    };
    push(
        any(|model| model.excess_log_loss.is_some()),
        column("Excess", "log loss above that of the true probabilities, nats", |model: &ModelSummary| {
            optional(&model.excess_log_loss, 5)
        }),
    );
    push(true, column("AUC", "exact area under the ROC curve", |model: &ModelSummary| optional(&model.auc, 4)));
    push(
        true,
        column("NE", "normalized entropy: log loss over the entropy of the base rate", |model: &ModelSummary| {
            optional(&model.normalized_entropy, 4)
        }),
    );
    push(
        true,
        column("PCOC", "predicted clicks over clicks; 1 is calibrated", |model: &ModelSummary| {
            optional(&model.pcoc, 3)
        }),
    );
    push(
        true,
        column("ECE", "expected calibration error over 20 bins of equal mass", |model: &ModelSummary| {
            spread(&model.ece, 4)
        }),
    );
    push(true, column("Brier", "mean squared error", |model: &ModelSummary| spread(&model.brier, 5)));
    push(
        true,
        column("PR-AUC", "area under the precision–recall curve", |model: &ModelSummary| optional(&model.pr_auc, 4)),
    );
    push(
        any(|model| model.grouped_auc.is_some()),
        column("GAUC", "AUC inside groups, averaged by impressions", |model: &ModelSummary| {
            optional(&model.grouped_auc, 4)
        }),
    );
    push(
        any(|model| model.grouped_ndcg.is_some()),
        column("NDCG@10", "NDCG inside groups", |model: &ModelSummary| optional(&model.grouped_ndcg, 4)),
    );
    push(true, column("Seeds", "runs with different seeds", |model: &ModelSummary| model.seeds.len().to_string()));
    let mut table = table("Test metrics, mean ± standard deviation over seeds", columns, models);
    table.marked = marked(comparison);
    table
}

pub(in crate::learn::report) fn cost(comparison: &Comparison) -> Table {
    let columns: Vec<Column<ModelSummary>> = vec![
        column("Model", "name in the recipe", |model: &ModelSummary| model.name.clone()),
        column("Kind", "what it is", |model: &ModelSummary| model.kind.to_string()),
        column("Training s", "seconds of learning", |model: &ModelSummary| rounded(model.training_seconds.mean)),
        column("Rows/s", "rows learned from a second", |model: &ModelSummary| {
            thousands(model.rows_per_second.mean.round() as u64)
        }),
        column("Size MB", "bundle, 10⁶ bytes", |model: &ModelSummary| {
            model.bundle_bytes.map_or("no bundle".into(), |bytes| rounded(bytes as f64 / 1e6))
        }),
        column("p50 100 rows µs", "median to score 100 rows", |model: &ModelSummary| rounded(model.p50_micros_100)),
        column("p99 1 row µs", "99th percentile to score one row", |model: &ModelSummary| rounded(model.p99_micros_1)),
        column("p99 100 rows µs", "99th percentile to score 100 rows", |model: &ModelSummary| {
            rounded(model.p99_micros_100)
        }),
        column("Limits", "limits of the recipe that are broken", |model: &ModelSummary| {
            match (model.publishable(), model.broken_limits.is_empty()) {
                (false, _) => "reference".into(),
                (true, true) => "kept".into(),
                (true, false) => model.broken_limits.join("; "),
            }
        }),
    ];
    let mut table = table("Training and scoring", columns, &comparison.models);
    table.marked = marked(comparison);
    table
}

pub(in crate::learn::report) fn calibration(comparison: &Comparison) -> Table {
    let columns: Vec<Column<ModelSummary>> = vec![
        column("Model", "name in the recipe", |model: &ModelSummary| model.name.clone()),
        column("Method", "chosen, one for each seed that differs", |model: &ModelSummary| {
            let mut methods: Vec<String> =
                runs_of(model).map(|run| format!("{:?}", run.calibration.choice.method).to_lowercase()).collect();
            methods.sort();
            methods.dedup();
            methods.join(", ")
        }),
        column("PCOC before", "predicted clicks over clicks, uncalibrated", |model: &ModelSummary| {
            optional(&model.pcoc_before, 3)
        }),
        column("PCOC after", "predicted clicks over clicks, calibrated", |model: &ModelSummary| {
            optional(&model.pcoc, 3)
        }),
        column("Log loss before", "test, nats", |model: &ModelSummary| {
            spread(&Spread::of(runs_of(model).map(|run| run.calibration.test_log_loss_before).collect()), 5)
        }),
        column("Log loss after", "test, nats", |model: &ModelSummary| spread(&model.log_loss, 5)),
    ];
    table("Before and after calibration", columns, &comparison.models)
}

/// What was tried for each model that was chosen from several points: the record of its search, or what its runs say.
pub(in crate::learn::report) fn tried(comparison: &Comparison) -> Vec<Table> {
    let of = |model: &ModelSummary| {
        let searched =
            comparison.searches.iter().find(|search| model.runs.iter().all(|run| run.record.model == search.model));
        searched.map(of_search).or_else(|| model.grid.as_ref().map(|grid| of_grid(model, grid)))
    };
    comparison.models.iter().filter_map(of).collect()
}

fn of_search(search: &SearchRecord) -> Table {
    let columns = [
        ("Settings", String::new()),
        ("Share", "of the training rows or passes that the point learned from".into()),
        ("Validation log loss", "mean over the trial seeds, nats, cross-validated over the calibrator".into()),
        ("Went on", "to the next share; with everything, whether it was chosen".into()),
    ];
    let last = search.rungs.len().saturating_sub(1);
    let trials =
        search.rungs.iter().enumerate().flat_map(|(at, rung)| rung.trials.iter().map(move |trial| (at, rung, trial)));
    let mut trials: Vec<_> = trials.collect();
    trials.reverse();
    let row = |(at, rung, trial): &(usize, &RungRecord, &TrialSummary)| {
        let loss = trial.valid_log_loss.map_or("–".into(), |loss| format!("{loss:.5}"));
        let went_on = match (trial.kept, *at == last) {
            (true, true) => "chosen",
            (true, false) => "yes",
            (false, _) => "no",
        };
        vec![trial.values.clone(), share(rung.share), loss, went_on.into()]
    };
    let points = search.rungs.first().map_or(0, |rung| rung.trials.len());
    Table {
        caption: format!("{}: {points} points tried", search.model),
        columns: columns.map(|(name, meaning)| (name.to_owned(), meaning)).to_vec(),
        rows: trials.iter().map(row).collect(),
        marked: trials.iter().position(|(at, _, trial)| *at == last && trial.kept),
    }
}

fn of_grid(model: &ModelSummary, grid: &GridSummary) -> Table {
    Table {
        caption: format!("{}: {} points tried with {} seed(s)", model.name, grid.tried.len(), grid.seeds),
        columns: vec![
            ("Settings".into(), String::new()),
            ("Validation log loss".into(), "mean over the trial seeds, nats".into()),
        ],
        rows: grid.tried.iter().map(|(values, loss)| vec![values.clone(), format!("{loss:.5}")]).collect(),
        marked: grid.tried.iter().position(|(values, _)| *values == grid.chosen),
    }
}

pub(in crate::learn::report) fn runs(comparison: &Comparison) -> Table {
    let rows: Vec<(String, RunRecord)> = comparison
        .models
        .iter()
        .flat_map(|model| runs_of(model).map(|run| (model.name.clone(), run.clone())))
        .collect();
    type Row = (String, RunRecord);
    let digits = |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
    let columns: Vec<Column<Row>> = vec![
        column("Model", "name in the recipe", |row: &Row| row.0.clone()),
        column("Seed", "", |row: &Row| row.1.seed.to_string()),
        column("Fold", "number of the rolling fold, from 1", |row: &Row| {
            row.1.fold.map_or("–".into(), |fold| (fold.number + 1).to_string())
        }),
        column("Log loss", "test, nats", |row: &Row| format!("{:.5}", row.1.test.log_loss)),
        column("Valid", "log loss on the validation rows, nats", move |row: &Row| {
            digits(row.1.valid.as_ref().map(|valid| valid.log_loss), 5)
        }),
        column("AUC", "test", move |row: &Row| digits(row.1.test.auc, 5)),
        column("PCOC", "test", move |row: &Row| digits(row.1.test.pcoc, 3)),
        column("Rows learned", "all passes together", |row: &Row| thousands(row.1.training.rows)),
        column("Training s", "seconds of learning", |row: &Row| rounded(row.1.training.seconds)),
        column("Wall s", "seconds of the whole run", |row: &Row| rounded(row.1.wall_seconds)),
        column(
            "Process peak MB",
            "greatest resident memory of the process so far, earlier runs included",
            |row: &Row| {
                row.1.process_peak_bytes.map_or("–".into(), |bytes| thousands((bytes as f64 / 1e6).round() as u64))
            },
        ),
    ];
    table("Runs", columns, &rows)
}
