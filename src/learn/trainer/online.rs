//! Logs → a trained bundle in one pass, with no prepared rows on the way.
//!
//! All threads cut and encode blocks of the logs ([`read_blocks`]). Whoever holds the block that is next lets the model learn from it
//! while the others encode on, so nobody waits for anybody, and no code goes through a disk. The model meets the rows one by one,
//! in the order of the logs and in the batches that prepared rows come in; they are counted and identified on the way. So the bundle
//! is the one that preparing the logs and training on them gives, to the bit.
//!
//! Only models that need to know nothing of rows to come can learn so ([`Settings::learns_online`]).

use std::time::Instant;

use super::super::Interrupt;
use super::super::dataset::{BadRowsRecord, EncodedRows, RowsIdentity, View};
use super::super::prepare::BlockEncoder;
use super::super::settings::{Evidence, ModelSettings, Settings, Training};
use super::super::source::{BLOCK, BadRows, Input, Reading, read_blocks};
use super::bundle::{Draft, Judge, Look, Origin, Outcome};
use super::feed::{IndexedBatch, KeptNegatives};
use super::tiers::Totals;
use super::{CurvePoint, Progress, Trained, TrainingRecord, check_evidence, diverged};
use crate::error::{Error, Result};
use crate::model::base_rate::BaseRateLearner;
use crate::model::bundle::Model;
use crate::model::features::{ColumnEncoder, Encoder, Indexer, IndexerBuilder};
use crate::model::ftrl::FtrlLearner;
use crate::model::schema::Schema;
use crate::model::{Learn, Threads};

/// What to train on.
#[derive(Debug, Clone)]
pub struct OnlineTask<'a> {
    /// Logs to learn from, in order.
    pub inputs: &'a [Input],
    /// Their schema.
    pub schema: &'a Schema,
    /// Turns their rows into codes.
    pub encoder: &'a Encoder,
    /// Share of bad rows that is borne, 0 to 1.
    pub max_bad_rows: f64,
    /// Rows that decide calibration; not in the logs.
    pub valid: View<'a>,
    /// How; they learn online.
    pub settings: Settings,
    /// Kept in the bundle.
    pub seed: u64,
    /// Rows of the logs, about, to tell how far training is.
    pub expected_rows: u64,
}

/// A trained bundle, and what its rows turned out to be.
#[derive(Debug, Clone)]
pub struct TrainedOnline {
    /// As [`super::train`] gives it.
    pub trained: Trained,
    /// How much there was to learn from.
    pub evidence: Evidence,
    /// Rows that were left out.
    pub bad_rows: BadRowsRecord,
}

/// Trains, calibrates and describes a model.
///
/// # Errors
/// Those of reading the logs; Data when there are no rows or only one class; Config when settings do not fit; Interrupted.
pub fn train_online(
    task: &OnlineTask<'_>,
    threads: Threads<'_>,
    on_progress: &mut (dyn FnMut(Progress) + Send),
    interrupt: &Interrupt,
) -> Result<TrainedOnline> {
    if !task.settings.learns_online() {
        return Err(Error::Bug(format!("{:?} cannot be learned in one pass over logs", task.settings)));
    }
    let indexer = IndexerBuilder::new(&task.settings.features, task.encoder)?.finish();
    let run = Run { task, indexer: &indexer, threads, interrupt };
    match &task.settings.model {
        ModelSettings::BaseRate {} => run.learn(BaseRateLearner::default(), Model::BaseRate, on_progress),
        ModelSettings::Ftrl(config) => {
            run.learn(FtrlLearner::new(config, indexer.layout().table_rows), Model::Ftrl, on_progress)
        }
        ModelSettings::Dcn(_) => Err(Error::Bug("a network needs its rows more than once".into())),
    }
}

struct Run<'r> {
    task: &'r OnlineTask<'r>,
    indexer: &'r Indexer,
    threads: Threads<'r>,
    interrupt: &'r Interrupt,
}

