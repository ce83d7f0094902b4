//! Validation rows scored in `f32` and in 8 bits → the numbers a model is delivered in, and why.
//!
//! 8 bits move every logit a little, without a side. What that costs is measured on the rows that calibrate the model, row
//! by row: the difference of two log losses of the *same* row varies far less than a loss does (with logits 0.005 apart
//! about 0.002 nats, against 0.4), so a few ten thousand rows show a difference of 0.00001. `auto` takes 8 bits only where
//! the rows show that they cost nothing, not where they fail to show that they cost something: the mean difference *plus
//! two of its standard errors* must stay within [`MOST_LOSS`]. Few rows therefore mean `f32`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metrics::{Predictions, losses};
use crate::model::dcn::ScoringPrecision;

/// Nats of log loss that 8 bits may cost: a sixth of what is called equal quality between two ways to train (0.0003).
pub const MOST_LOSS: f64 = 0.000_05;
/// Share by which 8 bits may move PCOC, and with it what a bidder spends.
pub const MOST_PCOC_SHIFT: f64 = 0.001;

/// The numbers a network scores in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// What was decided.
    pub precision: ScoringPrecision,
    /// What 8 bits change; absent where `f32` was asked for or there were no validation rows.
    pub int8: Option<Int8Effect>,
}

/// What 8 bits change on the validation rows, before calibration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Int8Effect {
    /// Rows it was measured on.
    pub rows: usize,
    /// Mean log loss in nats with `int8`, less that with `f32`.
    pub log_loss_difference: f64,
    /// Standard error of that mean, from the differences of the rows.
    pub standard_error: f64,
    /// PCOC with `int8` over PCOC with `f32`, less 1.
    pub pcoc_shift: f64,
    /// Root of the mean squared difference of the logits.
    pub logit_difference: f64,
    /// Greatest difference of two logits.
    pub greatest_logit_difference: f64,
}

/// Labels, weights and the logits of both kinds for the same rows.
#[derive(Debug, Clone, Copy)]
pub struct SideBySide<'a> {
    /// 0 or 1.
    pub labels: &'a [u8],
    /// `None` means 1.
    pub weights: Option<&'a [f32]>,
    /// Logits in `f32`.
    pub f32: &'a [f32],
    /// Logits in 8 bits.
    pub int8: &'a [f32],
}

impl Int8Effect {
    /// Measures the effect; `probability` turns a logit into a probability. `None` without rows of some weight, or with a
    /// logit that is not finite.
    pub fn measure(rows: SideBySide<'_>, probability: impl Fn(f32) -> f64) -> Option<Int8Effect> {
        let SideBySide { labels, weights, f32, int8 } = rows;
        if labels.is_empty() || !f32.iter().chain(int8).all(|logit| logit.is_finite()) {
            return None;
        }
        let of = |logits: &[f32]| logits.iter().map(|logit| probability(*logit)).collect::<Vec<f64>>();
        let (plain, rounded) = (of(f32), of(int8));
        let (plain, rounded) = (Predictions::new(labels, &plain, weights), Predictions::new(labels, &rounded, weights));
        let differences: Vec<f64> = losses::row_log_losses(&rounded)
            .into_iter()
            .zip(losses::row_log_losses(&plain))
            .map(|(rounded, plain)| rounded - plain)
            .collect();
        let log_loss_difference = losses::log_loss(&rounded)? - losses::log_loss(&plain)?;
        let weight = |row: usize| weights.map_or(1.0, |weights| f64::from(weights[row]));
        let total: f64 = (0..labels.len()).map(weight).sum();
        let spread = |(row, difference): (usize, &f64)| (weight(row) * (difference - log_loss_difference)).powi(2);
        let squares: f64 = differences.iter().enumerate().map(spread).sum();
        let apart = f32.iter().zip(int8).map(|(plain, rounded)| f64::from(rounded - plain).abs());
        Some(Int8Effect {
            rows: labels.len(),
            log_loss_difference,
            standard_error: squares.sqrt() / total,
            // Clicks are the same on both sides, so the ratio of PCOC is that of mean probabilities.
            pcoc_shift: rounded.totals()?.mean_probability() / plain.totals()?.mean_probability() - 1.0,
            logit_difference: (apart.clone().map(|apart| apart * apart).sum::<f64>() / labels.len() as f64).sqrt(),
            greatest_logit_difference: apart.fold(0.0, f64::max),
        })
    }

