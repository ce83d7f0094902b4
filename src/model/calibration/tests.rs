use super::*;

/// Logits drawn evenly from −4 to 1 and labels whose true log-odds are `truth` of them.
fn sample(rows: usize, truth: impl Fn(f64) -> f64) -> (Vec<f32>, Vec<u8>) {
    let mut state = 99_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut draw = || {
        let logit = 5.0 * uniform() - 4.0;
        (logit as f32, u8::from(uniform() < logistic(truth(logit))))
    };
    (0..rows).map(|_| draw()).unzip()
}

#[test]
fn platt_finds_the_line() {
    for (slope, intercept) in [(0.6, 0.4), (1.5, -1.0), (1.0, 2.5)] {
        let (logits, labels) = sample(60_000, |logit| slope * logit + intercept);
        let points: Vec<(f64, u8)> = logits.iter().map(|logit| f64::from(*logit)).zip(labels).collect();
        let platt = Platt::fit(points.iter().copied()).unwrap();
        assert!((platt.slope - slope).abs() < 0.04, "{platt:?}, expected {slope}");
        assert!((platt.intercept - intercept).abs() < 0.08, "{platt:?}, expected {intercept}");
    }
}

#[test]
fn a_line_is_at_the_maximum_whatever_it_started_from() {
    let (logits, labels) = sample(30_000, |logit| 0.7 * logit - 0.2);
    let points = logits.iter().map(|logit| f64::from(*logit)).zip(labels.iter().copied());
    let found = Platt::fit(points.clone()).unwrap();
    for start in [Platt { slope: 1.0, intercept: 0.0 }, Platt { slope: 0.2, intercept: -2.0 }] {
        let again = start.refit(points.clone()).unwrap();
        assert!((again.slope - found.slope).abs() < 1e-8 && (again.intercept - found.intercept).abs() < 1e-8);
    }
    let error = |p: &Platt, weight: &dyn Fn(f64) -> f64| {
        points.clone().map(|(x, y)| (logistic(p.slope * x + p.intercept) - f64::from(y)) * weight(x)).sum::<f64>() / 3e4
    };
    assert!(error(&found, &|_| 1.0).abs() < 1e-9 && error(&found, &|x| x).abs() < 1e-9, "{found:?}");
    let rare = points.clone().enumerate().map(|(row, (x, y))| (x, y * u8::from(row % 900 == 0)));
    assert!(Platt::fit(rare).unwrap().intercept < -5.0, "fewer clicks than the first fit needs");
    let separable = Platt::fit(points.clone().map(|(x, _)| (x, u8::from(x > -1.0)))).unwrap();
    assert!(separable.slope > 5.0 && (separable.intercept / separable.slope - 1.0).abs() < 0.1, "{separable:?}");
    let constant = Platt::fit((0..100).map(|row| (2.0, u8::from(row < 20)))).unwrap();
    assert!((logistic(constant.slope * 2.0 + constant.intercept) - 0.2).abs() < 1e-12);
}

#[test]
fn isotonic_equals_the_known_solution() {
    // Worked by hand: the 1 at 1 and the 0 at 2 pool to ½; the zero at 0 merges inwards.
    let points = [(0.0, 0), (1.0, 1), (2.0, 0), (3.0, 1), (4.0, 0), (4.0, 1), (5.0, 1)];
    let curve = Isotonic::fit(points.into_iter());
    assert!(curve.probabilities.is_sorted() && curve.logits.is_sorted());
    // Blocks: {0,1,2}: 1/3 after the end merge; {3,4,4}: 2/3, which takes in the pure end {5}: 3/4.
    assert_eq!(curve.probabilities, [1.0 / 3.0, 3.0 / 4.0]);
    assert_eq!(curve.logits, [1.0, 4.0]);
    assert_eq!(curve.probability(-9.0), 1.0 / 3.0);
    assert!((curve.probability(2.5) - (1.0 / 3.0 + 0.75) / 2.0).abs() < 1e-12);
}

#[test]
fn the_best_method_is_kept() {
    let (logits, labels) = sample(20_000, |logit| logit);
    assert_eq!(fit(&Method::ALL, &logits, &labels, 1.0).unwrap().1.losses.len(), 3);
    let (logits, labels) = sample(20_000, |logit| 0.5 * logit - 1.0);
    assert_eq!(fit(&Method::ALL, &logits, &labels, 1.0).unwrap().1.method, Method::Platt);
    let (logits, labels) = sample(20_000, |logit| if logit < -1.0 { -3.0 } else { 1.0 });
    let (calibrator, choice) = fit(&Method::ALL, &logits, &labels, 1.0).unwrap();
    assert_eq!((choice.method, calibrator.method()), (Method::Isotonic, Method::Isotonic));
    assert!((calibrator.probability(-3.0) - logistic(-3.0)).abs() < 0.01);
    assert!((calibrator.probability(0.5) - logistic(1.0)).abs() < 0.05);
}

#[test]
fn down_sampling_is_undone_exactly() {
    let calibrator = Calibrator { log_kept_negatives: 0.1_f64.ln(), map: Map::Identity };
    // Of 1000 negatives and 10 clicks, 100 negatives are kept: the sample's odds are 0.1, the true odds 0.01.
    let sampled_logit = (10.0_f64 / 100.0).ln() as f32;
    assert!((calibrator.probability(sampled_logit) - 10.0 / 1010.0).abs() < 1e-8);
}

#[test]
fn few_rows_and_one_class_keep_the_identity() {
    for labels in [vec![0; 50], vec![1; 50], vec![0, 1, 0]] {
        let logits = vec![0.5; labels.len()];
        let (calibrator, _) = fit(&Method::ALL, &logits, &labels, 1.0).unwrap();
        assert_eq!(calibrator.method(), Method::Identity);
    }
    assert!(fit(&[], &[], &[], 1.0).is_err());
    assert!(fit(&Method::ALL, &[], &[], 0.0).is_err());
    assert_eq!(fit(&Method::ALL, &[], &[], 1.0).unwrap().1.method, Method::Identity);
}

#[test]
fn probabilities_are_never_certain() {
    let calibrator = Calibrator::identity();
    assert_eq!(calibrator.probability(f32::NEG_INFINITY), LEAST_PROBABILITY);
    assert_eq!(calibrator.probability(1e30), 1.0 - LEAST_PROBABILITY);
}