impl Run<'_> {
    fn learn<L: Learn + Send>(
        &self,
        learner: L,
        wrap: impl Fn(L::Frozen) -> Model,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<TrainedOnline> {
        let Run { task, threads, interrupt, .. } = *self;
        let training = &task.settings.training;
        let started = Instant::now();
        let mut pass = Pass::new(task, self.indexer, learner);
        let mut bad = BadRows::new(task.max_bad_rows)?;
        let columns = ColumnEncoder::new(task.encoder);
        let make = || BlockEncoder::new(task.schema, task.encoder, &columns);
        let reading = Reading { schema: task.schema, targets: true, interrupt };
        for input in task.inputs {
            let mut take = |encoded: &mut BlockEncoder<'_>| {
                let steps_before = pass.steps.len();
                pass.take(encoded.rows())?;
                encoded.clear();
                if let Some(step) = pass.steps[steps_before..].last() {
                    let total_rows = task.expected_rows.max(step.rows);
                    let log_loss = step.loss / step.weight.max(f64::MIN_POSITIVE);
                    on_progress(Progress { rows: step.rows, total_rows, log_loss, valid_log_loss: None });
                }
                Ok(())
            };
            read_blocks(input, reading, BLOCK, &mut bad, threads, &mut |_| (), &make, &mut take)?;
        }
        let place = task.inputs.iter().map(Input::name).collect::<Vec<_>>().join(", ");
        bad.finish(&place)?;
        pass.step()?;
        let Pass { learner, identity, steps, rows, clicks, totals, .. } = pass;
        let evidence = Evidence { rows, clicks };
        check_evidence(evidence, &place)?;

        let origin = Origin { schema: task.schema, encoder: task.encoder, data: identity.finish(), evidence };
        let draft = Draft::new(origin, self.indexer, &task.settings, task.seed)?;
        let bundle = draft.bundle(wrap(learner.freeze()));
        drop(learner);
        let best = match task.valid.rows() {
            0 => Look::none(bundle),
            _ => Judge::new(&task.valid, training.kept_negatives).look(1, bundle, threads, interrupt)?,
        };
        let record = TrainingRecord {
            rows: rows as u64,
            seconds: started.elapsed().as_secs_f64(),
            precision: None,
            curve: curve(&steps, &best),
            best_look: best.number,
            stopped_early: false,
        };
        let first_pass = steps.iter().fold((0.0, 0.0), |(loss, weight), step| (loss + step.loss, weight + step.weight));
        let trained =
            draft.finish(Outcome { best, first_pass, record }, totals, &task.valid, training, threads, interrupt)?;
        Ok(TrainedOnline { trained, evidence, bad_rows: bad.record().clone() })
    }
}

/// A model on its way through the rows.
struct Pass<'a, L> {
    learner: L,
    indexer: &'a Indexer,
    training: &'a Training,
    kept: KeptNegatives,
    /// Rows of a step that is not complete.
    batch: IndexedBatch,
    identity: RowsIdentity,
    /// Rows taken, and clicks among them.
    rows: usize,
    clicks: usize,
    totals: Totals,
    steps: Vec<Step>,
}

/// One batch, after it was learned from.
struct Step {
    /// Rows learned from so far.
    rows: u64,
    /// Summed log loss in nats, each row predicted before it was learned from.
    loss: f64,
    weight: f64,
}

impl<'a, L: Learn> Pass<'a, L> {
    fn new(task: &'a OnlineTask<'_>, indexer: &'a Indexer, learner: L) -> Self {
        let training = &task.settings.training;
        Pass {
            learner,
            indexer,
            training,
            kept: KeptNegatives { share: training.kept_negatives, seed: task.seed },
            batch: IndexedBatch::default(),
            identity: RowsIdentity::new(task.schema, task.encoder),
            rows: 0,
            clicks: 0,
            totals: Totals::default(),
            steps: Vec::new(),
        }
    }

    /// Learns from the next rows.
    fn take(&mut self, encoded: &EncodedRows) -> Result<()> {
        self.identity.append(encoded);
        let mut start = 0;
        while start < encoded.rows() {
            let room = self.training.batch_rows - self.batch.read_rows as usize;
            let end = encoded.rows().min(start + room);
            let piece = encoded.piece(self.rows, start..end);
            self.clicks += piece.labels.iter().map(|label| usize::from(*label)).sum::<usize>();
            self.totals.add(&piece);
            self.batch.append(&piece, self.indexer, self.kept);
            start = end;
            if self.batch.read_rows as usize == self.training.batch_rows {
                self.step()?;
            }
        }
        self.rows += encoded.rows();
        Ok(())
    }

    /// Learns from the rows of a batch, if there are any.
    fn step(&mut self) -> Result<()> {
        if self.batch.read_rows == 0 {
            return Ok(());
        }
        let before = self.steps.last().map_or(0, |step| step.rows);
        let loss = self.learner.learn(&self.batch.view(self.indexer), 1.0, Threads::one());
        if !loss.is_finite() {
            return Err(diverged(loss, before, 0));
        }
        self.steps.push(Step { rows: before + self.batch.read_rows, loss, weight: self.batch.weight() });
        self.batch.clear();
        Ok(())
    }
}

/// The curve of a pass with one look at its end, as [`super::train`] gives it.
fn curve(steps: &[Step], look: &Look) -> Vec<CurvePoint> {
    let every = (steps.len() / 100).max(1);
    let points = steps.chunks(every).map(|steps| {
        let sum = |value: fn(&Step) -> f64| steps.iter().map(value).sum::<f64>();
        let log_loss = sum(|step| step.loss) / sum(|step| step.weight).max(f64::MIN_POSITIVE);
        let rows = steps.last().map_or(0, |step| step.rows);
        CurvePoint { rows, progressive_log_loss: log_loss, valid_log_loss: None }
    });
    let mut points: Vec<CurvePoint> = points.collect();
    if let Some(last) = points.last_mut().filter(|_| look.number > 0) {
        last.valid_log_loss = Some(look.loss);
    }
    points
}
