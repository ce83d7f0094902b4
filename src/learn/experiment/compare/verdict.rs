//! Two models on the same rows → an interval of their difference, and what may be said about it.
//!
//! The interval comes from a paired block bootstrap over the test rows, on losses averaged over seeds row by row. That covers
//! the choice of test rows only, so each side is widened by what the seeds add: with `s²` the variance of one model's log loss
//! over its `n` seeds, `half' = √(half² + z²(s_a²/n_a + s_b²/n_b))`. With one seed nothing can be added, and the report says so.

use serde::{Deserialize, Serialize};

use crate::metrics::bootstrap::Interval;

/// What may be said about two models, of which A has the lower log loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The interval leaves zero out.
    Better,
    /// The interval holds zero, and the difference seen is below the margin that matters.
    NotDistinguishable,
    /// The interval holds zero, but a difference as large as the one seen would matter.
    NeedsRows {
        /// About how many more test rows would show it, at a power of 80 %.
        more_rows: u64,
    },
}

/// A model against another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The one with the lower log loss.
    pub better: String,
    /// The other one.
    pub worse: String,
    /// Log loss of `worse` minus that of `better`, in nats; its estimate is not negative.
    pub difference: Interval,
    /// What may be said.
    pub verdict: Verdict,
}

/// Most rows a verdict asks for: beyond, no number is given.
const MOST_ROWS: f64 = 1e12;
/// Quantile of the normal distribution that a power of 80 % asks for.
const POWER_80: f64 = 0.841_621;

impl Pair {
    /// Judges `difference` (worse minus better, on `rows` test rows). `margin` is the smallest difference in nats that
    /// matters; `confidence` that of the interval.
    pub fn judge(better: &str, worse: &str, difference: Interval, margin: f64, rows: u64, confidence: f64) -> Pair {
        let z = two_sided_quantile(confidence);
        let error = (difference.high - difference.low) / (2.0 * z);
        let distance = difference.estimate.abs() / error;
        let verdict = if difference.low > 0.0 {
            Verdict::Better
        } else {
            let needed = rows as f64 * ((z + POWER_80) / distance).powi(2);
            let more = (needed - rows as f64).max(1.0);
            match difference.estimate >= margin && more < MOST_ROWS {
                true => Verdict::NeedsRows { more_rows: two_digits(more) },
                false => Verdict::NotDistinguishable,
            }
        };
        Pair { better: better.into(), worse: worse.into(), difference, verdict }
    }

    /// The verdict as a sentence.
    pub fn sentence(&self) -> String {
        let Pair { better, worse, difference: Interval { estimate, low, high, .. }, verdict } = self;
        let numbers = format!("{estimate:.5} nats of log loss [{low:.5}, {high:.5}]");
        match verdict {
            Verdict::Better => format!("{better} is better than {worse} by {numbers}."),
            Verdict::NotDistinguishable => {
                format!("{better} and {worse} are not distinguishable: the difference is {numbers}.")
            }
            Verdict::NeedsRows { more_rows } => format!(
                "{better} and {worse} are not distinguishable on these rows: the difference is {numbers}; about {} more \
                 test rows are needed to tell them apart.",
                thousands(*more_rows)
            ),
        }
    }
}

/// Widens an interval by the noise of the seeds; `seed_error` is the standard error of the difference over seeds.
pub fn widen(interval: Interval, seed_error: f64, confidence: f64) -> Interval {
    let reach = two_sided_quantile(confidence) * seed_error;
    let half = |end: f64| (interval.estimate - end).hypot(reach);
    let Interval { estimate, low, high, blocks } = interval;
    Interval { estimate, low: estimate - half(low), high: estimate + half(high), blocks }
}

/// The interval of the difference the other way round.
pub fn mirrored(interval: Interval) -> Interval {
    let Interval { estimate, low, high, blocks } = interval;
    Interval { estimate: -estimate, low: -high, high: -low, blocks }
}

/// `z` such that a normal variable is within ±`z` with probability `confidence`; within 5e-4 (Abramowitz and Stegun 1964,
/// 26.2.23).
fn two_sided_quantile(confidence: f64) -> f64 {
    let t = (-2.0 * ((1.0 - confidence) / 2.0).ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

/// Rounded up to two digits: a number of rows is an estimate and should look like one.
fn two_digits(rows: f64) -> u64 {
    let scale = 10_f64.powf((rows.log10().floor() - 1.0).max(0.0));
    ((rows / scale).ceil() * scale) as u64
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(estimate: f64, low: f64, high: f64) -> Interval {
        Interval { estimate, low, high, blocks: 100 }
    }

    fn judged(estimate: f64, low: f64, high: f64) -> Verdict {
        Pair::judge("a", "b", interval(estimate, low, high), 0.0005, 10_000, 0.95).verdict
    }

    #[test]
    fn three_verdicts() {
        assert_eq!(judged(0.002, 0.001, 0.003), Verdict::Better);
        assert_eq!(judged(0.0001, -0.001, 0.0012), Verdict::NotDistinguishable);
        assert_eq!(judged(0.0, 0.0, 0.0), Verdict::NotDistinguishable, "the same predictions");
        // A standard error of 0.001 and a difference of 0.001: (1.96 + 0.84)² = 7.85 times the rows.
        let Verdict::NeedsRows { more_rows } = judged(0.001, 0.001 - 0.001_96, 0.001 + 0.001_96) else {
            panic!("a difference above the margin")
        };
        assert_eq!(more_rows, 69_000);
    }

    #[test]
    fn sentences_name_both_and_the_interval() {
        let pair = Pair::judge("dcn", "lr", interval(0.002, 0.001, 0.003), 0.0005, 10_000, 0.95);
        assert_eq!(pair.sentence(), "dcn is better than lr by 0.00200 nats of log loss [0.00100, 0.00300].");
        let pair = Pair::judge("dcn", "lr", interval(0.001, -0.00096, 0.00296), 0.0005, 10_000, 0.95);
        assert!(pair.sentence().contains("about 69,000 more test rows"), "{}", pair.sentence());
    }

    #[test]
    fn seeds_widen() {
        let wide = widen(interval(0.002, 0.001, 0.003), 0.001, 0.95);
        assert!((wide.low - (0.002 - 0.0022)).abs() < 1e-5, "{wide:?}");
        let same = widen(interval(0.002, 0.001, 0.004), 0.0, 0.95);
        assert!((same.low - 0.001).abs() < 1e-15 && (same.high - 0.004).abs() < 1e-15);
        assert_eq!(mirrored(interval(0.002, 0.001, 0.004)), interval(-0.002, -0.004, -0.001));
    }

    #[test]
    fn quantiles_of_the_normal() {
        for (confidence, z) in [(0.95, 1.959_964), (0.9, 1.644_854), (0.99, 2.575_829), (0.5, 0.674_49)] {
            assert!((two_sided_quantile(confidence) - z).abs() < 1e-3, "{confidence}");
        }
        assert_eq!((two_digits(68_400.0), two_digits(7.2), two_digits(101.0)), (69_000, 8, 110));
        assert_eq!((thousands(1_234_567), thousands(12)), ("1,234,567".to_owned(), "12".to_owned()));
    }
}
