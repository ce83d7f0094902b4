//! Exact sums → finished values of C.

use std::ops::Range;

use super::super::dispatch::{Isa, isa, per_isa};
use super::super::matrix::MatrixMut;
use super::super::vectors::assert_same;
use super::tile::{Sums, UNIT};
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

/// Finishes `rows` × `columns` of C. `ranges` are those of all rows; a row of `sums` has `width` values.
#[allow(clippy::too_many_arguments, reason = "one inner loop of `part_with`, named")]
pub(super) fn tile(
    c: MatrixMut<'_>,
    sums: &Sums,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    ranges: &[rows::Range],
    b: &QuantizedMatrix,
    finish: &QuantizedFinish<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    if isa() >= Isa::Avx512 {
        // SAFETY: `isa` says that the processor has AVX-512.
        return unsafe { avx512::tile(c, sums, width, rows, columns, ranges, b, finish) };
    }
    plain(c, sums, width, rows, columns, ranges, b, finish);
}

per_isa! {
    fn plain(
        c: MatrixMut<'_>, sums: &Sums, width: usize, rows: Range<usize>, columns: Range<usize>,
        ranges: &[rows::Range], b: &QuantizedMatrix, finish: &QuantizedFinish<'_>
    ) = tile_body
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as `tile`")]
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

/// The same, 16 columns a register and what belongs to a column read once for all rows. As loops of the compiler's, a tile's 48
/// columns were finished in the time of a product of 20 steps.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::*;

    /// # Safety
    /// `check` has passed.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    #[allow(clippy::too_many_arguments, reason = "as `tile`")]
    pub(super) unsafe fn tile(
        mut c: MatrixMut<'_>,
        sums: &Sums,
        width: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        ranges: &[rows::Range],
        b: &QuantizedMatrix,
        finish: &QuantizedFinish<'_>,
    ) {
        let (QuantizedFinish::Bias(bias) | QuantizedFinish::BiasRelu(bias) | QuantizedFinish::Cross { bias, .. }) =
            finish;
        let zero = _mm512_setzero_ps();
        for (unit, first) in columns.clone().step_by(UNIT).enumerate() {
            let columns = first..columns.end.min(first + UNIT);
            let lanes = u16::MAX >> (UNIT - columns.len());
            let of_columns = |values: &[f32]| {
                let values = &values[columns.clone()];
                // SAFETY: the mask leaves the lanes that are there.
                unsafe { _mm512_maskz_loadu_ps(lanes, values.as_ptr()) }
            };
            let (scale, column_sum, bias) = (of_columns(&b.scales), of_columns(&b.sums), of_columns(bias));
            for (number, row) in rows.clone().enumerate() {
                let rows::Range { low, step } = ranges[row];
                let sums = &sums.0[number * width + unit * UNIT..][..UNIT];
                // SAFETY: 16 are there.
                let sum = _mm512_cvtepi32_ps(unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) });
                let constant = _mm512_fmadd_ps(_mm512_set1_ps(low), column_sum, bias);
                let value = _mm512_fmadd_ps(sum, _mm512_mul_ps(_mm512_set1_ps(step), scale), constant);
                let target = &mut c.row_mut(row)[columns.clone()];
                let value = match finish {
                    QuantizedFinish::Bias(_) => value,
                    // NaN fails the comparison and stays.
                    QuantizedFinish::BiasRelu(_) => {
                        _mm512_mask_mov_ps(value, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(value, zero), zero)
                    }
                    QuantizedFinish::Cross { x0, .. } => {
                        let x0 = &x0.row(row)[columns.clone()];
                        // SAFETY: the mask leaves the lanes that are there, of which both have as many.
                        let (x0, x) = unsafe {
                            (_mm512_maskz_loadu_ps(lanes, x0.as_ptr()), _mm512_maskz_loadu_ps(lanes, target.as_ptr()))
                        };
                        _mm512_fmadd_ps(x0, value, x)
                    }
                };
                // SAFETY: the mask leaves the lanes that are there.
                unsafe { _mm512_mask_storeu_ps(target.as_mut_ptr(), lanes, value) };
            }
        }
    }
}
