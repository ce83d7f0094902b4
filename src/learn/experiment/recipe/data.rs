//! `[data]` and `[leakage]`: where the rows of a recipe are, and what is refused because test rows would be known from
//! training.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where the rows are: `files` for one log that is split, `train` and `test` (and `valid`) for logs that stand apart, or
/// `prepared` for a folder that `pctr prepare` made. Paths are relative to the recipe's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Preset or schema file; not needed with `prepared`.
    pub schema: Option<String>,
    /// Logs that are read in this order and then split.
    pub files: Vec<PathBuf>,
    /// Logs to learn from.
    pub train: Vec<PathBuf>,
    /// Logs that decide calibration, early stopping and grids; without them the last tenth of `train`.
    pub valid: Vec<PathBuf>,
    /// Logs that decide nothing.
    pub test: Vec<PathBuf>,
    /// A folder of prepared data.
    pub prepared: Option<PathBuf>,
    /// True click probabilities, where data were generated: files with header `p` and one line for each row of `files` (of
    /// `test` where logs stand apart).
    pub truth: Vec<PathBuf>,
    /// Share of bad rows that is borne, 0 to 1; without it the default of `pctr prepare`.
    pub max_bad_rows: Option<f64>,
}

/// What is refused because test rows would be known from training. What is found is counted in records either way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakageConfig {
    /// Bear test or validation rows that are not later than the training rows, where files stand apart and rows have a time.
    pub allow_time_overlap: bool,
    /// Largest share of test rows that may be copies of training or validation rows: the same label, weight, time and group, and
    /// the same values as the encoder keeps them. Without it 0.01 where rows have a time or a group; where they have neither,
    /// equal rows may well be different impressions, and are only counted.
    pub max_duplicates: Option<f64>,
}

impl LeakageConfig {
    /// Checks bounds; `place` is named in errors.
    pub(super) fn check(&self, place: &str) -> Result<()> {
        match self.max_duplicates {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(Error::config(
                place,
                "leakage.max_duplicates",
                format!("expected a share from 0 to 1, got {share}"),
            )),
            _ => Ok(()),
        }
    }
}

impl DataConfig {
    /// Checks that exactly one way to name rows was taken; `place` is named in errors.
    pub(super) fn check(&self, split_given: bool, place: &str) -> Result<()> {
        let wrong = |key: &str, message: &str| Err(Error::config(place, key, message));
        let apart = !self.train.is_empty() || !self.test.is_empty() || !self.valid.is_empty();
        let ways = usize::from(!self.files.is_empty()) + usize::from(apart) + usize::from(self.prepared.is_some());
        if ways != 1 {
            return wrong("data", "expected exactly one of files, train and test, or prepared");
        }
        if apart && (self.train.is_empty() || self.test.is_empty()) {
            return wrong("data", "files that stand apart need both train and test");
        }
        if apart && split_given {
            return wrong("split", "files that stand apart are split already: leave [split] out");
        }
        if self.schema.is_none() && self.prepared.is_none() {
            return wrong("data.schema", "expected a preset (criteo, avazu, demo) or a .toml file, got nothing");
        }
        if self.schema.is_some() && self.prepared.is_some() {
            return wrong("data.schema", "prepared data bring their own schema: leave it out");
        }
        let inputs = self.files.iter().chain(&self.train).chain(&self.valid).chain(&self.test).chain(&self.truth);
        if inputs.into_iter().any(|path| path.as_os_str() == "-") {
            return wrong("data", "standard input cannot be read twice: expected files");
        }
        match self.max_bad_rows {
            Some(share) if !(0.0..=1.0).contains(&share) => wrong("data.max_bad_rows", "expected a share from 0 to 1"),
            _ => Ok(()),
        }
    }
}
