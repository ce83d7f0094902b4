//! Per-row numbers of two models on the same rows → an interval of their difference.
//!
//! The pairing removes what both models find hard, and the blocks keep rows together that are not independent: neighbors in
//! time, or the rows of one user. Statistics here are functions of weighted sums (a mean is two sums), so a resample adds
//! up whole block sums and never touches a row again: `blocks × resamples` work, whatever the number of rows.
//! Blocks beyond [`MOST_BLOCKS`] are merged with their neighbors, which keeps them independent and the work bounded.
//!
//! Percentile interval (Efron and Tibshirani 1993, ch. 13). It is a little short with few blocks; have at least 30.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use super::Predictions;

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

/// Which rows stay together.
#[derive(Debug, Clone, Copy)]
pub enum Blocks<'a> {
    /// This many consecutive rows (at least 1); for rows in time order.
    Rows(usize),
    /// Rows of one id, wherever they are: one id for each row, such as the user or the request.
    Groups(&'a [u64]),
}

/// Weighted sums of `SUMS` quantities in each block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockSums<const SUMS: usize> {
    blocks: Vec<[f64; SUMS]>,
}

/// Interval of the mean log loss of A minus that of B, `Σ w (aᵢ − bᵢ) / Σ w`, in nats; below zero A is better.
/// Losses are those of [`super::losses::row_log_losses`]. `None` with fewer than two blocks or no weight.
///
/// # Panics
/// When the lengths differ.
pub fn log_loss_difference(
    losses_a: &[f64],
    losses_b: &[f64],
    weights: Option<&[f32]>,
    blocks: Blocks,
    bootstrap: Bootstrap,
) -> Option<Interval> {
    assert_eq!(losses_a.len(), losses_b.len(), "A and B have the same rows");
    if let Some(weights) = weights {
        assert_eq!(losses_a.len(), weights.len(), "one weight for each row");
    }
    let sums = BlockSums::collect(losses_a.len(), blocks, |row| {
        let weight = weights.map_or(1.0, |weights| f64::from(weights[row]));
        [weight * (losses_a[row] - losses_b[row]), weight]
    });
    sums.interval(bootstrap, |&[difference, weight]| (weight > 0.0).then(|| difference / weight))
}

/// Interval of PCOC of A minus PCOC of B. Both must hold the same labels and weights; those of A are used.
/// `None` with fewer than two blocks or without a click.
///
/// # Panics
/// When the lengths differ.
pub fn pcoc_difference(a: &Predictions, b: &Predictions, blocks: Blocks, bootstrap: Bootstrap) -> Option<Interval> {
    assert_eq!(a.len(), b.len(), "A and B have the same rows");
    let sums = BlockSums::collect(a.len(), blocks, |row| {
        let (a, b) = (a.row(row), b.row(row));
        let weight = f64::from(a.weight);
        let click = f64::from(u8::from(a.click));
        [weight * (a.probability - b.probability), weight * click]
    });
    sums.interval(bootstrap, |&[difference, clicks]| (clicks > 0.0).then(|| difference / clicks))
}

impl<const SUMS: usize> BlockSums<SUMS> {
    /// Adds up `quantities(row)` for `rows` rows by block. Blocks stand in the order of their first row.
    ///
    /// # Panics
    /// When a block is to have zero rows, or when there is not one group for each row.
    pub fn collect(rows: usize, blocks: Blocks, mut quantities: impl FnMut(usize) -> [f64; SUMS]) -> Self {
        let blocks = match blocks {
            Blocks::Rows(size) => {
                assert!(size > 0, "a block has at least one row");
                let sums = |start: usize| {
                    let block = start..rows.min(start.saturating_add(size));
                    add_up(block.map(&mut quantities))
                };
                (0..rows).step_by(size).map(sums).collect()
            }
            Blocks::Groups(groups) => {
                assert_eq!(rows, groups.len(), "one group for each row");
                let mut order: Vec<(u64, usize)> = groups.iter().copied().zip(0..).collect();
                order.sort_unstable();
                let mut sums: Vec<(usize, [f64; SUMS])> = order
                    .chunk_by(|a, b| a.0 == b.0)
                    .map(|group| (group[0].1, add_up(group.iter().map(|&(_, row)| quantities(row)))))
                    .collect();
                sums.sort_unstable_by_key(|&(first_row, _)| first_row);
                sums.into_iter().map(|(_, sums)| sums).collect()
            }
        };
        Self { blocks: merge_to_most(blocks) }
    }

