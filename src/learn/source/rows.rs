//! Where the rows of a block go: good ones to whoever takes them, bad ones to the count.

use std::ops::ControlFlow;

use super::bad_rows::BlockCount;
use super::{Found, Refusal, Visitor};
use crate::error::{Error, Result};
use crate::model::row::{Cell, CellError, TextRows};

/// Takes the rows of blocks. Lines are counted from the start of the block, from 0.
pub trait TakeRows {
    /// Takes one row: one cell for each column of the schema.
    ///
    /// # Errors
    /// When a cell cannot be used, which makes the row a bad one; or to stop reading.
    fn row(&mut self, line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>, Refusal>;

    /// Takes neighboring lines of text, one row each. `refuse` is told, in order, which rows have a cell that cannot be used.
    ///
    /// # Errors
    /// To stop reading.
    fn regular(
        &mut self,
        first_line: u64,
        rows: &TextRows<'_>,
        refuse: &mut dyn FnMut(usize, CellError),
    ) -> Result<ControlFlow<()>>;

    /// Learns of a bad row, which is counted already.
    ///
    /// # Errors
    /// To stop reading.
    fn passed(&mut self, _line: u64) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    /// Learns that its block has no more rows, on the thread that gave it these.
    fn end(&mut self) {}
}

/// The way from a block to whoever takes its rows.
pub(super) struct Rows<'a> {
    taker: &'a mut dyn TakeRows,
    /// What was counted so far.
    pub(super) count: BlockCount,
}

impl<'a> Rows<'a> {
    pub(super) fn new(taker: &'a mut dyn TakeRows) -> Self {
        Rows { taker, count: BlockCount::default() }
    }

    pub(super) fn row(&mut self, line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>> {
        match self.taker.row(line, cells) {
            Ok(flow) => {
                self.count.good(1);
                Ok(flow)
            }
            Err(Refusal::Stop(error)) => Err(error),
            Err(Refusal::Cell(error)) => {
                self.count.refused(line, &error);
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    pub(super) fn regular(&mut self, first_line: u64, rows: &TextRows<'_>) -> Result<ControlFlow<()>> {
        let Rows { taker, count } = self;
        let mut counted = 0;
        let flow = taker.regular(first_line, rows, &mut |row, error| {
            count.good(row - counted);
            count.refused(first_line + row as u64, &error);
            counted = row + 1;
        })?;
        count.good(rows.rows() - counted);
        Ok(flow)
    }

    /// `reason` is what rows are counted by; `expected` may say more.
    pub(super) fn bad(
        &mut self,
        line: u64,
        reason: &'static str,
        expected: &str,
        got: &str,
    ) -> Result<ControlFlow<()>> {
        self.count.bad(line, "row", reason, expected, got);
        self.taker.passed(line)
    }

    /// Tells of a bad row that is counted elsewhere.
    pub(super) fn passed(&mut self, line: u64) -> Result<ControlFlow<()>> {
        self.taker.passed(line)
    }
}

/// Hands rows to a visitor one by one.
pub(super) struct EachRow<'a, 'v> {
    pub(super) visit: &'a mut Visitor<'v>,
    /// Line of the log at which the block starts, from 1.
    pub(super) line: u64,
}

impl TakeRows for EachRow<'_, '_> {
    fn row(&mut self, line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>, Refusal> {
        (self.visit)(Found::Row { line: self.line + line, cells })
    }

    fn regular(
        &mut self,
        first_line: u64,
        rows: &TextRows<'_>,
        refuse: &mut dyn FnMut(usize, CellError),
    ) -> Result<ControlFlow<()>> {
        let mut cells = Vec::with_capacity(rows.columns());
        for row in 0..rows.rows() {
            cells.clear();
            cells.extend((0..rows.columns()).map(|column| rows.cell(row, column)));
            match self.row(first_line + row as u64, &cells) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(end) => return Ok(end),
                Err(Refusal::Stop(error)) => return Err(error),
                Err(Refusal::Cell(error)) => refuse(row, error),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn passed(&mut self, line: u64) -> Result<ControlFlow<()>> {
        match (self.visit)(Found::Bad { line: self.line + line }) {
            Ok(flow) => Ok(flow),
            Err(Refusal::Stop(error)) => Err(error),
            Err(Refusal::Cell(error)) => Err(Error::Bug(format!("a bad row was refused again: {error:?}"))),
        }
    }
}
