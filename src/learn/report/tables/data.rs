//! The rows and where they were used → data card and reproducibility box.

use super::{Column, column, rounded, runs_of, share, table};
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::verdict::thousands;
use crate::learn::experiment::describe::{Card, FeatureCard};
use crate::learn::experiment::record::{DataRecord, PartRecord, RunRecord};
use crate::learn::report::content::Table;

pub(in crate::learn::report) fn data(folds: &[DataRecord]) -> Table {
    type Row = (String, PartRecord);
    let time = |time: Option<i64>| {
        let stamp = time.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        stamp.map_or("–".into(), |stamp| stamp.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let of_fold = |(at, data): (usize, &DataRecord)| {
        let name = |part: &str| if folds.len() > 1 { format!("fold {} {part}", at + 1) } else { part.to_owned() };
        [(name("train"), data.train), (name("valid"), data.valid), (name("test"), data.test)]
    };
    let rows: Vec<Row> = folds.iter().enumerate().flat_map(of_fold).collect();
    let columns: Vec<Column<Row>> = vec![
        column("Part", "", |row: &Row| row.0.clone()),
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

pub(in crate::learn::report) fn reproduce(comparison: &Comparison) -> Table {
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
    let cpu_hours: f64 = runs().map(|run| run.wall_seconds * run.environment.threads as f64 / 3600.0).sum();
    add("Compute", format!("{cpu_hours:.4} CPU-hours at most: wall time times threads of the runs shown"));
    Table {
        caption: "What it takes to get the same numbers".into(),
        columns: vec![("What".into(), String::new()), ("Value".into(), String::new())],
        rows,
        marked: None,
    }
}

/// The features of the rows; those that moved most from train to test stand first.
pub(in crate::learn::report) fn features(card: &Card) -> Table {
    let mut features = card.features.clone();
    features.sort_by(|a, b| drift(b).total_cmp(&drift(a)));
    let columns: Vec<Column<FeatureCard>> = vec![
        column("Feature", "", |feature: &FeatureCard| feature.name.clone()),
        column("Kind", "", |feature: &FeatureCard| feature.kind.clone()),
        column(
            "Values",
            "different values in the training rows that were counted; bins of a number",
            |feature: &FeatureCard| thousands(feature.values),
        ),
        column("Missing train", "share of training rows", |feature: &FeatureCard| share(feature.missing_train)),
        column("Missing test", "share of test rows", |feature: &FeatureCard| share(feature.missing_test)),
        column("New in test", "share of test rows whose value no counted training row has", |feature: &FeatureCard| {
            share(feature.unseen_test)
        }),
        column("PSI", "population stability index from train to test, nats", |feature: &FeatureCard| {
            feature.stability.map_or("–".into(), |index| format!("{index:.4}"))
        }),
        column("PSI by chance", "what the index is on average when nothing moves", |feature: &FeatureCard| {
            format!("{:.4}", feature.stability_by_chance)
        }),
        column("Drift", "by custom: below 0.1 stable, above 0.25 moved", |feature: &FeatureCard| {
            match drift(feature) {
                drift if drift > 0.25 => "moved",
                drift if drift > 0.1 => "some",
                _ => "stable",
            }
            .into()
        }),
        column(
            "Information",
            "share of the entropy of a click that the frequent values explain alone",
            |feature: &FeatureCard| share(feature.information),
        ),
    ];
    let caption = format!(
        "Features, most moved first, counted on {} training and {} test rows",
        thousands(card.train_counted),
        thousands(card.test_counted)
    );
    table(&caption, columns, &features)
}

/// The stability index above what chance gives.
fn drift(feature: &FeatureCard) -> f64 {
    (feature.stability.unwrap_or(0.0) - feature.stability_by_chance).max(0.0)
}
