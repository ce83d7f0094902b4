//! A batch of slots → each slot that occurs, once, with the places where it occurs: what sparse updates run over.
//!
//! Places are sorted by slot, then by position in the batch, so that gradients are added in one order only, and the
//! table can be cut between slots for threads without locks.

use crate::model::{EMPTY_SLOT, Slots, Threads};
use std::ops::Range;

/// Places of a batch, sorted; buffers are kept from batch to batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched {
    /// Slot in the upper half, index into the batch's slots in the lower.
    places: Vec<u64>,
    spare: Vec<u64>,
    /// Where each slot's places begin; one more at the end.
    starts: Vec<u32>,
}

/// Slots between the one asked for and the one worked on.
const AHEAD: usize = 8;

/// Slots in one piece of work.
const PIECE: usize = 1024;

impl Touched {
    /// Sorts the places of a batch.
    ///
    /// # Panics
    /// When a slot is not below `table_rows`, or the batch has 2³² values or more.
    pub(super) fn sort(&mut self, slots: Slots<'_>, table_rows: usize) {
        assert!(u32::try_from(slots.values().len()).is_ok(), "a batch of {} slots", slots.values().len());
        sort_by_slot(slots.values(), table_rows, &mut self.places, &mut self.spare);
        self.starts.clear();
        let mut before = None;
        for (place, at) in self.places.iter().zip(0u32..) {
            let slot = place >> 32;
            if before != Some(slot) {
                self.starts.push(at);
                before = Some(slot);
            }
        }
        self.starts.push(self.places.len() as u32);
        let highest = before.map_or(0, |slot| slot as usize + 1);
        assert!(highest <= table_rows, "slot {} in a table of {table_rows}", highest - 1);
    }

    /// Number of different slots.
    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// A slot and the numbers of its places, in the order of the batch.
    pub(super) fn get(&self, number: usize) -> (usize, Range<usize>) {
        let places = self.starts[number] as usize..self.starts[number + 1] as usize;
        ((self.places[places.start] >> 32) as usize, places)
    }

    /// The index into the batch's slots of a place.
    pub(super) fn index(&self, place: usize) -> Option<usize> {
        self.places.get(place).map(|place| *place as u32 as usize)
    }

    /// The indices into the batch's slots of some places.
    pub(super) fn indices(&self, places: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        self.places[places].iter().map(|place| *place as u32 as usize)
    }

    /// The slot some places after `number`, to ask for its memory early.
    pub(super) fn ahead(&self, number: usize) -> Option<usize> {
        let start = self.starts[(number + AHEAD).min(self.len())] as usize;
        self.places.get(start).map(|place| (place >> 32) as usize)
    }

    /// The first slot of each piece of work: where [`split_rows`] cuts the tables.
    pub(super) fn cuts(&self) -> Vec<usize> {
        (0..self.len()).step_by(PIECE).map(|number| self.get(number).0).collect()
    }

    /// Runs `work` over all touched slots, in pieces, each with its own part of the tables, as cut by [`Touched::cuts`].
    ///
    /// `work` gets the numbers of the slots of its piece, the first row of its part, and the part.
    pub(super) fn for_each<T: Send>(
        &self,
        threads: Threads<'_>,
        cuts: Vec<usize>,
        parts: impl Iterator<Item = T>,
        work: impl Fn(Range<usize>, usize, T) + Sync,
    ) {
        let numbers = (0..self.len()).step_by(PIECE);
        let pieces: Vec<_> = numbers.zip(cuts).zip(parts).collect();
        threads.for_each(pieces, |((number, first_row), part)| {
            work(number..(number + PIECE).min(self.len()), first_row, part);
        });
    }
}

/// Cuts a table of `width` values a row before each row in `cuts`; what lies before the first cut is left out.
///
/// An empty table (a state that a rule does not have) is cut into empty parts.
pub(super) fn split_rows<'a, T>(mut table: &'a mut [T], width: usize, cuts: &[usize]) -> Vec<&'a mut [T]> {
    let mut parts = Vec::with_capacity(cuts.len());
    for &cut in cuts.iter().rev() {
        let (before, part) = table.split_at_mut((cut * width).min(table.len()));
        parts.push(part);
        table = before;
    }
    parts.reverse();
    parts
}

