//! Open file → its bytes, mapped into memory without copying; and room for a large table, mapped to large pages.
//!
//! This stands among the kernels because mapping a file is `unsafe` in Rust and all unsafe code lives here. No file is
//! opened: callers open, check and name it.

use std::fs::File;
use std::io;

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
