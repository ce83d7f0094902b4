//! Hashed logistic regression, learned online by FTRL-Proximal (McMahan et al. 2013, "Ad click prediction: a view from
//! the trenches", algorithm 1).
//!
//! Every row is predicted, then learned from, in order: a true online learner. For each slot i of a row with gradient
//! g = weight · (p − y):
//!
//! ```text
//! w_i = 0 if |z_i| ≤ l1, else −(z_i − sign(z_i) l1) / ((beta + √n_i) / alpha + l2)
//! σ   = (√(n_i + g²) − √n_i) / alpha;   z_i += g − σ w_i;   n_i += g²
//! ```
//!
//! The bias is a slot of every row. The steps of one row depend on the row before, so one thread learns whatever is lent;
//! that makes the bits the same at any number of threads. Another thread can only read ahead.

use serde::{Deserialize, Serialize};

use super::{Batch, Learn, Predict, Slots, Threads};
use crate::error::{Error, Result};
use crate::kernels::mapped::PairTable;
use crate::kernels::{
    FtrlRates, FtrlScratch, FtrlTask, Table, ftrl_learn, ftrl_weight, ftrl_weights, linear_logits, log_loss_with_logits,
};

/// Settings of [`FtrlLearner`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FtrlConfig {
    /// Learning rate, above 0 up to 10.
    pub alpha: f32,
    /// Softens the first steps of a slot, 0 to 100.
    pub beta: f32,
    /// L1 penalty (sparsity), 0 to 1000.
    pub l1: f32,
    /// L2 penalty, 0 to 1000.
    pub l2: f32,
}

impl Default for FtrlConfig {
    fn default() -> Self {
        FtrlConfig { alpha: 0.1, beta: 1.0, l1: 0.0, l2: 0.0 }
    }
}

impl FtrlConfig {
    /// Checks the bounds; `place` is named in errors.
    ///
    /// # Errors
    /// Config, naming the key.
    pub fn check(self, place: &str) -> Result<Self> {
        let bounds = [
            ("alpha", self.alpha, f32::MIN_POSITIVE, 10.0),
            ("beta", self.beta, 0.0, 100.0),
            ("l1", self.l1, 0.0, 1000.0),
            ("l2", self.l2, 0.0, 1000.0),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                let least = if least > 0.0 { "more than 0".into() } else { least.to_string() };
                return Err(Error::config(place, key, format!("expected {least} to {most}, got {value}")));
            }
        }
        if self.beta + self.l2 <= 0.0 {
            return Err(Error::config(place, "beta", "expected beta or l2 above 0, got 0 for both"));
        }
        Ok(self)
    }

    fn rates(&self) -> FtrlRates {
        FtrlRates { alpha: self.alpha, beta: self.beta, l1: self.l1, l2: self.l2 }
    }
}

/// A linear model while it learns: (z, n) of each slot and of the bias.
#[derive(Debug)]
pub struct FtrlLearner {
    /// One pair more than slots, for the kernel.
    table: PairTable,
    table_rows: usize,
    bias: [f32; 2],
    rates: FtrlRates,
    scratch: FtrlScratch,
    logits: Vec<f32>,
    gradients: Vec<f32>,
}

impl FtrlLearner {
    /// A learner of `table_rows` slots, all weights 0.
    pub fn new(config: &FtrlConfig, table_rows: usize) -> Self {
        FtrlLearner {
            table: PairTable::zeroed(table_rows + 1),
            table_rows,
            bias: [0.0; 2],
            rates: config.rates(),
            scratch: FtrlScratch::default(),
            logits: Vec::new(),
            gradients: Vec::new(),
        }
    }
}

impl Learn for FtrlLearner {
    type Frozen = FtrlModel;

    /// `rate` is not used: alpha is part of what every z means, so it cannot change on the way.
    fn learn(&mut self, batch: &Batch<'_>, _rate: f32, _threads: Threads<'_>) -> f64 {
        let (labels, weights) = (batch.labels, batch.weights.unwrap_or(&[]));
        self.logits.resize(labels.len(), 0.0);
        self.gradients.resize(labels.len(), 0.0);
        let task = FtrlTask {
            pairs: self.table.pairs_mut(),
            bias: &mut self.bias,
            slots: batch.slots.values(),
            labels,
            weights,
            rates: self.rates,
        };
        ftrl_learn(task, &mut self.scratch, &mut self.logits);
        // Each logit is from before its row was learned from; the gradients have been used already.
        log_loss_with_logits(&self.logits, labels, weights, &mut self.gradients)
    }

