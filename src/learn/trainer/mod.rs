//! Training rows, validation rows and settings → a calibrated bundle.
//!
//! ```text
//! train ─▶ indexer ─▶ learner ─▶ looks at the validation rows ─▶ best model ─▶ numbers it scores in ─▶ calibrator ─▶ bundle
//! ```
//!
//! The last two steps use the validation rows too. One pass by default: click models overfit at the second. The progressive loss (predict, then learn) of the first pass
//! is an honest estimate that costs nothing. The next batches are read and indexed by a thread of their own when more
//! than one is lent; the order of the rows, and so every bit of the result, does not depend on it.

mod feed;
mod plateau;
mod scoring;
mod tiers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Interrupt;
use super::dataset::{Order, Piece, View};
use super::evaluate;
use super::settings::{Evidence, ModelSettings, Settings};
use crate::error::{Error, Result};
use crate::kernels;
use crate::metrics::ranking::Ranking;
use crate::metrics::{Predictions, losses};
use crate::model::base_rate::BaseRateLearner;
use crate::model::bundle::{Bundle, Model, Parts, Profile, Provenance, Tier, Tiers};
use crate::model::calibration::{self, Calibrator, Choice, Method};
use crate::model::dcn::EnsembleLearner;
use crate::model::features::{Indexer, IndexerBuilder};
use crate::model::ftrl::FtrlLearner;
use crate::model::{EMPTY_SLOT, Learn, Threads};
use feed::{Flow, IndexedBatch, feed};
use plateau::{Plateau, Verdict};

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
    let clicks = check_labels(&task.train, "training")?;
    let dataset = task.train.dataset();
    let indexer = learn_indexer(task, threads, interrupt)?;
    let parts = |model: Model| Parts {
        schema: dataset.schema().clone(),
        encoder: dataset.encoder().clone(),
        indexer: indexer.clone(),
        model,
        calibrator: Calibrator::identity(),
        tiers: Tiers::of_rate(clicks, task.train.rows() as u64),
    };
    let provenance = Provenance {
        pctr: env!("CARGO_PKG_VERSION").into(),
        seed: task.seed,
        data: dataset.fingerprint(),
        settings: serde_json::to_value(&task.settings).map_err(|error| Error::Bug(error.to_string()))?,
        isa: kernels::isa().name().into(),
        precision: precision_of(&task.settings.model),
    };
    if let Some(precision) = &provenance.precision {
        let isa = &provenance.isa;
        tracing::info!("matrix products of training run in {precision} on {isa}, sums and weights in f32");
    }
    let profile = Profile {
        rows: task.train.rows() as u64,
        clicks,
        passes: task.settings.training.passes,
        progressive_log_loss: f64::NAN,
        table_rows: indexer.layout().table_rows as u64,
        calibration: Choice { method: Method::Identity, rows: 0, losses: Vec::new() },
        score_quantiles: Vec::new(),
        scoring: None,
        tiers: BTreeMap::new(),
    };
    let draft = |model| Bundle::draft(parts(model), provenance.clone(), profile.clone());
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
            learner.set_bias((clicks as f64 / (task.train.rows() as f64 - clicks as f64)).ln() as f32);
            run.learn(learner, |model| Model::Dcn(Arc::new(model)))?
        }
    };
    finish(task, outcome, provenance, profile, threads, interrupt)
}

/// The best model of a run, not yet calibrated.
struct Outcome {
    bundle: Bundle,
    logits: Vec<f32>,
    first_pass_loss: f64,
    record: TrainingRecord,
}

/// What stays the same during a run.
struct Run<'r, 'a> {
    task: &'r Task<'a>,
    indexer: &'r Indexer,
    threads: Threads<'r>,
    interrupt: &'r Interrupt,
    on_progress: &'r mut dyn FnMut(Progress),
    draft: &'r dyn Fn(Model) -> Bundle,
}

/// The best look so far.
struct Best {
    look: usize,
    loss: f64,
    bundle: Bundle,
    logits: Vec<f32>,
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
        let (mut step, mut rows, mut first_pass_loss) = (0_u64, 0_u64, 0.0);
        let mut plateau = Plateau::new(settings.patience, settings.plateau_patience, settings.plateau_factor);
        let mut window = (0.0, 0.0);
        let mut curve: Vec<CurvePoint> = Vec::new();
        let mut best: Option<Best> = None;
        let mut looks = 0;
        let valid_labels = task.valid.labels();
        let valid_weights = task.valid.weights();
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
                    let message =
                        format!("the loss became {loss} at row {rows} of pass {pass}: lower the learning rate");
                    return Err(Error::config("training", "diverged", message));
                }
                let weight = batch.weight();
                step += 1;
                step_of_pass += 1;
                rows += batch.read_rows;
                first_pass_loss += if pass == 0 { loss } else { 0.0 };
                window = (window.0 + loss, window.1 + weight);
                let look_due =
                    step_of_pass * looks_a_pass / steps_a_pass > (step_of_pass - 1) * looks_a_pass / steps_a_pass;
                if !look_due && step % report_every != 0 {
                    return Ok(Flow::GoOn);
                }
                let mut valid_log_loss = None;
                if look_due && task.valid.rows() > 0 {
                    looks += 1;
                    let bundle = (self.draft)(wrap(learner.freeze()));
                    let logits = evaluate::logits(&bundle, &task.valid, self.threads, self.interrupt)?;
                    let loss = loss_of(&logits, &valid_labels, valid_weights.as_deref(), settings.kept_negatives);
                    valid_log_loss = Some(loss);
                    if best.as_ref().is_none_or(|best| loss < best.loss) {
                        best = Some(Best { look: looks, loss, bundle, logits });
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
        let best = best.unwrap_or_else(|| Best {
            look: 0,
            loss: f64::NAN,
            bundle: (self.draft)(wrap(learner.freeze())),
            logits: Vec::new(),
        });
        let record = TrainingRecord {
            rows,
            seconds: started.elapsed().as_secs_f64(),
            precision: precision_of(&task.settings.model),
            stopped_early: rows < total_rows,
            best_look: best.look,
            curve,
        };
        Ok(Outcome { bundle: best.bundle, logits: best.logits, first_pass_loss, record })
    }
}

