//! Counts before and after → how far a distribution has moved (population stability index).
//!
//! `PSI = Σ (qᵢ − pᵢ) ln(qᵢ / pᵢ)` over bins with shares `pᵢ` before and `qᵢ` after: the symmetric Kullback–Leibler divergence
//! in nats (Jeffreys 1946). By custom below 0.1 is stable, above 0.25 has moved. Under no change it is about
//! `(1/n + 1/m) χ²` with `bins − 1` degrees of freedom for `n` and `m` independent numbers and not zero, so small samples always
//! look moved: [`expected_by_chance`] is its mean, [`greatest_by_chance`] what it hardly ever exceeds. Numbers that come again
//! count once for that: [`independent`].

use super::histogram::Histogram;

/// Population stability index of two lists of counts over the same bins. Half a count is added to each bin, so that an empty
/// one is surprising and not infinitely so. `None` when either side is empty.
///
/// # Panics
/// When the lists differ in length.
pub fn stability_index(before: &[u64], after: &[u64]) -> Option<f64> {
    assert_eq!(before.len(), after.len(), "the same bins before and after");
    let total = |counts: &[u64]| counts.iter().sum::<u64>();
    if total(before) == 0 || total(after) == 0 {
        return None;
    }
    let added = 0.5 * before.len() as f64;
    let share = |count: u64, total: u64| (count as f64 + 0.5) / (total as f64 + added);
    let of = |(before_count, after_count): (&u64, &u64)| {
        let (p, q) = (share(*before_count, total(before)), share(*after_count, total(after)));
        (q - p) * (q / p).ln()
    };
    Some(before.iter().zip(after).map(of).sum())
}

/// What the index is on average when nothing has moved, for `before` and `after` numbers in `bins` bins.
pub fn expected_by_chance(bins: usize, before: u64, after: u64) -> f64 {
    bins.saturating_sub(1) as f64 * (1.0 / before as f64 + 1.0 / after as f64)
}

/// What the index exceeds once in a thousand times when nothing has moved, for `before` and `after` independent numbers in `bins`
/// bins: the quantile of χ² by the cube root of Wilson and Hilferty (1931), 0.7 % too high for nine degrees of freedom and 3 % for one.
/// Zero for less than two bins.
pub fn greatest_by_chance(bins: usize, before: f64, after: f64) -> f64 {
    /// The normal quantile of 0.999.
    const QUANTILE: f64 = 3.090_232;
    let degrees = bins.saturating_sub(1) as f64;
    if degrees == 0.0 {
        return 0.0;
    }
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + QUANTILE * spread.sqrt()).powi(3) * (1.0 / before + 1.0 / after)
}

/// How many independent numbers `counts` are worth, where each count is how often one and the same was drawn:
/// `(Σ c)² / Σ c²` (Kish 1965). Zero for none.
pub fn independent(counts: impl IntoIterator<Item = u64>) -> f64 {
    let (sum, squares) = counts.into_iter().fold((0.0, 0.0), |(sum, squares), count| {
        let count = count as f64;
        (sum + count, squares + count * count)
    });
    if squares == 0.0 { 0.0 } else { sum * sum / squares }
}

