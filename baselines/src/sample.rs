//! A seed and two counts → which rows of a log a size-limited baseline learns from.
//!
//! Uniform without replacement, so that the share of clicks stays what it is and probabilities need no correction.

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::SplitMix64;

/// `min(rows, limit)` distinct rows of `0..rows` in ascending order, each subset equally likely.
///
/// The same arguments give the same rows on every machine. With `limit >= rows` it is all rows.
/// Selection sampling: Knuth, The Art of Computer Programming 2, §3.4.2, algorithm S.
pub fn sample_rows(rows: usize, limit: usize, seed: u64) -> Vec<usize> {
    if limit >= rows {
        return (0..rows).collect();
    }
    let mut random = SplitMix64::seed_from_u64(seed);
    let mut chosen = Vec::with_capacity(limit);
    for row in 0..rows {
        let (wanted, left) = (limit - chosen.len(), rows - row);
        // The high half of a 64 × 64-bit product is uniform below `left`; its bias, left / 2^64, cannot be seen.
        let draw = ((u128::from(random.next_u64()) * left as u128) >> 64) as usize;
        if draw < wanted {
            chosen.push(row);
        }
    }
    chosen
}

/// The seed of a model's own generator, apart from that of the row sample.
///
/// smartcore gives tree `t` of a forest the seed `seed + t`, so that forests of seeds 1 and 2 would share most of
/// their draws. Mixing puts neighboring seeds far from each other.
pub(crate) fn model_seed(seed: u64) -> u64 {
    SplitMix64::seed_from_u64(seed ^ 0x6261_7365_6c69_6e65).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_sorted_distinct_and_of_the_size_asked_for() {
        for (rows, limit) in [(0, 5), (5, 0), (5, 5), (5, 9), (1_000, 1), (1_000, 999), (10_000, 3_000)] {
            let sample = sample_rows(rows, limit, 7);
            assert_eq!(sample.len(), rows.min(limit));
            assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(sample.iter().all(|&row| row < rows));
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        assert_eq!(sample_rows(1_000, 100, 7), sample_rows(1_000, 100, 7));
        assert_ne!(sample_rows(1_000, 100, 7), sample_rows(1_000, 100, 8));
        // Written down from SplitMix64 and algorithm S in Python: results of committed runs hang on it.
        assert_eq!(sample_rows(20, 5, 1), [8, 12, 14, 15, 19]);
    }

    #[test]
    fn every_row_is_equally_likely() {
        let mut times = [0_u32; 20];
        for seed in 0..20_000 {
            for row in sample_rows(20, 5, seed) {
                times[row] += 1;
            }
        }
        // 5,000 expected, standard deviation 61.
        assert!(times.iter().all(|&count| count.abs_diff(5_000) < 300), "{times:?}");
    }

    #[test]
    fn neighboring_seeds_do_not_share_a_model_seed_or_its_neighborhood() {
        let seeds: Vec<u64> = (0..100).map(model_seed).collect();
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a.abs_diff(*b) > 100_000));
        }
    }
}