/// Calibrates on the validation rows and completes the manifest.
fn finish(
    task: &Task<'_>,
    outcome: Outcome,
    provenance: Provenance,
    profile: Profile,
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<Trained> {
    let training = &task.settings.training;
    let Outcome { mut bundle, mut logits, first_pass_loss, record } = outcome;
    let labels = task.valid.labels();
    let valid = &task.valid;
    let scoring = scoring::decide(&mut bundle, &mut logits, valid, training.kept_negatives, threads, interrupt)?;
    let (calibrator, choice) = calibration::fit(&training.calibration, &logits, &labels, training.kept_negatives)?;
    let probabilities: Vec<f64> = logits.iter().map(|logit| calibrator.probability(*logit)).collect();
    let named = metrics_of(&labels, &probabilities, task.valid.weights().as_deref());
    let (base_rate, base_rate_profile) = tiers::base_rate(task, &labels)?;
    let mut sorted = probabilities;
    sorted.sort_unstable_by(f64::total_cmp);
    let quantile = |part: usize| sorted.get(part * sorted.len().saturating_sub(1) / 20).copied();
    let profile = Profile {
        progressive_log_loss: first_pass_loss / weight_of(&task.train).max(f64::MIN_POSITIVE),
        calibration: choice,
        score_quantiles: (0..=20).filter_map(quantile).collect(),
        scoring,
        tiers: BTreeMap::from([(Tier::BaseRate, base_rate_profile)]),
        ..profile
    };
    let Bundle { schema, encoder, indexer, model, .. } = bundle;
    let parts = Parts { schema, encoder, indexer, model, calibrator, tiers: Tiers { cheap: None, base_rate } };
    Ok(Trained { bundle: Bundle::new(parts, provenance, profile, named), record })
}

/// What is said of predictions on the validation rows; nothing where there are none.
fn metrics_of(labels: &[u8], probabilities: &[f64], weights: Option<&[f32]>) -> IndexMap<String, f64> {
    let predictions = Predictions::new(labels, probabilities, weights);
    let mut named = IndexMap::new();
    if let Some(totals) = predictions.totals() {
        losses::log_loss(&predictions).map(|loss| named.insert("valid_log_loss".to_owned(), loss));
        Ranking::new(&predictions).auc().map(|auc| named.insert("valid_auc".to_owned(), auc));
        totals.pcoc().map(|pcoc| named.insert("valid_pcoc".to_owned(), pcoc));
    }
    named
}

/// What the factors of the model's matrix products are rounded to while it learns on this processor.
fn precision_of(model: &ModelSettings) -> Option<String> {
    match model {
        ModelSettings::Dcn(config) => Some(config.precision().name().into()),
        ModelSettings::BaseRate {} | ModelSettings::Ftrl(_) => None,
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

/// Number of clicks; an error when there is nothing to learn from.
fn check_labels(view: &View<'_>, what: &str) -> Result<u64> {
    let Evidence { rows, clicks } = view.evidence();
    let (rows, clicks) = (rows as u64, clicks as u64);
    let place = view.dataset().folder().display().to_string();
    match clicks {
        _ if rows == 0 => Err(Error::data(place, format!("expected {what} rows, got none"))),
        0 => Err(Error::data(
            place,
            format!("expected clicks among {rows} {what} rows, got none: there is nothing to learn"),
        )),
        clicks if clicks == rows => {
            Err(Error::data(place, format!("expected some of {rows} {what} rows without a click, got only clicks")))
        }
        clicks => Ok(clicks),
    }
}

fn weight_of(view: &View<'_>) -> f64 {
    let weights = |piece: Piece<'_>| match piece.weights {
        Some(weights) => weights.iter().map(|weight| f64::from(*weight)).sum(),
        None => piece.rows.len() as f64,
    };
    view.pieces().map(weights).sum()
}

/// Log loss in nats of uncalibrated logits, after undoing negative sampling.
fn loss_of(logits: &[f32], labels: &[u8], weights: Option<&[f32]>, kept_negatives: f64) -> f64 {
    let calibrator = Calibrator { log_kept_negatives: kept_negatives.ln(), ..Calibrator::identity() };
    let probabilities: Vec<f64> = logits.iter().map(|logit| calibrator.probability(*logit)).collect();
    losses::log_loss(&Predictions::new(labels, &probabilities, weights)).unwrap_or(f64::NAN)
}
