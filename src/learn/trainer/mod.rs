//! Training rows, validation rows and settings → a calibrated bundle.
//!
//! ```text
//! train ─▶ indexer ─▶ learner ─▶ looks at the validation rows ─▶ best model ─▶ numbers it scores in ─▶ calibrator ─▶ bundle
//! ```
//!
//! The last two steps use the validation rows too. One pass by default: click models overfit at the second. The progressive loss (predict, then learn) of the first pass
//! is an honest estimate that costs nothing. Models that need to know nothing of rows to come can learn straight from
//! logs ([`train_online`]). The next batches are read and indexed by a thread of their own when more
//! than one is lent; the order of the rows, and so every bit of the result, does not depend on it.

mod bundle;
mod feed;
mod online;
mod plateau;
mod scoring;
mod tiers;

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Interrupt;
use super::dataset::{Order, View};
use super::settings::{Evidence, ModelSettings, Settings};
use crate::error::{Error, Result};
use crate::model::base_rate::BaseRateLearner;
use crate::model::bundle::{Bundle, Model};
use crate::model::dcn::EnsembleLearner;
use crate::model::features::{Indexer, IndexerBuilder};
use crate::model::ftrl::FtrlLearner;
use crate::model::{EMPTY_SLOT, Learn, Threads};
use bundle::{Draft, Judge, Look, Origin, Outcome, precision_of};
use feed::{Flow, IndexedBatch, feed};
pub use online::{OnlineTask, TrainedOnline, train_online};
use plateau::{Plateau, Verdict};
use tiers::Totals;

/// What to train on.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// Rows to learn from.
    pub train: View<'a>,
    /// Rows that decide early stopping and calibration; not in `train`.
    pub valid: View<'a>,
    /// How.
    pub settings: Settings,
    /// Seed of initial weights, order and dropout.
    pub seed: u64,
}

/// A trained bundle and the story of its training.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Ready to be written.
    pub bundle: Bundle,
    /// How it went.
    pub record: TrainingRecord,
}

/// How a training run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Rows learned from, all passes together.
    pub rows: u64,
    /// Wall time in seconds of learning alone.
    pub seconds: f64,
    /// What the factors of matrix products were rounded to: `f32` or `bf16`; absent for models without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Log loss in nats along the way.
    pub curve: Vec<CurvePoint>,
    /// Which look at the validation rows was the best, from 1.
    pub best_look: usize,
    /// Whether training stopped before its last pass ended.
    pub stopped_early: bool,
}

/// One point of a training curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Rows learned from so far.
    pub rows: u64,
    /// Mean log loss in nats of the rows since the last point, each predicted before it was learned from.
    pub progressive_log_loss: f64,
    /// Log loss in nats on the validation rows, where they were looked at.
    pub valid_log_loss: Option<f64>,
}

/// How far training is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Rows learned from so far.
    pub rows: u64,
    /// Rows of all passes.
    pub total_rows: u64,
    /// Mean progressive log loss in nats since the last report.
    pub log_loss: f64,
    /// Latest log loss in nats on the validation rows.
    pub valid_log_loss: Option<f64>,
}

/// Trains, calibrates and describes a model.
///
/// # Errors
/// Data when there are no rows or only one class; config when settings do not fit the rows; interrupted.
pub fn train(
    task: &Task<'_>,
    threads: Threads<'_>,
    on_progress: &mut dyn FnMut(Progress),
    interrupt: &Interrupt,
) -> Result<Trained> {
    let dataset = task.train.dataset();
    let evidence = task.train.evidence();
    check_evidence(evidence, &dataset.folder().display().to_string())?;
    let indexer = learn_indexer(task, threads, interrupt)?;
    let of = Origin { schema: dataset.schema(), encoder: dataset.encoder(), data: dataset.fingerprint(), evidence };
    let draft = Draft::new(of, &indexer, &task.settings, task.seed)?;
    let mut run = Run { task, indexer: &indexer, threads, interrupt, on_progress, draft: &draft };
    let outcome = match &task.settings.model {
        ModelSettings::BaseRate {} => run.learn(BaseRateLearner::default(), Model::BaseRate)?,
        ModelSettings::Ftrl(config) => run.learn(FtrlLearner::new(config, indexer.layout().table_rows), Model::Ftrl)?,
        ModelSettings::Dcn(config) => {
            let counts = match config.settings().embedding_min_count > 1 {
                true => Some(count_slots(&task.train, &indexer, interrupt)?),
                false => None,
            };
            let mut learner = EnsembleLearner::new(config, indexer.layout(), counts.as_deref(), task.seed)?;
            drop(counts);
            let (clicks, rows) = (evidence.clicks as f64, evidence.rows as f64);
            learner.set_bias((clicks / (rows - clicks)).ln() as f32);
            run.learn(learner, |model| Model::Dcn(Arc::new(model)))?
        }
    };
    let mut totals = Totals::default();
    task.train.pieces().for_each(|piece| totals.add(&piece));
    draft.finish(outcome, totals, &task.valid, &task.settings.training, threads, interrupt)
}

/// What stays the same during a run.
struct Run<'r, 'a> {
    task: &'r Task<'a>,
    indexer: &'r Indexer,
    threads: Threads<'r>,
    interrupt: &'r Interrupt,
    on_progress: &'r mut dyn FnMut(Progress),
    draft: &'r Draft,
}

