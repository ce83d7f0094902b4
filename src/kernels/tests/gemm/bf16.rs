//! The product of rounded factors: rounding by its definition, and the chain of pairs bit for bit.

use super::super::super::{
    Finish, GemmScratch, Matrix, MatrixMut, PackedMatrix, Precision, gemm, gemm_packed, reference,
};
use super::super::{bits, on_every_isa};
use super::{Case, SHAPES};

#[test]
fn every_element_is_the_chain_of_pairs() {
    on_every_isa(|| {
        let mut scratch = GemmScratch::new();
        for shape in SHAPES {
            let case = Case::new(shape);
            for (a_transposed, b_transposed, accumulate) in
                [(false, false, false), (false, true, true), (true, false, true), (true, true, false)]
            {
                let (a, b) = (case.a(a_transposed), case.b(b_transposed));
                let expected: Vec<f32> = (0..case.rows * case.columns)
                    .map(|at| {
                        let start = if accumulate { case.c[1 + at] } else { 0.0 };
                        reference::chain_of_pairs(a, b, at / case.columns, at % case.columns, start)
                    })
                    .collect();
                let mut c = case.c.clone();
                let out = MatrixMut::new(&mut c[1..], case.rows, case.columns);
                gemm(out, a, b, accumulate, Precision::Bf16, Finish::None, &mut scratch);
                assert!(bits(&c[1..]) == bits(&expected), "gemm {shape:?} {a_transposed} {b_transposed} {accumulate}");
                let mut c = case.c.clone();
                let packed = PackedMatrix::pack(b, Precision::Bf16);
                let out = MatrixMut::new(&mut c[1..], case.rows, case.columns);
                gemm_packed(out, a, &packed, accumulate, Finish::None, &mut scratch);
                assert!(
                    bits(&c[1..]) == bits(&expected),
                    "packed {shape:?} {a_transposed} {b_transposed} {accumulate}"
                );
            }
        }
    });
}

/// `value` after a trip through a product of one element with 1.
fn rounded(value: f32) -> f32 {
    let mut c = [0.0];
    let (a, b) = ([value], [1.0]);
    let (a, b) = (Matrix::new(&a, 1, 1), Matrix::new(&b, 1, 1));
    gemm(MatrixMut::new(&mut c, 1, 1), a, b, false, Precision::Bf16, Finish::None, &mut GemmScratch::new());
    c[0]
}

#[test]
fn factors_are_rounded_to_the_nearest_and_ties_to_even() {
    on_every_isa(|| {
        let step = 2f32.powi(-7);
        assert_eq!(rounded(1.0), 1.0);
        assert_eq!(rounded(1.0 + 0.49 * step), 1.0);
        assert_eq!(rounded(1.0 + 0.5 * step), 1.0);
        assert_eq!(rounded(1.0 + 0.51 * step), 1.0 + step);
        assert_eq!(rounded(1.0 + 1.5 * step), 1.0 + 2.0 * step);
        assert_eq!(rounded(-1.0 - 1.5 * step), -1.0 - 2.0 * step);
        assert_eq!(rounded(f32::MAX), f32::INFINITY);
        assert_eq!(rounded(f32::INFINITY), f32::INFINITY);
        assert_eq!(rounded(f32::NEG_INFINITY), f32::NEG_INFINITY);
        // NaNs whose only bits are in the half that is cut off, and all of them.
        for bits in [0x7f80_0001, 0xff80_ffff, 0x7fff_ffff, 0xffff_ffff] {
            assert!(rounded(f32::from_bits(bits)).is_nan(), "{bits:x}");
        }
        // Any value lies within half a step of its own size.
        for value in super::numbers(1000, 1) {
            assert!((rounded(value) - value).abs() <= value.abs() * step / 2.0, "{value}");
        }
    });
}

/// The instruction reads denormal numbers as 0 and writes 0 in their place; elsewhere they count as what they are.
#[test]
fn denormal_numbers_count_as_themselves_or_as_zero() {
    on_every_isa(|| {
        for denormal in [f32::MIN_POSITIVE / 2.0, -f32::MIN_POSITIVE / 64.0] {
            let got = rounded(denormal);
            assert!(got == denormal || got == 0.0, "{got:e}");
        }
        assert_eq!(rounded(f32::MIN_POSITIVE), f32::MIN_POSITIVE);
    });
}

#[test]
fn not_a_number_and_infinity_reach_their_row_and_column_only() {
    on_every_isa(|| {
        let (rows, depth, columns) = (15, 31, 33);
        let (mut a, mut b) = (vec![1.0; rows * depth], vec![1.0; depth * columns]);
        a[3 * depth + 30] = f32::from_bits(0x7f80_0001);
        b[7 * columns + 32] = f32::NEG_INFINITY;
        let mut c = vec![0.0; rows * columns];
        let (a, b) = (Matrix::new(&a, rows, depth), Matrix::new(&b, depth, columns));
        let out = MatrixMut::new(&mut c, rows, columns);
        gemm(out, a, b, false, Precision::Bf16, Finish::None, &mut GemmScratch::new());
        for (at, value) in c.iter().enumerate() {
            match (at / columns == 3, at % columns == 32) {
                (true, _) => assert!(value.is_nan()),
                (false, true) => assert_eq!(*value, f32::NEG_INFINITY),
                (false, false) => assert_eq!(*value, depth as f32),
            }
        }
    });
}
