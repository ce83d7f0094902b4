//! Rows of codes → a dense matrix of a few columns, for reference models that take nothing else.
//!
//! Signed hashing trick (Weinberger et al. 2009, "Feature hashing for large scale multitask learning"): a code is a hash
//! already, so its upper bits choose the column, `code · dimensions / 2³²`, and its lowest bit the sign that is added there.
//! Signs make collisions cancel on average. Codes of all features share the columns; an absent value adds nothing.

use baselines::Dense;

use crate::error::{Error, Result};
use crate::learn::dataset::View;
use crate::model::features::hash::EMPTY_CODE;

/// Adds one row of codes into `cells`, one for each dimension.
#[inline]
pub fn add_row(codes: &[u32], cells: &mut [f32]) {
    for code in codes.iter().copied().filter(|code| *code != EMPTY_CODE) {
        let column = (u64::from(code) * cells.len() as u64) >> 32;
        cells[column as usize] += if code & 1 == 0 { 1.0 } else { -1.0 };
    }
}

/// Rows of codes, `width` each, as a matrix.
///
/// # Errors
/// Bug when the matrix refuses them, which it cannot.
pub fn of_codes(codes: &[u32], width: usize, dimensions: usize) -> Result<Dense> {
    let rows = codes.len() / width;
    let mut values = vec![0.0; rows * dimensions];
    for (codes, cells) in codes.chunks_exact(width).zip(values.chunks_exact_mut(dimensions)) {
        add_row(codes, cells);
    }
    Dense::new(rows, dimensions, values).map_err(|error| Error::Bug(error.to_string()))
}

/// The rows at these positions of a view (ascending) as a matrix, with their labels.
///
/// # Errors
/// Bug when the matrix refuses them, which it cannot.
///
/// # Panics
/// When a position is beyond the last row.
pub fn of_positions(view: &View<'_>, positions: &[usize], dimensions: usize) -> Result<(Dense, Vec<u8>)> {
    let dataset = view.dataset();
    let mut values = vec![0.0; positions.len() * dimensions];
    let mut labels = Vec::with_capacity(positions.len());
    let mut ranges = view.ranges().iter();
    let (mut range, mut before) = (0..0, 0);
    for (position, cells) in positions.iter().zip(values.chunks_exact_mut(dimensions)) {
        while position - before >= range.len() {
            before += range.len();
            range = ranges.next().expect("positions lie within the view").clone();
        }
        let row = range.start + position - before;
        add_row(dataset.codes(row), cells);
        labels.push(dataset.label(row));
    }
    let dense = Dense::new(positions.len(), dimensions, values).map_err(|error| Error::Bug(error.to_string()))?;
    Ok((dense, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::dataset::Dataset;
    use crate::learn::dataset::tests::{SCHEMA, write};

    #[test]
    fn columns_follow_upper_bits_and_signs_the_lowest() {
        let mut cells = [0.0; 4];
        add_row(&[2, 3, 0x4000_0000, 0xffff_ffff, EMPTY_CODE, 4], &mut cells);
        assert_eq!(cells, [1.0, 1.0, 0.0, -1.0], "2 and 3 cancel, 4 stays");
    }

    #[test]
    fn codes_spread_over_all_columns() {
        use crate::model::features::hash::{salt, value_code};
        let salt = salt("site");
        let mut cells = vec![0.0; 100];
        let mut seen = vec![0; 100];
        for value in 0..20_000_u32 {
            let code = value_code(salt, &value.to_le_bytes());
            seen[((u64::from(code) * 100) >> 32) as usize] += 1;
            add_row(&[code], &mut cells);
        }
        assert!(seen.iter().all(|count| (120..280).contains(count)), "{seen:?}");
        assert!(cells.iter().all(|sum: &f32| sum.abs() < 70.0), "signs cancel");
    }

    #[test]
    fn positions_of_a_view_with_gaps() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), SCHEMA, 100, |row| row as i64);
        let dataset = Dataset::open(folder.path()).unwrap();
        let view = View::new(&dataset, vec![3..6, 50..60]);
        let (dense, labels) = of_positions(&view, &[0, 2, 3, 12], 8).unwrap();
        assert_eq!(labels, [1, 0, 0, 0], "rows 3, 5, 50, 59");
        let mut expected = Vec::new();
        for row in [3, 5, 50, 59] {
            expected.extend_from_slice(of_codes(dataset.codes(row), dataset.width(), 8).unwrap().values());
        }
        assert_eq!(dense.values(), expected);
    }
}
