//! What one block of rows keeps on its way through the network: inputs of layers, and gradients of their outputs, until the
//! gradients of the weights are taken.
//!
//! A weight's gradient is Σ over rows of inputsᵀ · outputs. Blocks are its pieces of the sum: products go on with one
//! chain of additions from block to block, so the sum has the bits of one product over all rows. Gradients of outputs are packed
//! while they are in the cache, and kept in no other form.

use super::crew::{BLOCK, Lane};
use super::experts::Hidden;
use super::norm::NormTrace;
use crate::kernels::{self, Finish, Matrix, MatrixMut, PackedMatrix};
use std::ops::Range;

/// The trace of some rows, at most [`BLOCK`].
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// Number of rows.
    pub(super) rows: usize,
    /// rows × width.
    pub(super) x0: Vec<f32>,
    pub(super) cross: Vec<CrossTrace>,
    pub(super) deep: Vec<DeepTrace>,
    /// ∂ of the head's weights for each of its inputs.
    pub(super) head_cross: Vec<f32>,
    pub(super) head_deep: Vec<f32>,
    /// dropout(x_L), where the head drops any.
    pub(super) dropped: Vec<f32>,
    /// ∂x₍l₎ while it travels down the cross layers.
    pub(super) gradient_x: Vec<f32>,
    /// Summed (weighted) loss.
    pub(super) loss: f64,
}

impl Block {
    /// x₍l₎ of a cross layer.
    pub(super) fn cross_input(&self, layer: usize) -> &[f32] {
        if layer == 0 { &self.x0 } else { &self.cross[layer - 1].out }
    }

    /// x of a layer of the tower, whose first layer reads x₀, or in the stacked form what the last cross layer gives.
    pub(super) fn deep_input(&self, layer: usize, stacked: bool) -> &[f32] {
        match layer {
            0 if stacked => self.crossed(),
            0 => &self.x0,
            _ => &self.deep[layer - 1].activated,
        }
    }

    /// x_L, what the last cross layer gives.
    pub(super) fn crossed(&self) -> &[f32] {
        self.cross_input(self.cross.len())
    }
}

/// What a block keeps of one cross layer.
#[derive(Debug, Clone, Default)]
pub(super) struct CrossTrace {
    /// x₍l+1₎.
    pub(super) out: Vec<f32>,
    /// u: what x₀ is multiplied by.
    pub(super) product: Vec<f32>,
    /// ∂u, packed.
    pub(super) gradient: PackedMatrix,
    /// Σ rows ∂u.
    pub(super) bias: Vec<f32>,
    /// Inside of the experts, and gradients before their nonlinearities.
    pub(super) hidden: Hidden,
    pub(super) hidden_gradient: Hidden,
}

/// What a block keeps of one layer of the tower.
#[derive(Debug, Clone, Default)]
pub(super) struct DeepTrace {
    /// h, rows × outputs.
    pub(super) activated: Vec<f32>,
    /// ∂h on its way to gz.
    pub(super) gradient: Vec<f32>,
    /// gz, packed.
    pub(super) packed: PackedMatrix,
    /// Σ rows gz.
    pub(super) bias: Vec<f32>,
    pub(super) norm: NormTrace,
}

/// The right factor of one block's part of a gradient.
pub(super) enum Outputs<'a> {
    Packed(&'a PackedMatrix),
    Plain(Matrix<'a>),
}

impl Outputs<'_> {
    fn width(&self) -> usize {
        match self {
            Outputs::Packed(packed) => packed.columns(),
            Outputs::Plain(matrix) => matrix.columns(),
        }
    }
}

/// A weight whose gradient is Σ over blocks of inputsᵀ · outputs.
pub(super) struct Outer {
    /// Its place among the parameters.
    weight: Range<usize>,
    factors: Box<Factors>,
}

/// Finds inputs and outputs in a block.
type Factors = dyn for<'b> Fn(&'b Block) -> (Matrix<'b>, Outputs<'b>) + Send + Sync;

