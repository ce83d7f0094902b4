//! The largest slices of every field → how well the two models that lead are calibrated there, before and after calibration.
//!
//! Bins of equal mass with 95 % Wilson intervals, as for all rows ([`crate::metrics::calibration`]), but fewer: a slice has
//! fewer clicks. First seed of each model, the test rows of all folds.

use serde::Serialize;

use super::evidence::{TestRows, read_first_seed};
use super::sliced::{Cutting, SlicedBy};
use super::summary::ModelSummary;
use crate::error::Result;
use crate::learn::experiment::describe::OTHERS;
use crate::learn::experiment::predictions::PredictionTable;
use crate::metrics::Predictions;
use crate::metrics::calibration::{self, ReliabilityBin};
use crate::metrics::ranking::Ranking;

/// Models that are looked into, from the best one on.
const MODELS: usize = 2;
/// Slices of each field, the largest.
const SLICES: usize = 3;
/// Most bins of a slice.
const MOST_BINS: usize = 10;
/// Clicks of a bin, on average; a slice without enough for two bins is left out.
const CLICKS_A_BIN: usize = 10;

/// One slice of the test rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SliceReliability {
    /// What cuts.
    #[serde(flatten)]
    pub by: SlicedBy,
    /// Its name.
    pub slice: String,
    /// Rows, unweighted.
    pub rows: u64,
    /// The models, in the order of the leaderboard.
    pub models: Vec<ModelReliability>,
}

/// One model in one slice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReliability {
    /// Its name.
    pub model: String,
    /// What it promised and what happened, lowest probabilities first.
    pub after: Vec<ReliabilityBin>,
    /// The same before calibration; empty where runs do not keep it.
    pub before: Vec<ReliabilityBin>,
}

/// Looks into the largest slices of every field. `models` best first; the rows are those of the first of them.
///
/// # Errors
/// Io and data when the predictions of the second one cannot be read.
pub(super) fn in_slices(
    models: &[ModelSummary],
    rows: &TestRows,
    cuttings: &[Cutting],
) -> Result<Vec<SliceReliability>> {
    let others: Vec<PredictionTable> =
        models.iter().take(MODELS).skip(1).map(read_first_seed).collect::<Result<_>>()?;
    let names = models.iter().map(|model| model.name.as_str());
    let tables: Vec<(&str, &PredictionTable)> = names.zip(std::iter::once(&rows.table).chain(&others)).collect();
    let fields = cuttings.iter().filter(|cutting| matches!(cutting.by, SlicedBy::Field(_)));
    Ok(fields.flat_map(|cutting| of_cutting(&cutting.by, &cutting.names, &cutting.of_row, &tables)).collect())
}

