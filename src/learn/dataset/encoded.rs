//! Encoded rows with their targets, column by column, as blocks of prepared data hold them.

use std::ops::Range;

use super::Piece;
use crate::model::row::Targets;
use crate::model::schema::Schema;

/// Encoded rows in memory. Columns that the schema does not have stay empty.
#[derive(Debug, Default)]
pub struct EncodedRows {
    width: usize,
    weighted: bool,
    timed: bool,
    grouped: bool,
    pub(super) codes: Vec<u32>,
    pub(super) labels: Vec<u8>,
    pub(super) weights: Vec<f32>,
    pub(super) times: Vec<i64>,
    pub(super) groups: Vec<u64>,
}

impl EncodedRows {
    /// No rows yet, for the columns of `schema`.
    pub fn new(schema: &Schema) -> Self {
        EncodedRows {
            width: schema.width(),
            weighted: schema.weight.is_some(),
            timed: schema.time.is_some(),
            grouped: schema.group.is_some(),
            ..EncodedRows::default()
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Some of the rows, when the first of all is row `first` of a dataset.
    pub fn piece(&self, first: usize, rows: Range<usize>) -> Piece<'_> {
        Piece {
            rows: first + rows.start..first + rows.end,
            codes: &self.codes[rows.start * self.width..rows.end * self.width],
            labels: &self.labels[rows.clone()],
            weights: self.weighted.then(|| &self.weights[rows.clone()]),
            times: self.timed.then(|| &self.times[rows.clone()]),
            groups: self.grouped.then(|| &self.groups[rows.clone()]),
        }
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.codes.clear();
        self.labels.clear();
        self.weights.clear();
        self.times.clear();
        self.groups.clear();
    }

    /// Adds the row whose codes `encode` writes; a row that cannot be encoded is not added.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn push<E>(&mut self, targets: Targets, encode: impl FnOnce(&mut [u32]) -> Result<(), E>) -> Result<(), E> {
        let before = self.codes.len();
        self.codes.resize(before + self.width, 0);
        if let Err(error) = encode(&mut self.codes[before..]) {
            self.codes.truncate(before);
            return Err(error);
        }
        self.labels.push(targets.label);
        self.push_other(targets);
        Ok(())
    }

    /// Makes room for the codes of `rows` more rows and returns it; their targets follow by [`EncodedRows::push_targets`].
    pub fn grow(&mut self, rows: usize) -> &mut [u32] {
        let before = self.codes.len();
        self.codes.resize(before + rows * self.width, 0);
        &mut self.codes[before..]
    }

    /// Adds the targets of rows whose codes are there: `fill` adds their labels to the first, and tells the second what else
    /// the schema has.
    pub fn push_targets(&mut self, fill: impl FnOnce(&mut Vec<u8>, &mut dyn FnMut(Targets))) {
        let mut labels = std::mem::take(&mut self.labels);
        fill(&mut labels, &mut |targets| self.push_other(targets));
        self.labels = labels;
    }

    /// Adds what the schema has of a row's weight, time and group.
    fn push_other(&mut self, targets: Targets) {
        if self.weighted {
            self.weights.push(targets.weight);
        }
        if self.timed {
            self.times.push(targets.time);
        }
        if self.grouped {
            self.groups.push(targets.group);
        }
    }

    /// Takes rows out; `rows` ascend.
    pub fn remove(&mut self, rows: &[usize]) {
        fn keep<T: Copy>(values: &mut Vec<T>, width: usize, rows: &[usize]) {
            for (removed, row) in rows.iter().enumerate() {
                let end = rows.get(removed + 1).map_or(values.len(), |next| next * width);
                values.copy_within((row + 1) * width..end, (row - removed) * width);
            }
            values.truncate(values.len() - rows.len() * width);
        }
        keep(&mut self.labels, 1, rows);
        keep(&mut self.codes, self.width, rows);
        if self.weighted {
            keep(&mut self.weights, 1, rows);
        }
        if self.timed {
            keep(&mut self.times, 1, rows);
        }
        if self.grouped {
            keep(&mut self.groups, 1, rows);
        }
    }

    /// Takes over memory for codes, while there are none.
    pub(super) fn reuse(&mut self, mut codes: Vec<u32>) {
        if self.codes.is_empty() {
            codes.clear();
            self.codes = codes;
        }
    }

    /// Adds some rows of `other`.
    pub fn append(&mut self, other: &EncodedRows, rows: Range<usize>) {
        self.codes.extend_from_slice(&other.codes[rows.start * self.width..rows.end * self.width]);
        self.labels.extend_from_slice(&other.labels[rows.clone()]);
        if self.weighted {
            self.weights.extend_from_slice(&other.weights[rows.clone()]);
        }
        if self.timed {
            self.times.extend_from_slice(&other.times[rows.clone()]);
        }
        if self.grouped {
            self.groups.extend_from_slice(&other.groups[rows]);
        }
    }
}