    /// Whether the rows show that 8 bits cost nothing.
    pub fn is_free(&self) -> bool {
        self.log_loss_difference + 2.0 * self.standard_error <= MOST_LOSS && self.pcoc_shift.abs() <= MOST_PCOC_SHIFT
    }
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.precision.name())?;
        let Some(effect) = &self.int8 else { return Ok(()) };
        let (loss, error, shift) = (effect.log_loss_difference, effect.standard_error, 100.0 * effect.pcoc_shift);
        let rows = effect.rows;
        write!(f, "; 8 bits change log loss by {loss:+.6} ± {error:.6} nats and PCOC by {shift:+.3} % on {rows} rows")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::sigmoid_f64;

    /// Rows of CTR 1/2 around logit 0, their logits moved by `noise` to either side and by `shift` to one.
    fn effect(rows: usize, noise: f32, shift: f32) -> Int8Effect {
        let labels: Vec<u8> = (0..rows).map(|row| (row % 2) as u8).collect();
        let f32: Vec<f32> = (0..rows).map(|row| (row * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
        let side = |row: usize| if (row / 2).is_multiple_of(2) { noise } else { -noise };
        let int8: Vec<f32> = f32.iter().enumerate().map(|(row, logit)| logit + side(row) + shift).collect();
        let rows = SideBySide { labels: &labels, weights: None, f32: &f32, int8: &int8 };
        Int8Effect::measure(rows, |logit| sigmoid_f64(f64::from(logit))).unwrap()
    }

    #[test]
    fn small_noise_on_many_rows_is_free() {
        let effect = effect(40_000, 0.004, 0.0);
        assert!(effect.is_free(), "{effect:?}");
        assert!((effect.logit_difference - 0.004).abs() < 1e-6 && effect.rows == 40_000, "{effect:?}");
    }

    #[test]
    fn few_rows_large_noise_or_a_shift_are_not() {
        assert!(!effect(400, 0.004, 0.0).is_free(), "few rows show nothing");
        assert!(!effect(40_000, 0.1, 0.0).is_free(), "a loss");
        let shifted = effect(40_000, 0.0, 0.003);
        assert!(!shifted.is_free() && shifted.pcoc_shift > 0.001, "{shifted:?}");
    }

    #[test]
    fn people_read_what_was_decided_and_why() {
        assert_eq!(Scoring { precision: ScoringPrecision::F32, int8: None }.to_string(), "f32");
        let int8 = Int8Effect {
            rows: 32_000,
            log_loss_difference: 9e-6,
            standard_error: 8.1e-6,
            pcoc_shift: -1.04e-4,
            logit_difference: 0.0036,
            greatest_logit_difference: 0.0175,
        };
        assert_eq!(
            Scoring { precision: ScoringPrecision::Int8, int8: Some(int8) }.to_string(),
            "int8; 8 bits change log loss by +0.000009 ± 0.000008 nats and PCOC by -0.010 % on 32000 rows"
        );
    }

    #[test]
    fn what_cannot_be_measured_is_not() {
        let measure = |logits: &[f32]| {
            let rows = SideBySide { labels: &[1, 0][..logits.len()], weights: None, f32: logits, int8: logits };
            Int8Effect::measure(rows, |logit| sigmoid_f64(f64::from(logit)))
        };
        assert_eq!(measure(&[]), None);
        assert_eq!(measure(&[0.0, f32::NAN]), None);
        assert!(measure(&[0.0, 0.1]).unwrap().is_free(), "nothing changed");
    }

    #[test]
    fn a_row_of_weight_two_counts_as_two_in_the_mean() {
        let (labels, f32, int8) = ([1, 0, 0], [0.2, -0.3, -0.3], [0.3, -0.5, -0.5]);
        let probability = |logit| sigmoid_f64(f64::from(logit));
        let twice = SideBySide { labels: &labels, weights: None, f32: &f32, int8: &int8 };
        let weighted =
            SideBySide { labels: &labels[..2], weights: Some(&[1.0, 2.0]), f32: &f32[..2], int8: &int8[..2] };
        let (twice, weighted) =
            (Int8Effect::measure(twice, probability).unwrap(), Int8Effect::measure(weighted, probability).unwrap());
        assert!((twice.log_loss_difference - weighted.log_loss_difference).abs() < 1e-12);
        assert!((twice.pcoc_shift - weighted.pcoc_shift).abs() < 1e-12);
        assert!(weighted.standard_error > twice.standard_error, "one row counted twice is no evidence of two");
    }
}
