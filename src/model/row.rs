//! Impressions as they came: cells in the order of the schema's columns, and the targets read from them.
//!
//! A row stands alone as a list of [`Cell`]s, or among its neighbors in a text as [`TextRows`], which are read column by column.

use crate::kernels::text::row_words;
use crate::model::features::hash::group_id;
use crate::model::schema::{Schema, TimeFormat};

/// One cell, borrowed from the log or the request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Cell<'a> {
    /// Nothing stands there.
    #[default]
    Missing,
    /// Text as it came; for a bag, several values with the schema's separator between.
    Text(&'a [u8]),
    /// A number from a typed source (Parquet).
    Number(f64),
    /// Values of a bag from a typed source (JSON).
    Values(&'a [&'a [u8]]),
}

/// Neighboring lines of a text that all have the log's columns, not yet cut into cells. No cell is quoted.
#[derive(Debug, Clone, Copy)]
pub struct TextRows<'a> {
    text: &'a [u8],
    starts: &'a [u32],
    width: usize,
    places: &'a [Option<usize>],
}

impl<'a> TextRows<'a> {
    /// Rows of `width` cells in `text`. Cell k is `starts[k]..starts[k + 1] - 1`, so that there is one start more than there are
    /// cells; for each column of the schema, `places` says which cell of a row it is, if it is in the log.
    pub fn new(text: &'a [u8], starts: &'a [u32], width: usize, places: &'a [Option<usize>]) -> Self {
        assert!(starts.len() % width == 1 % width, "{} cells in rows of {width}", starts.len() - 1);
        TextRows { text, starts, width, places }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        (self.starts.len() - 1) / self.width
    }

    /// Number of columns of the schema.
    pub fn columns(&self) -> usize {
        self.places.len()
    }

    /// All cells of one column of the schema; `None` when the log does not have it, so that all are missing.
    pub fn column(&self, column: usize) -> Option<TextColumn<'a>> {
        let place = self.places[column]?;
        let TextRows { text, starts, width, .. } = *self;
        Some(TextColumn { text, starts: &starts[place..], width, last: place + 1 == width })
    }

    /// The first bytes and the lengths of the cells of some columns of the schema, row by row from `first_row` on, as [`row_words`]
    /// gives them. There are `lanes` places for each row, and as many rows as there is room for.
    pub fn words(&self, columns: &[usize], first_row: usize, lanes: usize, words: &mut [u64], lengths: &mut [u32]) {
        let starts = &self.starts[first_row * self.width..];
        let cells: Vec<usize> = columns.iter().map(|column| self.places[*column].unwrap_or(0)).collect();
        row_words(self.text, starts, self.width, &cells, lanes, words, lengths);
        for (lane, column) in columns.iter().enumerate() {
            let of_column = lengths.chunks_exact_mut(lanes).map(|row| &mut row[lane]);
            match self.column(*column) {
                None => of_column.for_each(|length| *length = 0),
                Some(column) if column.last => {
                    for (row, length) in of_column.enumerate() {
                        let (start, end) = column.bounds(first_row + row);
                        *length = (end - start) as u32;
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// One cell.
    #[inline]
    pub fn cell(&self, row: usize, column: usize) -> Cell<'a> {
        self.column(column).map_or(Cell::Missing, |cells| cells.cell(row))
    }
}

/// One column of [`TextRows`].
#[derive(Debug, Clone, Copy)]
pub struct TextColumn<'a> {
    text: &'a [u8],
    /// Starting with that of this column's first cell.
    starts: &'a [u32],
    width: usize,
    /// Whether cells end at the end of a line, where a carriage return belongs to the newline.
    last: bool,
}

impl<'a> TextColumn<'a> {
    /// The text that cells lie in.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Start and end of the cell in a row, in bytes of [`TextColumn::text`]; a missing one is empty.
    #[inline]
    pub fn bounds(&self, row: usize) -> (usize, usize) {
        let cell = row * self.width;
        let (start, mut end) = (self.starts[cell] as usize, self.starts[cell + 1] as usize - 1);
        if self.last && end > start && self.text[end - 1] == b'\r' {
            end -= 1;
        }
        (start, end)
    }

    /// Bytes of the cell in a row; a missing one is empty.
    #[inline]
    pub fn bytes(&self, row: usize) -> &'a [u8] {
        let (start, end) = self.bounds(row);
        &self.text[start..end]
    }

    /// The cell in a row.
    #[inline]
    pub fn cell(&self, row: usize) -> Cell<'a> {
        match self.bytes(row) {
            [] => Cell::Missing,
            text => Cell::Text(text),
        }
    }
}

