//! Batch normalization inside the tower, as PyTorch's `BatchNorm1d`: momentum 0.1, epsilon 1e-5, statistics of the batch
//! (rows count alike, whatever their weight) while learning, running statistics at prediction time.

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
    /// Mean and variance of the batch.
    mean: Vec<f32>,
    variance: Vec<f32>,
    running_mean: Vec<f32>,
    running_variance: Vec<f32>,
    /// Means over the batch of gradient ⊙ normalized, and of the gradient.
    mean_gamma: Vec<f32>,
    mean_beta: Vec<f32>,
}

/// What a block of rows keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct NormTrace {
    pub(super) moments: Moments,
    /// (x − mean) / deviation, rows × width.
    normalized: Vec<f32>,
    /// Σ rows gradient ⊙ normalized, and Σ rows gradient.
    gammas: Vec<f64>,
    betas: Vec<f64>,
}

/// Column by column: mean, and sum of squared differences from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Moments {
    rows: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Those of some rows.
    pub(super) fn measure(&mut self, rows: &[f32], width: usize) {
        self.rows = (rows.len() / width) as f64;
        self.mean.resize(width, 0.0);
        self.squares.resize(width, 0.0);
        kernels::batch_norm_moments(rows, &mut self.mean, &mut self.squares);
    }

    /// Takes in the moments of other rows (Chan, Golub and LeVeque 1979).
    fn merge(&mut self, other: &Moments) {
        if self.rows == 0.0 {
            self.clone_from(other);
            return;
        }
        let rows = self.rows + other.rows;
        let columns = self.mean.iter_mut().zip(&mut self.squares).zip(other.mean.iter().zip(&other.squares));
        for ((mean, squares), (&other_mean, &other_squares)) in columns {
            let apart = other_mean - *mean;
            *mean += apart * (other.rows / rows);
            *squares += other_squares + apart * apart * (self.rows * other.rows / rows);
        }
        self.rows = rows;
    }
}

impl NormTrace {
    /// Adds up the gradient of the normalized and shifted values.
    pub(super) fn measure_gradient(&mut self, gradient: &[f32], width: usize) {
        self.gammas.resize(width, 0.0);
        self.betas.resize(width, 0.0);
        kernels::batch_norm_gradient_sums(gradient, &self.normalized, &mut self.gammas, &mut self.betas);
    }
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
            mean_gamma: vec![0.0; width],
            mean_beta: vec![0.0; width],
        }
    }

    /// Statistics of the batch from those of its blocks, in their order. Comes between x W of all blocks and
    /// [`BatchNorm::forward`] of any.
    pub(super) fn gather<'a>(&mut self, traces: impl Iterator<Item = &'a NormTrace>) {
        let mut all = Moments::default();
        traces.for_each(|trace| all.merge(&trace.moments));
        self.mean.iter_mut().zip(&all.mean).for_each(|(to, from)| *to = *from as f32);
        self.variance.iter_mut().zip(&all.squares).for_each(|(to, squares)| *to = (squares / all.rows) as f32);
        self.update_running(all.rows);
    }

    /// x W of a block → ReLU(norm(x W)), in place.
    pub(super) fn forward(&self, values: &[f32], rows: &mut [f32], trace: &mut NormTrace) {
        let (gamma, beta) = (&values[self.gamma.clone()], &values[self.beta.clone()]);
        trace.normalized.resize(rows.len(), 0.0);
        let normalized = &mut trace.normalized;
        kernels::batch_norm_forward(rows, &self.mean, &self.variance, EPSILON, gamma, beta, normalized);
    }

    /// Gradients of gamma and beta from the sums of all blocks, in their order. Comes before [`BatchNorm::backward`] of any.
    pub(super) fn gather_gradients<'a>(
        &mut self,
        traces: impl Iterator<Item = &'a NormTrace> + Clone,
        rows: usize,
        gradients: &mut [f32],
    ) {
        for column in 0..self.mean.len() {
            let gamma: f64 = traces.clone().map(|trace| trace.gammas[column]).sum();
            let beta: f64 = traces.clone().map(|trace| trace.betas[column]).sum();
            gradients[self.gamma.start + column] = gamma as f32;
            gradients[self.beta.start + column] = beta as f32;
            self.mean_gamma[column] = (gamma / rows as f64) as f32;
            self.mean_beta[column] = (beta / rows as f64) as f32;
        }
    }

    /// `gradient` of the normalized and shifted values → gradient of x W, in place.
    pub(super) fn backward(&self, values: &[f32], gradient: &mut [f32], trace: &NormTrace) {
        let gamma = &values[self.gamma.clone()];
        let (variance, means) = (&self.variance, (&self.mean_gamma, &self.mean_beta));
        kernels::batch_norm_backward(gradient, &trace.normalized, variance, EPSILON, gamma, means.0, means.1);
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
    fn update_running(&mut self, rows: f64) {
        if rows < 2.0 {
            return;
        }
        let unbiased = (rows / (rows - 1.0)) as f32;
        let update = |running: &mut f32, batch: f32| *running += MOMENTUM * (batch - *running);
        self.running_mean.iter_mut().zip(&self.mean).for_each(|(running, &mean)| update(running, mean));
        let variances = self.running_variance.iter_mut().zip(&self.variance);
        variances.for_each(|(running, &variance)| update(running, variance * unbiased));
    }
}
