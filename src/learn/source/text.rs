//! Blocks of text → rows of cells.

use std::ops::ControlFlow;

use memchr::{memchr, memchr_iter};

use super::blocks::{Block, Blocks, MAX_LINE, RecordEnd, UNCLOSED, closing_quote, record_end};
use super::{Reading, Rows};
use crate::error::{Error, Result, nearest};
use crate::model::row::Cell;

const COLUMNS: &str = "the log's number of columns";
const AFTER_QUOTE: &str = "a delimiter after a closing quote";
const IGNORED: usize = usize::MAX;

/// Which column of the file is which column of the schema.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    delimiter: u8,
    /// For each column of the file, its column in the schema, or [`IGNORED`].
    places: Vec<usize>,
    /// Columns in the schema.
    width: usize,
}

impl Columns {
    /// Reads the header, or counts the columns of the first line.
    ///
    /// # Errors
    /// Data when the file is empty, or the header lacks columns or names one twice.
    pub(super) fn read(blocks: &mut Blocks, reading: Reading<'_>) -> Result<Columns> {
        let delimiter = blocks.delimiter();
        let schema = reading.schema;
        let name = blocks.source().input().name().to_owned();
        let start = blocks.peek()?;
        let bom: &[u8] = b"\xef\xbb\xbf";
        let bom = if start.starts_with(bom) { bom.len() } else { 0 };
        if start.len() == bom {
            return Err(Error::data(name, "expected rows, got an empty file"));
        }
        let quotes = delimiter != b'\t';
        let end = match quotes {
            true => record_end(&start[bom..], delimiter),
            false => memchr(b'\n', &start[bom..]).map_or(RecordEnd::Open, |newline| RecordEnd::At(newline + 1)),
        };
        let end = match end {
            RecordEnd::At(length) => bom + length,
            RecordEnd::Open | RecordEnd::OpenQuote => start.len(),
        };
        if schema.text.header && end == MAX_LINE {
            return Err(Error::data(format!("{name}:1"), "expected a header, got a line that does not end"));
        }
        let mut names = Vec::new();
        let mut line = start[bom..end].to_vec();
        split(without_line_end(&mut line), delimiter, quotes, |cell| {
            names.push(String::from_utf8_lossy(cell).trim().to_owned())
        })
        .or_else(|expected| match schema.text.header {
            true => Err(Error::data(format!("{name}:1"), format!("expected {expected} in the header"))),
            false => Ok(()),
        })?;

        let width = schema.columns.len();
        if schema.text.header {
            blocks.skip(end);
            return Ok(Columns { delimiter, places: header(&names, &name, reading)?, width });
        }
        blocks.skip(bom);
        let mut places: Vec<usize> = (0..width).collect();
        if !reading.targets && names.len() + 1 == width {
            places.remove(schema.label);
        }
        Ok(Columns { delimiter, places, width })
    }
}

/// Finds the schema's columns among the names of a header.
fn header(names: &[String], file: &str, reading: Reading<'_>) -> Result<Vec<usize>> {
    let place = || format!("{file}:1");
    let columns = &reading.schema.columns;
    let places: Vec<usize> = names.iter().map(|name| reading.schema.column(name).unwrap_or(IGNORED)).collect();
    for (position, column) in places.iter().enumerate() {
        if *column != IGNORED && places[..position].contains(column) {
            return Err(Error::data(place(), format!("expected each column once, got {:?} twice", columns[*column])));
        }
    }
    let missing: Vec<&str> = (0..columns.len())
        .filter(|column| reading.needs(*column) && !places.contains(column))
        .map(|column| columns[column].as_str())
        .collect();
    let Some(first) = missing.first() else { return Ok(places) };
    let hint = nearest(first, names.iter().map(String::as_str));
    let others = match missing.len() {
        1 => String::new(),
        count => format!(" and {} more of schema {}", count - 1, reading.schema.name),
    };
    let mut got = names.join(", ");
    if let Some((end, _)) = got.char_indices().nth(200) {
        got.truncate(end);
        got.push('…');
    }
    let message = format!("the header lacks the column {first:?}{others}{hint}; got {got}");
    Err(Error::data(place(), message))
}

/// Hands the rows of a block to `rows`. Empty lines are no rows.
///
/// # Errors
/// Data when too many rows are bad; those of the visitor.
pub(super) fn rows(block: &mut Block, columns: &Columns, rows: &mut Rows<'_, '_>) -> Result<ControlFlow<()>> {
    match block.quotes {
        false => plain_rows(block, columns, rows),
        true => quoted_rows(block, columns, rows),
    }
}

