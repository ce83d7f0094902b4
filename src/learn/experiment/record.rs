//! `run.json` and `machine.json`: everything there is to say about one run, readable by people, complete without the rows.
//!
//! `run.json` holds what the same recipe gives again, byte for byte, whether it ran through, was stopped and went on, or ran
//! beside others; `machine.json` holds what depends on machine and moment: times, memory, environment. In the program both are one
//! [`RunRecord`]. A report is made from records alone, so every curve it draws is kept here. A metric that does not exist on
//! its rows is `null`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::durable::write_bytes;
use crate::error::{Error, Result};
use crate::learn::trainer::CurvePoint;
use crate::metrics::Evaluation;
use crate::model::calibration::Choice;
use crate::model::features::hash::Fingerprint;

/// File that says a folder is a run.
pub const RECORD_FILE: &str = "run.json";
/// What depends on machine and moment, beside [`RECORD_FILE`].
pub const MACHINE_FILE: &str = "machine.json";
/// Version of the layout of both files.
pub const FORMAT: u32 = 2;

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
    /// Which of several rolling folds it was judged on.
    #[serde(default)]
    pub fold: Option<FoldPlace>,
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
    /// Where it ran; in [`MACHINE_FILE`].
    #[serde(skip)]
    pub environment: Environment,
    /// When it started, UTC, RFC 3339; in [`MACHINE_FILE`].
    #[serde(skip)]
    pub started: String,
    /// Wall time in seconds: training, evaluation and timing; in [`MACHINE_FILE`].
    #[serde(skip)]
    pub wall_seconds: f64,
    /// Greatest resident memory in bytes of the *process*, mapped rows included (`VmHWM` of `/proc/self/status`): while this run
    /// ran when it ran alone, otherwise up to its end. `None` where the system does not say. In [`MACHINE_FILE`].
    #[serde(skip)]
    pub process_peak_bytes: Option<u64>,
    /// How training went.
    pub training: TrainingSummary,
    /// Bytes of the bundle; `None` for a reference model, which has none.
    pub bundle_bytes: Option<u64>,
    /// Name of the bundle's model.
    pub bundle: Option<String>,
    /// How fast it scores; in [`MACHINE_FILE`].
    #[serde(skip)]
    pub scoring: Scoring,
    /// Whether nothing of the experiment ran beside it while scoring was timed; in [`MACHINE_FILE`].
    #[serde(skip)]
    pub timed_alone: bool,
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

/// Which of several rolling folds a run was judged on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldPlace {
    /// Number of the fold, from 0, the earliest.
    pub number: usize,
    /// Folds in all.
    pub of: usize,
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
    /// Test rows that equal a training or validation row.
    #[serde(default)]
    pub duplicates: Option<Duplicates>,
    /// Rows to learn from.
    pub train: PartRecord,
    /// Rows that decide calibration and early stopping.
    pub valid: PartRecord,
    /// Rows that decide nothing.
    pub test: PartRecord,
}

/// Test rows that equal a training or validation row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    /// Of the same label and the same values, as the encoder keeps them (a number is its bin).
    pub same_values: u64,
    /// Of these, of the same weight, time and group too: copies. `None` where rows have neither time nor group, so that a
    /// copy cannot be told from another impression of the same kind.
    pub copies: Option<u64>,
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

/// `machine.json` as it stands in the file.
#[derive(Serialize, Deserialize)]
struct MachineRecord {
    format: u32,
    environment: Environment,
    started: String,
    wall_seconds: f64,
    process_peak_bytes: Option<u64>,
    training_seconds: f64,
    rows_per_second: f64,
    scoring: Scoring,
    timed_alone: bool,
}

/// Where a run ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Wall time in seconds of learning, with its looks at the validation rows; in [`MACHINE_FILE`].
    #[serde(skip)]
    pub seconds: f64,
    /// `rows / seconds`; in [`MACHINE_FILE`].
    #[serde(skip)]
    pub rows_per_second: f64,
    /// Whether training stopped before its last pass ended.
    pub stopped_early: bool,
    /// Which look at the validation rows was the best, from 1; 0 without looks.
    pub best_look: usize,
    /// Log loss in nats along the way; empty for reference models.
    pub curve: Vec<CurvePoint>,
}

/// How fast a model scores encoded rows, from codes to calibrated probabilities, on one thread, warm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// One row a call.
    pub one: Latency,
    /// 100 rows a call (fewer where the test part has fewer).
    pub hundred: Latency,
}

/// Time of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
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
        let mut record: RunRecord = read_json(&folder.join(RECORD_FILE), "record of a run")?;
        let machine: MachineRecord = read_json(&folder.join(MACHINE_FILE), "record of what a run took")?;
        record.environment = machine.environment;
        record.started = machine.started;
        record.wall_seconds = machine.wall_seconds;
        record.process_peak_bytes = machine.process_peak_bytes;
        record.training.seconds = machine.training_seconds;
        record.training.rows_per_second = machine.rows_per_second;
        record.scoring = machine.scoring;
        record.timed_alone = machine.timed_alone;
        Ok(record)
    }

    /// Writes both files into `folder`, [`RECORD_FILE`], which says that there is a run, last.
    ///
    /// # Errors
    /// Io when the place cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        self.write_machine(folder)?;
        write_bytes(&folder.join(RECORD_FILE), to_json(self).as_bytes())
    }

    /// Writes [`MACHINE_FILE`] anew, after something was timed again.
    ///
    /// # Errors
    /// Io when the place cannot be written.
    pub fn write_machine(&self, folder: &Path) -> Result<()> {
        let machine = MachineRecord {
            format: FORMAT,
            environment: self.environment.clone(),
            started: self.started.clone(),
            wall_seconds: self.wall_seconds,
            process_peak_bytes: self.process_peak_bytes,
            training_seconds: self.training.seconds,
            rows_per_second: self.training.rows_per_second,
            scoring: self.scoring,
            timed_alone: self.timed_alone,
        };
        write_bytes(&folder.join(MACHINE_FILE), to_json(&machine).as_bytes())
    }

    /// Name of its folder under `runs/`.
    pub fn folder_name(&self) -> String {
        let point = self.grid.as_ref().map(|grid| grid.point);
        folder_name(&self.model, point, self.fold.map(|fold| fold.number), self.seed)
    }
}

/// Plain data as the files of an experiment hold it.
pub(super) fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data serialize");
    text.push('\n');
    text
}

/// Reads a file of this version's layout; `what` is named in errors.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let wrong = |message: String| Error::data(path.display().to_string(), message);
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version = serde_json::from_str(&text).map_err(|error| wrong(format!("is no {what}: {error}")))?;
    if version.format != FORMAT {
        return Err(wrong(format!("expected format {FORMAT}, got {}: run the experiment again", version.format)));
    }
    serde_json::from_str(&text).map_err(|error| wrong(format!("is no {what}: {error}")))
}

/// Name of a run's folder: model, point of the grid (from 1), fold (from 1) and seed.
pub fn folder_name(model: &str, point: Option<usize>, fold: Option<usize>, seed: u64) -> String {
    let point = point.map_or_else(String::new, |point| format!("-g{:03}", point + 1));
    let fold = fold.map_or_else(String::new, |fold| format!("-f{}", fold + 1));
    format!("{model}{point}{fold}-{seed}")
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
    fn folders_are_named_by_model_point_fold_and_seed() {
        assert_eq!(folder_name("lr", None, None, 7), "lr-7");
        assert_eq!(folder_name("lr", Some(0), None, 7), "lr-g001-7");
        assert_eq!(folder_name("lr", Some(11), Some(2), 7), "lr-g012-f3-7");
    }
}
