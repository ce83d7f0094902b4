//! Rows of `f32` → bytes, each row over its own range.

use super::super::dispatch::{Isa, isa, per_isa};
use super::super::matrix::Matrix;
use super::GROUP;

/// A in 8 bits: value ≈ low + step · byte. Keeps its memory when it is filled again.
#[derive(Clone, Debug, Default)]
pub struct QuantizedRows {
    bytes: Vec<u8>,
    ranges: Vec<Range>,
    columns: usize,
}

/// What the bytes of a row mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Range {
    /// The least value; NaN where the row holds a value that is not finite.
    pub(super) low: f32,
    /// From one byte to the next: (greatest − least) / 255. 0 where all values are equal.
    pub(super) step: f32,
}

impl QuantizedRows {
    /// Rounds each row of `rows`, whose columns must lie side by side.
    ///
    /// # Panics
    /// When the columns are strided.
    pub fn fill(&mut self, rows: Matrix<'_>) {
        self.columns = rows.columns();
        let stride = self.stride();
        // Bytes past the last column meet zeros of B, so they need no value of their own.
        self.bytes.resize(rows.rows() * stride, 0);
        self.ranges.resize(rows.rows(), Range::default());
        quantize(rows, &mut self.bytes, stride, &mut self.ranges);
    }

    /// Rounds some runs of values of each row over ranges known in advance. A row of `rows` is runs of `inverse.len()` values;
    /// value `k` of each lies in ±127 / `inverse[k]`, and its byte is 128 + value · `inverse[k]`. `runs` are the numbers of
    /// those to take; each takes a multiple of four bytes.
    ///
    /// # Panics
    /// When the columns are strided, or a run is outside the row.
    pub fn fill_known(&mut self, rows: Matrix<'_>, runs: &[u32], inverse: &[f32]) {
        let stride = inverse.len().next_multiple_of(GROUP);
        self.columns = runs.len() * stride;
        self.bytes.resize(rows.rows() * self.columns, 0);
        self.ranges.clear();
        self.ranges.resize(rows.rows(), Range { low: 0.0, step: 1.0 });
        for (row, bytes) in self.bytes.chunks_exact_mut(self.columns.max(1)).enumerate() {
            known_runs(rows.row(row), runs, inverse, bytes);
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.ranges.len()
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.columns.next_multiple_of(GROUP)
    }

    pub(super) fn bytes_from(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.stride()..]
    }

