//! Bytes of a log to the places where its cells start, and cells to words, integers and hashes.
//!
//! Each 64 bytes are compared with the delimiter and with the newline at once; what equals becomes a bit, and bits become
//! places. Nothing is branched on but the number of separators in 64 bytes, so the speed does not depend on what stands in
//! the cells.

use std::mem::MaybeUninit;

use super::dispatch::{Isa, isa, per_isa};

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
            Isa::Avx512 | Isa::Avx512Bf16 if bits => return unsafe { x86::avx512(text, delimiter, found) },
            // SAFETY: as above.
            Isa::Avx2 if bits => return unsafe { x86::avx2(text, delimiter, found) },
            _ => {}
        }
    }
    let masks = |window: &[u8; WINDOW]| {
        let (mut separators, mut newlines) = (0, 0);
        for (bit, byte) in window.iter().enumerate() {
            newlines |= u64::from(*byte == b'\n') << bit;
            separators |= u64::from(*byte == delimiter || *byte == b'\n') << bit;
        }
        (separators, newlines)
    };
    scan(text, found, masks, write_places);
}

/// Room for the places of one window, and for what is written behind them without looking.
type Room = [MaybeUninit<u32>; WINDOW + 16];

/// The scan. `masks` says which of 64 bytes are separators (delimiters and newlines) and which are newlines; `write` writes the
/// places behind a window's separators, given the window's place, and all of them at least.
#[inline(always)]
fn scan(
    text: &[u8],
    found: &mut Separators,
    masks: impl Fn(&[u8; WINDOW]) -> (u64, u64),
    write: impl Fn(u64, u32, &mut Room),
) {
    let (windows, tail) = text.as_chunks::<WINDOW>();
    let mut padded = [0; WINDOW];
    padded[..tail.len()].copy_from_slice(tail);
    // The tail is one more window, so that everything below has one caller and is built into it.
    let last = (!tail.is_empty()).then_some(&padded);
    for (number, bytes) in windows.iter().chain(last).enumerate() {
        let (mut separators, mut newlines) = masks(bytes);
        if number == windows.len() {
            let there = (1 << tail.len()) - 1;
            separators &= there;
            newlines &= there;
        }
        let before = found.starts.len();
        found.starts.reserve(WINDOW + 16);
        let room = found.starts.spare_capacity_mut().first_chunk_mut().expect("it was reserved");
        write(separators, (number * WINDOW) as u32, room);
        // SAFETY: as many places as there are separators, at most 64, were reserved and written.
        unsafe { found.starts.set_len(before + separators.count_ones() as usize) };
        push_lines(&mut found.lines, before as u32 - 1, separators, newlines);
    }
}

/// Appends the lines that end in a window, of which `cells` cells ended before. Most windows hold one newline or none: the first is
/// written without asking.
#[inline(always)]
fn push_lines(lines: &mut Vec<u32>, cells: u32, separators: u64, newlines: u64) {
    let end = |newlines: u64| {
        let newline = newlines.trailing_zeros() & 63;
        cells + (separators & (u64::MAX >> (63 - newline))).count_ones()
    };
    let before = lines.len();
    lines.push(end(newlines));
    lines.truncate(before + usize::from(newlines != 0));
    let mut more = newlines & newlines.wrapping_sub(1);
    while more != 0 {
        lines.push(end(more));
        more &= more - 1;
    }
}

/// Writes places one by one; sixteen whether or not there are as many, so that one branch is nearly always enough.
#[inline(always)]
fn write_places(separators: u64, base: u32, room: &mut Room) {
    let mut bits = separators;
    for group in room.chunks_exact_mut(16) {
        for place in group {
            place.write(base + bits.trailing_zeros() + 1);
            bits &= bits.wrapping_sub(1);
        }
        if bits == 0 {
            break;
        }
    }
}

