//! Rows that cannot be used → counts by reason, a few examples, and a stop when they are too many.
//!
//! Blocks of rows are counted apart ([`BlockCount`]), by any thread, and then added up in order ([`BadRows::add`]), so that the
//! count, the examples and the row at which reading stops do not depend on threads or blocks.

use crate::error::{Error, Result};
use crate::learn::dataset::BadRowsRecord;
use crate::model::row::CellError;

/// Share of bad rows that is borne by default.
pub const MAX_BAD_ROWS: f64 = 0.01;

/// Rows seen before the share is looked at: a burst at the very start says little.
const FIRST_LOOK: u64 = 1_000;
/// Examples kept.
const EXAMPLES: usize = 10;

/// Counts the bad rows of one or more logs.
#[derive(Debug, Clone)]
pub struct BadRows {
    max_share: f64,
    rows: u64,
    record: BadRowsRecord,
}

impl BadRows {
    /// Bears bad rows up to a share of all rows, 0 to 1; rounded up to whole rows, so that any share above 0 bears one.
    ///
    /// # Errors
    /// Config when the share is not in 0 to 1.
    pub fn new(max_share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&max_share) {
            let message = format!("expected a share of rows from 0 to 1, got {max_share}");
            return Err(Error::config("--max-bad-rows", "max_bad_rows", message));
        }
        Ok(BadRows { max_share, rows: 0, record: BadRowsRecord::default() })
    }

    /// Rows seen, bad ones included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What was counted so far.
    pub fn record(&self) -> &BadRowsRecord {
        &self.record
    }

    /// Adds the rows of a block whose first line is line `line` of `file`.
    ///
    /// # Errors
    /// Data when there are too many bad ones by some row of the block.
    pub(super) fn add(&mut self, file: &str, line: u64, block: &BlockCount) -> Result<()> {
        let before = self.rows;
        for bad in &block.bad {
            self.rows = before + bad.row;
            self.record.count += 1;
            match self.record.by_expectation.get_mut(bad.reason) {
                Some(count) => *count += 1,
                None => {
                    self.record.by_expectation.insert(bad.reason.to_owned(), 1);
                }
            }
            if self.record.examples.len() < EXAMPLES {
                self.record.examples.push(format!("{file}:{}: {}", line + bad.line, bad.example));
            }
            if self.rows >= FIRST_LOOK {
                self.check(file)?;
            }
        }
        self.rows = before + block.rows;
        Ok(())
    }

    /// To be called after the last row of the last log; `place` is named in errors.
    ///
    /// # Errors
    /// Data when too many rows are bad, or no row is good.
    pub fn finish(&self, place: &str) -> Result<()> {
        self.check(place)?;
        match self.rows == self.record.count {
            true if self.rows == 0 => Err(Error::data(place, "expected rows, got none")),
            true => Err(Error::data(place, format!("expected a usable row, got none{}", self.explained()))),
            false => Ok(()),
        }
    }

    fn check(&self, place: &str) -> Result<()> {
        if self.record.count as f64 <= (self.max_share * self.rows as f64).ceil() {
            return Ok(());
        }
        let (count, rows) = (self.record.count, self.rows);
        let share = 100.0 * count as f64 / rows as f64;
        let message = format!(
            "{count} of the first {rows} rows are bad ({share:.1} %, max_bad_rows is {:.1} %){}",
            100.0 * self.max_share,
            self.explained()
        );
        Err(Error::data(place, message))
    }

    /// Reasons and examples as an error shows them.
    fn explained(&self) -> String {
        let reasons =
            self.record.by_expectation.iter().map(|(reason, count)| format!("\n  {count} × expected {reason}"));
        let examples = self.record.examples.iter().take(3).map(|example| format!("\n  {example}"));
        reasons.chain(examples).collect()
    }
}

/// Counts the rows of one block.
#[derive(Debug, Default)]
pub(super) struct BlockCount {
    rows: u64,
    bad: Vec<BadRow>,
}

#[derive(Debug)]
struct BadRow {
    /// Its number in the block, from 1.
    row: u64,
    /// Lines of the block before it.
    line: u64,
    /// What rows are counted by.
    reason: &'static str,
    /// What is shown of it; empty where the block has examples enough.
    example: String,
}

impl BlockCount {
    /// Counts `rows` good rows.
    #[inline]
    pub(super) fn good(&mut self, rows: usize) {
        self.rows += rows as u64;
    }

    /// Counts a bad row, `line` lines into the block. `reason` is what rows are counted by; `expected` may say more.
    #[cold]
    pub(super) fn bad(&mut self, line: u64, field: &str, reason: &'static str, expected: &str, got: &str) {
        let example = match self.bad.len() < EXAMPLES {
            true => format!("{field}: expected {expected}, got {got}"),
            false => String::new(),
        };
        self.rows += 1;
        self.bad.push(BadRow { row: self.rows, line, reason, example });
    }

    /// Counts a row with a cell that cannot be used.
    #[cold]
    pub(super) fn refused(&mut self, line: u64, error: &CellError) {
        self.bad(line, &error.field, error.expected, error.expected, &error.got);
    }

    /// Lines of the block in which bad rows start.
    pub(super) fn bad_lines(&self) -> impl Iterator<Item = u64> {
        self.bad.iter().map(|bad| bad.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(max_share: f64, rows: u64, bad: u64) -> (BadRows, Result<()>) {
        let mut count = BadRows::new(max_share).unwrap();
        for first in (0..rows).step_by(300) {
            let mut block = BlockCount::default();
            for row in first..rows.min(first + 300) {
                match row < bad {
                    true => block.bad(row - first, "y", "label 0 or 1", "label 0 or 1", "\"x\""),
                    false => block.good(1),
                }
            }
            if let Err(error) = count.add("f", first + 1, &block) {
                return (count, Err(error));
            }
        }
        let end = count.finish("f");
        (count, end)
    }

    #[test]
    fn shares_round_up_to_whole_rows() {
        assert!(with(0.01, 20, 1).1.is_ok());
        assert!(with(0.01, 20, 2).1.is_err());
        assert!(with(0.01, 1_000, 10).1.is_ok());
        assert!(with(0.01, 1_000, 11).1.is_err());
        assert!(with(0.0, 1_000, 1).1.is_err());
        assert!(with(1.0, 10, 9).1.is_ok());
        assert!(with(1.0, 10, 10).1.is_err(), "no good row");
        assert!(with(0.5, 0, 0).1.is_err(), "no row");
        assert!(BadRows::new(1.5).is_err() && BadRows::new(f64::NAN).is_err());
    }

    #[test]
    fn stops_early_and_explains() {
        let (count, end) = with(0.01, 1_000_000, 1_000_000);
        assert_eq!(count.rows(), FIRST_LOOK);
        assert_eq!(count.record().examples.len(), EXAMPLES);
        let message = end.unwrap_err().to_string();
        assert!(message.contains("1000 × expected label 0 or 1"), "{message}");
        assert!(message.contains("f:1: y: expected label 0 or 1, got \"x\""), "{message}");
    }
}
