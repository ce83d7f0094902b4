//! Every baseline on generated rows whose true click probability is known, and on everything it must refuse.

use super::*;
use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::SplitMix64;

const COLUMNS: usize = 8;
const WEIGHTS: [f64; COLUMNS] = [2.0, -1.5, 1.0, 0.5, -0.5, 0.25, 0.0, 0.0];

struct Generated {
    rows: Dense,
    labels: Vec<u8>,
    truth: Vec<f64>,
}

/// Features uniform in [-1, 1), true logit `offset + w·x`.
fn generated(rows: usize, offset: f64, seed: u64) -> Generated {
    let mut random = SplitMix64::seed_from_u64(seed);
    let mut unit = || (random.next_u64() >> 40) as f32 / (1_u64 << 24) as f32;
    let (mut values, mut labels, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rows {
        let mut logit = offset;
        for weight in WEIGHTS {
            let value = 2.0 * unit() - 1.0;
            logit += weight * f64::from(value);
            values.push(value);
        }
        let p = 1.0 / (1.0 + (-logit).exp());
        labels.push(u8::from(f64::from(unit()) < p));
        truth.push(p);
    }
    Generated { rows: Dense::new(rows, COLUMNS, values).unwrap(), labels, truth }
}

fn log_loss(labels: &[u8], p: &[f64]) -> f64 {
    let losses = labels.iter().zip(p).map(|(&label, &p)| if label == 1 { -p.ln() } else { -(1.0 - p).ln() });
    losses.sum::<f64>() / labels.len() as f64
}

/// Share of pairs of a click and a non-click in the right order; a tie counts one half.
fn auc(labels: &[u8], p: &[f64]) -> f64 {
    let of = |class| {
        let mut p: Vec<f64> = labels.iter().zip(p).filter(|(label, _)| **label == class).map(|(_, &p)| p).collect();
        p.sort_by(f64::total_cmp);
        p
    };
    let (without, with) = (of(0), of(1));
    let below: f64 = with
        .iter()
        .map(|&p| {
            (without.partition_point(|&other| other < p) + without.partition_point(|&other| other <= p)) as f64 / 2.0
        })
        .sum();
    below / (with.len() * without.len()) as f64
}

fn logistic(change: impl FnOnce(&mut RawLinfaLogistic)) -> Baseline {
    let mut raw = RawLinfaLogistic::default();
    change(&mut raw);
    Baseline::LinfaLogistic(raw.try_into().unwrap())
}

fn forest(change: impl FnOnce(&mut RawSmartcoreForest)) -> Baseline {
    let mut raw = RawSmartcoreForest::default();
    change(&mut raw);
    Baseline::SmartcoreForest(raw.try_into().unwrap())
}

fn boost(change: impl FnOnce(&mut RawSmartcoreBoost)) -> Baseline {
    let mut raw = RawSmartcoreBoost::default();
    change(&mut raw);
    Baseline::SmartcoreBoost(raw.try_into().unwrap())
}

fn all() -> [Baseline; 3] {
    [logistic(|_| ()), forest(|_| ()), boost(|_| ())]
}

#[test]
fn each_learns_a_known_truth_whichever_class_is_the_majority() {
    for offset in [-2.5, 0.0, 2.5] {
        let (train, test) = (generated(12_000, offset, 1), generated(12_000, offset, 2));
        let best = log_loss(&test.labels, &test.truth);
        let best_auc = auc(&test.labels, &test.truth);
        let rate = train.labels.iter().map(|&label| f64::from(label)).sum::<f64>() / 12_000.0;
        let constant = log_loss(&test.labels, &vec![rate; 12_000]);
        for (baseline, most_excess) in all().into_iter().zip([0.03, 0.5, 0.5]) {
            let p = baseline.fit(&train.rows, &train.labels, 1).unwrap().predict(&test.rows).unwrap();
            let kind = baseline.kind();
            assert!(p.iter().all(|p| *p > 0.0 && *p < 1.0), "{kind}");
            let excess = (log_loss(&test.labels, &p) - best) / (constant - best);
            assert!(excess < most_excess, "{kind} at {offset}: {excess} of the way from the truth to a constant");
            let lost = best_auc - auc(&test.labels, &p);
            assert!(lost < 0.03, "{kind} at {offset}: AUC {lost} below the truth's {best_auc}");
            let mean = p.iter().sum::<f64>() / p.len() as f64;
            assert!((mean - rate).abs() < 0.02, "{kind} at {offset}: mean {mean}, click rate {rate}");
        }
    }
}

#[test]
fn logistic_probabilities_are_the_true_ones() {
    for offset in [-2.0, 2.0] {
        let (train, test) = (generated(40_000, offset, 3), generated(1_000, offset, 4));
        let p = logistic(|_| ()).fit(&train.rows, &train.labels, 1).unwrap().predict(&test.rows).unwrap();
        for (p, truth) in p.iter().zip(&test.truth) {
            assert!((p - truth).abs() < 0.05, "{p} for {truth}");
        }
    }
}

#[test]
fn flipped_labels_give_flipped_probabilities() {
    let train = generated(3_000, -1.5, 5);
    let flipped: Vec<u8> = train.labels.iter().map(|label| 1 - label).collect();
    for (baseline, tolerance) in all().into_iter().zip([1e-3, 1e-9, 1e-5]) {
        let straight = baseline.fit(&train.rows, &train.labels, 1).unwrap().predict(&train.rows).unwrap();
        let turned = baseline.fit(&train.rows, &flipped, 1).unwrap().predict(&train.rows).unwrap();
        for (p, q) in straight.iter().zip(&turned) {
            assert!((p + q - 1.0).abs() < tolerance, "{}: {p} and {q}", baseline.kind());
        }
    }
}

#[test]
fn the_penalty_of_the_logistic_does_not_depend_on_the_number_of_rows() {
    let once = generated(2_000, -1.0, 6);
    let twice = Dense::new(4_000, COLUMNS, [once.rows.values(), once.rows.values()].concat()).unwrap();
    let baseline = logistic(|raw| (raw.l2, raw.tolerance) = (0.05, 1e-6));
    let fit = |rows: &Dense, labels: &[u8]| baseline.fit(rows, labels, 1).unwrap().predict(&once.rows).unwrap();
    let (p, q) = (fit(&once.rows, &once.labels), fit(&twice, &once.labels.repeat(2)));
    assert!(p.iter().zip(&q).all(|(p, q)| (p - q).abs() < 1e-5));
    let free = logistic(|raw| raw.l2 = 0.0).fit(&once.rows, &once.labels, 1).unwrap().predict(&once.rows).unwrap();
    assert!(p.iter().zip(&free).any(|(p, q)| (p - q).abs() > 0.05), "a penalty must shrink");
}

#[test]
fn a_logistic_that_ran_out_of_steps_says_so() {
    let train = generated(2_000, -1.0, 7);
    let short = logistic(|raw| raw.max_iterations = 1).fit(&train.rows, &train.labels, 1).unwrap();
    assert!(!short.report().convergence.unwrap().is_converged());
    assert!(short.report().to_string().contains("NOT converged"));
    let full = logistic(|_| ()).fit(&train.rows, &train.labels, 1).unwrap();
    assert!(full.report().convergence.unwrap().is_converged(), "{}", full.report());
}

#[test]
fn one_split_is_one_split_in_both_kinds_of_trees() {
    let train = generated(2_000, 0.0, 8);
    let stump = forest(|raw| (raw.trees, raw.max_depth, raw.columns_per_split) = (1, 1, COLUMNS));
    let round = boost(|raw| (raw.rounds, raw.max_depth) = (1, 1));
    for baseline in [stump, round] {
        let mut p = baseline.fit(&train.rows, &train.labels, 1).unwrap().predict(&train.rows).unwrap();
        p.sort_by(f64::total_cmp);
        p.dedup();
        assert_eq!(p.len(), 2, "{}", baseline.kind());
    }
}

#[test]
fn trees_never_say_never() {
    // Clicks only where the first column is positive: other leaves hold none.
    let mut train = generated(4_000, -1.0, 9);
    for (label, row) in train.labels.iter_mut().zip(train.rows.iter_rows()) {
        *label *= u8::from(row[0] > 0.0);
    }
    for baseline in all() {
        let p = baseline.fit(&train.rows, &train.labels, 1).unwrap().predict(&train.rows).unwrap();
        assert!(p.iter().all(|p| *p > 0.0 && *p < 1.0), "{}", baseline.kind());
        assert!(log_loss(&train.labels, &p).is_finite());
    }
}

#[test]
fn the_seed_decides_every_bit() {
    let train = generated(3_000, -1.0, 10);
    for baseline in all() {
        let fit = |seed| baseline.fit(&train.rows, &train.labels, seed).unwrap().predict(&train.rows).unwrap();
        assert_eq!(fit(1), fit(1), "{}", baseline.kind());
        match baseline {
            Baseline::LinfaLogistic(_) => {
                assert_eq!(fit(1), fit(2), "solving for an optimum draws nothing")
            }
            Baseline::SmartcoreForest(_) | Baseline::SmartcoreBoost(_) => {
                assert_ne!(fit(1), fit(2))
            }
        }
    }
}

#[test]
fn rows_beyond_the_limit_are_sampled_and_reported() {
    let train = generated(3_000, -1.0, 11);
    let limited = [
        logistic(|raw| raw.row_limit = 1_000),
        forest(|raw| raw.row_limit = 1_000),
        boost(|raw| raw.row_limit = 1_000),
    ];
    for baseline in limited {
        assert_eq!(baseline.row_limit(COLUMNS), Ok(1_000));
        let fitted = baseline.fit(&train.rows, &train.labels, 5).unwrap();
        let report = fitted.report();
        assert_eq!((report.rows_offered, report.rows_used, report.is_sampled()), (3_000, 1_000, true));
        assert!(report.to_string().contains("a sample of 1000 of 3000 rows × 8 columns"), "{report}");

        // A caller that samples before building the matrix gets the same model.
        let sample = sample_rows(3_000, 1_000, 5);
        let labels: Vec<u8> = sample.iter().map(|&row| train.labels[row]).collect();
        let before = baseline.fit(&train.rows.select(&sample), &labels, 5).unwrap();
        assert!(!before.report().is_sampled());
        assert_eq!(fitted.predict(&train.rows).unwrap(), before.predict(&train.rows).unwrap());
    }
}

#[test]
fn the_cell_limit_bounds_rows_and_columns() {
    for (baseline, cells) in all().into_iter().zip([12_800_000, 12_800_000, 3_200_000]) {
        assert_eq!(baseline.row_limit(1), Ok(50_000));
        assert_eq!(baseline.row_limit(640), Ok(cells / 640));
        let widest = cells / 1_000;
        assert_eq!(baseline.row_limit(widest), Ok(1_000));
        let wide = Dense::new(2, widest + 1, vec![0.0; 2 * (widest + 1)]).unwrap();
        let error = baseline.fit(&wide, &[0, 1], 1).unwrap_err();
        assert_eq!(error, BaselineError::TooWide { kind: baseline.kind(), columns: widest + 1, limit: widest });
    }
}

#[test]
fn labels_that_cannot_be_learned_from_are_refused() {
    let rows = generated(10, 0.0, 12).rows;
    for baseline in all() {
        let message = |rows: &Dense, labels: &[u8]| baseline.fit(rows, labels, 1).unwrap_err().to_string();
        assert_eq!(message(&rows, &[0; 9]), "expected one label for each of 10 rows, got 9 labels");
        assert_eq!(message(&rows, &[0, 1, 0, 2, 0, 0, 0, 0, 0, 0]), "label of row 3: expected 0 or 1, got 2");
        assert!(message(&rows, &[0; 10]).contains("got 0 clicks in 10 rows"));
        assert!(message(&rows, &[1; 10]).contains("got 10 clicks in 10 rows"));
        assert!(message(&rows.select(&[]), &[]).contains("got 0 clicks in 0 rows"));
    }
}

#[test]
fn rows_of_another_width_are_refused_and_no_rows_are_no_probabilities() {
    let train = generated(1_000, 0.0, 13);
    for baseline in all() {
        let fitted = baseline.fit(&train.rows, &train.labels, 1).unwrap();
        let error = fitted.predict(&Dense::new(1, 3, vec![0.0; 3]).unwrap()).unwrap_err();
        assert_eq!(error, BaselineError::Columns { kind: baseline.kind(), expected: COLUMNS, got: 3 });
        assert_eq!(fitted.predict(&train.rows.select(&[])), Ok(vec![]));
    }
}

#[test]
fn a_row_is_predicted_alike_alone_and_among_many() {
    let (train, test) = (generated(1_000, 0.0, 14), generated(9_000, 0.0, 15));
    for baseline in all() {
        let fitted = baseline.fit(&train.rows, &train.labels, 1).unwrap();
        let together = fitted.predict(&test.rows).unwrap();
        for row in [0, 4_095, 4_096, 8_999] {
            assert_eq!(fitted.predict(&test.rows.select(&[row])).unwrap(), [together[row]], "{}", baseline.kind());
        }
    }
}

#[test]
fn columns_of_one_value_and_wide_scales_do_no_harm() {
    let mut train = generated(2_000, -1.0, 16);
    let mut values = train.rows.values().to_vec();
    for row in values.chunks_exact_mut(COLUMNS) {
        (row[6], row[7]) = (0.0, 1_000.0 * row[7]);
    }
    train.rows = Dense::new(2_000, COLUMNS, values).unwrap();
    for baseline in all() {
        let fitted = baseline.fit(&train.rows, &train.labels, 1).unwrap();
        let auc = auc(&train.labels, &fitted.predict(&train.rows).unwrap());
        assert!(auc > 0.7, "{}: {auc}", fitted.report());
    }
}

#[test]
fn settings_are_read_checked_and_written_back() {
    let read = |text: &str| toml::from_str::<Baseline>(text).map_err(|error| error.to_string());
    for baseline in all() {
        assert_eq!(read(&format!("kind = \"{}\"", baseline.kind())), Ok(baseline.clone()), "defaults");
        assert_eq!(read(&toml::to_string(&baseline).unwrap()), Ok(baseline));
    }
    let error = |text: &str| read(text).unwrap_err();
    assert!(error("kind = 'smartcore-forest'\ntree = 5").contains("unknown field `tree`"));
    assert!(error("kind = 'xgboost'").contains("unknown variant `xgboost`"));
    for (kind, setting) in [
        ("linfa-logistic", "l2 = -0.1"),
        ("linfa-logistic", "l2 = nan"),
        ("linfa-logistic", "max_iterations = 0"),
        ("linfa-logistic", "tolerance = 0.0"),
        ("linfa-logistic", "row_limit = 200001"),
        ("smartcore-forest", "trees = 0"),
        ("smartcore-forest", "max_depth = 65"),
        ("smartcore-forest", "min_samples_leaf = 0"),
        ("smartcore-forest", "row_limit = 999"),
        ("smartcore-boost", "rounds = 1001"),
        ("smartcore-boost", "learning_rate = 0.0"),
        ("smartcore-boost", "max_depth = 0"),
        ("smartcore-boost", "min_samples_leaf = 0"),
        ("smartcore-boost", "l2 = inf"),
        ("smartcore-boost", "subsample = 1.5"),
        ("smartcore-boost", "row_limit = 100001"),
    ] {
        let message = error(&format!("kind = '{kind}'\n{setting}"));
        let (key, _) = setting.split_once(' ').unwrap();
        assert!(message.contains(&format!("{kind}: `{key}` must be between")), "{message}");
    }
}

#[test]
fn fitted_models_may_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Fitted>();
    crosses::<Baseline>();
}