    fn freeze(&self) -> FtrlModel {
        let mut weights = Table::zeros(self.table_rows);
        ftrl_weights(&self.table.pairs()[..self.table_rows], &self.rates, &mut weights);
        FtrlModel { weights, bias: ftrl_weight(self.bias[0], self.bias[1], &self.rates) }
    }
}

/// A finished linear model: logit = bias + Σ weights of the row's slots.
#[derive(Debug, Clone, PartialEq)]
pub struct FtrlModel {
    /// One weight for each slot.
    pub weights: Table,
    /// Added to every logit.
    pub bias: f32,
}

impl Predict for FtrlModel {
    type Scratch = ();

    fn predict(&self, slots: Slots<'_>, _scratch: &mut (), logits: &mut [f32]) {
        assert_eq!(slots.rows(), logits.len(), "one logit a row");
        linear_logits(&self.weights, self.bias, slots.values(), logits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The algorithm as the paper states it, in f64.
    fn reference(rows: &[([u32; 3], f64)], table: usize, config: &FtrlConfig) -> (Vec<f64>, f64) {
        let (alpha, beta) = (f64::from(config.alpha), f64::from(config.beta));
        let (l1, l2) = (f64::from(config.l1), f64::from(config.l2));
        let (mut z, mut n) = (vec![0.0; table + 1], vec![0.0; table + 1]);
        let weight = |z: f64, n: f64| match z.abs() <= l1 {
            true => 0.0,
            false => -(z - z.signum() * l1) / ((beta + n.sqrt()) / alpha + l2),
        };
        let mut loss = 0.0;
        for (slots, label) in rows {
            let slots: Vec<usize> = slots.iter().map(|slot| *slot as usize).chain([table]).collect();
            let logit: f64 = slots.iter().map(|slot| weight(z[*slot], n[*slot])).sum();
            let p = 1.0 / (1.0 + (-logit).exp());
            loss -= label * p.ln() + (1.0 - label) * (1.0 - p).ln();
            let g = p - label;
            for slot in slots {
                let sigma = ((n[slot] + g * g).sqrt() - n[slot].sqrt()) / alpha;
                z[slot] += g - sigma * weight(z[slot], n[slot]);
                n[slot] += g * g;
            }
        }
        ((0..=table).map(|slot| weight(z[slot], n[slot])).collect(), loss)
    }

    #[test]
    fn agrees_with_the_paper() {
        let mut state = 7_u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let rows: Vec<([u32; 3], f64)> = (0..4_000)
            .map(|_| {
                let slots = [next(10) as u32, 10 + next(30) as u32, 40 + next(60) as u32];
                (slots, f64::from(next(100) < 5 + 5 * u64::from(slots[0])))
            })
            .collect();
        for config in [FtrlConfig::default(), FtrlConfig { alpha: 0.5, beta: 0.3, l1: 0.7, l2: 2.0 }] {
            let (expected, expected_loss) = reference(&rows, 100, &config);
            let slots: Vec<u32> = rows.iter().flat_map(|(slots, _)| *slots).collect();
            let labels: Vec<f32> = rows.iter().map(|(_, label)| *label as f32).collect();
            let mut learner = FtrlLearner::new(&config, 100);
            let batch = Batch { slots: Slots::new(3, &slots), labels: &labels, weights: None };
            let loss = learner.learn(&batch, 1.0, Threads::one());
            assert!((loss / expected_loss - 1.0).abs() < 1e-5, "{loss} {expected_loss}");
            let model = learner.freeze();
            for (slot, expected) in expected.iter().enumerate() {
                let weight = f64::from(*model.weights.get(slot).unwrap_or(&model.bias));
                assert!((weight - expected).abs() < 2e-4, "slot {slot}: {weight}, expected {expected}");
            }
        }
    }

    #[test]
    fn bounds_name_the_key() {
        let wrong = FtrlConfig { alpha: 0.0, ..FtrlConfig::default() };
        let message = wrong.check("--set").unwrap_err().to_string();
        assert!(message.contains("alpha") && message.contains("got 0"), "{message}");
        assert!(FtrlConfig { beta: 0.0, l2: 0.0, ..FtrlConfig::default() }.check("--set").is_err());
    }
}
