//! Noisy estimates of many slices → estimates that borrow from each other, so that tiny slices do not shout.
//!
//! Normal–normal empirical Bayes (Efron and Morris 1975): slice `i` shows `yᵢ ~ N(θᵢ, vᵢ)` with known `vᵢ`, and the slices'
//! true values spread as `θᵢ ~ N(μ, τ²)`. The best guess of `θᵢ` lies between what the slice shows and what all slices show:
//!
//! ```text
//! θ̂ᵢ = (1 − Bᵢ) yᵢ + Bᵢ μ     Bᵢ = vᵢ / (vᵢ + τ²)
//! ```
//!
//! A large slice keeps what it shows; a tiny one says little more than the mean. `τ²` is that of Paule and Mandel (1982): the
//! value at which `Σ (yᵢ − μ)² / (vᵢ + τ²)` equals its expectation, the number of slices less one; zero when slices differ no
//! more than chance explains.

use serde::{Deserialize, Serialize};

use super::distributions::normal_quantile;

/// What one slice shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The estimate.
    pub estimate: f64,
    /// Its standard error, above zero.
    pub standard_error: f64,
}

/// What is to be believed of one slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shrunk {
    /// The shrunken estimate.
    pub estimate: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Share `B` of the mean in it: 0 keeps the slice's own estimate, 1 leaves nothing of it.
    pub shrinkage: f64,
}

/// All slices together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shrinkage {
    /// Mean `μ` of the slices' true values.
    pub mean: f64,
    /// Standard deviation `τ` of the slices' true values.
    pub spread: f64,
    /// One for each slice.
    pub slices: Vec<Shrunk>,
}

/// Shrinks the slices; intervals hold with probability `confidence`, the doubt about `μ` and `τ²` included (Morris 1983). `None` without
/// slices.
///
/// # Panics
/// When an estimate is not finite, a standard error not above zero, or `confidence` not inside (0,1).
pub fn shrink(shown: &[Shown], confidence: f64) -> Option<Shrinkage> {
    assert!(0.0 < confidence && confidence < 1.0, "confidence must be inside (0,1), got {confidence}");
    if let Some(at) = shown.iter().position(|slice| !(slice.estimate.is_finite() && slice.standard_error > 0.0)) {
        panic!("slice {at}: expected a finite estimate and an error above 0, got {:?}", shown[at]);
    }
    if shown.is_empty() {
        return None;
    }
    let variance = between(shown);
    let (mean, weight) = mean_at(shown, variance);
    let reach = normal_quantile(0.5 + 0.5 * confidence);
    let mean_error = shown.iter().map(|slice| slice.standard_error.powi(2)).sum::<f64>() / shown.len() as f64;
    let doubt = 2.0 / (shown.len() as f64 - 3.0).max(1.0);
    let of = |slice: &Shown| {
        let own = slice.standard_error.powi(2);
        let shrinkage = own / (own + variance);
        let estimate = (1.0 - shrinkage) * slice.estimate + shrinkage * mean;
        // How far the slice may have been drawn wrongly, because the spread is an estimate too (Morris 1983).
        let relative = (mean_error + variance) / (own + variance);
        let of_spread = doubt * relative * (shrinkage * (slice.estimate - mean)).powi(2);
        let half = reach * (own * (1.0 - shrinkage) + shrinkage * shrinkage / weight + of_spread).sqrt();
        Shrunk { estimate, low: estimate - half, high: estimate + half, shrinkage }
    };
    Some(Shrinkage { mean, spread: variance.sqrt(), slices: shown.iter().map(of).collect() })
}

/// Mean of the slices weighted by `1 / (vᵢ + τ²)`, and the sum of these weights.
fn mean_at(shown: &[Shown], variance: f64) -> (f64, f64) {
    let weights = || shown.iter().map(|slice| 1.0 / (slice.standard_error.powi(2) + variance));
    let sum: f64 = weights().sum();
    (weights().zip(shown).map(|(weight, slice)| weight * slice.estimate).sum::<f64>() / sum, sum)
}