/// A cell that cannot be used: the caller adds file and line.
#[derive(Debug, Clone, PartialEq)]
pub struct CellError {
    /// Column of the schema.
    pub field: String,
    /// What the schema asks for.
    pub expected: &'static str,
    /// What stands there, shortened.
    pub got: String,
}

impl CellError {
    /// An error about `cell` in `field`.
    pub fn new(field: &str, expected: &'static str, cell: Cell<'_>) -> Self {
        CellError { field: field.to_owned(), expected, got: shown(cell) }
    }
}

/// What a row is learned from and grouped by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Targets {
    /// 1 for a click, 0 for none.
    pub label: u8,
    /// Weight in the loss; 1 without a weight column.
    pub weight: f32,
    /// Seconds since 1970 (UTC); 0 without a time column.
    pub time: i64,
    /// Hash of the group column; 0 without one.
    pub group: u64,
}

/// Reads label, weight, time and group of a row.
///
/// # Errors
/// When the label is not 0 or 1, the weight is no finite number ≥ 0, or the time cannot be read.
pub fn targets(schema: &Schema, cells: &[Cell<'_>]) -> Result<Targets, CellError> {
    let name = |column: usize| schema.columns[column].as_str();
    let label = match cells[schema.label] {
        Cell::Text(b"0") => 0,
        Cell::Text(b"1") => 1,
        cell => match number(cell) {
            Some(0.0) => 0,
            Some(1.0) => 1,
            _ => return Err(CellError::new(name(schema.label), "label 0 or 1", cell)),
        },
    };
    let weight = match schema.weight {
        None => 1.0,
        Some(column) => match number(cells[column]) {
            Some(weight) if weight >= 0.0 => weight as f32,
            _ => return Err(CellError::new(name(column), "a finite weight of at least 0", cells[column])),
        },
    };
    let time = match schema.time {
        None => 0,
        Some((column, format)) => time_of(format, cells[column])
            .ok_or_else(|| CellError::new(name(column), time_expected(format), cells[column]))?,
    };
    let group = schema.group.map_or(0, |column| match cells[column] {
        Cell::Text(text) => group_id(text),
        Cell::Number(number) => group_id(&number.to_le_bytes()),
        Cell::Missing | Cell::Values(_) => 0,
    });
    Ok(Targets { label, weight, time, group })
}

/// Reads the labels of `rows` into `labels`, and the other targets only where the schema has them (0 rows otherwise). A row
/// that has no usable targets gets label 0 and is named in `refused`: [`targets`] says why.
pub fn targets_of_rows(
    schema: &Schema,
    rows: &TextRows<'_>,
    labels: &mut Vec<u8>,
    mut other: impl FnMut(Targets),
    refused: &mut Vec<usize>,
) {
    let columns = [schema.weight, schema.time.map(|(column, _)| column), schema.group];
    if columns.iter().any(Option::is_some) {
        let mut cells = vec![Cell::Missing; schema.columns.len()];
        for row in 0..rows.rows() {
            for column in columns.into_iter().flatten().chain([schema.label]) {
                cells[column] = rows.cell(row, column);
            }
            let targets = targets(schema, &cells).unwrap_or_else(|_| {
                refused.push(row);
                Targets { label: 0, weight: 0.0, time: 0, group: 0 }
            });
            labels.push(targets.label);
            other(targets);
        }
        return;
    }
    let column = rows.column(schema.label);
    labels.extend((0..rows.rows()).map(|row| match column.map_or(&[][..], |column| column.bytes(row)) {
        b"0" => 0,
        b"1" => 1,
        text => match number(Cell::Text(text)) {
            Some(0.0) => 0,
            Some(1.0) => 1,
            _ => {
                refused.push(row);
                0
            }
        },
    }));
}

/// A finite number in a cell; `None` when it is missing or no finite number.
pub fn number(cell: Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Number(number) => Some(number),
        Cell::Text(text) => match integer(text) {
            Some(number) => Some(number),
            None => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        },
        Cell::Missing | Cell::Values(_) => None,
    }
    .filter(|number: &f64| number.is_finite())
}

/// What most numbers are: up to 15 digits, which are exact, and a sign. The bits are those of `str::parse`, at a fraction of its time.
#[inline]
fn integer(text: &[u8]) -> Option<f64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !(1..=15).contains(&digits.len()) {
        return None;
    }
    let mut number = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = 10 * number + u64::from(digit);
    }
    let number = number as f64;
    Some(if digits.len() < text.len() { -number } else { number })
}

