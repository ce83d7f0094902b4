//! Raw logits → true click probabilities and clicks; and what the truth itself would score.

use super::Summary;
use super::arithmetic::{ln, sigmoid};

/// The line that turns the raw logits of a world into true logits, so that every seed is equally hard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    slope: f64,
    intercept: f64,
}

impl Scale {
    /// Fits the line on the raw logits of a pilot: a standard deviation of `deviation` and a mean probability of `ctr`.
    pub(super) fn fit(pilot: &[f32], deviation: f64, ctr: f64) -> Self {
        let rows = pilot.len() as f64;
        let mean = pilot.iter().map(|&raw| f64::from(raw)).sum::<f64>() / rows;
        let variance = pilot.iter().map(|&raw| (f64::from(raw) - mean) * (f64::from(raw) - mean)).sum::<f64>() / rows;
        let slope = deviation / variance.sqrt();
        let mean_probability =
            |intercept: f64| pilot.iter().map(|&raw| sigmoid(slope * f64::from(raw) + intercept)).sum::<f64>() / rows;
        let (mut low, mut high) = (-20.0, 20.0);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if mean_probability(middle) > ctr { high = middle } else { low = middle }
        }
        Scale { slope, intercept: 0.5 * (low + high) }
    }

    /// The true logit.
    #[inline]
    pub(super) fn logit(&self, raw: f32) -> f64 {
        self.slope * f64::from(raw) + self.intercept
    }
}

/// The truth about one impression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// True click probability times 10⁹, from 1 to 10⁹ − 1.
    pub(super) billionths: u32,
    pub(super) click: bool,
}

impl Outcome {
    /// Draws a click with the probability of `logit`; `chance` is a uniform 32-bit number.
    #[inline]
    pub(super) fn draw(logit: f64, chance: u32) -> Self {
        let billionths = ((sigmoid(logit) * BILLION as f64 + 0.5) as u64).clamp(1, BILLION - 1);
        Outcome { billionths: billionths as u32, click: (u64::from(chance) * BILLION) >> 32 < billionths }
    }
}

const BILLION: u64 = 1_000_000_000;

/// Running sums for the summary.
#[derive(Default)]
pub(super) struct Tally {
    rows: u64,
    clicks: u64,
    pctr: f64,
    log_loss: f64,
    entropy: f64,
}

impl Tally {
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        let p = f64::from(outcome.billionths) / BILLION as f64;
        let (loss_if_clicked, loss_if_not) = (-ln(p), -ln(1.0 - p));
        self.rows += 1;
        self.clicks += u64::from(outcome.click);
        self.pctr += p;
        self.log_loss += if outcome.click { loss_if_clicked } else { loss_if_not };
        self.entropy += p * loss_if_clicked + (1.0 - p) * loss_if_not;
    }

    pub(super) fn summary(&self) -> Summary {
        let rows = self.rows.max(1) as f64;
        Summary {
            rows: self.rows,
            clicks: self.clicks,
            mean_pctr: self.pctr / rows,
            oracle_log_loss: self.log_loss / rows,
            entropy: self.entropy / rows,
        }
    }
}