/// Bits of one pass of the sort.
const DIGIT: u32 = 11;

/// Radix sort of all places but empty ones by slot, lowest digit first; the first pass reads the slots themselves.
///
/// It is stable, and places come in index order, so that order stays within a slot.
fn sort_by_slot(slots: &[u32], table_rows: usize, places: &mut Vec<u64>, spare: &mut Vec<u64>) {
    let bits = u32::BITS - (table_rows.max(2) as u32 - 1).leading_zeros();
    let digit = |slot: u32, pass: u32| (slot >> (pass * DIGIT)) as usize & ((1 << DIGIT) - 1);
    let passes = bits.div_ceil(DIGIT);
    let mut next = vec![[0u32; 1 << DIGIT]; passes as usize];
    let mut present = 0;
    for &slot in slots.iter().filter(|slot| **slot != EMPTY_SLOT) {
        present += 1;
        (0..passes).for_each(|pass| next[pass as usize][digit(slot, pass)] += 1);
    }
    for counts in &mut next {
        let mut sum = 0;
        for count in counts {
            sum += std::mem::replace(count, sum);
        }
    }
    places.resize(present, 0);
    spare.resize(present, 0);
    for (slot, index) in slots.iter().zip(0u64..).filter(|(slot, _)| **slot != EMPTY_SLOT) {
        let at = &mut next[0][digit(*slot, 0)];
        places[*at as usize] = u64::from(*slot) << 32 | index;
        *at += 1;
    }
    for pass in 1..passes {
        for &place in &*places {
            let at = &mut next[pass as usize][digit((place >> 32) as u32, pass)];
            spare[*at as usize] = place;
            *at += 1;
        }
        std::mem::swap(places, spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_once_in_order_with_their_places_in_order() {
        let slots = [7, 3, EMPTY_SLOT, 7, 5_000_000, 3, 3, EMPTY_SLOT];
        let mut touched = Touched::default();
        touched.sort(Slots::new(2, &[1, 1]), 5_000_001);
        touched.sort(Slots::new(2, &slots), 5_000_001);
        let got: Vec<(usize, Vec<usize>)> = (0..touched.len())
            .map(|number| touched.get(number))
            .map(|(slot, places)| (slot, touched.indices(places).collect()))
            .collect();
        assert_eq!(got, [(3, vec![1, 5, 6]), (7, vec![0, 3]), (5_000_000, vec![4])]);
    }

    #[test]
    fn the_sort_agrees_with_the_standard_library() {
        let mut state = 1u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 9
        };
        for (rows, table_rows) in [(0, 1), (1, 1), (3_000, 5), (3_000, 1 << 11), (3_000, (1 << 22) + 1)] {
            let slots: Vec<u32> = (0..rows).map(|_| draw() % table_rows as u32).collect();
            let mut touched = Touched::default();
            touched.sort(Slots::new(1, &slots), table_rows);
            let mut expected: Vec<u64> =
                slots.iter().zip(0u64..).map(|(&slot, at)| u64::from(slot) << 32 | at).collect();
            expected.sort_unstable();
            assert_eq!(touched.places, expected);
        }
    }

    #[test]
    fn parts_of_a_table_begin_at_their_cut() {
        let mut table: Vec<u32> = (0..12).collect();
        let parts = split_rows(&mut table, 2, &[1, 3]);
        assert_eq!(parts, [&[2, 3, 4, 5][..], &[6, 7, 8, 9, 10, 11]]);
        assert!(split_rows::<u32>(&mut [], 2, &[1, 3]).iter().all(|part| part.is_empty()));
    }

    #[test]
    #[should_panic(expected = "slot 4 in a table of 4")]
    fn a_slot_outside_the_table_is_a_bug() {
        Touched::default().sort(Slots::new(1, &[4]), 4);
    }
}
