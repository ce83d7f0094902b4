//! Blocks and a seed → how often each block was drawn, for every resample.
//!
//! ```text
//! rows ─▶ RowBlocks (row → block) ─▶ counts[group of 16 resamples][block][16]
//! ```
//!
//! Sixteen resamples stand side by side, so that one visit of a row or of a block serves all of them, and the compiler turns
//! the sixteen additions into a few vector instructions. Each resample has its own stream of the generator, 2^128 draws from
//! the next, so that it does not matter who asks for it and when.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::{Blocks, Bootstrap, MOST_BLOCKS};

/// Resamples that stand side by side.
pub(super) const LANES: usize = 16;

/// How often a block was drawn in each of [`LANES`] resamples.
pub(super) type Counts = [u8; LANES];

/// The block of each row, numbered from 0 in the order of their first rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBlocks {
    block_of: Vec<u16>,
    blocks: usize,
}

/// How often each block was drawn in every resample; one byte a block and resample.
#[derive(Debug, Clone)]
pub struct Resamples {
    groups: Vec<Vec<Counts>>,
    resamples: usize,
    blocks: usize,
}

impl RowBlocks {
    /// Cuts `rows` rows into blocks; with more than [`MOST_BLOCKS`], neighbors are merged evenly.
    ///
    /// # Panics
    /// When a block is to have zero rows, or when there is not one group for each row.
    pub fn new(rows: usize, blocks: Blocks) -> Self {
        let numbers: Vec<u32> = match blocks {
            Blocks::Rows(size) => {
                assert!(size > 0, "a block has at least one row");
                (0..rows).map(|row| (row / size) as u32).collect()
            }
            Blocks::Groups(groups) => {
                assert_eq!(rows, groups.len(), "one group for each row");
                number_by_first_row(groups)
            }
        };
        let blocks = numbers.iter().max().map_or(0, |most| *most as usize + 1);
        let together = blocks.div_ceil(MOST_BLOCKS).max(1);
        let block_of = numbers.into_iter().map(|number| (number as usize / together) as u16).collect();
        Self { block_of, blocks: blocks.div_ceil(together) }
    }

    /// Number of blocks, after merging.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.block_of.len()
    }

    /// The block of `row`.
    ///
    /// # Panics
    /// When `row` is not below [`Self::rows`].
    pub fn of(&self, row: usize) -> usize {
        usize::from(self.block_of[row])
    }
}

impl Resamples {
    /// Draws all resamples of `blocks` blocks.
    ///
    /// # Panics
    /// When the settings are out of bounds or there are no blocks.
    pub fn draw(blocks: usize, bootstrap: Bootstrap) -> Self {
        bootstrap.assert_bounds();
        let groups = groups(blocks, bootstrap).collect();
        Self { groups, resamples: bootstrap.resamples, blocks }
    }

    /// Number of resamples.
    pub fn len(&self) -> usize {
        self.resamples
    }

    /// Whether there are none, which settings in bounds exclude.
    pub fn is_empty(&self) -> bool {
        self.resamples == 0
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Counts of [`LANES`] resamples at a time, by block; the last group may hold lanes beyond [`Self::len`], all zero.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[Counts]> {
        self.groups.iter().map(Vec::as_slice)
    }
}

/// The counts of all resamples, [`LANES`] at a time.
pub(super) fn groups(blocks: usize, bootstrap: Bootstrap) -> impl Iterator<Item = Vec<Counts>> {
    assert!(blocks > 0, "there is nothing to draw from no blocks");
    let mut stream = Xoshiro256PlusPlus::seed_from_u64(bootstrap.seed);
    (0..bootstrap.resamples).step_by(LANES).map(move |first| {
        let mut counts: Vec<Counts> = vec![[0; LANES]; blocks];
        let mut resample = |lane: usize| {
            let mut random = stream.clone();
            stream.jump();
            for _ in 0..blocks {
                let drawn = &mut counts[index_below(blocks, random.next_u64())][lane];
                // A count is near Poisson(1): the chance of one above 255 is below 1e-500.
                *drawn = drawn.saturating_add(1);
            }
        };
        (0..LANES.min(bootstrap.resamples - first)).for_each(&mut resample);
        counts
    })
}

/// `random` mapped to `0..length`; the bias is below `length / 2^64`.
fn index_below(length: usize, random: u64) -> usize {
    ((u128::from(random) * length as u128) >> 64) as usize
}

/// Number of each row's group; groups are numbered in the order of their first rows.
fn number_by_first_row(groups: &[u64]) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> = groups.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut firsts: Vec<(u32, usize)> = Vec::new();
    let mut start = 0;
    for group in order.chunk_by(|a, b| a.0 == b.0) {
        firsts.push((group[0].1, start));
        start += group.len();
    }
    firsts.sort_unstable();
    let mut numbers = vec![0; groups.len()];
    for (number, (_, start)) in firsts.into_iter().enumerate() {
        let group = order[start];
        for (_, row) in order[start..].iter().take_while(|other| other.0 == group.0) {
            numbers[*row as usize] = number as u32;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Bootstrap = Bootstrap { resamples: 37, confidence: 0.9, seed: 7 };

    #[test]
    fn groups_are_numbered_by_their_first_rows() {
        let blocks = RowBlocks::new(6, Blocks::Groups(&[9, 2, 9, 5, 2, 1]));
        assert_eq!((0..6).map(|row| blocks.of(row)).collect::<Vec<_>>(), [0, 1, 0, 2, 1, 3]);
        assert_eq!((blocks.blocks(), blocks.rows()), (4, 6));
        assert_eq!(RowBlocks::new(0, Blocks::Rows(3)).blocks(), 0);
    }

    #[test]
    fn neighbors_are_merged_when_there_are_too_many() {
        let blocks = RowBlocks::new(200_000, Blocks::Rows(1));
        assert_eq!(blocks.blocks(), 8_000); // 25 rows each
        assert_eq!((blocks.of(24), blocks.of(25), blocks.of(199_999)), (0, 1, 7_999));
        let by_id: Vec<u64> = (0..200_000).rev().collect();
        assert_eq!(RowBlocks::new(200_000, Blocks::Groups(&by_id)), blocks);
    }

    #[test]
    fn every_resample_draws_as_many_blocks_as_there_are() {
        let resamples = Resamples::draw(50, SETTINGS);
        let mut totals = Vec::new();
        for counts in resamples.groups() {
            for lane in 0..LANES {
                totals.push(counts.iter().map(|count| usize::from(count[lane])).sum::<usize>());
            }
        }
        assert!(totals[..37].iter().all(|total| *total == 50) && totals[37..].iter().all(|total| *total == 0));
        let again = Resamples::draw(50, Bootstrap { resamples: 20, ..SETTINGS });
        let first = |resamples: &Resamples| resamples.groups().next().map(<[Counts]>::to_vec);
        assert_eq!(first(&again), first(&resamples), "a resample does not depend on how many follow");
        assert_ne!(first(&Resamples::draw(50, Bootstrap { seed: 8, ..SETTINGS })), first(&resamples));
    }
}
