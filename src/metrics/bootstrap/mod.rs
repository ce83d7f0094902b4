//! Per-row numbers of models on the same rows → how their metrics vary over test rows.
//!
//! ```text
//! rows ─▶ RowBlocks ─▶ Resamples ─┬─▶ BlockSums   log loss, PCOC: sums of blocks, added up again
//!                                 └─▶ RankedRows  AUC: one walk along the sorted rows
//! ```
//!
//! The pairing (the same resamples for every model) removes what all models find hard, and the blocks keep rows together that
//! are not independent: neighbors in time, the rows of one hour or of one user. Blocks beyond [`MOST_BLOCKS`] are merged with
//! their neighbors, which keeps them independent and the work bounded.

mod auc;
mod resamples;
mod sums;

use serde::{Deserialize, Serialize};

pub use auc::{RankedRows, ascending};
pub use resamples::{Resamples, RowBlocks};
pub use sums::BlockSums;

/// Most blocks that are resampled; with more, neighbors are merged.
pub const MOST_BLOCKS: usize = 8_192;

/// How to resample. The same settings give the same bits. Reading one checks its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBootstrap")]
pub struct Bootstrap {
    /// Number of resamples, at least 1; 1,000 or more for two stable digits.
    pub resamples: usize,
    /// Coverage of the interval, in (0,1).
    pub confidence: f64,
    /// Seed of the generator.
    pub seed: u64,
}

/// An estimate on all rows and the interval around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The statistic on all rows.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Blocks that were resampled, after merging.
    pub blocks: usize,
}

/// A number and its interval; without one where there are too few blocks to resample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// On all rows.
    pub value: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// Which rows stay together.
#[derive(Debug, Clone, Copy)]
pub enum Blocks<'a> {
    /// This many consecutive rows (at least 1); for rows in time order.
    Rows(usize),
    /// Rows of one id, wherever they are: one id for each row, such as the user or the request.
    Groups(&'a [u64]),
}

impl Bootstrap {
    fn assert_bounds(&self) {
        let Bootstrap { resamples, confidence, .. } = self;
        assert!(0.0 < *confidence && *confidence < 1.0, "confidence must be inside (0,1), got {confidence}");
        assert!(*resamples > 0, "a bootstrap has at least one resample");
    }
}

impl Interval {
    /// Percentile interval (Efron and Tibshirani 1993, ch. 13) around `estimate` from what the statistic was on resamples of
    /// `blocks` blocks; those on which it does not exist are left out of `drawn`. `None` with fewer than two blocks, or when more
    /// than half of the resamples were left out. It is a little short with few blocks; have at least 30.
    ///
    /// # Panics
    /// When the settings are out of bounds.
    pub fn percentile(estimate: f64, mut drawn: Vec<f64>, blocks: usize, bootstrap: Bootstrap) -> Option<Self> {
        bootstrap.assert_bounds();
        if blocks < 2 || drawn.len() < bootstrap.resamples.div_ceil(2) {
            return None;
        }
        drawn.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - bootstrap.confidence) / 2.0;
        Some(Self { estimate, low: quantile(&drawn, tail), high: quantile(&drawn, 1.0 - tail), blocks })
    }

    /// Whether the interval holds zero: the difference is not distinguishable from none.
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0 && 0.0 <= self.high
    }
}

impl Estimate {
    /// `value`, with the ends of `interval` where there is one.
    pub fn new(value: f64, interval: Option<Interval>) -> Self {
        Self { value, low: interval.map(|of| of.low), high: interval.map(|of| of.high) }
    }

    /// Whether the interval leaves zero out.
    pub fn differs(&self) -> bool {
        self.low.is_some_and(|low| low > 0.0) || self.high.is_some_and(|high| high < 0.0)
    }
}

/// A [`Bootstrap`] as it is read, before its bounds are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBootstrap {
    resamples: usize,
    confidence: f64,
    seed: u64,
}

impl TryFrom<RawBootstrap> for Bootstrap {
    type Error = String;

    fn try_from(raw: RawBootstrap) -> Result<Self, String> {
        let RawBootstrap { resamples, confidence, seed } = raw;
        if resamples == 0 {
            return Err("bootstrap.resamples: expected at least 1, got 0".to_owned());
        }
        if !(0.0 < confidence && confidence < 1.0) {
            return Err(format!("bootstrap.confidence: expected a number inside (0,1), got {confidence}"));
        }
        Ok(Self { resamples, confidence, seed })
    }
}

