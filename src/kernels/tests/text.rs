//! Cells and lines of texts, even and ugly.

use super::super::text::{Separators, separators};
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
