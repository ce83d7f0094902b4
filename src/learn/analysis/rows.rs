//! A view of test rows → rows held in memory, which of them belong to one time, and intervals of what is measured on them.

use std::ops::Range;

use crate::learn::dataset::View;
use crate::metrics::bootstrap::{BlockSums, Blocks, Bootstrap, Estimate, RowBlocks};
use crate::metrics::{Predictions, losses};
use crate::model::features::Encoder;

/// Neighbors that stay together when rows are sampled.
const CHUNK_ROWS: usize = 64;
/// Rows of a block of time, where rows have none.
const BLOCK_ROWS: usize = 1_000;
/// Seconds of a block of time.
const BLOCK_SECONDS: i64 = 3_600;
/// Blocks of time with fewer rows are joined with the next: rows must have somebody to change places with.
const LEAST_ROWS: usize = 30;
/// Consecutive rows that are resampled together, where nobody says which belong together.
const RESAMPLED_ROWS: usize = 100;

/// One field of the encoder: where its codes stand in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) codes: Range<usize>,
}

/// The fields of an encoder, in the order of its codes.
pub(super) fn fields(encoder: &Encoder) -> Vec<Field> {
    let mut start = 0;
    let field = |(name, positions): (&str, usize)| {
        let codes = start..start + positions;
        start = codes.end;
        Field { name: name.to_owned(), codes }
    };
    encoder.features().map(field).collect()
}

/// Rows in memory, with what is known of them.
#[derive(Debug, Clone)]
pub(super) struct HeldRows {
    /// Codes in one row.
    pub(super) width: usize,
    /// `rows × width`.
    pub(super) codes: Vec<u32>,
    pub(super) targets: Targets,
}

/// What is known of rows besides their codes.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    /// Rows of the dataset.
    pub(super) rows: Vec<usize>,
    /// 1 for a click.
    pub(super) labels: Vec<u8>,
    pub(super) weights: Option<Vec<f32>>,
    pub(super) times: Option<Vec<i64>>,
    pub(super) groups: Option<Vec<u64>>,
}

impl HeldRows {
    /// At most about `most` rows of a view, in order: chunks of neighbors, spread evenly.
    pub(super) fn sample(view: &View<'_>, most: usize) -> HeldRows {
        let rows = view.rows();
        let positions: Vec<Range<usize>> = match most.div_ceil(CHUNK_ROWS).max(1) {
            _ if rows <= most => std::iter::once(0..rows).collect(),
            chunks => (0..chunks)
                .map(|chunk| {
                    let first = (chunk as u128 * rows as u128 / chunks as u128) as usize;
                    first..(first + CHUNK_ROWS).min(rows)
                })
                .collect(),
        };
        let (mut rows, mut codes) = (Vec::new(), Vec::new());
        for piece in positions.into_iter().flat_map(|at| view.pieces_at(at)) {
            rows.extend(piece.rows);
            codes.extend_from_slice(piece.codes);
        }
        HeldRows { width: view.dataset().width(), codes, targets: Targets::of(view, rows) }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.targets.rows.len()
    }
}

impl Targets {
    /// Those of all rows of a view.
    pub(super) fn all(view: &View<'_>) -> Targets {
        Targets::of(view, view.ranges().iter().cloned().flatten().collect())
    }

    fn of(view: &View<'_>, rows: Vec<usize>) -> Targets {
        let set = view.dataset();
        let labels = rows.iter().map(|row| set.label(*row)).collect();
        let weights = set.has_weight().then(|| rows.iter().map(|row| set.weight(*row)).collect());
        let times = rows.iter().map(|row| set.time(*row)).collect();
        let groups = rows.iter().map(|row| set.group(*row)).collect();
        Targets { rows, labels, weights, times, groups }
    }

    /// Rows that stay together when they are resampled: `block_rows` consecutive ones, or for 0 those of a group, or a hundred.
    pub(super) fn blocks(&self, block_rows: usize) -> RowBlocks {
        let blocks = match (&self.groups, block_rows) {
            (Some(groups), 0) => Blocks::Groups(groups),
            (None, 0) => Blocks::Rows(RESAMPLED_ROWS),
            (_, rows) => Blocks::Rows(rows),
        };
        RowBlocks::new(self.labels.len(), blocks)
    }

