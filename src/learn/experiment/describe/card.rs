//! Training and test rows → of each feature how often it is missing, how many values it has, what these say about clicks, and
//! how far they moved from train to test.
//!
//! Counted on at most [`SAMPLE`] rows of each part, spread evenly, one feature at a time. With `n` clicks of `m` rows in training
//! bucket `i`, the *information* is the entropy of a click less that within the buckets, as a share of the former
//! (0: the feature says nothing alone): `1 − Σ mᵢ H(nᵢ/mᵢ) / (m H(n/m))`.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FORMAT, SliceConfig};
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::dataset::View;
use crate::learn::experiment::record::{DataRecord, PartRecord};
use crate::learn::split::Split;
use crate::metrics::losses::entropy;
use crate::metrics::stability::{expected_by_chance, stability_index};
use crate::model::Threads;
use crate::model::features::hash::{Fingerprint, missing_code, salt};
use crate::model::schema::FeatureKind;

/// Most rows of a part that are counted.
const SAMPLE: usize = 250_000;
/// Frequent values that are bins of their own in the stability index; all others are one bin, missing is one.
const BINS: usize = 30;

/// What is known about the rows of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Version of this layout.
    pub format: u32,
    /// Identity of the rows and of their split.
    pub data: Fingerprint,
    /// What was asked for.
    pub slices: SliceConfig,
    /// Rows to learn from.
    pub train: PartRecord,
    /// Rows that decide nothing.
    pub test: PartRecord,
    /// Training rows that were counted.
    pub train_counted: u64,
    /// Test rows that were counted.
    pub test_counted: u64,
    /// In the order of the schema.
    pub features: Vec<FeatureCard>,
}

/// One feature of a [`Card`]. Shares are those of the counted rows; of a bag only the first value is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureCard {
    /// Its name.
    pub name: String,
    /// `categorical`, `numeric` or `bag`.
    pub kind: String,
    /// Different values in training rows; of a numeric feature, bins.
    pub values: u64,
    /// Share of training rows without a value.
    pub missing_train: f64,
    /// Share of test rows without a value.
    pub missing_test: f64,
    /// Share of test rows whose value was not counted in training.
    pub unseen_test: f64,
    /// Population stability index from train to test, nats.
    pub stability: Option<f64>,
    /// What the index is on average when nothing has moved.
    pub stability_by_chance: f64,
    /// Share of the entropy of a click that the frequent values explain alone, 0 to 1, on training rows.
    pub information: f64,
}

/// Rows of each value of one feature: training, training with a click, test.
pub(super) type Counts = HashMap<u32, [u64; 3]>;

