//! C = A·B in `f32`, at the speed of the machine, with bits that do not depend on how the work is cut.
//!
//! Every element of C is **one chain** of fused multiply-adds over k = 0..K in order:
//! `c = fma(a[K-1], b[K-1], … fma(a[0], b[0], start))`, where start is 0 or the old value. Nothing about the call
//! changes the chain: not the number of rows or columns, the place of a tile, the instruction set, or the threads that
//! split rows. So a model that scores one row gives the bits of the run that scored a million. Libraries choose
//! another order for few rows, which is why this product is ours.
//!
//! The chain costs nothing, because the registers hold many chains side by side. K is cut into blocks; between blocks a
//! chain rests in C, and storing an `f32` is exact.
//!
//! ```text
//! for each block of K           (the longer, the fewer times C is touched; a B that was not packed before is packed here)
//!   for each block of rows      (up to 10 panels of up to 14 rows of A, as they are or packed)
//!     for each block of columns (whose part of B stays in the second cache, while the next part is asked for)
//!       for each panel, for each tile: micro-kernel, rows × 16·units chains in registers; after the last block of K, Finish
//! ```
//!
//! On AVX-512 tiles read rows of A where they lie: nothing is packed. A transposed A, bfloat16, and other sets pack panels, k-major.
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
use tile::{Ask, Start, Tile};

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
    product(c, a, Right::Plain(b), accumulate, Layout::of(precision, isa()), finish, None, scratch);
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
    product(c, a, Right::Packed(b), accumulate, b.layout, finish, None, scratch);
}

/// C = Σ AᵢBᵢ over the terms in order: the bits of one product along the K of all of them, as the gradient of a weight
/// over blocks of rows is. While one term is at work, the next one is asked for from memory.
///
/// # Panics
/// When the shapes do not fit, or there are no terms.
pub fn gemm_sum(mut c: MatrixMut<'_>, terms: &[(Matrix<'_>, &PackedMatrix)], scratch: &mut GemmScratch) {
    assert!(!terms.is_empty(), "gemm_sum: no terms");
    for (at, &(a, b)) in terms.iter().enumerate() {
        let next = terms.get(at + 1).copied();
        product(c.reborrow(), a, Right::Packed(b), at > 0, b.layout, Finish::None, next, scratch);
    }
}

/// Most values of B in a block of columns (160 kB): they stay in the second cache beside those of the next block, which come
/// meanwhile, and a block of A.
const BLOCK: usize = 40 * 1024;
/// Fewest slots of k in a block, however many columns there are.
const MIN_SLOTS: usize = 128;
/// Most values of a block of B that the call packs (800 kB): read and written once for each block of K, it shall stay in the
/// second cache meanwhile.
const PLAIN_BLOCK: usize = 200 * 1024;
/// Panels of A in a block of rows (360 kB at most).
const PANELS: usize = 10;
/// The same for a transposed A, so that it is read in long runs.
const TRANSPOSED_PANELS: usize = 24;

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

