//! Codes of the test rows → the slice of each row in every slicing, with names; the Parquet file that keeps them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::UInt8Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, RecordBatch, StringArray, UInt8Array, UInt64Array};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::SliceConfig;
use super::card::{Card, Counts, frequent, places};
use super::names::{Wanted, names};
use crate::durable;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::split::Split;
use crate::model::features::hash::{missing_code, salt};

/// Fields that are slicings where the recipe names none.
const FIELDS: usize = 6;
/// Name of the slice of all values of a field that are not slices of their own.
pub(in crate::learn::experiment) const OTHERS: &str = "other values";
/// Names of buckets of frequency, and the training rows at which the next one begins.
const FREQUENCIES: [(&str, u64); 6] = [
    ("none, new", 1),
    ("1 to 9", 10),
    ("10 to 99", 100),
    ("100 to 999", 1_000),
    ("1,000 to 9,999", 10_000),
    ("10,000 and more", u64::MAX),
];

/// Metadata of a column: its names as a JSON list, in the order in which to show them.
const ORDER: &str = "order";

/// All slicings of the test rows of a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slicings {
    /// Number of each row in its dataset, in the order of predictions.
    pub rows: Vec<u64>,
    /// Each cuts all rows.
    pub slicings: Vec<Slicing>,
}

/// One way to cut the test rows into slices.
#[derive(Debug, Clone, PartialEq)]
pub struct Slicing {
    /// What cuts.
    pub kind: SlicingKind,
    /// Name of each slice, in the order in which to show them.
    pub names: Vec<String>,
    /// The slice of each row, a place in `names`.
    pub of_row: Vec<u8>,
}

/// What cuts rows into slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlicingKind {
    /// Values of a feature.
    Field(String),
    /// How many training rows have the row's value of a feature.
    Frequency(String),
}

impl SlicingKind {
    const FREQUENCY: &str = "training rows of ";

    /// Its column in the file.
    fn column(&self) -> String {
        match self {
            SlicingKind::Field(name) => name.clone(),
            SlicingKind::Frequency(name) => format!("{}{name}", Self::FREQUENCY),
        }
    }
}

/// Cuts the test rows of a split.
pub(super) fn slicings(
    config: &SliceConfig,
    card: &Card,
    counted: &[Counts],
    split: &Split<'_>,
    interrupt: &Interrupt,
) -> Result<Slicings> {
    let dataset = split.test.dataset();
    let place_of: Vec<usize> = places(split).collect();
    let position = |name: &String| card.features.iter().position(|feature| feature.name == *name);
    let chosen: Vec<usize> = match &config.fields {
        Some(fields) => fields.iter().filter_map(position).collect(),
        None => {
            let mut order: Vec<usize> = (0..card.features.len()).filter(|at| card.features[*at].values > 1).collect();
            order
                .sort_by(|a, b| card.features[*b].information.total_cmp(&card.features[*a].information).then(a.cmp(b)));
            order.truncate(FIELDS);
            order
        }
    };
    let missing = |feature: usize| missing_code(salt(&card.features[feature].name));
    let wanted: Vec<Wanted> = chosen
        .iter()
        .map(|feature| Wanted {
            feature: *feature,
            place: place_of[*feature],
            codes: frequent(&counted[*feature], missing(*feature), config.top),
        })
        .collect();
    let named = names(&wanted, dataset, interrupt)?;
    let cuts = wanted.into_iter().zip(named).map(|(wanted, named)| {
        let missing = missing(wanted.feature);
        Cut::of_values(&card.features[wanted.feature].name, wanted, named, missing)
    });
    let mut cuts: Vec<Cut> = cuts.collect();
    let most_values = || {
        let many = |at: &usize| card.features[*at].kind == "categorical" && card.features[*at].values >= FEWEST_ADS;
        (0..card.features.len()).filter(many).max_by_key(|at| card.features[*at].values)
    };
    let called_so = || AD_NAMES.iter().find_map(|name| position(&(*name).to_owned()));
    let guessed = || called_so().or_else(most_values);
    if let Some(ad) = config.ad.as_ref().map_or_else(guessed, position) {
        cuts.push(Cut::of_frequencies(&card.features[ad].name, place_of[ad], split, interrupt)?);
    }
    let mut rows = Vec::with_capacity(split.test.rows());
    let mut of_row: Vec<Vec<u8>> = cuts.iter().map(|_| Vec::with_capacity(split.test.rows())).collect();
    for piece in split.test.pieces() {
        interrupt.check()?;
        rows.extend(piece.rows.clone().map(|row| row as u64));
        for codes in piece.codes.chunks_exact(dataset.width()) {
            for (cut, of_row) in cuts.iter().zip(&mut of_row) {
                of_row.push(cut.slices.get(&codes[cut.place]).copied().unwrap_or(cut.others));
            }
        }
    }
    let slicings = cuts.into_iter().zip(of_row).map(|(cut, of_row)| Slicing::new(cut.kind, &cut.names, of_row));
    Ok(Slicings { rows, slicings: slicings.collect() })
}