/// Quantile `share` of ascending values, linear between neighbors.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Predictions;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{RngCore, SeedableRng};

    const SETTINGS: Bootstrap = Bootstrap { resamples: 400, confidence: 0.9, seed: 7 };

    /// Sum of twelve uniforms less six: mean 0, variance 1.
    fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
        (0..12).map(|_| (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }

    /// Interval of the weighted mean of `a − b`.
    fn mean_difference(
        a: &[f64],
        b: &[f64],
        weights: Option<&[f32]>,
        blocks: Blocks,
        settings: Bootstrap,
    ) -> Option<Interval> {
        let sums = BlockSums::collect(a.len(), blocks, |row| {
            let weight = weights.map_or(1.0, |weights| f64::from(weights[row]));
            [weight * (a[row] - b[row]), weight]
        });
        sums.interval(settings, |&[difference, weight]| (weight > 0.0).then(|| difference / weight))
    }

    /// Share of simulations whose interval holds the true difference, zero. Rows of a block share a part of the
    /// difference, so that rows are not independent.
    fn coverage(blocks: impl Fn(&[u64]) -> Blocks<'_>) -> f64 {
        let simulations = 400;
        let (groups, rows_per_group) = (60, 10);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut held = 0;
        for simulation in 0..simulations {
            let mut ids = Vec::new();
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for group in 0..groups {
                let shared = normal(&mut random);
                for _ in 0..rows_per_group {
                    let hard = 10.0 * normal(&mut random);
                    ids.push(group * 1_000_003 % 61);
                    a.push(hard + shared);
                    b.push(hard + normal(&mut random));
                }
            }
            let settings = Bootstrap { seed: simulation, ..SETTINGS };
            let interval = mean_difference(&a, &b, None, blocks(&ids), settings).unwrap();
            held += u64::from(interval.holds_zero());
        }
        held as f64 / simulations as f64
    }

    #[test]
    fn a_ninety_percent_interval_covers_about_ninety_percent() {
        // Standard error of a share over 400 simulations: 1.5 points.
        let by_group = coverage(|ids| Blocks::Groups(ids));
        assert!((0.855..=0.945).contains(&by_group), "{by_group}");
        let by_rows = coverage(|_| Blocks::Rows(10));
        assert!((0.855..=0.945).contains(&by_rows), "{by_rows}");
        // Single rows ignore what the rows of a group share, and the interval is far too short.
        let too_small = coverage(|_| Blocks::Rows(1));
        assert!(too_small < 0.7, "{too_small}");
    }

    #[test]
    fn same_seed_same_bits_and_other_seed_other_bits() {
        let a: Vec<f64> = (0..1_000).map(|row| f64::from(row % 17)).collect();
        let b: Vec<f64> = (0..1_000).map(|row| f64::from(row % 13)).collect();
        let interval = |seed| {
            let settings = Bootstrap { seed, ..SETTINGS };
            mean_difference(&a, &b, None, Blocks::Rows(9), settings).unwrap()
        };
        assert_eq!(interval(3), interval(3));
        assert_ne!(interval(3), interval(4));
        assert_eq!(interval(3).blocks, 112);
    }

    #[test]
    fn the_interval_agrees_with_the_normal_one_on_many_rows() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let rows = 200_000;
        let a: Vec<f64> = (0..rows).map(|_| 0.01 + normal(&mut random)).collect();
        let weights = vec![2.0f32; rows];
        let settings = Bootstrap { resamples: 4_000, ..SETTINGS };
        let zeros = vec![0.0; rows];
        let interval = mean_difference(&a, &zeros, Some(&weights), Blocks::Rows(1), settings).unwrap();
        assert_eq!(interval.blocks, 8_000); // 200,000 single rows, merged 25 at a time
        let mean = a.iter().sum::<f64>() / rows as f64;
        let half = 1.644_854 / (rows as f64).sqrt();
        assert!((interval.estimate - mean).abs() < 1e-12);
        assert!((interval.high - interval.estimate - half).abs() < 0.1 * half);
        assert!((interval.estimate - interval.low - half).abs() < 0.1 * half);
    }

    #[test]
    fn too_little_is_none() {
        let ones = [1.0; 4];
        let interval = |weights, blocks| mean_difference(&ones, &ones, weights, blocks, SETTINGS);
        assert_eq!(interval(None, Blocks::Rows(4)), None);
        assert_eq!(interval(None, Blocks::Groups(&[5; 4])), None);
        assert_eq!(interval(Some(&[0.0; 4]), Blocks::Rows(1)), None);
        assert_eq!(mean_difference(&[], &[], None, Blocks::Rows(4), SETTINGS), None);
    }

    #[test]
    fn settings_are_checked_when_read() {
        let read = |text: &str| serde_json::from_str::<Bootstrap>(text).map_err(|error| error.to_string());
        let good = serde_json::to_string(&SETTINGS).unwrap();
        assert_eq!(read(&good), Ok(SETTINGS));
        for (bad, message) in [
            (good.replace("0.9", "1.5"), "bootstrap.confidence: expected a number inside (0,1), got 1.5"),
            (good.replace("400", "0"), "bootstrap.resamples: expected at least 1, got 0"),
            (good.replace("resamples", "samples"), "unknown field `samples`"),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    /// A clustered variance by linearization: what a resampled AUC has to agree with.
    #[test]
    fn intervals_of_all_metrics_come_from_the_same_resamples() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
        let rows = 6_000;
        let logits: Vec<f64> = (0..rows).map(|_| normal(&mut random) - 1.0).collect();
        let chance = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        let labels: Vec<u8> = logits
            .iter()
            .map(|logit| u8::from((random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 <= chance(*logit)))
            .collect();
        let probabilities: Vec<f64> = logits.iter().map(|logit| chance(logit + normal(&mut random))).collect();
        let predictions = Predictions::new(&labels, &probabilities, None);
        let blocks = RowBlocks::new(rows, Blocks::Rows(1));
        let resamples = Resamples::draw(blocks.blocks(), Bootstrap { resamples: 1_500, ..SETTINGS });
        let ranked = RankedRows::new(&predictions, &ascending(&predictions), &blocks);
        let aucs: Vec<f64> = ranked.resampled(&resamples).into_iter().flatten().collect();
        let mean = aucs.iter().sum::<f64>() / aucs.len() as f64;
        let error = (aucs.iter().map(|auc| (auc - mean).powi(2)).sum::<f64>() / aucs.len() as f64).sqrt();
        let placements = crate::metrics::delong::Placements::new(&predictions).unwrap();
        let expected = placements.standard_error();
        assert!((mean - placements.auc()).abs() < 0.2 * expected);
        assert!((error / expected - 1.0).abs() < 0.08, "{error} {expected}");
    }
}
