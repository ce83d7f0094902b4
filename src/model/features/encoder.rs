//! Cells of a row → codes, one for each position of the schema's features.
//!
//! Stateless but for what quantile bins learn from the rows seen at prepare time, so that a row gets the same codes in
//! a file, in prepared data and in a request.

use serde::{Deserialize, Serialize};

use super::hash::{EMPTY_CODE, Fingerprint, bin_code, missing_code, salt, value_code};
use crate::kernels::text::{NO_INTEGER, small_integers};
use crate::model::codec;
use crate::model::row::{Cell, CellError, TextRows, number};
use crate::model::schema::{Bins, FeatureKind, Schema};

/// Turns cells into codes. Learned by [`EncoderBuilder`], then only read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    features: Vec<FeatureEncoder>,
    schema: Fingerprint,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FeatureEncoder {
    name: String,
    pub(super) column: usize,
    pub(super) salt: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    Categorical,
    Characters(usize, usize),
    LogSquare,
    /// Upper edges of all bins but the last, ascending.
    Quantile(Vec<f64>),
    Bag {
        separator: u8,
        max_values: usize,
    },
}

impl Encoder {
    /// Codes in one row.
    pub fn width(&self) -> usize {
        self.features.iter().map(|feature| feature.kind.positions()).sum()
    }

    /// Fingerprint of the schema it was learned for.
    pub fn schema(&self) -> Fingerprint {
        self.schema
    }

    /// Identity of every row → codes mapping it makes.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&codec::encode(self))
    }

    pub(super) fn encoders(&self) -> &[FeatureEncoder] {
        &self.features
    }

    /// Names and positions of the features, in the order of the codes.
    pub fn features(&self) -> impl Iterator<Item = (&str, usize)> {
        self.features.iter().map(|feature| (feature.name.as_str(), feature.kind.positions()))
    }

    /// Encodes one row: `cells` stand in the order of the schema's columns, `codes` has [`Encoder::width`] places.
    ///
    /// # Errors
    /// When a numeric cell holds something that is no finite number.
    pub fn encode(&self, cells: &[Cell<'_>], codes: &mut [u32]) -> Result<(), CellError> {
        let mut at = 0;
        for feature in &self.features {
            let positions = feature.kind.positions();
            feature.encode(cells[feature.column], &mut codes[at..at + positions])?;
            at += positions;
        }
        Ok(())
    }
}

impl FeatureEncoder {
    #[inline]
    pub(super) fn encode(&self, cell: Cell<'_>, codes: &mut [u32]) -> Result<(), CellError> {
        match &self.kind {
            Kind::Categorical => codes[0] = self.categorical(cell),
            Kind::Characters(start, end) => {
                codes[0] = match cell {
                    Cell::Text(text) => self.categorical(Cell::Text(text.get(*start..*end).unwrap_or(text))),
                    other => self.categorical(other),
                }
            }
            Kind::LogSquare | Kind::Quantile(_) => {
                codes[0] = self.number(cell)?.map_or(missing_code(self.salt), |x| bin_code(self.salt, self.bin(x)))
            }
            Kind::Bag { separator, max_values } => self.bag(cell, *separator, *max_values, codes),
        }
        Ok(())
    }

    #[inline]
    fn categorical(&self, cell: Cell<'_>) -> u32 {
        match cell {
            Cell::Missing => missing_code(self.salt),
            Cell::Text(text) => value_code(self.salt, text),
            Cell::Number(number) => value_code(self.salt, number.to_string().as_bytes()),
            Cell::Values(values) => {
                values.first().map_or(missing_code(self.salt), |value| value_code(self.salt, value))
            }
        }
    }

    #[inline]
    fn number(&self, cell: Cell<'_>) -> Result<Option<f64>, CellError> {
        match cell {
            Cell::Missing => Ok(None),
            cell => number(cell).map(Some).ok_or_else(|| CellError::new(&self.name, "a finite number", cell)),
        }
    }

