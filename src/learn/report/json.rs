//! A comparison → `report.json`: everything the report says, with the numbers behind its pictures, for other programs.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::learn::experiment::Comparison;
use crate::learn::experiment::record::ScoreBar;
use crate::learn::trainer::CurvePoint;
use crate::metrics::calibration::ReliabilityBin;
use crate::metrics::ranking::RocPoint;

/// Version of the layout of `report.json`; a key that goes away or changes its meaning makes a new one.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    pctr: &'static str,
    #[serde(flatten)]
    comparison: &'a Comparison,
    curves: Vec<Curves<'a>>,
}

/// Curves of one run.
#[derive(Serialize)]
struct Curves<'a> {
    model: &'a str,
    seed: u64,
    /// Number of the rolling fold, from 0.
    fold: usize,
    reliability: &'a [ReliabilityBin],
    roc: &'a [RocPoint],
    scores: &'a [ScoreBar],
    training: &'a [CurvePoint],
}

/// The report as JSON.
///
/// # Errors
/// Bug when the comparison cannot be written as JSON.
pub fn json(comparison: &Comparison) -> Result<String> {
    let curves = comparison.models.iter().flat_map(|model| {
        model.runs.iter().map(|run| Curves {
            model: &model.name,
            seed: run.record.seed,
            fold: run.record.fold.map_or(0, |fold| fold.number),
            reliability: &run.record.test.reliability,
            roc: &run.record.test.roc,
            scores: &run.record.test_scores,
            training: &run.record.training.curve,
        })
    });
    let document = Document { format: FORMAT, pctr: env!("CARGO_PKG_VERSION"), comparison, curves: curves.collect() };
    let text = serde_json::to_string_pretty(&document).map_err(|error| Error::Bug(error.to_string()))?;
    Ok(text + "\n")
}
