//! Predictions of test rows with times → loss over time, and how it grows with the age of the model.
//!
//! Test rows are cut into buckets of time, and each bucket's loss is that of a model as old as the bucket is away from the last
//! training row. Some hours are harder than others whatever the model, so beside it stands the loss of a constant: the click
//! rate of the training rows. The trend is a line by least squares through the losses of all rows; of the loss itself, and of the
//! loss above that constant's, which drops what is hard for both. Intervals resample blocks of rows.
//!
//! Rows without times have no age; their buckets count rows, and there is no trend.

use serde::{Deserialize, Serialize};

use super::rows::Judge;
use crate::learn::settings::Evidence;
use crate::metrics::bootstrap::Estimate;
use crate::metrics::slices::{Ratio, SliceCells};

/// Most buckets.
const BUCKETS: usize = 48;
/// Mean rows of a bucket, at least.
const BUCKET_ROWS: usize = 500;
/// Widths of buckets that people read easily, in seconds.
const WIDTHS: [i64; 14] =
    [60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_419_200, 31_536_000];
const DAY: f64 = 86_400.0;

/// Loss of all models over the test rows' time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Age {
    /// Time of the last training row, where rows have a time and training rows are known.
    pub trained_until: Option<i64>,
    /// Width of a bucket in seconds; `None` where buckets count rows.
    pub bucket_seconds: Option<i64>,
    /// Buckets in time order.
    pub buckets: Vec<Bucket>,
    /// The models.
    pub models: Vec<ModelAge>,
}

/// Rows of one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Where it starts, seconds since 1970; rows before it where there is no time.
    pub from: i64,
    /// Its middle, hours after the last training row.
    pub age_hours: Option<f64>,
    /// Rows.
    pub rows: u64,
    /// Click-through rate.
    pub ctr: f64,
    /// Mean log loss of the constant, nats.
    pub constant_log_loss: Option<f64>,
}

/// One model over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAge {
    /// The model.
    pub model: String,
    /// Mean log loss in each bucket, nats.
    pub log_loss: Vec<Estimate>,
    /// Predicted clicks over clicks in each bucket; `None` without a click.
    pub pcoc: Vec<Option<Estimate>>,
    /// Log loss added by each day of age, nats.
    pub trend: Option<Estimate>,
    /// The same of the loss above the constant's, nats a day: what is left is the model's own aging.
    pub trend_above_constant: Option<Estimate>,
}

