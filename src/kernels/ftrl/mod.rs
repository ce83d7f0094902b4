//! FTRL-Proximal (McMahan et al. 2013, "Ad click prediction: a view from the trenches", algorithm 1): slots and labels of
//! impressions to their logits, one after another, and the (z, n) of a table stepped on the way.
//!
//! ```text
//! u = −(z − sign(z) l1) / (beta + √n + alpha l2), 0 where |z| ≤ l1;   logit = alpha (u_bias + Σ u)
//! g = weight (p − y);   z += g − (√(n + g²) − √n) u;   n += g²
//! ```
//!
//! This is the algorithm with w = alpha u, which leaves one division and two roots a slot, eight slots at a time. An
//! impression is read before any of it is written: a slot that occurs twice in it counts twice in the logit and takes one
//! step.
//!
//! Time goes to waiting: for memory, because a table is larger than the cache, and for the impression before, whose step
//! must be done before the next prediction. So pairs (z, n) lie side by side (a slot costs one line: kept apart, an update
//! took 24 % longer at 2²² slots and 74 % at 2²⁴), lines are asked for some impressions ahead, the bias stays in
//! registers, and the sigmoid is a short one in f32. Eight lanes on every instruction set: roots and divisions are no
//! faster in wider registers, and pairs are collected by eight loads, since a gather cannot take what was just stored and
//! waits for it (30 % slower).

mod lanes;

use super::dispatch::{Isa, isa, per_isa};
use super::sparse::EMPTY_SLOT;
use super::vectors::assert_same;
use lanes::{LANES, Lanes, Plain};

/// Rates of FTRL-Proximal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FtrlRates {
    /// Learning rate, above 0.
    pub alpha: f32,
    /// Softens the first steps of a slot, 0 or more.
    pub beta: f32,
    /// L1 penalty: a slot with |z| at or below it weighs 0.
    pub l1: f32,
    /// L2 penalty.
    pub l2: f32,
}

/// Impressions and what learning from them needs; see [`ftrl_learn`].
#[derive(Debug)]
pub struct FtrlTask<'a> {
    /// (z, n) of each slot, and one more pair at the end, (0, 0), which stands in for empty slots and stays as it is.
    pub pairs: &'a mut [[f32; 2]],
    /// (z, n) of the bias.
    pub bias: &'a mut [f32; 2],
    /// Slots of each impression, one after another.
    pub slots: &'a [u32],
    /// 1 for a click, 0 for none.
    pub labels: &'a [f32],
    /// Weight of each impression; empty when all are 1.
    pub weights: &'a [f32],
    /// Rates.
    pub rates: FtrlRates,
}

/// Buffers that are reused from call to call.
#[derive(Debug, Clone, Default)]
pub struct FtrlScratch {
    slots: Vec<u32>,
    eights: Vec<Eight>,
}

/// What eight slots keep between their prediction and their step.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Eight {
    z: [f32; LANES],
    n: [f32; LANES],
    root: [f32; LANES],
    u: [f32; LANES],
}

/// Impressions between the one whose lines are asked for and the one learned from. From 3 to 16 it makes no difference.
const ROWS_AHEAD: usize = 6;

/// Weight of a slot: alpha u, see above.
#[inline(always)]
pub fn ftrl_weight(z: f32, n: f32, rates: &FtrlRates) -> f32 {
    rates.alpha * unscaled_weight(z, n.sqrt(), rates.l1, rates.beta + rates.alpha * rates.l2)
}

per_isa! {
    /// The [`ftrl_weight`] of each pair.
    pub fn ftrl_weights(pairs: &[[f32; 2]], rates: &FtrlRates, weights: &mut [f32]) = weights_body,
    check { assert_same("ftrl_weights", pairs.len(), weights.len()) }
}

