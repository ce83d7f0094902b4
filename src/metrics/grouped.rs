//! Predictions and group ids → ranking quality inside each request or user.
//!
//! A model can win the overall AUC by knowing which users click, and still order the ads of one request badly. These
//! metrics see only the order inside a group. A group of one class reads the same under every model, so it is left out and
//! its share is reported.

use serde::{Deserialize, Serialize};

use super::ranking::{auc, highest_first};
use super::{Prediction, Predictions};

/// A prediction set sorted by group and, inside a group, by probability, highest first.
#[derive(Debug, Clone)]
pub struct GroupedRanking {
    rows: Vec<Prediction>,
    /// Where each group ends in `rows`.
    ends: Vec<usize>,
}

/// AUC inside each group, averaged with the impressions (the weight) of the group (Zhu et al. 2017, "Optimized Cost per
/// Click in Taobao Display Advertising", eq. 16).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GroupedAuc {
    /// The average. `None` when every group was skipped.
    pub auc: Option<f64>,
    /// Groups of both classes.
    pub groups_used: u64,
    /// Groups of one class.
    pub groups_skipped: u64,
    /// Share of all impressions (of all weight) that lies in skipped groups.
    pub share_skipped: f64,
}

/// NDCG@k inside each group, averaged with one vote a group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GroupedNdcg {
    /// Depth: ranks after this one gain nothing.
    pub k: usize,
    /// The average. `None` when every group was skipped.
    pub ndcg: Option<f64>,
    /// Groups of both classes.
    pub groups_used: u64,
    /// Groups of one class.
    pub groups_skipped: u64,
}

impl GroupedRanking {
    /// Sorts a copy of the rows that weigh something. Rows of a group need not be neighbors.
    ///
    /// # Panics
    /// When there is not one group for each row.
    pub fn new(predictions: &Predictions, groups: &[u64]) -> Self {
        assert_eq!(predictions.len(), groups.len(), "one group for each label");
        let mut keyed: Vec<(u64, Prediction)> = Vec::with_capacity(groups.len());
        keyed.extend(groups.iter().copied().zip(predictions.iter()).filter(|(_, row)| row.weight > 0.0));
        keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| highest_first(&a.1, &b.1)));
        let mut ends = Vec::new();
        for row in 1..=keyed.len() {
            if row == keyed.len() || keyed[row].0 != keyed[row - 1].0 {
                ends.push(row);
            }
        }
        Self { rows: keyed.into_iter().map(|(_, row)| row).collect(), ends }
    }

    /// Grouped AUC (GAUC).
    pub fn auc(&self) -> GroupedAuc {
        let (mut sum, mut weight_used, mut weight_skipped) = (0.0, 0.0, 0.0);
        let (mut groups_used, mut groups_skipped) = (0, 0);
        for group in self.groups() {
            let weight: f64 = group.iter().map(|row| f64::from(row.weight)).sum();
            if let Some(auc) = auc(group) {
                sum += weight * auc;
                weight_used += weight;
                groups_used += 1;
            } else {
                weight_skipped += weight;
                groups_skipped += 1;
            }
        }
        GroupedAuc {
            auc: (groups_used > 0).then(|| sum / weight_used),
            groups_used,
            groups_skipped,
            share_skipped: if groups_skipped > 0 { weight_skipped / (weight_used + weight_skipped) } else { 0.0 },
        }
    }

    /// NDCG@`k` (Järvelin and Kekäläinen 2002): a click at rank `r` (from 1) gains `1 / log2(r + 1)`, divided by what the
    /// best order would gain. Tied rows share the mean of their gains (McSherry and Najork 2008), as in scikit-learn's
    /// `ndcg_score`. Row weights do not enter: a rank is a rank.
    ///
    /// # Panics
    /// When `k` is zero.
    pub fn ndcg(&self, k: usize) -> GroupedNdcg {
        assert!(k > 0, "NDCG needs a depth of at least 1");
        let deepest = self.groups().map(<[Prediction]>::len).max().unwrap_or(0);
        let gains = cumulative_gains(k.min(deepest));
        let gain_to = |rank: usize| gains[rank.min(gains.len() - 1)];
        let mut sum = 0.0;
        let (mut groups_used, mut groups_skipped) = (0, 0);
        for group in self.groups() {
            let clicks = group.iter().filter(|row| row.click).count();
            if clicks == 0 || clicks == group.len() {
                groups_skipped += 1;
                continue;
            }
            let (mut gained, mut start) = (0.0, 0);
            for tied in group.chunk_by(|a, b| a.probability == b.probability) {
                let end = start + tied.len();
                let clicked = tied.iter().filter(|row| row.click).count() as f64;
                gained += clicked / tied.len() as f64 * (gain_to(end) - gain_to(start));
                start = end;
                if start >= k {
                    break;
                }
            }
            sum += gained / gain_to(clicks);
            groups_used += 1;
        }
        GroupedNdcg { k, ndcg: (groups_used > 0).then(|| sum / groups_used as f64), groups_used, groups_skipped }
    }

    fn groups(&self) -> impl Iterator<Item = &[Prediction]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let group = &self.rows[start..end];
            start = end;
            group
        })
    }
}

