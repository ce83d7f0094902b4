//! Numbers in a row-major table, checked once: the only form in which features enter a baseline.
//!
//! Values are f32: hashed counts and binned numbers are exact in it, and a table takes half the memory.

use crate::error::BaselineError;

/// A dense feature matrix, row-major: the features of row `r` are `values[r * columns..(r + 1) * columns]`.
///
/// By construction every value is finite and there is at least one column. There may be no rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Dense {
    /// Takes `values` of length `rows * columns`.
    ///
    /// # Errors
    /// [`BaselineError::Shape`] for another length or no columns; [`BaselineError::NotFinite`] for the first NaN or infinity.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Result<Self, BaselineError> {
        let expected = match rows.checked_mul(columns) {
            _ if columns == 0 => Some("at least one column".to_string()),
            Some(cells) if cells == values.len() => None,
            Some(cells) => Some(format!("{cells}")),
            None => Some("fewer cells than the memory can count".to_string()),
        };
        if let Some(expected) = expected {
            return Err(BaselineError::Shape { rows, columns, expected, got: values.len() });
        }
        if let Some(cell) = values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (cell / columns, cell % columns);
            return Err(BaselineError::NotFinite { row, column, value: values[cell] });
        }
        Ok(Self { rows, columns, values })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, at least 1.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows in order, each a slice of `columns` values.
    pub fn iter_rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.columns)
    }

    /// A new matrix of the given rows, in the given order.
    ///
    /// # Panics
    /// When a row is not below [`Dense::rows`].
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut values = Vec::with_capacity(rows.len() * self.columns);
        for &row in rows {
            values.extend_from_slice(&self.values[row * self.columns..(row + 1) * self.columns]);
        }
        Self { rows: rows.len(), columns: self.columns, values }
    }

    /// The values column by column: value (r, c) at `c * rows + r`.
    ///
    /// Works in square tiles so that neither side runs through memory a cache line per value.
    pub(crate) fn column_major<T: From<f32> + Clone>(&self) -> Vec<T> {
        const TILE: usize = 32;
        let mut columns = vec![T::from(0.0); self.values.len()];
        for first_row in (0..self.rows).step_by(TILE) {
            for first_column in (0..self.columns).step_by(TILE) {
                for row in first_row..(first_row + TILE).min(self.rows) {
                    for column in first_column..(first_column + TILE).min(self.columns) {
                        columns[column * self.rows + row] = T::from(self.values[row * self.columns + column]);
                    }
                }
            }
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_shape_names_both_sides() {
        let message =
            |rows, columns, values: usize| Dense::new(rows, columns, vec![0.0; values]).unwrap_err().to_string();
        assert_eq!(message(2, 3, 5), "dense matrix of 2 rows × 3 columns: expected 6, got 5 values");
        assert!(message(2, 0, 0).contains("at least one column"));
        assert!(message(usize::MAX, 2, 4).contains("fewer cells"));
    }

    #[test]
    fn a_value_that_is_not_finite_names_its_row_and_column() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = Dense::new(2, 3, vec![0.0, 1.0, 2.0, 3.0, bad, 5.0]).unwrap_err();
            assert!(error.to_string().contains("row 1, column 1"), "{error}");
        }
    }

    #[test]
    fn columns_of_ugly_sizes_hold_the_same_values_as_rows() {
        for (rows, columns) in [(0, 3), (1, 1), (33, 65), (100, 7)] {
            let values = (0..rows * columns).map(|value| value as f32).collect();
            let dense = Dense::new(rows, columns, values).unwrap();
            let by_column: Vec<f64> = dense.column_major();
            for (r, row) in dense.iter_rows().enumerate() {
                for (c, &value) in row.iter().enumerate() {
                    assert_eq!(by_column[c * rows + r], f64::from(value));
                }
            }
        }
    }

    #[test]
    fn selected_rows_come_in_the_given_order() {
        let dense = Dense::new(3, 2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(dense.select(&[2, 0]).values(), [4.0, 5.0, 0.0, 1.0]);
    }
}
