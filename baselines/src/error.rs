//! What can go wrong when a baseline is set up, fitted or asked, each with its place, what was expected and what was found.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// Every failure of this crate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BaselineError {
    /// A setting lies outside its documented bounds.
    #[error("{kind}: `{key}` must be {expected}, got {got}")]
    Setting {
        /// Name of the baseline, as in a recipe.
        kind: &'static str,
        /// Key of the setting.
        key: &'static str,
        /// The bounds in words.
        expected: String,
        /// The value found.
        got: String,
    },
    /// The number of values is not rows × columns, or the matrix has no column.
    #[error("dense matrix of {rows} rows × {columns} columns: expected {expected}, got {got} values")]
    Shape {
        /// Rows claimed.
        rows: usize,
        /// Columns claimed.
        columns: usize,
        /// What would have fitted.
        expected: String,
        /// Length of the values.
        got: usize,
    },
    /// A feature is NaN or infinite.
    #[error("dense matrix: row {row}, column {column}: expected a finite number, got {value}")]
    NotFinite {
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The value found.
        value: f32,
    },
    /// There is not one label for each row.
    #[error("expected one label for each of {rows} rows, got {labels} labels")]
    LabelCount {
        /// Rows of the matrix.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// A label is neither 0 nor 1.
    #[error("label of row {row}: expected 0 or 1, got {label}")]
    Label {
        /// Row, from 0.
        row: usize,
        /// The label found.
        label: u8,
    },
    /// The rows of a fit are all clicks or all without a click (no rows included).
    #[error("{kind}: needs rows with and without a click, got {clicks} clicks in {rows} rows")]
    OneClass {
        /// Name of the baseline.
        kind: &'static str,
        /// Rows of the fit, after sampling.
        rows: usize,
        /// How many of them are clicks.
        clicks: usize,
    },
    /// The matrix is so wide that too few rows would fit into the cell limit.
    #[error("{kind}: takes at most {limit} columns, got {columns}; hash into fewer dimensions")]
    TooWide {
        /// Name of the baseline.
        kind: &'static str,
        /// Columns of the matrix.
        columns: usize,
        /// Most columns this baseline takes.
        limit: usize,
    },
    /// The rows to predict have another width than the rows of the fit.
    #[error("{kind}: was fitted on {expected} columns, got rows of {got} columns")]
    Columns {
        /// Name of the baseline.
        kind: &'static str,
        /// Columns of the fit.
        expected: usize,
        /// Columns found.
        got: usize,
    },
    /// The library behind the baseline refused or failed.
    #[error("{kind}: {message}")]
    Library {
        /// Name of the baseline.
        kind: &'static str,
        /// The library's own words.
        message: String,
    },
}

impl BaselineError {
    pub(crate) fn library(kind: &'static str, error: impl Display) -> Self {
        Self::Library { kind, message: error.to_string() }
    }
}

/// Checks one setting against closed bounds; NaN is outside of all bounds.
pub(crate) fn within<T: PartialOrd + Display>(
    kind: &'static str,
    key: &'static str,
    value: T,
    bounds: RangeInclusive<T>,
) -> Result<(), BaselineError> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let expected = format!("between {} and {}", bounds.start(), bounds.end());
    Err(BaselineError::Setting { kind, key, expected, got: value.to_string() })
}
