//! One layer of the tower: h = dropout(ReLU(x W + b)), or with batch normalization h = dropout(ReLU(norm(x W))).
//!
//! `W[input, output]`, rows are impressions. With g = ∂loss/∂h:
//!
//! ```text
//! gz = g ⊙ [h > 0] / keep     (batch normalization: gz ← its backward pass)     ∂W = xᵀ gz     ∂b = Σ rows gz     ∂x = gz Wᵀ
//! ```
//!
//! A dropped value is 0, so `[h > 0]` covers the ReLU and the dropout; no mask is kept.

use super::block::{DeepTrace, Outer, Outputs};
use super::crew::{self, Lane, Stage, Watch};
use super::norm::BatchNorm;
use super::parameters::{Parameters, Start};
use crate::kernels::{self, Finish, Matrix, MatrixMut, PackedMatrix};
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

/// Weights of one layer of `inputs` to `outputs`.
#[derive(Debug, Clone)]
pub(super) struct DeepLayer {
    inputs: usize,
    pub(super) outputs: usize,
    weight: Range<usize>,
    pub(super) shift: Shift,
    packed: PackedMatrix,
    packed_transposed: PackedMatrix,
}

/// What moves the zero of the ReLU. Batch normalization removes any bias before it, so it has its own.
#[derive(Debug, Clone)]
pub(super) enum Shift {
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
        }
    }

    /// What has to be packed at the beginning of a step.
    pub(super) fn packings<'a>(&'a mut self, values: &'a [f32]) -> Vec<(&'a mut PackedMatrix, Matrix<'a>)> {
        let weight = Matrix::new(&values[self.weight.clone()], self.inputs, self.outputs);
        vec![(&mut self.packed, weight), (&mut self.packed_transposed, weight.t())]
    }

    /// `x` (rows × inputs) → h before dropout in `trace.activated`; with batch normalization x W, and its moments over the block.
    pub(super) fn forward(&self, values: &[f32], x: &[f32], trace: &mut DeepTrace, lane: &mut Lane) {
        let (outputs, rows) = (self.outputs, x.len() / self.inputs);
        crew::fit(&mut trace.activated, rows * outputs);
        let finish = match &self.shift {
            Shift::Bias(bias) => Finish::BiasRelu(&values[bias.clone()]),
            Shift::Norm(_) => Finish::None,
        };
        let target = MatrixMut::new(&mut trace.activated, rows, outputs);
        kernels::gemm_packed(target, Matrix::new(x, rows, self.inputs), &self.packed, false, finish, &mut lane.gemm);
        if let Shift::Norm(_) = &self.shift {
            trace.norm.moments.measure(&trace.activated, outputs);
        }
    }

    /// The rest of the way to h: batch normalization by the moments of the batch, and dropout. `first` is the first row.
    pub(super) fn finish(&self, values: &[f32], dropout: Dropout, first: usize, trace: &mut DeepTrace) {
        if let Shift::Norm(norm) = &self.shift {
            norm.forward(values, &mut trace.activated, &mut trace.norm);
        }
        kernels::dropout(&mut trace.activated, dropout.keep, dropout.seed, (first * self.outputs) as u64);
    }

    /// The rest of the way from ∂h, which has passed the ReLU, to ∂ of what the ReLU read in `trace.gradient`; with batch
    /// normalization also its sums over the block.
    pub(super) fn gate(&self, dropout: Dropout, trace: &mut DeepTrace) {
        let gradient = &mut trace.gradient[..trace.activated.len()];
        if dropout.keep < 1.0 {
            kernels::scale(1.0 / dropout.keep, gradient);
        }
        if let Shift::Norm(_) = &self.shift {
            trace.norm.measure_gradient(gradient, self.outputs);
        }
    }

    /// Uses up `trace.gradient`, after [`DeepLayer::gate`]; writes ∂x to `gradient_x`, through the ReLU that made `x` if one did.
    pub(super) fn backward(
        &self,
        values: &[f32],
        (gradient_x, below): (&mut [f32], Option<&[f32]>),
        trace: &mut DeepTrace,
        lane: &mut Lane,
        watch: Watch<'_>,
    ) {
        let (outputs, rows) = (self.outputs, gradient_x.len() / self.inputs);
        let gradient = &mut trace.gradient[..rows * outputs];
        match &self.shift {
            Shift::Bias(_) => {
                watch(Stage::TowerSplit);
                crew::fit(&mut trace.bias, outputs);
                kernels::column_sums(Matrix::new(gradient, rows, outputs), &mut trace.bias, false);
            }
            Shift::Norm(norm) => {
                watch(Stage::Normalize);
                norm.backward(values, gradient, &trace.norm);
                watch(Stage::TowerSplit);
            }
        }
        let gradient = Matrix::new(gradient, rows, outputs);
        trace.packed.repack(gradient, lane.precision);
        watch(Stage::TowerInputs);
        let target = MatrixMut::new(gradient_x, rows, self.inputs);
        let finish = below.map_or(Finish::None, |below| Finish::ReluGate(Matrix::new(below, rows, self.inputs)));
        kernels::gemm_packed(target, gradient, &self.packed_transposed, false, finish, &mut lane.gemm);
        lane.give(&mut trace.gradient);
    }

    /// The weight, whose gradient is a sum over blocks. `layer` is the number of this one.
    pub(super) fn gradients(&self, layer: usize, stacked: bool) -> Outer {
        let width = self.inputs;
        Outer::new(self.weight.clone(), move |block| {
            let inputs = Matrix::new(block.deep_input(layer, stacked), block.rows, width);
            (inputs, Outputs::Packed(&block.deep[layer].packed))
        })
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
