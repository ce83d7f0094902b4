//! The element-wise parts of network layers, forward and backward side by side.
//!
//! Slices of rows are row-major, `rows × d`, where `d` is the length of the bias.

use super::dispatch::per_isa;
use super::matrix::MatrixMut;
use super::vectors::assert_same;

per_isa! {
    /// Each row += bias.
    pub fn add_bias(rows: MatrixMut<'_>, bias: &[f32]) = add_bias_body,
    check { assert_same("add_bias", rows.columns(), bias.len()) }
}

per_isa! {
    /// Each row = max(row + bias, 0). NaN stays NaN.
    pub fn add_bias_relu(rows: MatrixMut<'_>, bias: &[f32]) = add_bias_relu_body,
    check { assert_same("add_bias_relu", rows.columns(), bias.len()) }
}

per_isa! {
    /// grad = 0 where activated ≤ 0: the gradient before a ReLU, from the gradient after it and its output.
    pub fn relu_backward(grad: &mut [f32], activated: &[f32]) = relu_backward_body,
    check { assert_same("relu_backward", grad.len(), activated.len()) }
}

per_isa! {
    /// Each row = row ⊙ scale + shift, fused. Batch normalization of a frozen model is this.
    pub fn scale_shift(rows: MatrixMut<'_>, scale: &[f32], shift: &[f32]) = scale_shift_body,
    check {
        assert_same("scale_shift (scale)", rows.columns(), scale.len());
        assert_same("scale_shift (shift)", rows.columns(), shift.len());
    }
}

per_isa! {
    /// out = x0 ⊙ (v + bias) + x, with v = x·W: a cross layer of DCN v2 (Wang et al. 2021, eq. 1).
    pub fn cross_forward(out: &mut [f32], x0: &[f32], v: &[f32], bias: &[f32], x: &[f32]) = cross_forward_body,
    check {
        assert_rows("cross_forward", out.len(), bias.len());
        assert_same("cross_forward (x0)", out.len(), x0.len());
        assert_same("cross_forward (v)", out.len(), v.len());
        assert_same("cross_forward (x)", out.len(), x.len());
    }
}

per_isa! {
    /// From the gradient `grad` of the layer's output: grad_v = grad ⊙ x0, and grad_x0 += grad ⊙ (v + bias).
    ///
    /// The gradient of the bias is the column sums of grad_v; that of x is `grad` itself plus grad_v·Wᵀ.
    pub fn cross_backward(
        grad: &[f32], x0: &[f32], v: &[f32], bias: &[f32], grad_v: &mut [f32], grad_x0: &mut [f32]
    ) = cross_backward_body,
    check {
        assert_rows("cross_backward", grad.len(), bias.len());
        assert_same("cross_backward (x0)", grad.len(), x0.len());
        assert_same("cross_backward (v)", grad.len(), v.len());
        assert_same("cross_backward (grad_v)", grad.len(), grad_v.len());
        assert_same("cross_backward (grad_x0)", grad.len(), grad_x0.len());
    }
}

#[inline(always)]
fn add_bias_body(mut rows: MatrixMut<'_>, bias: &[f32]) {
    for row in 0..rows.rows() {
        for (value, &bias) in rows.row_mut(row).iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

#[inline(always)]
fn add_bias_relu_body(mut rows: MatrixMut<'_>, bias: &[f32]) {
    for row in 0..rows.rows() {
        for (value, &bias) in rows.row_mut(row).iter_mut().zip(bias) {
            let sum = *value + bias;
            // Written so that NaN fails the comparison and stays.
            *value = if sum < 0.0 { 0.0 } else { sum };
        }
    }
}

#[inline(always)]
fn relu_backward_body(grad: &mut [f32], activated: &[f32]) {
    for (grad, &activated) in grad.iter_mut().zip(activated) {
        *grad = if activated <= 0.0 { 0.0 } else { *grad };
    }
}

#[inline(always)]
fn scale_shift_body(mut rows: MatrixMut<'_>, scale: &[f32], shift: &[f32]) {
    for row in 0..rows.rows() {
        for ((value, &scale), &shift) in rows.row_mut(row).iter_mut().zip(scale).zip(shift) {
            *value = value.mul_add(scale, shift);
        }
    }
}

#[inline(always)]
fn cross_forward_body(out: &mut [f32], x0: &[f32], v: &[f32], bias: &[f32], x: &[f32]) {
    let width = bias.len().max(1);
    let rows = out.chunks_exact_mut(width).zip(x0.chunks_exact(width)).zip(v.chunks_exact(width));
    for (((out, x0), v), x) in rows.zip(x.chunks_exact(width)) {
        for ((((out, &x0), &v), &bias), &x) in out.iter_mut().zip(x0).zip(v).zip(bias).zip(x) {
            *out = x0.mul_add(v + bias, x);
        }
    }
}

#[inline(always)]
fn cross_backward_body(grad: &[f32], x0: &[f32], v: &[f32], bias: &[f32], grad_v: &mut [f32], grad_x0: &mut [f32]) {
    let width = bias.len().max(1);
    let inputs = grad.chunks_exact(width).zip(x0.chunks_exact(width)).zip(v.chunks_exact(width));
    let outputs = grad_v.chunks_exact_mut(width).zip(grad_x0.chunks_exact_mut(width));
    for (((grad, x0), v), (grad_v, grad_x0)) in inputs.zip(outputs) {
        let inputs = grad.iter().zip(x0).zip(v).zip(bias);
        for ((((&grad, &x0), &v), &bias), (grad_v, grad_x0)) in inputs.zip(grad_v.iter_mut().zip(grad_x0)) {
            *grad_v = grad * x0;
            *grad_x0 = grad.mul_add(v + bias, *grad_x0);
        }
    }
}

/// Row-major slices must hold whole rows.
#[track_caller]
#[inline(always)]
pub(super) fn assert_rows(kernel: &str, length: usize, width: usize) {
    assert!(
        length.checked_rem(width).unwrap_or(length) == 0,
        "{kernel}: {length} values are not whole rows of {width}"
    );
}
