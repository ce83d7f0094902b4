//! Batch normalization over the columns of a batch, as PyTorch's `BatchNorm1d` in training mode (Ioffe and Szegedy 2015).
//!
//! All slices are row-major, `rows × width`, where `width` is the length of `mean`. A frozen model folds its running
//! statistics into [`scale_shift`](super::scale_shift). Column sums are f64 chains in row order.

use super::dispatch::per_isa;
use super::layers::assert_rows;
use super::vectors::assert_same;

per_isa! {
    /// Mean of each column, and the sum of squared differences from it, in two passes.
    ///
    /// The biased variance is squares / rows. Without rows both are 0.
    pub fn batch_norm_moments(x: &[f32], mean: &mut [f64], squares: &mut [f64]) = moments_body,
    check {
        assert_rows("batch_norm_moments", x.len(), mean.len());
        assert_same("batch_norm_moments", mean.len(), squares.len());
    }
}

per_isa! {
    /// normalized = (x − mean) / √(variance + epsilon), and x becomes max(normalized ⊙ gamma + beta, 0). NaN stays NaN.
    pub fn batch_norm_forward(
        x: &mut [f32], mean: &[f32], variance: &[f32], epsilon: f32, gamma: &[f32], beta: &[f32], normalized: &mut [f32]
    ) = forward_body,
    check {
        assert_rows("batch_norm_forward", x.len(), mean.len());
        assert_same("batch_norm_forward (variance)", mean.len(), variance.len());
        assert_same("batch_norm_forward (gamma)", mean.len(), gamma.len());
        assert_same("batch_norm_forward (beta)", mean.len(), beta.len());
        assert_same("batch_norm_forward (normalized)", x.len(), normalized.len());
    }
}

per_isa! {
    /// Σ grad ⊙ normalized and Σ grad over rows: the gradients of gamma and beta.
    pub fn batch_norm_gradient_sums(
        grad: &[f32], normalized: &[f32], gammas: &mut [f64], betas: &mut [f64]
    ) = gradient_sums_body,
    check {
        assert_rows("batch_norm_gradient_sums", grad.len(), gammas.len());
        assert_same("batch_norm_gradient_sums (normalized)", grad.len(), normalized.len());
        assert_same("batch_norm_gradient_sums (betas)", gammas.len(), betas.len());
    }
}

per_isa! {
    /// From the gradient of the output, in place to the gradient of the input, when mean and variance came from this batch:
    ///
    /// grad = gamma / √(variance + epsilon) ⊙ (grad − mean_beta − normalized ⊙ mean_gamma), where the means are what
    /// [`batch_norm_gradient_sums`] gives for the whole batch, divided by its rows.
    pub fn batch_norm_backward(
        grad: &mut [f32], normalized: &[f32], variance: &[f32], epsilon: f32, gamma: &[f32],
        mean_gamma: &[f32], mean_beta: &[f32]
    ) = backward_body,
    check {
        assert_rows("batch_norm_backward", grad.len(), variance.len());
        assert_same("batch_norm_backward (normalized)", grad.len(), normalized.len());
        assert_same("batch_norm_backward (gamma)", variance.len(), gamma.len());
        assert_same("batch_norm_backward (mean_gamma)", variance.len(), mean_gamma.len());
        assert_same("batch_norm_backward (mean_beta)", variance.len(), mean_beta.len());
    }
}

/// Columns summed side by side: one pass over the rows for each block of columns, with the sums in registers.
const COLUMNS: usize = 32;

#[inline(always)]
fn moments_body(x: &[f32], mean: &mut [f64], squares: &mut [f64]) {
    let width = mean.len();
    if x.is_empty() {
        mean.fill(0.0);
        squares.fill(0.0);
        return;
    }
    let rows = (x.len() / width) as f64;
    for first in (0..width).step_by(COLUMNS) {
        let columns = COLUMNS.min(width - first);
        let mut sums = [0.0f64; COLUMNS];
        for row in x.chunks_exact(width) {
            let row = &row[first..first + columns];
            if let Ok(row) = <&[f32; COLUMNS]>::try_from(row) {
                for column in 0..COLUMNS {
                    sums[column] += f64::from(row[column]);
                }
            } else {
                for (sum, &x) in sums.iter_mut().zip(row) {
                    *sum += f64::from(x);
                }
            }
        }
        let means = sums.map(|sum| sum / rows);
        let mut sums = [0.0f64; COLUMNS];
        for row in x.chunks_exact(width) {
            let row = &row[first..first + columns];
            if let Ok(row) = <&[f32; COLUMNS]>::try_from(row) {
                for column in 0..COLUMNS {
                    let difference = f64::from(row[column]) - means[column];
                    sums[column] = difference.mul_add(difference, sums[column]);
                }
            } else {
                for ((sum, &mean), &x) in sums.iter_mut().zip(&means).zip(row) {
                    let difference = f64::from(x) - mean;
                    *sum = difference.mul_add(difference, *sum);
                }
            }
        }
        mean[first..first + columns].copy_from_slice(&means[..columns]);
        squares[first..first + columns].copy_from_slice(&sums[..columns]);
    }
}

