//! `run.json`: everything there is to say about one run, readable by people, complete without the rows.
//!
//! A report is made from records alone, so every curve it draws is kept here. A metric that does not exist on its rows is
//! `null`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::error::{Error, Result};
use crate::learn::trainer::CurvePoint;
use crate::metrics::Evaluation;
use crate::model::calibration::Choice;
use crate::model::features::hash::Fingerprint;

/// File that says a folder is a run.
pub const RECORD_FILE: &str = "run.json";
/// Version of the record's layout.
pub const FORMAT: u32 = 1;

/// One model, one point of its grid, one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this layout, [`FORMAT`].
    pub format: u32,
    /// Name of the model in the recipe.
    pub model: String,
    /// What it is.
    pub kind: Kind,
    /// Seed of this run.
    pub seed: u64,
    /// Where in its grid it stands.
    pub grid: Option<GridPlace>,
    /// The experiment it was run for.
    pub experiment: ExperimentMark,
    /// Identity of everything that decides the result: data, split, kind, settings, seed and the version of pctr.
    pub identity: Fingerprint,
    /// Settings as used, defaults filled in.
    pub settings: serde_json::Value,
    /// What a reader must know, such as rows that were left out.
    pub notes: Vec<String>,
    /// The rows.
    pub data: DataRecord,
    /// Where it ran.
    pub environment: Environment,
    /// When it started, UTC, RFC 3339.
    pub started: String,
    /// Wall time in seconds: training, evaluation and timing.
    pub wall_seconds: f64,
    /// Greatest resident memory in bytes of the *process* up to the end of this run, runs before it included (`VmHWM` of
    /// `/proc/self/status`). `None` where the system does not say.
    pub process_peak_bytes: Option<u64>,
    /// How training went.
    pub training: TrainingSummary,
    /// Bytes of the bundle; `None` for a reference model, which has none.
    pub bundle_bytes: Option<u64>,
    /// Name of the bundle's model.
    pub bundle: Option<String>,
    /// How fast it scores.
    pub scoring: Scoring,
    /// How it was calibrated.
    pub calibration: CalibrationRecord,
    /// Log loss in nats that chooses among points of a grid: cross-validated over the calibrator on the validation rows.
    pub selection_log_loss: Option<f64>,
    /// Metrics on the validation rows, on which the calibrator was fitted; `None` without any.
    pub valid: Option<Evaluation>,
    /// Metrics on the test rows.
    pub test: Evaluation,
    /// Mean log loss in nats of the true probabilities on the test rows, where the truth is known.
    pub truth_log_loss: Option<f64>,
    /// Calibrated probabilities on the test rows, counted in bars of equal width on the log-odds scale.
    pub test_scores: Vec<ScoreBar>,
}

/// Where in its grid a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridPlace {
    /// Number of the point, from 0.
    pub point: usize,
    /// Values of the grid's keys.
    pub values: String,
}

/// The experiment a run belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentMark {
    /// Its name.
    pub name: String,
    /// Identity of its recipe.
    pub recipe: Fingerprint,
}

/// The rows of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Identity of all rows.
    pub fingerprint: Fingerprint,
    /// Name of the schema.
    pub schema: String,
    /// Identity of which rows train, validate and test.
    pub split: Fingerprint,
    /// Rows left out because they could not be read.
    pub bad_rows: u64,
    /// Whether rows have groups.
    pub grouped: bool,
    /// Rows to learn from.
    pub train: PartRecord,
    /// Rows that decide calibration and early stopping.
    pub valid: PartRecord,
    /// Rows that decide nothing.
    pub test: PartRecord,
}

/// One part of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Rows.
    pub rows: u64,
    /// Rows with a click.
    pub clicks: u64,
    /// Earliest time, seconds since 1970, where rows have a time.
    pub from: Option<i64>,
    /// Latest time.
    pub to: Option<i64>,
}

/// Where a run ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of pctr.
    pub pctr: String,
    /// Instruction set of the kernels.
    pub isa: String,
    /// Threads lent to training and evaluation.
    pub threads: usize,
    /// Name of the processor, where the system says it.
    pub processor: Option<String>,
    /// Operating system and architecture.
    pub system: String,
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Rows learned from, all passes together.
    pub rows: u64,
    /// Different rows learned from.
    pub rows_used: u64,
    /// Wall time in seconds of learning, with its looks at the validation rows.
    pub seconds: f64,
    /// `rows / seconds`.
    pub rows_per_second: f64,
    /// Whether training stopped before its last pass ended.
    pub stopped_early: bool,
    /// Which look at the validation rows was the best, from 1; 0 without looks.
    pub best_look: usize,
    /// Log loss in nats along the way; empty for reference models.
    pub curve: Vec<CurvePoint>,
}