/// Counts of two histograms over at most `bins` bins that hold about equal numbers of `before`; what lies outside its range
/// counts in the first and the last. Feeds [`stability_index`]. Empty when `before` is.
///
/// Bins end in the middle between the numbers of `before` on both sides: scores come in heaps (a calibrator of steps, rows that come
/// again), and a heap that moves by next to nothing must not fall into the next bin as a whole.
///
/// # Panics
/// When `bins` is zero.
pub fn equal_mass_counts(before: &Histogram, after: &Histogram, bins: usize) -> (Vec<u64>, Vec<u64>) {
    assert!(bins > 0, "there is at least one bin");
    // Upper ends of bins: a bucket that reaches the share of its bin closes it.
    let mut ends: Vec<f64> = Vec::new();
    let mut reached = 0;
    let mut buckets = before.filled().peekable();
    while let Some(bucket) = buckets.next() {
        reached += bucket.count;
        if reached as f64 * bins as f64 >= (ends.len() + 1) as f64 * before.count() as f64 {
            let end = buckets.peek().map_or(bucket.high, |next| 0.5 * (bucket.high + next.low));
            ends.push(end);
            // One bucket can fill the shares of several bins; these are one bin then.
            let full = (reached as f64 * bins as f64 / before.count() as f64).floor() as usize;
            ends.resize(full.max(ends.len()), end);
        }
    }
    ends.dedup();
    let count = |histogram: &Histogram| {
        let mut counts = vec![0; ends.len()];
        for bucket in histogram.filled() {
            let bin = ends.partition_point(|end| *end <= bucket.low).min(ends.len().saturating_sub(1));
            if let Some(count) = counts.get_mut(bin) {
                *count += bucket.count;
            }
        }
        counts
    };
    (count(before), count(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_textbook_case() {
        // Shares 0.5, 0.5 → 0.75, 0.25 on counts so large that the half counts do not matter.
        let index = stability_index(&[5_000_000, 5_000_000], &[7_500_000, 2_500_000]).unwrap();
        let expected = 0.25 * 1.5f64.ln() - 0.25 * 0.5f64.ln();
        assert!((index - expected).abs() < 1e-6, "{index}");
        let back = stability_index(&[7_500_000, 2_500_000], &[5_000_000, 5_000_000]).unwrap();
        assert!((index - back).abs() < 1e-12, "the same in both directions");
        assert_eq!(stability_index(&[3, 4], &[3, 4]), Some(0.0));
        assert_eq!(stability_index(&[0, 0], &[3, 4]), None);
        assert!(stability_index(&[10, 0], &[0, 10]).unwrap().is_finite());
    }

    #[test]
    fn histograms_are_cut_at_the_quantiles_of_the_first() {
        let (mut before, mut same, mut moved) =
            (Histogram::probabilities(), Histogram::probabilities(), Histogram::probabilities());
        for at in 0..20_000 {
            let p = (f64::from(at) + 0.5) / 20_000.0;
            before.record(p);
            same.record(1.0 - p);
            moved.record(p * p);
        }
        let (counts, others) = equal_mass_counts(&before, &same, 10);
        assert_eq!((counts.len(), counts.iter().sum::<u64>(), others.iter().sum::<u64>()), (10, 20_000, 20_000));
        assert!(counts.iter().all(|count| count.abs_diff(2_000) < 200), "{counts:?}");
        assert!(stability_index(&counts, &others).unwrap() < 0.002);
        let (counts, others) = equal_mass_counts(&before, &moved, 10);
        assert!(stability_index(&counts, &others).unwrap() > 0.25);
        let mut one = Histogram::probabilities();
        (0..50).for_each(|_| one.record(0.25));
        assert_eq!(equal_mass_counts(&one, &before, 10), (vec![50], vec![20_000]));
        assert_eq!(equal_mass_counts(&Histogram::probabilities(), &before, 10), (Vec::new(), Vec::new()));
        assert!((expected_by_chance(10, 1_000, 1_000) - 0.018).abs() < 1e-15);
    }

    #[test]
    fn a_heap_that_hardly_moves_stays_in_its_bin() {
        // Four heaps; all of them a tenth higher or lower.
        let heaps = |factor: f64| {
            let mut histogram = Histogram::probabilities();
            [0.01, 0.02, 0.04, 0.08].iter().for_each(|p| (0..100).for_each(|_| histogram.record(p * factor)));
            histogram
        };
        for factor in [0.9, 1.1] {
            let (before, after) = equal_mass_counts(&heaps(1.0), &heaps(factor), 10);
            assert_eq!((before, after), (vec![100; 4], vec![100; 4]));
        }
        let (before, after) = equal_mass_counts(&heaps(1.0), &heaps(2.0), 10);
        assert!(stability_index(&before, &after).unwrap() > 1.0, "that is another heap's place");
    }

    #[test]
    fn chance_hardly_ever_exceeds_its_bound() {
        // χ² of nine degrees of freedom exceeds 27.877 once in a thousand times.
        assert!((greatest_by_chance(10, 2.0, 2.0) - 27.877).abs() < 0.2);
        assert_eq!(greatest_by_chance(1, 5.0, 5.0), 0.0);
        assert_eq!((independent([1; 40]), independent([4; 10]), independent([])), (40.0, 10.0, 0.0));
        // Two samples of one distribution, some of whose rows come several times: a bound for as many rows as there are, and
        // not for as many numbers, holds.
        let mut state = 9_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut above = [0; 3];
        for _ in 0..2_000 {
            let mut sample = || {
                let mut histogram = Histogram::probabilities();
                for _ in 0..200 {
                    let p = draw();
                    (0..4).for_each(|_| histogram.record(p));
                }
                histogram
            };
            let (before, after) = equal_mass_counts(&sample(), &sample(), 10);
            let index = stability_index(&before, &after).unwrap();
            let rows = independent([4; 200]);
            let bounds = [
                greatest_by_chance(10, rows, rows),
                expected_by_chance(10, 200, 200),
                greatest_by_chance(10, 800.0, 800.0),
            ];
            bounds.iter().zip(&mut above).for_each(|(bound, above)| *above += u32::from(index > *bound));
        }
        assert!(above[0] <= 10 && above[1] > 500 && above[2] > 200, "{above:?} of 2000");
    }
}
