//! Predictions → how far the probabilities are from the rates they promise: PCOC, reliability table, ECE.
//!
//! Bins hold equal mass, not equal width: with a CTR of 1 % nearly every row would fall into the first of ten equal widths.
//! Rows of one probability never part, so that the table does not depend on the order of the rows.

use serde::{Deserialize, Serialize};

use super::Predictions;
use super::ranking::{Ranking, Step};

/// 97.5 % quantile of the normal distribution: the Wilson intervals hold 95 %.
const Z95: f64 = 1.959_963_984_540_054;

/// Rows of neighboring probabilities: what was promised and what happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lowest probability in the bin.
    pub lowest: f64,
    /// Highest probability in the bin.
    pub highest: f64,
    /// Rows, unweighted.
    pub rows: u64,
    /// Sum of weights.
    pub weight: f64,
    /// Mean predicted probability.
    pub mean_probability: f64,
    /// Click-through rate.
    pub ctr: f64,
    /// Lower end of the 95 % Wilson interval of the CTR.
    pub ctr_low: f64,
    /// Upper end of the 95 % Wilson interval of the CTR.
    pub ctr_high: f64,
}

/// Predicted clicks over clicks, `Σ w p / Σ w y`: 1 is right on average, 1.1 bids a tenth too high.
/// `None` without a click.
pub fn pcoc(predictions: &Predictions) -> Option<f64> {
    predictions.totals()?.pcoc()
}

/// At most `bins` bins of equal weight, lowest probabilities first. A bin closes once the weight up to it reaches its
/// share, counted from the highest probability; a probability shared by many rows can fill several shares and then leaves
/// fewer bins. Empty without rows.
///
/// # Panics
/// When `bins` is zero.
pub fn reliability(ranking: &Ranking, bins: usize) -> Vec<ReliabilityBin> {
    assert!(bins > 0, "a reliability table has at least one bin");
    let total = ranking.clicked_weight() + ranking.other_weight();
    let share = total / bins as f64;
    let mut table = Vec::with_capacity(bins);
    let mut open: Option<OpenBin> = None;
    let mut reached = 0.0;
    let mut full_at = share;
    for step in ranking.steps() {
        let bin = open.get_or_insert_with(|| OpenBin::starting_at(step.probability));
        bin.add(step);
        reached += step.weight();
        // Sums of weights round, so that a share that is met exactly may read a little short.
        if reached >= full_at - 1e-9 * share {
            table.extend(open.take().map(OpenBin::close));
            full_at = share * ((reached / share + 1e-9).floor() + 1.0);
        }
    }
    table.extend(open.map(OpenBin::close));
    table.reverse();
    table
}

/// Expected calibration error `Σ weight |mean probability − CTR| / Σ weight` over a reliability table (Naeini et al. 2015).
/// It shrinks with fewer bins and never reads zero on finite data: compare it at equal bins and rows only.
/// `None` for an empty table.
pub fn expected_calibration_error(table: &[ReliabilityBin]) -> Option<f64> {
    let weight: f64 = table.iter().map(|bin| bin.weight).sum();
    let gap = |bin: &ReliabilityBin| bin.weight * (bin.mean_probability - bin.ctr).abs();
    (weight > 0.0).then(|| table.iter().map(gap).sum::<f64>() / weight)
}

/// 95 % interval of a rate seen `rate` times out of `trials` (Wilson 1927), inside \[0,1\] also at rates of 0 and 1.
/// With weights, `trials` is the effective number of rows. (0, 1) when there are no trials.
pub fn wilson(rate: f64, trials: f64) -> (f64, f64) {
    if trials <= 0.0 {
        return (0.0, 1.0);
    }
    let z2 = Z95 * Z95 / trials;
    let center = rate + z2 / 2.0;
    let spread = (z2 * (rate * (1.0 - rate) + z2 / 4.0)).sqrt();
    // The rate lies inside by definition; rounding must not say otherwise.
    (((center - spread) / (1.0 + z2)).clamp(0.0, rate), ((center + spread) / (1.0 + z2)).clamp(rate, 1.0))
}

struct OpenBin {
    lowest: f64,
    highest: f64,
    rows: u64,
    weight: f64,
    squared_weight: f64,
    clicked_weight: f64,
    probability: f64,
}

