//! Matrices with any strides to the two packed orders that the micro-kernels read.
//!
//! * A to panels: `rows` (up to 14) rows, k-major, so that a step of k finds its rows side by side.
//! * B to units: 16 columns, k-major; the last unit is filled up with copies of its last column, never stored.
//!
//! Both are the same move, "lanes side by side for each k". Where the lanes lie side by side in the source they are
//! copied; where k does, blocks are transposed in registers. Anything else goes one by one. For bfloat16 the lanes are then
//! rounded in place ([`Layout`]).

use std::ops::Range;

use super::super::dispatch::Isa;
use super::super::matrix::Matrix;
use super::{Precision, bf16};

/// Columns of a unit of B: one AVX-512 register, two AVX2 registers, one cache line.
pub(super) const UNIT: usize = 16;

/// Values that start at a cache line; they are kept, not cleared, when the length changes.
#[derive(Clone, Debug, Default)]
pub(super) struct AlignedBuffer {
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Line([f32; UNIT]);

impl AlignedBuffer {
    /// All values.
    pub(super) fn values(&self) -> &[f32] {
        // SAFETY: a `Line` is exactly 16 floats without padding (size and alignment are both 64).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * UNIT) }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }

    /// At least `length` values; what they are is left over from before.
    fn at_least(&mut self, length: usize) -> &mut [f32] {
        let lines = length.div_ceil(UNIT);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line::default());
        }
        // SAFETY: as in `values`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * UNIT) }
    }
}

/// What the 32 bits of a packed slot hold. A lane (a row of A, a column of B) has one slot after another along k.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Layout {
    /// One step of k as an `f32`.
    #[default]
    Singles,
    /// One step of k as an `f32` rounded to bfloat16; the steps of each pair are exchanged, and their number is even.
    ExchangedSingles,
    /// Two steps of k as bfloat16, the even one in the lower half.
    Pairs,
}

impl Layout {
    /// The layout that the micro-kernel of this set reads.
    pub(super) fn of(precision: Precision, isa: Isa) -> Self {
        match (precision, isa) {
            (Precision::F32, _) => Layout::Singles,
            (Precision::Bf16, Isa::Avx512Bf16) => Layout::Pairs,
            (Precision::Bf16, Isa::Scalar | Isa::Avx2 | Isa::Avx512) => Layout::ExchangedSingles,
        }
    }

    /// Slots of so many steps of k.
    pub(super) fn slots(self, steps: usize) -> usize {
        match self {
            Layout::Singles => steps,
            Layout::ExchangedSingles => steps.next_multiple_of(2),
            Layout::Pairs => steps.div_ceil(2),
        }
    }

    /// Steps of k in a slot.
    pub(super) fn steps_of_slot(self) -> usize {
        match self {
            Layout::Singles | Layout::ExchangedSingles => 1,
            Layout::Pairs => 2,
        }
    }

    /// Turns `steps` steps of `step` lanes each, as they are, to slots in the same place.
    fn convert(self, lanes: &mut [f32], steps: usize, step: usize) {
        let lanes = match self {
            Layout::Singles => return,
            Layout::ExchangedSingles | Layout::Pairs => &mut lanes[..steps.next_multiple_of(2) * step],
        };
        lanes[steps * step..].fill(0.0);
        match self {
            Layout::Singles => {}
            Layout::ExchangedSingles => bf16::round_pairs(lanes, step),
            Layout::Pairs => bf16::join_pairs(lanes, step),
        }
    }
}

/// Packs B: unit u holds columns 16 u .. 16 u + 16 and starts at value u · slots · 16.
pub(super) fn pack_units(isa: Isa, b: Matrix<'_>, layout: Layout, out: &mut AlignedBuffer) {
    let (depth, slots) = (b.rows(), layout.slots(b.rows()));
    let units = b.columns().div_ceil(UNIT);
    // The last unit is wider before its pairs are joined.
    let out = out.at_least((units * slots + depth + 1) * UNIT);
    if depth == 0 {
        return;
    }
    if b.column_stride() == 1 && layout != Layout::Pairs {
        pack_rows_across(b, slots, out);
        out[..units * slots * UNIT].chunks_exact_mut(slots * UNIT).for_each(|out| layout.convert(out, depth, UNIT));
        return;
    }
    for unit in 0..units {
        let columns = unit * UNIT..b.columns().min((unit + 1) * UNIT);
        let out = &mut out[unit * slots * UNIT..];
        pack_lanes(isa, b.column_range(columns).t(), UNIT, out);
        layout.convert(out, depth, UNIT);
    }
}

