//! A comparison → the tables of its report, as text cells.

use super::content::Table;
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::summary::{ModelSummary, Spread};
use crate::learn::experiment::compare::verdict::{Pair, Verdict, needs, thousands};
use crate::learn::experiment::record::{DataRecord, PartRecord, RunRecord};
use crate::metrics::resampled::Metric;

type Cell<T> = Box<dyn Fn(&T) -> String>;

/// A column: short name, meaning, cell.
struct Column<T>(&'static str, &'static str, Cell<T>);

fn column<T>(name: &'static str, meaning: &'static str, cell: impl Fn(&T) -> String + 'static) -> Column<T> {
    Column(name, meaning, Box::new(cell))
}

fn table<T>(caption: &str, columns: Vec<Column<T>>, items: &[T]) -> Table {
    Table {
        caption: caption.into(),
        rows: items.iter().map(|item| columns.iter().map(|column| (column.2)(item)).collect()).collect(),
        columns: columns.iter().map(|column| (column.0.into(), column.1.into())).collect(),
        marked: None,
    }
}

pub(super) fn leaderboard(comparison: &Comparison) -> Table {
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

pub(super) fn pairs(comparison: &Comparison) -> Vec<Table> {
    let best = comparison.models.first().map(|model| model.name.clone()).unwrap_or_default();
    let line = |model: &ModelSummary, pair: &Pair| {
        // How far behind, or for AUC ahead of, the other model.
        let behind = if pair.better == model.name { -1.0 } else { 1.0 };
        let sign = if pair.metric.more_is_better() { -behind } else { behind };
        let (a, b) = (sign * pair.difference.low, sign * pair.difference.high);
        let verdict = match pair.verdict {
            Verdict::Better => format!("{} is better", pair.better),
            Verdict::NotDistinguishable => "not distinguishable".to_owned(),
            Verdict::NeedsMore { more_rows, more_seeds } => format!("needs about {}", needs(more_rows, more_seeds)),
        };
        let interval = format!("[{}, {}]", signed(a.min(b)), signed(a.max(b)));
        let chance = chance(pair.p_value);
        let errors = format!(
            "{:.5} / {}",
            pair.rows_error,
            match pair.one_seed.is_empty() {
                true => format!("{:.5}", pair.seeds_error),
                false => "not known".into(),
            }
        );
        vec![model.name.clone(), signed(sign * pair.difference.estimate), interval, chance, errors, verdict]
    };
    let better = match comparison.rules.metric.more_is_better() {
        true => "above 0 the model is better",
        false => "below 0 the model is better",
    };
    let of = |other: &str, pair: fn(&ModelSummary) -> Option<&Pair>| Table {
        caption: format!("{} minus that of {other}", metric_title(comparison.rules.metric)),
        columns: [
            ("Model", ""),
            ("Difference", better),
            ("Interval", "holds together with those of all pairs"),
            ("p", "chance of an error as large in any pair of equal models"),
            ("Error from rows / seeds", "standard errors of the difference"),
            ("Verdict", ""),
        ]
        .map(|(name, meaning)| (name.to_owned(), meaning.to_owned()))
        .to_vec(),
        rows: comparison.models.iter().filter_map(|model| pair(model).map(|pair| line(model, pair))).collect(),
        marked: None,
    };
    let base = comparison.models.iter().filter_map(|model| model.versus_base.as_ref().map(|pair| (model, pair)));
    let base_name = base.map(|(model, pair)| if pair.better == model.name { &pair.worse } else { &pair.better }).next();
    let mut tables = vec![of(&best, |model| model.versus_best.as_ref())];
    if let Some(base) = base_name.filter(|base| **base != best) {
        tables.push(of(base, |model| model.versus_base.as_ref()));
    }
    tables.push(metric_differences(comparison, &best));
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// Every metric of every model minus that of the best.
fn metric_differences(comparison: &Comparison, best: &str) -> Table {
    let columns = [
        ("Model", ""),
        ("Metric", ""),
        ("Difference", ""),
        ("Interval", "holds together with those of all pairs"),
        ("p", "chance of an error as large in any pair of equal models"),
        ("DeLong", "the difference of AUCs ± its standard error, rows taken as independent, seeds as given"),
    ];
    let rows = comparison.models.iter().flat_map(|model| {
        model.metrics_minus_best.iter().filter(|difference| difference.metric != comparison.rules.metric).map(
            |difference| {
                let delong = difference
                    .delong
                    .map(|delong| format!("{} ± {:.5}", signed(delong.estimate), delong.standard_error));
                vec![
                    model.name.clone(),
                    metric_title(difference.metric).into(),
                    signed(difference.estimate),
                    format!("[{}, {}]", signed(difference.low), signed(difference.high)),
                    chance(difference.p_value),
                    delong.unwrap_or_default(),
                ]
            },
        )
    });
    Table {
        caption: format!("Other metrics minus those of {best}"),
        rows: rows.collect(),
        columns: columns.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).to_vec(),
        marked: None,
    }
}

fn metric_title(metric: Metric) -> &'static str {
    match metric {
        Metric::LogLoss => "Log loss in nats",
        Metric::NormalizedEntropy => "Normalized entropy",
        Metric::Auc | Metric::Pcoc => metric.name(),
    }
}

