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

/// Asks for what [`tile`] will read and write besides sums, while the product is under way.
pub(super) fn prefetch(c: &mut MatrixMut<'_>, rows: Range<usize>, columns: Range<usize>, finish: &QuantizedFinish<'_>) {
    if let QuantizedFinish::Cross { x0, .. } = finish {
        for row in rows {
            for column in columns.clone().step_by(UNIT) {
                super::super::prefetch(c.row_mut(row), column);
                super::super::prefetch(x0.row(row), column);
            }
        }
    }
}

/// The same, 16 columns a register. As loops of the compiler's, a tile's 48 columns were finished in the time of a product of 20
/// to 30 steps.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::*;

    /// # Safety
    /// The processor has AVX-512, and `check` has passed.
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
        let of_columns = [&b.scales[columns.clone()], &b.sums[columns.clone()], &bias[columns.clone()]];
        for (row, sums) in rows.zip(sums.0.chunks_exact(width)) {
            let c = &mut c.row_mut(row)[columns.clone()];
            let range = ranges[row];
            // SAFETY: of C, of what belongs to its columns and of x₀ there are as many, and at least as many sums.
            unsafe {
                match finish {
                    QuantizedFinish::Bias(_) => row_of(c, sums, of_columns, range, |value, _, _, _| value),
                    QuantizedFinish::BiasRelu(_) => row_of(c, sums, of_columns, range, |value, _, _, _| relu(value)),
                    QuantizedFinish::Cross { x0, .. } => {
                        let x0 = &x0.row(row)[columns.clone()];
                        row_of(c, sums, of_columns, range, |value, x, at, lanes| {
                            // SAFETY: the mask leaves the lanes that are there.
                            let x0 = _mm512_maskz_loadu_ps(lanes, x0.as_ptr().add(at));
                            _mm512_fmadd_ps(x0, value, x)
                        });
                    }
                }
            }
        }
    }

    /// One row: `finish` gets a value, what stands in C, the place in the row and the lanes that are there.
    ///
    /// # Safety
    /// `sums` and each of `of_columns` are as long as `c` or longer.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn row_of(
        c: &mut [f32],
        sums: &[i32],
        of_columns: [&[f32]; 3],
        range: rows::Range,
        finish: impl Fn(__m512, __m512, usize, u16) -> __m512,
    ) {
        let (low, step) = (_mm512_set1_ps(range.low), _mm512_set1_ps(range.step));
        for at in (0..c.len()).step_by(UNIT) {
            let lanes = if c.len() - at >= UNIT { u16::MAX } else { u16::MAX >> (UNIT - (c.len() - at)) };
            // SAFETY: the mask leaves the lanes that are there.
            unsafe {
                let [scale, column_sum, bias] =
                    of_columns.map(|values| _mm512_maskz_loadu_ps(lanes, values.as_ptr().add(at)));
                let sum = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(lanes, sums.as_ptr().add(at)));
                let constant = _mm512_fmadd_ps(low, column_sum, bias);
                let value = _mm512_fmadd_ps(sum, _mm512_mul_ps(step, scale), constant);
                let target = c.as_mut_ptr().add(at);
                let value = finish(value, _mm512_maskz_loadu_ps(lanes, target), at, lanes);
                _mm512_mask_storeu_ps(target, lanes, value);
            }
        }
    }

    /// max(value, 0); NaN fails the comparison and stays.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn relu(value: __m512) -> __m512 {
        let zero = _mm512_setzero_ps();
        _mm512_mask_mov_ps(value, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(value, zero), zero)
    }
}
