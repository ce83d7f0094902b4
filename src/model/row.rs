//! One impression as it came: cells in the order of the schema's columns, and the targets read from them.

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

/// A finite number in a cell; `None` when it is missing or no finite number.
pub fn number(cell: Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Number(number) => Some(number),
        Cell::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        Cell::Missing | Cell::Values(_) => None,
    }
    .filter(|number: &f64| number.is_finite())
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
    use super::*;

    #[test]
    fn avazu_hours_are_seconds() {
        // 2014-10-21 00:00 UTC, as `date -u -d 2014-10-21 +%s` prints it.
        assert_eq!(time_of(TimeFormat::Yymmddhh, Cell::Text(b"14102100")), Some(1_413_849_600));
        assert_eq!(time_of(TimeFormat::Yymmddhh, Cell::Text(b"14132100")), None);
        assert_eq!(time_of(TimeFormat::Milliseconds, Cell::Text(b"1500")), Some(1));
    }

    #[test]
    fn numbers_are_finite_or_nothing() {
        for text in [&b"nan"[..], b"inf", b"1e999", b"x", b"", b"\xff"] {
            assert_eq!(number(Cell::Text(text)), None, "{text:?}");
        }
        assert_eq!(number(Cell::Text(b" -2.5 ")), Some(-2.5));
    }
}
