//! As many fused multiply-adds as one core can do: the yardstick for every other kernel.
//!
//! A kernel must not read a clock, so the caller times [`fma_burst`] and divides.

use super::dispatch::{Isa, isa, per_isa};

/// Floating-point operations (a fused multiply-add is two) of one iteration of [`fma_burst`].
pub const FLOPS_PER_BURST_ITERATION: u64 = 2 * BURST_LANES as u64;

/// Chains of one iteration.
const BURST_LANES: usize = 192;

per_isa! {
    /// Runs `iterations` × 192 fused multiply-adds in registers; the result only keeps them from being removed.
    pub fn fma_burst(iterations: u64) -> f32 = burst_body
}

/// 12 registers side by side cover latency 4 on two ports with some to spare: all chains at once with AVX-512, half of
/// them at a time elsewhere, where 24 registers would not fit.
#[inline(always)]
fn burst_body(iterations: u64) -> f32 {
    match isa() {
        Isa::Avx512 | Isa::Avx512Bf16 => burst::<BURST_LANES>(iterations),
        Isa::Avx2 | Isa::Scalar => burst::<{ BURST_LANES / 2 }>(iterations),
    }
}

#[inline(always)]
fn burst<const GROUP: usize>(iterations: u64) -> f32 {
    // Opaque, so that the loop is not folded; small enough that the chains stay finite (they tend to 2).
    let factor = std::hint::black_box(0.5f32);
    let term = std::hint::black_box(1.0f32);
    let mut sum = 0.0;
    for _ in 0..BURST_LANES / GROUP {
        let mut lanes = [0.0f32; GROUP];
        for _ in 0..std::hint::black_box(iterations) {
            for lane in &mut lanes {
                *lane = lane.mul_add(factor, term);
            }
        }
        sum += lanes.iter().sum::<f32>();
    }
    sum
}
