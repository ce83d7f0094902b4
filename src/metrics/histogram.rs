//! A stream of positive numbers → counts in logarithmic buckets → quantiles, in fixed memory.
//!
//! One bucket is one step of the leading 8 bits of the significand (its hidden one and [`FRACTION_BITS`] more), so that the
//! bucket of a number is a shift of its own bits and a quantile is within 0.4 % of the truth at any scale: latencies and
//! probabilities alike. Recording is a shift and two additions and allocates nothing; histograms of threads or shards add up.
//!
//! The integer histograms at hand (`hdrhistogram`) would need a scale for probabilities and an own format for the bundle.

use serde::{Deserialize, Serialize};

/// Bits of the fraction that tell buckets apart: `2^7` buckets for each doubling.
pub const FRACTION_BITS: u32 = 7;
/// Bits of an f64 below those.
const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - 1 - FRACTION_BITS;
const EXPONENT_BIAS: i32 = 1_023;

/// Counts of numbers from `2^lowest_power` up to `2^(lowest_power + doublings)`; numbers outside count in the first or the
/// last bucket. Serialized as its filled buckets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "RawHistogram", try_from = "RawHistogram")]
pub struct Histogram {
    lowest_power: i32,
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
    least: f64,
    greatest: f64,
}

/// A filled bucket: numbers from `low` up to but without `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower bound, inside.
    pub low: f64,
    /// Upper bound, outside.
    pub high: f64,
    /// Numbers recorded between them.
    pub count: u64,
}

impl Histogram {
    /// An empty histogram over `doublings` powers of two (1 to 256) from `2^lowest_power` (−512 to 512); 1 KiB a doubling.
    ///
    /// # Panics
    /// When the arguments are outside these bounds.
    pub fn new(lowest_power: i32, doublings: u32) -> Self {
        Self::checked(lowest_power, doublings).expect("histogram bounds are constants of the caller")
    }

    /// For durations in microseconds: 1 µs to 134 s, 27 KiB.
    pub fn latencies() -> Self {
        Self::new(0, 27)
    }

    /// For probabilities: 6e-8 to 1, 25 KiB.
    pub fn probabilities() -> Self {
        // The doubling from 1 to 2 holds the 1 itself.
        Self::new(-24, 25)
    }

    /// Counts `value`. A value that is not finite is not counted.
    pub fn record(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let bucket = self.bucket_of(value);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum += value;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }

    /// Adds the counts of `other`.
    ///
    /// # Panics
    /// When the two were made for different ranges.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(
            (self.lowest_power, self.buckets.len()),
            (other.lowest_power, other.buckets.len()),
            "histograms of different ranges do not add up"
        );
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// The smallest recorded number that at least `share` (in \[0,1\]) of all numbers do not exceed, within 0.4 % for numbers
    /// inside the range, exact at both ends. `None` when empty.
    ///
    /// # Panics
    /// When `share` is outside \[0,1\].
    pub fn quantile(&self, share: f64) -> Option<f64> {
        assert!((0.0..=1.0).contains(&share), "a quantile's share must be in [0,1], got {share}");
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        if rank >= self.count {
            return self.greatest();
        }
        if rank == 1 {
            return self.least();
        }
        let mut reached = 0;
        self.filled().find_map(|bucket| {
            reached += bucket.count;
            let middle = 0.5 * (bucket.low + bucket.high);
            (reached >= rank).then(|| middle.clamp(self.least, self.greatest))
        })
    }

    /// Filled buckets, lowest first.
    pub fn filled(&self) -> impl Iterator<Item = Bucket> {
        self.buckets.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bucket, &count)| Bucket {
            low: self.lower_bound(bucket),
            high: self.lower_bound(bucket + 1),
            count,
        })
    }

    /// Numbers recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean, from the exact sum. `None` when empty.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Least number recorded, exact. `None` when empty.
    pub fn least(&self) -> Option<f64> {
        (self.count > 0).then_some(self.least)
    }

    /// Greatest number recorded, exact. `None` when empty.
    pub fn greatest(&self) -> Option<f64> {
        (self.count > 0).then_some(self.greatest)
    }

    fn checked(lowest_power: i32, doublings: u32) -> Option<Self> {
        if !(-512..=512).contains(&lowest_power) || !(1..=256).contains(&doublings) {
            return None;
        }
        Some(Self {
            lowest_power,
            buckets: vec![0; (doublings as usize) << FRACTION_BITS],
            count: 0,
            sum: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        })
    }

    fn bucket_of(&self, value: f64) -> usize {
        let lowest = self.lower_bound(0);
        // Positive floats order like their bits, so the distance in truncated bits is the distance in buckets.
        let steps = (value.max(lowest).to_bits() >> DROPPED_BITS) - (lowest.to_bits() >> DROPPED_BITS);
        (steps as usize).min(self.buckets.len() - 1)
    }

    fn lower_bound(&self, bucket: usize) -> f64 {
        let first = ((EXPONENT_BIAS + self.lowest_power) as u64) << FRACTION_BITS;
        f64::from_bits((first + bucket as u64) << DROPPED_BITS)
    }
}

/// How a [`Histogram`] is written: only buckets that are filled.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistogram {
    fraction_bits: u32,
    lowest_power: i32,
    doublings: u32,
    sum: f64,
    /// Least and greatest number; `None` when empty.
    range: Option<(f64, f64)>,
    /// Bucket and count.
    filled: Vec<(u32, u64)>,
}