/// The largest slices of one cutting: of its slices' names, the slice of each row, and each model's predictions of the rows.
fn of_cutting(
    by: &SlicedBy,
    names: &[String],
    of_row: &[u8],
    models: &[(&str, &PredictionTable)],
) -> Vec<SliceReliability> {
    let Some((_, shared)) = models.first() else { return Vec::new() };
    let mut sizes = vec![(0_usize, 0_usize); names.len()];
    for (slice, label) in of_row.iter().zip(&shared.labels) {
        let (rows, clicks) = &mut sizes[usize::from(*slice)];
        (*rows, *clicks) = (*rows + 1, *clicks + usize::from(*label));
    }
    let bins = |slice: usize| (sizes[slice].1 / CLICKS_A_BIN).min(MOST_BINS);
    let mut shown: Vec<usize> = (0..names.len()).filter(|slice| bins(*slice) >= 2 && names[*slice] != OTHERS).collect();
    // A stable order: of equally large ones, the first.
    shown.sort_by_key(|slice| std::cmp::Reverse(sizes[*slice].0));
    shown.truncate(SLICES);
    let of_slice = |slice: usize| {
        let inside: Vec<usize> = (0..of_row.len()).filter(|row| usize::from(of_row[*row]) == slice).collect();
        let labels: Vec<u8> = inside.iter().map(|row| shared.labels[*row]).collect();
        let weights = shared.weights.as_ref();
        let weights: Option<Vec<f32>> = weights.map(|all| inside.iter().map(|row| all[*row]).collect());
        let table = |probabilities: &Vec<f64>| {
            let probabilities: Vec<f64> = inside.iter().map(|row| probabilities[*row]).collect();
            let predictions = Predictions::new(&labels, &probabilities, weights.as_deref());
            calibration::reliability(&Ranking::new(&predictions), bins(slice))
        };
        let of_model = |(model, predicted): &(&str, &PredictionTable)| ModelReliability {
            model: (*model).to_owned(),
            after: table(&predicted.probabilities),
            before: predicted.uncalibrated.as_ref().map(table).unwrap_or_default(),
        };
        SliceReliability {
            by: by.clone(),
            slice: names[slice].clone(),
            rows: sizes[slice].0 as u64,
            models: models.iter().map(of_model).collect(),
        }
    };
    shown.into_iter().map(of_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of one site: its place, how many rows, how many of them clicked, what was promised before and after calibration.
    fn add(
        table: &mut PredictionTable,
        of_row: &mut Vec<u8>,
        (site, rows, clicks): (u8, usize, usize),
        (before, after): (f64, f64),
    ) {
        of_row.extend(std::iter::repeat_n(site, rows));
        table.labels.extend((0..rows).map(|row| u8::from(row < clicks)));
        table.probabilities.extend(std::iter::repeat_n(after, rows));
        table.uncalibrated.get_or_insert_default().extend(std::iter::repeat_n(before, rows));
    }

    #[test]
    fn slices_made_by_hand() {
        let (mut table, mut of_row) = (PredictionTable::default(), Vec::new());
        // The small site has too few clicks, and the others are no site.
        add(&mut table, &mut of_row, (0, 90, 19), (0.2, 0.2));
        add(&mut table, &mut of_row, (1, 100, 10), (0.2, 0.1));
        add(&mut table, &mut of_row, (1, 100, 30), (0.6, 0.3));
        add(&mut table, &mut of_row, (2, 300, 120), (0.4, 0.1));
        add(&mut table, &mut of_row, (3, 900, 300), (0.3, 0.3));
        let mut second = table.clone();
        second.uncalibrated = None;
        second.probabilities = vec![0.5; second.labels.len()];
        let names = ["small", "right", "wrong", OTHERS].map(str::to_owned);
        let by = SlicedBy::Field("site".into());
        let found = of_cutting(&by, &names, &of_row, &[("a", &table), ("b", &second)]);
        let shown: Vec<(&str, u64)> = found.iter().map(|slice| (slice.slice.as_str(), slice.rows)).collect();
        assert_eq!(shown, [("wrong", 300), ("right", 200)]);

        let [wrong, right] = &found[..] else { panic!("two slices") };
        let bins = |bins: &[ReliabilityBin]| -> Vec<(f64, f64, u64)> {
            bins.iter().map(|bin| ((bin.mean_probability * 1e9).round() / 1e9, bin.ctr, bin.rows)).collect()
        };
        assert_eq!(bins(&right.models[0].after), [(0.1, 0.1, 100), (0.3, 0.3, 100)]);
        assert_eq!(bins(&right.models[0].before), [(0.2, 0.1, 100), (0.6, 0.3, 100)]);
        // Calibration over all rows spoils this slice: 0.4 held, 0.1 does not.
        let holds = |bin: &ReliabilityBin| (bin.ctr_low..=bin.ctr_high).contains(&bin.mean_probability);
        assert_eq!(bins(&wrong.models[0].after), [(0.1, 0.4, 300)]);
        assert!(holds(&wrong.models[0].before[0]) && !holds(&wrong.models[0].after[0]));
        // Wilson by hand: 120 of 300.
        let (low, high) = (wrong.models[0].after[0].ctr_low, wrong.models[0].after[0].ctr_high);
        assert!((low - 0.3461).abs() < 1e-4 && (high - 0.4564).abs() < 1e-4, "{low} {high}");
        assert_eq!((wrong.models[1].model.as_str(), wrong.models[1].before.len()), ("b", 0));
        assert_eq!(bins(&wrong.models[1].after), [(0.5, 0.4, 300)]);
    }
}
