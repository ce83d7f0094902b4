//! Values one by one → how many different ones, and which are frequent, in bounded memory.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

/// Different values that are counted exactly.
pub(super) const EXACT_VALUES: usize = 1 << 14;
/// Values whose frequency is followed at a time.
const FOLLOWED: usize = 1 << 14;

/// A number of different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Distinct {
    /// How many.
    pub count: u64,
    /// Exact, but for coincidences of 32-bit codes; else an estimate with a standard error below 1 %.
    pub exact: bool,
}

/// Counts different codes by the k smallest of them (Bar-Yossef et al. 2002, algorithm 1): codes are hashes, so the k-th
/// smallest of n stands near k / n of their range.
#[derive(Debug, Default)]
pub(in crate::learn) struct DistinctCodes {
    smallest: BTreeSet<u32>,
    full: bool,
}

impl DistinctCodes {
    pub(in crate::learn) fn add(&mut self, code: u32) {
        let full = self.smallest.len() == EXACT_VALUES;
        if full && self.smallest.last().is_some_and(|greatest| code > *greatest) {
            self.full = true;
            return;
        }
        if self.smallest.insert(code) && full {
            self.smallest.pop_last();
            self.full = true;
        }
    }

    pub(in crate::learn) fn count(&self) -> Distinct {
        const RANGE: f64 = 4_294_967_296.0;
        let greatest = match self.smallest.last() {
            Some(greatest) if self.full => f64::from(*greatest) + 1.0,
            _ => return Distinct { count: self.smallest.len() as u64, exact: true },
        };
        let codes = (EXACT_VALUES - 1) as f64 / greatest * RANGE;
        // Different values may share a code: n values leave 2³² · (1 - e^(-n / 2³²)) codes.
        let values = -(1.0 - codes / RANGE).max(f64::MIN_POSITIVE).ln() * RANGE;
        Distinct { count: values.round() as u64, exact: false }
    }
}

/// One value and its rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frequent {
    pub(super) value: Box<[u8]>,
    pub(super) rows: u64,
    pub(super) clicks: u64,
    pub(super) code: u32,
}

/// Follows the frequent values: when there are too many, the rarer half is forgotten (in the manner of lossy counting,
/// Manku and Motwani 2002), so that a count misses at most as many rows as forgotten values had.
#[derive(Debug, Default)]
pub(super) struct TopValues {
    values: HashMap<Box<[u8]>, (u64, u64, u32)>,
}

impl TopValues {
    pub(super) fn add(&mut self, value: &[u8], label: u8, code: u32) {
        if let Some((rows, clicks, _)) = self.values.get_mut(value) {
            *rows += 1;
            *clicks += u64::from(label);
            return;
        }
        if self.values.len() == FOLLOWED {
            let mut counts: Vec<u64> = self.values.values().map(|(rows, ..)| *rows).collect();
            let (_, median, _) = counts.select_nth_unstable(FOLLOWED / 2);
            let median = *median;
            self.values.retain(|_, (rows, ..)| *rows > median);
        }
        self.values.insert(value.into(), (1, u64::from(label), code));
    }

    /// The most frequent ones, ties by value.
    pub(super) fn most_frequent(self, count: usize) -> Vec<Frequent> {
        let mut all: Vec<Frequent> = self
            .values
            .into_iter()
            .map(|(value, (rows, clicks, code))| Frequent { value, rows, clicks, code })
            .collect();
        all.sort_unstable_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.value.cmp(&b.value)));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_codes_are_exact_then_close() {
        for truth in [0_u64, 1, 1000, EXACT_VALUES as u64, 100_000, 1_000_000] {
            let mut codes = DistinctCodes::default();
            for _ in 0..2 {
                (0..truth).for_each(|i| codes.add((i as u32).wrapping_mul(2_654_435_761) ^ 0x5bd1_e995));
            }
            let seen = codes.count();
            assert_eq!(seen.exact, truth <= EXACT_VALUES as u64, "{truth}");
            let off = (seen.count as f64 - truth as f64).abs() / (truth as f64).max(1.0);
            assert!(if seen.exact { seen.count == truth } else { off < 0.03 }, "{truth}: {seen:?}");
        }
    }

    #[test]
    fn frequent_values_survive_a_flood_of_rare_ones() {
        let mut top = TopValues::default();
        for row in 0..200_000_u32 {
            top.add(format!("rare{row}").as_bytes(), 0, 1);
            if row % 4 == 0 {
                top.add(b"often", u8::from(row % 8 == 0), 2);
            }
            if row % 10 == 0 {
                top.add(b"sometimes", 0, 3);
            }
        }
        assert!(top.values.len() <= FOLLOWED);
        let top = top.most_frequent(2);
        assert_eq!((&*top[0].value, top[0].rows, top[0].clicks), (&b"often"[..], 50_000, 25_000));
        assert_eq!((&*top[1].value, top[1].rows), (&b"sometimes"[..], 20_000));
    }
}
