//! exp, ln and the logistic function from additions, multiplications and divisions only.
//!
//! The standard library's versions call the platform's math library, whose last bits differ between platforms; one such
//! bit can move a label. These give the same bits wherever `f64` is IEEE 754, and they inline into vectorized loops.

/// eˣ, with a relative error below 10⁻¹³; `x` is clamped to ±700.
///
/// x = k ln 2 + r with |r| ≤ ln 2 / 2, then eˣ = 2ᵏ Σ rⁱ/i!.
#[inline]
pub(super) fn exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8; // has 32 zero bits at its end, so that k · LN2_HIGH is exact
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²: adding it rounds to an integer
    let x = x.clamp(-700.0, 700.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let sum = 1.0 / 479_001_600.0;
    let sum = sum * r + 1.0 / 39_916_800.0;
    let sum = sum * r + 1.0 / 3_628_800.0;
    let sum = sum * r + 1.0 / 362_880.0;
    let sum = sum * r + 1.0 / 40_320.0;
    let sum = sum * r + 1.0 / 5_040.0;
    let sum = sum * r + 1.0 / 720.0;
    let sum = sum * r + 1.0 / 120.0;
    let sum = sum * r + 1.0 / 24.0;
    let sum = sum * r + 1.0 / 6.0;
    let sum = sum * r + 0.5;
    let sum = sum * r + 1.0;
    let sum = sum * r + 1.0;
    // The low bits of `shifted` hold k.
    sum * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

/// Natural logarithm of a positive, normal `x`, with an absolute error below 10⁻¹³.
///
/// x = 2ᵏ m with m in [√½, √2), then ln m = 2 atanh s for s = (m − 1) / (m + 1).
#[inline]
pub(super) fn ln(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd; // as bits
    const ONE: u64 = 1023 << 52;
    const TWO_TO_52: u64 = 0x4330_0000_0000_0000;
    let above = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    // An integer below 2⁵² becomes a float by way of its bits, which every vector unit can do.
    let k = f64::from_bits(TWO_TO_52 | above >> 52) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((above & ((1 << 52) - 1)) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let sum = 1.0 / 17.0;
    let sum = sum * square + 1.0 / 15.0;
    let sum = sum * square + 1.0 / 13.0;
    let sum = sum * square + 1.0 / 11.0;
    let sum = sum * square + 1.0 / 9.0;
    let sum = sum * square + 1.0 / 7.0;
    let sum = sum * square + 1.0 / 5.0;
    let sum = sum * square + 1.0 / 3.0;
    let sum = sum * square + 1.0;
    k * std::f64::consts::LN_2 + 2.0 * s * sum
}

/// 1 / (1 + e⁻ˣ).
#[inline]
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// The integer below `x`, for −2³¹ < x < 2³¹; an exact integer may become the one before it.
///
/// `as i32` saturates, which keeps a loop from running in vectors.
#[inline]
pub(super) fn floor(x: f64) -> i32 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²
    (x - 0.5 + ROUND).to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_math_library() {
        for step in -7000..=7000 {
            let x = f64::from(step) * 0.0991;
            assert!((exp(x) / x.clamp(-700.0, 700.0).exp() - 1.0).abs() < 1e-13, "exp({x})");
            let positive = x.clamp(-690.0, 690.0).exp();
            assert!((ln(positive) - positive.ln()).abs() < 1e-13 * (1.0 + x.abs()), "ln({positive})");
            assert!((sigmoid(x) - 1.0 / (1.0 + (-x).exp())).abs() < 1e-13, "sigmoid({x})");
        }
        for (x, expected) in [(0.2, 0), (0.9, 0), (7.3, 7), (4_999_999.9, 4_999_999), (-0.3, -1), (-7.3, -8)] {
            assert_eq!(floor(x), expected);
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }
}
