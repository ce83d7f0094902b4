//! C = A·B in `f32`, at the speed of the machine, with bits that do not depend on how the work is cut.
//!
//! Every element of C is **one chain** of fused multiply-adds over k = 0..K in order:
//! `c = fma(a[K-1], b[K-1], … fma(a[0], b[0], start))`, where start is 0 or the old value. Nothing about the call
//! changes the chain: not the number of rows or columns, the place of a tile, the instruction set, or the threads that
//! split rows. So a model that scores one row gives the bits of the run that scored a million. Libraries choose
//! another order for few rows, which is why this product is ours.
//!
//! The chain costs nothing, because the registers hold many chains side by side. K is cut into blocks that fit the
//! cache; between blocks a chain rests in C, and storing an `f32` is exact.
//!
//! ```text
//! for each block of K      (KC values; the block of B is packed here unless it was packed before)
//!   for each block of rows (A is packed: panels of up to 14 rows, k-major)
//!     for each block of columns (KC × NC of B fits the second cache)
//!       for each panel, for each tile: micro-kernel, rows × 16·units chains in registers
//! ```
//!
//! B is packed in units of 16 columns, each K × 16 and contiguous, on every instruction set. A tile takes as many units
//! as its rows leave registers for: two for 14 rows, eight for one, so that few rows stream B once at full width.

mod bf16;
mod finish;
mod pack;
mod tile;

use std::ops::Range;

use super::dispatch::{Isa, isa};
use super::matrix::{Matrix, MatrixMut};
pub use finish::Finish;
use pack::{AlignedBuffer, UNIT};
use tile::Tile;

/// Working memory of a product, kept between calls so that the hot path allocates nothing.
#[derive(Debug, Default)]
pub struct GemmScratch {
    a: AlignedBuffer,
    b: AlignedBuffer,
}

impl GemmScratch {
    /// Empty; it grows to what the first calls need.
    pub fn new() -> Self {
        Self::default()
    }
}

/// In which numbers the factors of a product are read. Its sums are `f32` in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16 (8 bits of significand) when they are packed.
    Bf16,
}

impl Precision {
    /// The one in which this processor multiplies fastest.
    pub fn fastest() -> Self {
        if isa().multiplies_bf16() { Precision::Bf16 } else { Precision::F32 }
    }

    /// As settings and records write it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// Packed steps of k: bfloat16 takes them in pairs.
    fn steps(self, depth: usize) -> usize {
        match self {
            Precision::F32 => depth,
            Precision::Bf16 => depth.next_multiple_of(2),
        }
    }
}

/// B in the order in which the product reads it: packed once, used by many calls and threads.
///
/// The order is the same on every instruction set: units of 16 columns, each K × 16.
#[derive(Clone, Debug, Default)]
pub struct PackedMatrix {
    units: AlignedBuffer,
    precision: Precision,
    rows: usize,
    columns: usize,
}

impl PackedMatrix {
    /// A packed copy of `b`.
    pub fn pack(b: Matrix<'_>, precision: Precision) -> Self {
        let mut packed = Self::default();
        packed.repack(b, precision);
        packed
    }

    /// Packs another matrix into the same memory, for weights that change at every step.
    pub fn repack(&mut self, b: Matrix<'_>, precision: Precision) {
        (self.rows, self.columns, self.precision) = (b.rows(), b.columns(), precision);
        pack::pack_units(isa(), b, precision, &mut self.units);
    }

    /// Rows of the matrix that was packed (K).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix that was packed (N).
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.units.bytes()
    }
}

/// C = A·B (`accumulate` = false) or C += A·B, with A M×K, B K×N and C M×N; then [`Finish`] for each element of C.
///
/// Each call packs B; for one B and many calls of few rows, pack it once and use [`gemm_packed`].
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm(
    c: MatrixMut<'_>,
    a: Matrix<'_>,
    b: Matrix<'_>,
    accumulate: bool,
    precision: Precision,
    finish: Finish<'_>,
    scratch: &mut GemmScratch,
) {
    product(c, a, Right::Plain(b), accumulate, precision, finish, scratch);
}

/// [`gemm()`] with B packed before, in the precision of its packing: the same bits.
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm_packed(
    c: MatrixMut<'_>,
    a: Matrix<'_>,
    b: &PackedMatrix,
    accumulate: bool,
    finish: Finish<'_>,
    scratch: &mut GemmScratch,
) {
    product(c, a, Right::Packed(b), accumulate, b.precision, finish, scratch);
}

/// Most steps of k in a block. Longer blocks touch C less often; a panel of A (14 × 4 × 640 bytes) is then larger than the
/// first cache, which costs less than another pass over C.
const DEPTH: usize = 640;
/// Most values of B in a block (590 kB), which stay in the second cache beside a block of A.
const BLOCK: usize = 144 * 1024;
/// Panels of A packed at once, so that a transposed A is read in runs longer than a line.
const PANELS: usize = 8;

/// The right factor, as it came.
#[derive(Clone, Copy)]
enum Right<'a> {
    Plain(Matrix<'a>),
    Packed(&'a PackedMatrix),
}

impl Right<'_> {
    fn shape(&self) -> (usize, usize) {
        match self {
            Right::Plain(b) => (b.rows(), b.columns()),
            Right::Packed(b) => (b.rows, b.columns),
        }
    }
}

