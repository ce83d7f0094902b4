//! A bundle and a log → one calibrated probability for each row, in order.
//!
//! Labels are not needed. A row that cannot be used is counted like any bad row and answered with `NaN`, so that line n
//! of the answer always belongs to row n of the log.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Interrupt;
use super::source::{BadRows, Found, Input, Progress, Reading, Refusal, read_rows};
use crate::error::{Error, Result};
use crate::model::Threads;
use crate::model::bundle::{Bundle, ScoreScratch};

/// Rows scored together.
const BLOCK_ROWS: usize = 16_384;
/// Rows one thread scores at a time.
const PIECE_ROWS: usize = 1_024;

/// Scores every row of `input` and writes `p` and one probability a row to `out` (each the shortest decimal that reads
/// back as the same bits). Returns the number of rows.
///
/// # Errors
/// Those of [`read_rows`]; io when `out` cannot be written.
pub fn score(
    bundle: &Bundle,
    input: &Input,
    bad: &mut BadRows,
    threads: Threads<'_>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
    interrupt: &Interrupt,
) -> Result<u64> {
    let width = bundle.encoder.width();
    let mut block = Block::default();
    let mut rows = 0;
    let write_error = |source| Error::Io { path: "predictions".into(), action: "write", source };
    out.write_all(b"p\n").map_err(write_error)?;
    let reading = Reading { schema: &bundle.schema, targets: false, interrupt };
    let mut visit = |found: Found<'_>| -> Result<ControlFlow<()>, Refusal> {
        rows += 1;
        let mut refused = None;
        let usable = match found {
            Found::Bad { .. } => false,
            Found::Row { cells, .. } => {
                let start = block.codes.len();
                block.codes.resize(start + width, 0);
                let encoded = bundle.encoder.encode(cells, &mut block.codes[start..]);
                if let Err(error) = encoded {
                    block.codes.truncate(start);
                    refused = Some(error);
                }
                refused.is_none()
            }
        };
        block.usable.push(usable);
        if block.usable.len() == BLOCK_ROWS {
            block.flush(bundle, width, threads, out).map_err(write_error)?;
        }
        match refused {
            Some(error) => Err(Refusal::Cell(error)),
            None => Ok(ControlFlow::Continue(())),
        }
    };
    read_rows(input, reading, bad, progress, &mut visit)?;
    block.flush(bundle, width, threads, out).map_err(write_error)?;
    bad.finish(input.name())?;
    out.flush().map_err(write_error)?;
    Ok(rows)
}

/// Rows waiting to be scored: the codes of the usable ones, and which ones those are.
#[derive(Default)]
struct Block {
    codes: Vec<u32>,
    usable: Vec<bool>,
    /// Buffers of the threads, kept from block to block; any of them serves any piece.
    scratches: Mutex<Vec<ScoreScratch>>,
}

impl Block {
    fn flush(
        &mut self,
        bundle: &Bundle,
        width: usize,
        threads: Threads<'_>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let mut codes = &self.codes[..];
        let mut pieces = Vec::with_capacity(self.usable.len().div_ceil(PIECE_ROWS));
        for usable in self.usable.chunks(PIECE_ROWS) {
            let (of_piece, rest) = codes.split_at(usable.iter().filter(|usable| **usable).count() * width);
            pieces.push((of_piece, usable));
            codes = rest;
        }
        // A number becomes text where it was computed: that takes as long as a small model's score.
        let texts = threads.map(pieces, |(codes, usable)| {
            let mut scratch = self.scratches().pop().unwrap_or_default();
            let mut probabilities = Vec::with_capacity(usable.len());
            bundle.score(codes, &mut scratch, &mut probabilities);
            self.scratches().push(scratch);
            text(usable, &probabilities)
        });
        texts.iter().try_for_each(|text| out.write_all(text.as_bytes()))?;
        self.codes.clear();
        self.usable.clear();
        Ok(())
    }

    fn scratches(&self) -> MutexGuard<'_, Vec<ScoreScratch>> {
        // Buffers hold nothing that a panic elsewhere could leave half done.
        self.scratches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line for each row: the probability of a usable one, else NaN.
fn text(usable: &[bool], probabilities: &[f64]) -> String {
    // "0." and 17 digits or a few more.
    let mut text = String::with_capacity(usable.len() * 22);
    let mut probabilities = probabilities.iter();
    for usable in usable {
        match usable {
            true => {
                let probability = probabilities.next().expect("each usable row was scored");
                writeln!(text, "{probability}").expect("a string takes everything");
            }
            false => text.push_str("NaN\n"),
        }
    }
    text
}
