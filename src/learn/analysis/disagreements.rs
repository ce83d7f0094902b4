//! Two models and test rows → the rows they see most differently, and which fields make the difference.
//!
//! Rows are ranked by the distance of their calibrated log-odds, so that 0.1 % against 1 % counts as much as 10 % against 53 %; rows of
//! equal codes are shown once. Contributions are of the models' logits before calibration ([`super::contributions`]).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::Subject;
use super::contributions::contributions;
use super::rows::{Targets, fields};
use crate::error::Result;
use crate::learn::Interrupt;
use crate::learn::dataset::View;
use crate::learn::experiment::describe::names::{Wanted, names};
use crate::model::schema::FeatureKind;

/// Where two models disagree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disagreements {
    /// One model.
    pub a: String,
    /// The other.
    pub b: String,
    /// Test rows that were compared.
    pub rows: u64,
    /// Quantiles of the absolute difference of log-odds over all rows: 50, 90, 99 %.
    pub quantiles: [f64; 3],
    /// Rows, the greatest difference first.
    pub examples: Vec<Example>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Number of the row in its dataset.
    pub row: u64,
    /// Seconds since 1970, where rows have a time.
    pub time: Option<i64>,
    /// Whether it was clicked.
    pub click: bool,
    /// Calibrated probability of one model.
    pub p_a: f64,
    /// Of the other.
    pub p_b: f64,
    /// Calibrated log-odds of the first minus those of the second.
    pub difference: f64,
    /// Fields and crosses, the one whose parts differ most first.
    pub parts: Vec<Part>,
    /// What is left of the first model's logit.
    pub rest_a: f64,
    /// And of the second's.
    pub rest_b: f64,
}

/// What one field adds to the two logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Field, or a cross (`a*b`).
    pub field: String,
    /// What stands there: a value as the log writes it, where the log is at hand, else its code; or a range of numbers. A cross
    /// has none, its fields have.
    pub value: Option<String>,
    /// Added to the first model's logit; 0 where it does not see the field.
    pub a: f64,
    /// Added to the second's.
    pub b: f64,
}

/// The `most` rows on which two models, each with its probabilities of the test rows, disagree most.
///
/// # Errors
/// None yet; rows are read from the mapping.
pub(super) fn disagreements(
    pair: [(&Subject, &[f64]); 2],
    test: &View<'_>,
    targets: &Targets,
    most: usize,
) -> Result<Disagreements> {
    let [(a, p_a), (b, p_b)] = pair;
    let log_odds = |p: f64| (p / (1.0 - p)).ln();
    let difference = |at: usize| log_odds(p_a[at]) - log_odds(p_b[at]);
    let mut order: Vec<(f64, usize)> = (0..targets.rows.len()).map(|at| (difference(at).abs(), at)).collect();
    order.sort_unstable_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
    let quantile = |share: f64| order.get(((1.0 - share) * order.len() as f64) as usize).map_or(0.0, |of| of.0);
    let mut seen: HashSet<&[u32]> = HashSet::new();
    let dataset = test.dataset();
    let mut examples = Vec::with_capacity(most);
    for (_, at) in &order {
        let row = targets.rows[*at];
        let codes = dataset.codes(row);
        if examples.len() == most {
            break;
        }
        if seen.insert(codes) {
            let [of_a, of_b] = [a, b].map(|subject| contributions(&subject.bundle, codes));
            examples.push(Example {
                row: row as u64,
                time: dataset.time(row),
                click: dataset.label(row) == 1,
                p_a: p_a[*at],
                p_b: p_b[*at],
                difference: difference(*at),
                parts: parts(&of_a.parts, &of_b.parts, |field| value_of(a, codes, field)),
                rest_a: of_a.rest,
                rest_b: of_b.rest,
            });
        }
    }
    Ok(Disagreements {
        a: a.name.clone(),
        b: b.name.clone(),
        rows: targets.rows.len() as u64,
        quantiles: [0.5, 0.9, 0.99].map(quantile),
        examples,
    })
}

/// Gives the values of categorical fields the names that the logs have for them, as far as these are there and have them in their
/// first rows; others keep their codes.
///
/// # Errors
/// Interrupted.
pub(super) fn name_values(found: &mut [Disagreements], test: &View<'_>, interrupt: &Interrupt) -> Result<()> {
    let dataset = test.dataset();
    let rows: BTreeSet<usize> =
        found.iter().flat_map(|pair| &pair.examples).map(|example| example.row as usize).collect();
    let (schema, fields) = (dataset.schema(), fields(dataset.encoder()));
    let categorical = schema.features.iter().zip(&fields).enumerate();
    let categorical = categorical.filter(|(_, (of, _))| matches!(of.kind, FeatureKind::Categorical { .. }));
    let wanted: Vec<Wanted> = categorical
        .map(|(feature, (_, field))| {
            let codes: BTreeSet<u32> = rows.iter().map(|row| dataset.codes(*row)[field.codes.start]).collect();
            Wanted { feature, place: field.codes.start, codes: codes.into_iter().collect() }
        })
        .collect();
    let mut named: BTreeMap<(&str, u32), String> = BTreeMap::new();
    for (wanted, of_codes) in wanted.iter().zip(names(&wanted, dataset, interrupt)?) {
        let name = fields[wanted.feature].name.as_str();
        named.extend(wanted.codes.iter().zip(of_codes).map(|(code, (value, _))| ((name, *code), value)));
    }
    for example in found.iter_mut().flat_map(|pair| &mut pair.examples) {
        let codes = dataset.codes(example.row as usize);
        for part in &mut example.parts {
            let Some(field) = fields.iter().find(|field| field.name == part.field) else { continue };
            if let Some(value) = named.get(&(field.name.as_str(), codes[field.codes.start])) {
                part.value = Some(value.clone());
            }
        }
    }
    Ok(())
}

/// Parts of both models side by side.
fn parts(a: &[(String, f64)], b: &[(String, f64)], value: impl Fn(&str) -> Option<String>) -> Vec<Part> {
    let of =
        |parts: &[(String, f64)], field: &str| parts.iter().find(|part| part.0 == field).map_or(0.0, |part| part.1);
    let only_b = b.iter().filter(|part| a.iter().all(|other| other.0 != part.0));
    let mut parts: Vec<Part> = (a.iter().chain(only_b))
        .map(|(field, _)| Part { field: field.clone(), value: value(field), a: of(a, field), b: of(b, field) })
        .collect();
    parts.sort_by(|x, y| (y.a - y.b).abs().total_cmp(&(x.a - x.b).abs()));
    parts
}

/// What stands in a field of a row, as the encoder knows it; both models take the same codes.
fn value_of(subject: &Subject, codes: &[u32], field: &str) -> Option<String> {
    let encoder = &subject.bundle.encoder;
    let (position, field) = fields(encoder).into_iter().enumerate().find(|(_, of)| of.name == field)?;
    let mut names: Vec<String> =
        codes[field.codes].iter().filter(|code| **code != 0).map(|code| encoder.value_name(position, *code)).collect();
    names.dedup();
    Some(names.join(" "))
}
