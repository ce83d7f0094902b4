//! Numbers of each row → weighted sums of each block → a statistic of every resample.
//!
//! A mean, a PCOC or a log loss is a function of sums, so a resample adds up whole blocks and never touches a row again:
//! `blocks × resamples` work, whatever the number of rows.

use super::resamples::{Counts, LANES, Resamples, RowBlocks, groups};
use super::{Blocks, Bootstrap, Interval};

/// Weighted sums of `SUMS` quantities in each block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockSums<const SUMS: usize> {
    blocks: Vec<[f64; SUMS]>,
}

impl<const SUMS: usize> BlockSums<SUMS> {
    /// Adds up `quantities(row)` for `rows` rows by block. Blocks stand in the order of their first row.
    ///
    /// # Panics
    /// When a block is to have zero rows, or when there is not one group for each row.
    pub fn collect(rows: usize, blocks: Blocks, quantities: impl FnMut(usize) -> [f64; SUMS]) -> Self {
        Self::of(&RowBlocks::new(rows, blocks), quantities)
    }

    /// Adds up `quantities(row)` by blocks that were cut before.
    pub fn of(blocks: &RowBlocks, mut quantities: impl FnMut(usize) -> [f64; SUMS]) -> Self {
        let mut sums = vec![[0.0; SUMS]; blocks.blocks()];
        for row in 0..blocks.rows() {
            add(&mut sums[blocks.of(row)], quantities(row));
        }
        Self { blocks: sums }
    }

    /// Number of blocks, after merging.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Sums over all blocks.
    pub fn total(&self) -> [f64; SUMS] {
        let mut total = [0.0; SUMS];
        self.blocks.iter().for_each(|block| add(&mut total, *block));
        total
    }

    /// Sums over each resample, in their order.
    ///
    /// # Panics
    /// When `resamples` were drawn for another number of blocks.
    pub fn resampled(&self, resamples: &Resamples) -> Vec<[f64; SUMS]> {
        assert_eq!(self.blocks.len(), resamples.blocks(), "resamples of these blocks");
        let mut all: Vec<[f64; SUMS]> = resamples.groups().flat_map(|counts| self.counted(counts)).collect();
        all.truncate(resamples.len());
        all
    }

    /// [`Interval::percentile`] of `statistic`, which takes the sums over a resample. A resample on which it is `None` (no click
    /// was drawn) is left out. `None` with fewer than two blocks, when the statistic is `None` on all rows, or when more than
    /// half of the resamples were left out.
    ///
    /// # Panics
    /// When `confidence` is not inside (0,1) or `resamples` is zero.
    pub fn interval(&self, bootstrap: Bootstrap, statistic: impl Fn(&[f64; SUMS]) -> Option<f64>) -> Option<Interval> {
        bootstrap.assert_bounds();
        if self.blocks.len() < 2 {
            return None;
        }
        let estimate = statistic(&self.total())?;
        let mut drawn = Vec::with_capacity(bootstrap.resamples);
        for (first, counts) in (0..).step_by(LANES).zip(groups(self.blocks.len(), bootstrap)) {
            let lanes = LANES.min(bootstrap.resamples - first);
            drawn.extend(self.counted(&counts)[..lanes].iter().filter_map(&statistic));
        }
        Interval::percentile(estimate, drawn, self.blocks.len(), bootstrap)
    }

    fn counted(&self, counts: &[Counts]) -> [[f64; SUMS]; LANES] {
        let mut sums = [[0.0; LANES]; SUMS];
        for (block, counts) in self.blocks.iter().zip(counts) {
            let counts = counts.map(f64::from);
            for (sums, part) in sums.iter_mut().zip(block) {
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum += count * part;
                }
            }
        }
        std::array::from_fn(|lane| std::array::from_fn(|at| sums[at][lane]))
    }
}

fn add<const SUMS: usize>(sums: &mut [f64; SUMS], parts: [f64; SUMS]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
    }
}
