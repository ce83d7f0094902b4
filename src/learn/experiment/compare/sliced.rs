//! Test rows cut in several ways → how every model does in every slice, and where models differ.
//!
//! Cuttings: the values of fields and the frequency of the ad ([`describe`](super::super::describe)), the hour of the day, bands of
//! the leader's scores, time, and the age of the model. Differences from the leader are shrunk over the slices of one cutting
//! ([`crate::metrics::shrinkage`]), so that a tiny slice does not shout.

use serde::Serialize;

use super::LoadedRun;
use super::evidence::{Evidence, TestRows};
use super::verdict::thousands;
use crate::learn::experiment::describe::{Slicing, SlicingKind, Slicings};
use crate::learn::experiment::record::DataRecord;
use crate::metrics::bootstrap::RowBlocks;
use crate::metrics::distributions::normal_quantile;
use crate::metrics::shrinkage::shrink;
use crate::metrics::slices::{Ratio, SliceCells, score_bands};
use crate::metrics::{Predictions, losses};

/// Bands of the leader's scores.
const BANDS: u8 = 10;
/// Most slices of time.
const MOST_TIMES: i64 = 30;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Lengths of slices of time, in seconds.
const LENGTHS: [i64; 15] = [
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    91 * DAY,
];

/// What cuts the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", content = "field", rename_all = "snake_case")]
pub enum SlicedBy {
    /// Values of a field.
    Field(String),
    /// Training rows with the row's value of a field.
    Frequency(String),
    /// Hour of the day, UTC.
    Hour,
    /// Bands of equal numbers of rows by the score of the model that leads.
    ScoreBand,
    /// Time; where rows have none, their order.
    Time,
    /// Time since the last training row.
    Age,
}

/// One cutting of the test rows, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sliced {
    /// What cuts.
    #[serde(flatten)]
    pub by: SlicedBy,
    /// In the order in which to show them.
    pub slices: Vec<Slice>,
}

/// The test rows of one slice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slice {
    /// Its name.
    pub name: String,
    /// Where it begins: seconds since 1970, rows, or seconds of age; `None` where slices have no place.
    pub from: Option<f64>,
    /// Rows, unweighted.
    pub rows: u64,
    /// Clicked rows, unweighted.
    pub clicks: u64,
    /// Click-through rate.
    pub ctr: f64,
    /// Every model, in the order of the leaderboard.
    pub models: Vec<ModelInSlice>,
}

/// One model in one slice; means over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ModelInSlice {
    /// Mean log loss in nats.
    pub log_loss: Bounded,
    /// The same above that of the true probabilities, where they are known.
    pub excess_log_loss: Option<Bounded>,
    /// AUC, first seed.
    pub auc: Option<f64>,
    /// Predicted clicks over clicks.
    pub pcoc: Option<Bounded>,
    /// The same before calibration.
    pub pcoc_before: Option<f64>,
    /// Log loss minus that of the model that leads; `None` for that one itself.
    pub minus_best: Option<Bounded>,
    /// The same, drawn to what all slices of the cutting show; `None` where there is no error to weigh by.
    pub shrunk_minus_best: Option<Bounded>,
}

/// A number and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bounded {
    /// The estimate.
    pub value: f64,
    /// Lower end; `None` with fewer than two blocks.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// One way to cut the test rows, before they are judged.
pub(super) struct Cutting {
    pub(super) by: SlicedBy,
    pub(super) names: Vec<String>,
    from: Vec<Option<f64>>,
    pub(super) of_row: Vec<u8>,
}

impl LoadedRun {
    /// Number of its fold.
    pub(super) fn fold(&self) -> usize {
        self.record.fold.map_or(0, |fold| fold.number)
    }
}

impl Cutting {
    /// What its slices and the blocks have in common.
    pub(super) fn cells<'a>(&'a self, blocks: &'a RowBlocks) -> SliceCells<'a> {
        SliceCells::new(&self.of_row, self.names.len(), blocks)
    }

