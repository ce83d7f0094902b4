//! Logs → what stands in them, field by field, and what the encoder makes of it.
//!
//! One pass over all rows (two when quantile bins are learned), in bounded memory: the number of different values is exact
//! up to `sketch::EXACT_VALUES` and estimated to about 1 % beyond; frequent values are counted with a bounded error.

mod sketch;

use std::ops::ControlFlow;

use serde::Serialize;

pub use sketch::Distinct;

use super::Interrupt;
use super::dataset::{BadRowsRecord, InputRecord};
use super::prepare::learn_encoder;
use super::source::{BadRows, Found, Input, Progress, Reading, Refusal, read_rows};
use crate::error::Result;
use crate::model::Threads;
use crate::model::features::hash::EMPTY_CODE;
use crate::model::row::{Cell, number, targets};
use crate::model::schema::{Bins, Feature, FeatureKind, Schema};
pub(super) use sketch::DistinctCodes;
use sketch::TopValues;

/// Frequent values shown for each field.
const TOP: usize = 5;

/// What stands in some logs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Name of the schema they were read by.
    pub schema: String,
    /// The logs.
    pub inputs: Vec<InputRecord>,
    /// Good rows.
    pub rows: u64,
    /// Rows with label 1.
    pub clicks: u64,
    /// Clicks by rows.
    pub ctr: f64,
    /// Sum of the weights, if the schema has a weight.
    pub weight: Option<f64>,
    /// First and last time, if the schema has a time.
    pub time: Option<TimeSpan>,
    /// Number of different groups, if the schema has a group.
    pub groups: Option<Distinct>,
    /// Rows that cannot be used.
    pub bad_rows: BadRowsRecord,
    /// The features, in the schema's order.
    pub fields: Vec<FieldInspection>,
    /// Codes in an encoded row.
    pub width: usize,
    /// Settings that fit these rows.
    pub recommended: Recommended,
}

/// When rows happened, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeSpan {
    /// Earliest.
    pub first: i64,
    /// Latest.
    pub last: i64,
    /// Whether rows stand in time order.
    pub sorted: bool,
}

/// What stands in one field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldInspection {
    /// Name of the feature.
    pub name: String,
    /// What the encoder does with it.
    pub encoding: String,
    /// Codes it becomes.
    pub positions: usize,
    /// Share of rows without a value.
    pub missing_share: f64,
    /// CTR of the rows with a value; `None` without such rows.
    pub ctr: Option<f64>,
    /// CTR of the rows without one.
    pub missing_ctr: Option<f64>,
    /// Number of different values after encoding (bins, for numbers), the missing one not counted.
    pub distinct: Distinct,
    /// Frequent values, most frequent first.
    pub top: Vec<FrequentValue>,
    /// Smallest, mean and greatest number, for numeric fields.
    pub numbers: Option<Numbers>,
}

/// One frequent value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrequentValue {
    /// The value as text.
    pub value: String,
    /// Share of rows that have it.
    pub share: f64,
    /// CTR of those rows.
    pub ctr: f64,
    /// The code it becomes.
    pub code: u32,
}

/// Range of a numeric field.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Numbers {
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Greatest.
    pub max: f64,
}

/// Settings that fit some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Recommended {
    /// Binary logarithm of a hash table with four slots for each value, 12 to 28.
    pub hash_bits: u8,
    /// Rarer values share one slot of their field in a vocabulary.
    pub min_count: u32,
}

