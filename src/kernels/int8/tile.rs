//! Bytes of a few rows of A times a few units of B → exact sums.

use super::super::dispatch::Isa;
use super::{GROUP, Line};

/// Columns of a unit of B: the 32-bit sums of one AVX-512 register.
pub(super) const UNIT: usize = 16;

/// Most units of a tile.
pub(super) const MOST_UNITS: usize = 8;

/// Most units × rows of a tile.
const MOST_CELLS: usize = 27;

/// Sums of a tile: row after row, each units × 16.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [i32; MOST_CELLS * UNIT]);

impl Default for Sums {
    fn default() -> Self {
        Sums([0; MOST_CELLS * UNIT])
    }
}

/// A way to multiply bytes, poorest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body {
    /// Plain loops.
    Scalar,
    /// Bytes widened to 16 bits; 16 products an instruction. (The instruction for bytes, `vpmaddubsw`, saturates.) Also what
    /// AVX-512 without VNNI gets: twice the width would not be faster than `f32`, so it is not worth a body.
    Avx2,
    /// AVX-512 VNNI: 64 products an instruction (Cascade Lake 2019, Zen 4 2022 and later).
    Vnni,
}

impl Body {
    /// All bodies, poorest first.
    pub const ALL: [Body; 3] = [Body::Scalar, Body::Avx2, Body::Vnni];

    /// The best one for an instruction set that this processor has.
    pub fn of(isa: Isa) -> Body {
        if isa < Isa::Avx2 {
            Body::Scalar
        } else if isa < Isa::Avx512 || !has_vnni() {
            Body::Avx2
        } else {
            Body::Vnni
        }
    }

    /// The name in logs and tables.
    pub fn name(self) -> &'static str {
        match self {
            Body::Scalar => "scalar",
            Body::Avx2 => "avx2",
            Body::Vnni => "avx512-vnni",
        }
    }

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        self <= Body::of(Isa::best())
    }

    /// Rows of the tallest tile.
    pub(super) fn most_rows(self) -> usize {
        match self {
            Body::Scalar => 4,
            Body::Avx2 => 3,
            Body::Vnni => 9,
        }
    }

    /// Units of the widest tile with this many rows: all sums stay in registers, and few rows read B in many streams.
    pub(super) fn most_units(self, rows: usize) -> usize {
        match (self, rows) {
            (Body::Vnni, ..=2) => 8,
            (Body::Vnni, ..=5) => 4,
            (Body::Vnni, _) => 3,
            (Body::Avx2 | Body::Scalar, _) => 1,
        }
    }
}

fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::is_x86_feature_detected!("avx512vnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// What a tile is the product of.
pub(super) struct Tile<'a> {
    /// Which line of a unit each four columns of A meet.
    pub(super) lines: &'a [u32],
    /// Rows of A from the first of the tile on.
    pub(super) a: &'a [u8],
    /// Bytes from one row of A to the next.
    pub(super) a_stride: usize,
    /// Units of B, one after another.
    pub(super) b: &'a [Line],
    /// What the sums of every row begin with, 16 a unit.
    pub(super) start: &'a [i32],
}

impl Tile<'_> {
    /// Fills the first rows × units × 16 of `sums`. The processor must have the body.
    pub(super) fn run(self, body: Body, rows: usize, units: usize, sums: &mut Sums) {
        // What the bodies rely on.
        assert!(rows * units <= MOST_CELLS && self.start.len() >= units * UNIT && self.b.len().is_multiple_of(units));
        assert!(self.a.len() >= (rows - 1) * self.a_stride + self.lines.len() * GROUP);
        debug_assert!(body.is_available() && self.lines.iter().all(|line| (*line as usize) < self.b.len() / units));

        /// The body of this many rows and units.
        macro_rules! pick {
            ($body:ident: $($rows:literal x [$($units:literal)*])*) => {
                match (rows, units) {
                    $($(($rows, $units) => $body::<$rows, $units>(self, sums),)*)*
                    _ => unreachable!("no tile of {rows} rows and {units} units"),
                }
            };
        }
        match body {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller picked a body that the processor has; the lengths are checked above.
            Body::Vnni => unsafe {
                pick!(vnni:
                    1 x [1 2 3 4 5 6 7 8] 2 x [1 2 3 4 5 6 7 8] 3 x [1 2 3 4 5 6 7 8] 4 x [1 2 3 4] 5 x [1 2 3 4]
                    6 x [1 2 3] 7 x [1 2 3] 8 x [1 2 3] 9 x [1 2 3])
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Body::Avx2 => unsafe { pick!(avx2: 1 x [1] 2 x [1] 3 x [1]) },
            _ => pick!(scalar: 1 x [1] 2 x [1] 3 x [1] 4 x [1]),
        }
    }
}