fn time_expected(format: TimeFormat) -> &'static str {
    match format {
        TimeFormat::Seconds => "seconds since 1970",
        TimeFormat::Milliseconds => "milliseconds since 1970",
        TimeFormat::Yymmddhh => "a time written YYMMDDHH",
    }
}

fn time_of(format: TimeFormat, cell: Cell<'_>) -> Option<i64> {
    let number = number(cell)?;
    if number.abs() > 9e15 {
        return None;
    }
    match format {
        TimeFormat::Seconds => Some(number.floor() as i64),
        TimeFormat::Milliseconds => Some((number / 1000.0).floor() as i64),
        TimeFormat::Yymmddhh => {
            let digits = number as i64;
            let (year, month, day, hour) =
                (digits / 1_000_000, digits / 10_000 % 100, digits / 100 % 100, digits % 100);
            let valid = (0..100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24;
            valid.then(|| days_since_1970(2000 + year, month, day) * 86_400 + hour * 3_600)
        }
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A cell as an error shows it.
fn shown(cell: Cell<'_>) -> String {
    const SHOWN: usize = 40;
    match cell {
        Cell::Missing => "nothing".into(),
        Cell::Number(number) => number.to_string(),
        Cell::Values(values) => format!("a list of {}", values.len()),
        Cell::Text(text) if text.len() > SHOWN => {
            format!("{:?}… ({} bytes)", String::from_utf8_lossy(&text[..SHOWN]), text.len())
        }
        Cell::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn avazu_hours_are_seconds() {
        // 2014-10-21 00:00 UTC, as `date -u -d 2014-10-21 +%s` prints it.
        assert_eq!(time_of(TimeFormat::Yymmddhh, Cell::Text(b"14102100")), Some(1_413_849_600));
        assert_eq!(time_of(TimeFormat::Yymmddhh, Cell::Text(b"14132100")), None);
        assert_eq!(time_of(TimeFormat::Milliseconds, Cell::Text(b"1500")), Some(1));
    }

    #[test]
    fn columns_of_a_text_give_its_cells() {
        let cells = ["0", "", "-12", "123456789", "a\rb", "12345678", "\r", "é"];
        for end in ["\n", "\r\n"] {
            let text = cells.map(|cell| format!("{cell},{cell}{end}")).concat();
            let mut starts = vec![0];
            starts.extend(
                text.bytes().enumerate().filter(|(_, byte)| b",\n".contains(byte)).map(|(at, _)| at as u32 + 1),
            );
            let rows = TextRows::new(text.as_bytes(), &starts, 2, &[Some(1), Some(0), None]);
            assert_eq!((rows.rows(), rows.columns(), rows.cell(3, 2)), (cells.len(), 3, Cell::Missing));
            let (mut words, mut lengths) = ([0; 32], [0; 32]);
            rows.words(&[1, 2, 0], 0, 4, &mut words, &mut lengths);
            for (column, lane, carriage) in [(0, 2, end == "\n"), (1, 0, false)] {
                let at = rows.column(column).unwrap();
                for (row, cell) in cells.iter().enumerate() {
                    // A carriage return before a newline belongs to the line's end, once.
                    let cell = if carriage { cell.strip_suffix('\r').unwrap_or(cell) } else { cell };
                    assert_eq!(at.bytes(row), cell.as_bytes());
                    assert_eq!(rows.cell(row, column) == Cell::Missing, cell.is_empty());
                    let (word, length) = (words[4 * row + lane].to_le_bytes(), lengths[4 * row + lane] as usize);
                    assert_eq!(
                        (&word[..cell.len().min(8)], length),
                        (&cell.as_bytes()[..cell.len().min(8)], cell.len())
                    );
                    assert_eq!(lengths[4 * row + 1], 0, "the log lacks the column");
                }
            }
        }
    }

    #[test]
    fn numbers_are_finite_or_nothing() {
        for text in [&b"nan"[..], b"inf", b"1e999", b"x", b"", b"\xff"] {
            assert_eq!(number(Cell::Text(text)), None, "{text:?}");
        }
        assert_eq!(number(Cell::Text(b" -2.5 ")), Some(-2.5));
    }

    proptest! {
        #[test]
        fn integers_have_the_bits_that_parsing_gives(text in "[-+]?[0-9]{0,17}") {
            let parsed = text.parse::<f64>().ok();
            prop_assert_eq!(number(Cell::Text(text.as_bytes())).map(f64::to_bits), parsed.map(f64::to_bits));
            if let Some(number) = integer(text.as_bytes()) {
                prop_assert_eq!(Some(number.to_bits()), parsed.map(f64::to_bits));
            }
        }
    }
}