    /// Number of blocks, after merging.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Percentile interval of `statistic`, which takes the sums over a resample. A resample on which it is `None` (no
    /// click was drawn) is left out. `None` with fewer than two blocks, when the statistic is `None` on all rows, or when
    /// more than half of the resamples were left out.
    ///
    /// # Panics
    /// When `confidence` is not inside (0,1) or `resamples` is zero.
    pub fn interval(&self, bootstrap: Bootstrap, statistic: impl Fn(&[f64; SUMS]) -> Option<f64>) -> Option<Interval> {
        let Bootstrap { resamples, confidence, seed } = bootstrap;
        assert!(0.0 < confidence && confidence < 1.0, "confidence must be inside (0,1), got {confidence}");
        assert!(resamples > 0, "a bootstrap has at least one resample");
        if self.blocks.len() < 2 {
            return None;
        }
        let estimate = statistic(&add_up(self.blocks.iter().copied()))?;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut drawn = Vec::with_capacity(resamples);
        for _ in 0..resamples {
            let resample =
                (0..self.blocks.len()).map(|_| self.blocks[index_below(self.blocks.len(), random.next_u64())]);
            drawn.extend(statistic(&add_up(resample)));
        }
        if drawn.len() < resamples.div_ceil(2) {
            return None;
        }
        drawn.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - confidence) / 2.0;
        Some(Interval {
            estimate,
            low: quantile(&drawn, tail),
            high: quantile(&drawn, 1.0 - tail),
            blocks: self.blocks.len(),
        })
    }
}

impl Interval {
    /// Whether the interval holds zero: the difference is not distinguishable from none.
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0 && 0.0 <= self.high
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

fn add_up<const SUMS: usize>(parts: impl Iterator<Item = [f64; SUMS]>) -> [f64; SUMS] {
    let mut sums = [0.0; SUMS];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
    sums
}

/// Neighbors merged evenly, so that at most [`MOST_BLOCKS`] are left.
fn merge_to_most<const SUMS: usize>(blocks: Vec<[f64; SUMS]>) -> Vec<[f64; SUMS]> {
    let together = blocks.len().div_ceil(MOST_BLOCKS);
    if together <= 1 {
        return blocks;
    }
    blocks.chunks(together).map(|neighbors| add_up(neighbors.iter().copied())).collect()
}

/// `random` mapped to `0..length`; the bias is below `length / 2^64`.
fn index_below(length: usize, random: u64) -> usize {
    ((u128::from(random) * length as u128) >> 64) as usize
}

/// Quantile `share` of ascending values, linear between neighbors.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Bootstrap = Bootstrap { resamples: 400, confidence: 0.9, seed: 7 };

    /// Sum of twelve uniforms less six: mean 0, variance 1.
    fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
        (0..12).map(|_| (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
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
            let interval = log_loss_difference(&a, &b, None, blocks(&ids), settings).unwrap();
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
            log_loss_difference(&a, &b, None, Blocks::Rows(9), settings).unwrap()
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
        let interval = log_loss_difference(&a, &zeros, Some(&weights), Blocks::Rows(1), settings).unwrap();
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
        let interval = |weights, blocks| log_loss_difference(&ones, &ones, weights, blocks, SETTINGS);
        assert_eq!(interval(None, Blocks::Rows(4)), None);
        assert_eq!(interval(None, Blocks::Groups(&[5; 4])), None);
        assert_eq!(interval(Some(&[0.0; 4]), Blocks::Rows(1)), None);
        assert_eq!(log_loss_difference(&[], &[], None, Blocks::Rows(4), SETTINGS), None);
        let no_clicks = Predictions::new(&[0, 0, 0], &[0.1, 0.2, 0.3], None);
        assert_eq!(pcoc_difference(&no_clicks, &no_clicks, Blocks::Rows(1), SETTINGS), None);
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

    #[test]
    fn pcoc_difference_is_the_difference_of_pcocs() {
        let labels: Vec<u8> = (0..3_000).map(|row| u8::from(row % 20 == 0)).collect();
        let right = vec![0.05; labels.len()];
        let high = vec![0.06; labels.len()];
        let a = Predictions::new(&labels, &high, None);
        let b = Predictions::new(&labels, &right, None);
        let interval = pcoc_difference(&a, &b, Blocks::Rows(50), SETTINGS).unwrap();
        let expected = a.totals().unwrap().pcoc().unwrap() - b.totals().unwrap().pcoc().unwrap();
        assert!((interval.estimate - expected).abs() < 1e-12);
        assert!(!interval.holds_zero() && interval.low <= expected && expected <= interval.high);
    }
}