/// Packs A: panel after panel, each slots × its own number of rows.
pub(super) fn pack_panels(isa: Isa, a: Matrix<'_>, panels: &[Range<usize>], layout: Layout, out: &mut AlignedBuffer) {
    let (depth, slots) = (a.columns(), layout.slots(a.columns()));
    // The last panel is wider before its pairs are joined.
    let out = out.at_least(a.rows() * slots + (depth + 1) * UNIT + SPILL);
    if a.row_stride() == 1 && layout != Layout::Pairs {
        deal_to_panels(a.t(), panels, slots, out);
        for rows in panels {
            layout.convert(&mut out[rows.start * slots..], depth, rows.len());
        }
        return;
    }
    for rows in panels {
        let out = &mut out[rows.start * slots..];
        pack_lanes(isa, a.row_range(rows.clone()), rows.len(), out);
        layout.convert(out, depth, rows.len());
    }
}

/// Values that packing may write after the last one it means to; they are overwritten by what is packed next.
const SPILL: usize = 16;

/// B with contiguous rows: runs of them are dealt to a few units at a time, `slots` slots apart. The processor sees so few
/// places of writing coming; to all units at once, each line of a cold `out` waits for memory.
fn pack_rows_across(b: Matrix<'_>, slots: usize, out: &mut [f32]) {
    let columns = b.columns();
    for first in (0..columns).step_by(UNITS_AT_ONCE * UNIT) {
        let b = b.column_range(first..columns.min(first + UNITS_AT_ONCE * UNIT));
        let out = &mut out[first * slots..];
        for k in 0..b.rows() {
            let (full, rest) = b.row(k).as_chunks::<UNIT>();
            for (unit, values) in full.iter().enumerate() {
                out[(unit * slots + k) * UNIT..][..UNIT].copy_from_slice(values);
            }
            if let Some(&last) = rest.last() {
                let out = &mut out[(full.len() * slots + k) * UNIT..][..UNIT];
                out.fill(last);
                out[..rest.len()].copy_from_slice(rest);
            }
        }
    }
}

/// Units that are written side by side.
const UNITS_AT_ONCE: usize = 4;

/// A whose transpose has contiguous rows: each of these is read once, in order, and dealt to the panels.
fn deal_to_panels(steps: Matrix<'_>, panels: &[Range<usize>], slots: usize, out: &mut [f32]) {
    for k in 0..steps.rows() {
        let step = steps.row(k);
        for rows in panels {
            let count = rows.len();
            copy_run(&step[rows.clone()], &mut out[rows.start * slots + k * count..][..count]);
        }
    }
}

/// out[k · step + lane] = lanes[lane][k] for each k; lanes from `lanes.rows()` up to `step` repeat the last one.
///
/// At most 16 lanes. May write up to 16 values too many where `out` has room, so panels are packed in order.
fn pack_lanes(isa: Isa, lanes: Matrix<'_>, step: usize, out: &mut [f32]) {
    let (count, depth) = (lanes.rows(), lanes.columns());
    debug_assert!((1..=UNIT).contains(&count) && count <= step && out.len() >= depth * step);
    if lanes.row_stride() == 1 && count == step {
        return copy_lanes(lanes, out);
    }
    if step == 1 && lanes.column_stride() == 1 {
        return out[..depth].copy_from_slice(lanes.row(0));
    }
    #[cfg(target_arch = "x86_64")]
    let done = match isa {
        _ if lanes.column_stride() != 1 || count == 1 => 0,
        Isa::Scalar => 0,
        // SAFETY: `isa` says that the processor has AVX2.
        Isa::Avx2 => unsafe { transpose_lanes(lanes, step, out) },
        // SAFETY: `isa` says that the processor has AVX-512.
        Isa::Avx512 | Isa::Avx512Bf16 => unsafe { transpose_16_lanes(lanes, step, out) },
    };
    #[cfg(not(target_arch = "x86_64"))]
    let (_, done) = (isa, 0);
    for k in done..depth {
        for (lane, out) in out[k * step..][..step].iter_mut().enumerate() {
            *out = lanes.get(lane.min(count - 1), k);
        }
    }
}

/// The lanes lie side by side in the source: for each k one run of `count` values is copied.
fn copy_lanes(lanes: Matrix<'_>, out: &mut [f32]) {
    let (count, depth) = (lanes.rows(), lanes.columns());
    let lanes = lanes.t();
    for (k, out) in out.chunks_exact_mut(count).take(depth).enumerate() {
        copy_run(lanes.row(k), out);
    }
}

/// Copies up to 16 values.
#[inline(always)]
fn copy_run(run: &[f32], out: &mut [f32]) {
    let count = run.len();
    // Two overlapping copies of a known length in place of one call with an unknown one.
    match count {
        8..=16 => {
            out[..8].copy_from_slice(&run[..8]);
            out[count - 8..].copy_from_slice(&run[count - 8..]);
        }
        4..=7 => {
            out[..4].copy_from_slice(&run[..4]);
            out[count - 4..].copy_from_slice(&run[count - 4..]);
        }
        _ => out.copy_from_slice(run),
    }
}