/// Eight bytes from the start of some cells of each row, the first one lowest, and the lengths of these cells in bytes. What a word
/// holds behind a shorter cell is not said.
///
/// Rows have `width` cells each: cell c of row r is `text[starts[r * width + c]..starts[r * width + c + 1] - 1]`, as [`separators`]
/// finds them. `words` and `lengths` have `lanes` places for each row; the first ones are those of `cells`, the others stay as they
/// are. Loads one by one: where gathers are kept from spying (on Intel processors since 2023, by microcode) they are slower.
///
/// # Panics
/// When a cell starts outside the text or is not of the row, or the lengths do not fit.
pub fn row_words(
    text: &[u8],
    starts: &[u32],
    width: usize,
    cells: &[usize],
    lanes: usize,
    words: &mut [u64],
    lengths: &mut [u32],
) {
    assert!(lanes >= cells.len().max(1) && words.len() == lengths.len(), "row_words: lengths differ");
    assert!(cells.iter().all(|cell| *cell < width), "row_words: cells {cells:?} of {width}");
    let word_at = |start: u32| match text.get(start as usize..start as usize + 8) {
        Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("eight bytes were cut")),
        None => text[start as usize..].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let neighbors = cells.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    let rows = words.chunks_exact_mut(lanes).zip(lengths.chunks_exact_mut(lanes)).enumerate();
    for (row, (words, lengths)) in rows {
        let starts = &starts[row * width..=(row + 1) * width];
        if let (true, Some(first)) = (neighbors, cells.first()) {
            let starts = &starts[*first..=*first + cells.len()];
            for (pair, length) in starts.windows(2).zip(lengths) {
                *length = pair[1].wrapping_sub(pair[0]).wrapping_sub(1);
            }
            for (start, word) in starts[..cells.len()].iter().zip(words) {
                *word = word_at(*start);
            }
            continue;
        }
        for ((cell, word), length) in cells.iter().zip(words).zip(lengths) {
            *length = starts[*cell + 1].wrapping_sub(starts[*cell]).wrapping_sub(1);
            *word = word_at(starts[*cell]);
        }
    }
}

/// Word of a cell that stands alone, as [`row_words`] has it; zeros behind a shorter cell.
#[inline(always)]
pub fn word_of(cell: &[u8]) -> u64 {
    let four = |bytes: Option<&[u8; 4]>| u64::from(u32::from_le_bytes(*bytes.expect("there are four")));
    match cell.len() {
        8.. => u64::from_le_bytes(*cell.first_chunk().expect("there are eight")),
        // What both fours hold is the same.
        length @ 4..8 => four(cell.first_chunk()) | four(cell.last_chunk()) << (8 * (length - 4)),
        length @ 1..4 => {
            let byte = |at: usize| u64::from(cell[at]) << (8 * at);
            byte(0) | byte(length / 2) | byte(length - 1)
        }
        0 => 0,
    }
}

/// Places of a row that are worked on at once: rows of words are padded to a multiple of it.
pub const LANES: usize = 8;

/// What is no small integer, in [`small_integers`].
pub const NO_INTEGER: i32 = i32::MIN;

per_isa! {
    /// The integers that cells spell as one to eight digits, or as a minus sign and one to seven; [`NO_INTEGER`] where a cell holds
    /// something else. Cells as [`row_words`] gives them.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn small_integers(words: &[u64], lengths: &[u32], integers: &mut [i32]) = small_integers_body,
    check { assert!(words.len() == lengths.len() && words.len() == integers.len(), "small_integers: lengths differ") }
}

#[inline(always)]
fn small_integers_body(words: &[u64], lengths: &[u32], integers: &mut [i32]) {
    for ((word, length), integer) in words.iter().zip(lengths).zip(integers) {
        *integer = small_integer(*word, *length);
    }
}