/// `gains[r]` is what clicks at ranks 1 to `r` gain together; `ranks + 1` values.
fn cumulative_gains(ranks: usize) -> Vec<f64> {
    let mut gains = Vec::with_capacity(ranks + 1);
    let mut sum = 0.0;
    gains.push(sum);
    for rank in 1..=ranks {
        sum += 1.0 / (rank as f64 + 1.0).log2();
        gains.push(sum);
    }
    gains
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ranking::Ranking;
    use proptest::prelude::*;

    fn grouped(labels: &[u8], probabilities: &[f64], groups: &[u64]) -> GroupedRanking {
        GroupedRanking::new(&Predictions::new(labels, probabilities, None), groups)
    }

    #[test]
    fn groups_of_one_class_are_skipped_and_counted() {
        let ranking = grouped(&[1, 0, 0, 1, 1, 0], &[0.2, 0.9, 0.1, 0.5, 0.6, 0.3], &[7, 3, 7, 3, 5, 9]);
        assert_eq!(
            ranking.auc(),
            GroupedAuc { auc: Some(0.5), groups_used: 2, groups_skipped: 2, share_skipped: 1.0 / 3.0 }
        );
        let ndcg = ranking.ndcg(10);
        assert_eq!((ndcg.groups_used, ndcg.groups_skipped), (2, 2));
        // One group in the best order, one with its click at rank 2 of 2.
        assert!((ndcg.ndcg.unwrap() - (1.0 + 1.0 / 3f64.log2()) / 2.0).abs() < 1e-15);
        assert_eq!(ranking.ndcg(1).ndcg, Some(0.5));
    }

    #[test]
    fn no_rows_are_no_groups() {
        let ranking = grouped(&[], &[], &[]);
        assert_eq!(ranking.auc().auc, None);
        assert_eq!(ranking.auc().share_skipped, 0.0);
        assert_eq!(ranking.ndcg(3).ndcg, None);
    }

    #[test]
    fn an_average_of_groups_is_by_impressions() {
        // Group 1: AUC 1 over 4 rows; group 2: AUC 0 over 2 rows.
        let ranking = grouped(&[1, 0, 0, 0, 1, 0], &[0.9, 0.1, 0.1, 0.2, 0.1, 0.2], &[1, 1, 1, 1, 2, 2]);
        assert!((ranking.auc().auc.unwrap() - 4.0 / 6.0).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn one_group_is_the_overall_auc(
            rows in prop::collection::vec((0u8..2, (0u32..20).prop_map(|p| f64::from(p) / 20.0)), 1..80)
        ) {
            let (labels, probabilities): (Vec<u8>, Vec<f64>) = rows.into_iter().unzip();
            let overall = Ranking::new(&Predictions::new(&labels, &probabilities, None)).auc();
            let inside = grouped(&labels, &probabilities, &vec![4; labels.len()]);
            match (overall, inside.auc().auc) {
                (Some(overall), Some(inside)) => prop_assert!((overall - inside).abs() < 1e-12),
                (overall, inside) => prop_assert_eq!(overall, inside),
            }
            for k in [1, 5, 1_000] {
                if let Some(ndcg) = inside.ndcg(k).ndcg {
                    prop_assert!((0.0..=1.0 + 1e-12).contains(&ndcg));
                }
            }
        }
    }
}
