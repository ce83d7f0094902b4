//! Layers: element-wise parts, batch normalization, dropout.

use super::super::{
    MatrixMut, add_bias, add_bias_relu, batch_norm_backward, batch_norm_forward, batch_norm_gradient_sums,
    batch_norm_moments, cross_backward, cross_backward_first, cross_forward, dropout, linear_backward, relu_backward,
    scale_shift,
};
use super::{SIZES, assert_close, bits, numbers, on_every_isa};

const ROWS: usize = 5;

#[test]
fn biases_and_rectifiers() {
    on_every_isa(|| {
        SIZES.into_iter().for_each(|width| {
            // Two columns wider than the rows, which must stay as they are.
            let stride = width + 2;
            let (rows, bias, shift) = (numbers(ROWS * stride, 1), numbers(width, 2), numbers(width, 3));
            let view = |data: &mut Vec<f32>, work: &dyn Fn(MatrixMut<'_>)| {
                work(MatrixMut::with_row_stride(&mut data[1..], ROWS, width, stride));
            };
            let (mut sums, mut rectified, mut scaled) = (rows.clone(), rows.clone(), rows.clone());
            view(&mut sums, &|rows| add_bias(rows, &bias[1..]));
            view(&mut rectified, &|rows| add_bias_relu(rows, &bias[1..]));
            view(&mut scaled, &|rows| scale_shift(rows, &bias[1..], &shift[1..]));
            for at in 0..ROWS * stride {
                let (x, column) = (rows[1 + at], at % stride);
                if column >= width {
                    assert_eq!([sums[1 + at], rectified[1 + at], scaled[1 + at]], [x; 3]);
                    continue;
                }
                let bias = bias[1 + column];
                assert_eq!(sums[1 + at], x + bias);
                assert_eq!(rectified[1 + at], (x + bias).max(0.0));
                assert_eq!(scaled[1 + at], x.mul_add(bias, shift[1 + column]));
            }
            let mut grad = numbers(rows.len(), 4);
            let before = grad.clone();
            relu_backward(&mut grad[2..], &rectified[1..]);
            for at in 0..ROWS * stride {
                let expected = if rectified[1 + at] > 0.0 { before[2 + at] } else { 0.0 };
                assert_eq!(grad[2 + at], expected);
            }
        });
        let mut row = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        add_bias_relu(MatrixMut::new(&mut row, 1, 3), &[0.0; 3]);
        assert!(row[0].is_nan());
        assert_eq!(row[1..], [f32::INFINITY, 0.0]);
    });
}

#[test]
fn cross_layers() {
    on_every_isa(|| {
        SIZES.into_iter().for_each(|width| {
            let length = ROWS * width;
            let [x0, v, x, grad, start] = [5, 6, 7, 8, 9].map(|seed| numbers(length, seed));
            let bias = numbers(width, 10);
            let (mut out, mut grad_v, mut grad_x0) = (vec![0.0; length], vec![0.0; length], start.clone());
            let (mut grad_bias, mut grad_first) = (vec![9.0; width], start.clone());
            let (first, ignored) = (&mut grad_first[1..], &mut vec![0.0; width]);
            cross_backward_first(&grad[1..], &x0[1..], &v[1..], &mut grad_v, first, ignored);
            cross_forward(&mut out, &x0[1..], &v[1..], &bias[1..], &x[1..]);
            cross_backward(&grad[1..], &x0[1..], &v[1..], &mut grad_v, &mut grad_x0[1..], &mut grad_bias);
            for at in 0..length {
                let inner = v[1 + at] + bias[1 + at % width];
                assert_eq!(out[at], x0[1 + at].mul_add(inner, x[1 + at]));
                assert_eq!(grad_v[at], grad[1 + at] * x0[1 + at]);
                assert_eq!(grad_x0[1 + at], grad[1 + at].mul_add(v[1 + at], start[1 + at]));
                assert_eq!(grad_first[1 + at], grad_x0[1 + at] + grad[1 + at]);
            }
            for (column, &got) in grad_bias.iter().enumerate() {
                assert_eq!(got, (0..ROWS).fold(0.0, |sum, row| sum + grad_v[row * width + column]));
            }
        });
    });
}

