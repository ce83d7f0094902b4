//! Codes of one feature ↔ slots of its own: counting in training, looking up ever after.
//!
//! Codes are hashes already, so a table with linear probing on their low bits needs no further hashing.

use super::hash::EMPTY_CODE;
use crate::kernels::prefetch;

/// How often each code of one feature was seen.
#[derive(Debug, Clone)]
pub struct CodeCounts {
    entries: Vec<(u32, u32)>,
    filled: usize,
}

impl Default for CodeCounts {
    fn default() -> Self {
        CodeCounts { entries: vec![(EMPTY_CODE, 0); 64], filled: 0 }
    }
}

impl CodeCounts {
    /// Counts one code, which must not be [`EMPTY_CODE`].
    #[inline]
    pub(super) fn add(&mut self, code: u32) {
        let mask = self.entries.len() - 1;
        let mut at = code as usize & mask;
        loop {
            let entry = &mut self.entries[at];
            if entry.0 == code {
                entry.1 = entry.1.saturating_add(1);
                return;
            }
            if entry.0 == EMPTY_CODE {
                *entry = (code, 1);
                self.filled += 1;
                if self.filled * 2 > self.entries.len() {
                    self.grow();
                }
                return;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let bigger = vec![(EMPTY_CODE, 0); self.entries.len() * 2];
        let mask = bigger.len() - 1;
        for entry in std::mem::replace(&mut self.entries, bigger) {
            if entry.0 != EMPTY_CODE {
                let mut at = entry.0 as usize & mask;
                while self.entries[at].0 != EMPTY_CODE {
                    at = (at + 1) & mask;
                }
                self.entries[at] = entry;
            }
        }
    }

    /// Codes seen at least `min_count` times, ascending.
    /// Every code that was counted and how often, in any order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.entries.iter().copied().filter(|(code, _)| *code != EMPTY_CODE)
    }

    /// Number of different codes.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(super) fn at_least(&self, min_count: u32) -> Vec<u32> {
        let frequent = self.entries.iter().filter(|(code, count)| *code != EMPTY_CODE && *count >= min_count);
        let mut codes: Vec<u32> = frequent.map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes
    }
}

/// Exact ids of one feature: its first slot is for values out of the vocabulary, the next ones follow its sorted codes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vocabulary {
    codes: Vec<u32>,
    out_of_vocabulary: u32,
    /// (code, slot), at most half full.
    table: Vec<(u32, u32)>,
}

impl Vocabulary {
    /// `codes` are ascending and not empty codes; slots start at `first_slot`.
    pub(super) fn new(first_slot: u32, codes: Vec<u32>) -> Self {
        let mut table = vec![(EMPTY_CODE, first_slot); (codes.len() * 2 + 1).next_power_of_two()];
        let mask = table.len() - 1;
        for (slot, code) in (first_slot + 1..).zip(&codes) {
            let mut at = *code as usize & mask;
            while table[at].0 != EMPTY_CODE {
                at = (at + 1) & mask;
            }
            table[at] = (*code, slot);
        }
        Vocabulary { codes, out_of_vocabulary: first_slot, table }
    }

    /// The codes in slot order.
    pub(super) fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Asks for the line where a code will be looked up.
    #[inline(always)]
    pub(super) fn prefetch(&self, code: u32) {
        prefetch(&self.table, code as usize & (self.table.len() - 1));
    }

    /// Slot of a code that is not [`EMPTY_CODE`].
    #[inline]
    pub(super) fn slot(&self, code: u32) -> u32 {
        let mask = self.table.len() - 1;
        let mut at = code as usize & mask;
        loop {
            let (known, slot) = self.table[at];
            if known == code {
                return slot;
            }
            if known == EMPTY_CODE {
                return self.out_of_vocabulary;
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_a_map() {
        let mut counts = CodeCounts::default();
        let mut truth = std::collections::BTreeMap::new();
        for i in 0_u32..20_000 {
            let code = (i * i).wrapping_mul(2_654_435_761) % 3_000 * 64 + 1;
            counts.add(code);
            *truth.entry(code).or_insert(0_u32) += 1;
        }
        for min_count in [1, 2, 7, 50] {
            let expected: Vec<u32> = truth.iter().filter(|(_, n)| **n >= min_count).map(|(code, _)| *code).collect();
            assert_eq!(counts.at_least(min_count), expected);
        }
    }

    #[test]
    fn every_code_has_its_slot() {
        let codes: Vec<u32> = (1..2_000).map(|i| i * 4096).collect();
        let vocabulary = Vocabulary::new(10, codes.clone());
        for (position, code) in codes.iter().enumerate() {
            assert_eq!(vocabulary.slot(*code), 11 + position as u32);
        }
        assert_eq!(vocabulary.slot(5), 10);
        assert_eq!(Vocabulary::new(3, vec![]).slot(7), 3);
    }
}