/// A p-value; a bootstrap does not know smaller ones.
fn chance(p_value: f64) -> String {
    if p_value < 0.001 { "< 0.001".into() } else { format!("{p_value:.3}") }
}

pub(super) fn cost(comparison: &Comparison) -> Table {
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

pub(super) fn calibration(comparison: &Comparison) -> Table {
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

pub(super) fn grids(comparison: &Comparison) -> Option<Vec<Table>> {
    let tables: Vec<Table> = comparison
        .models
        .iter()
        .filter_map(|model| model.grid.as_ref().map(|grid| (model, grid)))
        .map(|(model, grid)| Table {
            caption: format!("{}: {} points tried with {} seed(s)", model.name, grid.tried.len(), grid.seeds),
            columns: vec![
                ("Settings".into(), String::new()),
                ("Validation log loss".into(), "mean over the trial seeds, nats".into()),
            ],
            rows: grid.tried.iter().map(|(values, loss)| vec![values.clone(), format!("{loss:.5}")]).collect(),
            marked: grid.tried.iter().position(|(values, _)| *values == grid.chosen),
        })
        .collect();
    (!tables.is_empty()).then_some(tables)
}

pub(super) fn runs(comparison: &Comparison) -> Table {
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

pub(super) fn data(data: &DataRecord) -> Table {
    type Row = (&'static str, PartRecord);
    let time = |time: Option<i64>| {
        let stamp = time.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        stamp.map_or("–".into(), |stamp| stamp.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let rows: Vec<Row> = vec![("train", data.train), ("valid", data.valid), ("test", data.test)];
    let columns: Vec<Column<Row>> = vec![
        column("Part", "", |row: &Row| row.0.into()),
        column("Rows", "", |row: &Row| thousands(row.1.rows)),
        column("Clicks", "", |row: &Row| thousands(row.1.clicks)),
        column("CTR", "click-through rate", |row: &Row| {
            format!("{:.3} %", row.1.clicks as f64 / row.1.rows.max(1) as f64 * 100.0)
        }),
        column("From", "earliest time, UTC", move |row: &Row| time(row.1.from)),
        column("To", "latest time, UTC", move |row: &Row| time(row.1.to)),
    ];
    table("Rows", columns, &rows)
}

pub(super) fn reproduce(comparison: &Comparison) -> Table {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |name: &str, value: String| rows.push(vec![name.into(), value]);
    for experiment in &comparison.experiments {
        add("Command", experiment.command.clone());
        add("Recipe", format!("{} ({})", experiment.name, experiment.fingerprint));
    }
    let runs = || comparison.models.iter().flat_map(runs_of);
    let distinct = |value: &dyn Fn(&RunRecord) -> String| {
        let mut values: Vec<String> = runs().map(value).collect();
        values.sort();
        values.dedup();
        values.join(", ")
    };
    add("Seeds", distinct(&|run| run.seed.to_string()));
    add("Data", comparison.data.fingerprint.to_string());
    add("Split", comparison.data.split.to_string());
    add("pctr", distinct(&|run| run.environment.pctr.clone()));
    add("Instruction set", distinct(&|run| run.environment.isa.clone()));
    add("Threads", distinct(&|run| run.environment.threads.to_string()));
    add("Processor", distinct(&|run| run.environment.processor.clone().unwrap_or_else(|| "not known".into())));
    add("System", distinct(&|run| run.environment.system.clone()));
    add("Started", runs().map(|run| run.started.clone()).min().unwrap_or_default());
    add("Wall time", format!("{} s in the runs shown", rounded(runs().map(|run| run.wall_seconds).sum())));
    Table {
        caption: "What it takes to get the same numbers".into(),
        columns: vec![("What".into(), String::new()), ("Value".into(), String::new())],
        rows,
        marked: None,
    }
}

fn runs_of(model: &ModelSummary) -> impl Iterator<Item = &RunRecord> {
    model.runs.iter().map(|run| &run.record)
}

fn marked(comparison: &Comparison) -> Option<usize> {
    let winner = comparison.winner.as_ref()?;
    comparison.models.iter().position(|model| model.name == winner.model)
}

fn spread(spread: &Spread, digits: usize) -> String {
    match spread.sd {
        Some(sd) => format!("{:.digits$} ± {sd:.digits$}", spread.mean),
        None => format!("{:.digits$}", spread.mean),
    }
}

fn optional(value: &Option<Spread>, digits: usize) -> String {
    value.as_ref().map_or("–".into(), |value| spread(value, digits))
}

fn signed(value: f64) -> String {
    format!("{value:+.5}").replace('-', "−")
}

/// Three digits that matter.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value.round() as u64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
