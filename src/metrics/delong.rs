//! Predictions of several models on the same rows → their AUCs and how these vary together (DeLong, DeLong and
//! Clarke-Pearson 1988).
//!
//! The *placement* of a click is the share of others that it outranks, that of another row the share of clicks that outrank
//! it, a tie counted half. AUC is the mean of either; the covariance of two AUCs follows from the covariances of their
//! placements, `S₁₀/m + S₀₁/n` with `m` clicks and `n` others. Placements come from one sort (Sun and Xu 2014, "Fast
//! Implementation of DeLong's Algorithm") in `O(n log n)`, where the definition compares every click with every other row.
//!
//! Rows are taken as independent and of one weight. Where rows of a user or an hour belong together the block bootstrap is the
//! one to believe; the two agree where they do not, which makes each the check of the other.

use serde::{Deserialize, Serialize};

use super::Predictions;
use super::bootstrap::ascending;
use super::distributions::normal_two_sided;

/// The placements of one prediction set, or their mean over several sets on the same rows; 8 bytes a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Placements {
    of_clicks: Vec<f64>,
    of_others: Vec<f64>,
}

/// Two AUCs on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AucDifference {
    /// AUC of the first minus that of the second.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Two-sided chance of a difference as large if there were none; 1 when both place all rows alike.
    pub p_value: f64,
}

impl Placements {
    /// Placements in the order of the rows. `None` with fewer than two rows of either class, or when the rows have weights.
    pub fn new(predictions: &Predictions) -> Option<Self> {
        Self::of_order(predictions, &ascending(predictions))
    }

    /// The same, from the `order` of [`ascending`].
    ///
    /// # Panics
    /// When there is not one place in the order for each row.
    pub fn of_order(predictions: &Predictions, order: &[u32]) -> Option<Self> {
        assert_eq!(predictions.len(), order.len(), "one place in the order for each row");
        let clicks = predictions.iter().filter(|row| row.click).count();
        let others = predictions.len() - clicks;
        if predictions.has_weights() || clicks < 2 || others < 2 {
            return None;
        }
        let row = |at: &u32| predictions.row(*at as usize);
        let mut placed = vec![0.0; predictions.len()];
        let (mut clicks_below, mut others_below) = (0, 0);
        for tied in order.chunk_by(|a, b| row(a).probability == row(b).probability) {
            let tied_clicks = tied.iter().filter(|at| row(at).click).count();
            let tied_others = tied.len() - tied_clicks;
            let of_click = (others_below as f64 + 0.5 * tied_others as f64) / others as f64;
            let clicks_above = clicks - clicks_below - tied_clicks;
            let of_other = (clicks_above as f64 + 0.5 * tied_clicks as f64) / clicks as f64;
            for at in tied {
                placed[*at as usize] = if row(at).click { of_click } else { of_other };
            }
            clicks_below += tied_clicks;
            others_below += tied_others;
        }
        let of = |click: bool| {
            predictions.iter().zip(&placed).filter(|(row, _)| row.click == click).map(|(_, place)| *place).collect()
        };
        Some(Self { of_clicks: of(true), of_others: of(false) })
    }

    /// The mean over prediction sets on the same rows, such as the seeds of one model; its AUC is the mean of theirs.
    /// `None` without sets.
    ///
    /// # Panics
    /// When the sets do not have the same clicks and others.
    pub fn mean(sets: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut sets = sets.into_iter();
        let (mut sum, mut count) = (sets.next()?, 1.0);
        for set in sets {
            assert_eq!(sum.of_clicks.len(), set.of_clicks.len(), "placements on the same rows");
            assert_eq!(sum.of_others.len(), set.of_others.len(), "placements on the same rows");
            sum.of_clicks.iter_mut().zip(&set.of_clicks).for_each(|(sum, place)| *sum += place);
            sum.of_others.iter_mut().zip(&set.of_others).for_each(|(sum, place)| *sum += place);
            count += 1.0;
        }
        sum.of_clicks.iter_mut().chain(&mut sum.of_others).for_each(|place| *place /= count);
        Some(sum)
    }

