//! The folder of a run and its prepared rows → which of them trained, decided and tested.
//!
//! Predictions name the rows that were tested on and those that calibrated. The rows learned from are not listed; they are all others,
//! all others before them, or the last of these (a window that rolls), whichever has the fingerprint that the record keeps of the
//! split.

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::learn::dataset::{Dataset, View};
use crate::learn::experiment::predictions::{PredictionTable, TEST_FILE, VALID_FILE};
use crate::learn::experiment::record::RunRecord;
use crate::learn::split::Split;
use crate::model::features::hash::Fingerprint;

/// The parts of a run. Training rows are empty where they cannot be told, as when they stand in another folder.
///
/// # Errors
/// Io and data when predictions cannot be read; data when these are not the rows they were made for.
pub fn parts_of_run<'a>(run: &Path, dataset: &'a Dataset) -> Result<Split<'a>> {
    let record = RunRecord::read(run)?;
    let test = rows_of(&run.join(TEST_FILE), dataset)?;
    let one_set = record.data.fingerprint == dataset.fingerprint();
    let valid = match one_set && run.join(VALID_FILE).is_file() {
        true => rows_of(&run.join(VALID_FILE), dataset)?,
        false => Vec::new(),
    };
    let mut train = Vec::new();
    if one_set {
        let others = others(&[&test, &valid], dataset.rows());
        let first = test.iter().chain(&valid).map(|range| range.start).min().unwrap_or(0);
        let from = |start: usize| std::iter::once(start..first).filter(|range| !range.is_empty()).collect();
        let (before, window) = (from(0), from(first.saturating_sub(record.data.train.rows as usize)));
        let fits = |train: &Vec<Range<usize>>| {
            let ranges = format!("{:?}", [train, &valid, &test]);
            Fingerprint::of(ranges.as_bytes()) == record.data.split
        };
        train = [others, before, window].into_iter().find(fits).unwrap_or_default();
    }
    let [train, valid, test] = [train, valid, test].map(|ranges| View::new(dataset, ranges));
    Ok(Split { train, valid, test })
}

/// Rows of a table of predictions, which must be those of `dataset`.
fn rows_of(path: &Path, dataset: &Dataset) -> Result<Vec<Range<usize>>> {
    let table = PredictionTable::read(path)?;
    let wrong = |what: String| {
        let message =
            format!("{what}: these predictions were made for other rows than those of {}", dataset.folder().display());
        Err(Error::data(path.display().to_string(), message))
    };
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (row, label) in table.rows.iter().zip(&table.labels) {
        let Some(row) = usize::try_from(*row).ok().filter(|row| *row < dataset.rows()) else {
            return wrong(format!("expected rows below {}, got {row}", dataset.rows()));
        };
        if dataset.label(row) != *label {
            return wrong(format!("row {row} has label {label}, expected {}", dataset.label(row)));
        }
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            Some(last) if last.end > row => return wrong(format!("row {row} is out of order")),
            _ => ranges.push(row..row + 1),
        }
    }
    Ok(ranges)
}

/// All rows in none of `parts`.
fn others(parts: &[&Vec<Range<usize>>], rows: usize) -> Vec<Range<usize>> {
    let mut taken: Vec<&Range<usize>> = parts.iter().flat_map(|ranges| ranges.iter()).collect();
    taken.sort_unstable_by_key(|range| range.start);
    let mut next = 0;
    let mut left: Vec<Range<usize>> = Vec::new();
    for range in taken {
        left.push(next..range.start);
        next = range.end;
    }
    left.push(next..rows);
    left.retain(|range| !range.is_empty());
    left
}