impl OpenBin {
    fn starting_at(probability: f64) -> Self {
        Self {
            lowest: probability,
            highest: probability,
            rows: 0,
            weight: 0.0,
            squared_weight: 0.0,
            clicked_weight: 0.0,
            probability: 0.0,
        }
    }

    fn add(&mut self, step: Step) {
        self.lowest = step.probability;
        self.rows += step.rows;
        self.weight += step.weight();
        self.squared_weight += step.squared_weight;
        self.clicked_weight += step.clicked_weight;
        self.probability += step.weight() * step.probability;
    }

    fn close(self) -> ReliabilityBin {
        let ctr = self.clicked_weight / self.weight;
        // Kish's effective number of rows; the plain number when all weights are equal.
        let (ctr_low, ctr_high) = wilson(ctr, self.weight * self.weight / self.squared_weight);
        ReliabilityBin {
            lowest: self.lowest,
            highest: self.highest,
            rows: self.rows,
            weight: self.weight,
            mean_probability: self.probability / self.weight,
            ctr,
            ctr_low,
            ctr_high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wilson_interval_of_a_textbook_case() {
        // 1 of 10: center (0.1 + z²/20) / (1 + z²/10).
        let (low, high) = wilson(0.1, 10.0);
        assert!((low - 0.017_876_213).abs() < 1e-8, "{low}");
        assert!((high - 0.404_150_020).abs() < 1e-8, "{high}");
        assert_eq!(wilson(0.0, 50.0).0, 0.0);
        assert_eq!(wilson(1.0, 50.0).1, 1.0);
        assert_eq!(wilson(0.5, 0.0), (0.0, 1.0));
    }

    #[test]
    fn one_probability_makes_one_bin() {
        let ranking = Ranking::new(&Predictions::new(&[1, 0, 0, 0], &[0.2; 4], None));
        let table = reliability(&ranking, 10);
        assert_eq!(table.len(), 1);
        assert_eq!((table[0].rows, table[0].ctr), (4, 0.25));
        assert!((expected_calibration_error(&table).unwrap() - 0.05).abs() < 1e-15);
        assert_eq!(expected_calibration_error(&[]), None);
    }

    #[test]
    fn distinct_probabilities_fill_bins_evenly() {
        let probabilities: Vec<f64> = (1..=1_000).map(|p| f64::from(p) / 1_001.0).collect();
        let labels = vec![0; 1_000];
        for weight in [1.0f32, 0.1, 3.3] {
            let weights = vec![weight; 1_000];
            let predictions = Predictions::new(&labels, &probabilities, Some(&weights));
            let table = reliability(&Ranking::new(&predictions), 20);
            assert_eq!(table.len(), 20, "weight {weight}");
            assert!(table.iter().all(|bin| bin.rows == 50), "weight {weight}");
        }
    }

    proptest! {
        #[test]
        fn bins_hold_all_rows_in_order(
            rows in prop::collection::vec((0u8..2, (0u32..40).prop_map(|p| f64::from(p) / 40.0)), 1..200),
            bins in 1usize..25,
        ) {
            let (labels, probabilities): (Vec<u8>, Vec<f64>) = rows.into_iter().unzip();
            let predictions = Predictions::new(&labels, &probabilities, None);
            let table = reliability(&Ranking::new(&predictions), bins);
            prop_assert!(table.len() <= bins);
            prop_assert_eq!(table.iter().map(|bin| bin.rows).sum::<u64>(), labels.len() as u64);
            prop_assert!(table.windows(2).all(|pair| pair[0].highest < pair[1].lowest));
            for bin in &table {
                prop_assert!(bin.lowest - 1e-12 <= bin.mean_probability && bin.mean_probability <= bin.highest + 1e-12);
                prop_assert!(bin.ctr_low <= bin.ctr && bin.ctr <= bin.ctr_high);
            }
            // The gaps add up to at least the overall gap.
            let totals = predictions.totals().unwrap();
            let ece = expected_calibration_error(&table).unwrap();
            prop_assert!(ece >= (totals.mean_probability() - totals.ctr()).abs() - 1e-12);
        }
    }
}
