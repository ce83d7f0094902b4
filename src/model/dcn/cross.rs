//! One full-rank cross layer: x₍l+1₎ = x₀ ⊙ (x₍l₎ W + b) + x₍l₎ (Wang et al. 2021, equation 1).
//!
//! Rows are impressions, so the paper's W is stored transposed: `W[input, output]`. With g = ∂loss/∂x₍l+1₎ and
//! u = x₍l₎ W + b, the gradients are
//!
//! ```text
//! gu = g ⊙ x₀     ∂W = x₍l₎ᵀ gu     ∂b = Σ rows gu     ∂x₀ += g ⊙ u     ∂x₍l₎ = g + gu Wᵀ
//! ```

use super::block::{CrossTrace, Outer, Outputs};
use super::crew::{self, Lane, Stage, Watch};
use super::parameters::{Parameters, Start};
use crate::kernels::{self, Finish, Matrix, MatrixMut, PackedMatrix};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// Weights `width × width` and `width`.
#[derive(Debug, Clone)]
pub(super) struct FullCross {
    width: usize,
    weight: Range<usize>,
    bias: Range<usize>,
    packed: PackedMatrix,
    packed_transposed: PackedMatrix,
}

impl FullCross {
    pub(super) fn new(
        name: &str,
        width: usize,
        parameters: &mut Parameters,
        generator: &mut Xoshiro256PlusPlus,
    ) -> Self {
        let start = Start::Xavier { fan_in: width, fan_out: width };
        FullCross {
            width,
            weight: parameters.matrix(format!("{name}.weight"), &[width, width], start, generator),
            bias: parameters.vector(format!("{name}.bias"), width, 0.0),
            packed: PackedMatrix::default(),
            packed_transposed: PackedMatrix::default(),
        }
    }

    /// What has to be packed at the beginning of a step.
    pub(super) fn packings<'a>(&'a mut self, values: &'a [f32]) -> Vec<(&'a mut PackedMatrix, Matrix<'a>)> {
        let weight = Matrix::new(&values[self.weight.clone()], self.width, self.width);
        vec![(&mut self.packed, weight), (&mut self.packed_transposed, weight.t())]
    }

    /// `x0`, `x` → `trace.out`, all `rows × width`.
    pub(super) fn forward(&self, values: &[f32], x0: &[f32], x: &[f32], trace: &mut CrossTrace, lane: &mut Lane) {
        let (width, length, rows) = (self.width, x.len(), x.len() / self.width);
        trace.product = lane.take(length);
        let x = Matrix::new(x, rows, width);
        let finish = Finish::Cross {
            bias: &values[self.bias.clone()],
            x0: Matrix::new(x0, rows, width),
            x,
            product: Some(MatrixMut::new(&mut trace.product[..length], rows, width)),
        };
        let out = MatrixMut::new(&mut trace.out, rows, width);
        kernels::gemm_packed(out, x, &self.packed, false, finish, &mut lane.gemm);
    }

    /// `gradient` holds ∂x₍l+1₎ and leaves as ∂x₍l₎; `gradient_x0` grows. For the first layer ∂x₍l₎ goes to `gradient_x0` too,
    /// and `gradient` is left as it was.
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
        let mut strip = lane.take(length);
        let gradient_u = &mut strip[..length];
        crew::fit(&mut trace.bias, width);
        let product = &trace.product[..length];
        let split = if is_first { kernels::cross_backward_first } else { kernels::cross_backward };
        split(gradient, x0, product, gradient_u, gradient_x0, &mut trace.bias);
        lane.give(&mut trace.product);
        let gradient_u = Matrix::new(gradient_u, rows, width);
        trace.gradient.repack(gradient_u, lane.precision);
        watch(Stage::CrossInputs);
        let target = MatrixMut::new(if is_first { gradient_x0 } else { gradient }, rows, width);
        kernels::gemm_packed(target, gradient_u, &self.packed_transposed, true, Finish::None, &mut lane.gemm);
        lane.give(&mut strip);
    }

    /// The bias, and the weights whose gradients are sums over blocks. `layer` is the number of this one.
    pub(super) fn gradients(&self, layer: usize) -> (Range<usize>, Vec<Outer>) {
        let width = self.width;
        let outer = Outer::new(self.weight.clone(), move |block| {
            let inputs = Matrix::new(block.cross_input(layer), block.rows, width);
            (inputs, Outputs::Packed(&block.cross[layer].gradient))
        });
        (self.bias.clone(), vec![outer])
    }
}
