//! Ranking → decisions: the F1 of "call it a click when the probability is at least the threshold".
//!
//! A bidder needs probabilities and not decisions, so F1 is reported and nothing is chosen by it.

use serde::{Deserialize, Serialize};

use super::Predictions;
use super::ranking::Ranking;

/// Precision, recall and F1 at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct F1 {
    /// Rows at or above this probability are called clicks.
    pub threshold: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Share of called rows that were clicked; 0 when none was called.
    pub precision: f64,
    /// Share of clicks that were called.
    pub recall: f64,
}

/// Best F1 over all thresholds; of equally good ones the highest. It is optimistic on the rows it was chosen on: to judge
/// a threshold, choose it on one set and pass it to [`f1_at`] with another. `None` without a click.
pub fn best_f1(ranking: &Ranking) -> Option<F1> {
    let mut best: Option<F1> = None;
    let (mut clicked, mut called) = (0.0, 0.0);
    for step in ranking.steps() {
        clicked += step.clicked_weight;
        called += step.weight();
        let here = f1(step.probability, clicked, called, ranking.clicked_weight())?;
        if best.is_none_or(|best| here.f1 > best.f1) {
            best = Some(here);
        }
    }
    best
}

/// F1 at `threshold`. `None` without a click.
pub fn f1_at(predictions: &Predictions, threshold: f64) -> Option<F1> {
    let (mut clicked, mut called, mut clicks) = (0.0, 0.0, 0.0);
    for row in predictions.iter() {
        let weight = f64::from(row.weight);
        if row.click {
            clicks += weight;
        }
        if row.probability >= threshold {
            called += weight;
            if row.click {
                clicked += weight;
            }
        }
    }
    f1(threshold, clicked, called, clicks)
}

fn f1(threshold: f64, clicked: f64, called: f64, clicks: f64) -> Option<F1> {
    (clicks > 0.0).then(|| F1 {
        threshold,
        f1: 2.0 * clicked / (called + clicks),
        precision: if called > 0.0 { clicked / called } else { 0.0 },
        recall: clicked / clicks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_threshold_above_all_rows_calls_nothing() {
        let none = f1_at(&Predictions::new(&[1, 0], &[0.3, 0.2], None), 0.9).unwrap();
        assert_eq!((none.f1, none.precision, none.recall), (0.0, 0.0, 0.0));
        assert_eq!(f1_at(&Predictions::new(&[0], &[0.3], None), 0.1), None);
    }

    proptest! {
        #[test]
        fn no_threshold_beats_the_best(
            rows in prop::collection::vec((0u8..2, (0u32..20).prop_map(|p| f64::from(p) / 20.0)), 1..80),
            threshold in 0.0f64..1.0,
        ) {
            let (labels, probabilities): (Vec<u8>, Vec<f64>) = rows.into_iter().unzip();
            let predictions = Predictions::new(&labels, &probabilities, None);
            let best = best_f1(&Ranking::new(&predictions));
            prop_assert_eq!(best.is_some(), labels.contains(&1));
            if let Some(best) = best {
                prop_assert!(f1_at(&predictions, threshold).unwrap().f1 <= best.f1);
                prop_assert_eq!(f1_at(&predictions, best.threshold), Some(best));
            }
        }
    }
}
