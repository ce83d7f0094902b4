//! One layer of the tower: h = dropout(ReLU(x W + b)), or with batch normalization h = dropout(ReLU(norm(x W))).
//!
//! `W[input, output]`, rows are impressions. With g = ∂loss/∂h:
//!
//! ```text
//! gz = g ⊙ [h > 0] / keep     (batch normalization: gz ← its backward pass)     ∂W = xᵀ gz     ∂b = Σ rows gz     ∂x = gz Wᵀ
//! ```
//!
//! A dropped value is 0, so `[h > 0]` covers the ReLU and the dropout; no mask is kept.

use super::crew::{self, BLOCK, Crew};
use super::norm::BatchNorm;
use super::parameters::{Parameters, Start};
use crate::kernels::{self, Finish, Matrix, MatrixMut, PackedMatrix, Precision};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// Which values a step drops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropout {
    /// Share of values kept; 1 keeps all.
    pub(super) keep: f32,
    /// Differs between steps and layers.
    pub(super) seed: u64,
}

impl Dropout {
    /// Drops nothing.
    pub(super) const NONE: Dropout = Dropout { keep: 1.0, seed: 0 };
}

/// Weights and buffers of one layer of `inputs` to `outputs`.
#[derive(Debug, Clone)]
pub(super) struct DeepLayer {
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    shift: Shift,
    packed: PackedMatrix,
    packed_transposed: PackedMatrix,
    bias_blocks: Vec<f32>,
    /// h, rows × outputs.
    pub(super) activated: Vec<f32>,
    /// ∂h, rows × outputs; the layer above fills it, and the backward pass turns it into gz.
    pub(super) gradient: Vec<f32>,
}

/// What moves the zero of the ReLU. Batch normalization removes any bias before it, so it has its own.
#[derive(Debug, Clone)]
enum Shift {
    Bias(Range<usize>),
    Norm(BatchNorm),
}

impl DeepLayer {
    pub(super) fn new(
        name: &str,
        (inputs, outputs): (usize, usize),
        batch_norm: bool,
        parameters: &mut Parameters,
        generator: &mut Xoshiro256PlusPlus,
    ) -> Self {
        let start = Start::He { fan_in: inputs };
        DeepLayer {
            inputs,
            outputs,
            weight: parameters.matrix(format!("{name}.weight"), &[inputs, outputs], start, generator),
            shift: if batch_norm {
                Shift::Norm(BatchNorm::new(name, outputs, parameters))
            } else {
                Shift::Bias(parameters.vector(format!("{name}.bias"), outputs, 0.0))
            },
            packed: PackedMatrix::default(),
            packed_transposed: PackedMatrix::default(),
            bias_blocks: Vec::new(),
            activated: Vec::new(),
            gradient: Vec::new(),
        }
    }

    /// `x` (rows × inputs) → `activated`.
    pub(super) fn forward(&mut self, values: &[f32], x: &[f32], dropout: Dropout, crew: &mut Crew<'_>) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let rows = x.len() / inputs;
        self.packed.repack(Matrix::new(&values[self.weight.clone()], inputs, outputs), Precision::F32);
        crew::fit(&mut self.activated, rows * outputs);
        let (packed, run) = (&self.packed, crew.run(rows));
        let bias = match &self.shift {
            Shift::Bias(bias) => Some(&values[bias.clone()]),
            Shift::Norm(_) => None,
        };
        crew.rows(rows, self.activated.chunks_mut(run * outputs), |lane, out| {
            for (block, out) in out.chunks_mut(BLOCK * outputs).enumerate() {
                let first = lane.first + block * BLOCK;
                let rows = out.len() / outputs;
                let x = Matrix::new(&x[first * inputs..(first + rows) * inputs], rows, inputs);
                kernels::gemm_packed(MatrixMut::new(out, rows, outputs), x, packed, false, Finish::None, lane.scratch);
                if let Some(bias) = bias {
                    kernels::add_bias_relu(MatrixMut::new(out, rows, outputs), bias);
                    kernels::dropout(out, dropout.keep, dropout.seed, (first * outputs) as u64);
                }
            }
        });
        if let Shift::Norm(norm) = &mut self.shift {
            norm.forward(values, &mut self.activated, dropout, crew);
        }
    }

    /// Uses up `gradient`; writes ∂x to `gradient_x`.
    pub(super) fn backward(
        &mut self,
        parameters: &mut Parameters,
        x: &[f32],
        dropout: Dropout,
        gradient_x: &mut [f32],
        crew: &mut Crew<'_>,
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let rows = x.len() / inputs;
        self.packed_transposed
            .repack(Matrix::new(&parameters.values[self.weight.clone()], inputs, outputs).t(), Precision::F32);
        crew::fit(&mut self.bias_blocks, rows.div_ceil(BLOCK) * outputs);
        let run = crew.run(rows);
        let activated = &self.activated;
        crew.rows(rows, self.gradient.chunks_mut(run * outputs), |lane, gradient| {
            kernels::relu_backward(gradient, &activated[lane.first * outputs..][..gradient.len()]);
            if dropout.keep < 1.0 {
                kernels::scale(1.0 / dropout.keep, gradient);
            }
        });
        if let Shift::Norm(norm) = &self.shift {
            norm.backward(parameters, &mut self.gradient);
        }
        let packed = &self.packed_transposed;
        let parts = self.gradient.chunks(run * outputs).zip(gradient_x.chunks_mut(run * inputs));
        let parts = parts.zip(self.bias_blocks.chunks_mut(run / BLOCK * outputs));
        crew.rows(rows, parts, |lane, ((gradient, gradient_x), bias_blocks)| {
            let blocks = gradient.chunks(BLOCK * outputs).zip(gradient_x.chunks_mut(BLOCK * inputs));
            for ((gradient, gradient_x), bias_sum) in blocks.zip(bias_blocks.chunks_mut(outputs)) {
                let rows = gradient.len() / outputs;
                let gradient = Matrix::new(gradient, rows, outputs);
                kernels::column_sums(gradient, bias_sum, false);
                kernels::gemm_packed(
                    MatrixMut::new(gradient_x, rows, inputs),
                    gradient,
                    packed,
                    false,
                    Finish::None,
                    lane.scratch,
                );
            }
        });
        if let Shift::Bias(bias) = &self.shift {
            crew::add_blocks(&self.bias_blocks, outputs, &mut parameters.gradients[bias.clone()]);
        }
        let (x, gradient) = (Matrix::new(x, rows, inputs), Matrix::new(&self.gradient, rows, outputs));
        crew.weight_gradient(&mut parameters.gradients[self.weight.clone()], x, gradient);
    }

    /// Weight and bias of the layer at prediction time, running statistics of batch normalization folded in.
    pub(super) fn frozen(&self, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut weight = values[self.weight.clone()].to_vec();
        match &self.shift {
            Shift::Bias(bias) => (weight, values[bias.clone()].to_vec()),
            Shift::Norm(norm) => {
                let (scale, shift) = norm.scale_and_shift(values);
                for row in weight.chunks_exact_mut(self.outputs) {
                    row.iter_mut().zip(&scale).for_each(|(weight, scale)| *weight *= scale);
                }
                (weight, shift)
            }
        }
    }
}
