//! One low-rank cross layer with a mixture of experts (Wang et al. 2021, equations 3 and 5).
//!
//! ```text
//! x₍l+1₎ = Σᵢ Gᵢ(x₍l₎) Eᵢ(x₍l₎) + x₍l₎     Eᵢ(x) = x₀ ⊙ (Uᵢ · tanh(Cᵢ · tanh(Vᵢᵀ x)) + b)     G = softmax(gate · x)
//! ```
//!
//! The gates of a row add up to 1 and the bias is shared, so Σ Gᵢ Eᵢ = x₀ ⊙ (v + b) with v = Σ Uᵢ (Gᵢ hᵢ): all experts
//! together are one product with the stacked U, and the rest is the full-rank layer. Rows are impressions, so matrices
//! are stored as `[input, output]`, for E experts of rank R on width D:
//!
//! | tensor | shape | paper |
//! |---|---|---|
//! | `down` | D × E·R | V₁ … V_E side by side |
//! | `core` | E × R × R | Cᵢᵀ |
//! | `up` | E·R × D | U₁ᵀ … U_Eᵀ on top of each other |
//! | `gate` | D × E | |

use super::crew::{self, BLOCK, Crew};
use super::experts::{Experts, Hidden};
use super::parameters::{Parameters, Start};
use crate::kernels::{self, Matrix, MatrixMut};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// Weights and buffers of one layer.
#[derive(Debug, Clone)]
pub(super) struct MixtureCross {
    width: usize,
    rank: usize,
    experts: usize,
    down: Range<usize>,
    core: Range<usize>,
    up: Range<usize>,
    gate: Range<usize>,
    bias: Range<usize>,
    packed: Experts,
    transposed: Experts,
    hidden: Hidden,
    /// Gradients of `hidden`, before the nonlinearities.
    gradient: Hidden,
    product: Vec<f32>,
    bias_blocks: Vec<f32>,
}

impl MixtureCross {
    pub(super) fn new(
        name: &str,
        (width, rank, experts): (usize, usize, usize),
        parameters: &mut Parameters,
        generator: &mut Xoshiro256PlusPlus,
    ) -> Self {
        let mut matrix = |tensor: &str, shape: &[usize], fan_in, fan_out| {
            parameters.matrix(format!("{name}.{tensor}"), shape, Start::Xavier { fan_in, fan_out }, generator)
        };
        MixtureCross {
            width,
            rank,
            experts,
            down: matrix("down", &[width, experts * rank], width, rank),
            core: matrix("core", &[experts, rank, rank], rank, rank),
            up: matrix("up", &[experts * rank, width], rank, width),
            gate: matrix("gate", &[width, experts], width, experts),
            bias: parameters.vector(format!("{name}.bias"), width, 0.0),
            packed: Experts::default(),
            transposed: Experts::default(),
            hidden: Hidden::default(),
            gradient: Hidden::default(),
            product: Vec::new(),
            bias_blocks: Vec::new(),
        }
    }

    /// `x0`, `x` → `out`, all `rows × width`.
    pub(super) fn forward(&mut self, values: &[f32], x0: &[f32], x: &[f32], out: &mut [f32], crew: &mut Crew<'_>) {
        let width = self.width;
        let rows = x.len() / width;
        let bias = &values[self.bias.clone()];
        self.packed.repack(self.views(values), false);
        self.hidden.fit(rows, self.experts, self.rank);
        crew::fit(&mut self.product, rows * width);
        let (packed, run) = (&self.packed, crew.run(rows));
        let parts = (out.chunks_mut(run * width).zip(self.product.chunks_mut(run * width))).zip(self.hidden.runs(
            run,
            self.experts,
            self.rank,
        ));
        crew.rows(rows, parts, |lane, ((out, product), mut hidden)| {
            let blocks = (out.chunks_mut(BLOCK * width).zip(product.chunks_mut(BLOCK * width))).zip(hidden.runs(
                BLOCK,
                self.experts,
                self.rank,
            ));
            for (block, ((out, product), mut hidden)) in blocks.enumerate() {
                let rows = out.len() / width;
                let at = (lane.first + block * BLOCK) * width..(lane.first + block * BLOCK + rows) * width;
                let x = &x[at.clone()];
                packed.forward(Matrix::new(x, rows, width), &mut hidden, product, lane.scratch);
                kernels::cross_forward(out, &x0[at], product, bias, x);
            }
        });
    }

