//! Cells and lines of texts, even and ugly.

use super::super::places::{MISSING, OTHER, PLACES, integer_places, integers_of};
use super::super::text::{
    LANES, NO_INTEGER, Separators, place_codes, row_words, separators, small_integer, small_integers, word_codes,
    word_of,
};
use super::on_every_isa;

/// What the kernel means, byte by byte.
fn reference(text: &[u8], delimiter: u8) -> Separators {
    let mut found = Separators { starts: vec![0], lines: Vec::new() };
    for (at, byte) in text.iter().enumerate() {
        if *byte == delimiter || *byte == b'\n' {
            found.starts.push(at as u32 + 1);
        }
        if *byte == b'\n' {
            found.lines.push(found.starts.len() as u32 - 1);
        }
    }
    found
}

#[test]
fn every_cell_and_line_is_found() {
    on_every_isa(|| {
        let mut state = 1_u64;
        let mut all = Vec::new();
        let mut found = Separators::default();
        for length in (0..200).chain([255, 256, 257, 1000, 4096, 10_007]) {
            // From hardly any separator to nothing else, every byte value, and the delimiter 0 that padding could be.
            for (share, delimiter) in [(0, b','), (10, b'\t'), (40, b','), (100, b'|'), (30, 0)] {
                let mut next = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    state >> 33
                };
                let byte = |_| match next() % 100 < share {
                    true if next() % 4 == 0 => b'\n',
                    true => delimiter,
                    false => next() as u8,
                };
                let text: Vec<u8> = (0..=length).map(byte).collect();
                separators(&text[1..], delimiter, &mut found);
                assert_eq!(found, reference(&text[1..], delimiter), "{length} bytes");
                all.push(found.clone());
            }
        }
        all
    });
}

/// Rows of three cells of every length up to 12 and of every kind of byte; the column in the middle.
fn column(rows: usize) -> (Vec<u8>, Vec<u32>, Vec<Vec<u8>>) {
    let (mut text, mut starts, mut cells) = (Vec::new(), vec![0], Vec::new());
    for row in 0..rows {
        let kind = row % 7;
        let cell: Vec<u8> = (0..(row * 5) % 13)
            .map(|at| match kind {
                0 => (row * 31 + at * 7) as u8,
                1 if at == 0 => b'-',
                2 if at == 3 => b"/:-."[row % 4],
                _ => b'0' + ((row * 13 + at * at) % 10) as u8,
            })
            .collect();
        for cell in [&b"x"[..], &cell, &b"yz"[..row % 3]] {
            text.extend_from_slice(cell);
            text.push(b',');
            starts.push(text.len() as u32);
        }
        cells.push(cell);
    }
    text.pop();
    (text, starts, cells)
}