    /// Positions of the rows of each block of time, in time order: whole hours, joined until there are enough rows; without
    /// times, consecutive rows.
    pub(super) fn time_blocks(&self) -> Vec<Vec<u32>> {
        let positions = 0..self.labels.len() as u32;
        let Some(times) = &self.times else {
            return positions.collect::<Vec<_>>().chunks(BLOCK_ROWS).map(<[u32]>::to_vec).collect();
        };
        let hour = |row: &u32| times[*row as usize].div_euclid(BLOCK_SECONDS);
        let mut order: Vec<u32> = positions.collect();
        order.sort_by_key(hour);
        let mut blocks: Vec<Vec<u32>> = Vec::new();
        for hour in order.chunk_by(|a, b| hour(a) == hour(b)) {
            match blocks.last_mut().filter(|last| last.len() < LEAST_ROWS) {
                Some(last) => last.extend(hour),
                None => blocks.push(hour.to_vec()),
            }
        }
        // What is left at the end joins the block before it.
        match blocks.pop() {
            Some(last) if last.len() < LEAST_ROWS && !blocks.is_empty() => {
                blocks.last_mut().expect("one is left").extend(last);
            }
            last => blocks.extend(last),
        }
        blocks
    }
}

/// Rows and how their measures vary.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) targets: &'a Targets,
    pub(super) blocks: RowBlocks,
    pub(super) bootstrap: Bootstrap,
}

impl<'a> Judge<'a> {
    pub(super) fn new(targets: &'a Targets, block_rows: usize, bootstrap: Bootstrap) -> Self {
        Judge { targets, blocks: targets.blocks(block_rows), bootstrap }
    }

    pub(super) fn predictions<'p>(&'p self, probabilities: &'p [f64]) -> Predictions<'p> {
        Predictions::new(&self.targets.labels, probabilities, self.targets.weights.as_deref())
    }

    /// Log loss of each row, nats.
    pub(super) fn losses(&self, probabilities: &[f64]) -> Vec<f64> {
        losses::row_log_losses(&self.predictions(probabilities))
    }

    /// Weight of a row.
    pub(super) fn weight(&self, row: usize) -> f64 {
        self.targets.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]))
    }

    /// Weighted mean of a number of each row over those that count; `None` when these weigh nothing.
    pub(super) fn mean(&self, value: impl Fn(usize) -> f64, counts: impl Fn(usize) -> bool) -> Option<Estimate> {
        let quantities = |row: usize| match counts(row) {
            true => [self.weight(row) * value(row), self.weight(row)],
            false => [0.0; 2],
        };
        self.ratio(quantities)
    }

    /// The first sum over the second; `None` when the second is zero.
    pub(super) fn ratio(&self, quantities: impl Fn(usize) -> [f64; 2]) -> Option<Estimate> {
        self.statistic(quantities, |[above, below]| (*below > 0.0).then(|| above / below))
    }

    /// A statistic of sums over rows; `None` where it does not exist on all rows.
    pub(super) fn statistic<const SUMS: usize>(
        &self,
        quantities: impl Fn(usize) -> [f64; SUMS],
        statistic: impl Fn(&[f64; SUMS]) -> Option<f64>,
    ) -> Option<Estimate> {
        let sums = BlockSums::of(&self.blocks, quantities);
        let value = statistic(&sums.total())?;
        Some(Estimate::new(value, sums.interval(self.bootstrap, statistic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::dataset::Dataset;
    use crate::learn::dataset::tests::{SCHEMA, write};

    #[test]
    fn samples_are_spread_and_keep_neighbors_together() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), SCHEMA, 10_000, |row| row as i64);
        let dataset = Dataset::open(folder.path()).unwrap();
        let view = View::new(&dataset, vec![100..5_100, 6_000..9_000]);
        let all = HeldRows::sample(&view, 8_000);
        assert_eq!(all.targets.rows, (100..5_100).chain(6_000..9_000).collect::<Vec<_>>());
        let some = HeldRows::sample(&view, 1_000);
        assert_eq!(some.rows(), 1_024);
        assert!(some.targets.rows.windows(2).all(|pair| pair[0] < pair[1]), "each row once, in order");
        assert!(some.targets.rows[1_023] > 8_400 && some.targets.rows[..2] == [100, 101]);
        assert!(some.codes.chunks(3).zip(&some.targets.rows).all(|(codes, row)| codes[0] as usize == row + 1));
    }

    #[test]
    fn blocks_of_time_are_whole_hours_with_enough_rows() {
        let targets = |times: Option<Vec<i64>>, rows: usize| Targets {
            rows: (0..rows).collect(),
            labels: vec![0; rows],
            weights: None,
            times,
            groups: None,
        };
        let without = targets(None, 2_500).time_blocks();
        assert_eq!(without.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        // 40, 10, 25, 40 and 5 rows in five hours, the latest first.
        let hours = [(9, 5), (8, 40), (7, 25), (6, 10), (5, 40)];
        let times: Vec<i64> = hours.iter().flat_map(|(hour, rows)| vec![hour * 3_600 + 7; *rows]).collect();
        let blocks = targets(Some(times.clone()), 120).time_blocks();
        assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [40, 35, 45]);
        assert!(blocks[0].iter().all(|row| times[*row as usize] / 3_600 == 5));
        assert!(blocks[2].iter().all(|row| times[*row as usize] / 3_600 >= 8));
    }
}