impl From<Histogram> for RawHistogram {
    fn from(histogram: Histogram) -> Self {
        Self {
            fraction_bits: FRACTION_BITS,
            lowest_power: histogram.lowest_power,
            doublings: (histogram.buckets.len() >> FRACTION_BITS) as u32,
            sum: histogram.sum,
            range: histogram.least().zip(histogram.greatest()),
            filled: (0..).zip(histogram.buckets).filter(|&(_, count)| count > 0).collect(),
        }
    }
}

impl TryFrom<RawHistogram> for Histogram {
    type Error = String;

    fn try_from(raw: RawHistogram) -> Result<Self, String> {
        if raw.fraction_bits != FRACTION_BITS {
            return Err(format!("histogram: expected fraction_bits {FRACTION_BITS}, got {}", raw.fraction_bits));
        }
        let mut histogram = Self::checked(raw.lowest_power, raw.doublings).ok_or_else(|| {
            format!(
                "histogram: expected lowest_power in -512..=512 and doublings in 1..=256, got {} and {}",
                raw.lowest_power, raw.doublings
            )
        })?;
        let buckets = histogram.buckets.len();
        for (bucket, count) in raw.filled {
            *histogram
                .buckets
                .get_mut(bucket as usize)
                .ok_or_else(|| format!("histogram: expected buckets below {buckets}, got {bucket}"))? = count;
        }
        histogram.count = histogram
            .buckets
            .iter()
            .try_fold(0u64, |sum, &count| sum.checked_add(count))
            .ok_or("histogram: the counts overflow")?;
        histogram.sum = raw.sum;
        match raw.range {
            Some((least, greatest)) if histogram.count > 0 && least <= greatest => {
                histogram.least = least;
                histogram.greatest = greatest;
            }
            None if histogram.count == 0 => {}
            range => {
                return Err(format!("histogram: range {range:?} does not fit a count of {}", histogram.count));
            }
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(values: impl IntoIterator<Item = f64>) -> Histogram {
        let mut histogram = Histogram::latencies();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    #[test]
    fn the_empty_histogram_has_no_quantiles() {
        let empty = Histogram::probabilities();
        assert_eq!((empty.quantile(0.5), empty.mean(), empty.least()), (None, None, None));
        assert_eq!(empty.filled().count(), 0);
    }

    #[test]
    fn numbers_outside_the_range_count_at_its_ends() {
        let mut histogram = Histogram::probabilities();
        for value in [0.0, -3.0, 1e-30, 1.0, 1e9, f64::NAN, f64::INFINITY] {
            histogram.record(value);
        }
        assert_eq!(histogram.count(), 5);
        assert_eq!((histogram.least(), histogram.greatest()), (Some(-3.0), Some(1e9)));
        let filled: Vec<Bucket> = histogram.filled().collect();
        assert_eq!(filled.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [3, 1, 1]);
        assert_eq!((filled[0].low, filled[1].low), (2f64.powi(-24), 1.0));
    }

    #[test]
    fn a_power_of_two_starts_a_bucket() {
        let histogram = recorded([1.0, 2.0, 1_024.0]);
        let lows: Vec<f64> = histogram.filled().map(|bucket| bucket.low).collect();
        assert_eq!(lows, [1.0, 2.0, 1_024.0]);
        assert_eq!(histogram.filled().next().unwrap().high, 1.0 + 1.0 / 128.0);
    }

    #[test]
    #[should_panic(expected = "different ranges")]
    fn different_ranges_do_not_merge() {
        Histogram::latencies().merge(&Histogram::probabilities());
    }

    #[test]
    fn a_damaged_histogram_is_refused() {
        let good =
            r#"{"fraction_bits":7,"lowest_power":0,"doublings":1,"sum":1.5,"range":[1.5,1.5],"filled":[[64,1]]}"#;
        assert_eq!(serde_json::from_str::<Histogram>(good).unwrap().count(), 1);
        for (from, to, message) in [
            (r#""fraction_bits":7"#, r#""fraction_bits":6"#, "fraction_bits 7, got 6"),
            ("[64,1]", "[128,1]", "buckets below 128, got 128"),
            ("[64,1]", "", "does not fit a count of 0"),
            (r#""doublings":1"#, r#""doublings":4000000000"#, "doublings in 1..=256"),
            ("[[64,1]]", "[[64,18446744073709551615],[65,1]]", "overflow"),
        ] {
            let error = serde_json::from_str::<Histogram>(&good.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_within_their_bound(
            mut values in prop::collection::vec((0.0f64..18.0).prop_map(f64::exp), 1..300),
            share in 0.0f64..=1.0,
        ) {
            let histogram = recorded(values.iter().copied());
            values.sort_unstable_by(f64::total_cmp);
            let rank = ((share * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let read = histogram.quantile(share).unwrap();
            prop_assert!((read - exact).abs() <= 0.004 * exact, "{read} {exact}");
        }

        #[test]
        fn parts_merge_to_the_whole_and_survive_json(
            values in prop::collection::vec(0.5f64..1e9, 0..200),
            cut in 0usize..200,
        ) {
            let cut = cut.min(values.len());
            let mut merged = recorded(values[..cut].iter().copied());
            merged.merge(&recorded(values[cut..].iter().copied()));
            let whole = recorded(values);
            prop_assert_eq!(merged.filled().collect::<Vec<_>>(), whole.filled().collect::<Vec<_>>());
            prop_assert_eq!((merged.count(), merged.least(), merged.greatest()), (whole.count(), whole.least(), whole.greatest()));
            let text = serde_json::to_string(&whole).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), whole);
        }
    }
}
