//! Predictions and a slice for each row → metrics of every slice with intervals, and how two models differ in each.
//!
//! A slice is any number below `slices`: a value of a field, a bucket of frequency, an hour, a band of scores ([`score_bands`]).
//! Errors are those of ratios of block sums (Cochran 1977, *Sampling Techniques*, 6.3): with `d_b` and `w_b` the sums of values
//! and weights in block `b`, the mean `R = Σ d_b / Σ w_b` has the variance
//!
//! ```text
//! B / (B − 1) · Σ (d_b − R w_b)² / (Σ w_b)²
//! ```
//!
//! which needs no resampling and so is cheap for thousands of slices. Hand the differences of slices to [`super::shrinkage`]
//! before anybody looks at the largest one.

use serde::{Deserialize, Serialize};

use super::bootstrap::{RowBlocks, ascending};
use super::distributions::normal_quantile;
use super::shrinkage::Shown;
use super::{Predictions, losses};

/// A ratio of sums in one slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The ratio.
    pub estimate: f64,
    /// Its standard error; `None` with fewer than two blocks.
    pub standard_error: Option<f64>,
}

/// Metrics of one slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SliceMetrics {
    /// Its number.
    pub slice: usize,
    /// Rows, unweighted.
    pub rows: u64,
    /// Clicked rows, unweighted.
    pub clicks: u64,
    /// Blocks that hold rows of it.
    pub blocks: u64,
    /// Click-through rate.
    pub ctr: Ratio,
    /// Mean log loss in nats.
    pub log_loss: Ratio,
    /// Predicted clicks over clicks; `None` without a click.
    pub pcoc: Option<Ratio>,
}

/// Mean log loss of model A minus that of model B in one slice, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SliceDifference {
    /// Its number.
    pub slice: usize,
    /// Rows, unweighted.
    pub rows: u64,
    /// The difference.
    pub difference: Ratio,
}

impl Ratio {
    /// Ends of the interval that holds with probability `confidence`; `None` with fewer than two blocks.
    ///
    /// # Panics
    /// When `confidence` is outside \[0,1\].
    pub fn interval(&self, confidence: f64) -> Option<(f64, f64)> {
        let half = normal_quantile(0.5 + 0.5 * confidence) * self.standard_error?;
        Some((self.estimate - half, self.estimate + half))
    }

    /// As [`super::shrinkage`] takes it; `None` without an error above zero.
    pub fn shown(&self) -> Option<Shown> {
        let standard_error = self.standard_error.filter(|error| *error > 0.0)?;
        Some(Shown { estimate: self.estimate, standard_error })
    }
}

/// Metrics of every slice that holds weight, by number.
///
/// # Panics
/// When there is not one slice and one block for each row.
pub fn by_slice(predictions: &Predictions, slice_of: &[u32], blocks: &RowBlocks) -> Vec<SliceMetrics> {
    assert_eq!(predictions.len(), slice_of.len(), "one slice for each row");
    let sums = slice_sums(slice_of, blocks, |row| {
        let row = predictions.row(row);
        let (weight, click) = (f64::from(row.weight), f64::from(u8::from(row.click)));
        [weight, weight * losses::row_log_loss(row), weight * row.probability, weight * click, 1.0, click]
    });
    let of = |(slice, parts): (usize, Vec<[f64; 6]>)| {
        let total = |at: usize| parts.iter().map(|part| part[at]).sum::<f64>();
        Some(SliceMetrics {
            slice,
            rows: total(4) as u64,
            clicks: total(5) as u64,
            blocks: parts.len() as u64,
            ctr: ratio(&parts, 3, 0)?,
            log_loss: ratio(&parts, 1, 0)?,
            pcoc: ratio(&parts, 2, 3),
        })
    };
    sums.into_iter().filter_map(of).collect()
}