    /// Area under the ROC curve.
    pub fn auc(&self) -> f64 {
        mean(self.of_clicks.iter().copied())
    }

    /// Standard error of the AUC.
    pub fn standard_error(&self) -> f64 {
        self.covariance(self).max(0.0).sqrt()
    }

    /// Covariance of two AUCs on the same rows.
    ///
    /// # Panics
    /// When the two do not have the same clicks and others.
    pub fn covariance(&self, other: &Self) -> f64 {
        let of = |a: &[f64], b: &[f64]| {
            assert_eq!(a.len(), b.len(), "placements on the same rows");
            let (mean_a, mean_b) = (mean(a.iter().copied()), mean(b.iter().copied()));
            let products: f64 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
            products / (a.len() - 1) as f64 / a.len() as f64
        };
        of(&self.of_clicks, &other.of_clicks) + of(&self.of_others, &other.of_others)
    }

    /// Difference of two AUCs on the same rows.
    ///
    /// # Panics
    /// When the two do not have the same clicks and others.
    pub fn minus(&self, other: &Self) -> AucDifference {
        // The variance of a difference is that of the differences: nothing cancels that the two have in common.
        let difference = |a: &[f64], b: &[f64]| {
            assert_eq!(a.len(), b.len(), "placements on the same rows");
            a.iter().zip(b).map(|(a, b)| a - b).collect()
        };
        let differences = Self {
            of_clicks: difference(&self.of_clicks, &other.of_clicks),
            of_others: difference(&self.of_others, &other.of_others),
        };
        let (estimate, standard_error) = (differences.auc(), differences.standard_error());
        let p_value = if standard_error > 0.0 { normal_two_sided((estimate / standard_error).abs()) } else { 1.0 };
        AucDifference { estimate, standard_error, p_value }
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ranking::Ranking;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_mean_placement_is_the_auc(
            rows in prop::collection::vec((0u8..2, (0u32..20).prop_map(|p| f64::from(p) / 20.0)), 4..100),
        ) {
            let (labels, probabilities): (Vec<u8>, Vec<f64>) = rows.into_iter().unzip();
            let predictions = Predictions::new(&labels, &probabilities, None);
            if let Some(placements) = Placements::new(&predictions) {
                let auc = Ranking::new(&predictions).auc().expect("both classes");
                prop_assert!((placements.auc() - auc).abs() < 1e-12);
                prop_assert!((mean(placements.of_others.iter().copied()) - auc).abs() < 1e-12);
                let same = placements.minus(&placements);
                prop_assert_eq!((same.estimate, same.standard_error, same.p_value), (0.0, 0.0, 1.0));
                prop_assert_eq!(Placements::mean([placements.clone(), placements.clone()]), Some(placements));
            } else {
                let clicks = labels.iter().filter(|label| **label == 1).count();
                prop_assert!(clicks < 2 || labels.len() - clicks < 2);
            }
        }
    }

    #[test]
    fn the_variance_of_a_difference_is_that_of_its_parts() {
        let labels: Vec<u8> = (0..200).map(|row| u8::from(row % 3 == 0)).collect();
        let of = |step: usize| -> Vec<f64> { (0..200).map(|row| (row * step % 97) as f64 / 97.0).collect() };
        let (p, q) = (of(13), of(29));
        let a = Placements::new(&Predictions::new(&labels, &p, None)).unwrap();
        let b = Placements::new(&Predictions::new(&labels, &q, None)).unwrap();
        let difference = a.minus(&b);
        let parts = a.covariance(&a) + b.covariance(&b) - 2.0 * a.covariance(&b);
        assert!((difference.standard_error.powi(2) - parts).abs() < 1e-15);
        assert!((difference.estimate - (a.auc() - b.auc())).abs() < 1e-15);
        assert_eq!(Placements::new(&Predictions::new(&labels, &p, Some(&[1.0; 200]))), None);
        assert_eq!(Placements::mean([]), None);
    }
}
