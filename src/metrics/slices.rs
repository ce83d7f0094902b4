//! Rows, a slice and a block for each → sums of each slice in each of its blocks → ratios with intervals.
//!
//! A slice is any number: a value of a field, a bucket of frequency, an hour, a band of scores ([`score_bands`]). The metrics
//! of a slice, and the differences of two models in it, are ratios of sums, so every model adds up its rows once and all pairs
//! are read from the sums. Errors are those of ratios of block sums (Cochran 1977, *Sampling Techniques*, 6.3): with `d_b` and
//! `w_b` the sums of values and weights in block `b`, the mean `R = Σ d_b / Σ w_b` has the variance
//!
//! ```text
//! B / (B − 1) · Σ (d_b − R w_b)² / (Σ w_b)²
//! ```
//!
//! which needs no resampling and so is cheap for thousands of slices. Hand the differences of slices to [`super::shrinkage`]
//! before anybody looks at the largest one.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Predictions;
use super::bootstrap::{RowBlocks, ascending};
use super::distributions::normal_quantile;
use super::shrinkage::Shown;

/// A ratio of sums in one slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The ratio.
    pub estimate: f64,
    /// Its standard error; `None` with fewer than two blocks.
    pub standard_error: Option<f64>,
}

/// One way to cut rows into slices, by the blocks of these rows: a *cell* is what one slice and one block have in common.
#[derive(Debug, Clone)]
pub struct SliceCells<'a> {
    slice_of: &'a [u8],
    blocks: &'a RowBlocks,
    /// Cell of each block of each slice, slice by slice; unused ones are never asked for.
    cell_of: Vec<u32>,
    /// Cells of each slice.
    cells: Vec<Range<usize>>,
}

impl<'a> SliceCells<'a> {
    /// Finds the cells of rows whose slices are below `slices`.
    ///
    /// # Panics
    /// When there is not one slice and one block for each row, or a slice is not below `slices`.
    pub fn new(slice_of: &'a [u8], slices: usize, blocks: &'a RowBlocks) -> Self {
        assert_eq!(slice_of.len(), blocks.rows(), "one slice and one block for each row");
        const UNUSED: u32 = u32::MAX;
        let mut cell_of = vec![UNUSED; slices * blocks.blocks()];
        for (row, slice) in slice_of.iter().enumerate() {
            cell_of[usize::from(*slice) * blocks.blocks() + blocks.of(row)] = 0;
        }
        let (mut next, mut cells) = (0, Vec::with_capacity(slices));
        for of_slice in cell_of.chunks_mut(blocks.blocks().max(1)) {
            let first = next;
            for cell in of_slice.iter_mut().filter(|cell| **cell != UNUSED) {
                *cell = next as u32;
                next += 1;
            }
            cells.push(first..next);
        }
        cells.resize(slices, next..next);
        Self { slice_of, blocks, cell_of, cells }
    }

    /// Number of slices.
    pub fn slices(&self) -> usize {
        self.cells.len()
    }

    /// Places of a slice's cells in what [`Self::sums`] returns; as many as it has blocks.
    ///
    /// # Panics
    /// When there is no such slice.
    pub fn of(&self, slice: usize) -> Range<usize> {
        self.cells[slice].clone()
    }

    /// Adds up `quantities(row)` in each cell, in the order of the rows.
    pub fn sums<const SUMS: usize>(&self, quantities: impl Fn(usize) -> [f64; SUMS]) -> Vec<[f64; SUMS]> {
        let mut sums = vec![[0.0; SUMS]; self.cells.last().map_or(0, |last| last.end)];
        for (row, slice) in self.slice_of.iter().enumerate() {
            let cell = self.cell_of[usize::from(*slice) * self.blocks.blocks() + self.blocks.of(row)];
            sums[cell as usize].iter_mut().zip(quantities(row)).for_each(|(sum, part)| *sum += part);
        }
        sums
    }
}