/// What logs call the ad, most telling first.
const AD_NAMES: [&str; 8] = ["ad", "ad_id", "creative", "creative_id", "banner", "banner_id", "item", "item_id"];
/// Fewest values of a feature that is taken for the ad without being named.
const FEWEST_ADS: u64 = 50;

/// How one code of a row becomes a slice.
struct Cut {
    kind: SlicingKind,
    place: usize,
    names: Vec<String>,
    slices: HashMap<u32, u8>,
    /// The slice of codes without one.
    others: u8,
}

impl Cut {
    fn of_values(name: &str, wanted: Wanted, named: Vec<(String, Option<f64>)>, missing: u32) -> Cut {
        let mut values: Vec<(u32, String, Option<f64>)> =
            wanted.codes.into_iter().zip(named).map(|(code, (name, low))| (code, name, low)).collect();
        // Numbers in their order, names as frequent as they are.
        if values.iter().all(|(.., low)| low.is_some()) {
            values.sort_by(|a, b| a.2.unwrap_or(0.0).total_cmp(&b.2.unwrap_or(0.0)));
        }
        let mut slices: HashMap<u32, u8> = (0..).zip(&values).map(|(at, (code, ..))| (*code, at)).collect();
        let mut names: Vec<String> = values.into_iter().map(|(_, name, _)| name).collect();
        let others = names.len() as u8;
        names.extend([OTHERS.to_owned(), "missing".to_owned()]);
        slices.insert(missing, others + 1);
        Cut { kind: SlicingKind::Field(name.into()), place: wanted.place, names, slices, others }
    }

    fn of_frequencies(name: &str, place: usize, split: &Split<'_>, interrupt: &Interrupt) -> Result<Cut> {
        let width = split.test.dataset().width();
        let mut counts: HashMap<u32, u64> = HashMap::new();
        for piece in split.test.pieces() {
            counts.extend(piece.codes.chunks_exact(width).map(|codes| (codes[place], 0)));
        }
        for piece in split.train.pieces() {
            interrupt.check()?;
            for codes in piece.codes.chunks_exact(width) {
                if let Some(count) = counts.get_mut(&codes[place]) {
                    *count += 1;
                }
            }
        }
        let bucket = |count: u64| FREQUENCIES.partition_point(|(_, next)| *next <= count) as u8;
        Ok(Cut {
            kind: SlicingKind::Frequency(name.into()),
            place,
            names: FREQUENCIES.map(|(name, _)| name.to_owned()).to_vec(),
            slices: counts.into_iter().map(|(code, count)| (code, bucket(count))).collect(),
            others: 0,
        })
    }
}

