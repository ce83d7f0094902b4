//! The innermost product: a few rows of A times a few units of B, with all chains in registers.
//!
//! One generic body for each instruction set, compiled for each number of rows and units that fits its registers.

use super::super::dispatch::Isa;
use super::pack::{Layout, UNIT};

/// One tile of C, and what it is the product of.
pub(super) struct Tile<'a> {
    /// What a slot of A and B holds.
    pub(super) layout: Layout,
    /// Slots along k.
    pub(super) slots: usize,
    /// A panel of A: packed, slots × rows, or rows of A as they are.
    pub(super) a: &'a [f32],
    /// Values from one row of the panel to the next where it is rows of A as they are.
    pub(super) row_step: Option<usize>,
    /// The first unit of B: slots × 16.
    pub(super) b: &'a [f32],
    /// Values from one unit of B to the next.
    pub(super) unit_step: usize,
    /// C from the first element of the tile to its last.
    pub(super) c: &'a mut [f32],
    /// Values from one row of C to the next.
    pub(super) c_stride: usize,
    /// Columns of C, at most 16 for each unit and more than 16 for each unit but one.
    pub(super) columns: usize,
    /// Where the chains start.
    pub(super) start: Start,
    /// Asked for meanwhile into the first cache: what the next tile and the end of this one need.
    pub(super) near: &'a [Ask],
    /// Asked for meanwhile into the second cache: values that later tiles need, [`STEPS_OF_LINE`] slots a line.
    pub(super) far: &'a [f32],
}

/// The rows of a tile in another matrix, or another place of C. Only a hint: it may lie outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// The first value.
    pub(super) first: *const f32,
    /// Values from one row to the next.
    pub(super) stride: usize,
}

/// A tile asks for one line of [`Tile::far`] in so many slots.
pub(super) const STEPS_OF_LINE: usize = 4;

/// Whether tiles of this set read rows of A as they are: then nothing is packed.
pub(super) fn reads_rows(isa: Isa, layout: Layout) -> bool {
    matches!((isa, layout), (Isa::Avx512 | Isa::Avx512Bf16, Layout::Singles))
}

/// Where the chains of a tile start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At 0.
    AtZero,
    /// At what C holds: an earlier block of K, or the caller's values.
    AtC,
}

/// Rows of the tallest tile.
pub(super) fn most_rows(isa: Isa) -> usize {
    match isa {
        Isa::Scalar => 4,
        Isa::Avx2 => 6,
        Isa::Avx512 | Isa::Avx512Bf16 => 14,
    }
}

/// Most slots of k in a block of K. Longer blocks touch C less often.
pub(super) fn most_slots(isa: Isa) -> usize {
    match isa {
        // A panel of A (6 × 4 × 320 bytes) and what is used of B stay in the first cache.
        Isa::Scalar | Isa::Avx2 => 320,
        // A panel (14 × 4 × 640 bytes) is larger than the first cache, which costs less than another pass over C.
        Isa::Avx512 | Isa::Avx512Bf16 => 640,
    }
}

/// Units of the widest tile with this many rows, when `left` units are left.
///
/// Wide enough for 8 chains of registers at least, which hides the latency of a multiply-add, and narrow enough that all
/// stay in registers.
pub(super) fn units(isa: Isa, rows: usize, left: usize) -> usize {
    let widest = match (isa, rows) {
        (Isa::Avx512 | Isa::Avx512Bf16, 1..=2) => 8,
        (Isa::Avx512 | Isa::Avx512Bf16, 3..=6) => 4,
        (Isa::Avx512 | Isa::Avx512Bf16, _) => 2,
        (Isa::Avx2, 1) => 4,
        (Isa::Avx2, 2..=3) => 2,
        (Isa::Avx2, _) | (Isa::Scalar, _) => 1,
    };
    // The largest power of two that is left.
    widest.min(1 << left.ilog2())
}

