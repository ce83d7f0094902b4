//! A log → pieces, cut one after the other, whose rows can then be read by any thread.
//!
//! Text is cut into blocks of whole records, Parquet is decoded into batches of columns.

use std::ops::ControlFlow;

use arrow_array::RecordBatch;

use super::blocks::{Block, Blocks};
use super::open::{self, Failure, Opened};
use super::rows::Rows;
use super::{Input, Reading, parquet, text};
use crate::error::Result;
use crate::learn::dataset::InputRecord;

/// What all pieces of a log have in common.
pub(super) enum Shape {
    Text(text::Columns),
    Parquet(parquet::Places),
}

/// What is left of a log.
pub(super) enum Stream {
    Text(Blocks),
    Parquet(parquet::Batches),
}

/// Some neighboring rows.
pub(super) enum Piece {
    Text(Block),
    Batch { batch: RecordBatch, bytes_read: u64 },
}

/// Opens a log that is cut into blocks of about `block` bytes, if it is text.
pub(super) fn open(input: &Input, reading: Reading<'_>, block: usize) -> Result<(Shape, Stream)> {
    match open::open(input)? {
        Opened::Parquet(file) => {
            let (places, batches) = parquet::open(input, file, reading)?;
            Ok((Shape::Parquet(places), Stream::Parquet(batches)))
        }
        Opened::Text(source) => {
            let mut blocks = Blocks::new(source, reading.schema.text.delimiter, block);
            let columns = text::Columns::read(&mut blocks, reading)?;
            Ok((Shape::Text(columns), Stream::Text(blocks)))
        }
    }
}

impl Stream {
    /// Line (or row) at which the first piece starts, from 1.
    pub(super) fn first_line(&self) -> u64 {
        match self {
            Stream::Text(blocks) => blocks.first_line(),
            Stream::Parquet(_) => 1,
        }
    }

    /// The next piece, in the memory of an earlier one; `None` at the end.
    pub(super) fn next(&mut self, space: Vec<u8>) -> Result<Option<Piece>, Failure> {
        match self {
            Stream::Text(blocks) => Ok(blocks.next(space)?.map(Piece::Text)),
            Stream::Parquet(batches) => batches.next(),
        }
    }

    /// What was read so far, as the manifest keeps it.
    pub(super) fn record(self) -> InputRecord {
        match self {
            Stream::Text(blocks) => blocks.into_source().record(),
            Stream::Parquet(batches) => batches.record(),
        }
    }
}

impl Piece {
    /// Stored bytes read when it was cut.
    pub(super) fn bytes_read(&self) -> u64 {
        match self {
            Piece::Text(block) => block.bytes_read,
            Piece::Batch { bytes_read, .. } => *bytes_read,
        }
    }

    /// Bytes of its rows, unpacked.
    pub(super) fn size(&self) -> u64 {
        match self {
            Piece::Text(block) => block.length() as u64,
            Piece::Batch { batch, .. } => batch.get_array_memory_size() as u64,
        }
    }

    /// Hands its rows on; the number of its lines.
    pub(super) fn rows(
        &mut self,
        shape: &Shape,
        reading: Reading<'_>,
        file: &str,
        scratch: &mut text::Scratch,
        rows: &mut Rows<'_>,
    ) -> Result<ControlFlow<(), u64>> {
        match (self, shape) {
            (Piece::Text(block), Shape::Text(columns)) => text::rows(block, columns, scratch, rows),
            (Piece::Batch { batch, .. }, Shape::Parquet(places)) => {
                parquet::rows(batch, places, reading.schema, file, rows)
            }
            _ => unreachable!("a log is text or Parquet"),
        }
    }

    /// Memory for another piece.
    pub(super) fn into_space(self) -> Vec<u8> {
        match self {
            Piece::Text(block) => block.into_space(),
            Piece::Batch { .. } => Vec::new(),
        }
    }
}
