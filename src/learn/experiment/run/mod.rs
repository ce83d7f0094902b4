//! One model, one point of its grid, one fold, one seed → a record, predictions and, for pctr's own kinds, a bundle; or, with
//! a share of the rows or passes, only the validation log loss that says whether more is worth it.

mod environment;
mod learn;
mod timing;

use std::time::Instant;

use serde::{Deserialize, Serialize};

pub(super) use learn::{Learned, Lesson, Model};
pub(super) use timing::time_bundle;

use super::kind::{Kind, Resolved};
use super::predictions::PredictionTable;
use super::record::{
    CalibrationRecord, DataRecord, ExperimentMark, FORMAT, FoldPlace, GridPlace, RunRecord, score_bars,
};
use super::search::Resource;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::dataset::View;
use crate::learn::split::Split;
use crate::learn::trainer::{CurvePoint, Progress};
use crate::metrics::{self, Predictions, calibration::pcoc, losses};
use crate::model::Threads;
use crate::model::bundle::Bundle;
use crate::model::calibration::{Calibrator, Choice, Map};
use crate::model::features::hash::Fingerprint;
use environment::{environment, forget_peak, process_peak_bytes};

/// What to run.
pub(super) struct RunTask<'a> {
    pub(super) experiment: ExperimentMark,
    pub(super) model: &'a str,
    pub(super) kind: Kind,
    pub(super) grid: Option<GridPlace>,
    pub(super) fold: Option<FoldPlace>,
    pub(super) settings: Resolved,
    pub(super) seed: u64,
    pub(super) split: &'a Split<'a>,
    pub(super) data: &'a DataRecord,
    pub(super) truth: Option<&'a [f64]>,
    pub(super) threads: Threads<'a>,
    /// Whether nothing of the experiment runs beside it.
    pub(super) alone: bool,
    pub(super) interrupt: &'a Interrupt,
}

/// What a run leaves.
pub(super) struct RunOutcome {
    pub(super) record: RunRecord,
    pub(super) test: PredictionTable,
    pub(super) valid: Option<PredictionTable>,
    pub(super) bundle: Option<Bundle>,
}

/// A share of what a run may learn from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Budget {
    pub(super) by: Resource,
    /// Above 0, below 1.
    pub(super) share: f64,
}

/// `trials/NAME.json`: a point of a search that learned from little.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Version of the layout.
    pub format: u32,
    /// Name of the model in the recipe.
    pub model: String,
    /// The point and its values.
    pub grid: Option<GridPlace>,
    /// Seed of this trial.
    pub seed: u64,
    /// Share of the training rows or passes.
    pub share: f64,
    /// Identity of everything that decides the result.
    pub identity: Fingerprint,
    /// Rows learned from, all passes together.
    pub rows: u64,
    /// Log loss in nats on the validation rows, cross-validated over the calibrator.
    pub valid_log_loss: Option<f64>,
    /// Log loss in nats along the way; empty for reference models.
    pub curve: Vec<CurvePoint>,
}

impl RunTask<'_> {
    /// Identity of everything that decides the result; `budget` is less than everything.
    pub(super) fn identity(&self, budget: Option<Budget>) -> Result<Fingerprint> {
        let parts = (
            env!("CARGO_PKG_VERSION"),
            (self.data.fingerprint, self.data.split, self.truth.is_some()),
            (self.kind, self.seed, &self.settings, budget),
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
        if self.alone {
            forget_peak();
        }
        let identity = self.identity(None)?;
        let settings = serde_json::to_value(&self.settings).map_err(|error| Error::Bug(error.to_string()))?;
        let learned = self.lesson(&self.settings, self.split.train.clone()).learn(on_progress)?;
        let test_logits = learned.model.logits(&self.split.test, self.threads, self.interrupt)?;
        let scoring = learned.model.time(&learned.calibrator, &self.split.test)?;
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
        let test = table(&self.split.test, &test_logits, self.truth);
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
        let bundle = match learned.model {
            Model::Own(bundle) => Some(*bundle),
            Model::Reference { .. } => None,
        };
        let record = RunRecord {
            format: FORMAT,
            model: self.model.to_owned(),
            kind: self.kind,
            seed: self.seed,
            grid: self.grid,
            fold: self.fold,
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
            bundle_bytes: bundle.as_ref().map(Bundle::size),
            bundle: bundle.as_ref().map(|bundle| bundle.manifest.model.clone()),
            scoring,
            timed_alone: self.alone,
            selection_log_loss: valid.as_ref().and(
                cross_validated(&learned.choice).or(valid_evaluation.as_ref().map(|evaluation| evaluation.log_loss)),
            ),
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
        Ok(RunOutcome { record, test, valid, bundle })
    }

    /// Trains with a share of the rows or passes, and looks at the validation rows alone.
    ///
    /// # Errors
    /// Those of training; interrupted.
    pub(super) fn try_out(self, budget: Budget, on_progress: &mut dyn FnMut(Progress)) -> Result<TrialRecord> {
        let (settings, train) = self.within(budget);
        let Learned { calibrator, choice, valid_logits, training, .. } =
            self.lesson(&settings, train).learn(on_progress)?;
        let probabilities: Vec<f64> = valid_logits.iter().map(|logit| calibrator.probability(*logit)).collect();
        let (labels, weights) = (self.split.valid.labels(), self.split.valid.weights());
        let fitted = losses::log_loss(&Predictions::new(&labels, &probabilities, weights.as_deref()));
        Ok(TrialRecord {
            format: FORMAT,
            model: self.model.to_owned(),
            seed: self.seed,
            share: budget.share,
            identity: self.identity(Some(budget))?,
            rows: training.rows,
            valid_log_loss: cross_validated(&choice).or(fitted),
            curve: training.curve,
            grid: self.grid,
        })
    }

    /// Settings and rows of a share of everything.
    fn within(&self, Budget { by, share }: Budget) -> (Resolved, View<'_>) {
        let mut settings = self.settings.clone();
        let train = &self.split.train;
        match by {
            Resource::Rows => {
                let rows = ((train.rows() as f64 * share).ceil() as usize).clamp(1, train.rows());
                (settings, train.slice(train.rows() - rows..train.rows()))
            }
            Resource::Passes => {
                if let Resolved::Own(own) = &mut settings {
                    own.training.passes = ((f64::from(own.training.passes) * share).ceil() as u32).max(1);
                }
                (settings, train.clone())
            }
        }
    }

    fn lesson<'l>(&'l self, settings: &'l Resolved, train: View<'l>) -> Lesson<'l> {
        Lesson {
            model: self.model,
            settings,
            train,
            valid: self.split.valid.clone(),
            seed: self.seed,
            threads: self.threads,
            interrupt: self.interrupt,
        }
    }
}

/// What the chosen calibrator loses on validation rows that it was not fitted on.
fn cross_validated(Choice { method, losses, .. }: &Choice) -> Option<f64> {
    losses.iter().find(|(tried, _)| tried == method).map(|(_, loss)| *loss)
}
