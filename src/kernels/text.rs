//! Bytes of a log to the places where its cells start: one pass, 64 bytes at a time.
//!
//! Each 64 bytes are compared with the delimiter and with the newline at once; what equals becomes a bit, and bits become
//! places. Nothing is branched on but the number of separators in 64 bytes, so the speed does not depend on what stands in
//! the cells.

use super::dispatch::{Isa, isa};

/// Bytes compared at once.
const WINDOW: usize = 64;

/// Where cells and lines of a text start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Separators {
    /// Start of the first cell (0), then the place behind every delimiter and every newline, in order. Cell k of the text is
    /// `starts[k]..starts[k + 1] - 1`.
    pub starts: Vec<u32>,
    /// For each newline, the number of cells that end at it or before: the cells of line i are `lines[i - 1]..lines[i]`.
    pub lines: Vec<u32>,
}

/// Finds the cells and lines of `text`; `found` is cleared first and its memory reused.
///
/// # Panics
/// When the text is 4 GiB or longer.
pub fn separators(text: &[u8], delimiter: u8, found: &mut Separators) {
    assert!(u32::try_from(text.len()).is_ok(), "separators: expected less than 4 GiB, got {} bytes", text.len());
    found.starts.clear();
    found.lines.clear();
    found.starts.push(0);
    #[cfg(target_arch = "x86_64")]
    {
        let bits = std::is_x86_feature_detected!("bmi1") && std::is_x86_feature_detected!("popcnt");
        match isa() {
            // SAFETY: `isa` returns only sets that this processor has; the bit instructions were asked for.
            Isa::Avx512 if bits => return unsafe { x86::avx512(text, delimiter, found) },
            // SAFETY: as above.
            Isa::Avx2 if bits => return unsafe { x86::avx2(text, delimiter, found) },
            _ => {}
        }
    }
    scan(text, found, |window| {
        let (mut separators, mut newlines) = (0, 0);
        for (bit, byte) in window.iter().enumerate() {
            newlines |= u64::from(*byte == b'\n') << bit;
            separators |= u64::from(*byte == delimiter || *byte == b'\n') << bit;
        }
        (separators, newlines)
    });
}

/// The scan, given which of 64 bytes are separators (delimiters and newlines) and which are newlines.
#[inline(always)]
fn scan(text: &[u8], found: &mut Separators, masks: impl Fn(&[u8; WINDOW]) -> (u64, u64)) {
    let (windows, tail) = text.as_chunks::<WINDOW>();
    for (window, bytes) in windows.iter().enumerate() {
        let (separators, newlines) = masks(bytes);
        push(found, window * WINDOW, separators, newlines);
    }
    if !tail.is_empty() {
        let mut bytes = [0; WINDOW];
        bytes[..tail.len()].copy_from_slice(tail);
        let (separators, newlines) = masks(&bytes);
        let there = (1 << tail.len()) - 1;
        push(found, windows.len() * WINDOW, separators & there, newlines & there);
    }
}

/// Appends the places of one window that starts at `base`.
#[inline(always)]
fn push(found: &mut Separators, base: usize, separators: u64, mut newlines: u64) {
    let before = found.starts.len();
    let count = separators.count_ones() as usize;
    while newlines != 0 {
        let newline = newlines.trailing_zeros();
        let up_to = separators & (u64::MAX >> (63 - newline));
        found.lines.push((before - 1) as u32 + up_to.count_ones());
        newlines &= newlines - 1;
    }
    found.starts.reserve(WINDOW);
    let mut bits = separators;
    let places = found.starts.spare_capacity_mut();
    // Eight at a time whether or not there are as many, so that the loop ends where the last one did.
    for group in places[..WINDOW].chunks_exact_mut(8).take(count.div_ceil(8)) {
        for place in group {
            place.write(base as u32 + bits.trailing_zeros() + 1);
            bits &= bits.wrapping_sub(1);
        }
    }
    // SAFETY: `count` places, at most 64, were reserved and written above.
    unsafe { found.starts.set_len(before + count) };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8, _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_set1_epi8,
    };

    use super::{Separators, WINDOW, scan};

    #[target_feature(enable = "avx512f,avx512bw,bmi1,popcnt")]
    pub(super) fn avx512(text: &[u8], delimiter: u8, found: &mut Separators) {
        let (delimiters, newlines) = (_mm512_set1_epi8(delimiter as i8), _mm512_set1_epi8(b'\n' as i8));
        scan(text, found, |window: &[u8; WINDOW]| {
            // SAFETY: a window holds 64 bytes; the load needs no alignment.
            let bytes = unsafe { _mm512_loadu_si512(window.as_ptr().cast::<__m512i>()) };
            let newlines = _mm512_cmpeq_epi8_mask(bytes, newlines);
            (_mm512_cmpeq_epi8_mask(bytes, delimiters) | newlines, newlines)
        });
    }

    #[target_feature(enable = "avx2,bmi1,popcnt")]
    pub(super) fn avx2(text: &[u8], delimiter: u8, found: &mut Separators) {
        let (delimiters, newlines) = (_mm256_set1_epi8(delimiter as i8), _mm256_set1_epi8(b'\n' as i8));
        scan(text, found, |window: &[u8; WINDOW]| {
            let mut masks = (0, 0);
            for half in 0..2 {
                // SAFETY: a window holds two halves of 32 bytes; the load needs no alignment.
                let bytes = unsafe { _mm256_loadu_si256(window.as_ptr().add(32 * half).cast::<__m256i>()) };
                let at_newline = _mm256_cmpeq_epi8(bytes, newlines);
                let at_either = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, delimiters), at_newline);
                masks.0 |= u64::from(_mm256_movemask_epi8(at_either) as u32) << (32 * half);
                masks.1 |= u64::from(_mm256_movemask_epi8(at_newline) as u32) << (32 * half);
            }
            masks
        });
    }
}
