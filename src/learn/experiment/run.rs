//! One model, one point of its grid, one seed → a record, predictions and, for pctr's own kinds, a bundle.

use std::time::{Duration, Instant};

use baselines::{Fitted, sample_rows};

use super::dense;
use super::kind::{Kind, ReferenceSettings, Resolved};
use super::predictions::PredictionTable;
use super::record::{
    CalibrationRecord, DataRecord, Environment, ExperimentMark, FORMAT, GridPlace, Latency, RunRecord, Scoring,
    TrainingSummary, score_bars,
};
use crate::error::{Error, Result};
use crate::kernels;
use crate::learn::dataset::View;
use crate::learn::settings::Settings;
use crate::learn::split::Split;
use crate::learn::trainer::{Progress, Task, train};
use crate::learn::{Interrupt, evaluate};
use crate::metrics::{self, Predictions, calibration::pcoc, losses};
use crate::model::Threads;
use crate::model::bundle::{Bundle, ScoreScratch};
use crate::model::calibration::{self, Calibrator, Choice, Map};
use crate::model::features::hash::Fingerprint;

/// What to run.
pub(super) struct RunTask<'a> {
    pub(super) experiment: ExperimentMark,
    pub(super) model: &'a str,
    pub(super) kind: Kind,
    pub(super) grid: Option<GridPlace>,
    pub(super) settings: Resolved,
    pub(super) seed: u64,
    pub(super) split: &'a Split<'a>,
    pub(super) data: &'a DataRecord,
    pub(super) truth: Option<&'a [f64]>,
    pub(super) threads: Threads<'a>,
    pub(super) interrupt: &'a Interrupt,
}

/// What a run leaves.
pub(super) struct RunOutcome {
    pub(super) record: RunRecord,
    pub(super) test: PredictionTable,
    pub(super) valid: Option<PredictionTable>,
    pub(super) bundle: Option<Bundle>,
}

/// A trained and calibrated model of any kind, with its logits on both parts.
struct Learned {
    bundle: Option<Bundle>,
    calibrator: Calibrator,
    choice: Choice,
    valid_logits: Vec<f32>,
    test_logits: Vec<f32>,
    training: TrainingSummary,
    scoring: Scoring,
    notes: Vec<String>,
}

