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
    /// From the gradient `grad` of the layer's output, with u = x·W + bias: grad_u = grad ⊙ x0, grad_x0 += grad ⊙ u, and
    /// grad_bias = column sums of grad_u, one chain of additions each.
    ///
    /// The gradient of x is `grad` itself plus grad_u·Wᵀ.
    pub fn cross_backward(
        grad: &[f32], x0: &[f32], u: &[f32], grad_u: &mut [f32], grad_x0: &mut [f32], grad_bias: &mut [f32]
    ) = cross_backward_body::<false>,
    check { assert_cross(grad, x0, u, grad_u, grad_x0, grad_bias) }
}

per_isa! {
    /// [`cross_backward`] for the first layer, where x is x0: `grad` is added to grad_x0 too, after the product.
    pub fn cross_backward_first(
        grad: &[f32], x0: &[f32], u: &[f32], grad_u: &mut [f32], grad_x0: &mut [f32], grad_bias: &mut [f32]
    ) = cross_backward_body::<true>,
    check { assert_cross(grad, x0, u, grad_u, grad_x0, grad_bias) }
}

per_isa! {
    /// Backward of x · weight, one number a row: from its gradient `grad`, grad_weight = Σ rows grad x and grad_x = grad weight.
    pub fn linear_backward(
        grad: &[f32], weight: &[f32], x: &[f32], grad_weight: &mut [f32], grad_x: &mut [f32]
    ) = linear_backward_body,
    check {
        assert_same("linear_backward (x)", grad.len() * weight.len(), x.len());
        assert_same("linear_backward (grad_weight)", weight.len(), grad_weight.len());
        assert_same("linear_backward (grad_x)", x.len(), grad_x.len());
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
fn cross_backward_body<const FIRST: bool>(
    grad: &[f32],
    x0: &[f32],
    u: &[f32],
    grad_u: &mut [f32],
    grad_x0: &mut [f32],
    grad_bias: &mut [f32],
) {
    grad_bias.fill(0.0);
    let width = grad_bias.len().max(1);
    let inputs = grad.chunks_exact(width).zip(x0.chunks_exact(width)).zip(u.chunks_exact(width));
    let outputs = grad_u.chunks_exact_mut(width).zip(grad_x0.chunks_exact_mut(width));
    for (((grad, x0), u), (grad_u, grad_x0)) in inputs.zip(outputs) {
        let outputs = grad_u.iter_mut().zip(grad_x0).zip(&mut *grad_bias);
        for (((&grad, &x0), &u), ((grad_u, grad_x0), grad_bias)) in grad.iter().zip(x0).zip(u).zip(outputs) {
            *grad_u = grad * x0;
            let sum = grad.mul_add(u, *grad_x0);
            *grad_x0 = if FIRST { sum + grad } else { sum };
            *grad_bias += *grad_u;
        }
    }
}

#[inline(always)]
fn linear_backward_body(grad: &[f32], weight: &[f32], x: &[f32], grad_weight: &mut [f32], grad_x: &mut [f32]) {
    grad_weight.fill(0.0);
    let width = weight.len().max(1);
    for ((&grad, x), grad_x) in grad.iter().zip(x.chunks_exact(width)).zip(grad_x.chunks_exact_mut(width)) {
        let inputs = x.iter().zip(weight);
        for ((&x, &weight), (grad_weight, grad_x)) in inputs.zip(grad_weight.iter_mut().zip(grad_x)) {
            *grad_weight = grad.mul_add(x, *grad_weight);
            *grad_x = grad * weight;
        }
    }
}

/// All of a cross layer's slices hold the same whole rows.
fn assert_cross(grad: &[f32], x0: &[f32], u: &[f32], grad_u: &[f32], grad_x0: &[f32], grad_bias: &[f32]) {
    assert_rows("cross_backward", grad.len(), grad_bias.len());
    assert_same("cross_backward (x0)", grad.len(), x0.len());
    assert_same("cross_backward (u)", grad.len(), u.len());
    assert_same("cross_backward (grad_u)", grad.len(), grad_u.len());
    assert_same("cross_backward (grad_x0)", grad.len(), grad_x0.len());
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
