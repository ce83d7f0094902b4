//! Sums and scaled sums of vectors.

use super::dispatch::per_isa;
use super::{Matrix, matrix};

/// Lanes of a reduction: element i goes to lane i mod 64, lanes are added in halves (see [`sum_of_lanes`]).
///
/// Four AVX-512 or eight AVX2 registers: enough independent chains to hide the latency of an addition.
pub(super) const LANES: usize = 64;

per_isa! {
    /// Σ aᵢ bᵢ. Each of 64 lanes is one chain of fused multiply-adds; then the lanes are added in halves.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 = dot_body,
    check { assert_same("dot", a.len(), b.len()) }
}

per_isa! {
    /// y += alpha x, fused.
    pub fn axpy(alpha: f32, x: &[f32], y: &mut [f32]) = axpy_body,
    check { assert_same("axpy", x.len(), y.len()) }
}

per_isa! {
    /// y += x.
    pub fn add_assign(y: &mut [f32], x: &[f32]) = add_assign_body,
    check { assert_same("add_assign", x.len(), y.len()) }
}

per_isa! {
    /// y *= alpha.
    pub fn scale(alpha: f32, y: &mut [f32]) = scale_body
}

per_isa! {
    /// outⱼ = Σᵢ rowsᵢⱼ (`accumulate` = false) or outⱼ += Σᵢ rowsᵢⱼ: one chain of additions per column, in row order,
    /// so that adding pieces of rows in order gives the bits of adding all rows at once.
    ///
    /// The rows must have contiguous columns. Used for gradients of biases.
    pub fn column_sums(rows: matrix::Matrix<'_>, out: &mut [f32], accumulate: bool) = column_sums_body,
    check { assert_same("column_sums", rows.columns(), out.len()) }
}

#[inline(always)]
fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = a.mul_add(b, *lane);
    }
    sum_of_lanes(&lanes)
}

/// Adds the upper half of the lanes to the lower half, six times.
#[inline(always)]
pub(super) fn sum_of_lanes(lanes: &[f32; LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn axpy_body(alpha: f32, x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = alpha.mul_add(x, *y);
    }
}

#[inline(always)]
fn add_assign_body(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

#[inline(always)]
fn scale_body(alpha: f32, y: &mut [f32]) {
    for y in y {
        *y *= alpha;
    }
}

/// Four rows a turn, so that `out` is loaded and stored once for four additions; the order stays that of the rows.
#[inline(always)]
fn column_sums_body(rows: Matrix<'_>, out: &mut [f32], accumulate: bool) {
    if !accumulate {
        out.fill(0.0);
    }
    let fours = rows.rows() / 4 * 4;
    for row in (0..fours).step_by(4) {
        let (a, b, c, d) = (rows.row(row), rows.row(row + 1), rows.row(row + 2), rows.row(row + 3));
        for ((((out, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out = (((*out + a) + b) + c) + d;
        }
    }
    for row in fours..rows.rows() {
        add_assign_body(out, rows.row(row));
    }
}

/// Two lengths that the caller must have made equal.
#[track_caller]
#[inline(always)]
pub(super) fn assert_same(kernel: &str, left: usize, right: usize) {
    assert!(left == right, "{kernel}: lengths differ, {left} and {right}");
}