impl RunTask<'_> {
    /// Identity of everything that decides the result.
    pub(super) fn identity(&self) -> Result<Fingerprint> {
        let parts = (
            env!("CARGO_PKG_VERSION"),
            (self.data.fingerprint, self.data.split, self.truth.is_some()),
            (self.kind, self.seed, &self.settings),
        );
        let text = serde_json::to_string(&parts).map_err(|error| Error::Bug(error.to_string()))?;
        Ok(Fingerprint::of(text.as_bytes()))
    }

    /// Trains, calibrates and judges.
    ///
    /// # Errors
    /// Those of training; interrupted.
    pub(super) fn run(self, on_progress: &mut dyn FnMut(Progress)) -> Result<RunOutcome> {
        let begun = Instant::now();
        let started = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let identity = self.identity()?;
        let settings = serde_json::to_value(&self.settings).map_err(|error| Error::Bug(error.to_string()))?;
        let learned = match &self.settings {
            Resolved::Own(settings) => self.learn_own(settings, on_progress)?,
            Resolved::Reference(settings) => self.learn_reference(settings)?,
        };
        let uncalibrated = Calibrator { map: Map::Identity, ..learned.calibrator.clone() };
        let table = |view: &View<'_>, logits: &[f32], truth: Option<&[f64]>| PredictionTable {
            rows: view.ranges().iter().cloned().flatten().map(|row| row as u64).collect(),
            labels: view.labels(),
            probabilities: logits.iter().map(|logit| learned.calibrator.probability(*logit)).collect(),
            weights: view.weights(),
            times: view.times(),
            groups: view.groups(),
            truth: truth.map(<[f64]>::to_vec),
            uncalibrated: Some(logits.iter().map(|logit| uncalibrated.probability(*logit)).collect()),
        };
        let test = table(&self.split.test, &learned.test_logits, self.truth);
        let valid = (self.split.valid.rows() > 0).then(|| table(&self.split.valid, &learned.valid_logits, None));
        let evaluation = |table: &PredictionTable| {
            let PredictionTable { labels, probabilities, weights, groups, .. } = table;
            metrics::evaluate(labels, probabilities, weights.as_deref(), groups.as_deref())
        };
        let weightless =
            || Error::data(self.split.test.dataset().folder().display().to_string(), "the test rows weigh nothing");
        let test_evaluation = evaluation(&test).ok_or_else(weightless)?;
        let valid_evaluation = valid.as_ref().and_then(evaluation);

        let before = test.uncalibrated.as_deref().expect("a run keeps what was predicted before calibration");
        let before = Predictions::new(&test.labels, before, test.weights.as_deref());
        let truth = test.truth.as_ref().map(|truth| Predictions::new(&test.labels, truth, test.weights.as_deref()));
        let Choice { method, losses: tried, .. } = &learned.choice;
        let cross_validated = tried.iter().find(|(tried, _)| tried == method).map(|(_, loss)| *loss);
        let record = RunRecord {
            format: FORMAT,
            model: self.model.to_owned(),
            kind: self.kind,
            seed: self.seed,
            grid: self.grid,
            fold: None,
            experiment: self.experiment,
            identity,
            settings,
            notes: learned.notes,
            data: self.data.clone(),
            environment: environment(self.threads.count()),
            started,
            wall_seconds: begun.elapsed().as_secs_f64(),
            process_peak_bytes: process_peak_bytes(),
            training: learned.training,
            bundle_bytes: learned.bundle.as_ref().map(Bundle::size),
            bundle: learned.bundle.as_ref().map(|bundle| bundle.manifest.model.clone()),
            scoring: learned.scoring,
            selection_log_loss: valid
                .as_ref()
                .and(cross_validated.or(valid_evaluation.as_ref().map(|evaluation| evaluation.log_loss))),
            calibration: CalibrationRecord {
                choice: learned.choice,
                test_pcoc_before: pcoc(&before),
                test_pcoc_after: test_evaluation.pcoc,
                test_log_loss_before: losses::log_loss(&before).unwrap_or(test_evaluation.log_loss),
            },
            truth_log_loss: truth.as_ref().and_then(losses::log_loss),
            test_scores: score_bars(&test.labels, &test.probabilities),
            valid: valid_evaluation,
            test: test_evaluation,
        };
        Ok(RunOutcome { record, test, valid, bundle: learned.bundle })
    }

    fn learn_own(&self, settings: &Settings, on_progress: &mut dyn FnMut(Progress)) -> Result<Learned> {
        let (train_rows, valid) = (self.split.train.clone(), self.split.valid.clone());
        let task = Task { train: train_rows, valid, settings: settings.clone(), seed: self.seed };
        let trained = train(&task, self.threads, on_progress, self.interrupt)?;
        let (bundle, record) = (trained.bundle, trained.record);
        let logits = |view: &View<'_>| evaluate::logits(&bundle, view, self.threads, self.interrupt);
        let (valid_logits, test_logits) = (logits(&self.split.valid)?, logits(&self.split.test)?);

        let width = self.split.test.dataset().width();
        let codes = some_codes(&self.split.test);
        let (mut scratch, mut probabilities) = (ScoreScratch::default(), Vec::new());
        let scoring = time_scoring(codes.len() / width, |rows| {
            probabilities.clear();
            bundle.score(&codes[rows.start * width..rows.end * width], &mut scratch, &mut probabilities);
            std::hint::black_box(&probabilities);
            Ok(())
        })?;
        let training = TrainingSummary {
            rows: record.rows,
            rows_used: self.split.train.rows() as u64,
            seconds: record.seconds,
            rows_per_second: record.rows as f64 / record.seconds.max(1e-9),
            stopped_early: record.stopped_early,
            best_look: record.best_look,
            curve: record.curve,
        };
        Ok(Learned {
            calibrator: bundle.calibrator.clone(),
            choice: bundle.manifest.profile.calibration.clone(),
            bundle: Some(bundle),
            valid_logits,
            test_logits,
            training,
            scoring,
            notes: Vec::new(),
        })
    }

    fn learn_reference(&self, settings: &ReferenceSettings) -> Result<Learned> {
        let refused = |error: baselines::BaselineError| Error::data(format!("model {}", self.model), error.to_string());
        let (offered, dimensions) = (self.split.train.rows(), settings.dimensions);
        let limit = settings.model.row_limit(dimensions).map_err(refused)?;
        let sample = sample_rows(offered, limit, self.seed);
        let (rows, labels) = dense::of_positions(&self.split.train, &sample, dimensions)?;
        self.interrupt.check()?;
        let begun = Instant::now();
        let fitted = settings.model.fit(&rows, &labels, self.seed).map_err(refused)?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut report = fitted.report().clone();
        report.rows_offered = offered;

        let valid_logits = reference_logits(&fitted, &self.split.valid, dimensions, self.interrupt)?;
        let test_logits = reference_logits(&fitted, &self.split.test, dimensions, self.interrupt)?;
        let valid_labels = self.split.valid.labels();
        let (calibrator, choice) = calibration::fit(&settings.calibration, &valid_logits, &valid_labels, 1.0)?;

        let width = self.split.test.dataset().width();
        let codes = some_codes(&self.split.test);
        let scoring = time_scoring(codes.len() / width, |rows| {
            let dense = dense::of_codes(&codes[rows.start * width..rows.end * width], width, dimensions)?;
            for p in fitted.predict(&dense).map_err(refused)? {
                std::hint::black_box(calibrator.probability(logit(p)));
            }
            Ok(())
        })?;
        let rows = report.rows_used as u64;
        let training = TrainingSummary {
            rows,
            rows_used: rows,
            seconds,
            rows_per_second: rows as f64 / seconds.max(1e-9),
            stopped_early: false,
            best_look: 0,
            curve: Vec::new(),
        };
        let notes = vec![format!("{report}, hashed with signs; one thread")];
        Ok(Learned { bundle: None, calibrator, choice, valid_logits, test_logits, training, scoring, notes })
    }
}

