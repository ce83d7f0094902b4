//! One suite, run on every instruction set of this machine, against `reference` and against each other's bits.

mod ftrl;
mod gemm;
mod int8;
mod layers;
mod sparse;
mod text;
mod vectors;

use super::dispatch::with_isa;
use super::{Isa, IsaError};

/// Even and ugly: around every register width, block and tile.
const SIZES: [usize; 15] = [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 100, 129, 1000];

/// Runs the suite on each instruction set; the results must be equal, so that they carry the same bits.
fn on_every_isa<R: PartialEq + std::fmt::Debug>(suite: impl Fn() -> R) {
    let expected = with_isa(Isa::Scalar, &suite);
    for isa in Isa::ALL.into_iter().skip(1).filter(|isa| isa.is_testable()) {
        let got = with_isa(isa, &suite);
        assert!(got == expected, "{isa} gives other bits than scalar");
    }
}

/// Bits, so that NaN equals itself and 0 is not −0.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Numbers from −1 to 1, the same for the same seed. The first one is to be left out, which unaligns the others.
pub(super) fn numbers(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..=length).map(next).collect()
}

#[track_caller]
fn assert_close(got: f32, expected: f64, tolerance: f64) {
    assert!((f64::from(got) - expected).abs() <= tolerance, "got {got}, expected {expected} ± {tolerance}");
}

#[test]
fn a_request_for_an_instruction_set_is_met_or_refused_by_name() {
    assert_eq!(Isa::from_request("scalar"), Ok(Isa::Scalar));
    assert_eq!(Isa::from_request(Isa::best().name()), Ok(Isa::best()));
    let unknown = Isa::from_request("sse9").expect_err("there is none");
    assert_eq!(unknown.to_string(), "PCTR_ISA: expected scalar, avx2, avx512 or avx512_bf16, got \"sse9\"");
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        assert_eq!(Isa::from_request(isa.name()), Err(IsaError::Unavailable { requested: isa, best: Isa::best() }));
    }
    let refused = IsaError::Unavailable { requested: Isa::Avx512, best: Isa::Avx2 };
    assert_eq!(refused.to_string(), "PCTR_ISA: this processor has no avx512; its best instruction set is avx2");
}