impl Ratio {
    /// Sum of the first over sum of the second of each block's pair, with its error over blocks. `None` when the latter is not
    /// above zero.
    pub fn of_blocks(blocks: impl Iterator<Item = (f64, f64)> + Clone) -> Option<Ratio> {
        let (mut above, mut below, mut count) = (0.0, 0.0, 0.0);
        for (of_above, of_below) in blocks.clone() {
            above += of_above;
            below += of_below;
            count += 1.0;
        }
        if below <= 0.0 {
            return None;
        }
        let estimate = above / below;
        let squares: f64 = blocks.map(|(above, below)| (above - estimate * below).powi(2)).sum();
        let standard_error = (count > 1.0).then(|| (count / (count - 1.0) * squares).sqrt() / below);
        Some(Ratio { estimate, standard_error })
    }

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

/// AUC within each slice below `slices`, by the `order` of [`ascending`]: one walk for all slices. `None` with one class.
///
/// # Panics
/// When there is not one place and one slice for each row, or a slice is not below `slices`.
pub fn auc_by_slice(predictions: &Predictions, order: &[u32], slice_of: &[u8], slices: usize) -> Vec<Option<f64>> {
    assert!(predictions.len() == order.len() && order.len() == slice_of.len(), "the same rows in all three");
    /// Weights of one slice: others and clicks below, both among the tied rows, and twice the pairs won.
    #[derive(Clone, Copy, Default)]
    struct Walk {
        others: f64,
        clicks: f64,
        tied_others: f64,
        tied_clicks: f64,
        pairs: f64,
    }
    let mut walks = vec![Walk::default(); slices];
    let probability = |at: &u32| predictions.row(*at as usize).probability;
    for tied in order.chunk_by(|a, b| probability(a) == probability(b)) {
        for at in tied {
            let (row, walk) = (predictions.row(*at as usize), &mut walks[usize::from(slice_of[*at as usize])]);
            match row.click {
                true => walk.tied_clicks += f64::from(row.weight),
                false => walk.tied_others += f64::from(row.weight),
            }
        }
        for at in tied {
            let walk = &mut walks[usize::from(slice_of[*at as usize])];
            walk.pairs += walk.tied_clicks * (2.0 * walk.others + walk.tied_others);
            walk.others += std::mem::take(&mut walk.tied_others);
            walk.clicks += std::mem::take(&mut walk.tied_clicks);
        }
    }
    let auc = |walk: &Walk| {
        let all = walk.others * walk.clicks;
        (all > 0.0).then(|| 0.5 * walk.pairs / all)
    };
    walks.iter().map(auc).collect()
}

/// The band of each row: `bands` bands of about equal numbers of rows by probability, the lowest first. Rows of one probability
/// stay together, so that there may be fewer.
///
/// # Panics
/// When `bands` is zero.
pub fn score_bands(predictions: &Predictions, bands: u8) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::bootstrap::{BlockSums, Blocks, Bootstrap};
    use crate::metrics::{calibration, evaluate, losses};

    fn inputs(rows: usize) -> (Vec<u8>, Vec<f64>, Vec<u8>) {
        let labels = (0..rows).map(|row| u8::from(row * 7919 % 11 < 3)).collect();
        let probabilities = (0..rows).map(|row| ((row * 37 % 101) as f64 + 1.0) / 110.0).collect();
        let slices = (0..rows).map(|row| (row * 31 % 17 % 3) as u8 * 2).collect();
        (labels, probabilities, slices)
    }

    /// Ratio of two sums in one slice.
    fn ratio<const SUMS: usize>(
        cells: &SliceCells,
        sums: &[[f64; SUMS]],
        slice: usize,
        above: usize,
        below: usize,
    ) -> Option<Ratio> {
        Ratio::of_blocks(sums[cells.of(slice)].iter().map(|sums| (sums[above], sums[below])))
    }

