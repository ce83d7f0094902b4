//! Probabilities ↔ quantiles of the normal and of Student's t distribution: how far an interval reaches.
//!
//! The t distribution is taken through the regularized incomplete beta function `I_x(a, b)` (Abramowitz and Stegun 1964,
//! 26.5.8 and 26.7.1); degrees of freedom need not be whole, as Welch and Satterthwaite's are not.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// Degrees of freedom above which t is taken as normal: the quantiles agree to six digits.
const AS_NORMAL: f64 = 1e7;

/// Chance that a standard normal variable is at most `z`.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// Chance that the size of a standard normal variable is above `z`, which is not negative.
pub fn normal_two_sided(z: f64) -> f64 {
    libm::erfc(z * FRAC_1_SQRT_2)
}

/// `z` such that a standard normal variable is at most `z` with probability `p`; −∞ and ∞ at 0 and 1.
///
/// # Panics
/// When `p` is outside \[0,1\].
pub fn normal_quantile(p: f64) -> f64 {
    assert!((0.0..=1.0).contains(&p), "a probability lies in [0,1], got {p}");
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    // A start within 4.5e-4 (Abramowitz and Stegun 1964, 26.2.23), then Newton, which doubles the digits at each step.
    let t = (-2.0 * p.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut z = above / below - t;
    for _ in 0..3 {
        z -= (normal_cdf(z) - p) / ((-0.5 * z * z).exp() / TAU.sqrt());
    }
    z
}

/// Chance that the size of a variable of Student's t distribution with `degrees` of freedom is above `t`.
///
/// # Panics
/// When `degrees` is not above zero.
pub fn student_two_sided(t: f64, degrees: f64) -> f64 {
    assert!(degrees > 0.0, "degrees of freedom are above zero, got {degrees}");
    if degrees > AS_NORMAL {
        return normal_two_sided(t.abs());
    }
    incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + t * t))
}

/// `t` such that the size of a variable of Student's t distribution with `degrees` of freedom is above `t` with
/// probability `tails`; ∞ at 0.
///
/// # Panics
/// When `tails` is outside \[0,1\] or `degrees` is not above zero.
pub fn student_reach(tails: f64, degrees: f64) -> f64 {
    assert!((0.0..=1.0).contains(&tails), "a probability lies in [0,1], got {tails}");
    let normal = -normal_quantile(tails / 2.0);
    if degrees > AS_NORMAL || !normal.is_finite() {
        return normal;
    }
    // t is farther out than the normal quantile; double until it is passed, then halve the bracket to the last bit.
    let (mut low, mut high) = (normal, normal.max(1.0));
    while student_two_sided(high, degrees) > tails {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        match student_two_sided(middle, degrees) > tails {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

/// Regularized incomplete beta function by its continued fraction (Abramowitz and Stegun 1964, 26.5.8), evaluated forward
/// (Lentz 1976).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast below the mean of the distribution; above it, the other tail is taken.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * x.ln() + b * (-x).ln_1p();
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut numerator, mut denominator) = (1.0, 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = denominator;
    for step in 1..10_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        denominator = 1.0 / nonzero(1.0 + even * denominator);
        numerator = nonzero(1.0 + even / numerator);
        fraction *= denominator * numerator;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        denominator = 1.0 / nonzero(1.0 + odd * denominator);
        numerator = nonzero(1.0 + odd / numerator);
        fraction *= denominator * numerator;
        if (denominator * numerator - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front.exp() * fraction / a
}
