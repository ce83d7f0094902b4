//! The click rate of the training rows, for every row: the floor that any other model must beat, and the last tier of
//! the budget ladder.

use super::{Batch, Learn, Predict, Slots, Threads};

/// Counts clicks.
#[derive(Debug, Clone, Default)]
pub struct BaseRateLearner {
    clicks: f64,
    weight: f64,
}

/// One logit for every row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaseRateModel {
    /// Log-odds of a click.
    pub logit: f32,
}

impl BaseRateModel {
    /// The model of `clicks` among `rows`, both counted by weight.
    pub fn of_counts(clicks: f64, rows: f64) -> Self {
        BaseRateModel { logit: log_odds(clicks, rows) as f32 }
    }
}

/// Log-odds with half a click and half a non-click added (Jeffreys' prior), so that they are finite from the start.
fn log_odds(clicks: f64, rows: f64) -> f64 {
    ((clicks + 0.5) / (rows - clicks + 0.5)).ln()
}

impl Learn for BaseRateLearner {
    type Frozen = BaseRateModel;

    fn learn(&mut self, batch: &Batch<'_>, _rate: f32, _threads: Threads<'_>) -> f64 {
        let logit = log_odds(self.clicks, self.weight);
        let mut loss = 0.0;
        for (row, label) in batch.labels.iter().enumerate() {
            let weight = f64::from(batch.weights.map_or(1.0, |weights| weights[row]));
            let label = f64::from(*label);
            loss += weight * ((1.0 + logit.exp()).ln() - label * logit);
            self.clicks += weight * label;
            self.weight += weight;
        }
        loss
    }

    fn freeze(&self) -> BaseRateModel {
        BaseRateModel::of_counts(self.clicks, self.weight)
    }
}

impl Predict for BaseRateModel {
    type Scratch = ();

    fn predict(&self, slots: Slots<'_>, _scratch: &mut (), logits: &mut [f32]) {
        assert_eq!(slots.rows(), logits.len(), "one logit a row");
        logits.fill(self.logit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_the_rate() {
        let mut learner = BaseRateLearner::default();
        let labels: Vec<f32> = (0..1000).map(|row| f32::from(row % 50 == 0)).collect();
        let slots = vec![0; 1000];
        let batch = Batch { slots: Slots::new(1, &slots), labels: &labels, weights: None };
        let loss = learner.learn(&batch, 1.0, Threads::one());
        assert!((loss - 1000.0 * 2_f64.ln()).abs() < 1e-9, "the first rows were predicted at one half");
        let mut logits = [0.0; 3];
        learner.freeze().predict(Slots::new(1, &[1, 2, 3]), &mut (), &mut logits);
        assert!(logits.iter().all(|logit| (f64::from(*logit) - (20.5_f64 / 980.5).ln()).abs() < 1e-6));
    }
}
