//! Integers to places in a table that says what each comes to, so that nothing is searched for and nothing branched on.
//!
//! Small integers, which are most, have a place each. Larger ones share places by their leading bits, as a slide rule would: 128
//! places from one power of two to the next. What holds for the ends of a shared place holds for all in it, if it only grows.

use super::dispatch::per_isa;
use super::text::NO_INTEGER;

/// Integers with a place of their own.
const SINGLE: std::ops::Range<i32> = -16..1_008;
/// Places of single integers.
const SINGLES: usize = SINGLE.end.abs_diff(SINGLE.start) as usize;
/// Greatest integer with a place.
const GREATEST: i32 = 99_999_999;
/// Leading bits of the smallest integer that shares a place.
const FIRST_BITS: u32 = leading_bits(SINGLE.end);

/// Place of whatever has none else.
pub const OTHER: usize = SINGLES + (leading_bits(GREATEST) - FIRST_BITS) as usize + 1;
/// Place of a cell without bytes.
pub const MISSING: usize = OTHER + 1;
/// Number of places.
pub const PLACES: usize = MISSING + 1;

/// Exponent and first seven bits behind the leading one, as f32 has them. Integers above 2²⁴ are rounded, but never past each other.
#[inline(always)]
const fn leading_bits(integer: i32) -> u32 {
    (integer as f32).to_bits() >> 16
}

/// Lowest and highest integer of a place; `None` for those of no integers.
pub fn integers_of(place: usize) -> Option<(i32, i32)> {
    if place < SINGLES {
        let integer = SINGLE.start + place as i32;
        return Some((integer, integer));
    }
    let bits = FIRST_BITS + (place - SINGLES) as u32;
    let first = |bits: u32| {
        let mut integer = f32::from_bits(bits << 16) as i32;
        while leading_bits(integer - 1) >= bits {
            integer -= 1;
        }
        integer
    };
    (place < OTHER).then(|| (first(bits).max(SINGLE.end), (first(bits + 1) - 1).min(GREATEST)))
}

per_isa! {
    /// Place of each integer of up to eight digits, as [`small_integers`](super::text::small_integers) gives them with the lengths of their cells; plus
    /// what stands in `tables` for the first integers, and again for as many that follow.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn integer_places(integers: &[i32], lengths: &[u32], tables: &[u32], places: &mut [u32]) = integer_places_body,
    check {
        assert!(integers.len() == lengths.len() && integers.len() == places.len(), "integer_places: lengths differ");
        assert!(!tables.is_empty() || integers.is_empty(), "integer_places: no period");
    }
}

#[inline(always)]
fn integer_places_body(integers: &[i32], lengths: &[u32], tables: &[u32], places: &mut [u32]) {
    const { assert!(NO_INTEGER < SINGLE.start, "no integer is negative, and shares no place") };
    let period = tables.len().max(1);
    let periods = integers.chunks(period).zip(lengths.chunks(period)).zip(places.chunks_mut(period));
    for ((integers, lengths), places) in periods {
        for (((integer, length), table), place) in integers.iter().zip(lengths).zip(tables).zip(places) {
            *place = table + if *length == 0 { MISSING as u32 } else { integer_place(*integer) };
        }
    }
}

/// Place of one integer of up to eight digits, [`OTHER`] for what is none.
#[inline(always)]
pub fn integer_place(integer: i32) -> u32 {
    let single = integer.wrapping_sub(SINGLE.start) as u32;
    // The bits of a negative number are above all others.
    let shared = leading_bits(integer).wrapping_sub(FIRST_BITS).wrapping_add(SINGLES as u32);
    if single < SINGLES as u32 { single } else { shared.min(OTHER as u32) }
}
