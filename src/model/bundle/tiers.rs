//! The rungs below the model: what answers for it when there is no time.
//!
//! ```text
//! row ─▶ codes ─┬─▶ indexer ─▶ model ─────▶ calibrator ─▶ full
//!               ├─▶ indexer ─▶ linear ────▶ calibrator ─▶ cheap
//!               └─▶ (nothing) base rate ──▶ calibrator ─▶ base rate
//! ```
//!
//! A row is encoded once for all of them. Each has a calibrator of its own, fitted on the same rows as the model's, because a
//! bidder multiplies by money whatever rung answered.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::ModelKind;
use crate::model::base_rate::BaseRateModel;
use crate::model::calibration::{Calibrator, Choice};
use crate::model::features::Indexer;
use crate::model::ftrl::FtrlModel;

/// Which rung of the budget ladder gave a probability, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The model.
    Full,
    /// Its cheap companion.
    Cheap,
    /// One probability for every row.
    BaseRate,
}

impl Tier {
    /// All tiers, the best first.
    pub const ALL: [Tier; 3] = [Tier::Full, Tier::Cheap, Tier::BaseRate];

    /// As answers and `--tier` name it.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Full => "full",
            Tier::Cheap => "cheap",
            Tier::BaseRate => "base-rate",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The rungs below the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiers {
    /// The companion, shared by copies of the bundle.
    pub cheap: Option<Arc<CheapTier>>,
    /// The last rung. Always there.
    pub base_rate: BaseRateTier,
}

/// A hashed logistic regression on the same codes.
#[derive(Debug, Clone, PartialEq)]
pub struct CheapTier {
    /// Codes → its own slots.
    pub indexer: Indexer,
    /// Slots → logit.
    pub model: FtrlModel,
    /// Logit → probability.
    pub calibrator: Calibrator,
}

/// One probability for every row.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseRateTier {
    /// Log-odds of a click in the training rows.
    pub model: BaseRateModel,
    /// Logit → probability.
    pub calibrator: Calibrator,
}

/// What a tier is, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TierProfile {
    /// Kind of its model.
    pub kind: ModelKind,
    /// How its calibrator was chosen.
    pub calibration: Choice,
    /// Settings it was trained with; null for the base rate.
    #[serde(default)]
    pub settings: serde_json::Value,
    /// Metrics on the validation rows, by name.
    pub metrics: IndexMap<String, f64>,
}

impl Tiers {
    /// A base rate alone: `clicks` among `rows`, not calibrated further.
    pub fn of_rate(clicks: u64, rows: u64) -> Tiers {
        let model = BaseRateModel::of_counts(clicks as f64, rows as f64);
        Tiers { cheap: None, base_rate: BaseRateTier { model, calibrator: Calibrator::identity() } }
    }

    /// The rungs there are below the model, best first.
    pub fn below(&self) -> impl Iterator<Item = Tier> {
        self.cheap.iter().map(|_| Tier::Cheap).chain([Tier::BaseRate])
    }
}

impl BaseRateTier {
    /// The probability of every row.
    pub fn probability(&self) -> f64 {
        self.calibrator.probability(self.model.logit)
    }
}
