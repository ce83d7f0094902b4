//! What every request counts: latencies, tiers, probabilities.
//!
//! Each answering thread adds to numbers of its own (of a few shards), so that threads do not pass cache lines to and fro; who reads
//! adds the shards up. Distributions are buckets that a power of two begins, some to each doubling: the bucket of a number is a shift
//! of its bits, and any quantile is known to within the width of a bucket, over the whole time or over any part of it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::predict::scorer::{Scored, Tier};

/// Threads beyond this number share shards.
const SHARDS: usize = 16;

/// Buckets over a range of doublings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// The first bucket ends at 2 to this power.
    lowest_power: i32,
    doublings: usize,
    /// A doubling has 2 to this many buckets.
    fraction_bits: u32,
}

/// Microseconds, 1 µs to 67 s, to 9 %.
pub(super) const LATENCY: Scale = Scale { lowest_power: 0, doublings: 26, fraction_bits: 3 };
/// Probabilities, from one in a million.
pub(super) const PROBABILITY: Scale = Scale { lowest_power: -20, doublings: 20, fraction_bits: 1 };

const LATENCY_BUCKETS: usize = LATENCY.buckets();
const PROBABILITY_BUCKETS: usize = PROBABILITY.buckets();

impl Scale {
    /// Number of buckets, with one below and one above the range.
    const fn buckets(&self) -> usize {
        (self.doublings << self.fraction_bits) + 2
    }

    fn bucket(&self, value: f64) -> usize {
        let first = ((1023 + self.lowest_power) as u64) << self.fraction_bits;
        let place = value.to_bits() >> (52 - self.fraction_bits);
        match value < self.upper(0) {
            true => 0,
            false => ((place - first) as usize + 1).min(self.buckets() - 1),
        }
    }

    /// Where a bucket ends; infinity for the last.
    pub(super) fn upper(&self, bucket: usize) -> f64 {
        if bucket + 1 == self.buckets() {
            return f64::INFINITY;
        }
        let (doubling, part) = (bucket >> self.fraction_bits, bucket & ((1 << self.fraction_bits) - 1));
        2f64.powi(self.lowest_power + doubling as i32) * (1.0 + part as f64 / f64::from(1 << self.fraction_bits))
    }

    /// The first bucket that ends at 2 to `power` or above.
    pub(super) fn bucket_ending_at(&self, power: i32) -> usize {
        ((power - self.lowest_power) as usize) << self.fraction_bits
    }

    /// The number below which `share` of the counts lie, to within a bucket; `None` without any.
    pub(super) fn quantile(&self, counts: &[u64], share: f64) -> Option<f64> {
        let total: u64 = counts.iter().sum();
        let rank = ((share * total as f64).ceil() as u64).max(1);
        let mut reached = 0;
        let bucket = counts.iter().position(|count| {
            reached += count;
            reached >= rank
        })?;
        Some(if bucket + 1 == counts.len() { self.upper(bucket - 1) } else { self.upper(bucket) })
    }
}

/// The counters of a few threads.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    candidates: [AtomicU64; Tier::ALL.len()],
    /// Answers that took longer than their request's budget.
    late: AtomicU64,
    /// Sum of latencies in nanoseconds.
    nanoseconds: AtomicU64,
    latency: [AtomicU64; LATENCY_BUCKETS],
    /// The same of waits for a place to be scored in.
    waited_nanoseconds: AtomicU64,
    waited: [AtomicU64; LATENCY_BUCKETS],
    /// Sum of probabilities, in units of 2⁻⁴⁰.
    probability_sum: AtomicU64,
    probability: [AtomicU64; PROBABILITY_BUCKETS],
}

/// From so many candidates on, they are counted apart first: one addition a bucket and not one a candidate.
const FEW: usize = 8;

/// Units of a probability in the sum: exact addition in any order.
const UNIT: f64 = (1_u64 << 40) as f64;

/// All counters.
#[derive(Debug)]
pub(super) struct Shards(Box<[Shard]>);

/// What was counted until some moment, or between two of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    /// By tier, in the order of [`Tier::ALL`].
    pub(super) candidates: [u64; Tier::ALL.len()],
    pub(super) late: u64,
    pub(super) seconds: f64,
    /// By bucket of [`LATENCY`].
    pub(super) latency: Vec<u64>,
    pub(super) waited_seconds: f64,
    /// By bucket of [`LATENCY`].
    pub(super) waited: Vec<u64>,
    pub(super) probability_sum: f64,
    /// By bucket of [`PROBABILITY`].
    pub(super) probability: Vec<u64>,
}

