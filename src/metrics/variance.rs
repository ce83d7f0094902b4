//! One number for each seed and fold → how much of its variance comes from which (random effects).
//!
//! `y[s][f] = mean + seed[s] + fold[f] + rest[s][f]` for `S` seeds and `F` folds, one run each. With the mean squares of the
//! two-way table (Searle, Casella and McCulloch 1992, *Variance Components*, ch. 4)
//!
//! ```text
//! E[MS_seed] = F σ²_seed + σ²_rest     E[MS_fold] = S σ²_fold + σ²_rest     E[MS_rest] = σ²_rest
//! ```
//!
//! each component is solved for, and taken as zero where the solution is below. A component that needs a second seed or a
//! second fold is `None` without it: nothing is claimed that was not seen.

use serde::{Deserialize, Serialize};

/// Components of the variance of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Components {
    /// Mean over all runs.
    pub mean: f64,
    /// Variance between seeds. With one fold it includes what seeds and folds do together. `None` with one seed.
    pub seed: Option<f64>,
    /// Variance between folds. With one seed it includes what seeds and folds do together. `None` with one fold.
    pub fold: Option<f64>,
    /// Variance of what seeds and folds do together. `None` with one seed or one fold.
    pub rest: Option<f64>,
    /// Seeds.
    pub seeds: usize,
    /// Folds.
    pub folds: usize,
}

/// Components of `values[seed][fold]`; `None` when it is empty.
///
/// # Panics
/// When seeds do not have the same number of folds.
pub fn components(values: &[Vec<f64>]) -> Option<Components> {
    let (seeds, folds) = (values.len(), values.first().map_or(0, Vec::len));
    assert!(values.iter().all(|of_seed| of_seed.len() == folds), "every seed has every fold");
    if seeds == 0 || folds == 0 {
        return None;
    }
    let (s, f) = (seeds as f64, folds as f64);
    let mean = values.iter().flatten().sum::<f64>() / (s * f);
    let of_seed: Vec<f64> = values.iter().map(|of_seed| of_seed.iter().sum::<f64>() / f).collect();
    let of_fold: Vec<f64> = (0..folds).map(|fold| values.iter().map(|seed| seed[fold]).sum::<f64>() / s).collect();
    let squares = |means: &[f64]| means.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let (seed_squares, fold_squares) = (f * squares(&of_seed), s * squares(&of_fold));
    let components = |seed, fold, rest| Some(Components { mean, seed, fold, rest, seeds, folds });
    match (seeds, folds) {
        (1, 1) => components(None, None, None),
        (_, 1) => components(Some(seed_squares / (s - 1.0)), None, None),
        (1, _) => components(None, Some(fold_squares / (f - 1.0)), None),
        _ => {
            let mut rest = 0.0;
            for (of_seed, values) in of_seed.iter().zip(values) {
                for (of_fold, value) in of_fold.iter().zip(values) {
                    rest += (value - of_seed - of_fold + mean).powi(2);
                }
            }
            let rest = rest / ((s - 1.0) * (f - 1.0));
            let seed = ((seed_squares / (s - 1.0) - rest) / f).max(0.0);
            let fold = ((fold_squares / (f - 1.0) - rest) / s).max(0.0);
            components(Some(seed), Some(fold), Some(rest))
        }
    }
}

impl Components {
    /// Squared standard error of the mean over all runs, as far as its components are known:
    /// `σ²_seed/S + σ²_fold/F + σ²_rest/(S F)`.
    pub fn squared_error_of_mean(&self) -> f64 {
        let (s, f) = (self.seeds as f64, self.folds as f64);
        self.seed.unwrap_or(0.0) / s + self.fold.unwrap_or(0.0) / f + self.rest.unwrap_or(0.0) / (s * f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::distributions::normal_quantile;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{RngCore, SeedableRng};

    #[test]
    fn components_of_a_textbook_table() {
        // Means of seeds 2, 5; of folds 2, 3, 5.5: sums of squares by hand.
        let found = components(&[vec![1.0, 1.0, 4.0], vec![3.0, 5.0, 7.0]]).unwrap();
        assert!((found.mean - 3.5).abs() < 1e-15);
        assert!((found.rest.unwrap() - 0.5).abs() < 1e-12, "{found:?}");
        assert!((found.seed.unwrap() - (13.5 - 0.5) / 3.0).abs() < 1e-12);
        assert!((found.fold.unwrap() - (6.5 - 0.5) / 2.0).abs() < 1e-12);
        let error = (13.0 / 3.0) / 2.0 + 3.0 / 3.0 + 0.5 / 6.0;
        assert!((found.squared_error_of_mean() - error).abs() < 1e-12);
    }

    #[test]
    fn what_was_not_seen_is_not_claimed() {
        assert_eq!(components(&[]), None);
        let one = components(&[vec![2.0]]).unwrap();
        assert_eq!((one.seed, one.fold, one.rest, one.squared_error_of_mean()), (None, None, None, 0.0));
        let seeds = components(&[vec![1.0], vec![3.0]]).unwrap();
        assert_eq!((seeds.seed, seeds.fold, seeds.squared_error_of_mean()), (Some(2.0), None, 1.0));
        let folds = components(&[vec![1.0, 3.0]]).unwrap();
        assert_eq!((folds.seed, folds.fold), (None, Some(2.0)));
    }

    #[test]
    fn simulated_components_are_found_on_average() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut normal = |sd: f64| sd * normal_quantile((random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 + 1e-17);
        let (mut seed, mut fold, mut rest) = (0.0, 0.0, 0.0);
        let tables = 2_000;
        for _ in 0..tables {
            let of_fold: Vec<f64> = (0..4).map(|_| normal(2.0)).collect();
            let table: Vec<Vec<f64>> = (0..5)
                .map(|_| {
                    let of_seed = normal(1.0);
                    of_fold.iter().map(|of_fold| 7.0 + of_seed + of_fold + normal(0.5)).collect()
                })
                .collect();
            let found = components(&table).unwrap();
            seed += found.seed.unwrap() / f64::from(tables);
            fold += found.fold.unwrap() / f64::from(tables);
            rest += found.rest.unwrap() / f64::from(tables);
        }
        // Standard errors of these means: about 0.016, 0.08, 0.002.
        assert!(
            (seed - 1.0).abs() < 0.06 && (fold - 4.0).abs() < 0.3 && (rest - 0.25).abs() < 0.01,
            "{seed} {fold} {rest}"
        );
    }
}
