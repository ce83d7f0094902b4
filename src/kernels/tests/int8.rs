//! Products in 8 bits: exact against the definition on every body, close to the exact product, the same alone and together.

use super::super::int8::{Body, MOST_DEPTH, Part, part_with, product_with, quantized_part, quantized_sums};
use super::super::{Matrix, MatrixMut, QuantizedFinish, QuantizedMatrix, QuantizedRows, quantized_product};
use super::{SIZES, bits, numbers, on_every_isa};

const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 4, 16),
    (2, 3, 17),
    (3, 5, 129),
    (1, 624, 130),
    (4, 63, 48),
    (5, 64, 64),
    (7, 65, 31),
    (9, 100, 33),
    (10, 7, 400),
    (19, 129, 50),
    (64, 30, 47),
    (0, 5, 5),
    (5, 5, 0),
];

/// C of each finish for one body.
fn finished(body: Body, a: &[f32], b: &[f32], (rows, depth, columns): (usize, usize, usize)) -> Vec<Vec<f32>> {
    let mut quantized = QuantizedRows::default();
    quantized.fill(Matrix::new(a, rows, depth));
    let weights = QuantizedMatrix::quantize(Matrix::new(b, depth, columns));
    let (bias, x0) = (numbers(columns, 5), numbers(rows * columns, 6));
    let bias = &bias[..columns];
    let x0 = Matrix::new(&x0[..rows * columns], rows, columns);
    [QuantizedFinish::Bias(bias), QuantizedFinish::BiasRelu(bias), QuantizedFinish::Cross { bias, x0 }]
        .into_iter()
        .map(|finish| {
            let mut c = numbers(rows * columns, 7);
            product_with(body, MatrixMut::new(&mut c[..rows * columns], rows, columns), &quantized, &weights, finish);
            c
        })
        .collect()
}

