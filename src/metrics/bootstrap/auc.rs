//! Predictions, sorted once → the AUC of every resample.
//!
//! A resample changes how often a row counts, never its rank, so its AUC is one walk along the order of all rows. Rows are
//! laid out as *segments*: others (rows without a click), then clicks, between which no click and other of the same segment
//! need be told apart but by one rule. With `N` and `C` the counted others and clicks of a segment and `below` the others of all
//! lower segments, twice the pairs won are
//!
//! ```text
//! tied segment (one probability):  C (2 below +  N)
//! else (all others below clicks):  C (2 below + 2N)
//! ```
//!
//! so that most rows cost one addition for sixteen resamples. Without weights all of this is whole numbers, exact in any order.

use super::super::Predictions;
use super::resamples::{Counts, LANES, Resamples, RowBlocks};

/// A prediction set laid out for [`RankedRows::resampled`]; 2 bytes a row (6 with weights) and 12 a segment.
#[derive(Debug, Clone)]
pub struct RankedRows {
    /// Block of each row, in the order of the walk: lowest probability first.
    blocks: Vec<u16>,
    /// Weight of each row, in the same order.
    weights: Option<Vec<f32>>,
    segments: Vec<Segment>,
}

/// Where the others and the clicks of a segment end.
#[derive(Debug, Clone, Copy)]
struct Segment {
    others_end: u32,
    clicks_end: u32,
    tied: bool,
}

/// Rows of `predictions` in the order of their probabilities, lowest first; rows of one probability in any order.
pub fn ascending(predictions: &Predictions) -> Vec<u32> {
    // Probabilities are not negative, so that their bits are in their order; adding zero makes one zero of both.
    let mut keyed: Vec<(u64, u32)> = predictions.iter().map(|row| (row.probability + 0.0).to_bits()).zip(0..).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, row)| row).collect()
}

impl RankedRows {
    /// Lays out `predictions`, whose `order` is that of [`ascending`].
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn new(predictions: &Predictions, order: &[u32], blocks: &RowBlocks) -> Self {
        assert!(predictions.len() == order.len() && order.len() == blocks.rows(), "the same rows in all three");
        assert!(order.len() < 1 << 30, "a resample of more rows would not fit into 31 bits");
        let mut laid: Vec<u32> = Vec::with_capacity(order.len());
        let mut segments: Vec<Segment> = Vec::new();
        let row = |at: &u32| predictions.row(*at as usize);
        for tied in order.chunk_by(|a, b| row(a).probability == row(b).probability) {
            let others = tied.iter().filter(|at| !row(at).click);
            let clicks = tied.iter().filter(|at| row(at).click);
            let (all, clicked) = (tied.len(), clicks.clone().count());
            let open = segments.last_mut().filter(|last| !last.tied);
            match open {
                // Others join an open segment that has no click yet, clicks any.
                Some(last) if clicked == 0 && last.clicks_end == last.others_end => {
                    last.others_end += all as u32;
                    last.clicks_end += all as u32;
                }
                Some(last) if clicked == all => last.clicks_end += all as u32,
                _ => {
                    let others_end = (laid.len() + all - clicked) as u32;
                    let clicks_end = (laid.len() + all) as u32;
                    segments.push(Segment { others_end, clicks_end, tied: 0 < clicked && clicked < all });
                }
            }
            laid.extend(others);
            laid.extend(clicks);
        }
        let blocks = laid.iter().map(|at| blocks.of(*at as usize) as u16).collect();
        let weights = predictions.has_weights().then(|| laid.iter().map(|at| row(at).weight).collect());
        Self { blocks, weights, segments }
    }

    /// AUC of each resample; `None` where one class was not drawn. All resamples of `resamples`, in their order.
    ///
    /// # Panics
    /// When the blocks are not those the rows were laid out with.
    pub fn resampled(&self, resamples: &Resamples) -> Vec<Option<f64>> {
        let mut aucs = Vec::with_capacity(resamples.len());
        for counts in resamples.groups() {
            aucs.extend(self.of_counts(counts));
        }
        aucs.truncate(resamples.len());
        aucs
    }

    /// AUC of all rows, each counted once; `None` with one class.
    pub fn auc(&self) -> Option<f64> {
        let most = self.blocks.iter().max().map_or(0, |most| usize::from(*most) + 1);
        self.of_counts(&vec![[1; LANES]; most])[0]
    }

    fn of_counts(&self, counts: &[Counts]) -> [Option<f64>; LANES] {
        let won = match &self.weights {
            None => self.walk(counts),
            Some(weights) => self.walk_weighted(counts, weights),
        };
        won.map(|Won { others, clicks, pairs }| {
            let all = others * clicks;
            (all > 0.0).then(|| 0.5 * pairs / all)
        })
    }

