//! `test.parquet` and `valid.parquet` of a run: what was predicted for which row, and what happened.
//!
//! | column | type | |
//! |---|---|---|
//! | `row` | UInt64 | number of the row in its dataset |
//! | `label` | UInt8 | 1 for a click |
//! | `probability` | Float64 | calibrated |
//! | `weight` | Float32 | only when the schema has a weight |
//! | `time` | Int64 | seconds since 1970, only when the schema has a time |
//! | `group` | UInt64 | hash of the group column, only when the schema has one |
//! | `truth` | Float64 | true probability, only when it is known |
//! | `uncalibrated` | Float64 | the probability before calibration |
//!
//! Label, weight, time and group are repeated in every run so that a comparison needs no data. pandas, polars and DuckDB read it.

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type, Int64Type, UInt8Type, UInt64Type};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::durable;
use crate::error::{Error, Result};

/// Predictions on the test rows.
pub const TEST_FILE: &str = "test.parquet";
/// Predictions on the validation rows.
pub const VALID_FILE: &str = "valid.parquet";

/// One column each; all of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PredictionTable {
    /// Number of the row in its dataset.
    pub rows: Vec<u64>,
    /// 1 for a click, 0 for none.
    pub labels: Vec<u8>,
    /// Calibrated probabilities.
    pub probabilities: Vec<f64>,
    /// Weights, if the schema has one.
    pub weights: Option<Vec<f32>>,
    /// Seconds since 1970, if the schema has a time.
    pub times: Option<Vec<i64>>,
    /// Hash of the group, if the schema has one.
    pub groups: Option<Vec<u64>>,
    /// True probabilities, if known.
    pub truth: Option<Vec<f64>>,
    /// Probabilities before calibration; files of earlier versions have none.
    pub uncalibrated: Option<Vec<f64>>,
}

