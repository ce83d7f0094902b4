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
