//! Batch normalization over the columns of a batch, as PyTorch's `BatchNorm1d` in training mode (Ioffe and Szegedy 2015).
//!
//! All slices are row-major, `rows × width`, where `width` is the length of `mean`. A frozen model folds its running
//! statistics into [`scale_shift`](super::scale_shift). Column sums are f64 chains in row order.

use super::dispatch::per_isa;
use super::layers::assert_rows;
use super::vectors::assert_same;

per_isa! {
    /// Mean and biased variance (divided by the number of rows) of each column, in two passes.
    ///
    /// Running statistics of PyTorch use variance · rows / (rows − 1). Without rows both are 0.
    pub fn batch_norm_statistics(x: &[f32], mean: &mut [f32], variance: &mut [f32]) = statistics_body,
    check {
        assert_rows("batch_norm_statistics", x.len(), mean.len());
        assert_same("batch_norm_statistics", mean.len(), variance.len());
    }
}

per_isa! {
    /// normalized = (x − mean) / √(variance + epsilon), and out = normalized ⊙ gamma + beta.
    pub fn batch_norm_forward(
        x: &[f32], mean: &[f32], variance: &[f32], epsilon: f32, gamma: &[f32], beta: &[f32],
        normalized: &mut [f32], out: &mut [f32]
    ) = forward_body,
    check {
        assert_rows("batch_norm_forward", x.len(), mean.len());
        assert_same("batch_norm_forward (variance)", mean.len(), variance.len());
        assert_same("batch_norm_forward (gamma)", mean.len(), gamma.len());
        assert_same("batch_norm_forward (beta)", mean.len(), beta.len());
        assert_same("batch_norm_forward (normalized)", x.len(), normalized.len());
        assert_same("batch_norm_forward (out)", x.len(), out.len());
    }
}

per_isa! {
    /// From the gradient of the output, in place to the gradient of the input, when mean and variance came from this batch:
    ///
    /// grad_gamma = Σ grad ⊙ normalized and grad_beta = Σ grad over rows (both written, not added), then
    /// grad = gamma / √(variance + epsilon) ⊙ (grad − grad_beta / rows − normalized ⊙ grad_gamma / rows).
    pub fn batch_norm_backward(
        grad: &mut [f32], normalized: &[f32], variance: &[f32], epsilon: f32, gamma: &[f32],
        grad_gamma: &mut [f32], grad_beta: &mut [f32]
    ) = backward_body,
    check {
        assert_rows("batch_norm_backward", grad.len(), variance.len());
        assert_same("batch_norm_backward (normalized)", grad.len(), normalized.len());
        assert_same("batch_norm_backward (gamma)", variance.len(), gamma.len());
        assert_same("batch_norm_backward (grad_gamma)", variance.len(), grad_gamma.len());
        assert_same("batch_norm_backward (grad_beta)", variance.len(), grad_beta.len());
    }
}

/// Columns summed side by side: one pass over the rows for each block of columns, with the sums in registers.
const COLUMNS: usize = 32;

#[inline(always)]
fn statistics_body(x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    let width = mean.len();
    if x.is_empty() {
        mean.fill(0.0);
        variance.fill(0.0);
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
        let mut squares = [0.0f64; COLUMNS];
        for row in x.chunks_exact(width) {
            let row = &row[first..first + columns];
            if let Ok(row) = <&[f32; COLUMNS]>::try_from(row) {
                for column in 0..COLUMNS {
                    let difference = f64::from(row[column]) - means[column];
                    squares[column] = difference.mul_add(difference, squares[column]);
                }
            } else {
                for ((square, &mean), &x) in squares.iter_mut().zip(&means).zip(row) {
                    let difference = f64::from(x) - mean;
                    *square = difference.mul_add(difference, *square);
                }
            }
        }
        for column in 0..columns {
            mean[first + column] = means[column] as f32;
            variance[first + column] = (squares[column] / rows) as f32;
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "they are the formula's")]
#[inline(always)]
fn forward_body(
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    gamma: &[f32],
    beta: &[f32],
    normalized: &mut [f32],
    out: &mut [f32],
) {
    let width = mean.len();
    for first in (0..width).step_by(COLUMNS) {
        let columns = first..width.min(first + COLUMNS);
        let (mean, gamma, beta) = (&mean[columns.clone()], &gamma[columns.clone()], &beta[columns.clone()]);
        let inverse = inverse_deviations(&variance[columns.clone()], epsilon);
        let rows = x.chunks_exact(width).zip(normalized.chunks_exact_mut(width)).zip(out.chunks_exact_mut(width));
        for ((x, normalized), out) in rows {
            let parameters = mean.iter().zip(&inverse).zip(gamma.iter().zip(beta));
            let outputs = normalized[columns.clone()].iter_mut().zip(&mut out[columns.clone()]);
            for ((&x, (normalized, out)), ((&mean, &inverse), (&gamma, &beta))) in
                x[columns.clone()].iter().zip(outputs).zip(parameters)
            {
                *normalized = (x - mean) * inverse;
                *out = normalized.mul_add(gamma, beta);
            }
        }
    }
}

#[inline(always)]
fn backward_body(
    grad: &mut [f32],
    normalized: &[f32],
    variance: &[f32],
    epsilon: f32,
    gamma: &[f32],
    grad_gamma: &mut [f32],
    grad_beta: &mut [f32],
) {
    let width = variance.len();
    if grad.is_empty() {
        grad_gamma.fill(0.0);
        grad_beta.fill(0.0);
        return;
    }
    let inverse_rows = width as f64 / grad.len() as f64;
    for first in (0..width).step_by(COLUMNS) {
        let columns = first..width.min(first + COLUMNS);
        let mut gammas = [0.0f64; COLUMNS];
        let mut betas = [0.0f64; COLUMNS];
        for (grad, normalized) in grad.chunks_exact(width).zip(normalized.chunks_exact(width)) {
            let sums = gammas.iter_mut().zip(&mut betas);
            let values = grad[columns.clone()].iter().zip(&normalized[columns.clone()]);
            for ((gamma, beta), (&grad, &normalized)) in sums.zip(values) {
                *gamma = f64::from(grad).mul_add(f64::from(normalized), *gamma);
                *beta += f64::from(grad);
            }
        }
        let inverse = inverse_deviations(&variance[columns.clone()], epsilon);
        let mut scale = [0.0f32; COLUMNS];
        for ((scale, &gamma), &inverse) in scale.iter_mut().zip(&gamma[columns.clone()]).zip(&inverse) {
            *scale = gamma * inverse;
        }
        let mean_gammas = gammas.map(|sum| (sum * inverse_rows) as f32);
        let mean_betas = betas.map(|sum| (sum * inverse_rows) as f32);
        for (grad, normalized) in grad.chunks_exact_mut(width).zip(normalized.chunks_exact(width)) {
            let values = grad[columns.clone()].iter_mut().zip(&normalized[columns.clone()]);
            let parameters = scale.iter().zip(&mean_gammas).zip(&mean_betas);
            for ((grad, &normalized), ((&scale, &mean_gamma), &mean_beta)) in values.zip(parameters) {
                *grad = scale * normalized.mul_add(-mean_gamma, *grad - mean_beta);
            }
        }
        for column in columns.clone() {
            grad_gamma[column] = gammas[column - first] as f32;
            grad_beta[column] = betas[column - first] as f32;
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