fn plain_rows(block: &Block, columns: &Columns, rows: &mut Rows<'_, '_>) -> Result<ControlFlow<()>> {
    let mut cells = vec![Cell::Missing; columns.width];
    let mut rest = block.bytes.as_slice();
    let mut number = block.first_line;
    while !rest.is_empty() {
        let (line, next) = match memchr(b'\n', rest) {
            Some(newline) => (&rest[..newline], &rest[newline + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = next;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            let mut count = 0;
            let mut start = 0;
            for (at, byte) in line.iter().enumerate() {
                if *byte == columns.delimiter {
                    columns.set(&mut cells, count, &line[start..at]);
                    count += 1;
                    start = at + 1;
                }
            }
            columns.set(&mut cells, count, &line[start..]);
            if columns.row(number, count + 1, &cells, rows)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        number += 1;
    }
    Ok(ControlFlow::Continue(()))
}

fn quoted_rows(block: &mut Block, columns: &Columns, rows: &mut Rows<'_, '_>) -> Result<ControlFlow<()>> {
    let mut cells = vec![Cell::Missing; columns.width];
    let mut rest = block.bytes.as_mut_slice();
    let mut number = block.first_line;
    while !rest.is_empty() {
        let end = record_end(rest, columns.delimiter);
        let length = match end {
            RecordEnd::At(length) => length,
            RecordEnd::Open => rest.len(),
            // Only the last record of a file is open here; what follows its first line may well be whole records.
            RecordEnd::OpenQuote => memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1),
        };
        let (record, next) = std::mem::take(&mut rest).split_at_mut(length);
        rest = next;
        let lines = memchr_iter(b'\n', record).count().max(1) as u64;
        let record = without_line_end(record);
        if !record.is_empty() {
            let mut count = 0;
            let split = split(record, columns.delimiter, true, |cell| {
                columns.set(&mut cells, count, cell);
                count += 1;
            });
            let flow = match split {
                Ok(()) => columns.row(number, count, &cells, rows)?,
                Err(expected) => {
                    rows.bad(number, expected, expected, &format!("something else behind cell {count}"))?
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        number += lines;
    }
    Ok(ControlFlow::Continue(()))
}

impl Columns {
    #[inline]
    fn set<'a>(&self, cells: &mut [Cell<'a>], column: usize, cell: &'a [u8]) {
        if let Some(place) = self.places.get(column)
            && let Some(place) = cells.get_mut(*place)
        {
            *place = if cell.is_empty() { Cell::Missing } else { Cell::Text(cell) };
        }
    }

    #[inline]
    fn row(&self, line: u64, count: usize, cells: &[Cell<'_>], rows: &mut Rows<'_, '_>) -> Result<ControlFlow<()>> {
        if count == self.places.len() {
            return rows.good(line, cells);
        }
        rows.bad(line, COLUMNS, &format!("{} columns", self.places.len()), &format!("{count}"))
    }
}

/// Cells of one record; quoted ones are unpacked in place.
///
/// # Errors
/// What was expected where a quoted cell is broken.
fn split<'a>(
    mut record: &'a mut [u8],
    delimiter: u8,
    quotes: bool,
    mut cell: impl FnMut(&'a [u8]),
) -> Result<(), &'static str> {
    loop {
        if quotes && record.first() == Some(&b'"') {
            let close = closing_quote(record, 0).ok_or(UNCLOSED)?;
            let (quoted, rest) = std::mem::take(&mut record).split_at_mut(close + 1);
            cell(unpack(&mut quoted[1..close]));
            match rest.split_first_mut() {
                None => return Ok(()),
                Some((byte, rest)) if *byte == delimiter => record = rest,
                Some(_) => return Err(AFTER_QUOTE),
            }
        } else {
            let Some(end) = memchr(delimiter, record) else {
                cell(record);
                return Ok(());
            };
            let (plain, rest) = std::mem::take(&mut record).split_at_mut(end);
            cell(plain);
            record = &mut rest[1..];
        }
    }
}

/// Doubled quotes → single ones.
fn unpack(quoted: &mut [u8]) -> &[u8] {
    let Some(first) = memchr(b'"', quoted) else { return quoted };
    let (mut from, mut to) = (first, first);
    while from < quoted.len() {
        quoted[to] = quoted[from];
        from += if quoted[from] == b'"' { 2 } else { 1 };
        to += 1;
    }
    &quoted[..to]
}

fn without_line_end(record: &mut [u8]) -> &mut [u8] {
    let mut end = record.len();
    if record.ends_with(b"\n") {
        end -= 1;
    }
    if record[..end].ends_with(b"\r") {
        end -= 1;
    }
    &mut record[..end]
}
