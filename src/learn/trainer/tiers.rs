//! The rungs below a model: a base rate for every bundle, and a linear companion for those that get one.
//!
//! A companion is a model like any other, trained on the same prepared rows and calibrated on the same validation rows. It
//! costs a network a hundredth of its own training.

use std::sync::Arc;

use super::Trained;
use super::bundle::metrics_of;
use crate::error::{Error, Result};
use crate::learn::dataset::Piece;
use crate::model::base_rate::BaseRateModel;
use crate::model::bundle::{BaseRateTier, Bundle, CheapTier, Model, ModelKind, Parts, Tier, TierProfile};
use crate::model::calibration::{self, Method};

/// Weights of the training rows and of those with a click.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    clicks: f64,
    rows: f64,
}

impl Totals {
    /// Adds rows, one after the other.
    pub(super) fn add(&mut self, piece: &Piece<'_>) {
        match piece.weights {
            None => {
                self.clicks += piece.labels.iter().map(|label| u64::from(*label)).sum::<u64>() as f64;
                self.rows += piece.labels.len() as f64;
            }
            Some(weights) => {
                for (label, weight) in piece.labels.iter().zip(weights) {
                    self.clicks += f64::from(*weight) * f64::from(*label);
                    self.rows += f64::from(*weight);
                }
            }
        }
    }
}

/// The click rate of the training rows, calibrated on the validation rows, of which `labels` and `weights` are.
///
/// # Errors
/// Those of [`calibration::fit`].
pub(super) fn base_rate(
    totals: Totals,
    methods: &[Method],
    labels: &[u8],
    weights: Option<&[f32]>,
) -> Result<(BaseRateTier, TierProfile)> {
    let model = BaseRateModel::of_counts(totals.clicks, totals.rows);
    let logits = vec![model.logit; labels.len()];
    let (calibrator, calibration) = calibration::fit(methods, &logits, labels, 1.0)?;
    let tier = BaseRateTier { model, calibrator };
    let probabilities = vec![tier.probability(); labels.len()];
    let metrics = metrics_of(labels, &probabilities, weights);
    let profile = TierProfile { kind: ModelKind::BaseRate, calibration, settings: serde_json::Value::Null, metrics };
    Ok((tier, profile))
}

impl Trained {
    /// The same model with `companion`, a linear model of the same data, as its cheap tier.
    ///
    /// # Errors
    /// Bug when the companion is no linear model, or reads rows in another way.
    pub fn with_cheap(self, companion: Trained) -> Result<Trained> {
        let Bundle { manifest, schema, encoder, indexer, model, calibrator, mut tiers } = self.bundle;
        let cheap = companion.bundle;
        let Model::Ftrl(linear) = cheap.model else {
            return Err(Error::Bug(format!("a {} model cannot be a cheap tier", cheap.model.kind())));
        };
        if cheap.encoder != encoder {
            return Err(Error::Bug("a model and its companion encode rows in two ways".into()));
        }
        let record = TierProfile {
            kind: ModelKind::Ftrl,
            calibration: cheap.manifest.profile.calibration,
            settings: cheap.manifest.provenance.settings,
            metrics: cheap.manifest.metrics,
        };
        let mut profile = manifest.profile;
        profile.tiers.insert(Tier::Cheap, record);
        tiers.cheap = Some(Arc::new(CheapTier { indexer: cheap.indexer, model: linear, calibrator: cheap.calibrator }));
        let parts = Parts { schema, encoder, indexer, model, calibrator, tiers };
        Ok(Trained { bundle: Bundle::new(parts, manifest.provenance, profile, manifest.metrics), record: self.record })
    }
}