#[test]
fn every_body_gives_the_same_bits_close_to_the_exact_product() {
    for shape @ (rows, depth, columns) in SHAPES {
        let (a, b) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
        let (a, b) = (&a[..rows * depth], &b[..depth * columns]);
        let expected = finished(Body::Scalar, a, b, shape);
        for body in Body::ALL.into_iter().filter(|body| body.is_available()) {
            let got = finished(body, a, b, shape);
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!(bits(got), bits(expected), "{body:?} {shape:?}");
            }
        }
        let (bias, x0, x) = (numbers(columns, 5), numbers(rows * columns, 6), numbers(rows * columns, 7));
        for row in 0..rows {
            for column in 0..columns {
                let product: f64 =
                    (0..depth).map(|k| f64::from(a[row * depth + k]) * f64::from(b[k * columns + column])).sum();
                let at = row * columns + column;
                let sum = product + f64::from(bias[column]);
                // Each factor is off by half a step at most, of 2/255 and about 1/127, and errors have either sign.
                let tolerance = 0.03 * (depth as f64).sqrt();
                let close = |got: f32, wanted: f64, factor: f64| {
                    assert!((f64::from(got) - wanted).abs() <= factor * tolerance, "{shape:?}: {got}, not {wanted}");
                };
                close(expected[0][at], sum, 1.0);
                close(expected[1][at], sum.max(0.0), 1.0);
                close(expected[2][at], f64::from(x0[at]) * sum + f64::from(x[at]), 1.0);
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    on_every_isa(|| {
        let shape = (11, 129, 70);
        let (a, b) = (numbers(11 * 129, 3), numbers(129 * 70, 4));
        let mut quantized = QuantizedRows::default();
        quantized.fill(Matrix::new(&a[1..], 11, 129));
        let weights = QuantizedMatrix::quantize(Matrix::new(&b[1..], 129, 70));
        let (bias, mut c) = (numbers(70, 5), vec![0.0; 11 * 70]);
        quantized_product(MatrixMut::new(&mut c, 11, 70), &quantized, &weights, QuantizedFinish::Bias(&bias[..70]));
        (bits(&c), shape)
    });
}

#[test]
fn bytes_are_the_same_on_every_instruction_set() {
    on_every_isa(|| {
        let of = |values: &[f32]| {
            let mut quantized = QuantizedRows::default();
            quantized.fill(Matrix::new(values, 1, values.len()));
            format!("{quantized:?}")
        };
        let sizes = SIZES.iter().map(|&size| of(&numbers(size, 8)[1..])).collect::<Vec<_>>();
        let edges = [
            of(&[0.0, -0.0]),
            of(&[-0.0, 0.0]),
            of(&[f32::MAX, f32::MIN]),
            of(&[f32::from_bits(1), 0.0]),
            of(&[1.0, f32::NAN]),
            of(&[f32::INFINITY; 40]),
        ];
        (sizes, edges)
    });
}

#[test]
fn a_row_alone_has_the_bits_it_has_among_others() {
    let shape @ (rows, depth, columns) = (37, 61, 53);
    let (a, b) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
    let (a, b) = (&a[..rows * depth], &b[..depth * columns]);
    for body in Body::ALL.into_iter().filter(|body| body.is_available()) {
        let together = &finished(body, a, b, shape)[1];
        for (row, values) in a.chunks_exact(depth).enumerate() {
            let alone = &finished(body, values, b, (1, depth, columns))[1];
            assert_eq!(bits(&alone[..columns]), bits(&together[row * columns..][..columns]), "{body:?} row {row}");
        }
    }
}

#[test]
fn the_greatest_sums_are_exact() {
    // Each byte 255 or 0 and each weight −127: the sum is the least that can be.
    let depth = MOST_DEPTH;
    let mut a = vec![1.0; depth];
    a[0] = 0.0;
    let b = vec![-1.0; depth];
    let expected = -(depth as f32 - 1.0);
    for got in Body::ALL.into_iter().filter(|body| body.is_available()).map(|body| finished_plain(body, &a, &b)) {
        assert!((got - expected).abs() <= 1e-6 * depth as f32, "{got}, not {expected}");
    }
}

/// One row times one column, no bias.
fn finished_plain(body: Body, a: &[f32], b: &[f32]) -> f32 {
    let mut quantized = QuantizedRows::default();
    quantized.fill(Matrix::new(a, 1, a.len()));
    let weights = QuantizedMatrix::quantize(Matrix::new(b, b.len(), 1));
    let mut c = [0.0];
    product_with(body, MatrixMut::new(&mut c, 1, 1), &quantized, &weights, QuantizedFinish::Bias(&[0.0]));
    c[0]
}

#[test]
fn what_is_not_finite_gives_nan_in_its_row_or_column_only() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 20, 39] {
            let (mut a, b) = (vec![0.5; 3 * 40], vec![0.25; 40 * 18]);
            a[40 + at] = bad;
            for finished in finished(Body::of(super::super::isa()), &a, &b, (3, 40, 18)) {
                for (row, values) in finished[..3 * 18].chunks_exact(18).enumerate() {
                    assert!(
                        values.iter().all(|value| value.is_nan() == (row == 1)),
                        "{bad} at {at}: row {row} {values:?}"
                    );
                }
            }
            let (a, mut b) = (vec![0.5; 40], vec![0.25; 40 * 18]);
            b[at * 18 + 3] = bad;
            let c = &finished(Body::of(super::super::isa()), &a, &b, (1, 40, 18))[1][..18];
            assert!(c.iter().enumerate().all(|(column, value)| value.is_nan() == (column == 3)), "{bad}: {c:?}");
        }
    }
}

#[test]
fn rows_of_one_value_are_exact() {
    for value in [0.0, 3.0, -1e-30] {
        // A column's own error is a sum of its rounded weights, which is kept to half a step.
        let got = finished_plain(Body::of(super::super::isa()), &[value; 12], &[1.0; 12]);
        assert!((got - 12.0 * value).abs() <= 1e-6 * (12.0 * value).abs(), "{value}: {got}");
    }
}