    /// `gradient` holds ∂x₍l+1₎ and leaves as ∂x₍l₎; `gradient_x0` grows; `buffer` is overwritten. All `rows × width`.
    #[expect(
        clippy::too_many_arguments,
        reason = "two inputs, three gradients, one buffer; a struct would only rename them"
    )]
    pub(super) fn backward(
        &mut self,
        parameters: &mut Parameters,
        x0: &[f32],
        x: &[f32],
        gradient: &mut [f32],
        gradient_x0: &mut [f32],
        buffer: &mut [f32],
        crew: &mut Crew<'_>,
    ) {
        let (width, rank, experts) = (self.width, self.rank, self.experts);
        let rows = x.len() / width;
        let bias = &parameters.values[self.bias.clone()];
        let views = self.views(&parameters.values);
        self.transposed.repack(views, true);
        self.gradient.fit(rows, experts, rank);
        crew::fit(&mut self.bias_blocks, rows.div_ceil(BLOCK) * width);
        let (packed, product, hidden, run) = (&self.transposed, &self.product, &self.hidden, crew.run(rows));
        let parts = (gradient.chunks_mut(run * width).zip(gradient_x0.chunks_mut(run * width)))
            .zip(buffer.chunks_mut(run * width).zip(self.bias_blocks.chunks_mut(run / BLOCK * width)))
            .zip(self.gradient.runs(run, experts, rank));
        crew.rows(rows, parts, |lane, (((gradient, gradient_x0), (gradient_v, bias_blocks)), mut hidden_gradient)| {
            let blocks = (gradient.chunks_mut(BLOCK * width).zip(gradient_x0.chunks_mut(BLOCK * width)))
                .zip(gradient_v.chunks_mut(BLOCK * width).zip(bias_blocks.chunks_mut(width)))
                .zip(hidden_gradient.runs(BLOCK, experts, rank));
            for (block, (((gradient, gradient_x0), (gradient_v, bias_sum)), mut hidden_gradient)) in blocks.enumerate()
            {
                let rows = gradient.len() / width;
                let first = lane.first + block * BLOCK;
                let at = first * width..(first + rows) * width;
                kernels::cross_backward(gradient, &x0[at.clone()], &product[at], bias, gradient_v, gradient_x0);
                let gradient_v = Matrix::new(gradient_v, rows, width);
                kernels::column_sums(gradient_v, bias_sum, false);
                let forward = hidden.rows(first..first + rows, experts, rank);
                let gradient = MatrixMut::new(gradient, rows, width);
                packed.backward(gradient_v, forward, &mut hidden_gradient, gradient, lane.scratch);
            }
        });
        crew::add_blocks(&self.bias_blocks, width, &mut parameters.gradients[self.bias.clone()]);
        let gradients = &mut parameters.gradients;
        let matrix = |values, columns| Matrix::new(values, rows, columns);
        let (inputs, stacked) = (matrix(x, width), experts * rank);
        crew.weight_gradient(&mut gradients[self.up.clone()], matrix(&hidden.mixed, stacked), matrix(buffer, width));
        let gradient = &self.gradient;
        for (expert, core) in gradients[self.core.clone()].chunks_exact_mut(rank * rank).enumerate() {
            let columns = expert * rank..(expert + 1) * rank;
            let inner = matrix(&hidden.inner, stacked).column_range(columns.clone());
            crew.weight_gradient(core, inner, matrix(&gradient.outer, stacked).column_range(columns));
        }
        crew.weight_gradient(&mut gradients[self.down.clone()], inputs, matrix(&gradient.inner, stacked));
        crew.weight_gradient(&mut gradients[self.gate.clone()], inputs, matrix(&gradient.gates, experts));
    }

    fn views<'a>(&self, values: &'a [f32]) -> [Matrix<'a>; 4] {
        let (width, rank, experts) = (self.width, self.rank, self.experts);
        [
            Matrix::new(&values[self.down.clone()], width, experts * rank),
            Matrix::new(&values[self.core.clone()], experts * rank, rank),
            Matrix::new(&values[self.up.clone()], experts * rank, width),
            Matrix::new(&values[self.gate.clone()], width, experts),
        ]
    }
}
