//! The model in use and the one to come, on the same real requests → how far the answers would move.
//!
//! Both score the sample of recent requests, on the thread of whoever prepares the swap. So the new model is warm in every sense
//! (its memory was touched where requests touch it), and what it would change is known before it answers anybody. Scores are
//! compared after calibration, as `logit p = ln(p / (1 − p))`: a price is a multiple of the probability, and equal steps of the
//! logit are about equal ratios of it. The distributions are compared too, and few requests, or the same ones again and again, say
//! little about these: what chance gives for as many different rows is no shift.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LiveModel;
use super::recent::RecentRequest;
use crate::config::settings;
use crate::error::Error;
use crate::metrics::histogram::Histogram;
use crate::metrics::stability::{equal_mass_counts, greatest_by_chance, independent, stability_index};
use crate::model::bundle::{Bundle, ScoreScratch};
use crate::model::features::hash::row_fingerprint;
use crate::predict::background;

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
    /// What the index exceeds once in a thousand times when two samples of as many different rows have the same distribution.
    pub psi_by_chance: f64,
    /// Mean of the new probabilities over mean of the old ones.
    pub calibration_ratio: f64,
}

settings! {
    /// How a model takes over.
    pub struct SwapSettings {
        /// File that says what served when; without it `served.jsonl` in the registry that is followed, else none.
        pub ledger: Option<PathBuf> = None,
        /// What to do with a model whose answers to recent requests are beyond a limit below: `warn`, or `refuse` unless its
        /// promotion was forced or is a rollback.
        pub beyond: Beyond = Beyond::Warn,
        /// Candidates of recent requests below which nothing is judged (0 to 1000000).
        pub least_candidates: usize = 100,
        /// Greatest mean difference of logits, either way (above 0).
        pub mean_shift: f64 = 0.5,
        /// Greatest population stability index, beyond what chance gives (above 0).
        pub stability_index: f64 = 0.25,
        /// Greatest ratio of the mean probabilities, new over old; its inverse is the least (above 1).
        pub calibration_ratio: f64 = 1.5,
    }
}

/// What to do with a model whose answers are far from those of the model in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// Say so and let it take over.
    #[default]
    Warn,
    /// Refuse it, unless its promotion was forced or is a rollback.
    Refuse,
}

impl SwapSettings {
    /// Checks all bounds; `place` is the section.
    ///
    /// # Errors
    /// Config naming the key.
    pub fn check(&self, place: &str) -> Result<(), Error> {
        let refuse = |key: &str, message: String| Err(Error::config("serve", format!("{place}.{key}"), message));
        if self.least_candidates > 1_000_000 {
            return refuse("least_candidates", format!("expected 0 to 1000000, got {}", self.least_candidates));
        }
        let above = [
            ("mean_shift", self.mean_shift, 0.0),
            ("stability_index", self.stability_index, 0.0),
            ("calibration_ratio", self.calibration_ratio, 1.0),
        ];
        match above.into_iter().find(|(_, value, bound)| !(value > bound && value.is_finite())) {
            Some((key, value, bound)) => refuse(key, format!("expected a number above {bound}, got {value}")),
            None => Ok(()),
        }
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
        if shift.mean.abs() > self.mean_shift {
            beyond.push(format!(
                "its logits are {:+.3} away on average, expected at most {}",
                shift.mean, self.mean_shift
            ));
        }
        if shift.psi > self.stability_index + shift.psi_by_chance {
            beyond.push(format!(
                "the stability index is {:.3}, expected at most {} and {:.3} by chance",
                shift.psi, self.stability_index, shift.psi_by_chance
            ));
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
    let mut rows: HashMap<u64, u64> = HashMap::new();
    let mut refused = 0;
    for request in requests {
        background::offer();
        let (old, new) = (of_old.score(request), of_new.score(request));
        for (old, new) in old.iter().zip(new) {
            match (old, new) {
                (Some(old), Some(new)) => {
                    before.record(old.probability);
                    after.record(new.probability);
                    differences.push(logit(new.probability) - logit(old.probability));
                    *rows.entry(old.row).or_default() += 1;
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
    let different = independent(rows.into_values()).max(1.0);
    Some(Shift {
        requests: requests.len(),
        candidates: count,
        refused,
        mean: differences.iter().sum::<f64>() / count.max(1) as f64,
        quantiles: [0.05, 0.5, 0.95].map(quantile),
        greatest: differences.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0),
        psi: stability_index(&counts_before, &counts_after).unwrap_or(0.0),
        psi_by_chance: greatest_by_chance(counts_before.len(), different, different),
        calibration_ratio: after.mean().zip(before.mean()).map_or(1.0, |(after, before)| after / before),
    })
}

fn logit(probability: f64) -> f64 {
    probability.ln() - (-probability).ln_1p()
}

/// Scores kept requests with one bundle.
struct Scorer<'b> {
    bundle: &'b Bundle,
    /// Of one row.
    row: Vec<u32>,
    /// Of the rows that the encoder took.
    codes: Vec<u32>,
    scratch: ScoreScratch,
    probabilities: Vec<f64>,
    scored: Vec<Option<ScoredRow>>,
}

/// What a bundle says of a row.
#[derive(Debug, Clone, Copy)]
struct ScoredRow {
    probability: f64,
    /// Fingerprint of the encoded row.
    row: u64,
}

impl<'b> Scorer<'b> {
    fn new(bundle: &'b Bundle) -> Self {
        let row = vec![0; bundle.encoder.width()];
        let scratch = ScoreScratch::default();
        Scorer { bundle, row, codes: Vec::new(), scratch, probabilities: Vec::new(), scored: Vec::new() }
    }

    /// What it says of each candidate, `None` for one that the encoder refuses.
    fn score(&mut self, request: &RecentRequest) -> &[Option<ScoredRow>] {
        let Scorer { bundle, row, codes, scratch, probabilities, scored } = self;
        let columns = &bundle.schema.columns;
        let places: Vec<Option<usize>> =
            request.columns.iter().map(|name| columns.iter().position(|column| column == name)).collect();
        codes.clear();
        probabilities.clear();
        scored.clear();
        request.given.each_row(
            columns.len(),
            |column| places[column],
            |cells| {
                let taken = bundle.encoder.encode(cells, row).is_ok();
                if taken {
                    codes.extend_from_slice(row);
                }
                scored.push(taken.then(|| ScoredRow { probability: f64::NAN, row: row_fingerprint(row) }));
            },
        );
        // All at once: a network's weights are megabytes, and who reads them row by row takes the caches from requests.
        bundle.score(codes, scratch, probabilities);
        for (scored, probability) in scored.iter_mut().flatten().zip(probabilities) {
            scored.probability = *probability;
        }
        scored
    }
}
