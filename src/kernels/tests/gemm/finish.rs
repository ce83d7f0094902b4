//! A product with a finish has the bits of the product followed by the kernel of its own.

use proptest::prelude::*;

use super::super::super::{
    Finish, GemmScratch, Matrix, MatrixMut, PackedMatrix, Precision, add_bias, add_bias_relu, cross_forward, gemm,
    gemm_packed, relu_backward,
};
use super::super::{bits, numbers, on_every_isa};
use super::{Case, SHAPES};

/// What the finishes read, each `rows × columns` (the bias `columns`), and nothing beside it.
struct Inputs {
    bias: Vec<f32>,
    x0: Vec<f32>,
    x: Vec<f32>,
    activated: Vec<f32>,
}

impl Inputs {
    fn new(case: &Case) -> Self {
        let values = |seed| numbers(case.rows * case.columns, seed)[1..].to_vec();
        // Half of them 0, as after a ReLU; one NaN, which is no reason to close the gate.
        let mut activated: Vec<f32> = values(5).iter().map(|value| value.max(0.0)).collect();
        if let Some(last) = activated.last_mut() {
            *last = f32::NAN;
        }
        Inputs { bias: numbers(case.columns, 2)[1..].to_vec(), x0: values(3), x: values(4), activated }
    }
}

/// The same values in rows `stride` apart, with 7 in the gaps.
fn spread(values: &[f32], columns: usize, stride: usize) -> Vec<f32> {
    let mut wide = vec![7.0; values.len() / columns.max(1) * stride];
    for (row, values) in wide.chunks_exact_mut(stride.max(1)).zip(values.chunks_exact(columns.max(1))) {
        row[..columns].copy_from_slice(values);
    }
    wide
}

/// Every finish of one case: the results one after another, from the fused product and from the separate kernels.
fn both(case: &Case, precision: Precision, accumulate: bool, gap: usize) -> [Vec<Vec<f32>>; 2] {
    let (rows, columns, stride) = (case.rows, case.columns, case.columns + gap);
    let (a, b) = (case.a(false), case.b(true));
    let inputs = Inputs::new(case);
    let wide = |values: &[f32]| spread(values, columns, stride);
    let (x0, x, activated) = (wide(&inputs.x0), wide(&inputs.x), wide(&inputs.activated));
    let view = |values| Matrix::with_row_stride(values, rows, columns, stride);
    let mut scratch = GemmScratch::new();
    let packed = PackedMatrix::pack(b, precision);

    let mut fused = Vec::new();
    let mut run = |finish: Finish<'_>, prepacked: bool| {
        let mut c = wide(&case.c[1..]);
        let out = MatrixMut::with_row_stride(&mut c, rows, columns, stride);
        match prepacked {
            true => gemm_packed(out, a, &packed, accumulate, finish, &mut scratch),
            false => gemm(out, a, b, accumulate, precision, finish, &mut scratch),
        }
        c
    };
    for prepacked in [false, true] {
        fused.push(run(Finish::Bias(&inputs.bias), prepacked));
        fused.push(run(Finish::BiasRelu(&inputs.bias), prepacked));
        fused.push(run(Finish::ReluGate(view(&activated)), prepacked));
        let (bias, x0, x) = (&inputs.bias, view(&x0), view(&x));
        fused.push(run(Finish::Cross { bias, x0, x, product: None }, prepacked));
        let mut product = wide(&vec![9.0; rows * columns]);
        let out = Some(MatrixMut::with_row_stride(&mut product, rows, columns, stride));
        fused.push(run(Finish::Cross { bias, x0, x, product: out }, prepacked));
        fused.push(product);
    }

    let mut separate = Vec::new();
    let mut plain = case.c[1..].to_vec();
    gemm(MatrixMut::new(&mut plain, rows, columns), a, b, accumulate, precision, Finish::None, &mut scratch);
    let mut sums = plain.clone();
    add_bias(MatrixMut::new(&mut sums, rows, columns), &inputs.bias);
    let mut rectified = plain.clone();
    add_bias_relu(MatrixMut::new(&mut rectified, rows, columns), &inputs.bias);
    let mut gated = plain.clone();
    relu_backward(&mut gated, &inputs.activated);
    let mut crossed = plain.clone();
    cross_forward(&mut crossed, &inputs.x0, &plain, &inputs.bias, &inputs.x);
    for _ in 0..2 {
        separate.extend([&sums, &rectified, &gated, &crossed, &crossed, &sums].map(|values| wide(values)));
    }
    [fused, separate]
}

fn assert_same_bits(case: &Case, precision: Precision, accumulate: bool, gap: usize) {
    let [fused, separate] = both(case, precision, accumulate, gap);
    for (which, (fused, separate)) in fused.iter().zip(&separate).enumerate() {
        let shape = (case.rows, case.depth, case.columns);
        assert!(bits(fused) == bits(separate), "finish {which} of {shape:?} {precision:?} {accumulate} {gap}");
    }
}

#[test]
fn a_finish_has_the_bits_of_the_kernel_of_its_own() {
    on_every_isa(|| {
        for shape in SHAPES {
            let case = Case::new(shape);
            for (precision, accumulate, gap) in
                [(Precision::F32, false, 0), (Precision::F32, true, 3), (Precision::Bf16, false, 5)]
            {
                assert_same_bits(&case, precision, accumulate, gap);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_finish_has_them_at_any_size(
        rows in 0usize..40, depth in 0usize..400, columns in 0usize..70, gap in 0usize..3, accumulate: bool,
    ) {
        on_every_isa(|| assert_same_bits(&Case::new((rows, depth, columns)), Precision::F32, accumulate, gap));
    }
}

#[test]
fn infinity_and_not_a_number_pass_through_a_finish() {
    on_every_isa(|| {
        let a = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let run = |finish: Finish<'_>| {
            let mut c = [0.0; 3];
            let (a, b) = (Matrix::new(&a, 3, 1), Matrix::new(&[1.0], 1, 1));
            gemm(MatrixMut::new(&mut c, 3, 1), a, b, false, Precision::F32, finish, &mut GemmScratch::new());
            c
        };
        let [high, low, unknown] = run(Finish::BiasRelu(&[1.0]));
        assert_eq!((high, low), (f32::INFINITY, 0.0));
        assert!(unknown.is_nan());
        let ones = [1.0; 3];
        let [high, low, unknown] = run(Finish::ReluGate(Matrix::new(&ones, 3, 1)));
        assert_eq!((high, low), (f32::INFINITY, f32::NEG_INFINITY));
        assert!(unknown.is_nan());
        assert_eq!(run(Finish::ReluGate(Matrix::new(&[0.0; 3], 3, 1))), [0.0; 3]);
    });
}

#[test]
#[should_panic(expected = "gemm (x0): C is 2×2, got 1×4")]
fn an_input_of_another_shape_is_named() {
    let (bias, values) = ([0.0; 2], [0.0; 4]);
    let square = Matrix::new(&values, 2, 2);
    let finish = Finish::Cross { bias: &bias, x0: Matrix::new(&values, 1, 4), x: square, product: None };
    let mut c = [0.0; 4];
    gemm(MatrixMut::new(&mut c, 2, 2), square, square, false, Precision::F32, finish, &mut GemmScratch::new());
}
