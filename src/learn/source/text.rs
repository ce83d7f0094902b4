//! Blocks of text → rows of cells.

use std::ops::ControlFlow;

use memchr::{memchr, memchr_iter, memrchr};

use super::Reading;
use super::blocks::{Block, Blocks, MAX_LINE, RecordEnd, UNCLOSED, closing_quote, record_end};
use super::rows::Rows;
use crate::error::{Error, Result, nearest};
use crate::kernels::text::{Separators, separators};
use crate::model::row::{Cell, TextRows};

const COLUMNS: &str = "the log's number of columns";
const AFTER_QUOTE: &str = "a delimiter after a closing quote";

/// Which column of the file is which column of the schema.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    delimiter: u8,
    /// For each column of the file, its column in the schema.
    cells: Vec<Option<usize>>,
    /// For each column of the schema, its column in the file.
    places: Vec<Option<usize>>,
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
        let start = blocks.peek().map_err(|failure| failure.at(&name, 1))?;
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
            return Ok(Columns::new(delimiter, header(&names, &name, reading)?, width));
        }
        blocks.skip(bom);
        let mut cells: Vec<Option<usize>> = (0..width).map(Some).collect();
        if !reading.targets && names.len() + 1 == width {
            cells.remove(schema.label);
        }
        Ok(Columns::new(delimiter, cells, width))
    }

    fn new(delimiter: u8, cells: Vec<Option<usize>>, width: usize) -> Columns {
        let place = |column| cells.iter().position(|cell| *cell == Some(column));
        Columns { delimiter, places: (0..width).map(place).collect(), cells }
    }

    fn wrong_count(&self, line: u64, count: usize, rows: &mut Rows<'_>) -> Result<ControlFlow<()>> {
        rows.bad(line, COLUMNS, &format!("{} columns", self.cells.len()), &count.to_string())
    }
}

/// Finds the schema's columns among the names of a header.
fn header(names: &[String], file: &str, reading: Reading<'_>) -> Result<Vec<Option<usize>>> {
    let place = || format!("{file}:1");
    let columns = &reading.schema.columns;
    let cells: Vec<Option<usize>> = names.iter().map(|name| reading.schema.column(name)).collect();
    for (position, cell) in cells.iter().enumerate() {
        if let Some(column) = cell
            && cells[..position].contains(cell)
        {
            return Err(Error::data(place(), format!("expected each column once, got {:?} twice", columns[*column])));
        }
    }
    let missing: Vec<&str> = (0..columns.len())
        .filter(|column| reading.needs(*column) && !cells.contains(&Some(*column)))
        .map(|column| columns[column].as_str())
        .collect();
    let Some(first) = missing.first() else { return Ok(cells) };
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

/// What reading a block needs besides the block; reused.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    separators: Separators,
}

/// Hands the rows of a block to `rows`. Empty lines are no rows. Returns the number of lines, dropped ones included.
///
/// # Errors
/// Those of whoever takes the rows.
pub(super) fn rows(
    block: &mut Block,
    columns: &Columns,
    scratch: &mut Scratch,
    rows: &mut Rows<'_>,
) -> Result<ControlFlow<(), u64>> {
    for line in block.dropped.bad_lines() {
        if rows.passed(line)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    rows.count = std::mem::take(&mut block.dropped);
    let (first_line, quotes) = (block.dropped_lines, block.quotes);
    match quotes {
        false => plain_rows(block.text(), first_line, columns, scratch, rows),
        true => quoted_rows(block.text(), first_line, columns, scratch, rows),
    }
}

/// Rows handed on at once.
const GROUP: usize = 256;

/// Lines of a text without quotes. Lines with the right number of cells are handed on many at a time.
fn plain_rows(
    text: &[u8],
    first_line: u64,
    columns: &Columns,
    scratch: &mut Scratch,
    rows: &mut Rows<'_>,
) -> Result<ControlFlow<(), u64>> {
    separators(text, columns.delimiter, &mut scratch.separators);
    let Separators { starts, lines } = &mut scratch.separators;
    if !text.is_empty() && !text.ends_with(b"\n") {
        starts.push(text.len() as u32 + 1);
        lines.push(starts.len() as u32 - 1);
    }
    let width = columns.cells.len();
    let mut line = 0;
    let mut cell = 0;
    while line < lines.len() {
        let (from, start) = (cell, line);
        while line < lines.len() && line - start < GROUP && lines[line] as usize == cell + width {
            if width == 1 && is_empty(text, starts, cell) {
                break;
            }
            cell += width;
            line += 1;
        }
        let flow = if line > start {
            let group = TextRows::new(text, &starts[from..=cell], width, &columns.places);
            rows.regular(first_line + start as u64, &group)?
        } else {
            let count = lines[line] as usize - cell;
            let empty = count == 1 && is_empty(text, starts, cell);
            cell += count;
            line += 1;
            match empty {
                true => ControlFlow::Continue(()),
                false => columns.wrong_count(first_line + start as u64, count, rows)?,
            }
        };
        if flow.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(first_line + lines.len() as u64))
}

/// Whether nothing stands in a cell that is a line.
fn is_empty(text: &[u8], starts: &[u32], cell: usize) -> bool {
    matches!(&text[starts[cell] as usize..starts[cell + 1] as usize - 1], [] | [b'\r'])
}

/// Records of a text in which some cells are quoted: those that hold a quote one by one, those between them as lines.
fn quoted_rows(
    text: &mut [u8],
    mut line: u64,
    columns: &Columns,
    scratch: &mut Scratch,
    rows: &mut Rows<'_>,
) -> Result<ControlFlow<(), u64>> {
    let mut cells = vec![Cell::Missing; columns.places.len()];
    let mut rest = text;
    while !rest.is_empty() {
        let quote = memchr(b'"', rest).unwrap_or(rest.len());
        let plain = match quote == rest.len() {
            true => quote,
            false => memrchr(b'\n', &rest[..quote]).map_or(0, |newline| newline + 1),
        };
        if plain > 0 {
            let (plain, next) = std::mem::take(&mut rest).split_at_mut(plain);
            rest = next;
            match plain_rows(plain, line, columns, scratch, rows)? {
                ControlFlow::Continue(reached) => line = reached,
                end => return Ok(end),
            }
            continue;
        }
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
        let mut count = 0;
        let split = split(without_line_end(record), columns.delimiter, true, |cell| {
            if let Some(Some(place)) = columns.cells.get(count) {
                cells[*place] = if cell.is_empty() { Cell::Missing } else { Cell::Text(cell) };
            }
            count += 1;
        });
        let flow = match split {
            Ok(()) if count == columns.cells.len() => rows.row(line, &cells)?,
            Ok(()) => columns.wrong_count(line, count, rows)?,
            Err(expected) => rows.bad(line, expected, expected, &format!("something else behind cell {count}"))?,
        };
        if flow.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        line += lines;
    }
    Ok(ControlFlow::Continue(line))
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
