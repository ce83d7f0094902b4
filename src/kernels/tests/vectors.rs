//! Vectors, optimizers, losses: one element after another.

use super::super::{
    AdamStep, Matrix, adagrad_rowwise, adam, add_assign, axpy, column_sums, dot, fma_burst, log_loss_with_logits,
    reference, scale, sigmoid,
};
use super::{SIZES, assert_close, bits, numbers, on_every_isa};

#[test]
fn dot_products() {
    on_every_isa(|| {
        SIZES.map(|size| {
            let (a, b) = (numbers(size, 1), numbers(size + 1, 2));
            let (a, b) = (&a[1..], &b[2..]);
            let (expected, sizes) = reference::dot(a, b);
            let got = dot(a, b);
            assert_close(got, expected, 1e-6 * sizes);
            got.to_bits()
        })
    });
    assert!(dot(&[1.0, f32::NAN], &[1.0, 1.0]).is_nan());
}

#[test]
fn scaled_and_plain_sums() {
    on_every_isa(|| {
        SIZES.into_iter().for_each(|size| {
            let (x, y) = (numbers(size, 3), numbers(size, 4));
            let mut out = y.clone();
            axpy(0.3, &x[1..], &mut out[1..]);
            for at in 1..=size {
                assert_eq!(out[at].to_bits(), 0.3f32.mul_add(x[at], y[at]).to_bits());
            }
            add_assign(&mut out[1..], &x[1..]);
            scale(-2.0, &mut out[1..]);
            for at in 1..=size {
                assert_eq!(out[at].to_bits(), ((0.3f32.mul_add(x[at], y[at]) + x[at]) * -2.0).to_bits());
            }
            assert_eq!(out[0], y[0]);
        });
    });
}

#[test]
fn column_sums_keep_the_order_of_rows() {
    on_every_isa(|| {
        for rows in [0, 1, 3, 4, 5, 17] {
            for columns in SIZES {
                let values = numbers(rows * columns, 5);
                let matrix = Matrix::new(&values[1..], rows, columns);
                let expected: Vec<f32> =
                    (0..columns).map(|j| (0..rows).fold(0.0, |sum, i| sum + matrix.get(i, j))).collect();
                let mut out = vec![9.0; columns];
                column_sums(matrix, &mut out, false);
                assert_eq!(bits(&out), bits(&expected));
                // In two pieces, the second added to the first.
                column_sums(matrix.row_range(0..rows / 2), &mut out, false);
                column_sums(matrix.row_range(rows / 2..rows), &mut out, true);
                assert_eq!(bits(&out), bits(&expected));
            }
        }
    });
}

#[test]
fn adam_steps() {
    on_every_isa(|| {
        SIZES.map(|size| {
            let (mut w, mut m, g) = (numbers(size, 6), numbers(size, 7), numbers(size, 8));
            let mut v: Vec<f32> = numbers(size, 9).iter().map(|v| v.abs()).collect();
            let step = AdamStep::new(1e-3, 0.9, 0.999, 1e-8, 3);
            let expected: Vec<_> = (0..=size).map(|at| reference::adam(w[at], m[at], v[at], g[at], &step)).collect();
            adam(&mut w[1..], &mut m[1..], &mut v[1..], &g[1..], &step);
            for at in 1..=size {
                assert_close(w[at], expected[at][0], 3e-7);
                assert_close(m[at], expected[at][1], 2e-7);
                assert_close(v[at], expected[at][2], 2e-7);
            }
            (bits(&w), bits(&m), bits(&v))
        })
    });
}

#[test]
fn adam_corrections_are_those_of_the_paper() {
    let step = AdamStep::new(0.1, 0.9, 0.999, 1e-8, 2);
    assert_close(step.correction1, 1.0 - 0.81, 1e-7);
    assert_close(step.correction2, 1.0 - 0.998_001, 1e-7);
    // The first step moves every weight by the learning rate, whatever the size of its gradient.
    let (mut w, mut m, mut v) = ([1.0f32; 2], [0.0f32; 2], [0.0f32; 2]);
    adam(&mut w, &mut m, &mut v, &[1e-3, -50.0], &AdamStep::new(0.1, 0.9, 0.999, 1e-8, 1));
    assert_close(w[0], 0.9, 2e-6);
    assert_close(w[1], 1.1, 2e-6);
}

