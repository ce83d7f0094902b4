//! Factors rounded to bfloat16: the upper half of an `f32`, 8 bits of significand, the same range.
//!
//! A chain takes its steps in pairs, the odd step first, which is the order of `VDPBF16PS`:
//! `c = fma(a[2p+1], b[2p+1], c)`, then `c = fma(a[2p], b[2p], c)`. A missing last step is 0 · 0. The product of two
//! such numbers has 16 bits and is exact, so a fused multiply-add rounds once, as the instruction does.
//!
//! With the instruction, panels hold pairs of steps in 32 bits. Without it, panels hold the rounded values as `f32` with the steps of each pair exchanged, and the ordinary
//! micro-kernel runs. The bits are the same but for denormals: the instruction reads them as 0 and
//! writes 0 in their place.

use super::super::dispatch::per_isa;

/// The nearest bfloat16, ties to even. Values beyond the largest become infinite; NaN stays NaN.
#[inline(always)]
pub(in super::super) fn round(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    // Rounding could carry a NaN into infinity; its upper half with the quiet bit is a NaN for certain.
    let quiet = bits & 0xffff_0000 | 0x0040_0000;
    f32::from_bits(if value.is_nan() { quiet } else { rounded })
}

per_isa! {
    /// Rounds packed lanes, `step` for each of an even number of steps of k, and exchanges the steps of each pair.
    #[expect(unreachable_pub, reason = "the macro makes public functions")]
    pub fn round_pairs(lanes: &mut [f32], step: usize) = round_pairs_body
}

#[inline(always)]
fn round_pairs_body(lanes: &mut [f32], step: usize) {
    for pair in lanes.chunks_exact_mut(2 * step) {
        let (even, odd) = pair.split_at_mut(step);
        for (even, odd) in even.iter_mut().zip(odd) {
            (*even, *odd) = (round(*odd), round(*even));
        }
    }
}

per_isa! {
    /// Rounds packed lanes, `step` for each of an even number of steps of k, and joins the steps of each pair in 32 bits: the
    /// first half of `lanes` is the result.
    #[expect(unreachable_pub, reason = "the macro makes public functions")]
    pub fn join_pairs(lanes: &mut [f32], step: usize) = join_pairs_body
}

#[inline(always)]
fn join_pairs_body(lanes: &mut [f32], step: usize) {
    for pair in 0..lanes.len() / (2 * step) {
        // A pair is written where it or an earlier one was read: lane by lane, nothing is lost.
        for lane in 0..step {
            let even = round(lanes[2 * pair * step + lane]).to_bits() >> 16;
            let odd = round(lanes[(2 * pair + 1) * step + lane]).to_bits();
            lanes[pair * step + lane] = f32::from_bits(odd | even);
        }
    }
}