    /// Numbers rows by their keys, ascending; `name` and `from` describe a key. `None` with fewer than two different keys, or
    /// more than a byte can number.
    fn by_key(by: SlicedBy, keys: &[i64], name: impl Fn(i64) -> String, from: impl Fn(i64) -> f64) -> Option<Cutting> {
        let mut different = keys.to_vec();
        different.sort_unstable();
        different.dedup();
        let place = |key: &i64| different.binary_search(key).expect("every key is among the different ones") as u8;
        (2..=usize::from(u8::MAX)).contains(&different.len()).then(|| Cutting {
            by,
            of_row: keys.iter().map(place).collect(),
            names: different.iter().map(|key| name(*key)).collect(),
            from: different.iter().map(|key| Some(from(*key))).collect(),
        })
    }
}

/// Every way to cut the rows: by what `described` says of each fold, and by what the predictions carry.
pub(super) fn cuttings(rows: &TestRows, folds: &[DataRecord], described: &[Slicings]) -> Vec<Cutting> {
    let mut cuttings = of_description(rows, described);
    let table = &rows.table;
    if let Some(times) = &table.times {
        let hours: Vec<i64> = times.iter().map(|time| time.rem_euclid(DAY) / HOUR).collect();
        let name = |hour: i64| format!("{hour:02}:00 to {hour:02}:59");
        // Hours are no better than time where there is less than a day of them.
        if times.iter().max() > times.iter().min().map(|first| first + DAY).as_ref() {
            cuttings.extend(Cutting::by_key(SlicedBy::Hour, &hours, name, |hour| hour as f64));
        }
    }
    let predictions = Predictions::new(&table.labels, &table.probabilities, table.weights.as_deref());
    let of_row = score_bands(&predictions, BANDS);
    let bands = usize::from(of_row.iter().max().copied().unwrap_or(0)) + 1;
    let names = (0..bands).map(|band| {
        let within = || of_row.iter().zip(&table.probabilities).filter(move |(of, _)| usize::from(**of) == band);
        let ends = within().fold((1.0_f64, 0.0_f64), |(low, high), (_, p)| (low.min(*p), high.max(*p)));
        format!("{:.4} to {:.4}", ends.0, ends.1)
    });
    let names: Vec<String> = names.collect();
    cuttings.push(Cutting { by: SlicedBy::ScoreBand, from: vec![None; names.len()], names, of_row });
    cuttings.extend(of_time(rows));
    cuttings.extend(of_age(rows, folds));
    cuttings
}

fn of_description(rows: &TestRows, described: &[Slicings]) -> Vec<Cutting> {
    let all: Vec<u64> = described.iter().flat_map(|fold| fold.rows.iter().copied()).collect();
    let Some(first) = described.first().filter(|_| all == rows.table.rows) else { return Vec::new() };
    let of = |slicing: &Slicing| {
        let (mut names, mut of_row) = (Vec::<String>::new(), Vec::with_capacity(all.len()));
        for fold in described {
            let slicing = fold.slicings.iter().find(|other| other.kind == slicing.kind)?;
            let place = |name: &String| {
                let at = names.iter().position(|known| known == name).unwrap_or_else(|| {
                    names.push(name.clone());
                    names.len() - 1
                });
                u8::try_from(at).ok()
            };
            let places: Vec<u8> = slicing.names.iter().map(place).collect::<Option<_>>()?;
            of_row.extend(slicing.of_row.iter().map(|slice| places[usize::from(*slice)]));
        }
        let by = match &slicing.kind {
            SlicingKind::Field(name) => SlicedBy::Field(name.clone()),
            SlicingKind::Frequency(name) => SlicedBy::Frequency(name.clone()),
        };
        Some(Cutting { by, from: vec![None; names.len()], names, of_row })
    };
    first.slicings.iter().filter_map(of).collect()
}

