//! `delong.json` (structural components from their definition, numpy, scipy; checked against MLstatkit) → AUCs, covariances and
//! quantiles.

use pctr::metrics::Predictions;
use pctr::metrics::delong::Placements;
use pctr::metrics::distributions::{normal_quantile, student_reach, student_two_sided};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    student: Vec<Student>,
    normal: Vec<Normal>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    labels: Vec<u8>,
    models: Vec<Vec<f64>>,
    aucs: Vec<f64>,
    covariance: Vec<Vec<f64>>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    a: usize,
    b: usize,
    estimate: f64,
    standard_error: f64,
    p_value: f64,
}

#[derive(Deserialize)]
struct Student {
    tails: f64,
    degrees: f64,
    reach: f64,
}

#[derive(Deserialize)]
struct Normal {
    p: f64,
    z: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("delong.json")).expect("delong.json is what the script wrote")
}

#[test]
fn aucs_and_their_covariance_agree_with_the_definition() {
    let golden = golden();
    assert_eq!(golden.cases.len(), 4);
    for case in &golden.cases {
        let close = |ours: f64, theirs: f64, scale: f64, what: &str| {
            assert!((ours - theirs).abs() <= 1e-11 * scale, "{}: {what}: {ours} {theirs}", case.name);
        };
        let placements: Vec<Placements> = (case.models.iter())
            .map(|p| Placements::new(&Predictions::new(&case.labels, p, None)).expect("both classes"))
            .collect();
        for (a, of_a) in placements.iter().enumerate() {
            close(of_a.auc(), case.aucs[a], 1.0, "AUC");
            for (b, of_b) in placements.iter().enumerate() {
                close(of_a.covariance(of_b), case.covariance[a][b], 1e-2, "covariance");
            }
        }
        for pair in &case.pairs {
            let found = placements[pair.a].minus(&placements[pair.b]);
            close(found.estimate, pair.estimate, 1.0, "difference");
            close(found.standard_error, pair.standard_error, 1.0, "standard error");
            close(found.p_value, pair.p_value, 10.0, "p-value");
        }
    }
}

#[test]
fn quantiles_agree_with_scipy() {
    let golden = golden();
    for Student { tails, degrees, reach } in &golden.student {
        let ours = student_reach(*tails, *degrees);
        assert!((ours / reach - 1.0).abs() < 1e-8, "t of {degrees}, {tails}: {ours} {reach}");
        assert!((student_two_sided(*reach, *degrees) / tails - 1.0).abs() < 1e-8, "t of {degrees}, {tails}");
    }
    for Normal { p, z } in &golden.normal {
        let ours = normal_quantile(*p);
        assert!((ours - z).abs() < 1e-9, "{p}: {ours} {z}");
    }
}