fn product(
    mut c: MatrixMut<'_>,
    a: Matrix<'_>,
    b: Right<'_>,
    accumulate: bool,
    precision: Precision,
    mut finish: Finish<'_>,
    scratch: &mut GemmScratch,
) {
    let (rows, columns, depth) = (c.rows(), c.columns(), a.columns());
    let (b_rows, b_columns) = b.shape();
    assert!(
        a.rows() == rows && b_rows == depth && b_columns == columns,
        "gemm: C is {rows}×{columns}, A is {}×{depth}, B is {b_rows}×{b_columns}",
        a.rows()
    );
    finish.check(rows, columns);
    if rows == 0 || columns == 0 {
        return;
    }
    if depth == 0 {
        if !accumulate {
            (0..rows).for_each(|row| c.row_mut(row).fill(0.0));
        }
        let c_stride = c.row_stride();
        return finish::finish(&mut finish, c.block_mut(0..rows, 0..columns), c_stride, 0..rows, 0..columns);
    }
    let isa = isa();
    let panels = rows.div_ceil(tile::most_rows(isa));
    for k in blocks_of_depth(depth) {
        let steps = precision.steps(k.len());
        let (units, unit_step) = match b {
            Right::Plain(b) => {
                pack::pack_units(isa, b.row_range(k.clone()), precision, &mut scratch.b);
                (scratch.b.values(), steps * UNIT)
            }
            Right::Packed(b) => (&b.units.values()[k.start * UNIT..], precision.steps(depth) * UNIT),
        };
        let accumulate = accumulate || k.start > 0;
        for first in (0..panels).step_by(PANELS) {
            let block = first..panels.min(first + PANELS);
            let panel_rows = |panel| piece(rows, panels, panel);
            let block_rows = panel_rows(block.start).start..panel_rows(block.end - 1).end;
            let whole_a = a;
            let a = a.row_range(block_rows.clone()).column_range(k.clone());
            let in_block = |panel| {
                let rows = panel_rows(panel);
                rows.start - block_rows.start..rows.end - block_rows.start
            };
            let in_block: [Range<usize>; PANELS] =
                std::array::from_fn(|at| if at < block.len() { in_block(block.start + at) } else { 0..0 });
            let in_block = &in_block[..block.len()];
            pack::pack_panels(isa, a, in_block, precision, &mut scratch.a);
            let ahead_rows = block_rows.end..(block_rows.end + block_rows.len()).min(rows);
            let ahead = (whole_a.column_stride() == 1).then(|| whole_a.row_range(ahead_rows).column_range(k.clone()));
            let mut turn = 0;
            for j in blocks_of_columns(columns, steps) {
                for panel in in_block {
                    let rows = block_rows.start + panel.start..block_rows.start + panel.end;
                    let factors = Factors {
                        a: &scratch.a.values()[panel.start * steps..],
                        b: &units[j.start / UNIT * unit_step..],
                        unit_step,
                        steps,
                        ahead,
                    };
                    let finish = (k.end == depth && !matches!(finish, Finish::None)).then_some(&mut finish);
                    panel_product(isa, &mut c, rows, j.clone(), &factors, accumulate, finish, &mut turn);
                }
            }
        }
    }
}

/// What a panel of C is the product of.
struct Factors<'a> {
    /// A panel of A.
    a: &'a [f32],
    /// The units of B.
    b: &'a [f32],
    /// Values from one unit of B to the next.
    unit_step: usize,
    /// Packed steps of k.
    steps: usize,
    ahead: Option<Matrix<'a>>,
}

/// One packed panel of A times some units of B, into the `rows` and `columns` of C, tile by tile.
fn panel_product(
    isa: Isa,
    c: &mut MatrixMut<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    factors: &Factors<'_>,
    accumulate: bool,
    mut finish: Option<&mut Finish<'_>>,
    turn: &mut usize,
) {
    let &Factors { a, b, unit_step, steps, .. } = factors;
    let c_stride = c.row_stride();
    let mut start = columns.start;
    while start < columns.end {
        let units = tile::units(isa, rows.len(), (columns.end - start).div_ceil(UNIT));
        let here = start..columns.end.min(start + units * UNIT);
        let b = &b[(start - columns.start) / UNIT * unit_step..];
        let c = c.block_mut(rows.clone(), here.clone());
        let ahead = match factors.ahead {
            Some(ahead) if *turn < ahead.rows() => ahead.row(*turn).as_ptr(),
            _ => std::ptr::null(),
        };
        *turn += 1;
        Tile { depth: steps, a, b, unit_step, c: &mut *c, c_stride, columns: here.len(), accumulate, ahead }.run(
            isa,
            rows.len(),
            units,
        );
        if let Some(finish) = &mut finish {
            finish::finish(finish, c, c_stride, rows.clone(), here.clone());
        }
        start = here.end;
    }
}

/// K cut into blocks of at most [`DEPTH`] steps, as even as they can be; all but the last have an even number of steps.
fn blocks_of_depth(depth: usize) -> impl Iterator<Item = Range<usize>> {
    let blocks = depth.div_ceil(DEPTH);
    (0..blocks).map(move |block| {
        let pairs = piece(depth.div_ceil(2), blocks, block);
        2 * pairs.start..depth.min(2 * pairs.end)
    })
}

/// The columns cut into blocks of whole units, as even as they can be, of at most [`BLOCK`] values of B each.
fn blocks_of_columns(columns: usize, steps: usize) -> impl Iterator<Item = Range<usize>> {
    let units = columns.div_ceil(UNIT);
    let blocks = units.div_ceil((BLOCK / (steps * UNIT)).max(1));
    (0..blocks).map(move |block| {
        let units = piece(units, blocks, block);
        units.start * UNIT..columns.min(units.end * UNIT)
    })
}

/// The piece with this index: 64 rows in 5 panels are 12 + 13 + 13 + 13 + 13, not 4 × 14 + 8.
pub(super) fn piece(length: usize, pieces: usize, index: usize) -> Range<usize> {
    length * index / pieces..length * (index + 1) / pieces
}
