//! Logits to probabilities, losses and gradients, stable for any size of the logit.
//!
//! Both need e⁻|ˣ| only, which lies in (0, 1]: nothing overflows, and small probabilities keep their precision.
//! The exponential and the logarithm are our own series, in f64, so that training and scoring give the same bits with
//! every C library and instruction set. Their relative error is below 1e-15.

use super::dispatch::per_isa;
use super::vectors::assert_same;

/// 1 / (1 + e⁻ˣ), rounded once to f32. Never outside [0, 1]; NaN stays NaN.
#[inline]
pub fn sigmoid(x: f32) -> f32 {
    sigmoid_f64(f64::from(x)) as f32
}

per_isa! {
    /// 1 / (1 + e⁻ˣ) in f64. Small probabilities keep their precision down to e⁻⁷⁰⁸; NaN stays NaN.
    pub fn sigmoid_f64(x: f64) -> f64 = sigmoid_body
}

per_isa! {
    /// Makes each number its sigmoid: the bits of [`sigmoid_f64`], side by side.
    pub fn sigmoids_f64(x: &mut [f64]) = sigmoids_body
}

per_isa! {
    /// Σ wᵢ lossᵢ in f64, added in order, with lossᵢ = −yᵢ ln pᵢ − (1 − yᵢ) ln(1 − pᵢ) and pᵢ = sigmoid(logitᵢ); and
    /// grad_outᵢ = wᵢ (pᵢ − yᵢ), the gradient of the sum with respect to the logit.
    ///
    /// Labels may be any number from 0 to 1. An empty `weights` means that all are 1. A NaN logit makes its gradient and
    /// the sum NaN; an infinite logit gives an infinite or zero loss, as the formula does.
    pub fn log_loss_with_logits(
        logits: &[f32], labels: &[f32], weights: &[f32], grad_out: &mut [f32]
    ) -> f64 = log_loss_body,
    check {
        assert_same("log_loss_with_logits (labels)", logits.len(), labels.len());
        assert_same("log_loss_with_logits (grad_out)", logits.len(), grad_out.len());
        if !weights.is_empty() {
            assert_same("log_loss_with_logits (weights)", logits.len(), weights.len());
        }
    }
}

/// Rows whose losses are computed side by side before they are added one by one.
const BLOCK: usize = 16;

#[inline(always)]
fn log_loss_body(logits: &[f32], labels: &[f32], weights: &[f32], grad_out: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    let mut logit = [0.0f64; BLOCK];
    let mut label = [0.0f64; BLOCK];
    let mut weight = [1.0f64; BLOCK];
    for start in (0..logits.len()).step_by(BLOCK) {
        let rows = BLOCK.min(logits.len() - start);
        for row in 0..rows {
            logit[row] = f64::from(logits[start + row]);
            label[row] = f64::from(labels[start + row]);
        }
        if !weights.is_empty() {
            for row in 0..rows {
                weight[row] = f64::from(weights[start + row]);
            }
        }
        let mut loss = [0.0f64; BLOCK];
        let mut grad = [0.0f32; BLOCK];
        for row in 0..BLOCK {
            let (probability, decay) = sigmoid_and_decay(logit[row]);
            // −y ln p − (1 − y) ln(1 − p) = (1 − y) max(x, 0) + y max(−x, 0) + ln(1 + e⁻|ˣ|), each term ≥ 0.
            // Branches on the label, because 0 · ∞ is NaN.
            let x = logit[row];
            let linear = if x > 0.0 { (1.0 - label[row], x) } else { (label[row], -x) };
            let linear = if linear.0 == 0.0 { 0.0 } else { linear.0 * linear.1 };
            loss[row] = weight[row] * (linear + ln_1p(decay));
            grad[row] = (weight[row] * (probability - label[row])) as f32;
        }
        grad_out[start..start + rows].copy_from_slice(&grad[..rows]);
        for loss in &loss[..rows] {
            sum += loss;
        }
    }
    sum
}

