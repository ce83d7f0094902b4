//! A seed, a stream and a number → random draws; and heavy-tailed popularities.
//!
//! Every thing of the generated world (a user, an ad, a block of rows) has a stream of its own, so its properties follow
//! from the seed and its number, and need not be kept.

use std::sync::LazyLock;

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::arithmetic::{exp, ln};

/// What a stream of random numbers is for. The discriminants are part of what a seed means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    CriteoFields = 1,
    CriteoBlock = 2,
    CriteoPilot = 3,
    World = 4,
    User = 5,
    Ad = 6,
    Auction = 7,
    AuctionPilot = 8,
    Price = 9,
}

/// Random draws of one stream.
pub(super) struct Draw {
    generator: Xoshiro256PlusPlus,
    normal: &'static Normal,
}

impl Draw {
    pub(super) fn new(seed: u64, stream: Stream, number: u64) -> Self {
        let key = scramble(seed ^ scramble((stream as u64) << 56 ^ number));
        Draw { generator: Xoshiro256PlusPlus::seed_from_u64(key), normal: normal() }
    }

    /// 64 uniform bits.
    #[inline]
    pub(super) fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// Uniform in (0, 1], so that its logarithm is finite.
    #[inline]
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..`bound`.
    #[inline]
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (((self.bits() >> 32) * bound as u64) >> 32) as usize
    }

    /// True with probability `share`.
    #[inline]
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.uniform() <= share
    }

    /// Standard normal.
    #[inline]
    pub(super) fn normal(&mut self) -> f32 {
        let bits = (self.bits() >> 32) as u32;
        self.normal.quantile(bits)
    }

    /// Exponential with mean 1.
    #[inline]
    pub(super) fn exponential(&mut self) -> f64 {
        -ln(self.uniform())
    }

    /// One of `choices`.
    #[inline]
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// An index of `shares`, with those probabilities; they sum to 1.
    #[inline]
    pub(super) fn pick_by(&mut self, shares: &[f64]) -> usize {
        let mut rest = self.uniform();
        for (index, share) in shares.iter().enumerate() {
            rest -= share;
            if rest <= 0.0 {
                return index;
            }
        }
        shares.len() - 1
    }
}

/// A bijection of 64 bits that looks random (the finalizer of SplitMix64; Steele, Lea and Flood, 2014).
#[inline]
pub(super) fn scramble(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The quantiles of the standard normal distribution with linear interpolation; values end at ±3.65.
pub(super) struct Normal {
    quantiles: [f32; QUANTILES + 1],
}

/// Small enough to stay in the first cache beside a popularity table.
const QUANTILES: usize = 1024;

/// The table, made once.
pub(super) fn normal() -> &'static Normal {
    static NORMAL: LazyLock<Normal> = LazyLock::new(Normal::new);
    &NORMAL
}

impl Normal {
    fn new() -> Self {
        // Simpson's rule walks along the density until the next share is reached.
        const STEPS: usize = 16_384;
        const REACH: f64 = 6.0;
        let step = 2.0 * REACH / STEPS as f64;
        let density = |x: f64| exp(-0.5 * x * x) * 0.398_942_280_401_432_7;
        let mut quantiles = [0.0; QUANTILES + 1];
        let (mut share, mut next) = (0.0, 1);
        for index in 0..STEPS {
            let x = index as f64 * step - REACH;
            let slice = step / 6.0 * (density(x) + 4.0 * density(x + 0.5 * step) + density(x + step));
            while next < QUANTILES && share + slice >= next as f64 / QUANTILES as f64 {
                quantiles[next] = (x + step * (next as f64 / QUANTILES as f64 - share) / slice) as f32;
                next += 1;
            }
            share += slice;
        }
        // Chosen so that the outermost pieces have the mean of the tail they stand for.
        (quantiles[0], quantiles[QUANTILES]) = (-3.655, 3.655);
        Normal { quantiles }
    }

    /// The value below which a share of `bits` / 2³² lies.
    #[inline]
    pub(super) fn quantile(&self, bits: u32) -> f32 {
        let index = (bits >> 22) as usize;
        let within = (bits & 0x3f_ffff) as f32 * (1.0 / 4_194_304.0);
        self.quantiles[index] + within * (self.quantiles[index + 1] - self.quantiles[index])
    }
}

