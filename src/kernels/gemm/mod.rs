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
//! for each block of K           (the longer, the fewer times C is touched; a B that was not packed before is packed here)
//!   for each block of rows      (A is packed: up to 8 panels of up to 14 rows, k-major)
//!     for each block of columns (whose part of B stays in the second cache)
//!       for each panel, for each tile: micro-kernel, rows × 16·units chains in registers; after the last block of K, Finish
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
use pack::{AlignedBuffer, Layout, UNIT};
use tile::{Start, Tile};

/// Working memory of a product, kept between calls so that the hot path allocates nothing.
#[derive(Debug, Default)]
pub struct GemmScratch {
    a: AlignedBuffer,
    b: AlignedBuffer,
    /// Rows of the packed panels of A.
    panels: Vec<Range<usize>>,
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
}

/// B in the order in which the product reads it: packed once, used by many calls and threads.
///
/// The order is the same on every instruction set: units of 16 columns, each K × 16.
#[derive(Clone, Debug, Default)]
pub struct PackedMatrix {
    units: AlignedBuffer,
    layout: Layout,
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
        (self.rows, self.columns, self.layout) = (b.rows(), b.columns(), Layout::of(precision, isa()));
        pack::pack_units(isa(), b, self.layout, &mut self.units);
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
    product(c, a, Right::Plain(b), accumulate, Layout::of(precision, isa()), finish, scratch);
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
    product(c, a, Right::Packed(b), accumulate, b.layout, finish, scratch);
}

/// Most values of B in a block (590 kB), which stay in the second cache beside a block of A.
const BLOCK: usize = 144 * 1024;
/// Fewest slots of k in a block, however many columns there are.
const MIN_SLOTS: usize = 128;
/// Most values of a block of B that the call packs (800 kB): read and written once for each block of K, it shall stay in the
/// second cache meanwhile.
const PLAIN_BLOCK: usize = 200 * 1024;
/// Panels of A packed at once (290 kB at most), so that a transposed A is read in runs longer than a line.
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
    layout: Layout,
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
    let most_slots = tile::most_slots(isa);
    let slots = match b {
        Right::Plain(_) => PLAIN_BLOCK / columns.next_multiple_of(UNIT),
        Right::Packed(_) => most_slots,
    };
    for k in blocks_of_depth(depth, slots.clamp(MIN_SLOTS, most_slots) * layout.steps_of_slot()) {
        let slots = layout.slots(k.len());
        let (b, unit_step) = match b {
            Right::Plain(b) => {
                pack::pack_units(isa, b.row_range(k.clone()), layout, &mut scratch.b);
                (scratch.b.values(), slots * UNIT)
            }
            Right::Packed(b) => (&b.units.values()[layout.slots(k.start) * UNIT..], layout.slots(depth) * UNIT),
        };
        let start = if accumulate || k.start > 0 { Start::AtC } else { Start::AtZero };
        for first in (0..panels).step_by(PANELS) {
            let first_row = piece(rows, panels, first).start;
            scratch.panels.clear();
            scratch.panels.extend((first..panels.min(first + PANELS)).map(|panel| {
                let rows = piece(rows, panels, panel);
                rows.start - first_row..rows.end - first_row
            }));
            let block_rows = first_row..first_row + scratch.panels.last().map_or(0, |last| last.end);
            let mut ahead = Ahead::new(a.column_range(k.clone()), block_rows.clone());
            let a = a.row_range(block_rows).column_range(k.clone());
            pack::pack_panels(isa, a, &scratch.panels, layout, &mut scratch.a);
            for columns in blocks_of_columns(columns, slots) {
                let b = &b[columns.start / UNIT * unit_step..];
                for panel in &scratch.panels {
                    let a = &scratch.a.values()[panel.start * slots..];
                    let factors = Factors { layout, a, b, unit_step, slots, start };
                    let rows = first_row + panel.start..first_row + panel.end;
                    let finish = (k.end == depth && !matches!(finish, Finish::None)).then_some(&mut finish);
                    panel_product(isa, &mut c, rows, columns.clone(), &factors, finish, &mut ahead);
                }
            }
        }
    }
}

/// What a panel of C is the product of.
struct Factors<'a> {
    layout: Layout,
    /// A panel of A.
    a: &'a [f32],
    /// The units of B.
    b: &'a [f32],
    /// Values from one unit of B to the next.
    unit_step: usize,
    /// Slots of a lane.
    slots: usize,
    start: Start,
}

/// The rows of A that will be packed next. Each tile asks for one of them, so that packing finds them in the second cache.
struct Ahead<'a> {
    rows: Matrix<'a>,
    next: usize,
}

impl<'a> Ahead<'a> {
    /// As many rows of `a` after the `packed` ones.
    fn new(a: Matrix<'a>, packed: Range<usize>) -> Self {
        // A transposed A is read across all its columns, where the processor sees for itself what comes next.
        let end = if a.column_stride() == 1 { a.rows().min(packed.end + packed.len()) } else { packed.end };
        Ahead { rows: a.row_range(packed.end..end), next: 0 }
    }

    /// What the next tile asks for; nothing when all have been asked for.
    fn next(&mut self) -> &'a [f32] {
        if self.next == self.rows.rows() {
            return &[];
        }
        self.next += 1;
        self.rows.row(self.next - 1)
    }
}

/// One packed panel of A times some units of B, into the `rows` and `columns` of C, tile by tile.
fn panel_product(
    isa: Isa,
    c: &mut MatrixMut<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    factors: &Factors<'_>,
    mut finish: Option<&mut Finish<'_>>,
    ahead: &mut Ahead<'_>,
) {
    let &Factors { layout, a, b, unit_step, slots, start } = factors;
    let c_stride = c.row_stride();
    let mut first = columns.start;
    while first < columns.end {
        let units = tile::units(isa, rows.len(), (columns.end - first).div_ceil(UNIT));
        let here = first..columns.end.min(first + units * UNIT);
        let b = &b[(first - columns.start) / UNIT * unit_step..];
        let c = c.block_mut(rows.clone(), here.clone());
        Tile { layout, slots, a, b, unit_step, c: &mut *c, c_stride, columns: here.len(), start, ahead: ahead.next() }
            .run(isa, rows.len(), units);
        if let Some(finish) = &mut finish {
            finish::finish(finish, c, c_stride, rows.clone(), here.clone());
        }
        first = here.end;
    }
}

/// K cut into blocks of at most `most` steps (or one more), as even as they can be; all but the last have an even number of steps.
fn blocks_of_depth(depth: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let blocks = depth.div_ceil(most);
    (0..blocks).map(move |block| {
        let pairs = piece(depth.div_ceil(2), blocks, block);
        2 * pairs.start..depth.min(2 * pairs.end)
    })
}

/// The columns cut into blocks of whole units, as even as they can be, of at most [`BLOCK`] values of B each.
fn blocks_of_columns(columns: usize, slots: usize) -> impl Iterator<Item = Range<usize>> {
    let units = columns.div_ceil(UNIT);
    let blocks = units.div_ceil((BLOCK / (slots * UNIT)).max(1));
    (0..blocks).map(move |block| {
        let units = piece(units, blocks, block);
        units.start * UNIT..columns.min(units.end * UNIT)
    })
}

/// The piece with this index: 64 rows in 5 panels are 12 + 13 + 13 + 13 + 13, not 4 × 14 + 8.
pub(super) fn piece(length: usize, pieces: usize, index: usize) -> Range<usize> {
    length * index / pieces..length * (index + 1) / pieces
}
