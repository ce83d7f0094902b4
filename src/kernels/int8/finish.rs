//! Exact sums → finished values of C.

use std::ops::Range;

use super::super::dispatch::per_isa;
use super::super::matrix::MatrixMut;
use super::super::vectors::assert_same;
use super::tile::Sums;
use super::{QuantizedFinish, QuantizedMatrix, rows};

/// Lengths must fit those of C.
pub(super) fn check(finish: &QuantizedFinish<'_>, height: usize, width: usize) {
    match finish {
        QuantizedFinish::Bias(bias) | QuantizedFinish::BiasRelu(bias) => {
            assert_same("int8 (bias)", width, bias.len());
        }
        QuantizedFinish::Cross { bias, x0 } => {
            assert_same("int8 (bias)", width, bias.len());
            assert_same("int8 (rows of x0)", height, x0.rows());
            assert_same("int8 (columns of x0)", width, x0.columns());
        }
    }
}

per_isa! {
    /// Finishes `rows` × `columns` of C. `ranges` are those of all rows; a row of `sums` has `width` values.
    pub(super) fn tile(
        c: MatrixMut<'_>, sums: &Sums, width: usize, rows: Range<usize>, columns: Range<usize>,
        ranges: &[rows::Range], b: &QuantizedMatrix, finish: &QuantizedFinish<'_>
    ) = tile_body
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "one inner loop of `product_with`, named")]
fn tile_body(
    mut c: MatrixMut<'_>,
    sums: &Sums,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    ranges: &[rows::Range],
    b: &QuantizedMatrix,
    finish: &QuantizedFinish<'_>,
) {
    let (QuantizedFinish::Bias(bias) | QuantizedFinish::BiasRelu(bias) | QuantizedFinish::Cross { bias, .. }) = finish;
    for (row, sums) in rows.zip(sums.0.chunks_exact(width)) {
        let c = &mut c.row_mut(row)[columns.clone()];
        let inputs = Inputs {
            range: ranges[row],
            sums: &sums[..columns.len()],
            scales: &b.scales[columns.clone()],
            column_sums: &b.sums[columns.clone()],
            bias: &bias[columns.clone()],
        };
        match finish {
            QuantizedFinish::Bias(_) => inputs.each(c, |value| value),
            // Written so that NaN fails the comparison and stays.
            QuantizedFinish::BiasRelu(_) => inputs.each(c, |value| if value < 0.0 { 0.0 } else { value }),
            QuantizedFinish::Cross { x0, .. } => inputs.cross(c, &x0.row(row)[columns.clone()]),
        }
    }
}

/// Some columns of a row.
struct Inputs<'a> {
    range: rows::Range,
    sums: &'a [i32],
    scales: &'a [f32],
    column_sums: &'a [f32],
    bias: &'a [f32],
}

impl Inputs<'_> {
    #[inline(always)]
    fn values(&self) -> impl Iterator<Item = f32> {
        let rows::Range { low, step } = self.range;
        let columns = self.sums.iter().zip(self.scales).zip(self.column_sums).zip(self.bias);
        columns.map(move |(((&sum, &scale), &column_sum), &bias)| {
            (sum as f32).mul_add(step * scale, low.mul_add(column_sum, bias))
        })
    }

    #[inline(always)]
    fn each(&self, c: &mut [f32], finish: impl Fn(f32) -> f32) {
        c.iter_mut().zip(self.values()).for_each(|(c, value)| *c = finish(value));
    }

    #[inline(always)]
    fn cross(&self, c: &mut [f32], x0: &[f32]) {
        c.iter_mut().zip(x0).zip(self.values()).for_each(|((c, &x0), value)| *c = x0.mul_add(value, *c));
    }
}