impl Slicing {
    /// Leaves names out that no row has, and tells equal names apart.
    fn new(kind: SlicingKind, names: &[String], mut of_row: Vec<u8>) -> Slicing {
        let mut counts = vec![0_u64; names.len()];
        of_row.iter().for_each(|slice| counts[usize::from(*slice)] += 1);
        let mut place = vec![0_u8; names.len()];
        let mut kept: Vec<String> = Vec::new();
        for (at, name) in names.iter().enumerate().filter(|(at, _)| counts[*at] > 0) {
            place[at] = kept.len() as u8;
            let mut name = name.clone();
            while kept.contains(&name) {
                name.push('′');
            }
            kept.push(name);
        }
        of_row.iter_mut().for_each(|slice| *slice = place[usize::from(*slice)]);
        Slicing { kind, names: kept, of_row }
    }
}

impl Slicings {
    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// Io when the place cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::Bug(format!("{}: {error}", path.display()));
        let rows: ArrayRef = Arc::new(UInt64Array::from_iter_values(self.rows.iter().copied()));
        let mut fields = vec![Field::new("row", rows.data_type().clone(), false)];
        let mut columns = vec![rows];
        for slicing in &self.slicings {
            let keys = UInt8Array::from_iter_values(slicing.of_row.iter().copied());
            let names = Arc::new(StringArray::from_iter_values(&slicing.names));
            let array = DictionaryArray::<UInt8Type>::try_new(keys, names).map_err(|error| failed(&error))?;
            let order = serde_json::to_string(&slicing.names).map_err(|error| failed(&error))?;
            let field = Field::new(slicing.kind.column(), array.data_type().clone(), false);
            fields.push(field.with_metadata(HashMap::from([(ORDER.to_owned(), order)])));
            columns.push(Arc::new(array));
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| failed(&error))?;
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

    /// Reads the file.
    ///
    /// # Errors
    /// Io when it cannot be read; data when it holds something else.
    pub fn read(path: &Path) -> Result<Slicings> {
        let file = std::fs::File::open(path).map_err(Error::io(path, "open"))?;
        let wrong = |error: &dyn std::fmt::Display| {
            Error::data(path.display().to_string(), format!("is no table of slices: {error}"))
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(&error))?;
        let mut read = Slicings::default();
        for field in builder.schema().fields().iter().filter(|field| field.name() != "row") {
            let kind = match field.name().strip_prefix(SlicingKind::FREQUENCY) {
                Some(name) => SlicingKind::Frequency(name.into()),
                None => SlicingKind::Field(field.name().clone()),
            };
            // The file's own dictionary stands in the order of the rows.
            let order = field.metadata().get(ORDER).and_then(|order| serde_json::from_str(order).ok());
            read.slicings.push(Slicing { kind, names: order.unwrap_or_default(), of_row: Vec::new() });
        }
        for batch in builder.build().map_err(|error| wrong(&error))? {
            let batch = batch.map_err(|error| wrong(&error))?;
            let rows = batch.column_by_name("row").and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
            read.rows.extend_from_slice(rows.ok_or_else(|| wrong(&"row is no number"))?.values());
            for slicing in &mut read.slicings {
                let name = slicing.kind.column();
                let column = batch.column_by_name(&name).map(|column| column.as_any());
                let column = column.and_then(|column| column.downcast_ref::<DictionaryArray<UInt8Type>>());
                let column = column.ok_or_else(|| wrong(&format!("{name} holds no names of slices")))?;
                let names = column.values().as_any().downcast_ref::<StringArray>();
                let names = names.ok_or_else(|| wrong(&format!("{name} holds no names of slices")))?;
                slicing.append(column.keys(), names);
            }
        }
        Ok(read)
    }
}

impl Slicing {
    /// Appends a batch, whose dictionary may be its own.
    fn append(&mut self, keys: &UInt8Array, names: &StringArray) {
        let place: Vec<u8> = names
            .iter()
            .map(|name| {
                let name = name.unwrap_or("missing");
                let at = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
                    self.names.push(name.to_owned());
                    self.names.len() - 1
                });
                at as u8
            })
            .collect();
        self.of_row.extend(keys.iter().map(|key| key.map_or(0, |key| place[usize::from(key)])));
    }
}
