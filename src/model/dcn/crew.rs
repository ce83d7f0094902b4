//! Lent threads with one working memory each, and the two ways in which layers cut their work.
//!
//! Forward passes and gradients of inputs are cut by rows of the batch, gradients of weights by rows of the weight. Every
//! element of a product is one chain of additions wherever it is cut ([`kernels::gemm()`]), so cuts may follow the number of
//! threads. Sums over rows (biases) are different: they are taken block by block of [`BLOCK`] rows, then over blocks, and
//! blocks never follow the number of threads.

use crate::kernels::{self, Finish, GemmScratch, Matrix, MatrixMut, Precision};
use crate::model::Threads;

/// Rows worked on at a time, so that what one kernel writes the next one reads from the cache.
pub(super) const BLOCK: usize = 128;

/// Threads, and one working memory for each.
#[derive(Debug)]
pub(super) struct Crew<'a> {
    pub(super) threads: Threads<'a>,
    scratch: &'a mut Vec<GemmScratch>,
}

/// What one thread needs to work on a run of rows.
pub(super) struct Lane<'a> {
    /// First row of the run.
    pub(super) first: usize,
    /// Working memory for products.
    pub(super) scratch: &'a mut GemmScratch,
}

impl<'a> Crew<'a> {
    pub(super) fn new(threads: Threads<'a>, scratch: &'a mut Vec<GemmScratch>) -> Self {
        scratch.resize_with(threads.count().max(scratch.len()), GemmScratch::new);
        Crew { threads, scratch }
    }

    /// Rows in the run of one thread: whole blocks, as even as they can be.
    pub(super) fn run(&self, rows: usize) -> usize {
        rows.div_ceil(BLOCK).div_ceil(self.threads.count()).max(1) * BLOCK
    }

    /// Gives each run of `rows` rows, with its part of some buffers, to a thread.
    ///
    /// `parts` yields the buffers cut into runs of [`Crew::run`] rows, in order.
    pub(super) fn rows<T: Send>(
        &mut self,
        rows: usize,
        parts: impl Iterator<Item = T>,
        work: impl Fn(Lane<'_>, T) + Sync,
    ) {
        let run = self.run(rows);
        let lanes = self.scratch.iter_mut().enumerate();
        let pieces: Vec<_> =
            lanes.map(|(run_index, scratch)| Lane { first: run_index * run, scratch }).zip(parts).collect();
        self.threads.for_each(pieces, |(lane, part)| work(lane, part));
    }

    /// gradient = inputsᵀ · outputs, for a weight of shape `inputs.columns() × outputs.columns()`.
    pub(super) fn weight_gradient(&mut self, gradient: &mut [f32], inputs: Matrix<'_>, outputs: Matrix<'_>) {
        let (height, width) = (inputs.columns(), outputs.columns());
        let run = height.div_ceil(self.threads.count()).next_multiple_of(16);
        let pieces: Vec<_> = gradient.chunks_mut(run * width).zip(self.scratch.iter_mut()).enumerate().collect();
        self.threads.for_each(pieces, |(index, (gradient, scratch))| {
            let rows = gradient.len() / width;
            let inputs = inputs.t().row_range(index * run..index * run + rows);
            kernels::gemm(
                MatrixMut::new(gradient, rows, width),
                inputs,
                outputs,
                false,
                Precision::F32,
                Finish::None,
                scratch,
            );
        });
    }
}

/// Makes room for `length` values; memory is kept when a batch is shorter than one before.
pub(super) fn fit(buffer: &mut Vec<f32>, length: usize) {
    buffer.resize(length, 0.0);
}

/// Sums of blocks, `blocks × width` → `width`, in the order of the blocks.
pub(super) fn add_blocks(partial: &[f32], width: usize, out: &mut [f32]) {
    kernels::column_sums(Matrix::new(partial, partial.len() / width, width), out, false);
}
