//! The ledger: one line of JSON for everything that happened, only ever appended to.
//!
//! Stages are the truth about what serves; the ledger is what people read. So a change that stands is never undone because
//! its line could not be written: the next writer adds it.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::durable::append_line;
use crate::error::{Error, Result};

/// Something that happened to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Copied into the registry.
    Published,
    /// Made to serve a stage.
    Promoted,
    /// Made to serve a stage again.
    RolledBack,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When (UTC, RFC 3339).
    pub at: String,
    /// What happened.
    pub action: Action,
    /// To which model.
    pub model: String,
    /// In which stage.
    pub stage: Option<String>,
    /// Number of the stage's change.
    pub change: Option<u64>,
    /// The model it took the place of.
    pub from: Option<String>,
}

impl Entry {
    pub(super) fn published(model: &str) -> Entry {
        let at = jiff::Timestamp::now().to_string();
        Entry { at, action: Action::Published, model: model.to_owned(), stage: None, change: None, from: None }
    }

    pub(super) fn publishes(&self, model: &str) -> bool {
        self.action == Action::Published && self.model == model
    }
}

pub(super) struct Ledger {
    path: PathBuf,
}

impl Ledger {
    pub(super) fn new(path: PathBuf) -> Ledger {
        Ledger { path }
    }

    /// All lines that can be read, oldest first.
    pub(super) fn read(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        // What follows the last end of line is a line that was never finished.
        let finished = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut entries = Vec::new();
        for (line, entry) in finished.lines().enumerate() {
            match serde_json::from_str(entry) {
                Ok(entry) => entries.push(entry),
                Err(error) => tracing::warn!("{}:{}: skipped: {error}", self.path.display(), line + 1),
            }
        }
        entries
    }

    /// Adds a line. Called by the holder of the registry's lock.
    pub(super) fn append(&self, entry: &Entry) {
        if let Err(error) = self.try_append(entry) {
            tracing::warn!("{error}; the change stands, but the ledger does not show it yet");
        }
    }

    fn try_append(&self, entry: &Entry) -> Result<()> {
        let line = serde_json::to_vec(entry).map_err(|error| Error::Bug(error.to_string()))?;
        append_line(&self.path, &line)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn an_unfinished_line_is_dropped_and_a_damaged_one_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path().join("ledger.jsonl"));
        let (a, b, c) = (Entry::published("a"), Entry::published("b"), Entry::published("c"));
        ledger.append(&a);
        let mut file = File::options().append(true).open(&ledger.path).unwrap();
        file.write_all(b"not json\n").unwrap();
        ledger.append(&b);
        file.write_all(b"{\"at\": \"2026-01-01T00").unwrap();
        assert_eq!(ledger.read(), [a.clone(), b.clone()]);
        ledger.append(&c);
        assert_eq!(ledger.read(), [a, b, c]);
    }
}
