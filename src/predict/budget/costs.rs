//! What scoring took → what it will take: running estimates for each tier, read and written by all threads without a lock.
//!
//! A block of candidates costs something once (weights come from memory) and something for each, so estimates are kept apart by
//! block size, in powers of two. Each is a running mean and a running mean deviation of nanoseconds a candidate, and an estimate is the
//! mean and twice the deviation above it (Jacobson 1988, "Congestion avoidance and control", for the same reason: being late
//! costs more than waiting).
//!
//! Two threads that write at once lose one of two samples, which a running mean does not notice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::bundle::Tier;

/// Sizes told apart: 1, 2 to 3, …, 128 and more.
const SIZES: usize = 8;
/// Share of a new sample in the mean.
const MEAN_SHARE: f32 = 1.0 / 8.0;
/// Share of a new sample in the mean deviation.
const DEVIATION_SHARE: f32 = 1.0 / 4.0;
/// A sample counts as at most this many means: a thread that was put aside says nothing about the work.
const MOST_MEANS: f32 = 4.0;
/// What an estimate keeps of itself when a tier is not tried because of it.
const KEPT: f32 = 63.0 / 64.0;

/// Running estimates of the cost of tiers.
#[derive(Debug, Default)]
pub struct Costs {
    /// Full, then cheap; mean in the upper half, deviation in the lower, both f32; 0 where nothing is known.
    cells: [[AtomicU64; SIZES]; 2],
}

impl Costs {
    /// What `count` candidates will take; nothing for the base rate, and for a tier of which nothing is known.
    pub fn estimate(&self, tier: Tier, count: usize) -> Duration {
        let Some(cells) = self.of(tier) else { return Duration::ZERO };
        let size = size(count);
        // What is known of the nearest size, of smaller ones first: those cost a candidate more.
        let known =
            (0..=size).rev().chain(size + 1..SIZES).map(|size| load(&cells[size])).find(|(mean, _)| *mean > 0.0);
        let (mean, deviation) = known.unwrap_or((0.0, 0.0));
        Duration::from_nanos(((mean + 2.0 * deviation) as f64 * count as f64) as u64)
    }

    /// Takes note of what `count` candidates took.
    pub fn record(&self, tier: Tier, count: usize, took: Duration) {
        let (Some(cells), 1..) = (self.of(tier), count) else { return };
        let cell = &cells[size(count)];
        let sample = (took.as_nanos() as f64 / count as f64).clamp(1.0, 1e12) as f32;
        let (mean, deviation) = load(cell);
        let (mean, deviation) = if mean == 0.0 {
            (sample, sample / 2.0)
        } else {
            let off = sample.min(MOST_MEANS * mean) - mean;
            (mean + MEAN_SHARE * off, deviation + DEVIATION_SHARE * (off.abs() - deviation))
        };
        store(cell, mean, deviation);
    }

    /// Lowers the estimate for `count` candidates a little: without it, a tier whose estimate once rose above every budget would
    /// never be tried again.
    pub fn forget(&self, tier: Tier, count: usize) {
        let Some(cells) = self.of(tier) else { return };
        let cell = &cells[size(count)];
        let (mean, deviation) = load(cell);
        store(cell, KEPT * mean, KEPT * deviation);
    }

    /// The base rate costs nothing.
    fn of(&self, tier: Tier) -> Option<&[AtomicU64; SIZES]> {
        match tier {
            Tier::Full => Some(&self.cells[0]),
            Tier::Cheap => Some(&self.cells[1]),
            Tier::BaseRate => None,
        }
    }
}

fn size(count: usize) -> usize {
    (count.max(1).ilog2() as usize).min(SIZES - 1)
}

fn load(cell: &AtomicU64) -> (f32, f32) {
    let bits = cell.load(Ordering::Relaxed);
    (f32::from_bits((bits >> 32) as u32), f32::from_bits(bits as u32))
}

fn store(cell: &AtomicU64, mean: f32, deviation: f32) {
    cell.store(u64::from(mean.to_bits()) << 32 | u64::from(deviation.to_bits()), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn estimates_settle_above_what_it_takes_and_tell_sizes_apart() {
        let costs = Costs::default();
        assert_eq!(costs.estimate(Tier::Full, 100), Duration::ZERO, "nothing is known");
        for _ in 0..100 {
            costs.record(Tier::Full, 100, 500 * MICRO);
            costs.record(Tier::Full, 1, 50 * MICRO);
            costs.record(Tier::Cheap, 100, 20 * MICRO);
        }
        let between = |least: u32, got: Duration, most: u32| {
            assert!(least * MICRO <= got + Duration::from_nanos(100) && got <= most * MICRO, "{got:?}");
        };
        between(500, costs.estimate(Tier::Full, 100), 501);
        between(50, costs.estimate(Tier::Full, 1), 51);
        between(500, costs.estimate(Tier::Full, 10), 501);
        between(5 * 300, costs.estimate(Tier::Full, 300), 1503);
        between(20, costs.estimate(Tier::Cheap, 100), 21);
        assert_eq!(costs.estimate(Tier::BaseRate, 1000), Duration::ZERO);
    }

    #[test]
    fn noise_raises_them_and_one_pause_does_not_shut_a_tier_off() {
        let (steady, noisy) = (Costs::default(), Costs::default());
        for turn in 0..100 {
            steady.record(Tier::Full, 64, 100 * MICRO);
            noisy.record(Tier::Full, 64, (80 + 40 * (turn % 2)) * MICRO);
        }
        assert!(noisy.estimate(Tier::Full, 64) > steady.estimate(Tier::Full, 64) + 20 * MICRO);
        steady.record(Tier::Full, 64, Duration::from_secs(1));
        assert!(steady.estimate(Tier::Full, 64) < 300 * MICRO, "{:?}", steady.estimate(Tier::Full, 64));
        for _ in 0..30 {
            steady.record(Tier::Full, 64, 100 * MICRO);
        }
        assert!(steady.estimate(Tier::Full, 64) < 110 * MICRO);
    }

    #[test]
    fn what_is_not_tried_is_forgotten() {
        let costs = Costs::default();
        costs.record(Tier::Full, 16, 1000 * MICRO);
        let before = costs.estimate(Tier::Full, 16);
        (0..100).for_each(|_| costs.forget(Tier::Full, 16));
        assert!(costs.estimate(Tier::Full, 16) < before / 4);
    }

    #[test]
    fn threads_share_them() {
        let costs = Costs::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| costs.record(Tier::Cheap, 32, 32 * MICRO)));
            }
        });
        let estimate = costs.estimate(Tier::Cheap, 32);
        assert!(estimate >= 31 * MICRO && estimate < 40 * MICRO, "{estimate:?}");
    }
}
