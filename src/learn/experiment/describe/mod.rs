//! The rows of a split → what a report says about them without opening them: a data card, and for each test row the slices it
//! belongs to.
//!
//! ```text
//! OUT/rows/SPLIT.json      the card: of each feature missing values, different values, drift from train to test
//! OUT/rows/SPLIT.parquet   one line a test row, in the order of predictions: `row`, and a column of names for each slicing
//! ```
//!
//! Written once for each split of an experiment (one for each fold), before the first run. Prepared rows hold codes, so the names
//! of the frequent ones are looked up in the logs, as far as these are still there.

mod card;
mod columns;
pub(crate) mod names;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::DataRecord;
use crate::durable::write_bytes;
use crate::error::{Error, Result, nearest};
use crate::learn::Interrupt;
use crate::learn::split::Split;
use crate::model::Threads;
use crate::model::features::hash::Fingerprint;
use crate::model::schema::Schema;

pub use card::{Card, FeatureCard};
pub(super) use columns::OTHERS;
pub use columns::{Slicing, SlicingKind, Slicings};

/// Folder of an experiment that holds the description of its rows.
pub const ROWS: &str = "rows";
/// Version of the layout.
pub const FORMAT: u32 = 1;

/// Which slices of the test rows are judged apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SliceConfig {
    /// Features whose values are slices; without it the six that say most about clicks.
    pub fields: Option<Vec<String>>,
    /// Most values of a feature that are slices of their own, the frequent ones, 2 to 100; the others are one slice.
    pub top: usize,
    /// The feature that names the ad: its values are called new, rare or frequent by their training rows. Without it, one
    /// that is called so (`ad`, `ad_id`, `creative`, …), else the categorical feature with the most values.
    pub ad: Option<String>,
}

impl Default for SliceConfig {
    fn default() -> Self {
        SliceConfig { fields: None, top: 12, ad: None }
    }
}

impl SliceConfig {
    /// Checks bounds, and names of features where the schema is known; `place` is named in errors.
    ///
    /// # Errors
    /// Config, naming the key.
    pub fn check(&self, schema: Option<&Schema>, place: &str) -> Result<()> {
        if !(2..=100).contains(&self.top) {
            return Err(Error::config(place, "slices.top", format!("expected 2 to 100, got {}", self.top)));
        }
        let Some(schema) = schema else { return Ok(()) };
        let named = self.fields.iter().flatten().map(|field| ("slices.fields", field));
        for (key, field) in named.chain(self.ad.iter().map(|field| ("slices.ad", field))) {
            let known = || schema.features.iter().map(|feature| feature.name.as_str());
            if !known().any(|name| name == field) {
                let hint = nearest(field, known());
                return Err(Error::config(
                    place,
                    key,
                    format!("expected a feature of the schema, got {field:?}{hint}"),
                ));
            }
        }
        Ok(())
    }
}

/// Describes the rows of `split` in the experiment's folder `out`, unless that was done before.
///
/// # Errors
/// Config when a feature is not in the schema; io when the place cannot be written; interrupted.
pub fn write(
    out: &Path,
    config: &SliceConfig,
    record: &DataRecord,
    split: &Split<'_>,
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<()> {
    let schema = split.test.dataset().schema();
    config.check(Some(schema), "recipe")?;
    let [json, parquet] = paths(out, record.split);
    let kept = Card::read(&json).ok().flatten();
    if parquet.is_file() && kept.is_some_and(|card| card.data == record.data_identity() && card.slices == *config) {
        return Ok(());
    }
    let (card, counted) = card::describe(config, record, split, threads, interrupt)?;
    let slicings = columns::slicings(config, &card, &counted, split, interrupt)?;
    slicings.write(&parquet)?;
    // The card comes last: where it stands, the other one does.
    let mut text = serde_json::to_string_pretty(&card).map_err(|error| Error::Bug(error.to_string()))?;
    text.push('\n');
    write_bytes(&json, text.as_bytes())
}

/// The card and the slicings of a split in the experiment's folder; `None` where they were not written.
///
/// # Errors
/// Io and data when they are there and cannot be read.
pub fn read(out: &Path, record: &DataRecord) -> Result<Option<(Card, Slicings)>> {
    let [json, parquet] = paths(out, record.split);
    match Card::read(&json)? {
        Some(card) if card.data == record.data_identity() => Ok(Some((card, Slicings::read(&parquet)?))),
        _ => Ok(None),
    }
}

fn paths(out: &Path, split: Fingerprint) -> [PathBuf; 2] {
    ["json", "parquet"].map(|ending| out.join(ROWS).join(format!("{split}.{ending}")))
}

impl DataRecord {
    /// Identity of the rows and of their split.
    fn data_identity(&self) -> Fingerprint {
        Fingerprint::of(format!("{} {}", self.fingerprint, self.split).as_bytes())
    }
}