/// `τ²` of Paule and Mandel, by halving: the sum falls as `τ²` grows.
fn between(shown: &[Shown]) -> f64 {
    let expected = shown.len() as f64 - 1.0;
    let sum = |variance: f64| {
        let (mean, _) = mean_at(shown, variance);
        let of = |slice: &Shown| (slice.estimate - mean).powi(2) / (slice.standard_error.powi(2) + variance);
        shown.iter().map(of).sum::<f64>()
    };
    if sum(0.0) <= expected {
        return 0.0;
    }
    // No variance above the greatest squared distance of two estimates is needed.
    let ends = shown.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), slice| {
        (low.min(slice.estimate), high.max(slice.estimate))
    });
    let (mut low, mut high) = (0.0, 2.0 * (ends.1 - ends.0).powi(2));
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        match sum(middle) > expected {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{RngCore, SeedableRng};

    fn shown(slices: &[(f64, f64)]) -> Vec<Shown> {
        slices.iter().map(|&(estimate, standard_error)| Shown { estimate, standard_error }).collect()
    }

    #[test]
    fn slices_of_equal_error_shrink_as_james_and_stein() {
        // Errors of 1: Q = Σ (y − 3)² / (1 + τ²) = 4 has the solution τ² = 40/4 − 1.
        let found = shrink(&shown(&[(-1.0, 1.0), (1.0, 1.0), (3.0, 1.0), (5.0, 1.0), (7.0, 1.0)]), 0.95).unwrap();
        assert!((found.mean - 3.0).abs() < 1e-12 && (found.spread.powi(2) - 9.0).abs() < 1e-9, "{found:?}");
        assert!((found.slices[0].estimate - (3.0 * 0.1 - 0.9)).abs() < 1e-9);
        assert!((found.slices[4].shrinkage - 0.1).abs() < 1e-9);
    }

    #[test]
    fn tiny_slices_do_not_shout() {
        let found = shrink(&shown(&[(0.01, 0.002), (-0.01, 0.002), (0.015, 0.002), (-0.012, 0.003), (0.4, 0.3)]), 0.95)
            .unwrap();
        let tiny = found.slices[4];
        assert!(tiny.estimate < 0.03 && tiny.shrinkage > 0.99, "{tiny:?}");
        assert!((found.slices[0].estimate - 0.01).abs() < 0.001);
        let alike = shrink(&shown(&[(0.01, 0.1), (-0.01, 0.1), (0.02, 0.1)]), 0.95).unwrap();
        assert_eq!(alike.spread, 0.0);
        assert!(alike.slices.iter().all(|slice| slice.estimate == alike.mean));
        assert_eq!(shrink(&[], 0.95), None);
        let one = shrink(&shown(&[(0.3, 0.1)]), 0.95).unwrap().slices[0];
        assert!((one.estimate - 0.3).abs() < 1e-15 && (one.high - 0.3 - 0.195_996_4).abs() < 1e-6, "{one:?}");
    }

    #[test]
    fn shrunken_slices_are_nearer_the_truth_and_their_intervals_hold() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(2);
        let mut uniform = || ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (mut own, mut shrunken, mut held, mut all) = (0.0, 0.0, 0, 0);
        for _ in 0..200 {
            let slices: Vec<(f64, Shown)> = (0..40)
                .map(|_| {
                    let truth = 2.0 + normal_quantile(uniform());
                    let standard_error = 0.2 + 3.0 * uniform();
                    let estimate = truth + standard_error * normal_quantile(uniform());
                    (truth, Shown { estimate, standard_error })
                })
                .collect();
            let shown: Vec<Shown> = slices.iter().map(|slice| slice.1).collect();
            for ((truth, shown), shrunk) in slices.iter().zip(shrink(&shown, 0.9).unwrap().slices) {
                own += (shown.estimate - truth).powi(2);
                shrunken += (shrunk.estimate - truth).powi(2);
                held += usize::from((shrunk.low..=shrunk.high).contains(truth));
                all += 1;
            }
        }
        assert!(shrunken < 0.4 * own, "{shrunken} {own}");
        let share = held as f64 / all as f64;
        assert!((0.86..=0.92).contains(&share), "{share}");
    }
}
