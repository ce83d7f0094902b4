//! Open file → its bytes, mapped into memory without copying.
//!
//! This stands among the kernels because mapping a file is `unsafe` in Rust and all unsafe code lives here. No file is
//! opened: callers open, check and name it.

use std::fs::File;
use std::io;

pub use memmap2::Mmap;

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
