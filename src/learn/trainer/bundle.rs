//! A model that has learned → a look at the validation rows, and the calibrated bundle.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::super::Interrupt;
use super::super::dataset::View;
use super::super::evaluate;
use super::super::settings::{Evidence, ModelSettings, Settings, Training};
use super::tiers::{self, Totals};
use super::{Trained, TrainingRecord, scoring};
use crate::error::{Error, Result};
use crate::kernels;
use crate::metrics::ranking::Ranking;
use crate::metrics::{Predictions, losses};
use crate::model::Threads;
use crate::model::bundle::{Bundle, Model, Parts, Profile, Provenance, Tier, Tiers};
use crate::model::calibration::{self, Calibrator, Choice, Method};
use crate::model::features::hash::Fingerprint;
use crate::model::features::{Encoder, Indexer};
use crate::model::schema::Schema;

/// Where training rows came from, and how much there is in them.
pub(super) struct Origin<'a> {
    pub(super) schema: &'a Schema,
    pub(super) encoder: &'a Encoder,
    /// Identity of the rows.
    pub(super) data: Fingerprint,
    pub(super) evidence: Evidence,
}

/// Everything of a bundle but the model and what the validation rows decide.
pub(super) struct Draft {
    schema: Schema,
    encoder: Encoder,
    indexer: Indexer,
    provenance: Provenance,
    profile: Profile,
}

impl Draft {
    pub(super) fn new(of: Origin<'_>, indexer: &Indexer, settings: &Settings, seed: u64) -> Result<Draft> {
        let provenance = Provenance {
            pctr: env!("CARGO_PKG_VERSION").into(),
            seed,
            data: of.data,
            settings: serde_json::to_value(settings).map_err(|error| Error::Bug(error.to_string()))?,
            isa: kernels::isa().name().into(),
            precision: precision_of(&settings.model),
        };
        if let Some(precision) = &provenance.precision {
            let isa = &provenance.isa;
            tracing::info!("matrix products of training run in {precision} on {isa}, sums and weights in f32");
        }
        let profile = Profile {
            rows: of.evidence.rows as u64,
            clicks: of.evidence.clicks as u64,
            passes: settings.training.passes,
            progressive_log_loss: f64::NAN,
            table_rows: indexer.layout().table_rows as u64,
            calibration: Choice { method: Method::Identity, rows: 0, losses: Vec::new() },
            score_quantiles: Vec::new(),
            scoring: None,
            tiers: BTreeMap::new(),
        };
        let (schema, encoder) = (of.schema.clone(), of.encoder.clone());
        Ok(Draft { schema, encoder, indexer: indexer.clone(), provenance, profile })
    }

    /// A bundle that can score, not yet calibrated.
    pub(super) fn bundle(&self, model: Model) -> Bundle {
        let parts = Parts {
            schema: self.schema.clone(),
            encoder: self.encoder.clone(),
            indexer: self.indexer.clone(),
            model,
            calibrator: Calibrator::identity(),
            tiers: Tiers::of_rate(self.profile.clicks, self.profile.rows),
        };
        Bundle::draft(parts, self.provenance.clone(), self.profile.clone())
    }