/// The integer of one cell, as [`small_integers`] has it.
#[inline(always)]
pub fn small_integer(word: u64, length: u32) -> i32 {
    let negative = u64::from(word & 0xff == u64::from(b'-'));
    let length = u64::from(length);
    let digits = length.wrapping_sub(negative);
    // Behind the shift the first digit stands in the lowest byte that is used, and zeros stand for those not written.
    let shift = 64_u64.wrapping_sub(digits.wrapping_mul(8)) & 63;
    let word = ((word >> (8 * negative)) ^ 0x3030_3030_3030_3030) << shift;
    let wrong = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    // Neighbors are added up: digits to pairs, pairs to fours, fours to one number.
    let pairs = (word.wrapping_mul(10).wrapping_add(word >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) as u32 as i32;
    let small = (length <= 8) & (digits.wrapping_sub(1) < 8) & (wrong == 0);
    let number = if negative == 1 { number.wrapping_neg() } else { number };
    if small { number } else { NO_INTEGER }
}

per_isa! {
    /// Codes of words of four to eight bytes, lowest first: the upper 32 bits of XXH3's formula for such inputs (its specification,
    /// 2021), at least 1. A cell of no bytes has the code in `missing`, one of another length 0.
    ///
    /// `masks` (what seed and secret come to) and `missing` hold numbers for the first cells, and again for as many that follow. They
    /// are best given for several rows: one long loop is faster than many short ones.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn word_codes(words: &[u64], lengths: &[u32], masks: &[u64], missing: &[u32], codes: &mut [u32]) = word_codes_body,
    check {
        assert!(words.len() == lengths.len() && words.len() == codes.len(), "word_codes: lengths differ");
        assert!(masks.len() == missing.len() && (!masks.is_empty() || words.is_empty()), "word_codes: no period");
    }
}

#[inline(always)]
fn word_codes_body(words: &[u64], lengths: &[u32], masks: &[u64], missing: &[u32], codes: &mut [u32]) {
    const PRIME: u64 = 0x9fb2_1c65_1e98_df25;
    let period = masks.len().max(1);
    let periods = words.chunks(period).zip(lengths.chunks(period)).zip(codes.chunks_mut(period));
    for ((words, lengths), codes) in periods {
        let cells = words.iter().zip(lengths).zip(masks).zip(missing).zip(codes);
        for ((((word, length), mask), missing), code) in cells {
            let wide = u64::from(*length);
            let last = (word >> (wide.wrapping_sub(4).wrapping_mul(8) & 63)) & 0xffff_ffff;
            let mut hash = (word << 32 | last) ^ mask;
            hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
            hash = hash.wrapping_mul(PRIME);
            hash ^= (hash >> 35).wrapping_add(wide);
            hash = hash.wrapping_mul(PRIME);
            let scrambled = (((hash ^ hash >> 28) >> 32) as u32).max(1);
            let short = if length.wrapping_sub(4) <= 4 { scrambled } else { 0 };
            *code = if *length == 0 { *missing } else { short };
        }
    }
}

per_isa! {
    /// Copies the first `count` of `lanes` codes of each row to `rows` of `width` codes, from place `first` on, and says which are
    /// 0: a bit for each in `empty`, a byte for [`LANES`] lanes.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn place_codes(codes: &[u32], lanes: usize, count: usize, rows: &mut [u32], width: usize, first: usize, empty: &mut [u8]) =
        place_codes_body,
    check {
        assert!(lanes > 0 && lanes.is_multiple_of(LANES) && codes.len() == empty.len() * LANES, "place_codes: lengths differ");
        assert!(codes.len() / lanes * width == rows.len() && first + count <= width, "place_codes: no whole rows");
    }
}

#[inline(always)]
fn place_codes_body(
    codes: &[u32],
    lanes: usize,
    count: usize,
    rows: &mut [u32],
    width: usize,
    first: usize,
    empty: &mut [u8],
) {
    for (row, codes) in rows.chunks_exact_mut(width).zip(codes.chunks_exact(lanes)) {
        for (place, code) in row[first..first + count].iter_mut().zip(codes) {
            *place = *code;
        }
    }
    for (codes, empty) in codes.as_chunks::<LANES>().0.iter().zip(empty) {
        *empty = (0..LANES).fold(0, |bits, lane| bits | u8::from(codes[lane] == 0) << lane);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8, _mm512_add_epi32, _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_maskz_compress_epi32,
        _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_storeu_si512,
    };

    use super::{Room, Separators, WINDOW, scan, write_places};

    #[target_feature(enable = "avx512f,avx512bw,bmi1,popcnt")]
    pub(super) fn avx512(text: &[u8], delimiter: u8, found: &mut Separators) {
        let (delimiters, newlines) = (_mm512_set1_epi8(delimiter as i8), _mm512_set1_epi8(b'\n' as i8));
        let masks = |window: &[u8; WINDOW]| {
            // SAFETY: a window holds 64 bytes; the load needs no alignment.
            let bytes = unsafe { _mm512_loadu_si512(window.as_ptr().cast::<__m512i>()) };
            let newlines = _mm512_cmpeq_epi8_mask(bytes, newlines);
            (_mm512_cmpeq_epi8_mask(bytes, delimiters) | newlines, newlines)
        };
        let behind = _mm512_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
        let behind = [0, 16, 32, 48].map(|quarter| _mm512_add_epi32(behind, _mm512_set1_epi32(quarter)));
        let write = |separators: u64, base: u32, room: &mut Room| {
            let mut at = 0;
            let base = _mm512_set1_epi32(base as i32);
            for (quarter, behind) in behind.into_iter().enumerate() {
                let bits = (separators >> (16 * quarter)) as u16;
                let places = _mm512_maskz_compress_epi32(bits, _mm512_add_epi32(base, behind));
                // SAFETY: at most 48 places stand before the last sixteen, so all lie in the room.
                unsafe { _mm512_storeu_si512(room.as_mut_ptr().add(at).cast::<__m512i>(), places) };
                at += bits.count_ones() as usize;
            }
        };
        scan(text, found, masks, write);
    }

    #[target_feature(enable = "avx2,bmi1,popcnt")]
    pub(super) fn avx2(text: &[u8], delimiter: u8, found: &mut Separators) {
        let (delimiters, newlines) = (_mm256_set1_epi8(delimiter as i8), _mm256_set1_epi8(b'\n' as i8));
        let masks = |window: &[u8; WINDOW]| {
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
        };
        scan(text, found, masks, write_places);
    }
}