/// Differences of the row losses of two models in every slice that holds weight, by number.
///
/// # Panics
/// When there is not one loss of each model, one weight (if there are any), one slice and one block for each row.
pub fn difference_by_slice(
    losses_a: &[f64],
    losses_b: &[f64],
    weights: Option<&[f32]>,
    slice_of: &[u32],
    blocks: &RowBlocks,
) -> Vec<SliceDifference> {
    assert!(
        losses_a.len() == slice_of.len() && losses_b.len() == slice_of.len(),
        "one loss of each model for each row"
    );
    assert!(weights.is_none_or(|weights| weights.len() == slice_of.len()), "one weight for each row");
    let sums = slice_sums(slice_of, blocks, |row| {
        let weight = weights.map_or(1.0, |weights| f64::from(weights[row]));
        [weight, weight * (losses_a[row] - losses_b[row]), 1.0]
    });
    let of = |(slice, parts): (usize, Vec<[f64; 3]>)| {
        let rows = parts.iter().map(|part| part[2]).sum::<f64>() as u64;
        Some(SliceDifference { slice, rows, difference: ratio(&parts, 1, 0)? })
    };
    sums.into_iter().filter_map(of).collect()
}

/// The band of each row: `bands` bands of about equal numbers of rows by probability, the lowest first. Rows of one probability
/// stay together, so that there may be fewer.
///
/// # Panics
/// When `bands` is zero.
pub fn score_bands(predictions: &Predictions, bands: u32) -> Vec<u32> {
    assert!(bands > 0, "there is at least one band");
    let order = ascending(predictions);
    let mut band_of = vec![0; order.len()];
    let (mut before, mut band, mut last) = (0u64, 0, 0);
    for tied in
        order.chunk_by(|a, b| predictions.row(*a as usize).probability == predictions.row(*b as usize).probability)
    {
        // The band in which the first of the tied rows falls; bands that no row starts in are not numbered.
        let here = before * u64::from(bands) / order.len() as u64;
        if here > last {
            (band, last) = (band + 1, here);
        }
        tied.iter().for_each(|row| band_of[*row as usize] = band);
        before += tied.len() as u64;
    }
    band_of
}

/// Sums of each slice in each of its blocks; slices and blocks by number.
fn slice_sums<const SUMS: usize>(
    slice_of: &[u32],
    blocks: &RowBlocks,
    quantities: impl Fn(usize) -> [f64; SUMS],
) -> Vec<(usize, Vec<[f64; SUMS]>)> {
    assert_eq!(slice_of.len(), blocks.rows(), "one block for each row");
    let key = |row: &u32| (slice_of[*row as usize], blocks.of(*row as usize));
    let mut rows: Vec<u32> = (0..slice_of.len() as u32).collect();
    rows.sort_unstable_by_key(|row| (key(row), *row));
    let of_slice = |slice: &[u32]| {
        let of_block = |block: &[u32]| {
            let mut sums = [0.0; SUMS];
            for row in block {
                sums.iter_mut().zip(quantities(*row as usize)).for_each(|(sum, part)| *sum += part);
            }
            sums
        };
        (key(&slice[0]).0 as usize, slice.chunk_by(|a, b| key(a) == key(b)).map(of_block).collect())
    };
    rows.chunk_by(|a, b| key(a).0 == key(b).0).map(of_slice).collect()
}

