//! Bundle: schema, encoder, indexer, model and calibrator as one versioned artifact. What training leaves and serving
//! takes; the only way between the two.
//!
//! A folder of a few files (see `docs/formats.md`): `manifest.json`, readable by people; `encoder.bin`, everything that
//! turns a row into slots and a logit into a probability, but for numbers in bulk; `weights.safetensors`, the numbers in
//! bulk; `tiers.bin` and `cheap.safetensors`, the same of the [rungs](Tiers) below the model. The manifest holds the
//! fingerprints of the others: what was changed or cut is refused by name. A bundle holds no time and no place, so the same
//! data, settings and seed give the same bytes.

mod manifest;
mod scoring;
mod storage;
#[cfg(test)]
mod tests;
mod tiers;

use std::sync::Arc;

pub use manifest::{FORMAT_VERSION, MANIFEST_FILE, Manifest, Profile, Provenance};
pub use scoring::{Int8Effect, MOST_LOSS, MOST_PCOC_SHIFT, Scoring, SideBySide};
pub use tiers::{BaseRateTier, CheapTier, Tier, TierProfile, Tiers};

use super::base_rate::BaseRateModel;
use super::calibration::Calibrator;
use super::dcn::{DcnEnsemble, EnsembleScratch};
use super::features::{Encoder, Indexer};
use super::ftrl::FtrlModel;
use super::schema::Schema;
use super::{OwnSpans, Predict, Slots};
use crate::error::{Error, Result};

/// A finished model of any kind.
#[derive(Debug, Clone)]
pub enum Model {
    /// One logit for every row.
    BaseRate(BaseRateModel),
    /// Logistic regression.
    Ftrl(FtrlModel),
    /// Deep & cross network, shared by its copies.
    Dcn(Arc<DcnEnsemble>),
}

/// The kinds of models, as `--model` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// The click rate of the training rows.
    BaseRate,
    /// Logistic regression learned by FTRL-Proximal.
    Ftrl,
    /// Deep & cross network, version 2.
    Dcn,
}

impl ModelKind {
    /// As `--model` names it.
    pub fn name(self) -> &'static str {
        match self {
            ModelKind::BaseRate => "base-rate",
            ModelKind::Ftrl => "ftrl",
            ModelKind::Dcn => "dcn",
        }
    }
}

impl std::fmt::Display for ModelKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything that turns a row into a probability.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What it is and where it comes from.
    pub manifest: Manifest,
    /// Columns and features of the rows it takes.
    pub schema: Schema,
    /// Cells → codes.
    pub encoder: Encoder,
    /// Codes → slots.
    pub indexer: Indexer,
    /// Slots → logit.
    pub model: Model,
    /// Logit → probability.
    pub calibrator: Calibrator,
    /// What answers when there is no time for the model.
    pub tiers: Tiers,
}

/// What a bundle is put together from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Columns and features of the rows it takes.
    pub schema: Schema,
    /// Cells → codes.
    pub encoder: Encoder,
    /// Codes → slots.
    pub indexer: Indexer,
    /// Slots → logit.
    pub model: Model,
    /// Logit → probability.
    pub calibrator: Calibrator,
    /// What answers when there is no time for the model.
    pub tiers: Tiers,
}

/// Buffers that one caller of [`Bundle::score`] reuses: a warm call allocates nothing.
#[derive(Debug, Default)]
pub struct ScoreScratch {
    slots: Vec<u32>,
    logits: Vec<f32>,
    dcn: EnsembleScratch,
}

impl Model {
    /// Its kind.
    pub fn kind(&self) -> ModelKind {
        match self {
            Model::BaseRate(_) => ModelKind::BaseRate,
            Model::Ftrl(_) => ModelKind::Ftrl,
            Model::Dcn(_) => ModelKind::Dcn,
        }
    }
}

impl Model {
    /// Works out, in `scratch`, what rows have in common that have the slots of `row` in all spans but their `own`; for
    /// [`Model::predict_own`].
    pub fn share(&self, row: Slots<'_>, own: &OwnSpans, scratch: &mut EnsembleScratch) {
        match self {
            Model::BaseRate(_) | Model::Ftrl(_) => {}
            Model::Dcn(model) => model.share(row, own, scratch),
        }
    }

