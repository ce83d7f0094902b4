//! A bundle and a log → one calibrated probability for each row, in order.
//!
//! Labels are not needed. A row that cannot be used is counted like any bad row and answered with `NaN`, so that line n
//! of the answer always belongs to row n of the log.

use std::io::Write;
use std::ops::ControlFlow;

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
    text: Vec<u8>,
}

impl Block {
    fn flush(
        &mut self,
        bundle: &Bundle,
        width: usize,
        threads: Threads<'_>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let pieces: Vec<&[u32]> = self.codes.chunks(PIECE_ROWS * width).collect();
        let scored = threads.map(pieces, |codes| {
            let mut probabilities = Vec::with_capacity(codes.len() / width);
            bundle.score(codes, &mut ScoreScratch::default(), &mut probabilities);
            probabilities
        });
        let mut probabilities = scored.into_iter().flatten();
        self.text.clear();
        for usable in self.usable.drain(..) {
            match usable {
                true => {
                    let probability = probabilities.next().expect("each usable row was scored");
                    writeln!(self.text, "{probability}")?;
                }
                false => self.text.extend_from_slice(b"NaN\n"),
            }
        }
        self.codes.clear();
        out.write_all(&self.text)
    }
}
