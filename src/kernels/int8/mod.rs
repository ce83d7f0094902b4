//! C = A·B for scoring with 8-bit factors: four multiply-adds in the place of one, a quarter of the weight bytes.
//!
//! ```text
//! row i of A:     x_k  ≈ low_i + step_i · q_k       q 0..=255, from the least and the greatest value of that row
//! column j of B:  w_k  ≈ scale_j · p_k              p −127..=127, from the greatest magnitude in that column
//! Σ x_k w_k       ≈ (step_i · scale_j) · Σ q_k p_k + low_i · (scale_j · Σ p_k)
//! ```
//!
//! (Jacob et al. 2018, arXiv 1712.05877, equations 3 to 7, with ranges taken from each row as it comes.) The first sum is
//! of integers and so exact in any order; the second is known when B is packed. What follows is `f32` in a fixed order.
//! So the result has the same bits on every instruction set, and a row's bits depend on that row alone.
//!
//! A row that holds a NaN or an infinity has no range; its whole result is NaN.
//!
//! Where ranges are known in advance, one for each step of k and the same for all rows ([`QuantizedRows::fill_known`]), the scales
//! of A go into B, and a product is Σ q_k p_k alone: then it can be cut anywhere, and what rows have in common is summed once
//! ([`Part`]).
//!
//! B is packed in units of 16 columns. A unit holds for each four steps of k one line of 64 bytes, `[column][k]`: what
//! the VNNI instruction multiplies with four bytes of a row of A. Past the last step B holds zeros.

mod finish;
mod rows;
mod tile;
mod weights;

use super::dispatch::isa;
use super::gemm::piece;
use super::matrix::{Matrix, MatrixMut};
use super::vectors::assert_same;
use rows::KNOWN_ZERO;
pub use rows::QuantizedRows;
pub use tile::Body;
use tile::{MOST_UNITS, Sums, Tile, UNIT};

/// Most rows of B: sums of this many products of 255 · 127 stay inside an `i32`.
pub const MOST_DEPTH: usize = (i32::MAX / (255 * 127)) as usize;

/// Steps of k that are multiplied at once.
pub const GROUP: usize = 4;

/// B in 8 bits, packed; a model's weights.
#[derive(Clone, Debug)]
pub struct QuantizedMatrix {
    units: Vec<Line>,
    /// scale_j, for each column.
    scales: Vec<f32>,
    /// scale_j · Σ p_k, for each column.
    sums: Vec<f32>,
    rows: usize,
    columns: usize,
    /// 0, 1, … for all lines of a unit.
    every_line: Vec<u32>,
}

/// Some of the steps of k: those that A holds, and what the others come to.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Which four steps of k each four columns of A are.
    pub lines: &'a [u32],
    /// What sums begin with, one for each column of B and zeros up to a multiple of 16 ([`QuantizedMatrix::start`]).
    pub sums: &'a [i32],
}

/// Four steps of k of a unit; a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([[i8; GROUP]; UNIT]);

/// What becomes of an element p of the product before it is stored.
#[derive(Clone, Copy, Debug)]
pub enum QuantizedFinish<'a> {
    /// c = p + bias.
    Bias(&'a [f32]),
    /// c = max(p + bias, 0). NaN stays NaN.
    BiasRelu(&'a [f32]),
    /// c = x0 ⊙ (p + bias) + c: a cross layer of DCN v2 (Wang et al. 2021, equation 1). C holds x and becomes the next x.
    Cross {
        /// One value for each column.
        bias: &'a [f32],
        /// Of the shape of C.
        x0: Matrix<'a>,
    },
}

impl QuantizedMatrix {
    /// Rounds `b` to 8 bits, one scale for each column. A column with a value that is not finite gives NaN.
    ///
    /// # Panics
    /// With more than [`MOST_DEPTH`] rows.
    pub fn quantize(b: Matrix<'_>) -> Self {
        let (rows, columns) = (b.rows(), b.columns());
        assert!(rows <= MOST_DEPTH, "int8: sums over {rows} steps overflow, at most {MOST_DEPTH}");
        let groups = rows.div_ceil(GROUP);
        let mut units = vec![Line([[0; GROUP]; UNIT]); groups * columns.div_ceil(UNIT)];
        let (mut scales, mut sums) = (Vec::with_capacity(columns), Vec::with_capacity(columns));
        let mut column = weights::Column::default();
        for index in 0..columns {
            let scale = column.round((0..rows).map(|row| b.get(row, index)));
            let mut sum = 0i32;
            for (row, &value) in column.values().iter().enumerate() {
                sum += i32::from(value);
                units[index / UNIT * groups + row / GROUP].0[index % UNIT][row % GROUP] = value;
            }
            scales.push(scale);
            sums.push(scale * sum as f32);
        }
        QuantizedMatrix { units, scales, sums, rows, columns, every_line: (0..groups as u32).collect() }
    }

    /// What sums over rows of [`QuantizedRows::fill_known`] begin with: their bytes are 128 too great.
    pub fn start(&self) -> Vec<i32> {
        let groups = self.groups();
        let mut start = vec![0; self.columns.next_multiple_of(UNIT)];
        for (unit, start) in start.chunks_exact_mut(UNIT).enumerate() {
            for line in &self.units[unit * groups..(unit + 1) * groups] {
                for (start, values) in start.iter_mut().zip(&line.0) {
                    *start -= KNOWN_ZERO * values.iter().map(|&value| i32::from(value)).sum::<i32>();
                }
            }
        }
        start
    }

    /// Lines of a unit.
    fn groups(&self) -> usize {
        self.every_line.len()
    }

    /// Rows of the matrix (K).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix (N).
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.units.capacity() * size_of::<Line>() + (self.scales.capacity() + self.sums.capacity()) * size_of::<f32>()
    }
}