    /// Bin of a number; only for numeric kinds.
    #[inline]
    pub(super) fn bin(&self, x: f64) -> i64 {
        match &self.kind {
            Kind::Quantile(edges) => edges.partition_point(|edge| *edge < x) as i64,
            _ => log_square(x),
        }
    }

    /// The first `max_values` values; none at all is one missing value.
    fn bag(&self, cell: Cell<'_>, separator: u8, max_values: usize, codes: &mut [u32]) {
        codes.fill(EMPTY_CODE);
        let code = |value: &[u8]| value_code(self.salt, value);
        match cell {
            Cell::Text(text) => {
                let values = text.split(|byte| *byte == separator).filter(|value| !value.is_empty());
                codes.iter_mut().zip(values.take(max_values)).for_each(|(place, value)| *place = code(value));
            }
            Cell::Values(values) => {
                codes.iter_mut().zip(values.iter().take(max_values)).for_each(|(place, value)| *place = code(value));
            }
            Cell::Number(number) => codes[0] = code(number.to_string().as_bytes()),
            Cell::Missing => {}
        }
        if codes[0] == EMPTY_CODE {
            codes[0] = missing_code(self.salt);
        }
    }
}

impl Kind {
    pub(super) fn positions(&self) -> usize {
        match self {
            Kind::Bag { max_values, .. } => *max_values,
            _ => 1,
        }
    }
}

/// `floor(ln(x)²)` for x > 2, shifted above the plain integers that stand for themselves.
#[inline]
fn log_square(x: f64) -> i64 {
    const ABOVE_PLAIN: i64 = 1_000;
    if x > 2.0 {
        let log = x.ln();
        ABOVE_PLAIN + (log * log).floor() as i64
    } else {
        x.floor().max(-1e9) as i64
    }
}

/// Quantile bins that a number of rows can tell apart: 16 up to 50,000 rows, then growing with their sixth root (32 at 3.2
/// million, 51 at 50 million). On 56,000 real rows 16 were better than 24, 32 and 64 (`docs/learning.md`).
fn automatic_bins(rows: u64) -> usize {
    (16.0 * (rows as f64 / 50_000.0).max(1.0).powf(1.0 / 6.0)).round() as usize
}

/// Learns an [`Encoder`] from the rows it observes.
///
/// Quantile edges come from a sample of at most [`EncoderBuilder::SAMPLE`] rows, spread evenly over all rows seen, so memory
/// does not grow with them.
#[derive(Debug)]
pub struct EncoderBuilder {
    encoder: Encoder,
    quantiles: Vec<(usize, Option<u16>, Vec<f64>)>,
    rows: u64,
    stride: u64,
}

impl EncoderBuilder {
    /// Most rows that quantile edges are learned from.
    pub const SAMPLE: usize = 100_000;

    /// An encoder to be learned for `schema`.
    pub fn new(schema: &Schema) -> Self {
        let mut quantiles = Vec::new();
        let features = schema.features.iter().enumerate().map(|(position, feature)| FeatureEncoder {
            name: feature.name.clone(),
            column: feature.column,
            salt: salt(&feature.name),
            kind: match &feature.kind {
                FeatureKind::Categorical { characters: None } => Kind::Categorical,
                FeatureKind::Categorical { characters: Some(range) } => Kind::Characters(range.start, range.end),
                FeatureKind::Numeric { bins: Bins::LogSquare } => Kind::LogSquare,
                FeatureKind::Numeric { bins: Bins::Quantile(count) } => {
                    quantiles.push((position, *count, Vec::new()));
                    Kind::Quantile(Vec::new())
                }
                FeatureKind::Bag { separator, max_values } => {
                    Kind::Bag { separator: *separator, max_values: *max_values }
                }
            },
        });
        let encoder = Encoder { features: features.collect(), schema: schema.fingerprint() };
        EncoderBuilder { encoder, quantiles, rows: 0, stride: 1 }
    }