    fn walk(&self, counts: &[Counts]) -> [Won; LANES] {
        let (mut below, mut clicked, mut pairs) = ([0u32; LANES], [0u32; LANES], [0u64; LANES]);
        let mut start = 0;
        for segment in &self.segments {
            let (others_end, clicks_end) = (segment.others_end as usize, segment.clicks_end as usize);
            let others = add_up(counts, &self.blocks[start..others_end]);
            let clicks = add_up(counts, &self.blocks[others_end..clicks_end]);
            let share = if segment.tied { 1 } else { 2 };
            // Numbers of rows, below 2^31 each: 32 bits hold twice their sum, and 64 bits the product.
            for lane in 0..LANES {
                pairs[lane] += u64::from(clicks[lane]) * u64::from(2 * below[lane] + share * others[lane]);
                below[lane] += others[lane];
                clicked[lane] += clicks[lane];
            }
            start = clicks_end;
        }
        std::array::from_fn(|lane| Won {
            others: f64::from(below[lane]),
            clicks: f64::from(clicked[lane]),
            pairs: pairs[lane] as f64,
        })
    }

    fn walk_weighted(&self, counts: &[Counts], weights: &[f32]) -> [Won; LANES] {
        let mut won = [Won::default(); LANES];
        let mut start = 0;
        let add_up = |rows: std::ops::Range<usize>| {
            let mut sums = [0.0; LANES];
            for (block, weight) in self.blocks[rows.clone()].iter().zip(&weights[rows]) {
                for (sum, count) in sums.iter_mut().zip(&counts[usize::from(*block)]) {
                    *sum += f64::from(*count) * f64::from(*weight);
                }
            }
            sums
        };
        for segment in &self.segments {
            let (others_end, clicks_end) = (segment.others_end as usize, segment.clicks_end as usize);
            let (others, clicks) = (add_up(start..others_end), add_up(others_end..clicks_end));
            let share = if segment.tied { 1.0 } else { 2.0 };
            for (lane, won) in won.iter_mut().enumerate() {
                won.pairs += clicks[lane] * (2.0 * won.others + share * others[lane]);
                won.others += others[lane];
                won.clicks += clicks[lane];
            }
            start = clicks_end;
        }
        won
    }
}

/// Counted rows of one resample.
#[derive(Debug, Clone, Copy, Default)]
struct Won {
    others: f64,
    clicks: f64,
    /// Twice the pairs of a click and an other in which the click has the higher probability; a tie counts one.
    pairs: f64,
}

/// How often the rows of these blocks were drawn.
#[inline(always)]
fn add_up(counts: &[Counts], blocks: &[u16]) -> [u32; LANES] {
    let mut sums = [0u32; LANES];
    // 256 counts of at most 255 fit into 16 bits, which add up twice as many lanes in one instruction as 32 do.
    for blocks in blocks.chunks(256) {
        let mut part = [0u16; LANES];
        for block in blocks {
            let counts = &counts[usize::from(*block)];
            for lane in 0..LANES {
                part[lane] += u16::from(counts[lane]);
            }
        }
        for lane in 0..LANES {
            sums[lane] += u32::from(part[lane]);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::bootstrap::{Blocks, Bootstrap};
    use crate::metrics::ranking::Ranking;
    use proptest::prelude::*;

    proptest! {
        /// The walk against sorting a resample that was written out row by row.
        #[test]
        fn a_resample_is_the_auc_of_its_rows(
            rows in prop::collection::vec((0u8..2, (0u32..30).prop_map(|p| f64::from(p) / 31.0), 0u8..4), 4..150),
            size in 1usize..7,
            weighted in any::<bool>(),
        ) {
            let labels: Vec<u8> = rows.iter().map(|row| row.0).collect();
            let probabilities: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let weights: Vec<f32> = rows.iter().map(|row| f32::from(row.2) * 0.5).collect();
            let weights = weighted.then_some(&weights[..]);
            let predictions = Predictions::new(&labels, &probabilities, weights);
            let blocks = RowBlocks::new(rows.len(), Blocks::Rows(size));
            let ranked = RankedRows::new(&predictions, &ascending(&predictions), &blocks);
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-12,
                (a, b) => a == b,
            };
            prop_assert!(close(ranked.auc(), Ranking::new(&predictions).auc()));
            let resamples = Resamples::draw(blocks.blocks(), Bootstrap { resamples: 20, confidence: 0.9, seed: 3 });
            let aucs = ranked.resampled(&resamples);
            prop_assert_eq!(aucs.len(), 20);
            for (at, auc) in aucs.into_iter().enumerate() {
                let counts = resamples.groups().nth(at / LANES).expect("a group for each resample");
                let counted: Vec<f32> = (0..rows.len())
                    .map(|row| f32::from(counts[blocks.of(row)][at % LANES]) * weights.map_or(1.0, |w| w[row]))
                    .collect();
                let written_out = Predictions::new(&labels, &probabilities, Some(&counted));
                prop_assert!(close(auc, Ranking::new(&written_out).auc()), "resample {}", at);
            }
        }
    }
}
