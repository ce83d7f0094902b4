//! Pairs of models → how they differ, and where the variance of runs comes from.

use super::{signed, signed_interval};
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::summary::ModelSummary;
use crate::learn::experiment::compare::verdict::{Pair, Verdict, needs};
use crate::learn::report::content::Table;
use crate::metrics::resampled::Metric;
use crate::metrics::variance::Components;

pub(in crate::learn::report) fn pairs(comparison: &Comparison) -> Vec<Table> {
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
        let interval = signed_interval(a.min(b), a.max(b));
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
                    signed_interval(difference.low, difference.high),
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

/// Standard deviations of a run's log loss, and of its difference from the best model, by where they come from. `None` when
/// there are neither several seeds nor several folds.
pub(in crate::learn::report) fn variances(comparison: &Comparison) -> Option<Table> {
    let several = |components: &Components| components.seeds > 1 || components.folds > 1;
    let line = |name: &str, what: &str, components: &Option<Components>| {
        let Components { mean, seed, fold, rest, seeds, folds } =
            components.filter(|components| several(components))?;
        let sd = |variance: Option<f64>| variance.map_or("–".into(), |variance| format!("{:.5}", variance.sqrt()));
        let error = components.as_ref()?.squared_error_of_mean().sqrt();
        let numbers = [sd(seed), sd(fold), sd(rest), format!("{error:.5}")];
        let counts = [seeds.to_string(), folds.to_string()];
        Some([vec![name.to_owned(), what.to_owned(), format!("{mean:.5}")], numbers.to_vec(), counts.to_vec()].concat())
    };
    let best = comparison.models.first()?.name.clone();
    let minus_best = format!("minus {best}");
    let rows: Vec<Vec<String>> = comparison
        .models
        .iter()
        .flat_map(|model| {
            [
                line(&model.name, "log loss", &model.components),
                line(&model.name, &minus_best, &model.components_minus_best),
            ]
        })
        .flatten()
        .collect();
    let columns = [
        ("Model", ""),
        ("Of", "the log loss of a run, or its difference from the best model's run of the same seed and fold"),
        ("Mean", "nats, folds counted alike"),
        ("SD of seeds", "standard deviation that comes from the seed alone"),
        ("SD of folds", "standard deviation that comes from the fold alone: other times, other rows"),
        ("SD of the rest", "standard deviation of what seed and fold do together"),
        ("Error of the mean", "standard error of the mean over all runs"),
        ("Seeds", ""),
        ("Folds", ""),
    ];
    (!rows.is_empty()).then(|| Table {
        caption: "Where the variance of runs comes from, test log loss in nats".into(),
        columns: columns.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).to_vec(),
        rows,
        marked: None,
    })
}
