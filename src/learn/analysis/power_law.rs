//! Losses at several numbers of rows → a power law, and what twice the rows would bring.
//!
//! `L(n) = floor + scale · (n / N)^(−exponent)`, with `N` the greatest number of rows (Hestness et al. 2017, "Deep learning scaling is
//! predictable, empirically"). For a given exponent, floor and scale follow from least squares; the exponent is found on a grid
//! and then refined by golden sections. What no loss can be is ruled out: floor and scale are at least 0.

use serde::{Deserialize, Serialize};

/// Least and greatest exponent that is tried.
const EXPONENTS: [f64; 2] = [0.02, 2.0];
/// Exponents on the grid, evenly in their logarithm.
const GRID: usize = 40;

/// A fitted power law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// Loss that no number of rows goes below, nats.
    pub floor: f64,
    /// Loss above the floor at [`PowerLaw::rows`], nats.
    pub scale: f64,
    /// How fast that falls.
    pub exponent: f64,
    /// The greatest number of rows it was fitted on.
    pub rows: f64,
}

impl PowerLaw {
    /// Fits at least three points of rows (above 0) and loss, each counted by its weight (above 0; one over the squared error).
    /// `None` with fewer different numbers of rows, or where no loss is finite.
    pub fn fit(points: &[(f64, f64, f64)]) -> Option<PowerLaw> {
        let most = points.iter().map(|point| point.0).fold(0.0, f64::max);
        let mut different: Vec<f64> = points.iter().map(|point| point.0).collect();
        different.sort_unstable_by(f64::total_cmp);
        different.dedup();
        if different.len() < 3 || points.iter().any(|point| !point.1.is_finite()) {
            return None;
        }
        let [least, greatest] = EXPONENTS.map(f64::ln);
        let step = (greatest - least) / (GRID - 1) as f64;
        let error = |log_exponent: f64| Line::fit(points, most, log_exponent.exp()).error;
        let grid = (0..GRID).map(|at| least + step * at as f64);
        let best = grid.min_by(|a, b| error(*a).total_cmp(&error(*b)))?;
        let exponent = golden_section(error, (best - step).max(least), (best + step).min(greatest)).exp();
        let Line { floor, scale, .. } = Line::fit(points, most, exponent);
        Some(PowerLaw { floor, scale, exponent, rows: most })
    }

    /// Loss at a number of rows, nats.
    pub fn at(&self, rows: f64) -> f64 {
        self.floor + self.scale * (rows / self.rows).powf(-self.exponent)
    }

    /// Loss that twice the rows would take away, nats.
    pub fn gain_of_doubling(&self) -> f64 {
        self.scale * (1.0 - 0.5_f64.powf(self.exponent))
    }
}

/// Floor and scale of a given exponent, and the weighted squared error they leave.
struct Line {
    floor: f64,
    scale: f64,
    error: f64,
}

impl Line {
    fn fit(points: &[(f64, f64, f64)], most: f64, exponent: f64) -> Line {
        let x = |rows: f64| (rows / most).powf(-exponent);
        let [mut w, mut wx, mut wy, mut wxx, mut wxy] = [0.0; 5];
        for (rows, y, weight) in points {
            let x = x(*rows);
            w += weight;
            wx += weight * x;
            wy += weight * y;
            wxx += weight * x * x;
            wxy += weight * x * y;
        }
        let scale = (w * wxy - wx * wy) / (w * wxx - wx * wx);
        let floor = (wy - scale * wx) / w;
        let (floor, scale) = match (floor < 0.0, scale < 0.0) {
            (_, true) => (wy / w, 0.0),
            (true, _) => (0.0, (wxy / wxx).max(0.0)),
            _ => (floor, scale),
        };
        let error = points.iter().map(|(rows, y, weight)| weight * (y - floor - scale * x(*rows)).powi(2)).sum();
        Line { floor, scale, error }
    }
}

/// Where a function with one valley is least between `low` and `high` (Kiefer 1953).
fn golden_section(function: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let share = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..60 {
        let (a, b) = (high - share * (high - low), low + share * (high - low));
        match function(a) <= function(b) {
            true => high = b,
            false => low = a,
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_falling_line_of_two_points_is_not_fitted() {
        assert_eq!(PowerLaw::fit(&[(10.0, 0.5, 1.0), (20.0, 0.4, 1.0), (20.0, 0.41, 1.0)]), None);
        assert_eq!(PowerLaw::fit(&[(10.0, f64::NAN, 1.0), (20.0, 0.4, 1.0), (40.0, 0.3, 1.0)]), None);
    }

    #[test]
    fn a_flat_or_rising_curve_promises_nothing() {
        for losses in [[0.4; 4], [0.40, 0.41, 0.42, 0.43]] {
            let points: Vec<(f64, f64, f64)> =
                losses.iter().enumerate().map(|(at, loss)| (1e4 * f64::from(1 << at), *loss, 1.0)).collect();
            assert!(PowerLaw::fit(&points).unwrap().gain_of_doubling() < 1e-9);
        }
    }

    proptest! {
        #[test]
        fn planted_parameters_are_found(floor in 0.05f64..0.6, scale in 0.002f64..0.2, exponent in 0.05f64..1.2) {
            let law = PowerLaw { floor, scale, exponent, rows: 1_600_000.0 };
            let points: Vec<(f64, f64, f64)> =
                [1.0, 2.0, 4.0, 8.0, 16.0].map(|share| (1e5 * share, law.at(1e5 * share), 1.0)).to_vec();
            let found = PowerLaw::fit(&points).unwrap();
            prop_assert!((found.exponent / exponent - 1.0).abs() < 1e-3, "{found:?}");
            prop_assert!((found.floor - floor).abs() < 1e-3 * (floor + scale), "{found:?}");
            prop_assert!((found.gain_of_doubling() / law.gain_of_doubling() - 1.0).abs() < 1e-3, "{found:?}");
        }
    }
}