#[test]
fn cells_become_words_integers_and_codes() {
    on_every_isa(|| {
        let mut all = Vec::new();
        for rows in [0, 1, 7, 8, 9, 40, 500] {
            let (text, starts, cells) = column(rows);
            // The middle cell alone, with a place left over; and all three, not as neighbors.
            let (mut words, mut lengths, mut integers) = (vec![1; 2 * rows], vec![1; 2 * rows], vec![1; 2 * rows]);
            row_words(&text, &starts, 3, &[1], 2, &mut words, &mut lengths);
            let (mut turned, mut turned_lengths) = (vec![1; 3 * rows], vec![1; 3 * rows]);
            row_words(&text, &starts, 3, &[2, 1, 0], 3, &mut turned, &mut turned_lengths);
            small_integers(&words, &lengths, &mut integers);
            for (row, cell) in cells.iter().enumerate() {
                let shown = cell.len().min(8);
                let (word, length) = (words[2 * row], lengths[2 * row]);
                assert_eq!((&word.to_le_bytes()[..shown], length as usize), (&cell[..shown], cell.len()));
                assert_eq!((turned[3 * row + 1], turned_lengths[3 * row + 1]), (word, length));
                assert_eq!((turned[3 * row + 2] as u8, turned_lengths[3 * row + 2]), (b'x', 1));
                assert_eq!((words[2 * row + 1], lengths[2 * row + 1]), (1, 1), "a place left over stays");
                let digits = cell.strip_prefix(b"-").unwrap_or(cell);
                let small = cell.len() <= 8 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
                let expected = match small {
                    true => std::str::from_utf8(cell).unwrap().parse().unwrap(),
                    false => NO_INTEGER,
                };
                assert_eq!(integers[2 * row], expected, "{cell:?}");
                let alone = word_of(cell);
                assert!(
                    alone.to_le_bytes()[..shown] == cell[..shown]
                        && alone.to_le_bytes()[shown..].iter().all(|byte| *byte == 0)
                );
                assert_eq!(small_integer(alone, length), expected, "{cell:?}");
            }
            let (masks, missing) = ([0x0123_4567_89ab_cdef, 77, 0], [5, 6, 7]);
            let mut codes = vec![1; 2 * rows];
            word_codes(&words, &lengths, &masks, &missing, &mut codes);
            for (at, (code, length)) in codes.iter().zip(&lengths).enumerate() {
                match length {
                    0 => assert_eq!(*code, missing[at % 3]),
                    4..=8 => assert_ne!(*code, 0),
                    _ => assert_eq!(*code, 0),
                }
            }
            all.push((words, lengths, integers, codes));
        }
        all
    });
}

#[test]
fn integers_have_places_that_follow_one_another() {
    let mut next = -16;
    for place in 0..OTHER {
        let (lowest, highest) = integers_of(place).unwrap();
        assert!(lowest == next && highest >= lowest, "{place}: {lowest} to {highest}, expected from {next}");
        next = highest + 1;
    }
    assert_eq!((next, integers_of(OTHER), integers_of(MISSING), PLACES), (100_000_000, None, None, MISSING + 1));
    on_every_isa(|| {
        let mut integers = vec![NO_INTEGER, i32::MAX, i32::MIN + 1, -17, -9_999_999];
        let none = integers.len();
        integers.extend((0..OTHER).flat_map(|place| <[i32; 2]>::from(integers_of(place).unwrap())));
        let (lengths, mut places) = (vec![3; integers.len()], vec![0; integers.len()]);
        integer_places(&integers, &lengths, &[0, 10_000, 20_000], &mut places);
        for (at, place) in places.iter().enumerate() {
            let expected = if at < none { OTHER } else { (at - none) / 2 };
            assert_eq!(*place as usize, expected + at % 3 * 10_000, "{}", integers[at]);
        }
        integer_places(&integers[..1], &[0], &[4], &mut places[..1]);
        assert_eq!(places[0] as usize, MISSING + 4);
        places
    });
}

#[test]
fn codes_find_their_places() {
    on_every_isa(|| {
        let mut all = Vec::new();
        for (rows, count) in [(0, 1), (1, 1), (3, 8), (5, 13), (40, 26)] {
            let lanes = usize::next_multiple_of(count, LANES);
            let codes: Vec<u32> = (0..rows * lanes).map(|at| (at as u32 * 7) % 5).collect();
            let (width, first) = (count + 3, 2);
            let (mut placed, mut empty) = (vec![9; rows * width], vec![0; rows * lanes / LANES]);
            place_codes(&codes, lanes, count, &mut placed, width, first, &mut empty);
            for (at, code) in codes.iter().enumerate() {
                assert_eq!(empty[at / LANES] >> (at % LANES) & 1 == 1, *code == 0);
                if at % lanes < count {
                    assert_eq!(placed[at / lanes * width + first + at % lanes], *code);
                }
            }
            assert!(placed.chunks(width).all(|row| row[..first] == [9, 9] && row[first + count..] == [9]));
            all.push((placed, empty));
        }
        all
    });
}