/// `next` is the product that comes next, as a hint.
#[expect(clippy::too_many_arguments, reason = "the entries differ in all of them")]
fn product(
    mut c: MatrixMut<'_>,
    a: Matrix<'_>,
    b: Right<'_>,
    accumulate: bool,
    layout: Layout,
    mut finish: Finish<'_>,
    next: Option<(Matrix<'_>, &PackedMatrix)>,
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
        let panels_of_block = if a.row_stride() == 1 { TRANSPOSED_PANELS } else { PANELS };
        for first in (0..panels).step_by(panels_of_block) {
            let first_row = piece(rows, panels, first).start;
            scratch.panels.clear();
            scratch.panels.extend((first..panels.min(first + panels_of_block)).map(|panel| {
                let rows = piece(rows, panels, panel);
                rows.start - first_row..rows.end - first_row
            }));
            let block_rows = first_row..first_row + scratch.panels.last().map_or(0, |last| last.end);
            let is_last = k.end == depth && block_rows.end == rows;
            let mut ahead = match next {
                Some((next, _)) if is_last => Ahead::new(next, 0..block_rows.len()),
                _ => Ahead::new(a.column_range(k.clone()), block_rows.end..block_rows.end + block_rows.len()),
            };
            let a = a.row_range(block_rows.clone()).column_range(k.clone());
            // Few rows read B once, with tiles as wide as they can be.
            let most_units = if scratch.panels.len() <= 2 { usize::MAX } else { (BLOCK / (slots * UNIT)).max(2) };
            let as_it_is = tile::reads_rows(isa, layout) && a.column_stride() == 1;
            if !as_it_is {
                pack::pack_panels(isa, a, &scratch.panels, layout, &mut scratch.a);
            }
            for block in blocks_of_columns(columns, most_units) {
                let units_after = match (next, block.end) {
                    (_, end) if end < columns => &b[end / UNIT * unit_step..],
                    (Some((_, next)), _) if is_last => next.units.values(),
                    _ => b,
                };
                ahead.units = &units_after[..units_after.len().min(block.len().div_ceil(UNIT) * unit_step)];
                let b = &b[block.start / UNIT * unit_step..];
                for (number, panel) in scratch.panels.iter().enumerate() {
                    let (a, row_step) = if as_it_is {
                        (a.row_range(panel.clone()).values(), Some(a.row_stride()))
                    } else {
                        (&scratch.a.values()[panel.start * slots..], None)
                    };
                    let factors = Factors { layout, a, row_step, b, unit_step, slots, start };
                    let after = match scratch.panels.get(number + 1) {
                        Some(next) => (first_row + next.start, block.start),
                        None => (first_row, block.end),
                    };
                    let place =
                        Place { rows: first_row + panel.start..first_row + panel.end, columns: block.clone(), after };
                    let finish = (k.end == depth && !matches!(finish, Finish::None)).then_some(&mut finish);
                    panel_product(isa, &mut c, place, &factors, finish, &mut ahead);
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
    /// As [`Tile::row_step`].
    row_step: Option<usize>,
    /// The units of B.
    b: &'a [f32],
    /// Values from one unit of B to the next.
    unit_step: usize,
    /// Slots of a lane.
    slots: usize,
    start: Start,
}

/// What later tiles read, so that each tile can ask for some of it into the second cache.
struct Ahead<'a> {
    /// Units of B of the next block of columns.
    units: &'a [f32],
    /// The values of A that come after those at work, as they lie in memory.
    rows: Matrix<'a>,
    next: usize,
}

impl<'a> Ahead<'a> {
    /// Those `rows` of `a` that it has.
    fn new(a: Matrix<'a>, rows: Range<usize>) -> Self {
        let rows = a.row_range(rows.start.min(a.rows())..rows.end.min(a.rows()));
        let rows = if a.column_stride() == 1 { rows } else { rows.t() };
        let rows = if rows.column_stride() == 1 { rows } else { rows.row_range(0..0) };
        Ahead { units: &[], rows, next: 0 }
    }

    /// What the next tile asks for; nothing when all have been asked for.
    fn next(&mut self, slots: usize) -> &'a [f32] {
        if !self.units.is_empty() {
            let now;
            (now, self.units) = self.units.split_at((slots / tile::STEPS_OF_LINE * UNIT).min(self.units.len()));
            return now;
        }
        if self.next == self.rows.rows() {
            return &[];
        }
        self.next += 1;
        self.rows.row(self.next - 1)
    }
}

/// Where in C a panel's product goes.
struct Place {
    rows: Range<usize>,
    columns: Range<usize>,
    /// The first row and column of the tile that comes next; only a hint.
    after: (usize, usize),
}

/// One panel of A times some units of B, tile by tile.
fn panel_product(
    isa: Isa,
    c: &mut MatrixMut<'_>,
    Place { rows, columns, after }: Place,
    factors: &Factors<'_>,
    mut finish: Option<&mut Finish<'_>>,
    ahead: &mut Ahead<'_>,
) {
    let &Factors { layout, a, row_step, b, unit_step, slots, start } = factors;
    let c_stride = c.row_stride();
    let mut first = columns.start;
    while first < columns.end {
        let units = tile::units(isa, rows.len(), (columns.end - first).div_ceil(UNIT));
        let here = first..columns.end.min(first + units * UNIT);
        let b = &b[(first - columns.start) / UNIT * unit_step..];
        let next = if here.end < columns.end { (rows.start, here.end) } else { after };
        let mut near = [Ask { first: c.place(next.0, next.1), stride: c_stride }; 4];
        let asks = 1 + finish.as_ref().map_or(0, |finish| finish.reads(rows.start, here.start, &mut near[1..]));
        let c = c.block_mut(rows.clone(), here.clone());
        let far = ahead.next(slots);
        Tile {
            layout,
            slots,
            a,
            row_step,
            b,
            unit_step,
            c: &mut *c,
            c_stride,
            columns: here.len(),
            start,
            near: &near[..asks],
            far,
        }
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

/// The columns cut into blocks of at most so many units (2 at least), as even as they can be. All but the last have an even number
/// of units: a tile of one unit is slower than its share.
fn blocks_of_columns(columns: usize, most_units: usize) -> impl Iterator<Item = Range<usize>> {
    let pairs = columns.div_ceil(2 * UNIT);
    let blocks = pairs.div_ceil(most_units / 2);
    (0..blocks).map(move |block| {
        let pairs = piece(pairs, blocks, block);
        pairs.start * 2 * UNIT..columns.min(pairs.end * 2 * UNIT)
    })
}

/// The piece with this index: 64 rows in 5 panels are 12 + 13 + 13 + 13 + 13, not 4 × 14 + 8.
pub(super) fn piece(length: usize, pieces: usize, index: usize) -> Range<usize> {
    length * index / pieces..length * (index + 1) / pieces
}