/// Counts the rows of a split, by feature in the order of the schema.
pub(super) fn describe(
    config: &SliceConfig,
    record: &DataRecord,
    split: &Split<'_>,
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<(Card, Vec<Counts>)> {
    let dataset = split.test.dataset();
    let (train, test) = (Sample::of(&split.train, interrupt)?, Sample::of(&split.test, interrupt)?);
    let counted: Vec<Counts> = threads.map(places(split).collect(), |at: usize| {
        let mut counts = Counts::new();
        for (row, label) in train.rows() {
            let count = counts.entry(row[at]).or_default();
            count[0] += 1;
            count[1] += u64::from(label);
        }
        for (row, _) in test.rows() {
            counts.entry(row[at]).or_default()[2] += 1;
        }
        counts
    });
    let features = dataset.schema().features.iter().zip(&counted);
    let features = features.map(|(feature, counts)| {
        let kind = match feature.kind {
            FeatureKind::Categorical { .. } => "categorical",
            FeatureKind::Numeric { .. } => "numeric",
            FeatureKind::Bag { .. } => "bag",
        };
        of_feature(&feature.name, kind, counts)
    });
    let card = Card {
        format: FORMAT,
        data: record.data_identity(),
        slices: config.clone(),
        train: record.train,
        test: record.test,
        train_counted: train.labels.len() as u64,
        test_counted: test.labels.len() as u64,
        features: features.collect(),
    };
    Ok((card, counted))
}

/// The place of each feature's first code in a row.
pub(super) fn places<'a>(split: &'a Split<'_>) -> impl Iterator<Item = usize> + 'a {
    split.test.dataset().encoder().features().scan(0, |next, (_, positions)| {
        let at = *next;
        *next += positions;
        Some(at)
    })
}

/// The `top` codes with the most rows of both parts; equal ones in the order of their codes.
pub(super) fn frequent(counts: &Counts, without: u32, top: usize) -> Vec<u32> {
    let mut codes: Vec<(u64, u32)> = counts
        .iter()
        .filter(|(code, _)| **code != without)
        .map(|(code, [train, _, test])| (train + test, *code))
        .collect();
    codes.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    codes.truncate(top);
    codes.into_iter().map(|(_, code)| code).collect()
}

fn of_feature(name: &str, kind: &str, counts: &Counts) -> FeatureCard {
    let missing = missing_code(salt(name));
    let [train, clicks, test] =
        counts.values().fold([0; 3], |sum: [u64; 3], count| std::array::from_fn(|at| sum[at] + count[at]));
    let share = |rows: u64, of: u64| rows as f64 / of.max(1) as f64;
    let without = counts.get(&missing).copied().unwrap_or_default();
    let unseen = counts.values().filter(|count| count[0] == 0).map(|count| count[2]).sum();
    let mut bins: Vec<[u64; 3]> = frequent(counts, missing, BINS).iter().map(|code| counts[code]).collect();
    let kept = |at: usize| bins.iter().map(|bin| bin[at]).sum::<u64>() + without[at];
    bins.extend([without, [train - kept(0), clicks - kept(1), test - kept(2)]]);
    bins.retain(|[train, _, test]| train + test > 0);
    let [before, after] = [0, 2].map(|at| bins.iter().map(|bin| bin[at]).collect::<Vec<u64>>());
    let all = entropy(share(clicks, train));
    let within: f64 = bins.iter().map(|[rows, clicks, _]| *rows as f64 * entropy(share(*clicks, *rows))).sum();
    FeatureCard {
        name: name.into(),
        kind: kind.into(),
        values: counts.iter().filter(|(code, count)| **code != missing && count[0] > 0).count() as u64,
        missing_train: share(without[0], train),
        missing_test: share(without[2], test),
        unseen_test: share(unseen, test),
        stability: stability_index(&before, &after),
        stability_by_chance: expected_by_chance(bins.len(), train.max(1), test.max(1)),
        information: if all > 0.0 { (1.0 - within / train.max(1) as f64 / all).max(0.0) } else { 0.0 },
    }
}

impl Card {
    /// Reads a card; `None` when there is none.
    ///
    /// # Errors
    /// Io when it cannot be read; data when it is none, or of another version.
    pub fn read(path: &Path) -> Result<Option<Card>> {
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        let card: Card =
            serde_json::from_str(&text).map_err(|error| wrong(format!("is no description of rows: {error}")))?;
        match card.format {
            FORMAT => Ok(Some(card)),
            other => Err(wrong(format!("expected format {FORMAT}, got {other}: remove the folder and run again"))),
        }
    }
}

/// Some rows of a part, copied.
struct Sample {
    codes: Vec<u32>,
    labels: Vec<u8>,
    width: usize,
}

impl Sample {
    fn of(view: &View<'_>, interrupt: &Interrupt) -> Result<Sample> {
        let width = view.dataset().width();
        let rows = view.rows();
        let step = rows.div_ceil(SAMPLE).max(1);
        let mut sample = Sample { codes: Vec::with_capacity(rows.div_ceil(step) * width), labels: Vec::new(), width };
        let mut position = 0;
        for piece in view.pieces() {
            interrupt.check()?;
            let first = (step - position % step) % step;
            for row in (first..piece.labels.len()).step_by(step) {
                sample.codes.extend_from_slice(&piece.codes[row * width..(row + 1) * width]);
                sample.labels.push(piece.labels[row]);
            }
            position += piece.labels.len();
        }
        Ok(sample)
    }

    fn rows(&self) -> impl Iterator<Item = (&[u32], u8)> {
        self.codes.chunks_exact(self.width).zip(self.labels.iter().copied())
    }
}