#[test]
fn linear_layers_of_one_output() {
    on_every_isa(|| {
        SIZES.into_iter().for_each(|width| {
            let (x, weight, grad) = (numbers(ROWS * width, 20), numbers(width, 21), numbers(ROWS, 22));
            let (mut grad_weight, mut grad_x) = (vec![9.0; width], vec![9.0; ROWS * width]);
            linear_backward(&grad[1..], &weight[1..], &x[1..], &mut grad_weight, &mut grad_x);
            for column in 0..width {
                let sum = |sum: f32, row: usize| grad[1 + row].mul_add(x[1 + row * width + column], sum);
                assert_eq!(grad_weight[column], (0..ROWS).fold(0.0, sum));
                for row in 0..ROWS {
                    assert_eq!(grad_x[row * width + column], grad[1 + row] * weight[1 + column]);
                }
            }
        });
    });
}

/// Mean and biased variance in f32, as layers take them from the moments.
fn statistics(x: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut mean, mut squares) = (vec![9.0; width], vec![9.0; width]);
    batch_norm_moments(x, &mut mean, &mut squares);
    let rows = (x.len() / width.max(1)).max(1) as f64;
    let narrow = |value: &f64| *value as f32;
    (mean.iter().map(narrow).collect(), squares.iter().map(|sum| narrow(&(sum / rows))).collect())
}

#[test]
fn batch_statistics_and_normalization() {
    on_every_isa(|| {
        SIZES.map(|width| {
            let x: Vec<f32> = numbers(7 * width, 11).iter().map(|x| x + 100.0).collect();
            let x = &x[1..];
            let (mean, variance) = statistics(x, width);
            let (gamma, beta) = (numbers(width, 12), numbers(width, 13));
            let (gamma, beta) = (&gamma[1..], &beta[1..]);
            let (mut normalized, mut out) = (vec![0.0; x.len()], x.to_vec());
            batch_norm_forward(&mut out, &mean, &variance, 1e-5, gamma, beta, &mut normalized);
            for column in 0..width {
                let values = || x.iter().skip(column).step_by(width).map(|&x| f64::from(x));
                let expected_mean = values().sum::<f64>() / 7.0;
                let expected_variance = values().map(|x| (x - expected_mean).powi(2)).sum::<f64>() / 7.0;
                assert_close(mean[column], expected_mean, 1e-5);
                assert_close(variance[column], expected_variance, 1e-6);
                for (row, x) in values().enumerate() {
                    let expected = (x - f64::from(mean[column])) / (expected_variance + 1e-5).sqrt();
                    let at = row * width + column;
                    assert_close(normalized[at], expected, 1e-5);
                    let expected = expected * f64::from(gamma[column]) + f64::from(beta[column]);
                    assert_close(out[at], expected.max(0.0), 1e-5);
                }
            }
            (bits(&mean), bits(&variance), bits(&normalized), bits(&out))
        })
    });
    assert_eq!(statistics(&[], 2), (vec![0.0; 2], vec![0.0; 2]));
    let mut out = [f32::NAN];
    batch_norm_forward(&mut out, &[0.0], &[1.0], 1e-5, &[1.0], &[0.0], &mut [0.0]);
    assert!(out[0].is_nan());
}

/// The loss Σ target ⊙ out, as a function of x, gamma and beta, in f64; for finite differences.
fn normalized_loss(x: &[f64], gamma: &[f64], beta: &[f64], target: &[f32]) -> f64 {
    let width = gamma.len();
    let rows = x.len() / width;
    let column_loss = |column: usize| {
        let values: Vec<f64> = x.iter().skip(column).step_by(width).copied().collect();
        let mean = values.iter().sum::<f64>() / rows as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
        let out = |x: f64| (x - mean) / (variance + 1e-5).sqrt() * gamma[column] + beta[column];
        let targets = target.iter().skip(column).step_by(width);
        values.iter().zip(targets).map(|(&x, &target)| f64::from(target) * out(x)).sum::<f64>()
    };
    (0..width).map(column_loss).sum()
}