impl Run<'_, '_> {
    fn learn<L: Learn>(&mut self, mut learner: L, wrap: impl Fn(L::Frozen) -> Model) -> Result<Outcome> {
        let (task, settings) = (self.task, &self.task.settings.training);
        let rows_a_pass = task.train.rows() as u64;
        let steps_a_pass = rows_a_pass.div_ceil(settings.batch_rows as u64);
        let total_rows = rows_a_pass * u64::from(settings.passes);
        let looks_a_pass = u64::from(settings.checks_per_pass).min(steps_a_pass);
        let report_every = (steps_a_pass / 100).max(1);

        let started = Instant::now();
        let (mut step, mut rows) = (0_u64, 0_u64);
        let mut first_pass = (0.0, 0.0);
        let mut plateau = Plateau::new(settings.patience, settings.plateau_patience, settings.plateau_factor);
        let mut window = (0.0, 0.0);
        let mut curve: Vec<CurvePoint> = Vec::new();
        let mut best: Option<Look> = None;
        let mut looks = 0;
        let valid = Judge::new(&task.valid, settings.kept_negatives);
        for pass in 0..u64::from(settings.passes) {
            let order = match settings.shuffle {
                true => Order::Shuffled { seed: task.seed, pass },
                false => Order::InOrder,
            };
            let mut step_of_pass = 0;
            let stopped = feed(task, self.indexer, order, self.threads, &mut |batch: &IndexedBatch| {
                self.interrupt.check()?;
                let rate = plateau.rate * settings.schedule.rate(step, steps_a_pass * u64::from(settings.passes));
                let loss = learner.learn(&batch.view(self.indexer), rate, self.threads);
                if !loss.is_finite() {
                    return Err(diverged(loss, rows, pass));
                }
                let weight = batch.weight();
                step += 1;
                step_of_pass += 1;
                rows += batch.read_rows;
                if pass == 0 {
                    first_pass = (first_pass.0 + loss, first_pass.1 + weight);
                }
                window = (window.0 + loss, window.1 + weight);
                let look_due =
                    step_of_pass * looks_a_pass / steps_a_pass > (step_of_pass - 1) * looks_a_pass / steps_a_pass;
                if !look_due && step % report_every != 0 {
                    return Ok(Flow::GoOn);
                }
                let mut valid_log_loss = None;
                if look_due && task.valid.rows() > 0 {
                    looks += 1;
                    let bundle = self.draft.bundle(wrap(learner.freeze()));
                    let look = valid.look(looks, bundle, self.threads, self.interrupt)?;
                    valid_log_loss = Some(look.loss);
                    if best.as_ref().is_none_or(|best| look.loss < best.loss) {
                        best = Some(look);
                    }
                }
                let log_loss = window.0 / f64::max(window.1, f64::MIN_POSITIVE);
                curve.push(CurvePoint { rows, progressive_log_loss: log_loss, valid_log_loss });
                let latest = curve.iter().rev().find_map(|point| point.valid_log_loss);
                (self.on_progress)(Progress { rows, total_rows, log_loss, valid_log_loss: latest });
                window = (0.0, 0.0);
                match valid_log_loss.map(|loss| plateau.look(loss)) {
                    Some(Verdict::Stop) => Ok(Flow::Stop),
                    _ => Ok(Flow::GoOn),
                }
            })?;
            if stopped {
                break;
            }
        }
        let best = best.unwrap_or_else(|| Look::none(self.draft.bundle(wrap(learner.freeze()))));
        let record = TrainingRecord {
            rows,
            seconds: started.elapsed().as_secs_f64(),
            precision: precision_of(&task.settings.model),
            stopped_early: rows < total_rows,
            best_look: best.number,
            curve,
        };
        Ok(Outcome { best, first_pass, record })
    }
}

/// Learns which slot each code gets; counts all training rows when the mode needs it.
fn learn_indexer(task: &Task<'_>, threads: Threads<'_>, interrupt: &Interrupt) -> Result<Indexer> {
    let mut builder = IndexerBuilder::new(&task.settings.features, task.train.dataset().encoder())?;
    if builder.counts() {
        for piece in task.train.pieces() {
            interrupt.check()?;
            builder.count(piece.codes, threads);
        }
    }
    Ok(builder.finish())
}

/// How often each slot occurs in the training rows.
fn count_slots(train: &View<'_>, indexer: &Indexer, interrupt: &Interrupt) -> Result<Vec<u32>> {
    let mut counts = vec![0_u32; indexer.layout().table_rows];
    let mut slots = Vec::new();
    for piece in train.pieces() {
        interrupt.check()?;
        for codes in piece.codes.chunks(4096 * indexer.codes_width()) {
            indexer.index(codes, &mut slots);
            slots.iter().filter(|slot| **slot != EMPTY_SLOT).for_each(|slot| counts[*slot as usize] += 1);
        }
    }
    Ok(counts)
}

/// There must be something to learn from.
fn check_evidence(evidence: Evidence, place: &str) -> Result<()> {
    let Evidence { rows, clicks } = evidence;
    let message = match clicks {
        _ if rows == 0 => "expected training rows, got none".to_owned(),
        0 => format!("expected clicks among {rows} training rows, got none: there is nothing to learn"),
        clicks if clicks == rows => format!("expected some of {rows} training rows without a click, got only clicks"),
        _ => return Ok(()),
    };
    Err(Error::data(place, message))
}

fn diverged(loss: f64, row: u64, pass: u64) -> Error {
    let message = format!("the loss became {loss} at row {row} of pass {pass}: lower the learning rate");
    Error::config("training", "diverged", message)
}