/// # Safety
/// `Tile::run` has checked the lengths.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn vnni<const ROWS: usize, const UNITS: usize>(tile: Tile<'_>, sums: &mut Sums) {
    use std::arch::x86_64::*;
    let (a, b, stride) = (tile.a.as_ptr(), tile.b.as_ptr(), tile.b.len() / UNITS);
    let mut start = [_mm512_setzero_si512(); UNITS];
    for (unit, start) in start.iter_mut().enumerate() {
        // SAFETY: 16 a unit are there; see `Tile::run`.
        *start = unsafe { _mm512_loadu_si512(tile.start.as_ptr().add(unit * UNIT).cast()) };
    }
    let mut chains = [start; ROWS];
    for (group, &number) in tile.lines.iter().enumerate() {
        let mut lines = [_mm512_setzero_si512(); UNITS];
        for (unit, line) in lines.iter_mut().enumerate() {
            // SAFETY: B holds UNITS × stride lines, each aligned, and numbers are below the stride: `Part::check`, or all lines
            // are meant. The prefetch may leave B: a hint only.
            unsafe {
                let at = b.add(unit * stride + number as usize);
                *line = _mm512_load_si512(at.cast());
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(PREFETCH).cast());
            }
        }
        for (row, chains) in chains.iter_mut().enumerate() {
            // SAFETY: each row of A holds groups × 4 bytes; see `Tile::run`.
            let bytes = unsafe { a.add(row * tile.a_stride + group * GROUP).cast::<i32>().read_unaligned() };
            let bytes = _mm512_set1_epi32(bytes);
            for (chain, &line) in chains.iter_mut().zip(&lines) {
                *chain = _mm512_dpbusd_epi32(*chain, bytes, line);
            }
        }
    }
    let out = sums.0.as_mut_ptr();
    for (row, chains) in chains.iter().enumerate() {
        for (unit, &chain) in chains.iter().enumerate() {
            // SAFETY: ROWS × UNITS is at most `MOST_CELLS`, and `Sums` is aligned.
            unsafe { _mm512_store_si512(out.add((row * UNITS + unit) * UNIT).cast(), chain) };
        }
    }
}

/// Lines that a unit of B is asked for ahead of its use.
#[cfg(target_arch = "x86_64")]
const PREFETCH: usize = 8;

/// A register holds the sums of four columns, each in two halves (k 0, 1 and k 2, 3), which come together at the end.
///
/// # Safety
/// `Tile::run` has checked the lengths.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const ROWS: usize, const UNITS: usize>(tile: Tile<'_>, sums: &mut Sums) {
    use std::arch::x86_64::*;
    const QUARTERS: usize = UNIT / 4;
    const { assert!(UNITS == 1, "more would not fit the registers") };
    let mut chains = [[_mm256_setzero_si256(); QUARTERS]; ROWS];
    let (a, b) = (tile.a.as_ptr(), tile.b.as_ptr());
    for (group, &number) in tile.lines.iter().enumerate() {
        let mut factors = [_mm256_setzero_si256(); ROWS];
        for (row, factor) in factors.iter_mut().enumerate() {
            // SAFETY: each row of A holds groups × 4 bytes; see `Tile::run`.
            let bytes = unsafe { a.add(row * tile.a_stride + group * GROUP).cast::<i32>().read_unaligned() };
            *factor = _mm256_cvtepu8_epi16(_mm_set1_epi32(bytes));
        }
        for quarter in 0..QUARTERS {
            // SAFETY: lines have four quarters, and B this line: `Part::check`, or all lines are meant.
            let values = unsafe { _mm_load_si128(b.add(number as usize).cast::<__m128i>().add(quarter)) };
            let values = _mm256_cvtepi8_epi16(values);
            for (chains, &factor) in chains.iter_mut().zip(&factors) {
                // Two products of at most 255 · 127 each: exact.
                chains[quarter] = _mm256_add_epi32(chains[quarter], _mm256_madd_epi16(factor, values));
            }
        }
    }
    let out = sums.0.as_mut_ptr();
    for (row, chains) in chains.iter().enumerate() {
        for (half, pair) in chains.as_chunks::<2>().0.iter().enumerate() {
            let added = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(pair[0], pair[1]));
            // SAFETY: 16 values to begin with are there; see `Tile::run`.
            let start = unsafe { _mm256_loadu_si256(tile.start.as_ptr().add(half * UNIT / 2).cast()) };
            let added = _mm256_add_epi32(added, start);
            // SAFETY: ROWS × 16 is below the length of `Sums`, which is aligned.
            unsafe { _mm256_store_si256(out.add(row * UNIT + half * UNIT / 2).cast(), added) };
        }
    }
}

fn scalar<const ROWS: usize, const UNITS: usize>(tile: Tile<'_>, sums: &mut Sums) {
    for row in 0..ROWS {
        let bytes = &tile.a[row * tile.a_stride..][..tile.lines.len() * GROUP];
        for unit in 0..UNITS {
            let mut chains = [0i32; UNIT];
            chains.copy_from_slice(&tile.start[unit * UNIT..][..UNIT]);
            let stride = tile.b.len() / UNITS;
            let lines = &tile.b[unit * stride..][..stride];
            for (&number, bytes) in tile.lines.iter().zip(bytes.as_chunks::<GROUP>().0) {
                let line = &lines[number as usize];
                for (chain, values) in chains.iter_mut().zip(&line.0) {
                    let products = values.iter().zip(bytes).map(|(&value, &byte)| i32::from(value) * i32::from(byte));
                    *chain += products.sum::<i32>();
                }
            }
            sums.0[(row * UNITS + unit) * UNIT..][..UNIT].copy_from_slice(&chains);
        }
    }
}