    /// Whether rows must be observed at all; without quantile bins nothing is learned.
    pub fn learns(&self) -> bool {
        !self.quantiles.is_empty()
    }

    /// Looks at one row. Cells that are no numbers are left to [`Encoder::encode`] to refuse.
    pub fn observe(&mut self, cells: &[Cell<'_>]) {
        let mut sample = self.sample();
        sample.row(cells);
        self.observe_sample(&sample);
    }

    /// An empty sample, to be filled apart from the builder.
    pub fn sample(&self) -> Sample {
        let columns = self.quantiles.iter().map(|(position, ..)| self.encoder.features[*position].column);
        Sample { columns: columns.collect(), rows: 0, numbers: Vec::new() }
    }

    /// Looks at the rows of a sample, in order.
    pub fn observe_sample(&mut self, sample: &Sample) {
        let width = sample.columns.len();
        for row in 0..sample.rows {
            self.observe_numbers(&sample.numbers[row * width..(row + 1) * width]);
        }
    }

    fn observe_numbers(&mut self, numbers: &[f64]) {
        if self.rows.is_multiple_of(self.stride) {
            for ((_, _, sample), number) in self.quantiles.iter_mut().zip(numbers) {
                sample.push(*number);
            }
            if self.quantiles.first().is_some_and(|(_, _, sample)| sample.len() >= Self::SAMPLE) {
                self.stride *= 2;
                for (_, _, sample) in &mut self.quantiles {
                    let mut keep = false;
                    sample.retain(|_| {
                        keep = !keep;
                        keep
                    });
                }
            }
        }
        self.rows += 1;
    }

    /// Rows observed.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The encoder, learned from all rows observed.
    pub fn finish(self) -> Encoder {
        let rows = self.rows;
        self.finish_on_first(rows, rows)
    }

    /// The encoder, learned from the first `first` rows observed, which stand for `rows` rows.
    pub fn finish_on_first(mut self, first: u64, rows: u64) -> Encoder {
        let first = first.min(self.rows);
        for (position, count, mut sample) in self.quantiles {
            let count = count.map_or_else(|| automatic_bins(rows), usize::from);
            sample.truncate(first.div_ceil(self.stride) as usize);
            sample.retain(|value| !value.is_nan());
            sample.sort_unstable_by(f64::total_cmp);
            let mut edges: Vec<f64> = (1..count)
                .filter_map(|bin| sample.get((bin * sample.len() / count).min(sample.len().saturating_sub(1))).copied())
                .collect();
            edges.dedup();
            self.encoder.features[position].kind = Kind::Quantile(edges);
        }
        self.encoder
    }
}

/// Numbers of some rows that quantile edges are learned from. A missing one, or something else than a number, is NaN, so that
/// all columns thin out alike.
#[derive(Debug, Clone)]
pub struct Sample {
    columns: Vec<usize>,
    rows: usize,
    numbers: Vec<f64>,
}

impl Sample {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Forgets the rows.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.numbers.clear();
    }

