//! `manifest.json`: what a folder of prepared data holds and what it was made from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::learn::split::Amount;
use crate::model::features::hash::{self, Fingerprint};

/// Version of the folder's layout.
pub const FORMAT: u32 = 1;
/// Name of the manifest in the folder.
pub const MANIFEST: &str = "manifest.json";
/// Name of the encoder in the folder (`model::codec`).
pub const ENCODER: &str = "encoder.bin";

/// What a folder of prepared data holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the folder's layout, [`FORMAT`].
    pub format: u32,
    /// Version of the hashes that codes are made with.
    pub hash_version: u32,
    /// Rows in all parts.
    pub rows: u64,
    /// Rows with label 1.
    pub clicks: u64,
    /// Codes in one row.
    pub width: usize,
    /// Identity of all rows with their targets, and of the encoder that made them.
    pub data_fingerprint: Fingerprint,
    /// Identity of the row → codes mapping.
    pub encoder_fingerprint: Fingerprint,
    /// The schema the rows were read by.
    pub schema: SchemaRecord,
    /// Arrow IPC files in row order.
    pub parts: Vec<PartRecord>,
    /// Files the rows came from, in order.
    pub inputs: Vec<InputRecord>,
    /// Rows that the encoder was learned from: the first of them; all, or those of another set, without it.
    #[serde(default)]
    pub learned_from: Option<Amount>,
    /// Rows that were left out.
    pub bad_rows: BadRowsRecord,
}

/// A schema, in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchemaRecord {
    /// Its name.
    pub name: String,
    /// [`crate::model::schema::Schema::fingerprint`].
    pub fingerprint: Fingerprint,
    /// Its TOML text.
    pub source: String,
}

/// One Arrow IPC file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Name in the folder.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// One file that rows came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputRecord {
    /// Path as it was given; `-` for standard input.
    pub path: String,
    /// Size as stored, compressed or not.
    pub bytes: u64,
    /// Identity of its bytes as stored.
    pub fingerprint: Fingerprint,
}

/// Rows that were left out, with examples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BadRowsRecord {
    /// How many.
    pub count: u64,
    /// How many by what was expected of them.
    pub by_expectation: BTreeMap<String, u64>,
    /// The first few, each as `file:line: field: expected …, got …`.
    pub examples: Vec<String>,
}

impl Manifest {
    /// Reads and checks the manifest of `folder`.
    ///
    /// # Errors
    /// Io when it cannot be read; Data when it is no manifest, or of another version.
    pub fn read(folder: &Path) -> Result<Manifest> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory if folder.exists() => {
                Error::data(folder.display().to_string(), format!("expected prepared data (a folder with {MANIFEST})"))
            }
            _ => Error::io(&path, "read")(source),
        })?;
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| wrong(format!("is no manifest of prepared data: {error}")))?;
        if (manifest.format, manifest.hash_version) != (FORMAT, hash::VERSION) {
            return Err(wrong(format!(
                "expected format {FORMAT} with hashes of version {}, got {} with {}: prepare the data again",
                hash::VERSION,
                manifest.format,
                manifest.hash_version
            )));
        }
        Ok(manifest)
    }

    /// The manifest as it stands in the file.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data serialize");
        text.push('\n');
        text
    }
}

/// Name of a part.
pub(super) fn part_name(part: usize) -> String {
    format!("part-{part:05}.arrow")
}