#[test]
fn adagrad_keeps_one_accumulator_a_row() {
    on_every_isa(|| {
        SIZES.map(|size| {
            let (mut w, g, mut accumulator) = (numbers(size, 10), numbers(size, 11), 0.5f32);
            let before = w.clone();
            adagrad_rowwise(&mut w[1..], &g[1..], &mut accumulator, 0.1, 1e-10);
            let squares: f64 = g[1..].iter().map(|&g| f64::from(g) * f64::from(g)).sum();
            let expected = 0.5 + if size == 0 { 0.0 } else { squares / size as f64 };
            assert_close(accumulator, expected, 1e-6);
            for at in 1..=size {
                let expected = f64::from(before[at]) - 0.1 * f64::from(g[at]) / expected.sqrt();
                assert_close(w[at], expected, 1e-6);
            }
            (bits(&w), accumulator.to_bits())
        })
    });
}

#[test]
fn log_losses_and_their_gradients() {
    on_every_isa(|| {
        SIZES.map(|size| {
            let logits: Vec<f32> = numbers(size, 12).iter().map(|x| x * x * x * 90.0).collect();
            let labels: Vec<f32> = numbers(size, 13).iter().map(|&y| f32::from(u8::from(y > 0.0))).collect();
            let weights: Vec<f32> = numbers(size, 14).iter().map(|w| w.abs() * 3.0).collect();
            let mut grad = vec![0.0; size];
            let sum = log_loss_with_logits(&logits[1..], &labels[1..], &weights[1..], &mut grad);
            let rows = logits.iter().zip(&labels).zip(&weights).skip(1);
            let expected: Vec<_> = rows.map(|((&x, &y), &w)| reference::log_loss(x, y, w)).collect();
            let total: f64 = expected.iter().map(|row| row.0).sum();
            assert!((sum - total).abs() <= 1e-13 * total.max(1.0), "{sum} {total}");
            for (&grad, &(_, expected)) in grad.iter().zip(&expected) {
                assert_close(grad, expected, 1e-7 * expected.abs().max(1e-30));
            }
            let unweighted = log_loss_with_logits(&logits[1..], &labels[1..], &[], &mut grad);
            let ones = vec![1.0; size];
            assert_eq!(unweighted, log_loss_with_logits(&logits[1..], &labels[1..], &ones, &mut grad));
            (sum.to_bits(), bits(&grad))
        })
    });
}

#[test]
fn log_loss_of_extreme_logits() {
    on_every_isa(|| {
        let infinity = f32::INFINITY;
        let loss = |logit, label| {
            let mut grad = [0.0];
            let loss = log_loss_with_logits(&[logit], &[label], &[], &mut grad);
            (loss, grad[0])
        };
        assert_eq!(loss(1e4, 0.0), (1e4, 1.0));
        assert_eq!(loss(-1e4, 1.0), (1e4, -1.0));
        assert_eq!(loss(infinity, 1.0), (0.0, 0.0));
        assert_eq!(loss(-infinity, 0.0), (0.0, 0.0));
        assert_eq!(loss(infinity, 0.0), (f64::INFINITY, 1.0));
        assert_eq!(loss(0.0, 0.5).1, 0.0);
        let (lost, grad) = loss(f32::NAN, 1.0);
        assert!(lost.is_nan() && grad.is_nan());
        // One bad row spoils its own gradient only.
        let mut grad = [0.0; 3];
        assert!(log_loss_with_logits(&[0.0, f32::NAN, 0.0], &[1.0; 3], &[], &mut grad).is_nan());
        assert!(grad[1].is_nan());
        assert_eq!((grad[0], grad[2]), (-0.5, -0.5));
        assert!(sigmoid(-80.0) > 0.0);
    });
}

#[test]
fn the_yardstick_computes_what_it_says() {
    on_every_isa(|| {
        assert_eq!(fma_burst(0), 0.0);
        assert_eq!(fma_burst(1), 192.0);
        assert_eq!(fma_burst(2), 192.0 * 1.5);
    });
}

#[test]
#[should_panic(expected = "axpy: lengths differ, 2 and 3")]
fn different_lengths_are_named() {
    axpy(1.0, &[1.0; 2], &mut [1.0; 3]);
}
