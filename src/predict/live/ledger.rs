//! What a service served, and when: one line of JSON for everything that happened to its model, only ever appended to.
//!
//! The registry's ledger says what was asked for; this one says what was done, by whom, and how far answers moved by it. So a
//! price of last night can be traced to the model that gave it. A line that cannot be written is told to the log and changes
//! nothing of what serves.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{RefusedBundle, Shift, Swap};
use crate::durable::append_line;
use crate::error::{Error, Result};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// The service began with this model.
    Began,
    /// This model took over.
    TookOver,
    /// This model should have taken over and could not.
    Refused,
    /// The service ended with this model.
    Ended,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When (UTC, RFC 3339).
    pub at: String,
    /// What happened.
    pub happening: Happening,
    /// Which service: its address and process, when several share a ledger.
    pub service: String,
    /// To which model; `None` when the registry could not tell one.
    pub model: Option<String>,
    /// The model it took the place of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// Number of the stage's change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub change: Option<u64>,
    /// Whether the model was still in memory from before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kept: Option<bool>,
    /// Milliseconds that opening, checking and comparing took.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prepared_ms: Option<f64>,
    /// How far its answers are from those of the model before, on recent requests.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shift: Option<Shift>,
    /// Why it was refused, or what of the shift is beyond its limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl Entry {
    /// A line about a model.
    pub(super) fn new(happening: Happening, service: &str, model: Option<String>) -> Entry {
        Entry {
            at: jiff::Timestamp::now().to_string(),
            happening,
            service: service.to_owned(),
            model,
            from: None,
            change: None,
            kept: None,
            prepared_ms: None,
            shift: None,
            reason: None,
        }
    }

    pub(super) fn took_over(service: &str, swap: &Swap) -> Entry {
        Entry {
            from: Some(swap.from.clone()),
            change: Some(swap.change),
            kept: Some(swap.kept),
            prepared_ms: Some(swap.prepared.as_secs_f64() * 1e3),
            shift: swap.shift.clone(),
            reason: swap.warning.clone(),
            ..Entry::new(Happening::TookOver, service, Some(swap.to.clone()))
        }
    }

    pub(super) fn refused(service: &str, refused: &RefusedBundle) -> Entry {
        let reason = Some(refused.reason.clone());
        Entry { reason, ..Entry::new(Happening::Refused, service, refused.model.clone()) }
    }

    pub(super) fn append(&self, path: &Path) -> Result<()> {
        append_line(path, &serde_json::to_vec(self).map_err(|error| Error::Bug(error.to_string()))?)
    }
}

/// All lines of a ledger that can be read, oldest first.
///
/// # Errors
/// Io when the file cannot be read.
pub fn history(path: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