impl PredictionTable {
    /// Writes the table whole or not at all.
    ///
    /// # Errors
    /// Io when the place cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("row", array::<UInt64Type>(&self.rows)),
            ("label", array::<UInt8Type>(&self.labels)),
            ("probability", array::<Float64Type>(&self.probabilities)),
        ];
        columns.extend(self.weights.as_ref().map(|weights| ("weight", array::<Float32Type>(weights))));
        columns.extend(self.times.as_ref().map(|times| ("time", array::<Int64Type>(times))));
        columns.extend(self.groups.as_ref().map(|groups| ("group", array::<UInt64Type>(groups))));
        columns.extend(self.truth.as_ref().map(|truth| ("truth", array::<Float64Type>(truth))));
        columns.extend(self.uncalibrated.as_ref().map(|before| ("uncalibrated", array::<Float64Type>(before))));
        let failed = |error: &dyn std::fmt::Display| Error::Bug(format!("{}: {error}", path.display()));
        let batch = RecordBatch::try_from_iter(columns).map_err(|error| failed(&error))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        durable::write_file(path, |file| {
            let written = (|| {
                let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
                writer.write(&batch)?;
                writer.close()
            })();
            written.map(|_| ()).map_err(|error| Error::io(path, "write")(std::io::Error::other(error)))
        })
    }

    /// Adds the rows of another table behind these. A column that only one of them has is lost.
    pub fn append(&mut self, other: PredictionTable) {
        fn join<T>(column: &mut Option<Vec<T>>, other: Option<Vec<T>>) {
            match (column.as_mut(), other) {
                (Some(column), Some(other)) => column.extend(other),
                _ => *column = None,
            }
        }
        self.rows.extend(other.rows);
        self.labels.extend(other.labels);
        self.probabilities.extend(other.probabilities);
        join(&mut self.weights, other.weights);
        join(&mut self.times, other.times);
        join(&mut self.groups, other.groups);
        join(&mut self.truth, other.truth);
        join(&mut self.uncalibrated, other.uncalibrated);
    }

    /// Reads a table and checks it.
    ///
    /// # Errors
    /// Io when it cannot be read; data when it is no table of predictions.
    pub fn read(path: &Path) -> Result<PredictionTable> {
        let file = std::fs::File::open(path).map_err(Error::io(path, "open"))?;
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        let broken = |error: &dyn std::fmt::Display| wrong(format!("is no table of predictions: {error}"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| broken(&error))?;
        let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let has = |name: &str| names.iter().any(|found| found == name);
        let optional = |name: &str| has(name).then(Vec::new);
        let mut table = PredictionTable { groups: optional("group"), ..PredictionTable::default() };
        table.weights = has("weight").then(Vec::new);
        table.times = has("time").then(Vec::new);
        table.truth = has("truth").then(Vec::new);
        table.uncalibrated = has("uncalibrated").then(Vec::new);
        for batch in builder.build().map_err(|error| broken(&error))? {
            let batch = batch.map_err(|error| broken(&error))?;
            let column = |name: &str| wrong(format!("has no {name} of the right type"));
            append::<UInt64Type>(&batch, "row", &mut table.rows).ok_or_else(|| column("row"))?;
            append::<UInt8Type>(&batch, "label", &mut table.labels).ok_or_else(|| column("label"))?;
            append::<Float64Type>(&batch, "probability", &mut table.probabilities)
                .ok_or_else(|| column("probability"))?;
            if let Some(weights) = &mut table.weights {
                append::<Float32Type>(&batch, "weight", weights).ok_or_else(|| column("weight"))?;
            }
            if let Some(times) = &mut table.times {
                append::<Int64Type>(&batch, "time", times).ok_or_else(|| column("time"))?;
            }
            if let Some(groups) = &mut table.groups {
                append::<UInt64Type>(&batch, "group", groups).ok_or_else(|| column("group"))?;
            }
            if let Some(truth) = &mut table.truth {
                append::<Float64Type>(&batch, "truth", truth).ok_or_else(|| column("truth"))?;
            }
            if let Some(before) = &mut table.uncalibrated {
                append::<Float64Type>(&batch, "uncalibrated", before).ok_or_else(|| column("uncalibrated"))?;
            }
        }
        let outside = |p: &f64| !(0.0..=1.0).contains(p);
        let bad_in = |values: &Option<Vec<f64>>| values.as_ref().and_then(|values| values.iter().position(outside));
        let bad_truth = bad_in(&table.truth).or(bad_in(&table.uncalibrated));
        let bad = table.labels.iter().position(|label| *label > 1).or(table.probabilities.iter().position(outside));
        let bad_weight = |weight: &f32| !(*weight >= 0.0 && weight.is_finite());
        let bad_weight = table.weights.as_ref().and_then(|weights| weights.iter().position(bad_weight));
        match bad.or(bad_truth).or(bad_weight) {
            Some(row) => Err(wrong(format!("row {row} holds a label, probability or weight out of bounds"))),
            None => Ok(table),
        }
    }
}

fn array<T: ArrowPrimitiveType>(values: &[T::Native]) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(values.iter().copied()))
}

fn append<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str, to: &mut Vec<T::Native>) -> Option<()> {
    let column = batch.column_by_name(name)?.as_any().downcast_ref::<PrimitiveArray<T>>()?;
    to.extend_from_slice(column.values());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TEST_FILE);
        let table = PredictionTable {
            rows: (100..3100).collect(),
            labels: (0..3000).map(|row| u8::from(row % 7 == 0)).collect(),
            probabilities: (0..3000).map(|row| 1.0 / (f64::from(row) + 1.5)).collect(),
            weights: None,
            times: Some((0..3000).map(|row| 1_700_000_000 + row / 10).collect()),
            groups: Some((0..3000).map(|row| row / 4).collect()),
            truth: Some(vec![0.125; 3000]),
            uncalibrated: Some(vec![0.25; 3000]),
        };
        table.write(&path).unwrap();
        assert_eq!(PredictionTable::read(&path).unwrap(), table);
    }

    #[test]
    fn damage_and_nonsense_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TEST_FILE);
        let table = PredictionTable {
            rows: vec![0, 1],
            labels: vec![0, 1],
            probabilities: vec![0.5, 1.5],
            ..PredictionTable::default()
        };
        table.write(&path).unwrap();
        let error = PredictionTable::read(&path).unwrap_err().to_string();
        assert!(error.contains("row 1"), "{error}");
        std::fs::write(&path, "p\n0.5\n").unwrap();
        let error = PredictionTable::read(&path).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Data);
    }
}
