//! A stage: a name that clients follow, and the model behind it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Action, Entry};
use crate::durable::write_bytes;
use crate::error::{Error, Result};
use crate::model::bundle::Manifest;
use crate::model::features::hash::Fingerprint;

/// The stage that serves unless another is asked for.
pub const PRODUCTION: &str = "production";

/// Most promotions that can be rolled back.
const MOST_EARLIER: usize = 100;

/// `stages/<stage>.json`: which model a stage serves, and which it served before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Name of the stage.
    pub stage: String,
    /// The model it serves.
    pub model: String,
    /// Name of the model's schema.
    pub schema: String,
    /// Identity of the model's schema.
    pub schema_fingerprint: Fingerprint,
    /// Number of this change, from 1.
    pub change: u64,
    /// What brought the model here.
    pub action: Action,
    /// Whether the promotion was forced: services that follow it take the model whatever it answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// The model served before this change.
    pub from: Option<String>,
    /// When it changed (UTC, RFC 3339).
    pub at: String,
    /// Models promoted before this one, the latest last; rolling back takes the last.
    pub earlier: Vec<String>,
}

impl Stage {
    /// The stage after promoting the model of `manifest`.
    pub(super) fn promoted(stage: &str, current: Option<Stage>, manifest: &Manifest, forced: bool) -> Stage {
        let (change, from, mut earlier) = match current {
            Some(current) => (current.change + 1, Some(current.model), current.earlier),
            None => (1, None, Vec::new()),
        };
        earlier.extend(from.clone());
        earlier.drain(..earlier.len().saturating_sub(MOST_EARLIER));
        Stage { forced, ..Stage::now(stage.to_owned(), manifest, change, Action::Promoted, from, earlier) }
    }

    /// The stage after going back to the model of `manifest`, the last of the earlier ones.
    pub(super) fn rolled_back(self, manifest: &Manifest) -> Stage {
        let mut earlier = self.earlier;
        earlier.pop();
        Stage::now(self.stage, manifest, self.change + 1, Action::RolledBack, Some(self.model), earlier)
    }

    fn now(
        stage: String,
        manifest: &Manifest,
        change: u64,
        action: Action,
        from: Option<String>,
        earlier: Vec<String>,
    ) -> Stage {
        Stage {
            stage,
            model: manifest.model.clone(),
            schema: manifest.schema.clone(),
            schema_fingerprint: manifest.schema_fingerprint,
            change,
            action,
            forced: false,
            from,
            at: jiff::Timestamp::now().to_string(),
            earlier,
        }
    }

    /// Its line of the ledger.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            at: self.at.clone(),
            action: self.action,
            model: self.model.clone(),
            stage: Some(self.stage.clone()),
            change: Some(self.change),
            from: self.from.clone(),
        }
    }

    pub(super) fn read(path: &Path) -> Result<Option<Stage>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path, "read")(error)),
        };
        let damaged = |error| {
            Error::data(path.display().to_string(), format!("it is damaged: {error}; remove it and promote again"))
        };
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        write_bytes(path, &serde_json::to_vec_pretty(self).map_err(|error| Error::Bug(error.to_string()))?)
    }
}

/// A stage's name is a file's name.
pub(super) fn check_name(stage: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    match !stage.is_empty() && stage.len() <= 64 && stage.bytes().all(fits) {
        true => Ok(()),
        false => Err(Error::config("--stage", stage, "expected 1 to 64 of a-z, 0-9, - and _")),
    }
}
