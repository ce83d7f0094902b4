//! As many fused multiply-adds as one core can do: the yardstick for every other kernel.
//!
//! A kernel must not read a clock, so the caller times [`fma_burst`] and divides.

use super::dispatch::per_isa;

/// Floating-point operations (a fused multiply-add is two) of one iteration of [`fma_burst`].
pub const FLOPS_PER_BURST_ITERATION: u64 = 2 * BURST_LANES as u64;

/// Chains that run side by side: 12 AVX-512 registers, which covers latency 4 on two ports with some to spare.
const BURST_LANES: usize = 192;

per_isa! {
    /// Runs `iterations` × 192 fused multiply-adds in registers; the result only keeps them from being removed.
    pub fn fma_burst(iterations: u64) -> f32 = burst_body
}

#[inline(always)]
fn burst_body(iterations: u64) -> f32 {
    // Opaque, so that the loop is not folded; small enough that the chains stay finite (they tend to 2).
    let factor = std::hint::black_box(0.5f32);
    let term = std::hint::black_box(1.0f32);
    let mut lanes = [0.0f32; BURST_LANES];
    for _ in 0..iterations {
        for lane in &mut lanes {
            *lane = lane.mul_add(factor, term);
        }
    }
    lanes.iter().sum()
}