fn of_time(rows: &TestRows) -> Option<Cutting> {
    match &rows.table.times {
        Some(times) => {
            let length = length(times);
            let keys: Vec<i64> = times.iter().map(|time| time.div_euclid(length) * length).collect();
            let name = |seconds: i64| {
                let stamp = jiff::Timestamp::from_second(seconds).ok();
                let format = if length >= DAY { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" };
                stamp.map_or_else(|| seconds.to_string(), |stamp| stamp.strftime(format).to_string())
            };
            Cutting::by_key(SlicedBy::Time, &keys, name, |seconds| seconds as f64)
        }
        None => {
            let all = rows.table.rows.len() as i64;
            let length = (all / (2 * MOST_TIMES / 3)).max(1);
            let last = (all / length).max(1) - 1;
            let keys: Vec<i64> = (0..all).map(|row| (row / length).min(last)).collect();
            let name = |key: i64| format!("from row {}", thousands((key * length) as u64 + 1));
            Cutting::by_key(SlicedBy::Time, &keys, name, |key| (key * length) as f64)
        }
    }
}

fn of_age(rows: &TestRows, folds: &[DataRecord]) -> Option<Cutting> {
    let times = rows.table.times.as_ref()?;
    let mut ages = Vec::with_capacity(times.len());
    let mut first = 0;
    for (data, fold) in folds.iter().zip(&rows.fold_rows) {
        let learned = data.train.to?;
        ages.extend(times[first..first + fold].iter().map(|time| time - learned));
        first += fold;
    }
    let length = length(&ages);
    let keys: Vec<i64> = ages.iter().map(|age| age.div_euclid(length) * length).collect();
    let name = |age: i64| match age {
        age if length >= DAY => format!("{:.0} days", age as f64 / DAY as f64),
        age if length >= HOUR => format!("{:.0} hours", age as f64 / HOUR as f64),
        age => format!("{:.0} minutes", age as f64 / MINUTE as f64),
    };
    // The least age is no news in a chart that begins there.
    Cutting::by_key(SlicedBy::Age, &keys, name, |age| age as f64)
}

/// The shortest length that cuts these times into few enough slices.
fn length(times: &[i64]) -> i64 {
    let span = times.iter().max().unwrap_or(&0) - times.iter().min().unwrap_or(&0);
    LENGTHS.into_iter().find(|length| span / length < MOST_TIMES).unwrap_or(span / MOST_TIMES + 1)
}

/// Judges all models in all slices, with intervals that hold with probability `confidence` each.
pub(super) fn judge(
    rows: &TestRows,
    cuttings: &[Cutting],
    evidence: &Evidence,
    models: usize,
    confidence: f64,
) -> Vec<Sliced> {
    let of = |(at, cutting): (usize, &Cutting)| Sliced {
        by: cutting.by.clone(),
        slices: judge_one(rows, cutting, (at, evidence), models, confidence),
    };
    cuttings.iter().enumerate().map(of).collect()
}

fn judge_one(
    rows: &TestRows,
    cutting: &Cutting,
    (at, evidence): (usize, &Evidence),
    models: usize,
    confidence: f64,
) -> Vec<Slice> {
    let table = &rows.table;
    let cells = cutting.cells(&rows.blocks);
    let truth = table
        .truth
        .as_ref()
        .map(|truth| losses::row_log_losses(&Predictions::new(&table.labels, truth, table.weights.as_deref())));
    // Weight, clicked weight, rows, clicked rows, weighted log loss of the truth.
    let shared = cells.sums(|row| {
        let weight = table.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]));
        let click = f64::from(table.labels[row]);
        let of_truth = truth.as_ref().map_or(0.0, |truth| truth[row]);
        [weight, weight * click, 1.0, click, weight * of_truth]
    });
    let mut slices = Vec::new();
    for slice in 0..cells.slices() {
        let of_slice = cells.of(slice);
        let total = |at: usize| shared[of_slice.clone()].iter().map(|sums| sums[at]).sum::<f64>();
        if total(0) <= 0.0 {
            continue;
        }
        let of_model = |model: usize| {
            let (own, best) = (evidence.sliced(model, at), evidence.sliced(0, at));
            let ratio = |above: &dyn Fn(usize) -> f64, below: usize| {
                let pairs: Vec<(f64, f64)> = of_slice.clone().map(|cell| (above(cell), shared[cell][below])).collect();
                Ratio::of_blocks(pairs.iter().copied())
            };
            let bounded = |ratio: Ratio| Bounded::of(ratio, confidence);
            let log_loss = ratio(&|cell| own.sums[cell][0], 0).expect("the slice has weight");
            let minus = ratio(&|cell| own.sums[cell][0] - best.sums[cell][0], 0).filter(|_| model > 0);
            let excess = ratio(&|cell| own.sums[cell][0] - shared[cell][4], 0).filter(|_| truth.is_some());
            let judged = ModelInSlice {
                log_loss: bounded(log_loss),
                excess_log_loss: excess.map(bounded),
                auc: own.auc[slice],
                pcoc: ratio(&|cell| own.sums[cell][1], 1).map(bounded),
                pcoc_before: ratio(&|cell| own.sums[cell][2], 1).map(|ratio| ratio.estimate),
                minus_best: minus.map(bounded),
                shrunk_minus_best: None,
            };
            (judged, minus)
        };
        let judged: Vec<(ModelInSlice, Option<Ratio>)> = (0..models).map(of_model).collect();
        let slice = Slice {
            name: cutting.names[slice].clone(),
            from: cutting.from[slice],
            rows: total(2) as u64,
            clicks: total(3) as u64,
            ctr: total(1) / total(0),
            models: judged.iter().map(|(judged, _)| *judged).collect(),
        };
        slices.push((slice, judged.into_iter().map(|(_, minus)| minus).collect::<Vec<Option<Ratio>>>()));
    }
    for model in 1..models {
        let shown: Vec<(usize, _)> =
            slices.iter().enumerate().filter_map(|(at, (_, minus))| Some((at, minus[model]?.shown()?))).collect();
        let shown_only: Vec<_> = shown.iter().map(|(_, shown)| *shown).collect();
        let shrunk = shrink(&shown_only, confidence).into_iter().flat_map(|all| all.slices);
        for ((at, _), shrunk) in shown.iter().zip(shrunk) {
            let bounded = Bounded { value: shrunk.estimate, low: Some(shrunk.low), high: Some(shrunk.high) };
            slices[*at].0.models[model].shrunk_minus_best = Some(bounded);
        }
    }
    slices.into_iter().map(|(slice, _)| slice).collect()
}