/// Runs of 6 values in [−1, 1], a product with 70 columns over known ranges: C of each body, whole and in two parts.
fn known(body: Body, rows: usize, runs: usize, own: &[u32]) -> [Vec<f32>; 2] {
    let (length, padded, columns) = (6, 8, 70);
    let values = numbers(rows * runs * length, 11);
    let shared: Vec<f32> = numbers(runs * length, 12);
    let mut values = values[..rows * runs * length].to_vec();
    for row in values.chunks_exact_mut(runs * length) {
        for run in (0..runs).filter(|run| !own.contains(&(*run as u32))) {
            row[run * length..][..length].copy_from_slice(&shared[run * length..][..length]);
        }
    }
    let inverse: Vec<f32> = (0..length).map(|k| 127.0 / (1.0 + k as f32 / 8.0)).collect();
    let weights = numbers(runs * padded * columns, 13);
    let weights = QuantizedMatrix::quantize(Matrix::new(&weights[..runs * padded * columns], runs * padded, columns));
    let (bias, start) = (numbers(columns, 14), weights.start());
    let finish = || QuantizedFinish::Bias(&bias[..columns]);
    let lines = |runs: &[u32]| runs.iter().flat_map(|run| run * 2..run * 2 + 2).collect::<Vec<u32>>();
    let matrix = Matrix::new(&values, rows, runs * length);
    let mut quantized = QuantizedRows::default();

    let all: Vec<u32> = (0..runs as u32).collect();
    let mut whole = vec![0.0; rows * columns];
    quantized.fill_known(matrix, &all, &inverse);
    let part = Part { lines: &lines(&all), sums: &start };
    part_with(body, MatrixMut::new(&mut whole, rows, columns), &quantized, &weights, part, finish());

    let others: Vec<u32> = all.iter().copied().filter(|run| !own.contains(run)).collect();
    let mut sums = start.clone();
    quantized.fill_known(Matrix::new(&shared[..runs * length], 1, runs * length), &others, &inverse);
    quantized_sums(&quantized, &weights, &lines(&others), &mut sums);
    let mut cut = vec![0.0; rows * columns];
    quantized.fill_known(matrix, own, &inverse);
    let part = Part { lines: &lines(own), sums: &sums };
    part_with(body, MatrixMut::new(&mut cut, rows, columns), &quantized, &weights, part, finish());
    [whole, cut]
}

#[test]
fn a_product_over_known_ranges_is_the_same_in_parts() {
    for (rows, runs, own) in [(1, 1, &[0][..]), (3, 5, &[1, 4]), (20, 7, &[0, 2, 3]), (5, 4, &[]), (4, 3, &[0, 1, 2])] {
        let expected = known(Body::Scalar, rows, runs, own);
        assert_eq!(bits(&expected[0]), bits(&expected[1]), "{rows} rows, own {own:?} of {runs}");
        for body in Body::ALL.into_iter().filter(|body| body.is_available()) {
            for (got, expected) in known(body, rows, runs, own).iter().zip(&expected) {
                assert_eq!(bits(got), bits(expected), "{body:?}: {rows} rows, own {own:?} of {runs}");
            }
        }
    }
    on_every_isa(|| known(Body::of(super::super::isa()), 9, 5, &[1, 2]).map(|c| bits(&c)));
}

#[test]
fn a_product_over_known_ranges_is_near_the_exact_one() {
    let (values, weights) = (numbers(40 * 12, 15), numbers(12 * 20, 16));
    let mut quantized = QuantizedRows::default();
    quantized.fill_known(Matrix::new(&values[..40 * 12], 40, 12), &[0, 1, 2], &[127.0; 4]);
    let matrix = QuantizedMatrix::quantize(Matrix::new(
        &weights[..12 * 20].iter().map(|weight| weight / 127.0).collect::<Vec<f32>>(),
        12,
        20,
    ));
    let mut c = vec![0.0; 40 * 20];
    let part = Part { lines: &[0, 1, 2], sums: &matrix.start() };
    quantized_part(MatrixMut::new(&mut c, 40, 20), &quantized, &matrix, part, QuantizedFinish::Bias(&[0.0; 20]));
    for (row, c) in c.chunks_exact(20).enumerate() {
        for (column, got) in c.iter().enumerate() {
            let exact: f32 = (0..12).map(|k| values[row * 12 + k] * weights[k * 20 + column]).sum();
            assert!((got - exact).abs() < 0.06, "row {row} column {column}: {got}, not {exact}");
        }
    }
}

#[test]
#[should_panic(expected = "int8: a line outside B")]
fn lines_must_be_there() {
    let mut quantized = QuantizedRows::default();
    quantized.fill_known(Matrix::new(&[0.0; 8], 1, 8), &[0], &[1.0; 4]);
    let weights = QuantizedMatrix::quantize(Matrix::new(&[0.0; 4], 4, 1));
    quantized_sums(&quantized, &weights, &[1], &mut [0; 16]);
}

#[test]
#[should_panic(expected = "int8: C is 2×3, A is 2×4, B is 5×3")]
fn shapes_must_fit() {
    let mut quantized = QuantizedRows::default();
    quantized.fill(Matrix::new(&[0.0; 8], 2, 4));
    let weights = QuantizedMatrix::quantize(Matrix::new(&[0.0; 15], 5, 3));
    quantized_product(MatrixMut::new(&mut [0.0; 6], 2, 3), &quantized, &weights, QuantizedFinish::Bias(&[0.0; 3]));
}
