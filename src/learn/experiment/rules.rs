//! The rules of a recipe: how probabilities are calibrated, how intervals are made, when a difference counts, and what a
//! winner must keep.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::losses;
use crate::metrics::resampled::Metric;
use crate::model::calibration::Method;

/// How probabilities are calibrated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationConfig {
    /// Methods to choose from, by cross-validated log loss on the validation rows.
    pub methods: Vec<Method>,
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        CalibrationConfig { methods: Method::ALL.to_vec() }
    }
}

/// What a winner must keep; what is not given does not bind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most microseconds, 99th percentile, to score one row.
    pub p99_micros_1: Option<f64>,
    /// Most microseconds, 99th percentile, to score 100 rows.
    pub p99_micros_100: Option<f64>,
    /// Most megabytes (10⁶ bytes) of the bundle.
    pub model_mb: Option<f64>,
    /// Farthest that PCOC on the test rows may be from 1.
    pub pcoc_within: Option<f64>,
    /// Farthest that PCOC in any band of scores (20 of equal mass) may be from 1, beyond what chance explains: the limit is
    /// broken where an interval that holds for all bands together leaves out all that is allowed.
    pub band_pcoc_within: Option<f64>,
    /// The same for PCOC in any slice of the test rows (values of fields, frequency, hour of the day).
    #[serde(default)]
    pub slice_pcoc_within: Option<f64>,
}

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// Resamples, 100 to 20,000.
    pub rounds: usize,
    /// Coverage of intervals, 0.5 to 0.999.
    pub confidence: f64,
    /// Seed of the resamples.
    pub seed: u64,
    /// Which rows are resampled together.
    pub blocks: BlockBy,
    /// Consecutive rows of a block of rows; 0 takes 100.
    pub block_rows: usize,
}

/// Which rows are resampled together, because they are not independent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockBy {
    /// The rows of a group where the schema has one and `block_rows` is 0; else consecutive rows.
    #[default]
    Auto,
    /// The rows of a group.
    Group,
    /// The rows of an hour.
    Hour,
    /// Consecutive rows.
    Rows,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        BootstrapConfig { rounds: 1000, confidence: 0.95, seed: 1, blocks: BlockBy::Auto, block_rows: 0 }
    }
}

impl BootstrapConfig {
    /// As the metrics take it.
    pub fn settings(&self) -> Bootstrap {
        Bootstrap { resamples: self.rounds, confidence: self.confidence, seed: self.seed }
    }
}

/// When a difference counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerdictConfig {
    /// What orders the models and decides: `log_loss`, `normalized_entropy` or `auc`.
    pub metric: Metric,
    /// Smallest difference that matters: in AUC where that decides, else a difference in normalized entropy (of log loss as a
    /// share of the entropy of the base rate).
    pub margin: f64,
    /// Who wins among models that cannot be told apart.
    pub tie: Tie,
}

impl Default for VerdictConfig {
    fn default() -> Self {
        VerdictConfig { metric: Metric::LogLoss, margin: 0.001, tie: Tie::Fastest }
    }
}

impl VerdictConfig {
    /// The margin in the unit of the metric, on test rows of this click-through rate.
    pub fn margin_on(&self, ctr: f64) -> f64 {
        match self.metric {
            Metric::LogLoss => self.margin * losses::entropy(ctr),
            Metric::NormalizedEntropy | Metric::Auc | Metric::Pcoc => self.margin,
        }
    }
}

/// Who wins among models that cannot be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tie {
    /// The one with the least 99th percentile for 100 rows: what is not shown to be better must not cost more.
    Fastest,
    /// The one with the least log loss.
    LowestLoss,
}

/// Checks bounds; `place` is named in errors.
pub(super) fn check(limits: &Limits, bootstrap: &BootstrapConfig, verdict: &VerdictConfig, place: &str) -> Result<()> {
    let limits = [
        ("limits.p99_micros_1", limits.p99_micros_1),
        ("limits.p99_micros_100", limits.p99_micros_100),
        ("limits.model_mb", limits.model_mb),
        ("limits.pcoc_within", limits.pcoc_within),
        ("limits.band_pcoc_within", limits.band_pcoc_within),
        ("limits.slice_pcoc_within", limits.slice_pcoc_within),
    ];
    for (key, limit) in limits {
        if limit.is_some_and(|limit| !(limit > 0.0 && limit.is_finite())) {
            return Err(Error::config(place, key, format!("expected a number above 0, got {}", limit.unwrap_or(0.0))));
        }
    }
    let wrong = |key: &str, message: String| Err(Error::config(place, key, message));
    match (bootstrap, verdict) {
        (BootstrapConfig { rounds: rounds @ (..100 | 20_001..), .. }, _) => {
            wrong("bootstrap.rounds", format!("expected 100 to 20000, got {rounds}"))
        }
        (BootstrapConfig { confidence, .. }, _) if !(0.5..=0.999).contains(confidence) => {
            wrong("bootstrap.confidence", format!("expected 0.5 to 0.999, got {confidence}"))
        }
        (_, VerdictConfig { metric: Metric::Pcoc, .. }) => wrong(
            "verdict.metric",
            "expected log_loss, normalized_entropy or auc, got pcoc: it is a limit, no order".into(),
        ),
        (_, VerdictConfig { margin, .. }) if !(0.0..=1.0).contains(margin) => {
            wrong("verdict.margin", format!("expected 0 to 1, got {margin}"))
        }
        _ => Ok(()),
    }
}
