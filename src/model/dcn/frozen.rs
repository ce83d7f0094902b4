//! The layers of a frozen network over one block of rows, in the numbers the network scores in.
//!
//! `f32` gives the bits that the learner's own forward pass gives. `int8` rounds weights and inputs of the large products
//! to 8 bits ([`crate::kernels::int8`]); biases, x₀ ⊙ (·) + x, head, linear part and embeddings stay `f32`, so an error of
//! a product enters x once and is not rounded again on its way to the logit. The 8-bit weights follow from the stored ones.
//!
//! A layer that reads x₀ rounds it over ranges [known](Known) from the table, one for each value of an embedding, with about the
//! same error as over the range of each row (root of the mean square of the logits 0.0037 against 0.0034): so that rows which
//! share fields can share sums ([`super::sharing`]).

use super::experts::{Experts, Hidden};
use crate::kernels::int8::{GROUP, MOST_DEPTH};
use crate::kernels::{
    self, Finish, GemmScratch, Matrix, MatrixMut, PackedMatrix, Part, Precision, QuantizedFinish, QuantizedMatrix,
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
    /// Inputs over the range of each row.
    Int8(QuantizedMatrix),
    /// Inputs are x₀ over known ranges; what sums begin with.
    Known(QuantizedMatrix, Vec<i32>),
}

/// Ranges of x₀, known from the table: value d of an embedding lies in ± the greatest magnitude of any value d.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// 127 / greatest magnitude; 0 where all are 0.
    inverse: Vec<f32>,
    fields: usize,
}

/// Working memory of the layers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    gemm: GemmScratch,
    bytes: QuantizedRows,
    /// Own fields of x₀ over known ranges.
    known: QuantizedRows,
    next: Vec<f32>,
}

impl Buffers {
    /// Makes x₀ ready for layers that read it over known ranges: `own` are the fields in which rows differ.
    pub(super) fn read_x0(&mut self, x0: Matrix<'_>, own: &[u32], known: &Known) {
        self.known.fill_known(x0, own, &known.inverse);
    }

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

impl Known {
    /// Of a table with embeddings of `dim` values, in a network of `fields` fields.
    pub(super) fn new(table: &[f32], dim: usize, fields: usize) -> Self {
        let mut greatest = vec![0.0f32; dim];
        for row in table.chunks_exact(dim) {
            greatest.iter_mut().zip(row).for_each(|(greatest, value)| *greatest = greatest.max(value.abs()));
        }
        // The inverse of what is smaller overflows; its products are nothing beside any bias.
        let inverse = |greatest: f32| if greatest > 1e-30 { 127.0 / greatest } else { 0.0 };
        Known { inverse: greatest.into_iter().map(inverse).collect(), fields }
    }

    pub(super) fn inverse(&self) -> &[f32] {
        &self.inverse
    }

    /// Lines of weights that some fields meet.
    pub(super) fn lines(&self, fields: &[u32], lines: &mut Vec<u32>) {
        let a_field = self.inverse.len().div_ceil(GROUP) as u32;
        lines.clear();
        lines.extend(fields.iter().flat_map(|field| field * a_field..(field + 1) * a_field));
    }

    /// Weights for x₀ × outputs, with the ranges in them; `None` with more inputs than 8-bit sums can hold.
    pub(super) fn weight(&self, values: &[f32], outputs: usize) -> Option<Weight> {
        let (dim, padded) = (self.inverse.len(), self.inverse.len().next_multiple_of(GROUP));
        let inputs = self.fields * padded;
        if inputs > MOST_DEPTH {
            return None;
        }
        let mut scaled = vec![0.0; inputs * outputs];
        for (input, row) in values.chunks_exact(outputs).enumerate() {
            let (field, value) = (input / dim, input % dim);
            let inverse = self.inverse[value];
            let step = if inverse > 0.0 { 1.0 / inverse } else { 0.0 };
            let target = &mut scaled[(field * padded + value) * outputs..][..outputs];
            target.iter_mut().zip(row).for_each(|(target, weight)| *target = weight * step);
        }
        let matrix = QuantizedMatrix::quantize(Matrix::new(&scaled, inputs, outputs));
        let start = matrix.start();
        Some(Weight::Known(matrix, start))
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

    /// The weights and what sums begin with, where inputs are x₀ over known ranges.
    pub(super) fn known(&self) -> Option<(&QuantizedMatrix, &[i32])> {
        match self {
            Weight::Known(matrix, start) => Some((matrix, start)),
            Weight::F32(_) | Weight::Int8(_) => None,
        }
    }

    /// A cross layer: x ← x₀ ⊙ (x W + bias) + x, both rows × width.
    pub(super) fn cross(&self, bias: &[f32], x0: &[f32], x: &mut Vec<f32>, own: Part<'_>, buffers: &mut Buffers) {
        let width = bias.len();
        let rows = x.len() / width;
        let Buffers { gemm, bytes, known, next } = buffers;
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
            Weight::Known(weight, _) => {
                let finish = QuantizedFinish::Cross { bias, x0: Matrix::new(x0, rows, width) };
                kernels::quantized_part(MatrixMut::new(x, rows, width), known, weight, own, finish);
            }
        }
    }

    /// A layer of the tower: out ← max(x W + bias, 0), rows × outputs.
    pub(super) fn relu(&self, bias: &[f32], x: Matrix<'_>, out: &mut Vec<f32>, own: Part<'_>, buffers: &mut Buffers) {
        let (rows, outputs) = (x.rows(), bias.len());
        out.resize(rows * outputs, 0.0);
        let out = MatrixMut::new(out, rows, outputs);
        match self {
            Weight::F32(weight) => {
                kernels::gemm_packed(out, x, weight, false, Finish::BiasRelu(bias), &mut buffers.gemm);
            }
            Weight::Int8(weight) => {
                buffers.bytes.fill(x);
                kernels::quantized_product(out, &buffers.bytes, weight, QuantizedFinish::BiasRelu(bias));
            }
            Weight::Known(weight, _) => {
                let finish = QuantizedFinish::BiasRelu(bias);
                kernels::quantized_part(out, &buffers.known, weight, own, finish);
            }
        }
    }
}
