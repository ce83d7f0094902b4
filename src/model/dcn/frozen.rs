//! The layers of a frozen network over one block of rows, in the numbers the network scores in.
//!
//! `f32` gives the bits that the learner's own forward pass gives. `int8` rounds weights and inputs of the large products
//! to 8 bits ([`crate::kernels::int8`]); biases, x₀ ⊙ (·) + x, head, linear part and embeddings stay `f32`, so an error of
//! a product enters x once and is not rounded again on its way to the logit. The 8-bit weights follow from the stored ones.

use super::experts::{Experts, Hidden};
use crate::kernels::int8::MOST_DEPTH;
use crate::kernels::{
    self, Finish, GemmScratch, Matrix, MatrixMut, PackedMatrix, Precision, QuantizedFinish, QuantizedMatrix,
    QuantizedRows,
};
use serde::{Deserialize, Serialize};

/// In which numbers a frozen network multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoringPrecision {
    /// As it learned.
    F32,
    /// Weights and inputs of the full cross layers and of the tower in 8 bits. Low-rank cross layers stay `f32`.
    Int8,
}

impl ScoringPrecision {
    /// As settings and manifests name it.
    pub fn name(self) -> &'static str {
        match self {
            ScoringPrecision::F32 => "f32",
            ScoringPrecision::Int8 => "int8",
        }
    }
}

/// A matrix of weights, inputs × outputs, ready to multiply with.
pub(super) enum Weight {
    F32(PackedMatrix),
    Int8(QuantizedMatrix),
}

/// Working memory of the layers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    gemm: GemmScratch,
    bytes: QuantizedRows,
    next: Vec<f32>,
}

impl Buffers {
    /// A low-rank cross layer, as [`Weight::cross`].
    pub(super) fn mixture(
        &mut self,
        experts: &Experts,
        hidden: &mut Hidden<&mut [f32]>,
        bias: &[f32],
        x0: &[f32],
        x: &mut Vec<f32>,
    ) {
        let width = bias.len();
        let rows = x.len() / width;
        self.next.resize(x.len(), 0.0);
        let (input, x0) = (Matrix::new(x, rows, width), Matrix::new(x0, rows, width));
        let finish = Finish::Cross { bias, x0, x: input, product: None };
        experts.forward(input, hidden, MatrixMut::new(&mut self.next, rows, width), finish, &mut self.gemm);
        std::mem::swap(x, &mut self.next);
    }
}

impl Weight {
    /// A matrix with more inputs than 8-bit sums can hold stays `f32`.
    pub(super) fn new(values: &[f32], inputs: usize, outputs: usize, precision: ScoringPrecision) -> Self {
        let values = Matrix::new(values, inputs, outputs);
        match precision {
            ScoringPrecision::Int8 if inputs <= MOST_DEPTH => Weight::Int8(QuantizedMatrix::quantize(values)),
            ScoringPrecision::Int8 | ScoringPrecision::F32 => Weight::F32(PackedMatrix::pack(values, Precision::F32)),
        }
    }

    fn shape(&self) -> (usize, usize) {
        match self {
            Weight::F32(weight) => (weight.rows(), weight.columns()),
            Weight::Int8(weight) => (weight.rows(), weight.columns()),
        }
    }

    /// A cross layer: x ← x₀ ⊙ (x W + bias) + x, both rows × width.
    pub(super) fn cross(&self, bias: &[f32], x0: &[f32], x: &mut Vec<f32>, buffers: &mut Buffers) {
        let width = bias.len();
        let rows = x.len() / width;
        let Buffers { gemm, bytes, next } = buffers;
        match self {
            Weight::F32(weight) => {
                next.resize(x.len(), 0.0);
                let (target, x0) = (MatrixMut::new(next, rows, width), Matrix::new(x0, rows, width));
                let input = Matrix::new(x, rows, width);
                let finish = Finish::Cross { bias, x0, x: input, product: None };
                kernels::gemm_packed(target, input, weight, false, finish, gemm);
                std::mem::swap(x, next);
            }
            Weight::Int8(weight) => {
                bytes.fill(Matrix::new(x, rows, width));
                let finish = QuantizedFinish::Cross { bias, x0: Matrix::new(x0, rows, width) };
                kernels::quantized_product(MatrixMut::new(x, rows, width), bytes, weight, finish);
            }
        }
    }

    /// A layer of the tower: out ← max(x W + bias, 0), rows × outputs.
    pub(super) fn relu(&self, bias: &[f32], x: &[f32], out: &mut Vec<f32>, buffers: &mut Buffers) {
        let (inputs, outputs) = self.shape();
        let rows = x.len() / inputs;
        out.resize(rows * outputs, 0.0);
        let (x, out) = (Matrix::new(x, rows, inputs), MatrixMut::new(out, rows, outputs));
        match self {
            Weight::F32(weight) => {
                kernels::gemm_packed(out, x, weight, false, Finish::BiasRelu(bias), &mut buffers.gemm);
            }
            Weight::Int8(weight) => {
                buffers.bytes.fill(x);
                kernels::quantized_product(out, &buffers.bytes, weight, QuantizedFinish::BiasRelu(bias));
            }
        }
    }
}