#[inline(always)]
fn weights_body(pairs: &[[f32; 2]], rates: &FtrlRates, weights: &mut [f32]) {
    for (weight, [z, n]) in weights.iter_mut().zip(pairs) {
        *weight = ftrl_weight(*z, *n, rates);
    }
}

/// u, with `softening` = beta + alpha l2.
#[inline(always)]
fn unscaled_weight(z: f32, root: f32, l1: f32, softening: f32) -> f32 {
    let u = (l1.copysign(z) - z) / (softening + root);
    if z.abs() <= l1 { 0.0 } else { u }
}

/// Predicts each impression, writes its logit to `logits`, and learns from it before the next one is predicted.
///
/// Sums run over lanes: position i of an impression is added to lane i mod 8, in order; then the lanes in halves; then
/// the bias.
///
/// # Panics
/// When a slot is outside the table, or lengths do not fit.
pub fn ftrl_learn(task: FtrlTask<'_>, scratch: &mut FtrlScratch, logits: &mut [f32]) {
    let rows = task.labels.len();
    assert_same("ftrl_learn (logits)", rows, logits.len());
    if !task.weights.is_empty() {
        assert_same("ftrl_learn (weights)", rows, task.weights.len());
    }
    assert!((1..=EMPTY_SLOT as usize).contains(&task.pairs.len()), "ftrl_learn: {} pairs", task.pairs.len());
    if rows == 0 {
        return;
    }
    let width = task.slots.len() / rows;
    assert_same("ftrl_learn (slots)", rows * width, task.slots.len());
    scratch.eights.resize(width.div_ceil(LANES), Eight::default());
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(task: FtrlTask<'_>, width: usize, scratch: &mut FtrlScratch, logits: &mut [f32]) {
            // SAFETY: the lanes need the features of this function.
            unsafe { learn::<lanes::Avx2>(task, width, scratch, logits) }
        }
        if isa() >= Isa::Avx2 {
            // SAFETY: `isa` returns only sets that this processor has.
            return unsafe { avx2(task, width, scratch, logits) };
        }
    }
    // SAFETY: plain lanes need no features.
    unsafe { learn::<Plain>(task, width, scratch, logits) }
}

/// The body of [`ftrl_learn`], which has checked lengths.
///
/// # Safety
/// The processor has what the lanes need.
#[inline(always)]
unsafe fn learn<L: Lanes>(task: FtrlTask<'_>, width: usize, scratch: &mut FtrlScratch, logits: &mut [f32]) {
    let FtrlTask { pairs, bias: bias_pair, slots, labels, weights, rates } = task;
    let spare = pairs.len() - 1;
    let slots = checked(slots, spare as u32, &mut scratch.slots);
    let FtrlRates { alpha, beta, l1, l2 } = rates;
    let softening = beta + alpha * l2;
    let (whole_eights, last_eight) = scratch.eights.split_at_mut(width / LANES);
    let mut last_slots = [spare as u32; LANES];
    let [mut bias, mut bias_n] = *bias_pair;
    let pairs = pairs.as_mut_ptr();
    for (row, logit_out) in logits.iter_mut().enumerate() {
        if let Some(ahead) = slots.get((row + ROWS_AHEAD) * width..(row + ROWS_AHEAD + 1) * width) {
            for &slot in ahead {
                lanes::prefetch(pairs.wrapping_add(slot as usize));
            }
        }
        let (whole, rest) = slots[row * width..(row + 1) * width].as_chunks::<LANES>();
        last_slots.iter_mut().zip(rest).for_each(|(to, slot)| *to = *slot);
        // SAFETY: `checked` has seen every slot, and fewer than eight of `last_slots` are other than the spare; so all
        // are within the pairs. The features are the caller's promise.
        unsafe {
            let mut sums = L::splat(0.0);
            let eights = whole_eights.iter_mut().zip(whole).chain(last_eight.iter_mut().zip([&last_slots]));
            for (eight, slots) in eights {
                let (z, n) = L::gather(pairs, slots);
                let root = n.sqrt();
                let u = L::unscaled_weight(z, root, L::splat(l1), L::splat(softening));
                sums = sums.add(u);
                z.store(&mut eight.z);
                n.store(&mut eight.n);
                root.store(&mut eight.root);
                u.store(&mut eight.u);
            }
            let bias_root = bias_n.sqrt();
            let bias_u = unscaled_weight(bias, bias_root, l1, softening);
            let logit = alpha * (sums.sum() + bias_u);
            *logit_out = logit;
            let error = sigmoid(logit) - labels[row];
            let gradient = if weights.is_empty() { error } else { weights[row] * error };
            let square = gradient * gradient;
            let eights = whole_eights.iter().zip(whole).chain(last_eight.iter().zip([&last_slots]));
            for (eight, slots) in eights {
                let (root, u) = (L::load(&eight.root), L::load(&eight.u));
                let n = L::load(&eight.n).add(L::splat(square));
                let growth = n.sqrt().sub(root);
                let z = L::load(&eight.z).add(L::splat(gradient).sub(growth.mul(u)));
                L::scatter(z, n, pairs, slots);
            }
            // Empty slots have stepped the spare pair.
            *pairs.add(spare) = [0.0; 2];
            let grown = bias_n + square;
            bias += gradient - (grown.sqrt() - bias_root) * bias_u;
            bias_n = grown;
        }
    }
    *bias_pair = [bias, bias_n];
}