    #[test]
    fn a_slice_is_judged_as_its_rows_alone() {
        let (labels, probabilities, slices) = inputs(3_000);
        let predictions = Predictions::new(&labels, &probabilities, None);
        let row_losses = losses::row_log_losses(&predictions);
        let blocks = RowBlocks::new(3_000, Blocks::Rows(10));
        let cells = SliceCells::new(&slices, 6, &blocks);
        let sums = cells.sums(|row| [1.0, row_losses[row], probabilities[row], f64::from(labels[row])]);
        for slice in 0..6 {
            let of = |row: &usize| usize::from(slices[*row]) == slice;
            let labels: Vec<u8> = (0..3_000).filter(of).map(|row| labels[row]).collect();
            let probabilities: Vec<f64> = (0..3_000).filter(of).map(|row| probabilities[row]).collect();
            let Some(alone) = evaluate(&labels, &probabilities, None, None) else {
                assert!(cells.of(slice).is_empty() && ratio(&cells, &sums, slice, 1, 0).is_none());
                continue;
            };
            let close = |above, below, expected: f64| {
                assert!((ratio(&cells, &sums, slice, above, below).unwrap().estimate - expected).abs() < 1e-12);
            };
            close(1, 0, alone.log_loss);
            close(2, 3, alone.pcoc.unwrap());
            close(3, 0, alone.ctr);
            let auc = auc_by_slice(&predictions, &ascending(&predictions), &slices, 6)[slice];
            assert!((auc.unwrap() - alone.auc.unwrap()).abs() < 1e-12);
        }
        assert_eq!((cells.slices(), cells.of(5).end), (6, sums.len()));
    }

    #[test]
    fn errors_agree_with_the_bootstrap() {
        let (labels, probabilities, _) = inputs(4_000);
        let predictions = Predictions::new(&labels, &probabilities, None);
        let pcoc_in = |blocks: &RowBlocks| {
            let one = vec![0; 4_000];
            let cells = SliceCells::new(&one, 1, blocks);
            let sums = cells.sums(|row| [probabilities[row], f64::from(labels[row])]);
            ratio(&cells, &sums, 0, 0, 1).unwrap()
        };
        let blocks = RowBlocks::new(4_000, Blocks::Rows(13));
        let pcoc = pcoc_in(&blocks);
        let sums = BlockSums::of(&blocks, |row| [probabilities[row], f64::from(labels[row])]);
        let settings = Bootstrap { resamples: 4_000, confidence: 0.95, seed: 5 };
        let interval = sums.interval(settings, |&[promised, clicks]| Some(promised / clicks)).unwrap();
        let (low, high) = pcoc.interval(0.95).unwrap();
        let width = interval.high - interval.low;
        assert!((low - interval.low).abs() < 0.06 * width && (high - interval.high).abs() < 0.06 * width);
        assert!((calibration::pcoc(&predictions).unwrap() - pcoc.estimate).abs() < 1e-12);
        let one = pcoc_in(&RowBlocks::new(4_000, Blocks::Rows(4_000)));
        assert_eq!((one.standard_error, one.shown()), (None, None));
    }

    #[test]
    fn models_differ_where_they_were_made_to() {
        let (_, _, slices) = inputs(6_000);
        let worse = |row: usize| if slices[row] == 2 { 0.1 } else { 0.0 };
        let blocks = RowBlocks::new(6_000, Blocks::Rows(10));
        let cells = SliceCells::new(&slices, 5, &blocks);
        let sums = cells.sums(|row| [2.0, 2.0 * worse(row)]);
        let differences: Vec<f64> = [0, 2, 4].map(|slice| ratio(&cells, &sums, slice, 1, 0).unwrap().estimate).to_vec();
        assert!(
            differences[0] == 0.0 && (differences[1] - 0.1).abs() < 1e-12 && differences[2] == 0.0,
            "{differences:?}"
        );
        assert_eq!(ratio(&cells, &sums, 0, 1, 0).unwrap().shown(), None, "equal in every row: no error to weigh by");
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