    pub(super) fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

/// Each row → bytes and what they mean. The columns of `rows` lie side by side.
fn quantize(rows: Matrix<'_>, bytes: &mut [u8], stride: usize, ranges: &mut [Range]) {
    let bytes = bytes.chunks_exact_mut(stride.max(1)).take(ranges.len());
    for (row, (bytes, range)) in bytes.zip(ranges.iter_mut()).enumerate() {
        let values = rows.row(row);
        let bytes = &mut bytes[..values.len()];
        #[cfg(target_arch = "x86_64")]
        if isa() >= Isa::Avx512 {
            // SAFETY: `isa` says that the processor has AVX-512; the slices have the same length.
            unsafe { avx512::quantize_row(values, bytes, range) };
            continue;
        }
        let (low, high) = extent(values);
        let (taken, inverse) = Range::new(low, high);
        *range = taken;
        for (byte, &value) in bytes.iter_mut().zip(values) {
            *byte = (value - low).mul_add(inverse, ROUND).to_bits() as u8;
        }
    }
}

per_isa! {
    /// One row of [`QuantizedRows::fill_known`].
    fn known_runs(values: &[f32], runs: &[u32], inverse: &[f32], bytes: &mut [u8]) = known_runs_body
}

#[inline(always)]
fn known_runs_body(values: &[f32], runs: &[u32], inverse: &[f32], bytes: &mut [u8]) {
    /// Values of a register of AVX-512.
    const LANES: usize = 16;
    let byte = |value: f32, inverse: f32| value.mul_add(inverse, ROUND + KNOWN_ZERO as f32).to_bits() as u8;
    let length = inverse.len();
    let (inverse, inverse_rest) = inverse.as_chunks::<LANES>();
    for (&run, bytes) in runs.iter().zip(bytes.chunks_exact_mut(length.next_multiple_of(GROUP))) {
        let (values, values_rest) = values[run as usize * length..][..length].as_chunks::<LANES>();
        let (bytes, bytes_rest) = bytes.as_chunks_mut::<LANES>();
        for ((bytes, values), inverse) in bytes.iter_mut().zip(values).zip(inverse) {
            for lane in 0..LANES {
                bytes[lane] = byte(values[lane], inverse[lane]);
            }
        }
        for ((place, &value), &inverse) in bytes_rest.iter_mut().zip(values_rest).zip(inverse_rest) {
            *place = byte(value, inverse);
        }
    }
}

/// The byte of 0 where ranges are known in advance.
pub(super) const KNOWN_ZERO: i32 = 128;

/// Added to a number from 0 to 255, it leaves the nearest integer (ties to even) in the lowest byte.
const ROUND: f32 = 12_582_912.0;

impl Range {
    /// The range from the least to the greatest value, and what turns a distance from the least into steps.
    #[inline(always)]
    fn new(low: f32, high: f32) -> (Range, f32) {
        let width = high - low;
        if !width.is_finite() {
            return (Range { low: f32::NAN, step: f32::NAN }, 0.0);
        }
        // Adding 0 turns −0 into 0, so that the order of comparisons leaves no trace.
        (Range { low: low + 0.0, step: width / 255.0 }, if width > 0.0 { 255.0 / width } else { 0.0 })
    }
}

/// The least and the greatest value; NaN where one is not finite.
fn extent(values: &[f32]) -> (f32, f32) {
    let (mut low, mut high, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
    for &value in values {
        low = if value < low { value } else { low };
        high = if value > high { value } else { high };
        finite &= value.is_finite();
    }
    if finite { (low, high) } else { (f32::NAN, f32::NAN) }
}

/// The same with 16 values a register. The compiler leaves the portable loops at two cycles a value, which made this pass
/// cost a third of the product that follows.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{ROUND, Range};

    const LANES: usize = 16;

    /// # Safety
    /// `values` and `bytes` have the same length.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn quantize_row(values: &[f32], bytes: &mut [u8], range: &mut Range) {
        let (low, high) = extent(values);
        let (taken, inverse) = Range::new(low, high);
        *range = taken;
        let (low, inverse, round) = (_mm512_set1_ps(low), _mm512_set1_ps(inverse), _mm512_set1_ps(ROUND));
        let nearest = |value| {
            let steps = _mm512_fmadd_ps(_mm512_sub_ps(value, low), inverse, round);
            _mm512_cvtepi32_epi8(_mm512_castps_si512(steps))
        };
        let (full, rest) = values.as_chunks::<LANES>();
        let (full_bytes, rest_bytes) = bytes.as_chunks_mut::<LANES>();
        for (bytes, value) in full_bytes.iter_mut().zip(full) {
            // SAFETY: both are 16 long.
            unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), nearest(_mm512_loadu_ps(value.as_ptr()))) };
        }
        let lanes = lanes(rest);
        // SAFETY: the mask leaves the lanes that are there, of which both have as many.
        unsafe {
            let value = _mm512_maskz_loadu_ps(lanes, rest.as_ptr());
            _mm_mask_storeu_epi8(rest_bytes.as_mut_ptr().cast(), lanes, nearest(value));
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn extent(values: &[f32]) -> (f32, f32) {
        let mut low = [_mm512_set1_ps(f32::INFINITY); 2];
        let mut high = [_mm512_set1_ps(f32::NEG_INFINITY); 2];
        // Stays 0 until a NaN or an infinity comes, which comparisons alone pass by.
        let mut trace = [_mm512_setzero_ps(); 2];
        let zero = _mm512_setzero_ps();
        let (full, rest) = values.as_chunks::<LANES>();
        let (pairs, single) = full.as_chunks::<2>();
        for pair in pairs {
            for turn in 0..2 {
                // SAFETY: 16 values are there.
                let value = unsafe { _mm512_loadu_ps(pair[turn].as_ptr()) };
                low[turn] = _mm512_min_ps(value, low[turn]);
                high[turn] = _mm512_max_ps(value, high[turn]);
                trace[turn] = _mm512_fmadd_ps(value, zero, trace[turn]);
            }
        }
        for (values, lanes) in single.iter().map(|full| (&full[..], u16::MAX)).chain([(rest, lanes(rest))]) {
            // SAFETY: the mask leaves the lanes that are there.
            let value = unsafe { _mm512_maskz_loadu_ps(lanes, values.as_ptr()) };
            low[0] = _mm512_mask_min_ps(low[0], lanes, value, low[0]);
            high[0] = _mm512_mask_max_ps(high[0], lanes, value, high[0]);
            trace[0] = _mm512_fmadd_ps(value, zero, trace[0]);
        }
        if _mm512_reduce_add_ps(_mm512_add_ps(trace[0], trace[1])) != 0.0 {
            return (f32::NAN, f32::NAN);
        }
        let (low, high) = (_mm512_min_ps(low[0], low[1]), _mm512_max_ps(high[0], high[1]));
        (_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high))
    }

    /// The lanes of fewer than 16 values.
    fn lanes(rest: &[f32]) -> u16 {
        (1 << rest.len()) - 1
    }
}
