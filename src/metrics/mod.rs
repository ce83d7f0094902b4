//! Predictions → verdicts: how good a set of click probabilities is, in numbers two people can agree on.
//!
//! ```text
//! labels, probabilities, weights ─▶ Predictions ─┬─▶ losses       log loss, normalized entropy, Brier
//!                                                ├─▶ Ranking ─┬─▶ ranking      AUC, PR-AUC, ROC points
//!                                                │            ├─▶ thresholds   best F1
//!                                                │            └─▶ calibration  reliability table, ECE
//!                                                ├─▶ calibration  PCOC
//!                                                └─▶ grouped      grouped AUC, NDCG@k by request or user
//! runs of models ─▶ resampled ─▶ bootstrap ─▶ differences   intervals of all pairs that hold together
//!                └▶ delong                                   AUCs and their covariance
//! seeds × folds  ─▶ variance                                 components
//! slices of rows ─▶ slices ─▶ shrinkage                      metrics and differences by slice
//! any stream of numbers ─▶ histogram ─▶ quantiles, stability (PSI)
//! ```
//!
//! [`evaluate`] gathers all of it for one prediction set; the parts are public for everything else. Rows are sorted once
//! and the order is shared. A metric that does not exist on its input (no rows, one class) is `None`, never NaN, so that
//! records stay valid JSON and nobody averages nonsense. Everything is pure, single-threaded and deterministic.

pub mod bootstrap;
pub mod calibration;
pub mod delong;
pub mod differences;
pub mod distributions;
pub mod grouped;
pub mod histogram;
pub mod losses;
mod predictions;
pub mod ranking;
pub mod resampled;
pub mod shrinkage;
pub mod slices;
pub mod stability;
pub mod thresholds;
pub mod variance;

use serde::{Deserialize, Serialize};

use calibration::ReliabilityBin;
use grouped::{GroupedAuc, GroupedNdcg, GroupedRanking};
pub use predictions::{Prediction, Predictions};
use ranking::{Ranking, RocPoint};
use thresholds::F1;

/// Equal-mass bins of the reliability table and of ECE in an [`Evaluation`].
pub const CALIBRATION_BINS: usize = 20;
/// Most points kept of the ROC curve in an [`Evaluation`]; enough for a picture.
pub const ROC_POINTS: usize = 200;
/// Depth `k` of NDCG@k in an [`Evaluation`].
pub const NDCG_DEPTH: usize = 10;

/// Every metric of one prediction set. Weighted throughout when weights were given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows, unweighted.
    pub rows: u64,
    /// Clicked rows, unweighted.
    pub clicks: u64,
    /// Click-through rate, clicked weight over total weight.
    pub ctr: f64,
    /// Mean predicted probability.
    pub mean_probability: f64,
    /// Mean log loss in nats.
    pub log_loss: f64,
    /// Log loss over the entropy of the base rate; below 1 beats the constant. `None` with one class.
    pub normalized_entropy: Option<f64>,
    /// Exact area under the ROC curve, a tie counted half. `None` with one class.
    pub auc: Option<f64>,
    /// Area under the precision–recall curve (average precision). `None` without a click.
    pub pr_auc: Option<f64>,
    /// Best F1 over all thresholds and where it is. `None` without a click.
    pub best_f1: Option<F1>,
    /// Mean squared error of the probability.
    pub brier: f64,
    /// Mean probability over CTR; 1 is calibrated on average, above 1 overbids. `None` without a click.
    pub pcoc: Option<f64>,
    /// Expected calibration error over [`CALIBRATION_BINS`] equal-mass bins.
    pub ece: f64,
    /// AUC inside each group, averaged by impressions. `None` when no groups were given.
    pub grouped_auc: Option<GroupedAuc>,
    /// NDCG at [`NDCG_DEPTH`] inside each group, averaged by groups. `None` when no groups were given.
    pub grouped_ndcg: Option<GroupedNdcg>,
    /// Reliability table, lowest probabilities first.
    pub reliability: Vec<ReliabilityBin>,
    /// At most [`ROC_POINTS`] points from (0,0) to (1,1). Empty with one class.
    pub roc: Vec<RocPoint>,
}

