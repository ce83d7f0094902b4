//! Batch normalization inside the tower, as PyTorch's `BatchNorm1d`: momentum 0.1, epsilon 1e-5, statistics of the batch
//! (rows count alike, whatever their weight) while learning, running statistics at prediction time.

use super::crew::{self, Crew};
use super::deep::Dropout;
use super::parameters::Parameters;
use crate::kernels;
use std::ops::Range;

const MOMENTUM: f32 = 0.1;
const EPSILON: f32 = 1e-5;

/// Scale and shift of one layer, with its statistics.
#[derive(Debug, Clone)]
pub(super) struct BatchNorm {
    gamma: Range<usize>,
    beta: Range<usize>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    running_mean: Vec<f32>,
    running_variance: Vec<f32>,
    /// (x − mean) / deviation, rows × width.
    normalized: Vec<f32>,
    input: Vec<f32>,
}

impl BatchNorm {
    pub(super) fn new(name: &str, width: usize, parameters: &mut Parameters) -> Self {
        BatchNorm {
            gamma: parameters.vector(format!("{name}.norm.gamma"), width, 1.0),
            beta: parameters.vector(format!("{name}.norm.beta"), width, 0.0),
            mean: vec![0.0; width],
            variance: vec![0.0; width],
            running_mean: vec![0.0; width],
            running_variance: vec![1.0; width],
            normalized: Vec::new(),
            input: Vec::new(),
        }
    }

    /// `rows` (x W of the whole batch) → dropout(ReLU(norm(rows))), in place.
    pub(super) fn forward(&mut self, values: &[f32], rows: &mut Vec<f32>, dropout: Dropout, crew: &mut Crew<'_>) {
        let width = self.mean.len();
        std::mem::swap(rows, &mut self.input);
        crew::fit(rows, self.input.len());
        crew::fit(&mut self.normalized, self.input.len());
        kernels::batch_norm_statistics(&self.input, &mut self.mean, &mut self.variance);
        self.update_running(rows.len() / width);
        let (gamma, beta) = (&values[self.gamma.clone()], &values[self.beta.clone()]);
        let (mean, variance, count) = (&self.mean, &self.variance, rows.len() / width);
        let run = crew.run(count) * width;
        let parts = self.input.chunks(run).zip(self.normalized.chunks_mut(run).zip(rows.chunks_mut(run)));
        crew.rows(count, parts, |lane, (input, (normalized, out))| {
            kernels::batch_norm_forward(input, mean, variance, EPSILON, gamma, beta, normalized, out);
            for value in &mut *out {
                // NaN fails the comparison and stays.
                *value = if *value < 0.0 { 0.0 } else { *value };
            }
            kernels::dropout(out, dropout.keep, dropout.seed, (lane.first * width) as u64);
        });
    }

    /// `gradient` of the normalized and shifted values → gradient of x W, in place.
    pub(super) fn backward(&self, parameters: &mut Parameters, gradient: &mut [f32]) {
        let gamma = &parameters.values[self.gamma.clone()];
        let (before, beta) = parameters.gradients.split_at_mut(self.beta.start);
        let (gradient_gamma, gradient_beta) = (&mut before[self.gamma.clone()], &mut beta[..self.beta.len()]);
        let normalized = &self.normalized;
        kernels::batch_norm_backward(
            gradient,
            normalized,
            &self.variance,
            EPSILON,
            gamma,
            gradient_gamma,
            gradient_beta,
        );
    }

    /// normalized = x ⊙ scale + shift, by the running statistics.
    pub(super) fn scale_and_shift(&self, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let scale = values[self.gamma.clone()].iter().zip(&self.running_variance);
        let scale: Vec<f32> = scale.map(|(gamma, variance)| gamma / (variance + EPSILON).sqrt()).collect();
        let shift = values[self.beta.clone()].iter().zip(&self.running_mean).zip(&scale);
        let shift = shift.map(|((beta, mean), scale)| beta - mean * scale).collect();
        (scale, shift)
    }

    /// Running variance is that of a sample: divided by rows − 1. A batch of one row has none and is left out.
    fn update_running(&mut self, rows: usize) {
        if rows < 2 {
            return;
        }
        let unbiased = rows as f32 / (rows - 1) as f32;
        let update = |running: &mut f32, batch: f32| *running += MOMENTUM * (batch - *running);
        self.running_mean.iter_mut().zip(&self.mean).for_each(|(running, &mean)| update(running, mean));
        let variances = self.running_variance.iter_mut().zip(&self.variance);
        variances.for_each(|(running, &variance)| update(running, variance * unbiased));
    }
}
