//! Batches → weights: one step is prepare (sort, pack, catch up), forward, loss, backward, update.

use super::config::{DcnConfig, RawDcn};
use super::crew::{BLOCK, Crew, Lane, Stage, fit};
use super::deep::Dropout;
use super::embedding::Embedding;
use super::model::DcnModel;
use super::narrow::Narrow;
use super::network::{Dropouts, Network, Pass, Share};
use super::touched::Touched;
use super::wide::Wide;
use crate::error::{Error, Result};
use crate::kernels::{AdamStep, Matrix, PackedMatrix, Precision};
use crate::model::{Batch, Layout, Learn, Slots, Threads};
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::sync::Arc;

/// A DCN v2 that learns.
///
/// The loss is the mean over the rows of a batch of `weight · log loss`; the sum of weights does not divide it.
#[derive(Debug)]
pub struct DcnLearner {
    config: DcnConfig,
    /// What the factors of products are rounded to.
    precision: Precision,
    layout: Layout,
    seed: u64,
    steps: u64,
    narrow: Narrow,
    embedding: Embedding,
    network: Network,
    wide: Option<Wide>,
    /// Rows of the embedding table that the batch reads, where they are not its slots.
    narrowed: Vec<u32>,
    touched: Touched,
    /// Slots of the batch, for the linear part.
    wide_touched: Touched,
    lanes: Vec<Lane>,
    /// What dropout and bags multiply the fields of the batch by, rows × fields; empty where by nothing.
    scales: Vec<f32>,
    /// ∂x₀ of the batch, rows × width.
    gradient_x0: Vec<f32>,
    logits: Vec<f32>,
    /// ∂loss/∂logit, of the loss summed over the batch.
    summed: Vec<f32>,
    /// The same of the mean.
    mean: Vec<f32>,
}

impl DcnLearner {
    /// A network with first weights drawn by `seed`, for rows of `layout`.
    ///
    /// Embeddings start as `embedding_init` says, matrices of cross layers and head uniform (Glorot & Bengio 2010), matrices of
    /// the tower normal (He et al. 2015), biases and linear weights at 0.
    ///
    /// # Errors
    /// [`Error::Config`] when the layout leaves nothing to embed, or the table cannot be addressed.
    pub fn new(config: DcnConfig, layout: Layout, seed: u64) -> Result<Self> {
        Self::with_counts(config, layout, None, seed)
    }

    /// [`DcnLearner::new`], told how often each slot of the layout occurs in the training rows: `embedding_min_count` above 1
    /// needs to know.
    ///
    /// # Errors
    /// As [`DcnLearner::new`], and when counts are needed and are not one for each slot.
    pub fn with_counts(config: DcnConfig, layout: Layout, counts: Option<&[u32]>, seed: u64) -> Result<Self> {
        let narrow = Narrow::learned(&config, &layout, counts)?;
        if narrow.fields.is_empty() || layout.table_rows == 0 {
            return Err(Error::config("dcn", "layout", "expected at least one field to embed, got none"));
        }
        if layout.table_rows.checked_mul(config.settings().embedding_dim * 4).is_none() {
            let message = format!("expected a table that fits in memory, got {} rows", layout.table_rows);
            return Err(Error::config("dcn", "layout", message));
        }
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let embedding = Embedding::new(&config, narrow.fields.clone(), narrow.table_rows, &mut generator);
        Ok(DcnLearner {
            network: Network::new(&config, embedding.width(), &mut generator),
            wide: Wide::new(&config, &layout.spans, layout.table_rows),
            narrow,
            embedding,
            precision: config.precision(),
            config,
            layout,
            seed,
            steps: 0,
            narrowed: Vec::new(),
            touched: Touched::default(),
            wide_touched: Touched::default(),
            lanes: Vec::new(),
            scales: Vec::new(),
            gradient_x0: Vec::new(),
            logits: Vec::new(),
            summed: Vec::new(),
            mean: Vec::new(),
        })
    }

