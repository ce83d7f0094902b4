//! One full-rank cross layer: x₍l+1₎ = x₀ ⊙ (x₍l₎ W + b) + x₍l₎ (Wang et al. 2021, equation 1).
//!
//! Rows are impressions, so the paper's W is stored transposed: `W[input, output]`. With g = ∂loss/∂x₍l+1₎ and
//! v = x₍l₎ W, the gradients are
//!
//! ```text
//! gv = g ⊙ x₀     ∂W = x₍l₎ᵀ gv     ∂b = Σ rows gv     ∂x₀ += g ⊙ (v + b)     ∂x₍l₎ = g + gv Wᵀ
//! ```

use super::crew::{self, BLOCK, Crew};
use super::parameters::{Parameters, Start};
use crate::kernels::{self, Finish, Matrix, MatrixMut, PackedMatrix, Precision};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// Weights `width × width` and `width`; buffers `rows × width`.
#[derive(Debug, Clone)]
pub(super) struct FullCross {
    width: usize,
    weight: Range<usize>,
    bias: Range<usize>,
    packed: PackedMatrix,
    packed_transposed: PackedMatrix,
    /// v = x W, kept for the backward pass.
    product: Vec<f32>,
    /// Sums of gv over blocks of rows.
    bias_blocks: Vec<f32>,
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
            product: Vec::new(),
            bias_blocks: Vec::new(),
        }
    }

    /// `x0`, `x` → `out`, all `rows × width`.
    pub(super) fn forward(&mut self, values: &[f32], x0: &[f32], x: &[f32], out: &mut [f32], crew: &mut Crew<'_>) {
        let width = self.width;
        let rows = x.len() / width;
        let bias = &values[self.bias.clone()];
        self.packed.repack(Matrix::new(&values[self.weight.clone()], width, width), Precision::F32);
        crew::fit(&mut self.product, rows * width);
        let (packed, run) = (&self.packed, crew.run(rows) * width);
        crew.rows(rows, out.chunks_mut(run).zip(self.product.chunks_mut(run)), |lane, (out, product)| {
            let blocks = out.chunks_mut(BLOCK * width).zip(product.chunks_mut(BLOCK * width));
            for (block, (out, product)) in blocks.enumerate() {
                let rows = out.len() / width;
                let at = (lane.first + block * BLOCK) * width..(lane.first + block * BLOCK + rows) * width;
                let x = &x[at.clone()];
                let target = MatrixMut::new(product, rows, width);
                kernels::gemm_packed(target, Matrix::new(x, rows, width), packed, false, Finish::None, lane.scratch);
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
        let width = self.width;
        let rows = x.len() / width;
        let bias = &parameters.values[self.bias.clone()];
        self.packed_transposed
            .repack(Matrix::new(&parameters.values[self.weight.clone()], width, width).t(), Precision::F32);
        crew::fit(&mut self.bias_blocks, rows.div_ceil(BLOCK) * width);
        let (packed, product, run) = (&self.packed_transposed, &self.product, crew.run(rows));
        let parts = (gradient.chunks_mut(run * width).zip(gradient_x0.chunks_mut(run * width)))
            .zip(buffer.chunks_mut(run * width).zip(self.bias_blocks.chunks_mut(run / BLOCK * width)));
        crew.rows(rows, parts, |lane, ((gradient, gradient_x0), (gradient_v, bias_blocks))| {
            let blocks = (gradient.chunks_mut(BLOCK * width).zip(gradient_x0.chunks_mut(BLOCK * width)))
                .zip(gradient_v.chunks_mut(BLOCK * width).zip(bias_blocks.chunks_mut(width)));
            for (block, ((gradient, gradient_x0), (gradient_v, bias_sum))) in blocks.enumerate() {
                let rows = gradient.len() / width;
                let at = (lane.first + block * BLOCK) * width..(lane.first + block * BLOCK + rows) * width;
                kernels::cross_backward(gradient, &x0[at.clone()], &product[at], bias, gradient_v, gradient_x0);
                let gradient_v = Matrix::new(gradient_v, rows, width);
                kernels::column_sums(gradient_v, bias_sum, false);
                kernels::gemm_packed(
                    MatrixMut::new(gradient, rows, width),
                    gradient_v,
                    packed,
                    true,
                    Finish::None,
                    lane.scratch,
                );
            }
        });
        crew::add_blocks(&self.bias_blocks, width, &mut parameters.gradients[self.bias.clone()]);
        let (inputs, outputs) = (Matrix::new(x, rows, width), Matrix::new(buffer, rows, width));
        crew.weight_gradient(&mut parameters.gradients[self.weight.clone()], inputs, outputs);
    }
}
