//! Lent threads with one working memory each, and what says which stage of a step is running.
//!
//! A step is cut into pieces that do not follow the number of threads: blocks of [`BLOCK`] rows through the network, runs of
//! rows of a weight for its gradient, pieces of parameters and of touched rows for the optimizers. Threads take the next
//! piece when they are done with one. Each piece gives the same bits whoever works on it, and sums over pieces are taken in
//! the order of the pieces, so the number of threads never changes a bit.

use crate::kernels::{GemmScratch, Precision};
use crate::model::Threads;
use std::sync::{Mutex, PoisonError};

/// Rows that go through the network together: what one kernel writes, the next one reads from the second-level cache.
pub(super) const BLOCK: usize = 256;

/// The parts of a step, as [`DcnLearner::learn_watched`](super::DcnLearner::learn_watched) tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Places of the batch sorted by slot.
    Sort,
    /// Weights packed for the products, once a step.
    PackWeights,
    /// Steps and decay that touched rows owe.
    CatchUp,
    /// Embeddings of the rows.
    Gather,
    /// Products of the cross layers with their epilogue.
    CrossForward,
    /// Products of the tower with bias and ReLU.
    TowerForward,
    /// Dropout, and batch normalization in both directions.
    Normalize,
    /// Head, linear part and loss, with their gradients.
    Head,
    /// Gradients of cross layers that are no product, and their packing.
    CrossSplit,
    /// Products that give the gradients of a cross layer's inputs.
    CrossInputs,
    /// Gradients of the tower that are no product (ReLU, bias), and their packing.
    TowerSplit,
    /// Products that give the gradients of a tower layer's inputs.
    TowerInputs,
    /// Products that give the gradients of weights.
    WeightGradients,
    /// Adam on everything dense.
    Adam,
    /// Gradients of embeddings and linear weights added up, and their optimizers.
    Embeddings,
}

impl Stage {
    /// All stages, in the order of a step.
    pub const ALL: [Stage; 15] = [
        Stage::Sort,
        Stage::PackWeights,
        Stage::CatchUp,
        Stage::Gather,
        Stage::CrossForward,
        Stage::TowerForward,
        Stage::Normalize,
        Stage::Head,
        Stage::CrossSplit,
        Stage::CrossInputs,
        Stage::TowerSplit,
        Stage::TowerInputs,
        Stage::WeightGradients,
        Stage::Adam,
        Stage::Embeddings,
    ];

    /// Whether its time goes to matrix products.
    pub fn is_product(self) -> bool {
        use Stage::{CrossForward, CrossInputs, TowerForward, TowerInputs, WeightGradients};
        matches!(self, CrossForward | CrossInputs | TowerForward | TowerInputs | WeightGradients)
    }
}

/// Called at the beginning of each stage by the thread that begins it; the ground itself reads no clock.
pub(super) type Watch<'a> = &'a (dyn Fn(Stage) + Sync);

/// Threads, and one working memory for each.
pub(super) struct Crew<'a> {
    pub(super) threads: Threads<'a>,
    lanes: &'a mut Vec<Lane>,
    pub(super) watch: Watch<'a>,
}

/// The working memory of one thread.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) gemm: GemmScratch,
    /// What the factors of products are rounded to.
    pub(super) precision: Precision,
    /// Buffers that blocks have given back; the last one is still in the cache.
    strips: Vec<Vec<f32>>,
}

impl Lane {
    /// A buffer of at least `length` values, whatever they are.
    pub(super) fn take(&mut self, length: usize) -> Vec<f32> {
        let mut strip = self.strips.pop().unwrap_or_default();
        if strip.len() < length {
            strip.resize(length, 0.0);
        }
        strip
    }

    /// Takes back what [`Lane::take`] gave, here or elsewhere.
    pub(super) fn give(&mut self, strip: &mut Vec<f32>) {
        self.strips.push(std::mem::take(strip));
    }
}

impl<'a> Crew<'a> {
    pub(super) fn new(threads: Threads<'a>, precision: Precision, lanes: &'a mut Vec<Lane>, watch: Watch<'a>) -> Self {
        lanes.resize_with(threads.count().max(lanes.len()), Lane::default);
        lanes.iter_mut().for_each(|lane| lane.precision = precision);
        Crew { threads, lanes, watch }
    }

    /// Works off `pieces`: each thread takes the next one when it is done with the last.
    pub(super) fn each<T>(&mut self, pieces: impl Iterator<Item = T> + Send, work: impl Fn(T, &mut Lane) + Sync) {
        let pieces = Mutex::new(pieces);
        // A panic in another thread ends the step anyway; this one may finish what is left.
        let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
        let lanes = self.lanes.iter_mut().take(self.threads.count()).collect();
        self.threads.for_each(lanes, |lane| {
            while let Some(piece) = next() {
                work(piece, lane);
            }
        });
    }
}

/// Makes room for `length` values; memory is kept when a batch is shorter than one before.
pub(super) fn fit(buffer: &mut Vec<f32>, length: usize) {
    buffer.resize(length, 0.0);
}
