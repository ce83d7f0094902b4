//! The runs of one model → its line of the leaderboard.

use serde::{Deserialize, Serialize};

use super::LoadedRun;
use super::verdict::Pair;
use crate::learn::experiment::kind::Kind;
use crate::learn::experiment::record::RunRecord;
use crate::learn::experiment::rules::Limits;
use crate::metrics::calibration::ReliabilityBin;
use crate::metrics::delong::AucDifference;
use crate::metrics::distributions::normal_quantile;
use crate::metrics::resampled::Metric;
use crate::metrics::variance::{Components, components};
use crate::model::bundle::ModelKind;

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

/// One model of the leaderboard. Metrics are those of the test rows, one value a seed; over several folds, their mean weighted
/// by test rows.
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
    /// What of the variance of a run's log loss comes from its seed and what from its fold.
    pub components: Option<Components>,
    /// The same of the difference from the model that leads, run by run; `None` for that one itself, or where seeds differ.
    pub components_minus_best: Option<Components>,
    /// Reliability on the test rows before calibration, first seed; empty where runs do not keep it.
    pub reliability_before: Vec<ReliabilityBin>,
    /// Limits of the recipe that it breaks, in words.
    pub broken_limits: Vec<String>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Against the model that leads; `None` for that one itself, or with too few rows.
    pub versus_best: Option<Pair>,
    /// Against the base rate; `None` for the base rate itself, or without one.
    pub versus_base: Option<Pair>,
    /// Each metric minus that of the model that leads; empty for that one itself, or with too few rows.
    pub metrics_minus_best: Vec<MetricDifference>,
    /// Its runs.
    #[serde(skip)]
    pub runs: Vec<LoadedRun>,
}

/// One metric of one model minus that of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricDifference {
    /// Which metric.
    pub metric: Metric,
    /// The difference on the test rows.
    pub estimate: f64,
    /// Lower end of its interval, which holds together with those of all pairs of models.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Adjusted for all pairs of models.
    pub p_value: f64,
    /// The difference of AUCs by DeLong's method: for one pair, rows taken as independent, seeds as given.
    pub delong: Option<AucDifference>,
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
}

impl ModelSummary {
    /// Summary of the runs of one model, still without pairs.
    pub(super) fn new(name: String, runs: Vec<LoadedRun>, grid: Option<GridSummary>, limits: &Limits) -> Self {
        let records = || runs.iter().map(|run| &run.record);
        let optional = |value: &dyn Fn(&RunRecord) -> Option<f64>| {
            let of_seed = |folds: &[LoadedRun]| {
                let rows = |run: &LoadedRun| run.record.data.test.rows as f64;
                let all: f64 = folds.iter().map(rows).sum();
                folds.iter().map(|run| Some(rows(run) / all * value(&run.record)?)).sum::<Option<f64>>()
            };
            by_seed(&runs).map(of_seed).collect::<Option<Vec<f64>>>().map(Spread::of)
        };
        let spread = |value: &dyn Fn(&RunRecord) -> f64| {
            optional(&|run| Some(value(run))).expect("a value that every run has, each seed has")
        };
        let mut notes: Vec<String> = records().flat_map(|record| record.notes.clone()).collect();
        notes.dedup();
        notes.truncate(1);
        let mut summary = ModelSummary {
            kind: runs[0].record.kind,
            seeds: by_seed(&runs).map(|folds| folds[0].record.seed).collect(),
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
            components: components(&by_seed(&runs).map(losses).collect::<Vec<_>>()),
            components_minus_best: None,
            reliability_before: Vec::new(),
            broken_limits: Vec::new(),
            notes,
            versus_best: None,
            versus_base: None,
            metrics_minus_best: Vec::new(),
            runs,
            name,
        };
        summary.broken_limits = summary.broken(limits);
        summary
    }

    /// The runs of each seed, by fold.
    pub fn runs_by_seed(&self) -> impl Iterator<Item = &[LoadedRun]> {
        by_seed(&self.runs)
    }