/// Inspects logs as one.
///
/// # Errors
/// Those of [`read_rows`].
pub fn inspect(
    inputs: &[Input],
    schema: &Schema,
    max_bad_rows: f64,
    progress: &mut dyn FnMut(Progress),
    interrupt: &Interrupt,
) -> Result<Inspection> {
    let reading = Reading { schema, targets: true, interrupt };
    let (encoder, inputs) = learn_encoder(inputs, reading, None, Threads::one())?;
    let mut bad = BadRows::new(max_bad_rows)?;
    let mut all = Totals::default();
    let mut fields: Vec<FieldCounts> = schema.features.iter().map(|_| FieldCounts::default()).collect();
    let mut codes = vec![0; encoder.width()];
    let mut records = Vec::new();
    let mut before = 0;
    for input in &inputs {
        let mut visit = |found: Found<'_>| {
            if let Found::Row { cells, .. } = found {
                let targets = targets(schema, cells)?;
                encoder.encode(cells, &mut codes)?;
                all.add(targets);
                let mut rest = codes.as_slice();
                for (counts, feature) in fields.iter_mut().zip(&schema.features) {
                    let (own, next) = rest.split_at(feature.kind.positions());
                    rest = next;
                    counts.add(feature, cells[feature.column], own, targets.label);
                }
            }
            Ok::<_, Refusal>(ControlFlow::Continue(()))
        };
        let mut at = |at: Progress| progress(Progress { bytes: before + at.bytes, ..at });
        let record = read_rows(input, reading, &mut bad, &mut at, &mut visit)?;
        before += record.bytes;
        records.push(record);
    }
    let names: Vec<&str> = inputs.iter().map(Input::name).collect();
    bad.finish(&names.join(", "))?;

    let values: u64 = fields.iter().map(|counts| counts.distinct.count().count).sum();
    let fields =
        fields.into_iter().zip(&schema.features).map(|(counts, feature)| counts.finish(feature, &all)).collect();
    Ok(Inspection {
        schema: schema.name.clone(),
        inputs: records,
        rows: all.rows,
        clicks: all.clicks,
        ctr: all.clicks as f64 / all.rows as f64,
        weight: schema.weight.map(|_| all.weight),
        time: schema.time.and(all.time),
        groups: schema.group.map(|_| all.groups.count()),
        bad_rows: bad.record().clone(),
        fields,
        width: encoder.width(),
        recommended: recommended(all.rows, values),
    })
}

/// Four slots for each value leave about every fifth value to share its slot. The minimum count is that of the public
/// benchmarks on Criteo's rows (BARS); with few rows almost every value would fall below it.
fn recommended(rows: u64, values: u64) -> Recommended {
    let hash_bits = (u64::BITS - (values.max(1) * 4 - 1).leading_zeros()).clamp(12, 28) as u8;
    Recommended { hash_bits, min_count: if rows < 20_000 { 2 } else { 10 } }
}

#[derive(Default)]
struct Totals {
    rows: u64,
    clicks: u64,
    weight: f64,
    time: Option<TimeSpan>,
    latest: i64,
    groups: DistinctCodes,
}

impl Totals {
    fn add(&mut self, targets: crate::model::row::Targets) {
        let time = targets.time;
        let span = self.time.get_or_insert(TimeSpan { first: time, last: time, sorted: true });
        span.sorted &= self.rows == 0 || time >= self.latest;
        span.first = span.first.min(time);
        span.last = span.last.max(time);
        self.latest = time;
        self.rows += 1;
        self.clicks += u64::from(targets.label);
        self.weight += f64::from(targets.weight);
        self.groups.add((targets.group >> 32) as u32);
    }
}

#[derive(Default)]
struct FieldCounts {
    present: u64,
    present_clicks: u64,
    distinct: DistinctCodes,
    top: TopValues,
    numbers: Option<Numbers>,
}

impl FieldCounts {
    fn add(&mut self, feature: &Feature, cell: Cell<'_>, codes: &[u32], label: u8) {
        if cell == Cell::Missing {
            return;
        }
        self.present += 1;
        self.present_clicks += u64::from(label);
        let codes = codes.iter().copied().filter(|code| *code != EMPTY_CODE);
        codes.clone().for_each(|code| self.distinct.add(code));
        let mut add = |value: &[u8], code: Option<u32>| self.top.add(value, label, code.unwrap_or(EMPTY_CODE));
        match (&feature.kind, cell) {
            (FeatureKind::Bag { separator, .. }, Cell::Text(text)) => {
                let values = text.split(|byte| byte == separator).filter(|value| !value.is_empty());
                values.zip(codes).for_each(|(value, code)| add(value, Some(code)));
            }
            (_, Cell::Values(values)) => values.iter().zip(codes).for_each(|(value, code)| add(value, Some(code))),
            (FeatureKind::Categorical { characters: Some(range) }, Cell::Text(text)) => {
                add(text.get(range.clone()).unwrap_or(text), codes.clone().next());
            }
            (_, Cell::Text(text)) => add(text, codes.clone().next()),
            (_, Cell::Number(number)) => add(number.to_string().as_bytes(), codes.clone().next()),
            (_, Cell::Missing) => {}
        }
        if let (FeatureKind::Numeric { .. }, Some(x)) = (&feature.kind, number(cell)) {
            let seen = self.numbers.get_or_insert(Numbers { min: x, mean: 0.0, max: x });
            seen.min = seen.min.min(x);
            seen.max = seen.max.max(x);
            seen.mean += (x - seen.mean) / self.present as f64;
        }
    }