impl Shards {
    pub(super) fn new() -> Shards {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        let shard = |_| Shard {
            candidates: std::array::from_fn(|_| AtomicU64::new(0)),
            late: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            latency: zeros(),
            waited_nanoseconds: AtomicU64::new(0),
            waited: zeros(),
            probability_sum: AtomicU64::new(0),
            probability: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Shards((0..SHARDS).map(shard).collect())
    }

    /// Counts one answered request.
    pub(super) fn answered(&self, scored: &[Scored], took: Duration, late: bool) {
        let shard = self.own();
        add(&shard.late, u64::from(late));
        let mut tiers = [0; Tier::ALL.len()];
        let mut sum = 0;
        let mut count = |scored: &Scored| {
            tiers[scored.tier as usize] += 1;
            sum += (scored.probability * UNIT) as u64;
            PROBABILITY.bucket(scored.probability)
        };
        if scored.len() < FEW {
            scored.iter().for_each(|scored| add(&shard.probability[count(scored)], 1));
        } else {
            for part in scored.chunks(usize::from(u16::MAX)) {
                let mut probabilities = [0_u16; PROBABILITY_BUCKETS];
                part.iter().for_each(|scored| probabilities[count(scored)] += 1);
                let counted = shard.probability.iter().zip(probabilities);
                counted.for_each(|(counter, count)| add(counter, u64::from(count)));
            }
        }
        add(&shard.probability_sum, sum);
        shard.candidates.iter().zip(tiers).for_each(|(counter, count)| add(counter, count));
        let nanoseconds = took.as_nanos() as u64;
        add(&shard.nanoseconds, nanoseconds);
        add(&shard.latency[LATENCY.bucket(nanoseconds as f64 * 1e-3)], 1);
    }

    /// Counts one wait for a place to be scored in.
    pub(super) fn waited(&self, waited: Duration) {
        let shard = self.own();
        let nanoseconds = waited.as_nanos() as u64;
        add(&shard.waited_nanoseconds, nanoseconds);
        add(&shard.waited[LATENCY.bucket(nanoseconds as f64 * 1e-3)], 1);
    }

    /// Everything counted so far. Requests that are just being counted may be there in part.
    pub(super) fn read(&self) -> Counts {
        let sum = |of: &dyn Fn(&Shard) -> &AtomicU64| -> u64 {
            self.0.iter().map(|shard| of(shard).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        let latency: Vec<u64> = (0..LATENCY_BUCKETS).map(|at| sum(&|shard| &shard.latency[at])).collect();
        Counts {
            requests: latency.iter().sum(),
            candidates: std::array::from_fn(|tier| sum(&|shard| &shard.candidates[tier])),
            late: sum(&|shard| &shard.late),
            seconds: sum(&|shard| &shard.nanoseconds) as f64 * 1e-9,
            latency,
            waited_seconds: sum(&|shard| &shard.waited_nanoseconds) as f64 * 1e-9,
            waited: (0..LATENCY_BUCKETS).map(|at| sum(&|shard| &shard.waited[at])).collect(),
            probability_sum: sum(&|shard| &shard.probability_sum) as f64 / UNIT,
            probability: (0..PROBABILITY_BUCKETS).map(|at| sum(&|shard| &shard.probability[at])).collect(),
        }
    }

    fn own(&self) -> &Shard {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        &self.0[OWN.with(|own| *own)]
    }
}

fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl Counts {
    /// What was counted since `earlier`; nothing where that is the later of the two.
    pub(super) fn since(&self, earlier: &Counts) -> Counts {
        let differences =
            |now: &[u64], then: &[u64]| now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then)).collect();
        Counts {
            requests: self.requests.saturating_sub(earlier.requests),
            candidates: std::array::from_fn(|tier| self.candidates[tier].saturating_sub(earlier.candidates[tier])),
            late: self.late.saturating_sub(earlier.late),
            seconds: self.seconds - earlier.seconds,
            latency: differences(&self.latency, &earlier.latency),
            waited_seconds: self.waited_seconds - earlier.waited_seconds,
            waited: differences(&self.waited, &earlier.waited),
            probability_sum: self.probability_sum - earlier.probability_sum,
            probability: differences(&self.probability, &earlier.probability),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_in_their_buckets() {
        for scale in [LATENCY, PROBABILITY] {
            let mut lower = 0.0;
            for bucket in 0..scale.buckets() {
                let upper = scale.upper(bucket);
                assert!(upper > lower);
                assert_eq!(scale.bucket(lower), bucket, "{lower} begins bucket {bucket}");
                lower = upper;
            }
            assert_eq!(scale.upper(scale.bucket_ending_at(scale.lowest_power + 3)), 2f64.powi(scale.lowest_power + 3));
        }
    }

    #[test]
    fn what_is_counted_is_read() {
        let shards = Shards::new();
        let scored: Vec<Scored> = (1..=1000)
            .map(|at| Scored { probability: f64::from(at) / 1024.0, tier: Tier::Full, fingerprint: 0 })
            .collect();
        let cheap = Scored { probability: 0.25, tier: Tier::Cheap, fingerprint: 0 };
        for millis in 1..=100 {
            shards.answered(&scored, Duration::from_millis(millis), millis > 90);
            shards.waited(Duration::from_nanos(1));
        }
        let before = shards.read();
        std::thread::scope(|scope| {
            scope.spawn(|| shards.answered(&[cheap], Duration::from_micros(3), false));
        });
        let counts = shards.read();
        assert_eq!((counts.requests, counts.candidates), (101, [100_000, 1, 0]));
        assert!((counts.probability_sum - (100.0 * 500.5 * 1000.0 / 1024.0 + 0.25)).abs() < 1e-6);
        assert!((counts.seconds - 5.050_003).abs() < 1e-9);
        let median = LATENCY.quantile(&counts.latency, 0.5).unwrap();
        assert!((50e3..58e3).contains(&median), "{median}");
        assert_eq!((counts.late, counts.waited[0]), (10, 100));
        let since = counts.since(&before);
        assert_eq!((since.requests, since.candidates, since.probability.iter().sum::<u64>()), (1, [0, 1, 0], 1));
        assert_eq!(LATENCY.quantile(&since.latency, 0.99), Some(3.0 + 0.25));
        assert_eq!(LATENCY.quantile(&before.since(&before).latency, 0.5), None);
    }
}
