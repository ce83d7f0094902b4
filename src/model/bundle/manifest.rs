//! What a bundle is and where it comes from, as `manifest.json` says it.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{ModelKind, Scoring, Tier, TierProfile};
use crate::model::calibration::Choice;
use crate::model::features::hash::Fingerprint;

/// Version of the bundle format this build writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 2;
/// Oldest version it still reads.
pub(super) const OLDEST_READABLE: u32 = 1;
/// File that says a folder is a bundle.
pub const MANIFEST_FILE: &str = "manifest.json";
/// First word of every manifest.
pub(super) const MAGIC: &str = "pctr-bundle";

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `pctr-bundle`.
    pub magic: String,
    /// Version of the format.
    pub format: u32,
    /// Name of the model: its kind and the start of the fingerprint of its content.
    pub model: String,
    /// Kind of the model.
    pub kind: ModelKind,
    /// Name of the schema.
    pub schema: String,
    /// Identity of the schema.
    pub schema_fingerprint: Fingerprint,
    /// Version of the hash that makes codes.
    pub hash_version: u32,
    /// Where it comes from.
    pub provenance: Provenance,
    /// What it was trained on, for drift checks and for people.
    pub profile: Profile,
    /// Metrics on the validation rows, by name.
    pub metrics: IndexMap<String, f64>,
    /// Size and fingerprint of the other files.
    pub files: IndexMap<String, FileEntry>,
}

/// One file of the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// Fingerprint of the content.
    pub fingerprint: Fingerprint,
}

/// Where a bundle comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of `pctr` that wrote it.
    pub pctr: String,
    /// Seed of the run.
    pub seed: u64,
    /// Fingerprint of the training data.
    pub data: Fingerprint,
    /// Settings of model and training as used, defaults filled in.
    pub settings: serde_json::Value,
    /// Instruction set of the kernels that trained it.
    pub isa: String,
    /// What the factors of matrix products were rounded to: `f32` or `bf16`. `None` for models without any, and in bundles
    /// written before this was recorded (all f32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

/// What a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Training rows.
    pub rows: u64,
    /// Clicks among them.
    pub clicks: u64,
    /// Passes over them.
    pub passes: u32,
    /// Log loss in nats of predicting each row of the first pass before learning from it.
    pub progressive_log_loss: f64,
    /// Slots of the model's table.
    pub table_rows: u64,
    /// How the calibrator was chosen.
    pub calibration: Choice,
    /// Quantiles 0, 1/20, …, 1 of the calibrated probabilities on the validation rows.
    pub score_quantiles: Vec<f64>,
    /// The numbers a network scores in, and what 8 bits change; absent for models that know one kind only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring: Option<Scoring>,
    /// The tiers below the model; empty in bundles of format 1, which have a base rate only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<Tier, TierProfile>,
}