#[inline(always)]
fn forward_body(
    x: &mut [f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    gamma: &[f32],
    beta: &[f32],
    normalized: &mut [f32],
) {
    let width = mean.len();
    for first in (0..width).step_by(COLUMNS) {
        let columns = first..width.min(first + COLUMNS);
        let (mean, gamma, beta) = (&mean[columns.clone()], &gamma[columns.clone()], &beta[columns.clone()]);
        let inverse = inverse_deviations(&variance[columns.clone()], epsilon);
        for (x, normalized) in x.chunks_exact_mut(width).zip(normalized.chunks_exact_mut(width)) {
            let parameters = mean.iter().zip(&inverse).zip(gamma.iter().zip(beta));
            let values = x[columns.clone()].iter_mut().zip(&mut normalized[columns.clone()]);
            for ((x, normalized), ((&mean, &inverse), (&gamma, &beta))) in values.zip(parameters) {
                *normalized = (*x - mean) * inverse;
                let out = normalized.mul_add(gamma, beta);
                // Written so that NaN fails the comparison and stays.
                *x = if out < 0.0 { 0.0 } else { out };
            }
        }
    }
}

#[inline(always)]
fn gradient_sums_body(grad: &[f32], normalized: &[f32], gammas: &mut [f64], betas: &mut [f64]) {
    let width = gammas.len();
    for first in (0..width).step_by(COLUMNS) {
        let columns = first..width.min(first + COLUMNS);
        let (mut of_gamma, mut of_beta) = ([0.0f64; COLUMNS], [0.0f64; COLUMNS]);
        for (grad, normalized) in grad.chunks_exact(width).zip(normalized.chunks_exact(width)) {
            let sums = of_gamma.iter_mut().zip(&mut of_beta);
            let values = grad[columns.clone()].iter().zip(&normalized[columns.clone()]);
            for ((gamma, beta), (&grad, &normalized)) in sums.zip(values) {
                *gamma = f64::from(grad).mul_add(f64::from(normalized), *gamma);
                *beta += f64::from(grad);
            }
        }
        gammas[columns.clone()].copy_from_slice(&of_gamma[..columns.len()]);
        betas[columns.clone()].copy_from_slice(&of_beta[..columns.len()]);
    }
}

#[inline(always)]
fn backward_body(
    grad: &mut [f32],
    normalized: &[f32],
    variance: &[f32],
    epsilon: f32,
    gamma: &[f32],
    mean_gamma: &[f32],
    mean_beta: &[f32],
) {
    let width = variance.len();
    for first in (0..width).step_by(COLUMNS) {
        let columns = first..width.min(first + COLUMNS);
        let inverse = inverse_deviations(&variance[columns.clone()], epsilon);
        let mut scale = [0.0f32; COLUMNS];
        for ((scale, &gamma), &inverse) in scale.iter_mut().zip(&gamma[columns.clone()]).zip(&inverse) {
            *scale = gamma * inverse;
        }
        let (mean_gamma, mean_beta) = (&mean_gamma[columns.clone()], &mean_beta[columns.clone()]);
        for (grad, normalized) in grad.chunks_exact_mut(width).zip(normalized.chunks_exact(width)) {
            let values = grad[columns.clone()].iter_mut().zip(&normalized[columns.clone()]);
            let parameters = scale.iter().zip(mean_gamma).zip(mean_beta);
            for ((grad, &normalized), ((&scale, &mean_gamma), &mean_beta)) in values.zip(parameters) {
                *grad = scale * normalized.mul_add(-mean_gamma, *grad - mean_beta);
            }
        }
    }
}

/// 1 / √(variance + epsilon) of up to `COLUMNS` columns.
#[inline(always)]
fn inverse_deviations(variance: &[f32], epsilon: f32) -> [f32; COLUMNS] {
    let mut inverse = [0.0f32; COLUMNS];
    for (inverse, &variance) in inverse.iter_mut().zip(variance) {
        *inverse = 1.0 / (variance + epsilon).sqrt();
    }
    inverse
}