/// For each model the slice whose PCOC is the farthest from 1 beyond doubt: how far at least, by intervals that hold for all
/// slices of the model together (Bonferroni), and which one. Time, age and bands of scores do not count.
pub(super) fn farthest_off(sliced: &[Sliced], models: usize, confidence: f64) -> Vec<Option<(f64, String)>> {
    let counted =
        || sliced.iter().filter(|sliced| !matches!(sliced.by, SlicedBy::Time | SlicedBy::Age | SlicedBy::ScoreBand));
    let all: usize = counted().map(|sliced| sliced.slices.len()).sum();
    let [one, together] = [1, all.max(1)].map(|slices| normal_quantile(1.0 - 0.5 * (1.0 - confidence) / slices as f64));
    let of_model = |model: usize| {
        let off = |slice: &Slice| {
            let pcoc = slice.models[model].pcoc?;
            let half = (pcoc.high? - pcoc.value) * together / one;
            Some(((pcoc.value - 1.0).abs() - half).max(0.0))
        };
        let of_cutting = |sliced: &'_ Sliced| {
            let named = |slice: &Slice| Some((off(slice)?, format!("{} {}", sliced.by.title(), slice.name)));
            sliced.slices.iter().filter_map(named).collect::<Vec<_>>()
        };
        counted().flat_map(of_cutting).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    (0..models).map(of_model).collect()
}

impl SlicedBy {
    /// What it is called in a heading.
    pub fn title(&self) -> String {
        match self {
            SlicedBy::Field(name) => name.clone(),
            SlicedBy::Frequency(name) => format!("training rows of {name}"),
            SlicedBy::Hour => "hour (UTC)".into(),
            SlicedBy::ScoreBand => "score band".into(),
            SlicedBy::Time => "time".into(),
            SlicedBy::Age => "age of the model".into(),
        }
    }
}

impl Bounded {
    fn of(ratio: Ratio, confidence: f64) -> Bounded {
        let (low, high) = ratio.interval(confidence).unzip();
        Bounded { value: ratio.estimate, low, high }
    }
}
