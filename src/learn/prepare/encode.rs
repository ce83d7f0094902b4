//! Blocks of rows → encoded rows, or what an encoder is learned from.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::learn::dataset::EncodedRows;
use crate::learn::source::{Refusal, TakeRows};
use crate::model::features::{ColumnEncoder, Encoder, Sample};
use crate::model::row::{Cell, CellError, TextRows, targets, targets_of_rows};
use crate::model::schema::Schema;

/// Encodes rows.
pub(super) struct BlockEncoder<'a> {
    schema: &'a Schema,
    encoder: &'a Encoder,
    columns: &'a ColumnEncoder,
    rows: EncodedRows,
    /// Rows of a group that cannot be used.
    refused: Vec<usize>,
}

impl<'a> BlockEncoder<'a> {
    /// No rows yet. `columns` is `encoder`, made ready.
    pub(super) fn new(schema: &'a Schema, encoder: &'a Encoder, columns: &'a ColumnEncoder) -> Self {
        BlockEncoder { schema, encoder, columns, rows: EncodedRows::new(schema), refused: Vec::new() }
    }

    /// The rows taken.
    pub(super) fn rows(&self) -> &EncodedRows {
        &self.rows
    }

    /// Forgets the rows taken.
    pub(super) fn clear(&mut self) {
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
        self.columns.encode(rows, self.rows.grow(rows.rows()), &mut self.refused);
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

/// Keeps the numbers of rows.
pub(super) struct BlockSampler(pub(super) Sample);

impl TakeRows for BlockSampler {
    fn row(&mut self, _line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>, Refusal> {
        self.0.row(cells);
        Ok(ControlFlow::Continue(()))
    }

    fn regular(
        &mut self,
        _first_line: u64,
        rows: &TextRows<'_>,
        _refuse: &mut dyn FnMut(usize, CellError),
    ) -> Result<ControlFlow<()>> {
        self.0.rows_of(rows);
        Ok(ControlFlow::Continue(()))
    }
}