    /// Calibrates on the validation rows and completes the manifest.
    pub(super) fn finish(
        self,
        outcome: Outcome,
        totals: Totals,
        valid: &View<'_>,
        training: &Training,
        threads: Threads<'_>,
        interrupt: &Interrupt,
    ) -> Result<Trained> {
        let Outcome { best: Look { mut bundle, mut logits, .. }, first_pass, record } = outcome;
        let labels = valid.labels();
        let scoring = scoring::decide(&mut bundle, &mut logits, valid, training.kept_negatives, threads, interrupt)?;
        let (calibrator, choice) = calibration::fit(&training.calibration, &logits, &labels, training.kept_negatives)?;
        let probabilities: Vec<f64> = logits.iter().map(|logit| calibrator.probability(*logit)).collect();
        let weights = valid.weights();
        let named = metrics_of(&labels, &probabilities, weights.as_deref());
        let (base_rate, of_base_rate) = tiers::base_rate(totals, &training.calibration, &labels, weights.as_deref())?;
        let mut sorted = probabilities;
        sorted.sort_unstable_by(f64::total_cmp);
        let quantile = |part: usize| sorted.get(part * sorted.len().saturating_sub(1) / 20).copied();
        let profile = Profile {
            progressive_log_loss: first_pass.0 / f64::max(first_pass.1, f64::MIN_POSITIVE),
            calibration: choice,
            score_quantiles: (0..=20).filter_map(quantile).collect(),
            scoring,
            tiers: BTreeMap::from([(Tier::BaseRate, of_base_rate)]),
            ..self.profile
        };
        let Bundle { schema, encoder, indexer, model, .. } = bundle;
        let parts = Parts { schema, encoder, indexer, model, calibrator, tiers: Tiers { cheap: None, base_rate } };
        Ok(Trained { bundle: Bundle::new(parts, self.provenance, profile, named), record })
    }
}

/// What is said of predictions on the validation rows; nothing where there are none.
pub(super) fn metrics_of(labels: &[u8], probabilities: &[f64], weights: Option<&[f32]>) -> IndexMap<String, f64> {
    let predictions = Predictions::new(labels, probabilities, weights);
    let mut named = IndexMap::new();
    if let Some(totals) = predictions.totals() {
        losses::log_loss(&predictions).map(|loss| named.insert("valid_log_loss".to_owned(), loss));
        Ranking::new(&predictions).auc().map(|auc| named.insert("valid_auc".to_owned(), auc));
        totals.pcoc().map(|pcoc| named.insert("valid_pcoc".to_owned(), pcoc));
    }
    named
}

/// The best model of a run, not yet calibrated.
pub(super) struct Outcome {
    pub(super) best: Look,
    /// Sums of log loss in nats and of weights, of the rows learned from in the first pass.
    pub(super) first_pass: (f64, f64),
    pub(super) record: TrainingRecord,
}

/// What a model makes of the validation rows.
pub(super) struct Look {
    /// From 1; 0 when there are no such rows.
    pub(super) number: usize,
    /// Log loss in nats.
    pub(super) loss: f64,
    bundle: Bundle,
    logits: Vec<f32>,
}

impl Look {
    /// Of no validation rows.
    pub(super) fn none(bundle: Bundle) -> Look {
        Look { number: 0, loss: f64::NAN, bundle, logits: Vec::new() }
    }
}

/// The validation rows, and what is asked of them at every look.
pub(super) struct Judge<'a> {
    rows: &'a View<'a>,
    labels: Vec<u8>,
    weights: Option<Vec<f32>>,
    kept_negatives: f64,
}

impl<'a> Judge<'a> {
    pub(super) fn new(rows: &'a View<'a>, kept_negatives: f64) -> Self {
        Judge { rows, labels: rows.labels(), weights: rows.weights(), kept_negatives }
    }

    /// Log loss of uncalibrated logits, after undoing negative sampling.
    pub(super) fn look(
        &self,
        number: usize,
        bundle: Bundle,
        threads: Threads<'_>,
        interrupt: &Interrupt,
    ) -> Result<Look> {
        let logits = evaluate::logits(&bundle, self.rows, threads, interrupt)?;
        let calibrator = Calibrator { log_kept_negatives: self.kept_negatives.ln(), ..Calibrator::identity() };
        let probabilities: Vec<f64> = logits.iter().map(|logit| calibrator.probability(*logit)).collect();
        let predictions = Predictions::new(&self.labels, &probabilities, self.weights.as_deref());
        let loss = losses::log_loss(&predictions).unwrap_or(f64::NAN);
        Ok(Look { number, loss, bundle, logits })
    }
}

/// What the factors of the model's matrix products are rounded to while it learns on this processor.
pub(super) fn precision_of(model: &ModelSettings) -> Option<String> {
    match model {
        ModelSettings::Dcn(config) => Some(config.precision().name().into()),
        ModelSettings::BaseRate {} | ModelSettings::Ftrl(_) => None,
    }
}
