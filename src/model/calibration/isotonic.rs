//! Isotonic regression by pooling adjacent violators (Ayer et al. 1955): the non-decreasing curve closest to the clicks.
//!
//! Points sorted by logit start as blocks of their own; a block whose click rate is not above its left neighbor's is merged
//! with it. Between the centers of blocks the curve is a straight line. Blocks at the ends without a click (or without a
//! non-click) are merged inwards, so that the curve never claims 0 or 1.

use serde::{Deserialize, Serialize};

/// A non-decreasing, piecewise linear curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// Logits of the knots, ascending.
    pub logits: Vec<f64>,
    /// Probabilities at the knots, ascending, in (0, 1).
    pub probabilities: Vec<f64>,
}

#[derive(Clone, Copy)]
struct Block {
    logits: f64,
    clicks: f64,
    rows: f64,
}

impl Block {
    fn rate(&self) -> f64 {
        self.clicks / self.rows
    }

    fn merge(self, other: Block) -> Block {
        Block { logits: self.logits + other.logits, clicks: self.clicks + other.clicks, rows: self.rows + other.rows }
    }
}

impl Isotonic {
    /// Fits (logit, label) points in ascending order, which hold both classes and finite logits.
    pub fn fit(ascending: impl Iterator<Item = (f64, u8)>) -> Isotonic {
        let mut blocks: Vec<Block> = Vec::new();
        let mut last = f64::NAN;
        for (logit, label) in ascending {
            let point = Block { logits: logit, clicks: f64::from(label), rows: 1.0 };
            match blocks.last_mut() {
                // Equal logits are one point: they cannot get different probabilities.
                Some(block) if logit == last => *block = block.merge(point),
                _ => {
                    pool(&mut blocks);
                    blocks.push(point);
                }
            }
            last = logit;
        }
        pool(&mut blocks);
        let mut first = 0;
        while first + 1 < blocks.len() && blocks[first].clicks == 0.0 {
            blocks[first + 1] = blocks[first].merge(blocks[first + 1]);
            first += 1;
        }
        let mut end = blocks.len();
        while end > first + 1 && blocks[end - 1].clicks == blocks[end - 1].rows {
            blocks[end - 2] = blocks[end - 2].merge(blocks[end - 1]);
            end -= 1;
        }
        let blocks = &blocks[first..end];
        Isotonic {
            logits: blocks.iter().map(|block| block.logits / block.rows).collect(),
            probabilities: blocks.iter().map(Block::rate).collect(),
        }
    }

    /// Value of the curve at a logit; beyond the ends that of the end.
    #[inline]
    pub fn probability(&self, logit: f64) -> f64 {
        let right = self.logits.partition_point(|knot| *knot < logit);
        if right == 0 {
            return self.probabilities[0];
        }
        if right == self.logits.len() {
            return self.probabilities[right - 1];
        }
        let (from, to) = (self.logits[right - 1], self.logits[right]);
        let share = (logit - from) / (to - from);
        self.probabilities[right - 1] + share * (self.probabilities[right] - self.probabilities[right - 1])
    }
}

/// Merges the last block leftwards while its rate is not above its neighbor's.
fn pool(blocks: &mut Vec<Block>) {
    while let [.., left, right] = blocks[..] {
        if left.rate() < right.rate() {
            break;
        }
        blocks.pop();
        blocks.pop();
        blocks.push(left.merge(right));
    }
}
