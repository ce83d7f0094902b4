//! Logit → calibrated probability: the number a bidder multiplies by money.
//!
//! ```text
//! logit ─▶ + ln(kept share of negatives) ─▶ identity | Platt | isotonic ─▶ probability
//! ```
//!
//! The first step undoes negative down-sampling exactly: keeping a share w of the negatives divides their odds by w, so
//! the true log-odds are the model's plus ln w (He et al. 2014, "Practical lessons from predicting clicks on ads at
//! Facebook", section 6.3). The map after it is fitted on rows that were not sampled and not trained on.

mod isotonic;
mod platt;

use serde::{Deserialize, Serialize};

pub use isotonic::Isotonic;
pub use platt::Platt;

use crate::error::{Error, Result};

/// Turns a model's logits into probabilities. Part of the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    /// Natural logarithm of the share of negatives kept in training; 0 when none were dropped.
    pub log_kept_negatives: f64,
    /// The map after the correction.
    pub map: Map,
}

/// A monotone map from corrected logits to probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Map {
    /// The logistic function alone.
    Identity,
    /// A line through the logits, then the logistic function.
    Platt(Platt),
    /// A non-decreasing curve through the click rates seen.
    Isotonic(Isotonic),
}

/// A way to fit a [`Map`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Leave logits as they are.
    Identity,
    /// Platt scaling (Platt 1999), two parameters.
    Platt,
    /// Isotonic regression by pooling adjacent violators (Ayer et al. 1955).
    Isotonic,
}

impl Method {
    /// All methods, the simplest first.
    pub const ALL: [Method; 3] = [Method::Identity, Method::Platt, Method::Isotonic];
}

/// How a calibrator came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The method chosen.
    pub method: Method,
    /// Rows it was fitted on.
    pub rows: usize,
    /// Cross-validated log loss in nats of each method tried, in the order given.
    pub losses: Vec<(Method, f64)>,
}

/// Probabilities closer than this to 0 or 1 are moved to it: no click is impossible, none is certain.
pub const LEAST_PROBABILITY: f64 = 1e-9;

impl Calibrator {
    /// The logistic function alone.
    pub fn identity() -> Self {
        Calibrator { log_kept_negatives: 0.0, map: Map::Identity }
    }

    /// Probability of a click, in \[[`LEAST_PROBABILITY`], 1 − [`LEAST_PROBABILITY`]\].
    #[inline]
    pub fn probability(&self, logit: f32) -> f64 {
        let logit = f64::from(logit) + self.log_kept_negatives;
        let probability = match &self.map {
            Map::Identity => logistic(logit),
            Map::Platt(platt) => logistic(platt.slope * logit + platt.intercept),
            Map::Isotonic(isotonic) => isotonic.probability(logit),
        };
        probability.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    }

    /// Which method it is.
    pub fn method(&self) -> Method {
        match self.map {
            Map::Identity => Method::Identity,
            Map::Platt(_) => Method::Platt,
            Map::Isotonic(_) => Method::Isotonic,
        }
    }
}

/// Parts of the calibration rows, each predicted by maps fitted on the others.
const FOLDS: usize = 5;
/// Below this many clicks or non-clicks nothing is fitted.
const LEAST_OF_EACH: usize = 20;

/// Fits every method on calibration rows and keeps the one with the least cross-validated log loss; of equals the simpler.
///
/// `logits` and `labels` (0 or 1) are rows the model was not trained on, in time order, not down-sampled; `kept_negatives` is
/// the share of negatives kept in training. Folds are consecutive, so that each is predicted from other times. With too few
/// rows of a class the identity is kept.
///
/// # Errors
/// Config when no method is given or the share is not in (0, 1]; data when a fit does not converge.
pub fn fit(methods: &[Method], logits: &[f32], labels: &[u8], kept_negatives: f64) -> Result<(Calibrator, Choice)> {
    assert_eq!(logits.len(), labels.len(), "one label a logit");
    if !(kept_negatives > 0.0 && kept_negatives <= 1.0) {
        let message = format!("expected a share above 0 up to 1, got {kept_negatives}");
        return Err(Error::config("calibration", "kept_negatives", message));
    }
    if methods.is_empty() {
        return Err(Error::config("calibration", "methods", "expected at least one of identity, platt, isotonic"));
    }
    let log_kept_negatives = kept_negatives.ln();
    let fold = |row: usize| (0..FOLDS).rfind(|fold| fold * logits.len() / FOLDS <= row).unwrap_or(0) as u8;
    let mut points: Vec<Point> = (logits.iter().zip(labels).enumerate())
        .map(|(row, (&logit, &label))| Point { logit: f64::from(logit) + log_kept_negatives, label, fold: fold(row) })
        .collect();
    if methods.contains(&Method::Isotonic) {
        points.sort_unstable_by(|a, b| a.logit.total_cmp(&b.logit).then(a.label.cmp(&b.label)));
    }
    let clicks = labels.iter().filter(|label| **label == 1).count();
    let too_few = clicks.min(labels.len() - clicks) < LEAST_OF_EACH;
    let mut losses = Vec::new();
    let mut maps = Vec::new();
    for method in methods {
        if too_few && *method != Method::Identity {
            continue;
        }
        let map = match method {
            Method::Identity => Map::Identity,
            Method::Platt => Map::Platt(Platt::fit(pairs(&points, None))?),
            Method::Isotonic => Map::Isotonic(Isotonic::fit(pairs(&points, None))),
        };
        losses.push((*method, cross_validated(&map, &points)?));
        maps.push(map);
    }
    let best = (0..losses.len()).min_by(|a, b| losses[*a].1.total_cmp(&losses[*b].1));
    let (method, map) = best.map_or((Method::Identity, Map::Identity), |best| (losses[best].0, maps.swap_remove(best)));
    Ok((Calibrator { log_kept_negatives, map }, Choice { method, rows: points.len(), losses }))
}

/// A calibration row.
#[derive(Clone, Copy)]
struct Point {
    logit: f64,
    label: u8,
    fold: u8,
}

/// (logit, label) of the points, without those of a fold.
fn pairs(points: &[Point], without: Option<u8>) -> impl Iterator<Item = (f64, u8)> + Clone {
    points.iter().filter(move |point| Some(point.fold) != without).map(|point| (point.logit, point.label))
}

/// Mean log loss of points (ascending when the map is a curve), each predicted by a map fitted on the other folds. `map`
/// is that of all.
fn cross_validated(map: &Map, points: &[Point]) -> Result<f64> {
    let mut loss = 0.0;
    for fold in 0..FOLDS as u8 {
        let rest = || pairs(points, Some(fold));
        let (rows, clicks) = rest().fold((0, 0), |(rows, clicks), (_, label)| (rows + 1, clicks + usize::from(label)));
        let map = match map {
            _ if clicks == 0 || clicks == rows => Map::Identity,
            Map::Identity => Map::Identity,
            Map::Platt(platt) => Map::Platt(platt.refit(rest())?),
            Map::Isotonic(_) => Map::Isotonic(Isotonic::fit(rest())),
        };
        let calibrator = Calibrator { log_kept_negatives: 0.0, map };
        for point in points.iter().filter(|point| point.fold == fold) {
            let p = calibrator.probability(point.logit as f32);
            loss -= if point.label == 1 { p.ln() } else { (1.0 - p).ln() };
        }
    }
    Ok(loss / points.len().max(1) as f64)
}

fn logistic(logit: f64) -> f64 {
    crate::kernels::sigmoid_f64(logit)
}

#[cfg(test)]
mod tests;