impl Tile<'_> {
    /// Computes the tile. `rows` and `units` are what [`most_rows`] and [`units`] allow.
    pub(super) fn run(self, isa: Isa, rows: usize, units: usize) {
        // What the bodies rely on.
        assert!(self.slots > 0 && self.columns <= units * UNIT && self.columns > (units - 1) * UNIT);
        match self.row_step {
            None => assert!(self.a.len() >= self.slots * rows),
            Some(step) => {
                assert!(reads_rows(isa, self.layout) && self.a.len() >= (rows - 1) * step + self.slots);
            }
        }
        assert!(self.b.len() >= (units - 1) * self.unit_step + self.slots * UNIT);
        assert!(self.c.len() >= (rows - 1) * self.c_stride + self.columns);

        /// The body of this many rows and units.
        macro_rules! pick {
            ($body:ident: $($rows:literal x [$($units:literal)*])*) => {
                match (rows, units) {
                    $($(($rows, $units) => $body::<$rows, $units>(self),)*)*
                    _ => unreachable!("no tile of {rows} rows and {units} units"),
                }
            };
        }
        #[cfg(target_arch = "x86_64")]
        macro_rules! pick_avx512 {
            ($body:ident) => {
                // SAFETY: `isa` says that the processor has the features of the body; the lengths are checked above.
                unsafe {
                    pick!($body:
                        1 x [1 2 4 8] 2 x [1 2 4 8] 3 x [1 2 4] 4 x [1 2 4] 5 x [1 2 4] 6 x [1 2 4] 7 x [1 2]
                        8 x [1 2] 9 x [1 2] 10 x [1 2] 11 x [1 2] 12 x [1 2] 13 x [1 2] 14 x [1 2])
                }
            };
        }
        match (isa, self.layout) {
            #[cfg(all(target_arch = "x86_64", test))]
            (Isa::Avx512Bf16, Layout::Pairs) if !isa.is_available() => pick_avx512!(avx512_pairs_emulated),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Bf16, Layout::Pairs) => pick_avx512!(avx512_pairs),
            (_, Layout::Pairs) => unreachable!("{isa} packs no pairs"),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Avx512Bf16, _) if self.row_step.is_some() => pick_avx512!(avx512_rows),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Avx512Bf16, _) => pick_avx512!(avx512),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `isa` says that the processor has AVX2 and FMA; the lengths are checked above.
            (Isa::Avx2, _) => unsafe { pick!(avx2: 1 x [1 2 4] 2 x [1 2] 3 x [1 2] 4 x [1] 5 x [1] 6 x [1]) },
            _ => pick!(scalar: 1 x [1] 2 x [1] 3 x [1] 4 x [1]),
        }
    }
}