    fn finish(self, feature: &Feature, all: &Totals) -> FieldInspection {
        let missing = all.rows - self.present;
        let ctr = |clicks: u64, rows: u64| (rows > 0).then(|| clicks as f64 / rows as f64);
        let top = self.top.most_frequent(TOP).into_iter().map(|value| FrequentValue {
            value: String::from_utf8_lossy(&value.value).into_owned(),
            share: value.rows as f64 / all.rows as f64,
            ctr: value.clicks as f64 / value.rows as f64,
            code: value.code,
        });
        FieldInspection {
            name: feature.name.clone(),
            encoding: encoding(&feature.kind),
            positions: feature.kind.positions(),
            missing_share: missing as f64 / all.rows as f64,
            ctr: ctr(self.present_clicks, self.present),
            missing_ctr: ctr(all.clicks - self.present_clicks, missing),
            distinct: self.distinct.count(),
            top: top.collect(),
            numbers: self.numbers,
        }
    }
}

/// What the encoder does with a field, in words.
fn encoding(kind: &FeatureKind) -> String {
    match kind {
        FeatureKind::Categorical { characters: None } => "hash of the value".into(),
        FeatureKind::Categorical { characters: Some(range) } => {
            format!("hash of characters {} to {}", range.start, range.end)
        }
        FeatureKind::Numeric { bins: Bins::LogSquare } => "log-square bins".into(),
        FeatureKind::Numeric { bins: Bins::Quantile(Some(count)) } => format!("{count} quantile bins"),
        FeatureKind::Numeric { bins: Bins::Quantile(None) } => "quantile bins (automatic)".into(),
        FeatureKind::Bag { max_values, .. } => format!("up to {max_values} hashes"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SCHEMA: &str = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\nt = { kind = \"time\" }\n\
        g = { kind = \"group\" }\nsite = { kind = \"categorical\" }\nage = { kind = \"numeric\", bins = { quantile = 4 } }\n\
        tags = { kind = \"bag\", max_values = 2 }\n";

    #[test]
    fn fields_are_counted() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "y,t,g,site,age,tags").unwrap();
        for row in 0..1_000 {
            let site = if row % 10 == 0 { String::new() } else { format!("s{}", row % 4) };
            writeln!(file, "{},{},{},{site},{row},a|b{}", row % 5 / 4, 100 + row, row / 3, row % 7).unwrap();
        }
        writeln!(file, "2,1,1,x,1,a").unwrap();
        let schema = Schema::parse(SCHEMA, "t").unwrap();
        let inputs = [Input::new(file.path())];
        let seen = inspect(&inputs, &schema, 0.01, &mut |_| {}, &Interrupt::default()).unwrap();
        assert_eq!((seen.rows, seen.clicks, seen.ctr, seen.bad_rows.count), (1_000, 200, 0.2, 1));
        assert_eq!(seen.time, Some(TimeSpan { first: 100, last: 1_099, sorted: true }));
        assert_eq!(seen.groups, Some(Distinct { count: 334, exact: true }));
        let [site, age, tags] = &seen.fields[..] else { panic!("three features") };
        assert_eq!((site.missing_share, site.distinct, site.top.len()), (0.1, Distinct { count: 4, exact: true }, 4));
        assert_eq!(site.missing_ctr, Some(0.0), "rows 0, 10, … are no clicks");
        assert_eq!(site.top[0].share, 0.25, "s1 and s3 lose no row");
        assert_eq!(age.numbers.map(|numbers| (numbers.min, numbers.max)), Some((0.0, 999.0)));
        assert!((age.numbers.unwrap().mean - 499.5).abs() < 1e-9);
        assert_eq!((age.distinct.count, age.encoding.as_str()), (4, "4 quantile bins"));
        assert_eq!((tags.top[0].value.as_str(), tags.top[0].share, tags.distinct.count), ("a", 1.0, 8));
        assert_eq!(seen.recommended, Recommended { hash_bits: 12, min_count: 2 });
        assert_eq!(recommended(1 << 20, 1 << 20), Recommended { hash_bits: 22, min_count: 10 });
    }
}
