//! The predictions of one run → its metrics on all test rows and on every resample of them.

use serde::{Deserialize, Serialize};

use super::bootstrap::{BlockSums, RankedRows, Resamples, RowBlocks};
use super::differences::RunDraws;
use super::{Predictions, losses};

/// A metric by which models are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean log loss in nats; less is better.
    LogLoss,
    /// Log loss over the entropy of the base rate; less is better.
    NormalizedEntropy,
    /// Area under the ROC curve; more is better.
    Auc,
    /// Predicted clicks over clicks; 1 is right.
    Pcoc,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 4] = [Metric::LogLoss, Metric::NormalizedEntropy, Metric::Auc, Metric::Pcoc];

    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Metric::LogLoss => "log loss",
            Metric::NormalizedEntropy => "normalized entropy",
            Metric::Auc => "AUC",
            Metric::Pcoc => "PCOC",
        }
    }

    /// Whether more is better. Neither is, of PCOC.
    pub fn more_is_better(self) -> bool {
        self == Metric::Auc
    }
}

/// The metrics of one run in the order of [`Metric::ALL`], each on all rows and on each of `resamples`. `order` is that of
/// [`super::bootstrap::ascending`]. A metric that does not exist on all rows (one class, no click) is `None`; all are when
/// the total weight is zero.
///
/// # Panics
/// When the lengths differ, or the resamples are not of these blocks.
pub fn resample(
    predictions: &Predictions,
    order: &[u32],
    blocks: &RowBlocks,
    resamples: &Resamples,
) -> [Option<RunDraws>; Metric::ALL.len()] {
    let sums = BlockSums::of(blocks, |row| {
        let row = predictions.row(row);
        let (weight, click) = (f64::from(row.weight), f64::from(u8::from(row.click)));
        [weight, weight * losses::row_log_loss(row), weight * row.probability, weight * click]
    });
    let drawn = sums.resampled(resamples);
    let of_sums = |metric: fn(&[f64; 4]) -> Option<f64>| {
        let estimate = metric(&sums.total())?;
        Some(RunDraws { estimate, draws: drawn.iter().map(metric).collect() })
    };
    let log_loss: fn(&[f64; 4]) -> Option<f64> = |&[weight, loss, ..]| (weight > 0.0).then(|| loss / weight);
    let normalized_entropy: fn(&[f64; 4]) -> Option<f64> = |&[weight, loss, _, clicks]| {
        (weight > 0.0).then(|| losses::normalized_entropy(loss / weight, clicks / weight)).flatten()
    };
    let pcoc: fn(&[f64; 4]) -> Option<f64> = |&[_, _, promised, clicks]| (clicks > 0.0).then(|| promised / clicks);
    let ranked = RankedRows::new(predictions, order, blocks);
    let auc = ranked.auc().map(|estimate| RunDraws { estimate, draws: ranked.resampled(resamples) });
    [of_sums(log_loss), of_sums(normalized_entropy), auc, of_sums(pcoc)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::bootstrap::{Blocks, Bootstrap, ascending};
    use crate::metrics::evaluate;

    #[test]
    fn estimates_are_those_of_an_evaluation() {
        let labels: Vec<u8> = (0..500).map(|row| u8::from(row % 5 == 0)).collect();
        let probabilities: Vec<f64> = (0..500).map(|row| f64::from(row * 37 % 101 + 1) / 110.0).collect();
        let weights: Vec<f32> = (0..500).map(|row| 0.5 + (row % 3) as f32).collect();
        for weights in [None, Some(&weights[..])] {
            let predictions = Predictions::new(&labels, &probabilities, weights);
            let blocks = RowBlocks::new(500, Blocks::Rows(10));
            let settings = Bootstrap { resamples: 200, confidence: 0.95, seed: 1 };
            let resamples = Resamples::draw(blocks.blocks(), settings);
            let [loss, entropy, auc, pcoc] = resample(&predictions, &ascending(&predictions), &blocks, &resamples);
            let expected = evaluate(&labels, &probabilities, weights, None).unwrap();
            let close = |draws: &Option<RunDraws>, expected: f64| {
                let draws = draws.as_ref().unwrap();
                assert!((draws.estimate - expected).abs() < 1e-12, "{} {expected}", draws.estimate);
                let mean = draws.draws.iter().flatten().sum::<f64>() / 200.0;
                assert!((mean - expected).abs() < 0.05 * expected, "{mean} {expected}");
                assert_eq!(draws.draws.len(), 200);
            };
            close(&loss, expected.log_loss);
            close(&entropy, expected.normalized_entropy.unwrap());
            close(&auc, expected.auc.unwrap());
            close(&pcoc, expected.pcoc.unwrap());
        }
    }

    #[test]
    fn one_class_has_a_loss_only() {
        let predictions = Predictions::new(&[0, 0, 0, 0], &[0.1, 0.2, 0.3, 0.4], None);
        let blocks = RowBlocks::new(4, Blocks::Rows(1));
        let resamples = Resamples::draw(4, Bootstrap { resamples: 20, confidence: 0.95, seed: 1 });
        let metrics = resample(&predictions, &ascending(&predictions), &blocks, &resamples);
        assert_eq!(metrics.map(|metric| metric.is_some()), [true, false, false, false]);
    }
}