/// Loss over time of `models` (name, probabilities of all rows). `None` without rows. `evidence` is of the training rows, where they
/// are known.
pub(super) fn age(
    models: &[(&str, &[f64])],
    trained_until: Option<i64>,
    evidence: Option<Evidence>,
    judge: &Judge<'_>,
) -> Option<Age> {
    let (bucket_of, starts, width) = buckets(judge.targets.times.as_deref(), judge.targets.labels.len())?;
    let trained_until = trained_until.filter(|_| width.is_some());
    let cells = SliceCells::new(&bucket_of, starts.len(), &judge.blocks);
    let by_bucket = |probabilities: &[f64]| of_buckets(judge, &cells, probabilities);
    let constant = evidence.map(|of| of.clicks as f64 / of.rows as f64).map(|p| vec![p; bucket_of.len()]);
    let of_constant = constant.as_ref().map(|constant| by_bucket(constant));
    let constant_losses = constant.as_ref().map(|constant| judge.losses(constant));
    // Buckets whose rows weigh nothing are not there for any model.
    let shown = by_bucket(models.first()?.1);
    let buckets = shown.iter().enumerate().map(|(at, of)| {
        let from = starts[of.bucket];
        let middle = |until: i64| (from - until) as f64 + 0.5 * width.unwrap_or(0) as f64;
        Bucket {
            from,
            age_hours: trained_until.map(|until| middle(until) / 3_600.0),
            rows: of.rows,
            ctr: of.ctr.estimate,
            constant_log_loss: of_constant.as_ref().map(|constant| constant[at].log_loss.estimate),
        }
    });
    let estimate = |of: &Ratio| {
        let interval = of.interval(judge.bootstrap.confidence);
        Estimate { value: of.estimate, low: interval.map(|of| of.0), high: interval.map(|of| of.1) }
    };
    let times = judge.targets.times.as_ref();
    let since = trained_until.or_else(|| times?.iter().min().copied());
    let days: Option<Vec<f64>> =
        times.zip(since).map(|(times, since)| times.iter().map(|time| (time - since) as f64 / DAY).collect());
    let models = models.iter().map(|(name, probabilities)| {
        let of_buckets = by_bucket(probabilities);
        let losses = judge.losses(probabilities);
        let above = constant_losses
            .as_ref()
            .map(|constant| losses.iter().zip(constant).map(|(loss, constant)| loss - constant).collect::<Vec<f64>>());
        let trend = |losses: &[f64]| slope(judge, days.as_deref()?, losses);
        ModelAge {
            model: (*name).to_owned(),
            log_loss: of_buckets.iter().map(|of| estimate(&of.log_loss)).collect(),
            pcoc: of_buckets.iter().map(|of| of.pcoc.as_ref().map(estimate)).collect(),
            trend: trend(&losses),
            trend_above_constant: above.and_then(|above| trend(&above)),
        }
    });
    Some(Age { trained_until, bucket_seconds: width, models: models.collect(), buckets: buckets.collect() })
}

/// One model in one bucket.
struct OfBucket {
    bucket: usize,
    rows: u64,
    ctr: Ratio,
    log_loss: Ratio,
    pcoc: Option<Ratio>,
}

/// Metrics of one model in every bucket that holds weight.
fn of_buckets(judge: &Judge<'_>, cells: &SliceCells<'_>, probabilities: &[f64]) -> Vec<OfBucket> {
    let (predictions, losses) = (judge.predictions(probabilities), judge.losses(probabilities));
    let sums = cells.sums(|at| {
        let row = predictions.row(at);
        let (weight, click) = (f64::from(row.weight), f64::from(u8::from(row.click)));
        [weight, weight * losses[at], weight * row.probability, weight * click, 1.0]
    });
    let of = |bucket: usize| {
        let blocks = &sums[cells.of(bucket)];
        let ratio =
            |above: usize, below: usize| Ratio::of_blocks(blocks.iter().map(move |sums| (sums[above], sums[below])));
        let rows = blocks.iter().map(|sums| sums[4]).sum::<f64>() as u64;
        Some(OfBucket { bucket, rows, ctr: ratio(3, 0)?, log_loss: ratio(1, 0)?, pcoc: ratio(2, 3) })
    };
    (0..cells.slices()).filter_map(of).collect()
}

/// Loss added by a day: weighted least squares. `None` where all rows are of one time.
fn slope(judge: &Judge<'_>, days: &[f64], losses: &[f64]) -> Option<Estimate> {
    // Days are taken from their mean, so that squares keep their digits.
    let middle = days.iter().sum::<f64>() / days.len() as f64;
    let quantities = |row: usize| {
        let (w, x, y) = (judge.weight(row), days[row] - middle, losses[row]);
        [w, w * x, w * y, w * x * x, w * x * y]
    };
    judge.statistic(quantities, |[w, wx, wy, wxx, wxy]| {
        let below = w * wxx - wx * wx;
        (below > 1e-9 * w * w).then(|| (w * wxy - wx * wy) / below)
    })
}

