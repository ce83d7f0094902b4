//! C = A·B, every element one chain of fused multiply-adds.

use super::matrix::{Matrix, MatrixMut};

/// Working memory of a product, kept between calls so that the hot path allocates nothing.
#[derive(Debug, Default)]
pub struct GemmScratch {}

impl GemmScratch {
    /// Empty; it grows to what the first calls need.
    pub fn new() -> Self {
        Self::default()
    }
}

/// B in the order in which the product reads it, packed once and used by many calls and threads.
#[derive(Clone, Debug, Default)]
pub struct PackedMatrix {
    values: Vec<f32>,
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

    /// Packs another matrix into the same memory.
    pub fn repack(&mut self, b: Matrix<'_>) {
        (self.rows, self.columns) = (b.rows(), b.columns());
        self.values.clear();
        self.values.extend((0..b.rows()).flat_map(|i| (0..b.columns()).map(move |j| b.get(i, j))));
    }

    /// Rows of the matrix that was packed.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix that was packed.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// C = A·B (`accumulate` = false) or C += A·B.
pub fn gemm(c: MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool, scratch: &mut GemmScratch) {
    gemm_packed(c, a, &PackedMatrix::pack(b), accumulate, scratch);
}

/// [`gemm`] with B packed before: the same bits.
pub fn gemm_packed(
    mut c: MatrixMut<'_>,
    a: Matrix<'_>,
    b: &PackedMatrix,
    accumulate: bool,
    _scratch: &mut GemmScratch,
) {
    assert!(
        a.rows() == c.rows() && a.columns() == b.rows() && b.columns() == c.columns(),
        "gemm: C is {}×{}, A is {}×{}, B is {}×{}",
        c.rows(),
        c.columns(),
        a.rows(),
        a.columns(),
        b.rows(),
        b.columns()
    );
    let columns = c.columns();
    for i in 0..c.rows() {
        let row = c.row_mut(i);
        if !accumulate {
            row.fill(0.0);
        }
        for k in 0..b.rows() {
            let a = a.get(i, k);
            for (c, &b) in row.iter_mut().zip(&b.values[k * columns..]) {
                *c = a.mul_add(b, *c);
            }
        }
    }
}