fn reference_logits(fitted: &Fitted, view: &View<'_>, dimensions: usize, interrupt: &Interrupt) -> Result<Vec<f32>> {
    const BLOCK_ROWS: usize = 4096;
    let width = view.dataset().width();
    let mut logits = Vec::with_capacity(view.rows());
    for piece in view.pieces() {
        for codes in piece.codes.chunks(BLOCK_ROWS * width) {
            interrupt.check()?;
            let rows = dense::of_codes(codes, width, dimensions)?;
            let probabilities = fitted.predict(&rows).map_err(|error| Error::Bug(error.to_string()))?;
            logits.extend(probabilities.into_iter().map(logit));
        }
    }
    Ok(logits)
}

fn logit(probability: f64) -> f32 {
    (probability / (1.0 - probability)).ln() as f32
}

/// Codes of the first rows of a view, as many as timing takes.
fn some_codes(view: &View<'_>) -> Vec<u32> {
    const ROWS: usize = 10_000;
    let codes = view.slice(0..view.rows().min(ROWS));
    codes.pieces().flat_map(|piece| piece.codes.iter().copied()).collect()
}

/// Times `score` on one and on 100 of `rows` rows, each call on other rows.
fn time_scoring(rows: usize, mut score: impl FnMut(std::ops::Range<usize>) -> Result<()>) -> Result<Scoring> {
    const CALLS: usize = 2_000;
    const FEWEST_CALLS: usize = 100;
    const BUDGET: Duration = Duration::from_millis(300);
    let mut time = |together: usize| {
        let together = together.min(rows);
        let mut micros = Vec::with_capacity(CALLS);
        let begun = Instant::now();
        while micros.len() < CALLS && (micros.len() < FEWEST_CALLS || begun.elapsed() < BUDGET) {
            let first = (micros.len() * together) % (rows - together + 1);
            let call = Instant::now();
            score(first..first + together)?;
            micros.push(call.elapsed().as_secs_f64() * 1e6);
        }
        // The first calls warm caches and buffers.
        micros.drain(..FEWEST_CALLS / 5);
        micros.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| micros[((micros.len() - 1) as f64 * share).round() as usize];
        Ok::<_, Error>(Latency { p50_micros: quantile(0.5), p99_micros: quantile(0.99), calls: micros.len() as u64 })
    };
    Ok(Scoring { one: time(1)?, hundred: time(100)? })
}

fn environment(threads: usize) -> Environment {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Environment {
        pctr: env!("CARGO_PKG_VERSION").into(),
        isa: kernels::isa().name().into(),
        threads,
        processor: processor.map(|(_, name)| name.trim().to_owned()),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// Greatest resident memory of this process so far.
fn process_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}