/// Transposes blocks of 4 steps of k and 16 lanes; returns how many steps are done. The rows of `lanes` must be contiguous.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn transpose_16_lanes(lanes: Matrix<'_>, step: usize, out: &mut [f32]) -> usize {
    use std::arch::x86_64::*;
    let (count, depth) = (lanes.rows(), lanes.columns());
    // Where each lane starts; lanes that are not there repeat the last one.
    let starts: [*const f32; UNIT] = std::array::from_fn(|lane| lanes.row(lane.min(count - 1)).as_ptr());
    // The last step of k of a block writes 16 values where `step` are meant.
    let room = out.len();
    let out = out.as_mut_ptr();
    let mut k = 0;
    while k + 4 <= depth && (k + 3) * step + UNIT <= room {
        // Row r: steps k .. k + 4 of the lanes r, r + 4, r + 8 and r + 12.
        let mut rows = [_mm512_setzero_ps(); 4];
        for (lane, row) in rows.iter_mut().enumerate() {
            // SAFETY: k + 4 ≤ depth, the length of each lane.
            let quarter = |at: usize| unsafe { _mm_loadu_ps(starts[lane + at].add(k)) };
            *row = _mm512_castps128_ps512(quarter(0));
            *row = _mm512_insertf32x4::<1>(*row, quarter(4));
            *row = _mm512_insertf32x4::<2>(*row, quarter(8));
            *row = _mm512_insertf32x4::<3>(*row, quarter(12));
        }
        let low01 = _mm512_unpacklo_ps(rows[0], rows[1]);
        let high01 = _mm512_unpackhi_ps(rows[0], rows[1]);
        let low23 = _mm512_unpacklo_ps(rows[2], rows[3]);
        let high23 = _mm512_unpackhi_ps(rows[2], rows[3]);
        let steps = [
            _mm512_shuffle_ps::<0x44>(low01, low23),
            _mm512_shuffle_ps::<0xee>(low01, low23),
            _mm512_shuffle_ps::<0x44>(high01, high23),
            _mm512_shuffle_ps::<0xee>(high01, high23),
        ];
        for (at, &lanes) in steps.iter().enumerate() {
            // SAFETY: the loop's condition says that the last of these writes ends inside `out`.
            unsafe { _mm512_storeu_ps(out.add((k + at) * step), lanes) };
        }
        k += 4;
    }
    k
}

/// Transposes blocks of 8 steps of k; returns how many steps are done. The rows of `lanes` must be contiguous.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn transpose_lanes(lanes: Matrix<'_>, step: usize, out: &mut [f32]) -> usize {
    use std::arch::x86_64::*;
    let (count, depth) = (lanes.rows(), lanes.columns());
    let groups = step.div_ceil(8);
    // Where each lane starts; lanes that are not there repeat the last one.
    let starts: [*const f32; UNIT] = std::array::from_fn(|lane| lanes.row(lane.min(count - 1)).as_ptr());
    // The last step of k of a block writes `groups` · 8 values where `step` are meant.
    let room = out.len();
    let out = out.as_mut_ptr();
    let mut k = 0;
    while k + 8 <= depth && (k + 7) * step + groups * 8 <= room {
        if k.is_multiple_of(16) {
            // The panel after this one, most likely: its lanes are too short for the processor to see them coming.
            for start in &starts[..count] {
                _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(count * lanes.row_stride() + k).cast());
            }
        }
        let mut columns = [[_mm256_setzero_ps(); 8]; 2];
        for (columns, starts) in columns.iter_mut().zip(starts.as_chunks::<8>().0).take(groups) {
            for at in [0, 4] {
                let mut rows = [_mm256_setzero_ps(); 4];
                for (lane, row) in rows.iter_mut().enumerate() {
                    // SAFETY: k + at + 4 ≤ depth, the length of each lane.
                    let (low, high) =
                        unsafe { (_mm_loadu_ps(starts[lane].add(k + at)), _mm_loadu_ps(starts[lane + 4].add(k + at))) };
                    *row = _mm256_set_m128(high, low);
                }
                let low01 = _mm256_unpacklo_ps(rows[0], rows[1]);
                let high01 = _mm256_unpackhi_ps(rows[0], rows[1]);
                let low23 = _mm256_unpacklo_ps(rows[2], rows[3]);
                let high23 = _mm256_unpackhi_ps(rows[2], rows[3]);
                columns[at] = _mm256_shuffle_ps::<0x44>(low01, low23);
                columns[at + 1] = _mm256_shuffle_ps::<0xee>(low01, low23);
                columns[at + 2] = _mm256_shuffle_ps::<0x44>(high01, high23);
                columns[at + 3] = _mm256_shuffle_ps::<0xee>(high01, high23);
            }
        }
        for at in 0..8 {
            for (group, columns) in columns.iter().enumerate().take(groups) {
                // SAFETY: the loop's condition says that the last of these writes ends inside `out`.
                unsafe { _mm256_storeu_ps(out.add((k + at) * step + group * 8), columns[at]) };
            }
        }
        k += 8;
    }
    k
}
