//! A stream of bytes → blocks of whole records.
//!
//! A record ends at a newline outside quotes. Where a block holds no quote, that is its last newline; else records are
//! stepped through from the block's start, which is always the start of a record.

use memchr::{memchr, memchr_iter, memrchr};

use super::bad_rows::BlockCount;
use super::open::{Failure, Source};

/// Longest line: a longer one is one bad row.
pub(super) const MAX_LINE: usize = 1 << 20;
/// Usual size of a block: text, places and codes of one fit into the second-level cache.
pub const BLOCK: usize = 1 << 18;

const TOO_LONG: &str = "a line of at most 1 MiB";
pub(super) const UNCLOSED: &str = "a closing quote";

/// Whole records, and the lines before them that are none.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The records, and unused space behind them.
    space: Vec<u8>,
    length: usize,
    /// Lines that were dropped before the first record, counted.
    pub(super) dropped: BlockCount,
    /// How many lines that were.
    pub(super) dropped_lines: u64,
    /// Whether cells may be quoted, and some quote is there.
    pub(super) quotes: bool,
    /// Stored bytes read when it was cut.
    pub(super) bytes_read: u64,
}

impl Block {
    /// Whole records that were cut by someone else.
    pub(super) fn of(records: Vec<u8>, delimiter: u8) -> Block {
        let quotes = may_quote(&records, delimiter);
        Block { length: records.len(), space: records, quotes, ..Block::default() }
    }

    /// Bytes of the records.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The records.
    pub(super) fn text(&mut self) -> &mut [u8] {
        &mut self.space[..self.length]
    }

    /// Memory for the next block.
    pub(super) fn into_space(self) -> Vec<u8> {
        self.space
    }
}

/// Cuts blocks.
pub(super) struct Blocks {
    source: Source,
    delimiter: u8,
    size: usize,
    /// Start of the next block.
    rest: Vec<u8>,
    first_line: u64,
}

impl Blocks {
    /// Cells may be quoted (RFC 4180) unless the delimiter is a tab: tab-separated logs are written without quotes, and a
    /// quote in them is just a character. Blocks have about `size` bytes; which rows there are does not depend on it.
    pub(super) fn new(source: Source, delimiter: u8, size: usize) -> Self {
        Blocks { source, delimiter, size: size.clamp(1, MAX_LINE), rest: Vec::new(), first_line: 1 }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// One byte between cells.
    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The first bytes, up to the longest line, without taking them.
    pub(super) fn peek(&mut self) -> Result<&[u8], Failure> {
        let before = self.rest.len();
        self.rest.resize(before.max(MAX_LINE), 0);
        let read = self.source.read(&mut self.rest[before..])?;
        self.rest.truncate(before + read);
        Ok(&self.rest)
    }

    /// Line at which the first block starts, from 1.
    pub(super) fn first_line(&self) -> u64 {
        self.first_line
    }

    pub(super) fn into_source(self) -> Source {
        self.source
    }

    /// Takes `count` of the peeked bytes.
    pub(super) fn skip(&mut self, count: usize) {
        self.first_line += memchr_iter(b'\n', &self.rest[..count]).count() as u64;
        self.rest.drain(..count);
    }

    /// The next block, in the memory `space`; `None` at the end.
    pub(super) fn next(&mut self, space: Vec<u8>) -> Result<Option<Block>, Failure> {
        let mut block = Block { space, ..Block::default() };
        // Nearly always one round: a longer line, or an open quote, asks for more.
        let mut size = self.size;
        loop {
            let at_end = self.fill(&mut block, size)?;
            block.bytes_read = self.source.bytes_read();
            if block.length == 0 {
                return Ok((block.dropped_lines > 0).then_some(block));
            }
            let text = &block.space[..block.length];
            block.quotes = may_quote(text, self.delimiter);
            let end = match at_end {
                true => Some(block.length),
                false => last_record_end(text, self.delimiter, block.quotes),
            };
            if let Some(end) = end {
                self.put_back(&text[end..]);
                block.length = end;
                return Ok(Some(block));
            }
            match block.length < MAX_LINE {
                true => size = (2 * block.length).min(MAX_LINE),
                false => {
                    self.drop_line(&mut block)?;
                    size = self.size;
                }
            }
        }
    }

    /// Fills a block up to `size` bytes with what is left, then with what is read; whether the log ends there.
    fn fill(&mut self, block: &mut Block, size: usize) -> Result<bool, Failure> {
        if block.space.len() < size {
            block.space.resize(size, 0);
        }
        let kept = self.rest.len().min(size - block.length);
        block.space[block.length..block.length + kept].copy_from_slice(&self.rest[..kept]);
        self.rest.drain(..kept);
        block.length += kept;
        if !self.rest.is_empty() {
            return Ok(false);
        }
        block.length += self.source.read(&mut block.space[block.length..size])?;
        Ok(block.length < size)
    }

    /// Puts bytes back before what is left.
    fn put_back(&mut self, bytes: &[u8]) {
        self.rest.splice(..0, bytes.iter().copied());
    }

    /// Drops the first line of a block in which no record ends: one long line, or a quote that is never closed.
    fn drop_line(&mut self, block: &mut Block) -> Result<(), Failure> {
        let Block { space, length, dropped, dropped_lines, .. } = block;
        let text = &space[..*length];
        if let Some(newline) = memchr(b'\n', text) {
            let got = format!("a cell that starts {:?} and goes on", shown(&text[..newline]));
            dropped.bad(*dropped_lines, "row", UNCLOSED, UNCLOSED, &got);
            self.put_back(&text[newline + 1..]);
        } else {
            let start = shown(text);
            let mut total = *length;
            loop {
                let read = self.source.read(&mut space[..MAX_LINE])?;
                let newline = memchr(b'\n', &space[..read]);
                total += newline.unwrap_or(read);
                if let Some(newline) = newline {
                    self.put_back(&space[newline + 1..read]);
                }
                if newline.is_some() || read == 0 {
                    break;
                }
            }
            let got = format!("{total} bytes that start {start:?}");
            dropped.bad(*dropped_lines, "row", TOO_LONG, TOO_LONG, &got);
        }
        *dropped_lines += 1;
        *length = 0;
        Ok(())
    }
}

/// The start of a line, as errors show it.
pub(super) fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned()
}

/// Whether some cell may be quoted.
fn may_quote(text: &[u8], delimiter: u8) -> bool {
    delimiter != b'\t' && memchr(b'"', text).is_some()
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
