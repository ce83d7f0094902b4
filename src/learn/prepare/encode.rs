//! Blocks of rows → encoded rows, or what an encoder is learned from.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::learn::dataset::EncodedRows;
use crate::learn::source::{Refusal, TakeRows};
use crate::model::features::{ColumnEncoder, ColumnScratch, Encoder, Sample};
use crate::model::row::{Cell, CellError, TextRows, targets, targets_of_rows};
use crate::model::schema::Schema;

/// Encodes rows.
pub(in crate::learn) struct BlockEncoder<'a> {
    schema: &'a Schema,
    encoder: &'a Encoder,
    columns: &'a ColumnEncoder,
    scratch: ColumnScratch,
    rows: EncodedRows,
    /// Rows of a group that cannot be used.
    refused: Vec<usize>,
}

impl<'a> BlockEncoder<'a> {
    /// No rows yet. `columns` is `encoder`, made ready.
    pub(in crate::learn) fn new(schema: &'a Schema, encoder: &'a Encoder, columns: &'a ColumnEncoder) -> Self {
        let (scratch, rows) = (ColumnScratch::default(), EncodedRows::new(schema));
        BlockEncoder { schema, encoder, columns, scratch, rows, refused: Vec::new() }
    }

    /// The rows taken.
    pub(in crate::learn) fn rows(&self) -> &EncodedRows {
        &self.rows
    }

    /// Forgets the rows taken.
    pub(in crate::learn) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Why a row cannot be used.
    fn why(&self, cells: &[Cell<'_>]) -> Option<CellError> {
        let mut codes = vec![0; self.encoder.width()];
        targets(self.schema, cells).and_then(|_| self.encoder.encode(cells, &mut codes)).err()
    }
}

impl TakeRows for BlockEncoder<'_> {
    fn row(&mut self, _line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>, Refusal> {
        let targets = targets(self.schema, cells)?;
        self.rows.push(targets, |codes| self.encoder.encode(cells, codes))?;
        Ok(ControlFlow::Continue(()))
    }

    fn regular(
        &mut self,
        _first_line: u64,
        rows: &TextRows<'_>,
        refuse: &mut dyn FnMut(usize, CellError),
    ) -> Result<ControlFlow<()>> {
        let before = self.rows.rows();
        self.refused.clear();
        self.columns.encode(rows, &mut self.scratch, self.rows.grow(rows.rows()), &mut self.refused);
        self.rows.push_targets(|labels, other| targets_of_rows(self.schema, rows, labels, other, &mut self.refused));
        if !self.refused.is_empty() {
            let mut refused = std::mem::take(&mut self.refused);
            refused.sort_unstable();
            refused.dedup();
            for row in &mut refused {
                let cells: Vec<Cell<'_>> = (0..rows.columns()).map(|column| rows.cell(*row, column)).collect();
                let error = self.why(&cells);
                refuse(*row, error.ok_or_else(|| Error::Bug("a good row was refused among its neighbors".into()))?);
                *row += before;
            }
            self.rows.remove(&refused);
            self.refused = refused;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Keeps the numbers of rows, and counts clicks.
pub(super) struct BlockSampler<'a> {
    schema: &'a Schema,
    numbers: Sample,
    clicks: u64,
    labels: Vec<u8>,
}

impl<'a> BlockSampler<'a> {
    /// No rows yet.
    pub(super) fn new(schema: &'a Schema, numbers: Sample) -> Self {
        BlockSampler { schema, numbers, clicks: 0, labels: Vec::new() }
    }

    /// The numbers of all rows.
    pub(super) fn numbers(&self) -> &Sample {
        &self.numbers
    }

    /// Rows with a click.
    pub(super) fn clicks(&self) -> u64 {
        self.clicks
    }
}

impl TakeRows for BlockSampler<'_> {
    fn row(&mut self, _line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>, Refusal> {
        self.numbers.row(cells);
        self.clicks += targets(self.schema, cells).map_or(0, |targets| u64::from(targets.label));
        Ok(ControlFlow::Continue(()))
    }

    fn regular(
        &mut self,
        _first_line: u64,
        rows: &TextRows<'_>,
        _refuse: &mut dyn FnMut(usize, CellError),
    ) -> Result<ControlFlow<()>> {
        self.numbers.rows_of(rows);
        self.labels.clear();
        targets_of_rows(self.schema, rows, &mut self.labels, |_| (), &mut Vec::new());
        self.clicks += self.labels.iter().map(|label| u64::from(*label)).sum::<u64>();
        Ok(ControlFlow::Continue(()))
    }
}
