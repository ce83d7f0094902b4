//! A stream of bytes → blocks of whole records.
//!
//! A record ends at a newline outside quotes. Where a block holds no quote, that is its last newline; else records are
//! stepped through from the block's start, which is always the start of a record.

use memchr::{memchr, memchr_iter, memrchr};

use super::Rows;
use super::open::Source;
use crate::error::Result;

/// Longest line, and size of a block: a longer line is one bad row.
pub(super) const MAX_LINE: usize = 1 << 20;

const TOO_LONG: &str = "a line of at most 1 MiB";
pub(super) const UNCLOSED: &str = "a closing quote";

/// Whole records.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Line of the first record, from 1.
    pub(super) first_line: u64,
    /// Whether cells may be quoted, and some quote is there.
    pub(super) quotes: bool,
}

/// Cuts blocks.
pub(super) struct Blocks {
    source: Source,
    delimiter: u8,
    /// Start of the next block.
    rest: Vec<u8>,
    line: u64,
    spare: Vec<u8>,
}

impl Blocks {
    /// Cells may be quoted (RFC 4180) unless the delimiter is a tab: tab-separated logs are written without quotes, and a
    /// quote in them is just a character.
    pub(super) fn new(source: Source, delimiter: u8) -> Self {
        Blocks { source, delimiter, rest: Vec::new(), line: 1, spare: Vec::new() }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn into_source(self) -> Source {
        self.source
    }

    /// One byte between cells.
    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// Gives a block's memory back.
    pub(super) fn reuse(&mut self, block: Block) {
        self.spare = block.bytes;
    }

    /// The first bytes of what is left, up to one block, without taking them.
    pub(super) fn peek(&mut self) -> Result<&[u8]> {
        let missing = MAX_LINE - self.rest.len().min(MAX_LINE);
        self.source.read(&mut self.rest, missing, self.line)?;
        Ok(&self.rest)
    }

    /// Takes `count` of the peeked bytes, which are whole lines.
    pub(super) fn skip(&mut self, count: usize) {
        self.line += newlines(&self.rest[..count]);
        self.rest.drain(..count);
    }

    /// The next block; lines that are too long are counted in `rows`. `None` at the end.
    pub(super) fn next(&mut self, rows: &mut Rows<'_, '_>) -> Result<Option<Block>> {
        loop {
            let mut bytes = std::mem::take(&mut self.spare);
            bytes.clear();
            bytes.append(&mut self.rest);
            let at_end = bytes.len() < MAX_LINE && {
                let missing = MAX_LINE - bytes.len();
                self.source.read(&mut bytes, missing, self.line)? < missing
            };
            if bytes.is_empty() {
                return Ok(None);
            }
            let quotes = self.delimiter != b'\t' && memchr(b'"', &bytes).is_some();
            let end = match at_end {
                true => Some(bytes.len()),
                false => last_record_end(&bytes, self.delimiter, quotes),
            };
            if let Some(end) = end {
                self.rest.extend_from_slice(&bytes[end..]);
                bytes.truncate(end);
                let block = Block { first_line: self.line, quotes, bytes };
                self.line += newlines(&block.bytes);
                return Ok(Some(block));
            }
            if self.drop_line(bytes, rows)?.is_break() {
                return Ok(None);
            }
        }
    }

    /// Drops the first line of a block in which no record ends: one long line, or a quote that is never closed.
    fn drop_line(&mut self, mut bytes: Vec<u8>, rows: &mut Rows<'_, '_>) -> Result<std::ops::ControlFlow<()>> {
        let line = self.line;
        self.line += 1;
        if let Some(newline) = memchr(b'\n', &bytes) {
            let got = format!("a cell that starts {:?} and goes on", shown(&bytes[..newline]));
            self.rest.extend_from_slice(&bytes[newline + 1..]);
            return rows.bad(line, UNCLOSED, UNCLOSED, &got);
        }
        let mut length = bytes.len();
        let start = shown(&bytes);
        loop {
            bytes.clear();
            let read = self.source.read(&mut bytes, MAX_LINE, line)?;
            let newline = memchr(b'\n', &bytes);
            length += newline.unwrap_or(read);
            if let Some(newline) = newline {
                self.rest.extend_from_slice(&bytes[newline + 1..]);
            }
            if newline.is_some() || read == 0 {
                self.spare = bytes;
                return rows.bad(line, TOO_LONG, TOO_LONG, &format!("{length} bytes that start {start:?}"));
            }
        }
    }
}

/// The start of a line, as errors show it.
pub(super) fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned()
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

fn last_record_end(bytes: &[u8], delimiter: u8, quotes: bool) -> Option<usize> {
    if !quotes {
        return memrchr(b'\n', bytes).map(|newline| newline + 1);
    }
    let mut end = 0;
    while let RecordEnd::At(length) = record_end(&bytes[end..], delimiter) {
        end += length;
    }
    (end > 0).then_some(end)
}

/// Where a record that may hold quoted cells ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RecordEnd {
    /// Behind its newline.
    At(usize),
    /// Nowhere yet; at the end of a file, there.
    Open,
    /// Nowhere, and a quote is still open.
    OpenQuote,
}

/// End of the first record, by RFC 4180: a cell is quoted when it starts with a quote, and a doubled quote in it stands
/// for one.
pub(super) fn record_end(bytes: &[u8], delimiter: u8) -> RecordEnd {
    let mut at = 0;
    let mut cell_starts = true;
    while at < bytes.len() {
        match bytes[at] {
            b'"' if cell_starts => {
                let Some(close) = closing_quote(bytes, at) else { return RecordEnd::OpenQuote };
                at = close + 1;
                cell_starts = false;
            }
            b'\n' => return RecordEnd::At(at + 1),
            byte => {
                cell_starts = byte == delimiter;
                at += 1;
            }
        }
    }
    RecordEnd::Open
}

/// Place of the quote that closes the one at `open`.
pub(super) fn closing_quote(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr(b'"', &bytes[at..])?;
        match bytes.get(at + 1) {
            Some(b'"') => at += 2,
            _ => return Some(at),
        }
    }
}
