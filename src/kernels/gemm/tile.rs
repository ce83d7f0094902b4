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
    /// A panel of A: slots × rows, k-major.
    pub(super) a: &'a [f32],
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
    /// Values that will be packed soon; they are asked for meanwhile.
    pub(super) ahead: &'a [f32],
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
        assert!(self.a.len() >= self.slots * rows);
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
            (Isa::Avx512 | Isa::Avx512Bf16, _) => pick_avx512!(avx512),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `isa` says that the processor has AVX2 and FMA; the lengths are checked above.
            (Isa::Avx2, _) => unsafe { pick!(avx2: 1 x [1 2 4] 2 x [1 2] 3 x [1 2] 4 x [1] 5 x [1] 6 x [1]) },
            _ => pick!(scalar: 1 x [1] 2 x [1] 3 x [1] 4 x [1]),
        }
    }
}

/// 16 floats a register: rows × units chains, one register of A and one for each unit of B. A slot takes one `$multiply`.
#[cfg(target_arch = "x86_64")]
macro_rules! avx512_tile {
    ($(#[$attribute:meta])* $name:ident, $features:literal, $multiply:expr) => {
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
            let mut chains = [[_mm512_setzero_ps(); UNITS]; ROWS];
            let c = tile.c.as_mut_ptr();
            if tile.start == Start::AtC {
                for (row, chains) in chains.iter_mut().enumerate() {
                    for (unit, chain) in chains.iter_mut().enumerate() {
                        // SAFETY: row < ROWS and the mask leaves columns of the tile only; see `Tile::run`.
                        *chain = unsafe { _mm512_maskz_loadu_ps(masks[unit], c.add(row * tile.c_stride + unit * UNIT)) };
                    }
                }
            }
            let (mut a, mut b) = (tile.a.as_ptr(), tile.b.as_ptr());
            let mut left = tile.slots;
            let mut run = 0;
            // A short tile asks oftener, lest rows of the next one's C come too late.
            let steps_of_run = (tile.slots / ROWS).clamp(2, RUN);
            while left > 0 {
                // What the next tiles need, a few lines at a time: all at once they would stand in the way of B.
                for unit in UNITS..2 * UNITS {
                    _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(run.min(ROWS - 1) * tile.c_stride + unit * UNIT).cast());
                }
                if let Some(value) = tile.ahead.get(run * UNIT) {
                    _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(value).cast());
                }
                run += 1;
                let steps = left.min(steps_of_run);
                left -= steps;
                for _ in 0..steps {
                    let mut values = [_mm512_setzero_ps(); UNITS];
                    for (unit, value) in values.iter_mut().enumerate() {
                        // SAFETY: each unit holds slots × 16 values; see `Tile::run`. The prefetch may leave B: a hint only.
                        unsafe {
                            *value = _mm512_loadu_ps(b.add(unit * tile.unit_step));
                            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(unit * tile.unit_step + PREFETCH).cast());
                        }
                    }
                    for (row, chains) in chains.iter_mut().enumerate() {
                        // SAFETY: the panel holds slots × ROWS values; see `Tile::run`.
                        let factor = _mm512_set1_ps(unsafe { *a.add(row) });
                        for (chain, &value) in chains.iter_mut().zip(&values) {
                            *chain = $multiply(*chain, factor, value);
                        }
                    }
                    a = a.wrapping_add(ROWS);
                    b = b.wrapping_add(UNIT);
                }
            }
            for (row, chains) in chains.iter().enumerate() {
                for (unit, &chain) in chains.iter().enumerate() {
                    // SAFETY: as for the loads.
                    unsafe { _mm512_mask_storeu_ps(c.add(row * tile.c_stride + unit * UNIT), masks[unit], chain) };
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
avx512_tile!(
    /// A slot is one step: a multiply-add.
    avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    |chain, factor, value| _mm512_fmadd_ps(factor, value, chain)
);

#[cfg(target_arch = "x86_64")]
avx512_tile!(
    /// A slot is a pair of steps: a dot product, the odd step first.
    avx512_pairs,
    "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
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
    |chain, factor, value| {
        let odd = |pair| _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pair), _mm512_set1_epi32(-0x1_0000)));
        let even = |pair| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pair)));
        _mm512_fmadd_ps(even(factor), even(value), _mm512_fmadd_ps(odd(factor), odd(value), chain))
    }
);

/// Most slots between two requests for what comes after the tile: a cache line of A is 16 steps.
#[cfg(target_arch = "x86_64")]
const RUN: usize = 16;

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
