//! A bundle and a log → one calibrated probability for each row, in order.
//!
//! Labels are not needed. A row that cannot be used is counted like any bad row and answered with `NaN`, so that line n
//! of the answer always belongs to row n of the log. Threads share the blocks of the log, and whoever parses a block scores it
//! and writes its numbers as text; one thread at a time hands texts on, in order.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;

use super::Interrupt;
use super::source::{BLOCK, BadRows, Input, Progress, Reading, Refusal, TakeRows, read_blocks};
use crate::error::{Error, Result};
use crate::model::Threads;
use crate::model::bundle::{Bundle, ScoreScratch, Tier};
use crate::model::features::{ColumnEncoder, ColumnScratch};
use crate::model::row::{Cell, CellError, TextRows};

/// Scores every row of `input` by one tier of a bundle and writes `p` and one probability a row to `out` (each the shortest decimal that reads
/// back as the same bits). Returns the number of rows.
///
/// # Errors
/// Those of [`read_blocks`]; bundle when it does not have the tier; io when `out` cannot be written.
pub fn score(
    (bundle, tier): (&Bundle, Tier),
    input: &Input,
    bad: &mut BadRows,
    threads: Threads<'_>,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(Progress) + Send),
    interrupt: &Interrupt,
) -> Result<u64> {
    bundle.check_tier(tier)?;
    let mut rows = 0;
    let write_error = |source| Error::Io { path: "predictions".into(), action: "write", source };
    out.write_all(b"p\n").map_err(write_error)?;
    let columns = ColumnEncoder::new(&bundle.encoder);
    let reading = Reading { schema: &bundle.schema, targets: false, interrupt };
    let make = || BlockScorer::new(bundle, tier, &columns);
    let mut take = |scorer: &mut BlockScorer<'_>| {
        rows += scorer.usable.len() as u64;
        out.write_all(scorer.text.as_bytes()).map_err(write_error)?;
        scorer.clear();
        Ok(())
    };
    read_blocks(input, reading, BLOCK, bad, threads, progress, &make, &mut take)?;
    bad.finish(input.name())?;
    out.flush().map_err(write_error)?;
    Ok(rows)
}

/// Scores the rows of a block.
struct BlockScorer<'a> {
    bundle: &'a Bundle,
    tier: Tier,
    columns: &'a ColumnEncoder,
    cells: ColumnScratch,
    /// Codes of all rows; of those that cannot be used it does not matter which, they are scored and not told.
    codes: Vec<u32>,
    usable: Vec<bool>,
    refused: Vec<usize>,
    probabilities: Vec<f64>,
    scratch: ScoreScratch,
    /// One line for each row, once the block has ended.
    text: String,
}

impl<'a> BlockScorer<'a> {
    fn new(bundle: &'a Bundle, tier: Tier, columns: &'a ColumnEncoder) -> Self {
        BlockScorer {
            bundle,
            tier,
            columns,
            cells: ColumnScratch::default(),
            codes: Vec::new(),
            usable: Vec::new(),
            refused: Vec::new(),
            probabilities: Vec::new(),
            scratch: ScoreScratch::default(),
            text: String::new(),
        }
    }

    /// Room for the codes of `rows` more rows, which are taken to be usable.
    fn grow(&mut self, rows: usize) -> &mut [u32] {
        let start = self.codes.len();
        self.usable.resize(self.usable.len() + rows, true);
        self.codes.resize(start + rows * self.bundle.encoder.width(), 0);
        &mut self.codes[start..]
    }

    fn clear(&mut self) {
        self.codes.clear();
        self.usable.clear();
        self.text.clear();
    }
}

impl TakeRows for BlockScorer<'_> {
    fn row(&mut self, _line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>, Refusal> {
        let encoder = &self.bundle.encoder;
        let encoded = encoder.encode(cells, self.grow(1));
        *self.usable.last_mut().expect("a row was added") = encoded.is_ok();
        encoded?;
        Ok(ControlFlow::Continue(()))
    }

    fn regular(
        &mut self,
        _first_line: u64,
        rows: &TextRows<'_>,
        refuse: &mut dyn FnMut(usize, CellError),
    ) -> Result<ControlFlow<()>> {
        let before = self.usable.len();
        let mut refused = std::mem::take(&mut self.refused);
        refused.clear();
        let (columns, mut cells) = (self.columns, std::mem::take(&mut self.cells));
        columns.encode(rows, &mut cells, self.grow(rows.rows()), &mut refused);
        self.cells = cells;
        refused.sort_unstable();
        refused.dedup();
        for &row in &refused {
            let cells: Vec<Cell<'_>> = (0..rows.columns()).map(|column| rows.cell(row, column)).collect();
            let error = self.bundle.encoder.encode(&cells, &mut vec![0; self.bundle.encoder.width()]).err();
            refuse(row, error.ok_or_else(|| Error::Bug("a good row was refused among its neighbors".into()))?);
            self.usable[before + row] = false;
        }
        self.refused = refused;
        Ok(ControlFlow::Continue(()))
    }

    fn passed(&mut self, _line: u64) -> Result<ControlFlow<()>> {
        self.grow(1);
        *self.usable.last_mut().expect("a row was added") = false;
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self) {
        self.probabilities.clear();
        self.bundle.score_tier(self.tier, &self.codes, &mut self.scratch, &mut self.probabilities);
        for (probability, usable) in self.probabilities.iter().zip(&self.usable) {
            match usable {
                true => writeln!(self.text, "{probability}").expect("a string takes everything"),
                false => self.text.push_str("NaN\n"),
            }
        }
    }
}