    /// Sets the bias before the first step, best to the log-odds of the click rate: the first steps then need not find it.
    pub fn set_bias(&mut self, logit: f32) {
        self.network.set_bias(logit);
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// [`Learn::learn`] that says at the beginning of each stage which one it is.
    ///
    /// The ground reads no clock; a caller that does learns where the time goes. With more than one thread, all of them call.
    pub fn learn_watched(
        &mut self,
        batch: &Batch<'_>,
        rate: f32,
        threads: Threads<'_>,
        watch: &(dyn Fn(Stage) + Sync),
    ) -> f64 {
        let Batch { slots, .. } = *batch;
        if slots.rows() == 0 {
            return 0.0;
        }
        let loss = self.gradients(batch, threads, watch);
        self.steps += 1;
        let settings = self.config.settings();
        let learning_rate = settings.learning_rate * rate;
        let step = AdamStep::new(learning_rate, settings.beta1, settings.beta2, settings.epsilon, self.steps);
        watch(Stage::Adam);
        self.network.parameters.adam(&self.config, &step, threads);
        watch(Stage::Embeddings);
        let narrowed = self.narrow.view(slots, &self.narrowed);
        let gradients = (&self.scales[..], &self.gradient_x0[..]);
        self.embedding.learn(narrowed, &self.touched, gradients, &step, rate, threads);
        if let Some(wide) = &mut self.wide {
            wide.learn(slots, &self.wide_touched, &self.summed, &step, rate, threads);
        }
        loss
    }

    /// Everything before the update: fills gradients, returns the summed loss.
    fn gradients(&mut self, batch: &Batch<'_>, threads: Threads<'_>, watch: &(dyn Fn(Stage) + Sync)) -> f64 {
        let Batch { slots, labels, weights } = *batch;
        let rows = slots.rows();
        assert_eq!(slots.width(), self.layout.width(), "positions of a row");
        assert_eq!(labels.len(), rows, "one label for each row");
        self.prepare(slots, threads, watch);
        let fields = if self.embedding.scales_fields(self.config.settings()) { self.narrow.fields.len() } else { 0 };
        let width = self.embedding.width();
        fit(&mut self.scales, rows * fields);
        fit(&mut self.gradient_x0, rows * width);
        for per_row in [&mut self.logits, &mut self.summed, &mut self.mean] {
            fit(per_row, rows);
        }
        let pass = Pass {
            embedding: &self.embedding,
            wide: self.wide.as_ref(),
            dropouts: dropouts(self.config.settings(), self.seed, self.steps),
            inverse_rows: 1.0 / rows as f32,
        };
        let narrowed = self.narrow.view(slots, &self.narrowed);
        let mut scales = self.scales.chunks_mut((BLOCK * fields).max(1));
        let per_row =
            (self.logits.chunks_mut(BLOCK).zip(self.summed.chunks_mut(BLOCK))).zip(self.mean.chunks_mut(BLOCK));
        let shares = per_row.zip(self.gradient_x0.chunks_mut(BLOCK * width)).enumerate();
        let shares = shares.map(|(number, (((logits, summed), mean), gradient_x0))| {
            let range = number * BLOCK..number * BLOCK + logits.len();
            Share {
                first: range.start,
                narrowed: narrowed.range(range.clone()),
                slots: slots.range(range.clone()),
                labels: &labels[range.clone()],
                weights: weights.map_or(&[], |weights| &weights[range]),
                scales: scales.next().unwrap_or_default(),
                logits,
                summed,
                mean,
                gradient_x0,
            }
        });
        let shares = shares.collect();
        self.network.learn(shares, &pass, &mut Crew::new(threads, self.precision, &mut self.lanes, watch))
    }

    /// What comes before the first row: places of the batch sorted by slot, weights packed, and touched rows brought up to date.
    fn prepare(&mut self, slots: Slots<'_>, threads: Threads<'_>, watch: &(dyn Fn(Stage) + Sync)) {
        enum Piece<'a> {
            Sort(&'a mut Touched, Slots<'a>, usize),
            Pack(&'a mut PackedMatrix, Matrix<'a>),
        }
        self.narrow.fill(slots, &mut self.narrowed);
        let narrowed = self.narrow.view(slots, &self.narrowed);
        let mut pieces = vec![Piece::Sort(&mut self.touched, narrowed, self.narrow.table_rows)];
        if self.wide.is_some() {
            pieces.push(Piece::Sort(&mut self.wide_touched, slots, self.layout.table_rows));
        }
        pieces.extend(self.network.packings().into_iter().map(|(packed, matrix)| Piece::Pack(packed, matrix)));
        let precision = self.precision;
        Crew::new(threads, precision, &mut self.lanes, watch).each(pieces.into_iter(), |piece, _| match piece {
            Piece::Sort(touched, slots, table_rows) => {
                watch(Stage::Sort);
                touched.sort(slots, table_rows);
            }
            Piece::Pack(packed, matrix) => {
                watch(Stage::PackWeights);
                packed.repack(matrix, precision);
            }
        });
        watch(Stage::CatchUp);
        self.embedding.catch_up(&self.touched, threads);
        if let Some(wide) = &mut self.wide {
            wide.catch_up(&self.wide_touched);
        }
    }