/// The bucket of each row, where buckets start, and their width in seconds where rows have times. Empty buckets are dropped.
fn buckets(times: Option<&[i64]>, rows: usize) -> Option<(Vec<u8>, Vec<i64>, Option<i64>)> {
    if rows == 0 {
        return None;
    }
    let most = (rows / BUCKET_ROWS).clamp(1, BUCKETS);
    let Some(times) = times else {
        let of_row = (0..rows).map(|row| (row * most / rows) as u8).collect();
        return Some((of_row, (0..most).map(|bucket| (bucket * rows).div_ceil(most) as i64).collect(), None));
    };
    let (first, last) = (*times.iter().min()?, *times.iter().max()?);
    let count = |width: i64| last.div_euclid(width) - first.div_euclid(width) + 1;
    let width = WIDTHS.into_iter().find(|width| count(*width) <= most as i64);
    let width = width.unwrap_or((last - first + 1).max(WIDTHS[WIDTHS.len() - 1]));
    let mut starts: Vec<i64> = times.iter().map(|time| time.div_euclid(width) * width).collect();
    let of_time = starts.clone();
    starts.sort_unstable();
    starts.dedup();
    let of_row = of_time.iter().map(|start| starts.partition_point(|other| other < start) as u8).collect();
    Some((of_row, starts, Some(width)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::analysis::rows::Targets;
    use crate::metrics::bootstrap::Bootstrap;
    use crate::model::features::hash;

    #[test]
    fn a_planted_trend_is_found_and_what_is_hard_for_all_is_not_blamed() {
        // Ten days; clicks get more frequent, and one model drifts away from them by 0.1 in log-odds a day.
        let rows = 60_000;
        let day = |row: usize| row as f64 / 6_000.0;
        let truth = |row: usize| 0.05 + 0.02 * day(row);
        let targets = Targets {
            rows: (0..rows).collect(),
            labels: (0..rows).map(|row| u8::from(hash::uniform(5, row as u64) < truth(row))).collect(),
            weights: None,
            times: Some((0..rows).map(|row| 1_700_000_000 + (day(row) * DAY) as i64).collect()),
            groups: None,
        };
        let judge = Judge::new(&targets, 0, Bootstrap { resamples: 300, confidence: 0.95, seed: 1 });
        let good: Vec<f64> = (0..rows).map(truth).collect();
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let drifting: Vec<f64> =
            (0..rows).map(|row| 1.0 / (1.0 + (-(logit(truth(row)) - 0.15 * day(row))).exp())).collect();
        let evidence = Some(Evidence { rows: 10_000, clicks: 500 });
        let models = [("good", &good[..]), ("drifting", &drifting[..])];
        let found = age(&models, Some(1_700_000_000 - 86_400), evidence, &judge).unwrap();
        assert!((5..=48).contains(&found.buckets.len()), "{}", found.buckets.len());
        assert_eq!(found.buckets.iter().map(|bucket| bucket.rows).sum::<u64>(), rows as u64);
        assert!(found.buckets[0].age_hours.unwrap() > 20.0 && found.buckets[0].ctr < found.buckets.last().unwrap().ctr);
        let of = |at: usize| (found.models[at].trend.unwrap(), found.models[at].trend_above_constant.unwrap());
        assert!(of(0).0.low.unwrap() > 0.0, "more clicks, more entropy: {:?}", of(0));
        assert!(of(0).1.high.unwrap() < 0.0, "the constant ages, the truth does not: {:?}", of(0));
        assert!(of(1).1.value > of(0).1.value + 0.002, "{:?} {:?}", of(1), of(0));
        let pcoc = |at: usize, bucket: usize| found.models[at].pcoc[bucket].unwrap().value;
        let last = found.buckets.len() - 1;
        assert!((pcoc(0, last) - 1.0).abs() < 0.15 && pcoc(1, last) < 0.45, "{} {}", pcoc(0, last), pcoc(1, last));
        let without = Targets { times: None, ..targets.clone() };
        let judge = Judge::new(&without, 0, judge.bootstrap);
        let found = age(&models, None, evidence, &judge).unwrap();
        assert_eq!((found.bucket_seconds, found.models[0].trend), (None, None));
        assert_eq!(found.buckets.len(), 48);
    }
}