/// A run of rows of one weight's gradient: one piece of work.
pub(super) struct OuterRun<'a, 'g> {
    outer: &'a Outer,
    /// First row of the weight.
    first: usize,
    gradient: &'g mut [f32],
}

/// Most values in one run: they stay in the second-level cache while the blocks go by.
const RUN: usize = 200_000;

impl Outer {
    /// `weight` is its place among the parameters; `factors` finds inputs and outputs in a block.
    pub(super) fn new(
        weight: Range<usize>,
        factors: impl for<'b> Fn(&'b Block) -> (Matrix<'b>, Outputs<'b>) + Send + Sync + 'static,
    ) -> Self {
        Outer { weight, factors: Box::new(factors) }
    }

    /// Cuts the gradients of all weights into runs. `outers` must be in the order of their weights.
    pub(super) fn runs<'a, 'g>(
        outers: &'a [Outer],
        like: &Block,
        mut gradients: &'g mut [f32],
    ) -> Vec<OuterRun<'a, 'g>> {
        let (mut runs, mut at) = (Vec::new(), 0);
        for outer in outers {
            let (before, rest) = gradients.split_at_mut(outer.weight.end - at);
            let gradient = &mut before[outer.weight.start - at..];
            (at, gradients) = (outer.weight.end, rest);
            let height = (outer.factors)(like).0.columns();
            let width = gradient.len() / height;
            let pieces = gradient.len().div_ceil(RUN);
            let run = height.div_ceil(pieces).next_multiple_of(PANEL);
            let pieces = gradient.chunks_mut(run * width).enumerate();
            runs.extend(pieces.map(|(piece, gradient)| OuterRun { outer, first: piece * run, gradient }));
        }
        // The largest first, so that no thread is left alone with one at the end.
        runs.sort_by_key(|run| std::cmp::Reverse(run.gradient.len()));
        runs
    }
}

/// Rows of a panel of the product: runs are whole panels.
const PANEL: usize = 14;

impl OuterRun<'_, '_> {
    /// gradient = Σ over blocks.
    pub(super) fn add_up(self, blocks: &[Block], lane: &mut Lane) {
        let (precision, scratch) = (lane.precision, &mut lane.gemm);
        let (first, length) = (self.first, self.gradient.len());
        let mut packed = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            let (inputs, outputs) = (self.outer.factors)(block);
            let width = outputs.width();
            let inputs = inputs.t().row_range(first..first + length / width);
            match outputs {
                Outputs::Packed(outputs) => packed.push((inputs, outputs)),
                Outputs::Plain(outputs) => {
                    let gradient = MatrixMut::new(self.gradient, length / width, width);
                    kernels::gemm(gradient, inputs, outputs, at > 0, precision, Finish::None, scratch);
                }
            }
        }
        if let Some((inputs, outputs)) = packed.first() {
            let gradient = MatrixMut::new(self.gradient, inputs.rows(), outputs.columns());
            kernels::gemm_sum(gradient, &packed, scratch);
        }
    }
}

/// Blocks for a batch of `rows` rows; buffers are kept when a batch is shorter than one before.
pub(super) fn cut(blocks: &mut Vec<Block>, rows: usize, cross: usize, deep: usize) -> &mut [Block] {
    let count = rows.div_ceil(BLOCK);
    blocks.resize_with(count.max(blocks.len()), Block::default);
    for (number, block) in blocks[..count].iter_mut().enumerate() {
        block.rows = BLOCK.min(rows - number * BLOCK);
        block.cross.resize_with(cross, CrossTrace::default);
        block.deep.resize_with(deep, DeepTrace::default);
    }
    &mut blocks[..count]
}

/// Σ over blocks of one vector of each, in the order of the blocks.
pub(super) fn add_up<'a>(vectors: impl Iterator<Item = &'a Vec<f32>>, out: &mut [f32]) {
    out.fill(0.0);
    vectors.for_each(|vector| kernels::add_assign(out, vector));
}