/// 16 floats a register: rows × units chains, one register of A and one for each unit of B. A slot takes one `$multiply`.
/// `$by_rows` says whether the panel is rows of A as they are.
#[cfg(target_arch = "x86_64")]
macro_rules! avx512_tile {
    ($(#[$attribute:meta])* $name:ident, $features:literal, $by_rows:literal, $multiply:expr) => {
        $(#[$attribute])*
        ///
        /// # Safety
        /// `Tile::run` has checked the lengths.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $name<const ROWS: usize, const UNITS: usize>(tile: Tile<'_>) {
            use std::arch::x86_64::*;
            let last = u32::MAX >> (32 - (tile.columns - (UNITS - 1) * UNIT));
            let mut masks = [u16::MAX; UNITS];
            masks[UNITS - 1] = last as u16;
            let mut chains = [[[_mm512_setzero_ps(); UNITS]; 3]; THIRDS];
            let c = tile.c.as_mut_ptr();
            if tile.start == Start::AtC {
                for (row, chains) in chains.as_flattened_mut().iter_mut().take(ROWS).enumerate() {
                    for (unit, chain) in chains.iter_mut().enumerate() {
                        // SAFETY: row < ROWS and the mask leaves columns of the tile only; see `Tile::run`.
                        *chain = unsafe { _mm512_maskz_loadu_ps(masks[unit], c.add(row * tile.c_stride + unit * UNIT)) };
                    }
                }
            }
            let (row_step, slot_step) = if $by_rows { (tile.row_step.unwrap_or(0), 1) } else { (1, ROWS) };
            // Every third row: an address adds one or two steps to one of these for nothing.
            let mut a: [*const f32; THIRDS] =
                std::array::from_fn(|third| tile.a.as_ptr().wrapping_add(3 * third * row_step));
            let mut b = tile.b.as_ptr();
            // Multiplies one slot, so many after the one that `a` and `b` point to.
            macro_rules! slot {
                ($ahead:expr) => {{
                    let mut values = [_mm512_setzero_ps(); UNITS];
                    for (unit, value) in values.iter_mut().enumerate() {
                        let at = b.wrapping_add(unit * tile.unit_step + $ahead * UNIT);
                        // SAFETY: each unit holds slots × 16 values; see `Tile::run`. The prefetch may leave B: a hint only.
                        unsafe {
                            *value = _mm512_loadu_ps(at);
                            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(PREFETCH).cast());
                        }
                    }
                    for (third, (chains, a)) in chains.iter_mut().zip(&a).enumerate() {
                        for (row, chains) in chains.iter_mut().enumerate() {
                            if third * 3 + row < ROWS {
                                // SAFETY: the panel holds slots values of ROWS rows; see `Tile::run`.
                                let factor =
                                    _mm512_set1_ps(unsafe { *a.wrapping_add(row * row_step + $ahead * slot_step) });
                                for (chain, &value) in chains.iter_mut().zip(&values) {
                                    *chain = $multiply(*chain, factor, value);
                                }
                            }
                        }
                    }
                }};
            }
            let asks = tile.near.len() * ROWS;
            let mut lines = tile.slots / STEPS_OF_LINE;
            let lines_of_ask = (lines / asks.max(1)).max(1);
            let mut far = tile.far.as_ptr();
            let mut far_step = UNIT;
            let (mut near, mut row) = (tile.near.iter(), ROWS);
            let mut ask = Ask { first: far, stride: 0 };
            while lines > 0 {
                // A row at a time: all at once they would stand in the way of B.
                let mut now = lines_of_ask.min(lines);
                if row == ROWS {
                    row = 0;
                    match near.next() {
                        Some(next) => ask = *next,
                        None => now = lines,
                    }
                }
                let at = ask.first.wrapping_add(row * ask.stride);
                for unit in 0..UNITS {
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(unit * UNIT).cast());
                }
                row += 1;
                lines -= now;
                if far >= tile.far.as_ptr_range().end {
                    far_step = 0;
                }
                for _ in 0..now {
                    for ahead in 0..STEPS_OF_LINE {
                        slot!(ahead);
                    }
                    _mm_prefetch::<_MM_HINT_T1>(far.cast());
                    far = far.wrapping_add(far_step);
                    a = a.map(|a| opaque(a.wrapping_add(STEPS_OF_LINE * slot_step)));
                    b = b.wrapping_add(STEPS_OF_LINE * UNIT);
                }
            }
            for _ in 0..tile.slots % STEPS_OF_LINE {
                slot!(0);
                a = a.map(|a| a.wrapping_add(slot_step));
                b = b.wrapping_add(UNIT);
            }
            for (row, chains) in chains.as_flattened().iter().take(ROWS).enumerate() {
                for (unit, &chain) in chains.iter().enumerate() {
                    // SAFETY: as for the loads.
                    unsafe { _mm512_mask_storeu_ps(c.add(row * tile.c_stride + unit * UNIT), masks[unit], chain) };
                }
            }
        }
    };
}

/// The same pointer, of which the compiler knows nothing: else it keeps one for each row, more than there are registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "the block reads nothing")]
fn opaque(mut pointer: *const f32) -> *const f32 {
    // SAFETY: no instruction at all.
    unsafe { std::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}

/// The rows of the tallest tile in threes.
#[cfg(target_arch = "x86_64")]
const THIRDS: usize = 5;

#[cfg(target_arch = "x86_64")]
avx512_tile!(
    /// A slot is one step: a multiply-add.
    avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    false,
    |chain, factor, value| _mm512_fmadd_ps(factor, value, chain)
);

#[cfg(target_arch = "x86_64")]
avx512_tile!(
    /// [`avx512`] on rows of A as they are.
    avx512_rows,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    true,
    |chain, factor, value| _mm512_fmadd_ps(factor, value, chain)
);

#[cfg(target_arch = "x86_64")]
avx512_tile!(
    /// A slot is a pair of steps: a dot product, the odd step first.
    avx512_pairs,
    "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    false,
    // SAFETY: registers of the same size; any bits are bfloat16 numbers.
    |chain, factor: __m512, value: __m512| unsafe {
        _mm512_dpbf16_ps(chain, std::mem::transmute::<__m512, __m512bh>(factor), std::mem::transmute::<__m512, __m512bh>(value))
    }
);

#[cfg(all(target_arch = "x86_64", test))]
avx512_tile!(
    /// [`avx512_pairs`] for processors without the instruction, so that all but the one instruction is tested there.
    avx512_pairs_emulated,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    false,
    |chain, factor, value| {
        let odd = |pair| _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pair), _mm512_set1_epi32(-0x1_0000)));
        let even = |pair| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pair)));
        _mm512_fmadd_ps(even(factor), even(value), _mm512_fmadd_ps(odd(factor), odd(value), chain))
    }
);