    /// For tests: loss and every gradient of one batch, by name, without a step.
    #[cfg(test)]
    pub(super) fn gradients_by_name(&mut self, batch: &Batch<'_>) -> (f64, Vec<(String, Vec<f32>)>) {
        let loss = self.gradients(batch, Threads::one(), &|_| ());
        let parameters = &self.network.parameters;
        let dense = parameters.tensors.iter();
        let mut all: Vec<_> =
            dense.map(|tensor| (tensor.name.clone(), parameters.gradients[tensor.range.clone()].to_vec())).collect();
        let narrowed = self.narrow.view(batch.slots, &self.narrowed);
        let embedding = self.embedding.gradient(narrowed, &self.touched, (&self.scales, &self.gradient_x0));
        all.push(("embedding.weight".into(), embedding));
        if let Some(wide) = &self.wide {
            all.push(("wide.weight".into(), wide.gradient(batch.slots, &self.wide_touched, &self.mean)));
        }
        (loss, all)
    }

    /// For tests: every weight by name, to be read and set.
    #[cfg(test)]
    pub(super) fn weights_by_name(&mut self) -> Vec<(String, &mut [f32])> {
        let mut all = Vec::new();
        let mut rest = &mut self.network.parameters.values[..];
        for tensor in &self.network.parameters.tensors {
            let (values, later) = rest.split_at_mut(tensor.range.len());
            all.push((tensor.name.clone(), values));
            rest = later;
        }
        all.push(("embedding.weight".into(), &mut self.embedding.table[..]));
        if let Some(wide) = &mut self.wide {
            all.push(("wide.weight".into(), &mut wide.weights[..]));
        }
        all
    }

    /// For tests: logits of the batch last seen.
    #[cfg(test)]
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }
}

impl Learn for DcnLearner {
    type Frozen = DcnModel;

    fn learn(&mut self, batch: &Batch<'_>, rate: f32, threads: Threads<'_>) -> f64 {
        self.learn_watched(batch, rate, threads, &|_| ())
    }

    fn freeze(&self) -> DcnModel {
        let table = vec![self.narrow.table_rows, self.config.settings().embedding_dim];
        let mut tensors = vec![("embedding.weight".to_string(), table, self.embedding.frozen())];
        if let Some(rows) = self.narrow.stored() {
            tensors.push(("embedding.rows".into(), vec![rows.len()], rows));
        }
        if let Some(wide) = &self.wide {
            tensors.push(("wide.weight".into(), vec![self.layout.table_rows], wide.frozen()));
        }
        tensors.extend(self.network.frozen());
        let lookup = |name: &str| {
            let at = tensors.iter().position(|(tensor, ..)| tensor == name)?;
            let (_, shape, values) = &mut tensors[at];
            Some((std::mem::take(shape), Arc::new(std::mem::take(values)) as _))
        };
        DcnModel::from_tensors(self.config.clone(), self.layout.clone(), lookup).expect("the learner has every tensor")
    }
}

/// What a step drops: fields, outputs of each layer of the tower, and inputs of the head.
fn dropouts(settings: &RawDcn, seed: u64, step: u64) -> Dropouts {
    let drop = |share: f32, layer: usize| Dropout { keep: 1.0 - share, seed: stream(seed, step, layer as u64) };
    let tower = settings.deep.len();
    let share = |layer: usize| if layer < tower { settings.dropout } else { settings.cross_dropout };
    Dropouts {
        embedding: drop(settings.embedding_dropout, 0),
        layers: (0..=tower).map(|layer| drop(share(layer), 1 + layer)).collect(),
    }
}

/// A seed for one layer in one step: distinct for all layers (at most 18) of all steps.
fn stream(seed: u64, step: u64, layer: u64) -> u64 {
    seed.wrapping_add((step * 32 + layer).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// For tests: what dropout multiplies the values of a layer by in the coming step.
#[cfg(test)]
pub(super) fn dropout_factors(learner: &DcnLearner, layer: u64, share: f32, length: usize) -> Vec<f32> {
    let mut factors = vec![1.0; length];
    crate::kernels::dropout(&mut factors, 1.0 - share, stream(learner.seed, learner.steps, layer), 0);
    factors
}
