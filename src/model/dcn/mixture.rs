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

use super::block::{CrossTrace, Outer, Outputs};
use super::crew::{self, Lane, Stage, Watch};
use super::experts::Experts;
use super::parameters::{Parameters, Start};
use crate::kernels::{self, Finish, Matrix, MatrixMut, PackedMatrix};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// Weights of one layer.
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
        }
    }

    /// What has to be packed at the beginning of a step.
    pub(super) fn packings<'a>(&'a mut self, values: &'a [f32]) -> Vec<(&'a mut PackedMatrix, Matrix<'a>)> {
        let views = self.views(values);
        let mut packings = self.packed.packings(views, false);
        packings.extend(self.transposed.packings(views, true));
        packings
    }

    /// `x0`, `x` → `trace.out`, all `rows × width`.
    pub(super) fn forward(&self, values: &[f32], x0: &[f32], x: &[f32], trace: &mut CrossTrace, lane: &mut Lane) {
        let (width, length, rows) = (self.width, x.len(), x.len() / self.width);
        trace.product = lane.take(length);
        trace.hidden.fit(rows, self.experts, self.rank);
        let x = Matrix::new(x, rows, width);
        let finish = Finish::Cross {
            bias: &values[self.bias.clone()],
            x0: Matrix::new(x0, rows, width),
            x,
            product: Some(MatrixMut::new(&mut trace.product[..length], rows, width)),
        };
        let out = MatrixMut::new(&mut trace.out, rows, width);
        self.packed.forward(x, &mut trace.hidden.view_mut(), out, finish, &mut lane.gemm);
    }

    /// `gradient` holds ∂x₍l+1₎ and leaves as ∂x₍l₎; `gradient_x0` grows, for the first layer by ∂x₍l₎ too.
    #[expect(clippy::too_many_arguments, reason = "they are the formula's")]
    pub(super) fn backward(
        &self,
        x0: &[f32],
        gradient: &mut [f32],
        gradient_x0: &mut [f32],
        is_first: bool,
        trace: &mut CrossTrace,
        lane: &mut Lane,
        watch: Watch<'_>,
    ) {
        let (width, length, rows) = (self.width, x0.len(), x0.len() / self.width);
        watch(Stage::CrossSplit);
        let mut split = lane.take(length);
        let gradient_u = &mut split[..length];
        crew::fit(&mut trace.bias, width);
        let product = &trace.product[..length];
        kernels::cross_backward(gradient, x0, product, gradient_u, gradient_x0, &mut trace.bias);
        lane.give(&mut trace.product);
        let gradient_u = Matrix::new(gradient_u, rows, width);
        trace.gradient.repack(gradient_u, lane.precision);
        watch(Stage::CrossInputs);
        trace.hidden_gradient.fit(rows, self.experts, self.rank);
        let hidden_gradient = &mut trace.hidden_gradient.view_mut();
        let target = MatrixMut::new(gradient, rows, width);
        self.transposed.backward(gradient_u, trace.hidden.view(), hidden_gradient, target, &mut lane.gemm);
        if is_first {
            kernels::add_assign(gradient_x0, gradient);
        }
        lane.give(&mut split);
    }

    /// The bias, and the weights whose gradients are sums over blocks. `layer` is the number of this one.
    pub(super) fn gradients(&self, layer: usize) -> (Range<usize>, Vec<Outer>) {
        let (width, rank, experts) = (self.width, self.rank, self.experts);
        let stacked = experts * rank;
        let mut outers = vec![Outer::new(self.down.clone(), move |block| {
            let inputs = Matrix::new(block.cross_input(layer), block.rows, width);
            let gradient = &block.cross[layer].hidden_gradient.inner;
            (inputs, Outputs::Plain(Matrix::new(gradient, block.rows, stacked)))
        })];
        outers.extend((0..experts).map(|expert| {
            let start = self.core.start + expert * rank * rank;
            let columns = expert * rank..(expert + 1) * rank;
            Outer::new(start..start + rank * rank, move |block| {
                let trace = &block.cross[layer];
                let inner = Matrix::new(&trace.hidden.inner, block.rows, stacked);
                let outer = Matrix::new(&trace.hidden_gradient.outer, block.rows, stacked);
                (inner.column_range(columns.clone()), Outputs::Plain(outer.column_range(columns.clone())))
            })
        }));
        outers.push(Outer::new(self.up.clone(), move |block| {
            let trace = &block.cross[layer];
            (Matrix::new(&trace.hidden.mixed, block.rows, stacked), Outputs::Packed(&trace.gradient))
        }));
        outers.push(Outer::new(self.gate.clone(), move |block| {
            let inputs = Matrix::new(block.cross_input(layer), block.rows, width);
            let gradient = &block.cross[layer].hidden_gradient.gates;
            (inputs, Outputs::Plain(Matrix::new(gradient, block.rows, experts)))
        }));
        (self.bias.clone(), outers)
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
