//! Parquet → rows of cells, batch by batch.
//!
//! Columns are found by the schema's names. Strings (plain, binary or dictionary) become text, integers, floating-point
//! numbers and booleans become numbers, lists become the values of a bag, timestamps become the number that the
//! schema's time format asks for. Integers beyond 2⁵³ become text, so that large ids stay apart.

use std::fs::File;
use std::ops::ControlFlow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowTimestampType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType, OffsetSizeTrait, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::open::{Failure, record_of_file};
use super::rows::Rows;
use super::stream::Piece;
use super::{Input, Reading};
use crate::error::{Error, Result, nearest};
use crate::learn::dataset::InputRecord;
use crate::model::row::Cell;
use crate::model::schema::{Schema, TimeFormat};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8_192;
/// Integers up to here are exact as floating-point numbers.
const EXACT: i128 = 1 << 53;

const SUPPORTED: &str = "text, binary, integers, floating-point numbers, booleans, timestamps, dictionaries of text, or \
                         lists of text";

/// For each column that is read, in the order of the file, its column in the schema.
pub(super) struct Places(Vec<usize>);

/// What is left of a file.
pub(super) struct Batches {
    name: String,
    reader: ParquetRecordBatchReader,
    record: InputRecord,
    rows: u64,
    total: u64,
}

/// Opens a file and finds the schema's columns.
///
/// # Errors
/// Io when it cannot be read; Data when it is damaged or lacks columns.
pub(super) fn open(input: &Input, file: File, reading: Reading<'_>) -> Result<(Places, Batches)> {
    let name = input.name().to_owned();
    let wrong = |message: String| Error::data(&name, message);
    let record = record_of_file(input, &file)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(damaged(&error)))?;
    let mut roots =
        columns(builder.schema().fields().iter().map(|field| field.name().as_str()), reading).map_err(wrong)?;
    let total = builder.metadata().file_metadata().num_rows().max(1) as u64;
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().map(|(root, _)| *root));
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    let reader = reader.map_err(|error| wrong(damaged(&error)))?;
    // The projected columns come in the order of the file.
    roots.sort_unstable();
    let places = Places(roots.into_iter().map(|(_, column)| column).collect());
    Ok((places, Batches { name, reader, record, rows: 0, total }))
}

fn damaged(error: &dyn std::fmt::Display) -> String {
    format!("the Parquet file is damaged or not supported: {error}")
}

impl Batches {
    /// The next rows; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Failure> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| Failure::Placed(Error::data(&self.name, damaged(&error))))?;
        self.rows += batch.num_rows() as u64;
        let bytes_read = (u128::from(self.record.bytes) * u128::from(self.rows) / u128::from(self.total)) as u64;
        Ok(Some(Piece::Batch { batch, bytes_read }))
    }

    /// What the file is, as the manifest keeps it.
    pub(super) fn record(self) -> InputRecord {
        self.record
    }
}

/// Hands the rows of a batch on.
///
/// # Errors
/// Data when a column has a type that is not read; those of whoever takes the rows.
pub(super) fn rows(
    batch: &RecordBatch,
    places: &Places,
    schema: &Schema,
    file: &str,
    rows: &mut Rows<'_>,
) -> Result<ControlFlow<(), u64>> {
    let mut columns: Vec<Column<'_>> = schema.columns.iter().map(|_| Column::Absent).collect();
    for (place, array) in places.0.iter().zip(batch.columns()) {
        columns[*place] = column(schema, *place, array.as_ref()).map_err(|got| {
            let name = &schema.columns[*place];
            Error::data(file, format!("{name}: expected {SUPPORTED}, got {got}"))
        })?;
    }
    let mut cells = vec![Cell::Missing; columns.len()];
    for row in 0..batch.num_rows() {
        for (cell, column) in cells.iter_mut().zip(&columns) {
            *cell = column.cell(row);
        }
        if rows.row(row as u64, &cells)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(batch.num_rows() as u64))
}

/// (column of the file, column of the schema) for each column that is needed.
fn columns<'a>(names: impl Iterator<Item = &'a str>, reading: Reading<'_>) -> Result<Vec<(usize, usize)>, String> {
    let names: Vec<&str> = names.collect();
    let needed = (0..reading.schema.columns.len()).filter(|column| reading.needs(*column));
    let find = |column: usize| {
        let wanted = reading.schema.columns[column].as_str();
        let root = names.iter().position(|name| *name == wanted).ok_or_else(|| {
            let hint = nearest(wanted, names.iter().copied());
            format!("lacks the column {wanted:?} of schema {}{hint}; got {}", reading.schema.name, names.join(", "))
        })?;
        Ok((root, column))
    };
    needed.map(find).collect()
}

/// One column of a batch, ready to give cells.
enum Column<'a> {
    Absent,
    Texts(Vec<Option<&'a [u8]>>),
    Numbers(Vec<Option<f64>>),
    /// Integers that need their digits.
    Digits(Vec<Option<String>>),
    /// Values of all rows, and where each row's end.
    Lists {
        values: Vec<&'a [u8]>,
        ends: Vec<usize>,
    },
}