/// Values that B is asked for ahead of its use: eight steps of k.
#[cfg(target_arch = "x86_64")]
const PREFETCH: usize = 8 * UNIT;

/// 8 floats a register, two registers a unit.
///
/// # Safety
/// `Tile::run` has checked the lengths.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const ROWS: usize, const UNITS: usize>(tile: Tile<'_>) {
    use std::arch::x86_64::*;
    const HALF: usize = UNIT / 2;
    // Columns that are there, as all-ones lanes; full but in the last unit.
    let mut masks = [[_mm256_set1_epi32(-1); 2]; UNITS];
    let last = (tile.columns - (UNITS - 1) * UNIT) as i32;
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    masks[UNITS - 1] = [
        _mm256_cmpgt_epi32(_mm256_set1_epi32(last), lanes),
        _mm256_cmpgt_epi32(_mm256_set1_epi32(last - HALF as i32), lanes),
    ];
    let mut chains = [[[_mm256_setzero_ps(); 2]; UNITS]; ROWS];
    let c = tile.c.as_mut_ptr();
    if tile.start == Start::AtC {
        for (row, chains) in chains.iter_mut().enumerate() {
            for (unit, chains) in chains.iter_mut().enumerate() {
                for (half, chain) in chains.iter_mut().enumerate() {
                    let at = c.wrapping_add(row * tile.c_stride + unit * UNIT + half * HALF);
                    // SAFETY: row < ROWS and the mask leaves columns of the tile only; see `Tile::run`.
                    *chain = unsafe { _mm256_maskload_ps(at, masks[unit][half]) };
                }
            }
        }
    }
    let (mut a, mut b) = (tile.a.as_ptr(), tile.b.as_ptr());
    for _ in 0..tile.slots {
        let mut values = [[_mm256_setzero_ps(); 2]; UNITS];
        for (unit, values) in values.iter_mut().enumerate() {
            for (half, value) in values.iter_mut().enumerate() {
                // SAFETY: each unit holds slots × 16 values; see `Tile::run`.
                *value = unsafe { _mm256_loadu_ps(b.add(unit * tile.unit_step + half * HALF)) };
            }
        }
        for (row, chains) in chains.iter_mut().enumerate() {
            // SAFETY: the panel holds slots × ROWS values; see `Tile::run`.
            let factor = _mm256_set1_ps(unsafe { *a.add(row) });
            for (chains, values) in chains.iter_mut().zip(&values) {
                for (chain, &value) in chains.iter_mut().zip(values) {
                    *chain = _mm256_fmadd_ps(factor, value, *chain);
                }
            }
        }
        a = a.wrapping_add(ROWS);
        b = b.wrapping_add(UNIT);
    }
    for (row, chains) in chains.iter().enumerate() {
        for (unit, chains) in chains.iter().enumerate() {
            for (half, &chain) in chains.iter().enumerate() {
                let at = c.wrapping_add(row * tile.c_stride + unit * UNIT + half * HALF);
                // SAFETY: as for the loads.
                unsafe { _mm256_maskstore_ps(at, masks[unit][half], chain) };
            }
        }
    }
}

/// The same chains without a promise of registers; processors other than x86-64 vectorize it.
fn scalar<const ROWS: usize, const UNITS: usize>(tile: Tile<'_>) {
    let mut chains = [[0.0f32; UNIT]; ROWS];
    if tile.start == Start::AtC {
        for (row, chains) in chains.iter_mut().enumerate() {
            chains[..tile.columns].copy_from_slice(&tile.c[row * tile.c_stride..][..tile.columns]);
        }
    }
    let steps = tile.a.chunks_exact(ROWS).zip(tile.b.as_chunks::<UNIT>().0);
    for (factors, values) in steps.take(tile.slots) {
        for (chains, &factor) in chains.iter_mut().zip(factors) {
            for (chain, &value) in chains.iter_mut().zip(values) {
                *chain = factor.mul_add(value, *chain);
            }
        }
    }
    for (row, chains) in chains.iter().enumerate() {
        tile.c[row * tile.c_stride..][..tile.columns].copy_from_slice(&chains[..tile.columns]);
    }
}
