//! Cells and lines of texts, even and ugly.

use super::super::text::{NO_INTEGER, Separators, cell_words, scramble_words, separators, small_integers};
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
fn cells_become_words_and_integers() {
    on_every_isa(|| {
        let mut all = Vec::new();
        for rows in [0, 1, 7, 8, 9, 40, 500] {
            let (text, starts, cells) = column(rows);
            let (mut words, mut lengths, mut integers) = (vec![1; rows], vec![1; rows], vec![1; rows]);
            cell_words(&text, &starts[1.min(starts.len() - 1)..], 3, &mut words, &mut lengths);
            small_integers(&words, &lengths, &mut integers);
            for (row, cell) in cells.iter().enumerate() {
                let shown = cell.len().min(8);
                assert_eq!((&words[row].to_le_bytes()[..shown], lengths[row] as usize), (&cell[..shown], cell.len()));
                let digits = cell.strip_prefix(b"-").unwrap_or(cell);
                let small = cell.len() <= 8 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
                let expected = match small {
                    true => std::str::from_utf8(cell).unwrap().parse().unwrap(),
                    false => NO_INTEGER,
                };
                assert_eq!(integers[row], expected, "{cell:?}");
            }
            let mut scrambled = vec![0; rows];
            scramble_words(&words, &lengths, 0x0123_4567_89ab_cdef, &mut scrambled);
            // Words of other lengths are scrambled to something that nobody may use.
            let short = scrambled.iter().zip(&lengths).filter(|(_, length)| (4..=8).contains(*length));
            let short: Vec<u32> = short.map(|(scrambled, _)| *scrambled).collect();
            all.push((words, lengths, integers, short));
        }
        all
    });
}
