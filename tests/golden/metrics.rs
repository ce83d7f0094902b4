//! `metrics.json` (scikit-learn, scipy) → every metric of an evaluation, within [`TOLERANCE`].

use pctr::metrics::grouped::GroupedRanking;
use pctr::metrics::ranking::Ranking;
use pctr::metrics::{Evaluation, Predictions, evaluate, thresholds};
use serde::Deserialize;

/// Absolute, on numbers around 1: both sides sum a few hundred f64 in their own order.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    labels: Vec<u8>,
    probabilities: Vec<f64>,
    weights: Option<Vec<f32>>,
    groups: Option<Vec<u64>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    ctr: f64,
    mean_probability: f64,
    log_loss: f64,
    normalized_entropy: Option<f64>,
    auc: Option<f64>,
    pr_auc: Option<f64>,
    best_f1: Option<BestF1>,
    f1_at_ctr: Option<f64>,
    brier: f64,
    pcoc: Option<f64>,
    ece: f64,
    reliability: Vec<Bin>,
    roc: Option<Vec<(f64, f64)>>,
    grouped_auc: Option<GroupedAuc>,
    grouped_ndcg: Option<std::collections::BTreeMap<usize, f64>>,
}

#[derive(Deserialize)]
struct BestF1 {
    threshold: f64,
    f1: f64,
    precision: f64,
    recall: f64,
}

#[derive(Deserialize)]
struct Bin {
    lowest: f64,
    highest: f64,
    rows: u64,
    weight: f64,
    mean_probability: f64,
    ctr: f64,
    ctr_low: Option<f64>,
    ctr_high: Option<f64>,
}

#[derive(Deserialize)]
struct GroupedAuc {
    auc: f64,
    groups_used: u64,
    groups_skipped: u64,
    share_skipped: f64,
}

#[test]
fn metrics_agree_with_scikit_learn() {
    let golden: Golden =
        serde_json::from_str(include_str!("metrics.json")).expect("metrics.json is what the script wrote");
    assert_eq!(golden.cases.len(), 14);
    for case in &golden.cases {
        let evaluation = evaluate(&case.labels, &case.probabilities, case.weights.as_deref(), case.groups.as_deref())
            .expect("every case has rows");
        check_numbers(case, &evaluation);
        check_reliability(case, &evaluation);
        check_curves_and_thresholds(case, &evaluation);
        check_groups(case, &evaluation);
    }
}

fn check_numbers(case: &Case, ours: &Evaluation) {
    let expected = &case.expected;
    close(case, "ctr", ours.ctr, expected.ctr);
    close(case, "mean_probability", ours.mean_probability, expected.mean_probability);
    close(case, "log_loss", ours.log_loss, expected.log_loss);
    close_or_none(case, "normalized_entropy", ours.normalized_entropy, expected.normalized_entropy);
    close_or_none(case, "auc", ours.auc, expected.auc);
    close_or_none(case, "pr_auc", ours.pr_auc, expected.pr_auc);
    close(case, "brier", ours.brier, expected.brier);
    close_or_none(case, "pcoc", ours.pcoc, expected.pcoc);
    close(case, "ece", ours.ece, expected.ece);
    assert_eq!(ours.rows, case.labels.len() as u64, "{}", case.name);
}

fn check_reliability(case: &Case, ours: &Evaluation) {
    let expected = &case.expected.reliability;
    assert_eq!(ours.reliability.len(), expected.len(), "{}: bins", case.name);
    for (ours, expected) in ours.reliability.iter().zip(expected) {
        assert_eq!(
            (ours.lowest, ours.highest, ours.rows),
            (expected.lowest, expected.highest, expected.rows),
            "{}: members of a bin",
            case.name
        );
        close(case, "bin weight", ours.weight, expected.weight);
        close(case, "bin mean", ours.mean_probability, expected.mean_probability);
        close(case, "bin ctr", ours.ctr, expected.ctr);
        if case.weights.is_none() {
            close_or_none(case, "bin low", Some(ours.ctr_low), expected.ctr_low);
            close_or_none(case, "bin high", Some(ours.ctr_high), expected.ctr_high);
        }
    }
}

fn check_curves_and_thresholds(case: &Case, ours: &Evaluation) {
    let predictions = Predictions::new(&case.labels, &case.probabilities, case.weights.as_deref());
    let expected = &case.expected;
    if let Some(roc) = &expected.roc {
        let points = Ranking::new(&predictions).roc(usize::MAX);
        assert_eq!(points.len(), roc.len(), "{}: ROC points", case.name);
        for (point, expected) in points.iter().zip(roc) {
            close(case, "false positives", point.false_positive_rate, expected.0);
            close(case, "true positives", point.true_positive_rate, expected.1);
        }
    }
    let at_ctr = thresholds::f1_at(&predictions, expected.ctr).map(|f1| f1.f1);
    close_or_none(case, "f1_at_ctr", at_ctr, expected.f1_at_ctr);
    assert_eq!(ours.best_f1.is_some(), expected.best_f1.is_some(), "{}", case.name);
    if let (Some(ours), Some(expected)) = (ours.best_f1, &expected.best_f1) {
        assert_eq!(ours.threshold, expected.threshold, "{}: threshold", case.name);
        close(case, "best f1", ours.f1, expected.f1);
        close(case, "precision", ours.precision, expected.precision);
        close(case, "recall", ours.recall, expected.recall);
    }
}

fn check_groups(case: &Case, ours: &Evaluation) {
    let Some(groups) = &case.groups else {
        assert_eq!((ours.grouped_auc, ours.grouped_ndcg), (None, None));
        return;
    };
    let (ours_auc, expected) =
        (ours.grouped_auc.expect("groups were given"), case.expected.grouped_auc.as_ref().expect("groups were given"));
    close_or_none(case, "grouped auc", ours_auc.auc, Some(expected.auc));
    close(case, "share skipped", ours_auc.share_skipped, expected.share_skipped);
    assert_eq!(
        (ours_auc.groups_used, ours_auc.groups_skipped),
        (expected.groups_used, expected.groups_skipped),
        "{}",
        case.name
    );
    let predictions = Predictions::new(&case.labels, &case.probabilities, case.weights.as_deref());
    let ranking = GroupedRanking::new(&predictions, groups);
    let depths = case.expected.grouped_ndcg.as_ref().expect("groups were given");
    assert_eq!(depths.len(), 3, "{}", case.name);
    for (&k, &expected) in depths {
        close_or_none(case, "ndcg", ranking.ndcg(k).ndcg, Some(expected));
    }
}

fn close(case: &Case, what: &str, ours: f64, expected: f64) {
    assert!((ours - expected).abs() <= TOLERANCE, "{}: {what}: ours {ours}, expected {expected}", case.name);
}

fn close_or_none(case: &Case, what: &str, ours: Option<f64>, expected: Option<f64>) {
    match (ours, expected) {
        (Some(ours), Some(expected)) => close(case, what, ours, expected),
        _ => assert_eq!(ours, expected, "{}: {what}", case.name),
    }
}
