//! The model in use and the one to come, on the same real requests → how far the answers would move.
//!
//! Both score the sample of recent requests, on the thread of whoever prepares the swap. So the new model is warm in every sense
//! (its memory was touched where requests touch it), and what it would change is known before it answers anybody. Scores are
//! compared after calibration, as `logit p = ln(p / (1 − p))`: a price is a multiple of the probability, and equal steps of the
//! logit are about equal ratios of it.

use serde::{Deserialize, Serialize};

use super::LiveModel;
use super::recent::RecentRequest;
use crate::error::Error;
use crate::metrics::histogram::Histogram;
use crate::metrics::stability::{equal_mass_counts, expected_by_chance, stability_index};
use crate::model::bundle::{Bundle, ScoreScratch};

/// Bins of the population stability index.
const BINS: usize = 10;

/// How far a new model's answers are from those of the model in use, on recent requests. Differences are new − old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// Requests compared.
    pub requests: usize,
    /// Candidates compared.
    pub candidates: usize,
    /// Candidates that the new model's encoder refuses and the old one's does not.
    pub refused: usize,
    /// Mean of the difference of logits.
    pub mean: f64,
    /// Its 5 %, 50 % and 95 % quantiles.
    pub quantiles: [f64; 3],
    /// The greatest difference either way.
    pub greatest: f64,
    /// Population stability index of the probabilities, over bins of about equal numbers of old ones.
    pub psi: f64,
    /// What the index would be on average when two samples of this size had the same distribution.
    pub psi_by_chance: f64,
    /// Mean of the new probabilities over mean of the old ones.
    pub calibration_ratio: f64,
}

/// When a shift is too large.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShiftLimits {
    /// What to do beyond a limit.
    pub beyond: Beyond,
    /// Candidates below which no shift is judged.
    pub least_candidates: usize,
    /// Greatest mean of the difference of logits, either way (above 0).
    pub mean: f64,
    /// Greatest population stability index, beyond what chance gives (above 0).
    pub psi: f64,
    /// Greatest ratio of the mean probabilities, and its inverse the least (above 1).
    pub calibration_ratio: f64,
}

/// What to do with a model whose answers are far from those of the model in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// Say so and let it take over.
    Warn,
    /// Refuse it, unless its promotion was forced or is a rollback.
    Refuse,
}

impl Default for ShiftLimits {
    fn default() -> Self {
        ShiftLimits { beyond: Beyond::Warn, least_candidates: 100, mean: 0.5, psi: 0.25, calibration_ratio: 1.5 }
    }
}

impl ShiftLimits {
    /// Checks the limits' bounds.
    ///
    /// # Errors
    /// Config naming the key.
    pub fn check(&self, place: &str) -> Result<(), Error> {
        let above = |key: &str, value: f64, bound: f64| match value > bound && value.is_finite() {
            true => Ok(()),
            false => Err(Error::config(place, key, format!("expected a number above {bound}, got {value}"))),
        };
        above("mean", self.mean, 0.0)?;
        above("psi", self.psi, 0.0)?;
        above("calibration_ratio", self.calibration_ratio, 1.0)
    }

    /// Says what of `shift` is beyond its limit, if anything.
    pub fn judge(&self, shift: &Shift) -> Option<String> {
        if shift.candidates + shift.refused < self.least_candidates {
            return None;
        }
        let mut beyond = Vec::new();
        if shift.refused > 0 {
            beyond.push(format!("it refuses {} candidates that the model in use answered", shift.refused));
        }
        if shift.mean.abs() > self.mean {
            beyond.push(format!("its logits are {:+.3} away on average, expected at most {}", shift.mean, self.mean));
        }
        if shift.psi - shift.psi_by_chance > self.psi {
            beyond.push(format!("the stability index is {:.3}, expected at most {}", shift.psi, self.psi));
        }
        let ratio = shift.calibration_ratio;
        if !(1.0 / self.calibration_ratio..=self.calibration_ratio).contains(&ratio) {
            let (least, most) = (1.0 / self.calibration_ratio, self.calibration_ratio);
            beyond.push(format!("its mean probability is {ratio:.3} times as high, expected {least:.3} to {most:.3}"));
        }
        let requests = shift.requests;
        (!beyond.is_empty()).then(|| format!("on {requests} recent requests {}", beyond.join("; ")))
    }
}

/// Scores `requests` with both models. `None` when there is nothing to compare.
pub fn compare(old: &LiveModel, new: &LiveModel, requests: &[RecentRequest]) -> Option<Shift> {
    let (mut of_old, mut of_new) = (Scorer::new(&old.bundle), Scorer::new(&new.bundle));
    let (mut before, mut after) = (Histogram::probabilities(), Histogram::probabilities());
    let mut differences = Vec::new();
    let mut refused = 0;
    for request in requests {
        let (old, new) = (of_old.score(request), of_new.score(request));
        for (old, new) in old.iter().zip(new) {
            match (old, new) {
                (Some(old), Some(new)) => {
                    before.record(*old);
                    after.record(*new);
                    differences.push(logit(*new) - logit(*old));
                }
                (Some(_), None) => refused += 1,
                (None, _) => {}
            }
        }
    }
    if differences.is_empty() && refused == 0 {
        return None;
    }
    differences.sort_unstable_by(f64::total_cmp);
    let count = differences.len();
    let quantile = |share: f64| differences.get((share * count as f64) as usize).copied().unwrap_or(0.0);
    let (counts_before, counts_after) = equal_mass_counts(&before, &after, BINS);
    let psi_by_chance = match count as u64 {
        0 => 0.0,
        count => expected_by_chance(counts_before.len(), count, count),
    };
    Some(Shift {
        requests: requests.len(),
        candidates: count,
        refused,
        mean: differences.iter().sum::<f64>() / count.max(1) as f64,
        quantiles: [0.05, 0.5, 0.95].map(quantile),
        greatest: differences.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0),
        psi: stability_index(&counts_before, &counts_after).unwrap_or(0.0),
        psi_by_chance,
        calibration_ratio: after.mean().zip(before.mean()).map_or(1.0, |(after, before)| after / before),
    })
}

fn logit(probability: f64) -> f64 {
    probability.ln() - (-probability).ln_1p()
}

/// Scores kept requests with one bundle.
struct Scorer<'b> {
    bundle: &'b Bundle,
    codes: Vec<u32>,
    scratch: ScoreScratch,
    probabilities: Vec<f64>,
    scored: Vec<Option<f64>>,
}

impl<'b> Scorer<'b> {
    fn new(bundle: &'b Bundle) -> Self {
        let codes = vec![0; bundle.encoder.width()];
        Scorer { bundle, codes, scratch: ScoreScratch::default(), probabilities: Vec::new(), scored: Vec::new() }
    }

    /// A probability for each candidate, `None` for one that the encoder refuses.
    fn score(&mut self, request: &RecentRequest) -> &[Option<f64>] {
        self.scored.clear();
        let Scorer { bundle, codes, scratch, probabilities, scored } = self;
        let columns = &bundle.schema.columns;
        let places: Vec<Option<usize>> =
            request.columns.iter().map(|name| columns.iter().position(|column| column == name)).collect();
        request.given.each_row(columns.len(), |column| places[column], |row| {
            probabilities.clear();
            if bundle.encoder.encode(row, codes).is_ok() {
                bundle.score(codes, scratch, probabilities);
            }
            scored.push(probabilities.first().copied());
        });
        scored
    }
}