impl Column<'_> {
    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Column::Absent => Cell::Missing,
            Column::Texts(texts) => texts[row].filter(|text| !text.is_empty()).map_or(Cell::Missing, Cell::Text),
            Column::Numbers(numbers) => numbers[row].map_or(Cell::Missing, Cell::Number),
            Column::Digits(digits) => {
                digits[row].as_ref().map_or(Cell::Missing, |digits| Cell::Text(digits.as_bytes()))
            }
            Column::Lists { values, ends } => {
                let start = row.checked_sub(1).map_or(0, |before| ends[before]);
                match &values[start..ends[row]] {
                    [] => Cell::Missing,
                    values => Cell::Values(values),
                }
            }
        }
    }
}

/// The error is what the column is.
fn column<'a>(schema: &Schema, place: usize, array: &'a dyn Array) -> Result<Column<'a>, String> {
    if let DataType::Timestamp(unit, _) = array.data_type() {
        let format =
            schema.time.filter(|(column, _)| *column == place).map_or(TimeFormat::Seconds, |(_, format)| format);
        return match unit {
            TimeUnit::Second => times::<TimestampSecondType>(array, 1, format),
            TimeUnit::Millisecond => times::<TimestampMillisecondType>(array, 1_000, format),
            TimeUnit::Microsecond => times::<TimestampMicrosecondType>(array, 1_000_000, format),
            TimeUnit::Nanosecond => times::<TimestampNanosecondType>(array, 1_000_000_000, format),
        };
    }
    if let Some(texts) = texts(array) {
        return Ok(Column::Texts(texts));
    }
    match array.data_type() {
        DataType::Boolean => {
            let flags = array.as_boolean().iter();
            Ok(Column::Numbers(flags.map(|flag| flag.map(|flag| f64::from(u8::from(flag)))).collect()))
        }
        DataType::Int8 => Ok(integers::<Int8Type>(array)),
        DataType::Int16 => Ok(integers::<Int16Type>(array)),
        DataType::Int32 => Ok(integers::<Int32Type>(array)),
        DataType::Int64 => Ok(integers::<Int64Type>(array)),
        DataType::UInt8 => Ok(integers::<UInt8Type>(array)),
        DataType::UInt16 => Ok(integers::<UInt16Type>(array)),
        DataType::UInt32 => Ok(integers::<UInt32Type>(array)),
        DataType::UInt64 => Ok(integers::<UInt64Type>(array)),
        DataType::Float32 => {
            let numbers = array.as_primitive::<Float32Type>().iter();
            Ok(Column::Numbers(numbers.map(|number| number.map(f64::from)).collect()))
        }
        DataType::Float64 => Ok(Column::Numbers(array.as_primitive::<Float64Type>().iter().collect())),
        DataType::List(_) => lists::<i32>(array),
        DataType::LargeList(_) => lists::<i64>(array),
        other => Err(other.to_string()),
    }
}

fn texts(array: &dyn Array) -> Option<Vec<Option<&[u8]>>> {
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(|text| text.map(str::as_bytes)).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(|text| text.map(str::as_bytes)).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(|text| text.map(str::as_bytes)).collect(),
        DataType::Binary => array.as_binary::<i32>().iter().collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().collect(),
        DataType::BinaryView => array.as_binary_view().iter().collect(),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = texts(dictionary.values().as_ref())?;
            if values.is_empty() {
                vec![None; array.len()]
            } else {
                let keys = dictionary.normalized_keys();
                keys.into_iter()
                    .enumerate()
                    .map(|(row, key)| if array.is_null(row) { None } else { values[key] })
                    .collect()
            }
        }
        _ => return None,
    })
}

fn integers<'a, T: ArrowPrimitiveType>(array: &'a dyn Array) -> Column<'a>
where
    T::Native: Into<i128>,
{
    let integers = || array.as_primitive::<T>().iter().map(|integer| integer.map(Into::<i128>::into));
    if integers().flatten().all(|integer| integer.abs() <= EXACT) {
        Column::Numbers(integers().map(|integer| integer.map(|integer| integer as f64)).collect())
    } else {
        Column::Digits(integers().map(|integer| integer.map(|integer| integer.to_string())).collect())
    }
}

fn times<'a, T: ArrowTimestampType>(
    array: &'a dyn Array,
    per_second: i64,
    format: TimeFormat,
) -> Result<Column<'a>, String> {
    let per_unit = match format {
        TimeFormat::Seconds => 1,
        TimeFormat::Milliseconds => 1_000,
        TimeFormat::Yymmddhh => return Err("a timestamp where the schema says yymmddhh".into()),
    };
    let times = array.as_primitive::<T>().iter();
    let number = |time: i64| (i128::from(time) * per_unit).div_euclid(i128::from(per_second)) as f64;
    Ok(Column::Numbers(times.map(|time| time.map(number)).collect()))
}

fn lists<O: OffsetSizeTrait>(array: &dyn Array) -> Result<Column<'_>, String> {
    let lists = array.as_list::<O>();
    let Some(texts) = texts(lists.values().as_ref()) else {
        return Err(array.data_type().to_string());
    };
    let offsets = lists.value_offsets();
    let mut values = Vec::new();
    let ends = (0..lists.len()).map(|row| {
        if !lists.is_null(row) {
            let row = &texts[offsets[row].as_usize()..offsets[row + 1].as_usize()];
            values.extend(row.iter().flatten().filter(|value| !value.is_empty()));
        }
        values.len()
    });
    let ends = ends.collect();
    Ok(Column::Lists { values, ends })
}
