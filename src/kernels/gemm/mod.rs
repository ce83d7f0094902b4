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

mod pack;
mod tile;

use std::ops::Range;

use super::dispatch::{Isa, isa};
use super::matrix::{Matrix, MatrixMut};
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

/// B in the order in which the product reads it: packed once, used by many calls and threads.
///
/// The order is the same on every instruction set: units of 16 columns, each K × 16.
#[derive(Clone, Debug, Default)]
pub struct PackedMatrix {
    units: AlignedBuffer,
    rows: usize,
    columns: usize,
}

impl PackedMatrix {
    /// A packed copy of `b`.
    pub fn pack(b: Matrix<'_>) -> Self {
        let mut packed = Self::default();
        packed.repack(b);
        packed
    }

    /// Packs another matrix into the same memory, for weights that change at every step.
    pub fn repack(&mut self, b: Matrix<'_>) {
        (self.rows, self.columns) = (b.rows(), b.columns());
        pack::pack_units(isa(), b, &mut self.units);
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

/// C = A·B (`accumulate` = false) or C += A·B, with A M×K, B K×N and C M×N.
///
/// Each call packs B; for one B and many calls of few rows, pack it once and use [`gemm_packed`].
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm(c: MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool, scratch: &mut GemmScratch) {
    product(c, a, Right::Plain(b), accumulate, scratch);
}

/// [`gemm()`] with B packed before: the same bits.
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm_packed(c: MatrixMut<'_>, a: Matrix<'_>, b: &PackedMatrix, accumulate: bool, scratch: &mut GemmScratch) {
    product(c, a, Right::Packed(b), accumulate, scratch);
}

/// Most steps of k in a block: a panel of A (14 × 4 × 320 bytes) stays in the first cache.
const DEPTH: usize = 320;
/// Most columns in a block: DEPTH × COLUMNS of B (410 kB) stay in the second cache.
const COLUMNS: usize = 20 * UNIT;
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

fn product(mut c: MatrixMut<'_>, a: Matrix<'_>, b: Right<'_>, accumulate: bool, scratch: &mut GemmScratch) {
    let (rows, columns, depth) = (c.rows(), c.columns(), a.columns());
    let (b_rows, b_columns) = b.shape();
    assert!(
        a.rows() == rows && b_rows == depth && b_columns == columns,
        "gemm: C is {rows}×{columns}, A is {}×{depth}, B is {b_rows}×{b_columns}",
        a.rows()
    );
    if rows == 0 || columns == 0 {
        return;
    }
    if depth == 0 {
        if !accumulate {
            (0..rows).for_each(|row| c.row_mut(row).fill(0.0));
        }
        return;
    }
    let isa = isa();
    let panels = rows.div_ceil(tile::most_rows(isa));
    for k in cut(depth, depth.div_ceil(DEPTH)) {
        let (units, unit_step) = match b {
            Right::Plain(b) => {
                pack::pack_units(isa, b.row_range(k.clone()), &mut scratch.b);
                (scratch.b.values(), k.len() * UNIT)
            }
            Right::Packed(b) => (&b.units.values()[k.start * UNIT..], depth * UNIT),
        };
        let accumulate = accumulate || k.start > 0;
        for first in (0..panels).step_by(PANELS) {
            let block = first..panels.min(first + PANELS);
            let panel_rows = |panel| piece(rows, panels, panel);
            let block_rows = panel_rows(block.start).start..panel_rows(block.end - 1).end;
            let a = a.row_range(block_rows.clone()).column_range(k.clone());
            let in_block = |panel| {
                let rows = panel_rows(panel);
                rows.start - block_rows.start..rows.end - block_rows.start
            };
            pack::pack_panels(isa, a, block.clone().map(in_block), &mut scratch.a);
            for first in (0..columns).step_by(COLUMNS) {
                let j = first..columns.min(first + COLUMNS);
                for panel in block.clone() {
                    let a = &scratch.a.values()[in_block(panel).start * k.len()..];
                    let b = &units[j.start / UNIT * unit_step..];
                    panel_product(isa, &mut c, panel_rows(panel), j.clone(), a, b, k.len(), unit_step, accumulate);
                }
            }
        }
    }
}

/// One packed panel of A times some units of B, into the `rows` and `columns` of C, tile by tile.
#[expect(clippy::too_many_arguments, reason = "one inner loop of `product`, named")]
fn panel_product(
    isa: Isa,
    c: &mut MatrixMut<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    a: &[f32],
    b: &[f32],
    depth: usize,
    unit_step: usize,
    accumulate: bool,
) {
    let mut start = columns.start;
    while start < columns.end {
        let units = tile::units(isa, rows.len(), (columns.end - start).div_ceil(UNIT));
        let columns_here = (columns.end - start).min(units * UNIT);
        let b = &b[(start - columns.start) / UNIT * unit_step..];
        let c_stride = c.row_stride();
        let c = c.block_mut(rows.clone(), start..start + columns_here);
        Tile { depth, a, b, unit_step, c, c_stride, columns: columns_here, accumulate }.run(isa, rows.len(), units);
        start += columns_here;
    }
}

/// `length` cut into `pieces` ranges whose lengths differ by at most one.
fn cut(length: usize, pieces: usize) -> impl Iterator<Item = Range<usize>> {
    (0..pieces).map(move |index| piece(length, pieces, index))
}

/// The piece with this index: 64 rows in 5 panels are 12 + 13 + 13 + 13 + 13, not 4 × 14 + 8.
fn piece(length: usize, pieces: usize, index: usize) -> Range<usize> {
    length * index / pieces..length * (index + 1) / pieces
}
