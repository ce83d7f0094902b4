//! Schema: which columns a log has, what each one means, and how it becomes features.
//!
//! A schema is a TOML file (see `data/schemas/`). It is parsed into [`Schema`], which is checked once and then only
//! read: by the sources that read logs, by the encoder, and by the service that reads requests. Its fingerprint goes
//! into everything made with it, so that a bundle is never fed with another log's columns.

mod raw;

use std::ops::Range;

use serde::Serialize;

use crate::error::{Error, Result, nearest};
use crate::model::codec;
use crate::model::features::hash::Fingerprint;

/// Schemas that come with `pctr`.
pub const PRESETS: [(&str, &str); 3] = [
    ("criteo", include_str!("../../../data/schemas/criteo.toml")),
    ("avazu", include_str!("../../../data/schemas/avazu.toml")),
    ("demo", include_str!("../../../data/schemas/demo.toml")),
];

/// A checked schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Name, as `--schema` takes it for a preset.
    pub name: String,
    /// How text files of this log are read.
    pub text: TextFormat,
    /// Whether rows stand in time order in their files, so that a split by row order is a split by time.
    pub rows_in_time_order: bool,
    /// Names of the file's columns, in file order when the file has no header.
    pub columns: Vec<String>,
    /// The features, in the order of the file.
    pub features: Vec<Feature>,
    /// Explicit crosses that linear models use by default: positions in `features`.
    pub crosses: Vec<Vec<usize>>,
    /// Column of the label.
    pub label: usize,
    /// Column of the row's weight in the loss.
    pub weight: Option<usize>,
    /// Column of the time, and how it is written.
    pub time: Option<(usize, TimeFormat)>,
    /// Column of the request or user that groups rows for grouped metrics.
    pub group: Option<usize>,
    /// The text it was parsed from; bundles carry it.
    pub source: String,
}

/// How text files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFormat {
    /// One byte between cells.
    pub delimiter: u8,
    /// Whether the first line names the columns.
    pub header: bool,
}

/// How a time column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// Seconds since 1970 (UTC).
    Seconds,
    /// Milliseconds since 1970 (UTC).
    Milliseconds,
    /// Avazu's `YYMMDDHH`.
    Yymmddhh,
}

/// One feature: a column and how its cells become codes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Feature {
    /// Name; its hash salts the codes, so that equal values of two features differ.
    pub name: String,
    /// Position in [`Schema::columns`].
    pub column: usize,
    /// What the cells are.
    pub kind: FeatureKind,
}

/// What the cells of a feature are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum FeatureKind {
    /// One value out of many.
    Categorical {
        /// Use only these characters of the value (bytes), e.g. the hour in `YYMMDDHH`.
        characters: Option<Range<usize>>,
    },
    /// A number; missing allowed.
    Numeric {
        /// How it becomes a value out of many.
        bins: Bins,
    },
    /// Several values in one cell.
    Bag {
        /// One byte between values.
        separator: u8,
        /// Values beyond this many are dropped, the first ones are kept.
        max_values: usize,
    },
}

impl FeatureKind {
    /// Codes that one cell becomes.
    pub fn positions(&self) -> usize {
        match self {
            FeatureKind::Categorical { .. } | FeatureKind::Numeric { .. } => 1,
            FeatureKind::Bag { max_values, .. } => *max_values,
        }
    }
}

/// How a number becomes one value out of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Bins {
    /// `floor(ln(x)²)` above 2, the number itself rounded down otherwise (the recipe of the winners of Criteo's challenge, 2014).
    LogSquare,
    /// Bins of equal mass, learned when data are prepared: this many, or as many as the rows can tell apart.
    Quantile(Option<u16>),
}

impl Schema {
    /// A preset by name, or a schema file's text by path; `read` reads files, so that the ground opens none.
    ///
    /// # Errors
    /// Config when the name is unknown or the text is no valid schema.
    pub fn resolve(name_or_path: &str, read: impl FnOnce(&str) -> Result<String>) -> Result<Schema> {
        if let Some((name, text)) = PRESETS.iter().find(|(name, _)| *name == name_or_path) {
            return Schema::parse(text, name);
        }
        if !name_or_path.ends_with(".toml") {
            let hint = nearest(name_or_path, PRESETS.map(|(name, _)| name));
            return Err(Error::config(
                "--schema",
                name_or_path,
                format!("expected a preset (criteo, avazu, demo) or a .toml file{hint}"),
            ));
        }
        Schema::parse(&read(name_or_path)?, name_or_path)
    }

    /// Parses a schema; `place` is named in errors.
    ///
    /// # Errors
    /// Config, naming the key, when something is unknown, missing or contradictory.
    pub fn parse(text: &str, place: &str) -> Result<Schema> {
        raw::parse(text, place)
    }

    /// Identity of everything that decides how a cell becomes codes.
    pub fn fingerprint(&self) -> Fingerprint {
        let columns = (&self.columns, self.label, self.weight, self.time, self.group);
        Fingerprint::of(&codec::encode(&(columns, &self.features)))
    }

    /// Codes in one encoded row.
    pub fn width(&self) -> usize {
        self.features.iter().map(|feature| feature.kind.positions()).sum()
    }

    /// Position of a column by name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Position of a feature by name.
    ///
    /// # Errors
    /// Config, naming the nearest feature, when there is none of this name.
    pub fn feature(&self, place: &str, name: &str) -> Result<usize> {
        self.features.iter().position(|feature| feature.name == name).ok_or_else(|| {
            let hint = nearest(name, self.features.iter().map(|feature| feature.name.as_str()));
            Error::config(place, name, format!("schema {} has no such feature{hint}", self.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_parse() {
        for (name, text) in PRESETS {
            let schema = Schema::parse(text, name).unwrap();
            assert_eq!(schema.name, name);
            assert!(schema.width() >= schema.features.len());
        }
    }

    #[test]
    fn mistakes_name_key_and_nearest() {
        let text = "version = 1\nname = \"x\"\n[fields]\ny = { kind = \"label\" }\na = { kind = \"categorial\" }\n";
        let message = Schema::parse(text, "x.toml").unwrap_err().to_string();
        assert!(message.contains("categorical"), "{message}");
        let text = "version = 1\nname = \"x\"\n[fields]\na = { kind = \"categorical\" }\n";
        let message = Schema::parse(text, "x.toml").unwrap_err().to_string();
        assert!(message.contains("label"), "{message}");
        let text = "version = 1\nname = \"x\"\ncross = []\n[fields]\ny = { kind = \"label\" }\n";
        let message = Schema::parse(text, "x.toml").unwrap_err().to_string();
        assert!(message.contains("crosses"), "{message}");
    }

    #[test]
    fn unknown_preset_suggests() {
        let error = Schema::resolve("critoe", |_| unreachable!()).unwrap_err().to_string();
        assert!(error.contains("did you mean \"criteo\"?"), "{error}");
    }
}