#[test]
fn batch_normalization_backward_agrees_with_finite_differences() {
    on_every_isa(|| {
        [1, 3, 33].map(|width| {
            let rows = 6;
            let [x, target] = [14, 15].map(|seed| numbers(rows * width - 1, seed));
            let [gamma, beta] = [16, 17].map(|seed| numbers(width - 1, seed));
            let (mean, variance) = statistics(&x, width);
            let mut normalized = vec![0.0; x.len()];
            batch_norm_forward(&mut x.clone(), &mean, &variance, 1e-5, &gamma, &beta, &mut normalized);
            let mut grad = target.clone();
            let (mut gammas, mut betas) = (vec![9.0; width], vec![9.0; width]);
            batch_norm_gradient_sums(&grad, &normalized, &mut gammas, &mut betas);
            let per_row = |sums: &[f64]| sums.iter().map(|sum| (sum / rows as f64) as f32).collect::<Vec<_>>();
            let (mean_gamma, mean_beta) = (per_row(&gammas), per_row(&betas));
            batch_norm_backward(&mut grad, &normalized, &variance, 1e-5, &gamma, &mean_gamma, &mean_beta);
            let narrow = |sums: &[f64]| sums.iter().map(|sum| *sum as f32).collect::<Vec<_>>();
            let (grad_gamma, grad_beta) = (narrow(&gammas), narrow(&betas));

            let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let points = [wide(&x), wide(&gamma), wide(&beta)];
            for (which, got) in [&grad, &grad_gamma, &grad_beta].into_iter().enumerate() {
                for (at, &got) in got.iter().enumerate() {
                    let loss_at = |offset: f64| {
                        let mut points = points.clone();
                        points[which][at] += offset;
                        normalized_loss(&points[0], &points[1], &points[2], &target)
                    };
                    let expected = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
                    assert_close(got, expected, 2e-5 * expected.abs().max(1.0));
                }
            }
            (bits(&grad), bits(&grad_gamma), bits(&grad_beta))
        })
    });
}

#[test]
fn dropout_depends_on_seed_and_place_only() {
    on_every_isa(|| {
        let whole = |counter: u64| {
            let mut values = vec![1.0f32; 1000];
            dropout(&mut values, 0.75, 42, counter);
            values
        };
        // The carry into the upper half of the counter lies inside the second run.
        for start in [0, u64::from(u32::MAX) - 300, u64::MAX - 300] {
            let all = whole(start);
            for (from, to) in [(0, 1), (1, 18), (17, 300), (299, 1000)] {
                let mut part = vec![1.0f32; to - from];
                dropout(&mut part, 0.75, 42, start.wrapping_add(from as u64));
                assert_eq!(part, all[from..to]);
            }
        }
        let mut other = vec![1.0f32; 1000];
        dropout(&mut other, 0.75, 43, 0);
        assert_ne!(other, whole(0));
        bits(&whole(5))
    });
}

#[test]
fn dropout_keeps_the_share_and_the_mean() {
    let rows = 200_000;
    for keep in [0.1f32, 0.5, 0.9] {
        let mut values = vec![2.0f32; rows];
        dropout(&mut values, keep, 7, 1 << 40);
        let kept = values.iter().filter(|&&value| value != 0.0).count();
        let deviation = (rows as f64 * f64::from(keep) * f64::from(1.0 - keep)).sqrt();
        assert!((kept as f64 - rows as f64 * f64::from(keep)).abs() < 5.0 * deviation, "{keep}: {kept}");
        assert!(values.iter().all(|&value| value == 0.0 || value == 2.0 * (1.0 / keep)));
        // Neighbors are independent: pairs are kept as often as the square says.
        let pairs = values.windows(2).filter(|pair| pair[0] != 0.0 && pair[1] != 0.0).count();
        assert!((pairs as f64 - rows as f64 * f64::from(keep * keep)).abs() < 8.0 * (rows as f64).sqrt());
    }
    let mut values = [f32::NAN, 3.0];
    dropout(&mut values, 1.0, 7, 0);
    assert_eq!(values[1], 3.0);
    dropout(&mut values, 0.0, 7, 0);
    assert_eq!(values, [0.0, 0.0]);
}