/// All metrics of one prediction set, in `O(n log n)`; 16 bytes a row of scratch, 24 more when there are `groups`.
///
/// `labels` are 0 or 1, `probabilities` in \[0,1\], `weights` at least 0, `groups` any id of a request or a user; all of
/// one length. `None` when there is nothing to judge: no rows, or a total weight of zero.
///
/// # Panics
/// When the slices break these rules ([`Predictions::new`]); readers of files check before they call.
pub fn evaluate(
    labels: &[u8],
    probabilities: &[f64],
    weights: Option<&[f32]>,
    groups: Option<&[u64]>,
) -> Option<Evaluation> {
    let predictions = Predictions::new(labels, probabilities, weights);
    let totals = predictions.totals()?;
    let log_loss = losses::log_loss(&predictions)?;
    let ranking = Ranking::new(&predictions);
    let reliability = calibration::reliability(&ranking, CALIBRATION_BINS);
    let grouped = groups.map(|groups| GroupedRanking::new(&predictions, groups));
    Some(Evaluation {
        rows: totals.rows,
        clicks: totals.clicks,
        ctr: totals.ctr(),
        mean_probability: totals.mean_probability(),
        log_loss,
        normalized_entropy: losses::normalized_entropy(log_loss, totals.ctr()),
        auc: ranking.auc(),
        pr_auc: ranking.average_precision(),
        best_f1: thresholds::best_f1(&ranking),
        brier: losses::brier(&predictions)?,
        pcoc: totals.pcoc(),
        ece: calibration::expected_calibration_error(&reliability)?,
        grouped_auc: grouped.as_ref().map(GroupedRanking::auc),
        grouped_ndcg: grouped.as_ref().map(|ranking| ranking.ndcg(NDCG_DEPTH)),
        reliability,
        roc: ranking.roc(ROC_POINTS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_judge_is_none() {
        assert_eq!(evaluate(&[], &[], None, None), None);
        assert_eq!(evaluate(&[1, 0], &[0.5, 0.5], Some(&[0.0, 0.0]), None), None);
    }

    #[test]
    fn one_class_keeps_the_losses_and_drops_the_rankings() {
        let evaluation = evaluate(&[0, 0, 0], &[0.1, 0.2, 0.3], None, Some(&[1, 1, 2])).unwrap();
        assert_eq!((evaluation.rows, evaluation.clicks), (3, 0));
        assert!(evaluation.log_loss > 0.0 && evaluation.brier > 0.0 && evaluation.ece > 0.0);
        assert_eq!((evaluation.auc, evaluation.pr_auc, evaluation.pcoc), (None, None, None));
        assert_eq!(evaluation.normalized_entropy, None);
        assert_eq!(evaluation.best_f1, None);
        assert!(evaluation.roc.is_empty());
        let grouped = evaluation.grouped_auc.unwrap();
        assert_eq!((grouped.auc, grouped.groups_skipped, grouped.share_skipped), (None, 2, 1.0));
    }

    #[test]
    fn weight_two_is_the_row_twice() {
        let labels = [0, 1, 0, 1, 1, 0];
        let probabilities = [0.1, 0.7, 0.7, 0.4, 0.9, 0.2];
        let groups = [1, 1, 1, 2, 2, 2];
        let weighted = evaluate(&labels, &probabilities, Some(&[1.0, 2.0, 1.0, 1.0, 2.0, 1.0]), Some(&groups)).unwrap();
        let repeated = evaluate(
            &[0, 1, 1, 0, 1, 1, 1, 0],
            &[0.1, 0.7, 0.7, 0.7, 0.4, 0.9, 0.9, 0.2],
            None,
            Some(&[1, 1, 1, 1, 2, 2, 2, 2]),
        )
        .unwrap();
        assert_eq!(weighted.auc, repeated.auc);
        assert_eq!(weighted.best_f1, repeated.best_f1);
        assert_eq!(weighted.grouped_auc.unwrap().auc, repeated.grouped_auc.unwrap().auc);
        for (ours, theirs) in [
            (weighted.log_loss, repeated.log_loss),
            (weighted.brier, repeated.brier),
            (weighted.ctr, repeated.ctr),
            (weighted.pcoc.unwrap(), repeated.pcoc.unwrap()),
            (weighted.pr_auc.unwrap(), repeated.pr_auc.unwrap()),
        ] {
            assert!((ours - theirs).abs() < 1e-12, "{ours} {theirs}");
        }
    }

    #[test]
    fn an_evaluation_survives_json() {
        let evaluation = evaluate(&[0, 1, 0], &[0.1, 0.7, 0.3], None, Some(&[1, 1, 2])).expect("three rows");
        let text = serde_json::to_string(&evaluation).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), evaluation);
    }
}