    /// Adds one row: `cells` stand in the order of the schema's columns.
    pub fn row(&mut self, cells: &[Cell<'_>]) {
        self.numbers.extend(self.columns.iter().map(|column| number(cells[*column]).unwrap_or(f64::NAN)));
        self.rows += 1;
    }

    /// Adds neighboring rows of a text.
    pub fn rows_of(&mut self, rows: &TextRows<'_>) {
        let width = self.columns.len();
        let cells = rows.rows() * width;
        let (mut words, mut lengths, mut integers) = (vec![0; cells], vec![0; cells], vec![0; cells]);
        if width > 0 {
            rows.words(&self.columns, 0, width, &mut words, &mut lengths);
        }
        small_integers(&words, &lengths, &mut integers);
        self.numbers.extend(integers.iter().zip(&lengths).enumerate().map(|(at, (integer, length))| match *integer {
            NO_INTEGER if *length == 0 => f64::NAN,
            NO_INTEGER => number(rows.cell(at / width, self.columns[at % width])).unwrap_or(f64::NAN),
            integer => f64::from(integer),
        }));
        self.rows += rows.rows();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"
        version = 1
        name = "test"
        [fields]
        y = { kind = "label" }
        site = { kind = "categorical" }
        prefix = { kind = "categorical", column = "site", characters = [0, 2] }
        age = { kind = "numeric" }
        price = { kind = "numeric", bins = { quantile = 4 } }
        tags = { kind = "bag", max_values = 3 }
    "#;

    fn encode(encoder: &Encoder, site: &str, age: &str, price: &str, tags: Cell<'_>) -> Result<Vec<u32>, CellError> {
        let text = |value: &'_ str| {
            if value.is_empty() { Cell::Missing } else { Cell::Text(value.to_owned().leak().as_bytes()) }
        };
        let mut codes = vec![0; encoder.width()];
        encoder.encode(&[Cell::Text(b"0"), text(site), text(age), text(price), tags], &mut codes)?;
        Ok(codes)
    }

    fn learned() -> Encoder {
        let schema = Schema::parse(SCHEMA, "test").unwrap();
        let mut builder = EncoderBuilder::new(&schema);
        for price in 0..1000 {
            builder.observe(&[Cell::Missing, Cell::Missing, Cell::Missing, Cell::Number(price as f64), Cell::Missing]);
        }
        builder.finish()
    }

    #[test]
    fn same_value_same_code_different_field_different_code() {
        let encoder = learned();
        let a = encode(&encoder, "news.example", "30", "10", Cell::Text(b"x|y")).unwrap();
        let b = encode(&encoder, "ne", "30.0", "11", Cell::Values(&[b"x", b"y"])).unwrap();
        assert_ne!(a[0], b[0], "other site");
        assert_eq!(a[1], b[1], "same first two characters");
        assert_ne!(b[0], b[1], "same text, other feature");
        assert_eq!(a[2..], b[2..], "same bins, same bag");
        assert_eq!(a.len(), 7);
        assert_eq!(a[6], EMPTY_CODE, "third place of the bag");
    }

    #[test]
    fn quantile_bins_have_equal_mass() {
        let encoder = learned();
        let mut counts = std::collections::HashMap::new();
        for price in 0..1000 {
            let codes = encode(&encoder, "", "", &price.to_string(), Cell::Missing).unwrap();
            *counts.entry(codes[3]).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 4);
        assert!(counts.values().all(|count| (240..=260).contains(count)), "{counts:?}");
    }

    #[test]
    fn missing_is_a_value_and_nonsense_an_error() {
        let encoder = learned();
        let missing = encode(&encoder, "", "", "", Cell::Missing).unwrap();
        assert!(missing[..5].iter().all(|code| *code != EMPTY_CODE));
        for bad in ["abc", "NaN", "inf"] {
            let error = encode(&encoder, "", bad, "", Cell::Missing).unwrap_err();
            assert_eq!((error.field.as_str(), error.expected), ("age", "a finite number"));
        }
    }

    #[test]
    fn samples_stay_small() {
        let schema = Schema::parse(SCHEMA, "test").unwrap();
        let mut builder = EncoderBuilder::new(&schema);
        for price in 0..3 * EncoderBuilder::SAMPLE {
            builder.observe(&[Cell::Missing, Cell::Missing, Cell::Missing, Cell::Number(price as f64), Cell::Missing]);
        }
        assert!(builder.quantiles[0].2.len() <= EncoderBuilder::SAMPLE);
        let encoder = builder.finish();
        let Kind::Quantile(edges) = &encoder.features[3].kind else { panic!("price has quantile bins") };
        assert!((edges[1] - 150_000.0).abs() < 10.0, "{edges:?}");
    }
}