/// How fast a model scores encoded rows, from codes to calibrated probabilities, on one thread, warm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// One row a call.
    pub one: Latency,
    /// 100 rows a call (fewer where the test part has fewer).
    pub hundred: Latency,
}

/// Time of one call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median, in microseconds.
    pub p50_micros: f64,
    /// 99th percentile, in microseconds.
    pub p99_micros: f64,
    /// Calls measured.
    pub calls: u64,
}

/// How a model was calibrated, on the validation rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationRecord {
    /// The method and what each of the methods tried would have lost.
    pub choice: Choice,
    /// Predicted clicks over clicks on the test rows before calibration.
    pub test_pcoc_before: Option<f64>,
    /// Predicted clicks over clicks on the test rows after calibration.
    pub test_pcoc_after: Option<f64>,
    /// Log loss in nats on the test rows before calibration.
    pub test_log_loss_before: f64,
}

/// Test rows whose probability lies in one bar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreBar {
    /// Lowest probability, inside.
    pub low: f64,
    /// Highest probability, outside.
    pub high: f64,
    /// Rows with a click.
    pub clicks: u64,
    /// Rows without.
    pub others: u64,
}

impl RunRecord {
    /// Reads the record of the run in `folder`.
    ///
    /// # Errors
    /// Io when it cannot be read; data when it is no record, or of another version.
    pub fn read(folder: &Path) -> Result<RunRecord> {
        let path = folder.join(RECORD_FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version =
            serde_json::from_str(&text).map_err(|error| wrong(format!("is no record of a run: {error}")))?;
        if version.format != FORMAT {
            return Err(wrong(format!("expected format {FORMAT}, got {}: run the experiment again", version.format)));
        }
        serde_json::from_str(&text).map_err(|error| wrong(format!("is no record of a run: {error}")))
    }

    /// The record as it stands in the file.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data serialize");
        text.push('\n');
        text
    }

    /// Name of its folder under `runs/`.
    pub fn folder_name(&self) -> String {
        folder_name(&self.model, self.grid.as_ref().map(|grid| grid.point), self.seed)
    }
}

/// Name of a run's folder: model, point of the grid (from 1) and seed.
pub fn folder_name(model: &str, point: Option<usize>, seed: u64) -> String {
    match point {
        Some(point) => format!("{model}-g{:03}-{seed}", point + 1),
        None => format!("{model}-{seed}"),
    }
}

/// Bars of equal width in log-odds from [`LEAST_SCORE`] to its mirror; scores outside count in the outermost bars.
pub fn score_bars(labels: &[u8], probabilities: &[f64]) -> Vec<ScoreBar> {
    let log_odds = |p: f64| (p / (1.0 - p)).ln();
    let least = log_odds(LEAST_SCORE);
    let width = -2.0 * least / BARS as f64;
    let edge = |bar: usize| 1.0 / (1.0 + (-(least + width * bar as f64)).exp());
    let mut bars: Vec<ScoreBar> =
        (0..BARS).map(|bar| ScoreBar { low: edge(bar), high: edge(bar + 1), clicks: 0, others: 0 }).collect();
    for (label, p) in labels.iter().zip(probabilities) {
        let bar = ((log_odds(*p) - least) / width).floor().clamp(0.0, (BARS - 1) as f64) as usize;
        match label {
            1 => bars[bar].clicks += 1,
            _ => bars[bar].others += 1,
        }
    }
    let filled = |bar: &ScoreBar| bar.clicks + bar.others > 0;
    let first = bars.iter().position(filled).unwrap_or(0);
    let end = bars.iter().rposition(filled).map_or(0, |last| last + 1);
    bars[first..end].to_vec()
}

/// Lower edge of the first bar of [`score_bars`].
pub const LEAST_SCORE: f64 = 1e-4;
const BARS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_hold_every_row_once() {
        let probabilities = [1e-9, 0.001, 0.001, 0.2, 0.5, 0.999_999_9];
        let bars = score_bars(&[0, 1, 0, 0, 1, 1], &probabilities);
        assert_eq!(bars.iter().map(|bar| bar.clicks).sum::<u64>(), 3);
        assert_eq!(bars.iter().map(|bar| bar.others).sum::<u64>(), 3);
        assert!(bars.windows(2).all(|pair| (pair[0].high - pair[1].low).abs() < 1e-12));
        let holding = bars.iter().find(|bar| bar.low <= 0.001 && 0.001 < bar.high).unwrap();
        assert_eq!((holding.clicks, holding.others), (1, 1));
        assert!(score_bars(&[], &[]).is_empty());
    }

    #[test]
    fn folders_are_named_by_model_point_and_seed() {
        assert_eq!(folder_name("lr", None, 7), "lr-7");
        assert_eq!(folder_name("lr", Some(0), 7), "lr-g001-7");
    }
}
