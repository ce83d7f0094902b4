//! The runs of one model → its line of the leaderboard.

use serde::{Deserialize, Serialize};

use super::LoadedRun;
use super::verdict::Pair;
use crate::learn::experiment::kind::Kind;
use crate::learn::experiment::record::RunRecord;
use crate::learn::experiment::rules::Limits;

/// One number over seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (n − 1); `None` with one seed.
    pub sd: Option<f64>,
    /// One value for each seed.
    pub values: Vec<f64>,
}

/// One model of the leaderboard. Metrics are those of the test rows, one value a seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Name, unique in the comparison.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its seeds.
    pub seeds: Vec<u64>,
    /// The grid it was chosen from.
    pub grid: Option<GridSummary>,
    /// Log loss, nats.
    pub log_loss: Spread,
    /// Log loss above that of the true probabilities, nats.
    pub excess_log_loss: Option<Spread>,
    /// Log loss over the entropy of the base rate.
    pub normalized_entropy: Option<Spread>,
    /// Area under the ROC curve.
    pub auc: Option<Spread>,
    /// Area under the precision–recall curve.
    pub pr_auc: Option<Spread>,
    /// Predicted clicks over clicks.
    pub pcoc: Option<Spread>,
    /// The same before calibration.
    pub pcoc_before: Option<Spread>,
    /// Expected calibration error.
    pub ece: Spread,
    /// Mean squared error.
    pub brier: Spread,
    /// AUC inside groups.
    pub grouped_auc: Option<Spread>,
    /// NDCG inside groups.
    pub grouped_ndcg: Option<Spread>,
    /// Log loss on the validation rows, nats.
    pub valid_log_loss: Option<Spread>,
    /// Rows learned a second.
    pub rows_per_second: Spread,
    /// Seconds of learning.
    pub training_seconds: Spread,
    /// Bytes of the bundle; `None` for a reference.
    pub bundle_bytes: Option<u64>,
    /// 99th percentile in microseconds for one row, the median over seeds.
    pub p99_micros_1: f64,
    /// 99th percentile in microseconds for 100 rows, the median over seeds.
    pub p99_micros_100: f64,
    /// Median in microseconds for 100 rows, the median over seeds.
    pub p50_micros_100: f64,
    /// Limits of the recipe that it breaks, in words.
    pub broken_limits: Vec<String>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Against the model with the least log loss; `None` for that one itself, or with too few rows.
    pub versus_best: Option<Pair>,
    /// Against the base rate; `None` for the base rate itself, or without one.
    pub versus_base: Option<Pair>,
    /// Its runs.
    #[serde(skip)]
    pub runs: Vec<LoadedRun>,
}

/// A grid that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridSummary {
    /// Points tried: values, and mean log loss in nats on the validation rows over `seeds`.
    pub tried: Vec<(String, f64)>,
    /// Seeds of the trials.
    pub seeds: usize,
    /// Values chosen.
    pub chosen: String,
}

impl Spread {
    /// Mean and standard deviation of one value a seed.
    ///
    /// # Panics
    /// Without values.
    pub fn of(values: Vec<f64>) -> Spread {
        assert!(!values.is_empty(), "a model has at least one run");
        let rows = values.len() as f64;
        let mean = values.iter().sum::<f64>() / rows;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (values.len() > 1).then(|| (squares / (rows - 1.0)).sqrt());
        Spread { mean, sd, values }
    }

    /// Squared standard error of the mean; 0 with one seed, where it is not known.
    pub fn squared_error(&self) -> f64 {
        self.sd.map_or(0.0, |sd| sd * sd / self.values.len() as f64)
    }
}

impl ModelSummary {
    /// Summary of the runs of one model, still without pairs.
    pub(super) fn new(name: String, runs: Vec<LoadedRun>, grid: Option<GridSummary>, limits: &Limits) -> Self {
        let records = || runs.iter().map(|run| &run.record);
        let spread = |value: &dyn Fn(&RunRecord) -> f64| Spread::of(records().map(value).collect());
        let optional = |value: &dyn Fn(&RunRecord) -> Option<f64>| {
            records().map(value).collect::<Option<Vec<f64>>>().map(Spread::of)
        };
        let mut notes: Vec<String> = records().flat_map(|record| record.notes.clone()).collect();
        notes.dedup();
        notes.truncate(1);
        let mut summary = ModelSummary {
            kind: runs[0].record.kind,
            seeds: records().map(|record| record.seed).collect(),
            grid,
            log_loss: spread(&|run| run.test.log_loss),
            excess_log_loss: optional(&|run| run.truth_log_loss.map(|truth| run.test.log_loss - truth)),
            normalized_entropy: optional(&|run| run.test.normalized_entropy),
            auc: optional(&|run| run.test.auc),
            pr_auc: optional(&|run| run.test.pr_auc),
            pcoc: optional(&|run| run.test.pcoc),
            pcoc_before: optional(&|run| run.calibration.test_pcoc_before),
            ece: spread(&|run| run.test.ece),
            brier: spread(&|run| run.test.brier),
            grouped_auc: optional(&|run| run.test.grouped_auc.and_then(|grouped| grouped.auc)),
            grouped_ndcg: optional(&|run| run.test.grouped_ndcg.and_then(|grouped| grouped.ndcg)),
            valid_log_loss: optional(&|run| run.valid.as_ref().map(|valid| valid.log_loss)),
            rows_per_second: spread(&|run| run.training.rows_per_second),
            training_seconds: spread(&|run| run.training.seconds),
            bundle_bytes: records().filter_map(|record| record.bundle_bytes).max(),
            p99_micros_1: median(records().map(|record| record.scoring.one.p99_micros).collect()),
            p99_micros_100: median(records().map(|record| record.scoring.hundred.p99_micros).collect()),
            p50_micros_100: median(records().map(|record| record.scoring.hundred.p50_micros).collect()),
            broken_limits: Vec::new(),
            notes,
            versus_best: None,
            versus_base: None,
            runs,
            name,
        };
        summary.broken_limits = summary.broken(limits);
        summary
    }

    /// Whether it can be published.
    pub fn publishable(&self) -> bool {
        self.kind.publishable()
    }

    fn broken(&self, limits: &Limits) -> Vec<String> {
        let mut broken = Vec::new();
        let mut check = |limit: Option<f64>, value: Option<f64>, what: &str, unit: &str, digits: usize| {
            if let (Some(limit), Some(value)) = (limit, value)
                && value > limit
            {
                broken.push(format!("{what} {value:.digits$}{unit}, at most {limit}{unit} allowed"));
            }
        };
        check(limits.p99_micros_1, Some(self.p99_micros_1), "p99 for one row", " µs", 1);
        check(limits.p99_micros_100, Some(self.p99_micros_100), "p99 for 100 rows", " µs", 0);
        check(limits.model_mb, self.bundle_bytes.map(|bytes| bytes as f64 / 1e6), "size", " MB", 1);
        let off = self.pcoc.as_ref().map(|pcoc| (pcoc.mean - 1.0).abs());
        check(limits.pcoc_within, off, "PCOC away from 1 by", "", 3);
        broken
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len().is_multiple_of(2) {
        true => 0.5 * (values[middle - 1] + values[middle]),
        false => values[middle],
    }
}