/// Zipf popularity over ranks 0..count: the share of rank r falls as (r + 1)^−exponent.
///
/// Kept as the inverse of the cumulated shares at 1,024 knots: a popular rank keeps its share to within 1/1024, the long
/// tail is piecewise uniform, and a draw is one look-up instead of a search.
pub(super) struct Popularity {
    /// Ranks with [`FRACTION`] binary digits after the point.
    knots: Box<[u32; KNOTS + 1]>,
}

const KNOTS: usize = 1024;
const FRACTION: u32 = 12;

impl Popularity {
    /// `count` ranks, at most 2²⁰.
    pub(super) fn zipf(count: u32, exponent: f64) -> Self {
        // Ranks of the tail go in groups of 1/512 of their rank, as if all were the one in the middle.
        let mut groups = Vec::new();
        let (mut first, mut total) = (0, 0.0);
        while first < count {
            let width = (first / 512).clamp(1, count - first);
            let middle = f64::from(first) + 0.5 * f64::from(width - 1);
            let weight = f64::from(width) * exp(-exponent * ln(middle + 1.0));
            groups.push((first, width, weight));
            total += weight;
            first += width;
        }
        let end = (count << FRACTION) - 1; // keeps the last knot below `count`
        let mut knots = Box::new([end; KNOTS + 1]);
        let (mut below, mut next) = (0.0, 0);
        for (first, width, weight) in groups {
            let share = weight / total;
            while next < KNOTS && next as f64 / KNOTS as f64 <= below + share {
                let within = (next as f64 / KNOTS as f64 - below) / share;
                let rank = f64::from(first) + within * f64::from(width);
                knots[next] = ((rank * f64::from(1 << FRACTION)) as u32).min(end);
                next += 1;
            }
            below += share;
        }
        Popularity { knots }
    }

    /// The rank at `bits` / 2³² of the cumulated shares.
    #[inline]
    pub(super) fn rank(&self, bits: u32) -> u32 {
        let index = (bits >> 22) as usize;
        let (low, high) = (self.knots[index], self.knots[index + 1]);
        (low + ((u64::from(high - low) * u64::from(bits & 0x3f_ffff)) >> 22) as u32) >> FRACTION
    }

    /// A rank by chance.
    #[inline]
    pub(super) fn draw(&self, draw: &mut Draw) -> u32 {
        self.rank((draw.bits() >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_draws_have_mean_zero_and_deviation_one() {
        let mut draw = Draw::new(1, Stream::World, 0);
        let (mut sum, mut squares, mut beyond_two) = (0.0, 0.0, 0);
        for _ in 0..1_000_000 {
            let x = f64::from(draw.normal());
            sum += x;
            squares += x * x;
            beyond_two += u32::from(x.abs() > 2.0);
        }
        assert!((sum / 1e6).abs() < 0.004 && (squares / 1e6 - 1.0).abs() < 0.006, "{sum} {squares}");
        assert!((f64::from(beyond_two) / 1e6 - 0.0455).abs() < 0.001, "{beyond_two}");
    }

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        for (share, expected) in [(0.5, 0.0), (0.841_344_746, 1.0), (0.022_750_132, -2.0), (0.998_650_102, 3.0)] {
            let quantile = f64::from(normal().quantile((share * 4_294_967_296.0) as u32));
            assert!((quantile - expected).abs() < 0.02, "{share}: {quantile}");
        }
    }

    #[test]
    fn popularity_falls_as_zipf_says() {
        let popularity = Popularity::zipf(1000, 1.0);
        let harmonic: f64 = (1..=1000).map(|rank| 1.0 / f64::from(rank)).sum();
        let mut draw = Draw::new(1, Stream::World, 0);
        let mut counts = [0u32; 1000];
        for _ in 0..1_000_000 {
            counts[popularity.draw(&mut draw) as usize] += 1;
        }
        for rank in [0, 1, 5, 20] {
            let expected = 1e6 / (harmonic * (rank + 1) as f64);
            assert!((f64::from(counts[rank]) / expected - 1.0).abs() < 0.05, "{rank}: {} {expected}", counts[rank]);
        }
        let tail: u32 = counts[500..].iter().sum();
        let expected = 1e6 * (501..=1000).map(|rank| 1.0 / f64::from(rank)).sum::<f64>() / harmonic;
        assert!((f64::from(tail) / expected - 1.0).abs() < 0.03, "{tail} {expected}");
        assert_eq!(Popularity::zipf(3, 0.8).rank(u32::MAX), 2);
    }
}