/// C = finish(A·B), with A M×K, B K×N and C M×N. All of C, A and x₀ should fit the second cache beside B: callers cut rows.
///
/// # Panics
/// When the shapes do not fit.
pub fn quantized_product(c: MatrixMut<'_>, a: &QuantizedRows, b: &QuantizedMatrix, finish: QuantizedFinish<'_>) {
    product_with(Body::of(isa()), c, a, b, finish);
}

/// [`quantized_product`] of a part of the steps of k.
///
/// # Panics
/// When the shapes do not fit.
pub fn quantized_part(
    c: MatrixMut<'_>,
    a: &QuantizedRows,
    b: &QuantizedMatrix,
    part: Part<'_>,
    finish: QuantizedFinish<'_>,
) {
    part.check(a, b);
    part_with(Body::of(isa()), c, a, b, part, finish);
}

/// Adds one row of A to sums, those of a part of the steps of k.
///
/// # Panics
/// When the shapes do not fit.
pub fn quantized_sums(a: &QuantizedRows, b: &QuantizedMatrix, lines: &[u32], sums: &mut [i32]) {
    Part { lines, sums }.check(a, b);
    assert_same("int8 (rows of one)", a.rows(), 1);
    let (body, groups) = (Body::of(isa()), b.groups());
    let mut of_tile = Sums::default();
    let widest = body.most_units(1);
    for (block, sums) in sums.chunks_mut(widest * UNIT).enumerate() {
        let (first, units) = (block * widest, sums.len() / UNIT);
        let b = &b.units[first * groups..(first + units) * groups];
        Tile { lines, a: a.bytes_from(0), a_stride: a.stride(), b, start: sums }.run(body, 1, units, &mut of_tile);
        sums.copy_from_slice(&of_tile.0[..units * UNIT]);
    }
}

impl Part<'_> {
    fn check(&self, a: &QuantizedRows, b: &QuantizedMatrix) {
        assert_same("int8 (lines)", self.lines.len() * GROUP, a.stride());
        assert_same("int8 (sums)", self.sums.len(), b.columns.next_multiple_of(UNIT));
        assert!(self.lines.iter().all(|line| (*line as usize) < b.groups()), "int8: a line outside B");
    }
}

/// [`quantized_product`] with a body, which the processor must have.
pub(super) fn product_with(
    body: Body,
    c: MatrixMut<'_>,
    a: &QuantizedRows,
    b: &QuantizedMatrix,
    finish: QuantizedFinish<'_>,
) {
    let (rows, columns) = (c.rows(), c.columns());
    assert!(
        a.rows() == rows && a.columns() == b.rows && b.columns == columns,
        "int8: C is {rows}×{columns}, A is {}×{}, B is {}×{}",
        a.rows(),
        a.columns(),
        b.rows,
        b.columns
    );
    part_with(body, c, a, b, Part { lines: &b.every_line, sums: &[] }, finish);
}

/// All steps of `part`; empty sums are zeros.
pub(super) fn part_with(
    body: Body,
    mut c: MatrixMut<'_>,
    a: &QuantizedRows,
    b: &QuantizedMatrix,
    part: Part<'_>,
    finish: QuantizedFinish<'_>,
) {
    const ZEROS: &[i32] = &[0; MOST_UNITS * UNIT];
    let (rows, columns) = (c.rows(), c.columns());
    finish::check(&finish, rows, columns);
    if rows == 0 || columns == 0 {
        return;
    }
    let groups = b.groups();
    let panels = rows.div_ceil(body.most_rows());
    let units = columns.div_ceil(UNIT);
    let widest = body.most_units(rows.div_ceil(panels));
    let mut sums = Sums::default();
    let blocks = units.div_ceil(widest);
    for units in (0..blocks).map(|block| piece(units, blocks, block)) {
        let start = if part.sums.is_empty() { ZEROS } else { &part.sums[units.start * UNIT..] };
        let columns = units.start * UNIT..columns.min(units.end * UNIT);
        let of_b = &b.units[units.start * groups..units.end * groups];
        for panel in 0..panels {
            let rows = piece(rows, panels, panel);
            let tile = Tile { lines: part.lines, a: a.bytes_from(rows.start), a_stride: a.stride(), b: of_b, start };
            finish::prefetch(&mut c, rows.clone(), columns.clone(), &finish);
            tile.run(body, rows.len(), units.len(), &mut sums);
            finish::tile(c.reborrow(), &sums, units.len() * UNIT, rows, columns.clone(), a.ranges(), b, &finish);
        }
    }
}