/// Sum `above` over sum `below`, with its error over blocks; `None` when the latter is zero.
fn ratio<const SUMS: usize>(blocks: &[[f64; SUMS]], above: usize, below: usize) -> Option<Ratio> {
    let total = |at: usize| blocks.iter().map(|block| block[at]).sum::<f64>();
    let weight = total(below);
    if weight <= 0.0 {
        return None;
    }
    let estimate = total(above) / weight;
    let squares: f64 = blocks.iter().map(|block| (block[above] - estimate * block[below]).powi(2)).sum();
    let count = blocks.len() as f64;
    let standard_error = (blocks.len() > 1).then(|| (count / (count - 1.0) * squares).sqrt() / weight);
    Some(Ratio { estimate, standard_error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::bootstrap::{BlockSums, Blocks, Bootstrap};
    use crate::metrics::{calibration, evaluate};

    fn inputs(rows: usize) -> (Vec<u8>, Vec<f64>, Vec<u32>) {
        let labels = (0..rows).map(|row| u8::from(row * 7919 % 11 < 3)).collect();
        let probabilities = (0..rows).map(|row| ((row * 37 % 101) as f64 + 1.0) / 110.0).collect();
        let slices = (0..rows).map(|row| (row * 31 % 17 % 3) as u32 * 2).collect();
        (labels, probabilities, slices)
    }

    #[test]
    fn a_slice_is_judged_as_its_rows_alone() {
        let (labels, probabilities, slices) = inputs(3_000);
        let predictions = Predictions::new(&labels, &probabilities, None);
        let blocks = RowBlocks::new(3_000, Blocks::Rows(10));
        let found = by_slice(&predictions, &slices, &blocks);
        assert_eq!(
            found.iter().map(|slice| slice.slice).collect::<Vec<_>>(),
            [0, 2, 4],
            "slices without rows are left out"
        );
        for slice in &found {
            let of = |row: &usize| slices[*row] as usize == slice.slice;
            let labels: Vec<u8> = (0..3_000).filter(of).map(|row| labels[row]).collect();
            let probabilities: Vec<f64> = (0..3_000).filter(of).map(|row| probabilities[row]).collect();
            let alone = evaluate(&labels, &probabilities, None, None).unwrap();
            assert_eq!((slice.rows, slice.clicks), (alone.rows, alone.clicks));
            assert!((slice.log_loss.estimate - alone.log_loss).abs() < 1e-12);
            assert!((slice.pcoc.unwrap().estimate - alone.pcoc.unwrap()).abs() < 1e-12);
            assert!((slice.ctr.estimate - alone.ctr).abs() < 1e-12);
        }
    }

    #[test]
    fn errors_agree_with_the_bootstrap() {
        let (labels, probabilities, _) = inputs(4_000);
        let predictions = Predictions::new(&labels, &probabilities, None);
        let blocks = RowBlocks::new(4_000, Blocks::Rows(13));
        let pcoc = by_slice(&predictions, &vec![0; 4_000], &blocks)[0].pcoc.unwrap();
        let sums = BlockSums::of(&blocks, |row| [probabilities[row], f64::from(labels[row])]);
        let settings = Bootstrap { resamples: 4_000, confidence: 0.95, seed: 5 };
        let interval = sums.interval(settings, |&[promised, clicks]| Some(promised / clicks)).unwrap();
        let (low, high) = pcoc.interval(0.95).unwrap();
        let width = interval.high - interval.low;
        assert!((low - interval.low).abs() < 0.06 * width && (high - interval.high).abs() < 0.06 * width);
        let one = by_slice(&predictions, &vec![0; 4_000], &RowBlocks::new(4_000, Blocks::Rows(4_000)))[0];
        assert_eq!((one.blocks, one.pcoc.unwrap().standard_error, one.pcoc.unwrap().shown()), (1, None, None));
        assert!((calibration::pcoc(&predictions).unwrap() - pcoc.estimate).abs() < 1e-12);
    }

    #[test]
    fn models_differ_where_they_were_made_to() {
        let (labels, probabilities, slices) = inputs(6_000);
        let losses = losses::row_log_losses(&Predictions::new(&labels, &probabilities, None));
        let worse: Vec<f64> = (0..6_000).map(|row| losses[row] + if slices[row] == 2 { 0.1 } else { 0.0 }).collect();
        let weights = vec![2.0; 6_000];
        let blocks = RowBlocks::new(6_000, Blocks::Rows(10));
        let found = difference_by_slice(&worse, &losses, Some(&weights), &slices, &blocks);
        let differences: Vec<f64> = found.iter().map(|slice| slice.difference.estimate).collect();
        assert!(
            differences[0] == 0.0 && (differences[1] - 0.1).abs() < 1e-12 && differences[2] == 0.0,
            "{differences:?}"
        );
        assert_eq!(found[0].difference.shown(), None, "equal in every row: no error to weigh by");
    }

    #[test]
    fn bands_hold_equal_rows_and_never_part_a_tie() {
        let (labels, probabilities, _) = inputs(2_020);
        let predictions = Predictions::new(&labels, &probabilities, None);
        let bands = score_bands(&predictions, 10);
        for band in 0..10 {
            let rows = bands.iter().filter(|of| **of == band).count();
            assert!((180..=240).contains(&rows), "band {band} has {rows} rows");
        }
        for (a, b) in [(0, 101), (5, 207)] {
            assert_eq!((probabilities[a], bands[a]), (probabilities[b], bands[b]));
        }
        let tied = Predictions::new(&[1, 0, 0, 0], &[0.2, 0.2, 0.2, 0.9], None);
        assert_eq!(score_bands(&tied, 4), [0, 0, 0, 1]);
        assert!(score_bands(&Predictions::new(&[], &[], None), 3).is_empty());
    }
}