/// The last check of slots before pairs are read and written without one: all below `spare`, with empty slots made
/// `spare` (in a copy, if there are any).
#[inline(always)]
fn checked<'a>(slots: &'a [u32], spare: u32, copy: &'a mut Vec<u32>) -> &'a [u32] {
    let (mut empty, mut outside) = (false, false);
    for &slot in slots {
        empty |= slot == EMPTY_SLOT;
        outside |= slot >= spare && slot != EMPTY_SLOT;
    }
    assert!(!outside, "ftrl_learn: a slot is outside the table of {spare}");
    if !empty {
        return slots;
    }
    copy.clear();
    copy.extend(slots.iter().map(|slot| (*slot).min(spare)));
    copy
}

/// 1 / (1 + e⁻ˣ) with a relative error below 3e-7, down to e⁻⁸⁷. NaN stays NaN.
///
/// e⁻|ˣ| = 2ⁿ eʳ with |r| ≤ ln 2 / 2 and the Taylor series of eʳ to r⁷ (the next term is below 6e-9), added in pairs
/// (Estrin), because each impression waits for it.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    /// ln 2 in two parts; the upper one has 9 bits, so that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Adding and subtracting 1.5 · 2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let size = -x.abs();
    let bounded = if size < -87.0 { -87.0 } else { size };
    let shifted = bounded.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, bounded));
    let square = r * r;
    let [first, second] = [1.0 + r, r.mul_add(1.0 / 6.0, 0.5)];
    let [third, fourth] = [r.mul_add(1.0 / 120.0, 1.0 / 24.0), r.mul_add(1.0 / 5040.0, 1.0 / 720.0)];
    let series = (square * square).mul_add(fourth.mul_add(square, third), second.mul_add(square, first));
    // The low bits of `shifted` hold n in two's complement; its shift by 23 leaves n in the exponent's place.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let decay = series * power;
    (if x > 0.0 { 1.0 } else { decay }) / (1.0 + decay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_sigmoid_is_close_to_the_exact_one() {
        for step in -8_600..=8_600 {
            let x = step as f32 * 0.01;
            let exact = crate::kernels::sigmoid_f64(f64::from(x));
            assert!((f64::from(sigmoid(x)) / exact - 1.0).abs() < 3e-7, "{x}: {} {exact}", sigmoid(x));
        }
        assert_eq!((sigmoid(0.0), sigmoid(f32::INFINITY)), (0.5, 1.0));
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-37 && sigmoid(f32::NAN).is_nan());
    }
}