    /// What seeds and folds add to the difference from `best`; `None` where the two do not have the same seeds.
    pub(super) fn components_minus(&self, best: &ModelSummary) -> Option<Components> {
        if self.seeds != best.seeds {
            return None;
        }
        let pairs = self.runs_by_seed().zip(best.runs_by_seed());
        let differences = pairs.map(|(own, best)| losses(own).iter().zip(losses(best)).map(|(a, b)| a - b).collect());
        components(&differences.collect::<Vec<Vec<f64>>>())
    }

    /// Whether it can be published.
    pub fn publishable(&self) -> bool {
        self.kind.publishable()
    }

    /// Whether its seeds matter but only one was run.
    pub fn seed_noise_unknown(&self) -> bool {
        self.seeds.len() == 1 && self.kind != Kind::Own(ModelKind::BaseRate)
    }

    /// What orders models, least first: the mean of the metric over seeds, or how far it is from the best there can be.
    /// Infinite where the metric does not exist.
    pub(crate) fn distance_from_best(&self, metric: Metric) -> f64 {
        let mean = |spread: &Option<Spread>| spread.as_ref().map_or(f64::INFINITY, |spread| spread.mean);
        match metric {
            Metric::LogLoss => self.log_loss.mean,
            Metric::NormalizedEntropy => mean(&self.normalized_entropy),
            Metric::Auc => self.auc.as_ref().map_or(f64::INFINITY, |auc| 1.0 - auc.mean),
            Metric::Pcoc => (mean(&self.pcoc) - 1.0).abs(),
        }
    }

    /// Checks the limit on slices by the one that is `farthest` from 1, and how far it is at least.
    pub(super) fn check_slices(&mut self, limits: &Limits, farthest: Option<(f64, String)>) {
        if let (Some(limit), Some((off, slice))) = (limits.slice_pcoc_within, farthest)
            && off > limit
        {
            self.broken_limits.push(format!("{slice}: PCOC away from 1 by at least {off:.3}, at most {limit} allowed"));
        }
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
        let bands = self.runs.iter().flat_map(|run| surely_off(&run.record.test.reliability));
        let farthest = bands.max_by(|a, b| a.1.total_cmp(&b.1));
        let what = farthest.map_or(String::new(), |(bin, _)| {
            format!("scores {:.4} to {:.4}: PCOC away from 1 by at least", bin.lowest, bin.highest)
        });
        check(limits.band_pcoc_within, farthest.map(|(_, off)| off), &what, "", 3);
        broken
    }
}

/// The runs of each seed, by fold.
fn by_seed(runs: &[LoadedRun]) -> impl Iterator<Item = &[LoadedRun]> {
    runs.chunk_by(|a, b| a.record.seed == b.record.seed)
}

/// Test log loss of each run.
fn losses(runs: &[LoadedRun]) -> Vec<f64> {
    runs.iter().map(|run| run.record.test.log_loss).collect()
}

/// Each band of scores, and how far its PCOC is from 1 at least, by intervals that hold for all bands together (Bonferroni).
fn surely_off(bands: &[ReliabilityBin]) -> impl Iterator<Item = (&ReliabilityBin, f64)> {
    let one = normal_quantile(0.975);
    let wider = normal_quantile(1.0 - 0.025 / bands.len().max(1) as f64) / one;
    bands.iter().map(move |band| {
        let low = (band.ctr - wider * (band.ctr - band.ctr_low)).max(0.0);
        let high = band.ctr + wider * (band.ctr_high - band.ctr);
        // PCOC lies between the promise over the highest rate and the promise over the lowest one.
        let above = if high > 0.0 { band.mean_probability / high - 1.0 } else { 0.0 };
        let below = if low > 0.0 { 1.0 - band.mean_probability / low } else { 0.0 };
        (band, above.max(below).max(0.0))
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len().is_multiple_of(2) {
        true => 0.5 * (values[middle - 1] + values[middle]),
        false => values[middle],
    }
}