#[inline(always)]
fn sigmoid_body(x: f64) -> f64 {
    sigmoid_and_decay(x).0
}

#[inline(always)]
fn sigmoids_body(x: &mut [f64]) {
    for x in x {
        *x = sigmoid_and_decay(*x).0;
    }
}

/// The sigmoid of x and e⁻|ˣ|.
#[inline(always)]
fn sigmoid_and_decay(x: f64) -> (f64, f64) {
    let decay = exp_of_negative(if x > 0.0 { -x } else { x });
    let numerator = if x > 0.0 { 1.0 } else { decay };
    (numerator / (1.0 + decay), decay)
}

/// eˣ for x ≤ 0; below −708 it stays at e⁻⁷⁰⁸, except that −∞ gives 0. NaN stays NaN.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, the Taylor series of eʳ to r¹³ (the next term is below 5e-18), times 2ⁿ by
/// adding n to the exponent's bits.
#[inline(always)]
fn exp_of_negative(x: f64) -> f64 {
    /// ln 2 in two parts; the upper one has zeros at its end, so that n times it is exact.
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// Adding and subtracting 1.5 · 2⁵² rounds to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// 1/13!, 1/12!, …, 1/1!, 1/0!.
    const SERIES: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let bounded = if x < -708.0 { -708.0 } else { x };
    let shifted = bounded.mul_add(std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, bounded));
    let mut sum = SERIES[0];
    for &coefficient in &SERIES[1..] {
        sum = sum.mul_add(r, coefficient);
    }
    // The low bits of `shifted` hold n in two's complement; its shift by 52 leaves n in the exponent's place.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0f64.to_bits()));
    if x == f64::NEG_INFINITY { 0.0 } else { sum * power }
}

/// ln(1 + u) for 0 ≤ u ≤ 1, as 2 artanh(u / (2 + u)). NaN stays NaN.
///
/// The argument s of the artanh is at most 1/3, so the series in s² ends after s³³ (the next term is below 1e-18).
#[inline(always)]
fn ln_1p(u: f64) -> f64 {
    /// 1/33, 1/31, …, 1/3, 1/1.
    const SERIES: [f64; 17] = {
        let mut series = [0.0; 17];
        let mut at = 0;
        while at < 17 {
            series[at] = 1.0 / (33 - 2 * at) as f64;
            at += 1;
        }
        series
    };
    let s = u / (2.0 + u);
    let square = s * s;
    let mut sum = SERIES[0];
    for &coefficient in &SERIES[1..] {
        sum = sum.mul_add(square, coefficient);
    }
    2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_and_logarithm_agree_with_the_standard_library() {
        for step in 0..=80_000 {
            let x = -f64::from(step) * 0.008;
            let (ours, theirs) = (exp_of_negative(x), x.exp());
            assert!((ours - theirs).abs() <= 1e-15 * theirs, "exp({x}): {ours} {theirs}");
            let u = f64::from(step) / 80_000.0;
            let (ours, theirs) = (ln_1p(u), u.ln_1p());
            assert!((ours - theirs).abs() <= 1e-15 * theirs, "ln_1p({u}): {ours} {theirs}");
        }
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(f64::NEG_INFINITY), 0.0);
        assert!(exp_of_negative(f64::NAN).is_nan());
    }

    #[test]
    fn sigmoid_keeps_small_probabilities_and_never_leaves_zero_to_one() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert!(sigmoid(f32::NAN).is_nan());
        assert!((sigmoid_f64(-700.0) / (-700.0f64).exp() - 1.0).abs() < 1e-14);
        assert_eq!(sigmoid_f64(1e300), 1.0);
        assert!(sigmoid_f64(-1e300) > 0.0);
        for step in -1_000..=1_000 {
            let x = f64::from(step) * 0.05;
            let sum = sigmoid_f64(x) + sigmoid_f64(-x);
            assert!((sum - 1.0).abs() < 1e-15, "{x}: {sum}");
        }
    }
}