    /// [`Predict::predict`] of rows with what [`Model::share`] was told in common, with the same bits.
    pub fn predict_own(&self, slots: Slots<'_>, scratch: &mut EnsembleScratch, logits: &mut [f32]) {
        match self {
            Model::BaseRate(_) | Model::Ftrl(_) => self.predict(slots, scratch, logits),
            Model::Dcn(model) => model.predict_own(slots, scratch, logits),
        }
    }
}

impl Predict for Model {
    type Scratch = EnsembleScratch;

    fn predict(&self, slots: Slots<'_>, scratch: &mut Self::Scratch, logits: &mut [f32]) {
        match self {
            Model::BaseRate(model) => model.predict(slots, &mut (), logits),
            Model::Ftrl(model) => model.predict(slots, &mut (), logits),
            Model::Dcn(model) => model.predict(slots, scratch, logits),
        }
    }
}

impl Bundle {
    /// Logits of encoded rows, uncalibrated: `codes` are rows of [`Encoder::width`] codes, `logits` is cleared and filled.
    pub fn logits<'s>(&self, codes: &[u32], scratch: &'s mut ScoreScratch) -> &'s [f32] {
        self.indexer.index(codes, &mut scratch.slots);
        let slots = Slots::new(self.indexer.layout().width(), &scratch.slots);
        scratch.logits.clear();
        scratch.logits.resize(slots.rows(), 0.0);
        self.model.predict(slots, &mut scratch.dcn, &mut scratch.logits);
        &scratch.logits
    }

    /// Whether it saves work to know in which spans rows differ, for [`Indexer::append_own`] and [`Model::share`].
    pub fn gains_from_sharing(&self) -> bool {
        matches!(self.model, Model::Dcn(_)) || !self.indexer.is_plain() || self.tiers.cheap.is_some()
    }

    /// Calibrated probabilities of encoded rows, appended to `probabilities` in order.
    ///
    /// The bits of a row's probability depend on that row alone: a row scored in a file and the same row in a request
    /// get the same number.
    pub fn score(&self, codes: &[u32], scratch: &mut ScoreScratch, probabilities: &mut Vec<f64>) {
        let logits = self.logits(codes, scratch);
        probabilities.extend(logits.iter().map(|logit| self.calibrator.probability(*logit)));
    }

    /// [`Bundle::score`] by one of its tiers.
    ///
    /// # Panics
    /// Without that tier; see [`Bundle::check_tier`].
    pub fn score_tier(&self, tier: Tier, codes: &[u32], scratch: &mut ScoreScratch, probabilities: &mut Vec<f64>) {
        match tier {
            Tier::Full => self.score(codes, scratch, probabilities),
            Tier::Cheap => {
                let cheap = self.tiers.cheap.as_ref().expect("the caller asks for tiers that are there");
                let ScoreScratch { slots, logits, .. } = scratch;
                cheap.indexer.index(codes, slots);
                let slots = Slots::new(cheap.indexer.layout().width(), slots);
                logits.clear();
                logits.resize(slots.rows(), 0.0);
                cheap.model.predict(slots, &mut (), logits);
                probabilities.extend(logits.iter().map(|logit| cheap.calibrator.probability(*logit)));
            }
            Tier::BaseRate => {
                let rows = codes.len() / self.encoder.width();
                probabilities.extend(std::iter::repeat_n(self.tiers.base_rate.probability(), rows));
            }
        }
    }

    /// The tiers it has, best first.
    pub fn tiers(&self) -> impl Iterator<Item = Tier> {
        std::iter::once(Tier::Full).chain(self.tiers.below())
    }

    /// Whether it has a tier.
    pub fn has(&self, tier: Tier) -> bool {
        self.tiers().any(|known| known == tier)
    }

    /// Checks that it has a tier.
    ///
    /// # Errors
    /// Bundle, naming those it has.
    pub fn check_tier(&self, tier: Tier) -> Result<()> {
        if self.has(tier) {
            return Ok(());
        }
        let known: Vec<&str> = self.tiers().map(Tier::name).collect();
        let message = format!("it has no {tier} tier, only {}", known.join(" and "));
        Err(Error::bundle(&self.manifest.model, message))
    }
}
