//! The best model of a run → the same model in the numbers it will score in, and its logits in these.
//!
//! What decides is in [`crate::model::bundle::Scoring`]; here both kinds are run on the validation rows. The calibrator is
//! fitted afterwards, on the logits of the kind that was chosen.

use std::sync::Arc;

use super::super::Interrupt;
use super::super::dataset::View;
use super::super::evaluate;
use crate::error::Result;
use crate::model::Threads;
use crate::model::bundle::{Bundle, Int8Effect, Model, Scoring, SideBySide};
use crate::model::calibration::Calibrator;
use crate::model::dcn::{ScoringPrecision, ScoringRule};

/// Decides for `bundle`, whose logits on the validation rows are `logits`. `None` for models that know one kind only.
pub(super) fn decide(
    bundle: &mut Bundle,
    logits: &mut Vec<f32>,
    valid: &View<'_>,
    kept_negatives: f64,
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<Option<Scoring>> {
    let Model::Dcn(model) = &bundle.model else { return Ok(None) };
    let rule = model.config().settings().scoring_precision;
    let learned = model.config().scoring();
    if rule == ScoringRule::F32 {
        return Ok(Some(Scoring { precision: ScoringPrecision::F32, int8: None }));
    }
    let kind = |precision| Bundle { model: Model::Dcn(Arc::new(model.in_precision(precision))), ..bundle.clone() };
    let (plain, rounded) = (kind(ScoringPrecision::F32), kind(ScoringPrecision::Int8));
    let other = match learned {
        ScoringPrecision::F32 => &rounded,
        ScoringPrecision::Int8 => &plain,
    };
    let other = evaluate::logits(other, valid, threads, interrupt)?;
    let (f32, int8) = match learned {
        ScoringPrecision::F32 => (std::mem::take(logits), other),
        ScoringPrecision::Int8 => (other, std::mem::take(logits)),
    };
    let calibrator = Calibrator { log_kept_negatives: kept_negatives.ln(), ..Calibrator::identity() };
    let (labels, weights) = (valid.labels(), valid.weights());
    let rows = SideBySide { labels: &labels, weights: weights.as_deref(), f32: &f32, int8: &int8 };
    let effect = Int8Effect::measure(rows, |logit| calibrator.probability(logit));
    let takes_int8 = rule == ScoringRule::Int8 || effect.is_some_and(|effect| effect.is_free());
    let precision = if takes_int8 { ScoringPrecision::Int8 } else { ScoringPrecision::F32 };
    (*bundle, *logits) = if takes_int8 { (rounded, int8) } else { (plain, f32) };
    Ok(Some(Scoring { precision, int8: effect }))
}
