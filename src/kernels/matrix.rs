//! Slices of `f32` seen as matrices, with strides, so that a transpose or a block is a view and never a copy.
//!
//! The constructors check that every element lies inside the slice; kernels rely on that and check no more.

use std::ops::Range;

/// A read-only view: element (i, j) is `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another.
    ///
    /// # Panics
    /// Unless `data` holds exactly `rows * columns` values.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(
            Some(data.len()) == rows.checked_mul(columns),
            "a {rows}×{columns} matrix needs exactly rows × columns values, got {}",
            data.len()
        );
        Matrix { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Rows `row_stride` values apart, for example some columns of a wider matrix.
    ///
    /// # Panics
    /// When an element would lie outside `data`.
    pub fn with_row_stride(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        Matrix::with_strides(data, rows, columns, row_stride, 1)
    }

    /// Any strides, in values.
    ///
    /// # Panics
    /// When an element would lie outside `data`.
    pub fn with_strides(data: &'a [f32], rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Self {
        assert_inside(data.len(), rows, columns, row_stride, column_stride);
        Matrix { data, rows, columns, row_stride, column_stride }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Values from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Values from one column to the next.
    pub fn column_stride(&self) -> usize {
        self.column_stride
    }

    /// The transpose, as a view.
    pub fn t(self) -> Self {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Some of the rows, as a view.
    ///
    /// # Panics
    /// When the range leaves the matrix.
    pub fn row_range(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        let data = self.data.get(range.start * self.row_stride..).unwrap_or(&[]);
        Matrix { data, rows: range.len(), ..self }
    }

    /// Some of the columns, as a view.
    ///
    /// # Panics
    /// When the range leaves the matrix.
    pub fn column_range(self, range: Range<usize>) -> Self {
        self.t().row_range(range).t()
    }

    /// Element (row, column).
    ///
    /// # Panics
    /// When the element is outside.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        assert!(row < self.rows && column < self.columns, "({row}, {column}) of {}×{}", self.rows, self.columns);
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// The values from the first to the last.
    pub(super) fn values(&self) -> &'a [f32] {
        match (self.rows, self.columns) {
            (0, _) | (_, 0) => &[],
            (rows, columns) => &self.data[..(rows - 1) * self.row_stride + (columns - 1) * self.column_stride + 1],
        }
    }

    /// Where an element would be, inside or not: only for hints.
    pub(super) fn place(&self, row: usize, column: usize) -> *const f32 {
        self.data.as_ptr().wrapping_add(row * self.row_stride + column * self.column_stride)
    }

    /// One row, where its values lie side by side.
    ///
    /// # Panics
    /// When the row is outside, or the columns are strided.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [f32] {
        assert!(row < self.rows && self.column_stride == 1, "row {row} of {}, contiguous columns only", self.rows);
        if self.columns == 0 {
            return &[];
        }
        &self.data[row * self.row_stride..][..self.columns]
    }
}

/// A writable view with contiguous columns: element (i, j) is `data[i * row_stride + j]`.
///
/// A row stride above the number of columns writes into some columns of a wider matrix, which is how two towers
/// fill one concatenated output without a copy.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// Rows one after another.
    ///
    /// # Panics
    /// Unless `data` holds exactly `rows * columns` values.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert!(
            Some(data.len()) == rows.checked_mul(columns),
            "a {rows}×{columns} matrix needs exactly rows × columns values, got {}",
            data.len()
        );
        MatrixMut { data, rows, columns, row_stride: columns }
    }

    /// Rows `row_stride` values apart; `data` starts at element (0, 0).
    ///
    /// # Panics
    /// When an element would lie outside `data`, or rows would overlap.
    pub fn with_row_stride(data: &'a mut [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(rows <= 1 || row_stride >= columns, "rows overlap: stride {row_stride} below {columns} columns");
        assert_inside(data.len(), rows, columns, row_stride, 1);
        MatrixMut { data, rows, columns, row_stride }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Values from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// The same matrix, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> MatrixMut<'_> {
        MatrixMut { data: self.data, rows: self.rows, columns: self.columns, row_stride: self.row_stride }
    }

    /// The same matrix, read only.
    pub fn as_matrix(&self) -> Matrix<'_> {
        Matrix {
            data: self.data,
            rows: self.rows,
            columns: self.columns,
            row_stride: self.row_stride,
            column_stride: 1,
        }
    }

    /// Where an element would be, inside or not: only for hints.
    pub(super) fn place(&self, row: usize, column: usize) -> *const f32 {
        self.as_matrix().place(row, column)
    }

    /// The first `rows` rows and the others, for two threads.
    ///
    /// # Panics
    /// When there are fewer rows.
    pub fn split_rows_at(self, rows: usize) -> (MatrixMut<'a>, MatrixMut<'a>) {
        assert!(rows <= self.rows, "split at row {rows} of {}", self.rows);
        let cut = (rows * self.row_stride).min(self.data.len());
        let (above, below) = self.data.split_at_mut(cut);
        (
            MatrixMut { data: above, rows, ..self },
            MatrixMut { data: below, rows: self.rows - rows, columns: self.columns, row_stride: self.row_stride },
        )
    }

    /// One row.
    ///
    /// # Panics
    /// When the row is outside.
    #[inline(always)]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        if self.columns == 0 {
            return &mut [];
        }
        &mut self.data[row * self.row_stride..][..self.columns]
    }

    /// The values from the first element of a block to its last; rows stay `row_stride` apart.
    pub(super) fn block_mut(&mut self, rows: Range<usize>, columns: Range<usize>) -> &mut [f32] {
        debug_assert!(rows.end <= self.rows && columns.end <= self.columns && !rows.is_empty());
        let first = rows.start * self.row_stride + columns.start;
        &mut self.data[first..(rows.end - 1) * self.row_stride + columns.end]
    }
}

/// The last element of the matrix must lie inside the slice.
fn assert_inside(length: usize, rows: usize, columns: usize, row_stride: usize, column_stride: usize) {
    if rows == 0 || columns == 0 {
        return;
    }
    let last = (rows - 1)
        .checked_mul(row_stride)
        .and_then(|row| (columns - 1).checked_mul(column_stride).and_then(|column| row.checked_add(column)));
    assert!(
        last.is_some_and(|last| last < length),
        "a {rows}×{columns} matrix with strides ({row_stride}, {column_stride}) leaves a slice of {length} values"
    );
}
