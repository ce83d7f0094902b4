//! Open file → its bytes, mapped into memory without copying, or copied; and room for a large table, mapped to large pages.
//!
//! This stands among the kernels because mapping a file is `unsafe` in Rust and all unsafe code lives here. No file is
//! opened: callers open, check and name it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};

pub use memmap2::Mmap;
use memmap2::MmapMut;

/// Maps a whole file for reading. An empty file maps to no bytes.
///
/// Files that are mapped must not be cut short while they are in use: touching a page that is gone ends the process
/// (SIGBUS). Prepared data and bundles are written once, under another name, and only then renamed into place; replacing
/// them leaves the mapped file as it was.
///
/// # Errors
/// What the system answers when it cannot map the file.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: `Mmap` is read-only; the files mapped are never written after they have their name (see above).
    unsafe { Mmap::map(file) }
}

/// Pages of files may be this large.
const LARGE_PAGE: usize = 2 << 20;

/// Gives back the memory of `part` of a mapped file. It stays readable: touching it reads the file again.
///
/// What a process has touched of a mapped file counts as its memory until the system wants it back. A pass that gives back
/// what it has read needs the same memory for any number of rows. Large pages that `part` only begins or ends in are given
/// back too, since a touch brought all of them. A part that is not of this file is left alone.
pub fn release(file: &Mmap, part: &[u8]) {
    let first = file.as_ptr().addr();
    let end = first + file.len();
    let of_file = part.as_ptr_range();
    let of_file = of_file.start.addr()..of_file.end.addr();
    if of_file.is_empty() || of_file.start < first || of_file.end > end {
        return;
    }
    let from = (of_file.start / LARGE_PAGE * LARGE_PAGE).max(first);
    let to = of_file.end.next_multiple_of(LARGE_PAGE).min(end);
    // SAFETY: the mapping is read-only and of a file that is not written (see above), so that pages dropped are read from
    // it again with the same bytes. A hint that is refused changes nothing.
    #[cfg(unix)]
    let _ = unsafe { file.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from - first, to - from) };
}

/// A file's bytes in memory of its own, read and given back a piece at a time.
///
/// What the system does for a process in one call it mostly does in one go: reading 16 MB takes it 4 to 12 ms and taking them back
/// 1 ms, and so long may wait whoever has a better right to the processor. A piece takes it some 5 µs.
#[derive(Debug)]
pub struct FileBytes {
    /// One byte more where there are none: nothing cannot be mapped.
    memory: MmapMut,
    length: usize,
}

impl FileBytes {
    /// Reads `length` bytes, or as many as there are.
    ///
    /// # Errors
    /// What the system answers when it cannot read the file, or has no memory for it.
    pub fn read(mut file: impl Read, length: usize) -> io::Result<Self> {
        let mut memory = MmapMut::map_anon(length.max(1))?;
        let mut read = 0;
        for piece in pieces(length) {
            while read < piece.end {
                match file.read(&mut memory[read..piece.end]) {
                    Ok(0) => return Ok(FileBytes { memory, length: read }),
                    Ok(count) => read += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(FileBytes { memory, length })
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for FileBytes {
    fn drop(&mut self) {
        give_back(&mut self.memory);
    }
}

/// Gives memory that is about to be dropped back to the system, a piece at a time.
pub(super) fn give_back(memory: &mut MmapMut) {
    for piece in pieces(memory.len()) {
        // SAFETY: nobody else borrows it, and zeros, which such memory then holds, are bytes. A hint that is refused changes nothing.
        #[cfg(unix)]
        let _ = unsafe {
            memory.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, piece.start, piece.end - piece.start)
        };
    }
}

/// Bytes that the system reads, clears or takes back at a time.
const PIECE: usize = 8 << 10;

/// Pieces of so many bytes. Before each the thread offers its processor: Linux mostly gives it to others when they wake, but now and
/// then lets a thread of the idle class go on until its next tick, for up to 4 ms.
pub(super) fn pieces(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(PIECE).map(move |start| {
        std::thread::yield_now();
        start..length.min(start + PIECE)
    })
}

/// Pairs of numbers, zero at first, in pages as large as the system gives.
///
/// A table that is read here and there costs a walk through the page tables for nearly every line when pages have 4 KiB:
/// in large pages FTRL learned 10 to 30 % more impressions a second (2²² slots).
#[derive(Debug)]
pub struct PairTable(MmapMut);

impl PairTable {
    /// A table of `count` pairs, each (0, 0).
    ///
    /// # Panics
    /// When there is no memory for it, as vectors do.
    pub fn zeroed(count: usize) -> Self {
        let bytes = count.checked_mul(8).expect("a table fits the address space");
        let map = MmapMut::map_anon(bytes.max(8)).unwrap_or_else(|error| panic!("{bytes} bytes for a table: {error}"));
        // A wish only: where it cannot be met, pages are small.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        PairTable(map)
    }

    /// The pairs.
    pub fn pairs(&self) -> &[[f32; 2]] {
        bytemuck::cast_slice(&self.0)
    }

    /// The pairs, to be changed.
    pub fn pairs_mut(&mut self) -> &mut [[f32; 2]] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_zero_at_first() {
        let mut table = PairTable::zeroed(1000);
        assert!(table.pairs().len() == 1000 && table.pairs().iter().all(|pair| *pair == [0.0; 2]));
        table.pairs_mut()[999] = [1.0, 2.0];
        assert_eq!(table.pairs()[999], [1.0, 2.0]);
    }

    #[test]
    fn files_are_read_to_their_last_byte() {
        let bytes: Vec<u8> = (0..2 * PIECE as u32 + 17).map(|at| (at % 251) as u8).collect();
        for length in [0, 1, PIECE, PIECE + 1, bytes.len()] {
            assert!(*FileBytes::read(&bytes[..length], length).unwrap() == bytes[..length]);
            // One that is shorter than it was said to be, and one that is longer.
            assert!(*FileBytes::read(&bytes[..length], length + 5).unwrap() == bytes[..length]);
            assert!(*FileBytes::read(&bytes[..], length).unwrap() == bytes[..length]);
        }
        assert!(FileBytes::read(File::open("src").unwrap(), 5).is_err(), "a folder has no bytes");
    }

    #[test]
    fn what_is_given_back_reads_the_same() {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let map = map_file(&file).unwrap();
        let before = map.to_vec();
        for part in [0..map.len(), 5000..5001, 100..90_000, 7..7] {
            release(&map, &map[part]);
            assert!(*map == before[..]);
        }
        release(&map, &before);
    }
}
