//! Room for tables that are read at random: rows do not straddle cache lines, and few pages hold them.
//!
//! A vector of 64-byte rows starts 16 bytes into a page, so that every row lies in two lines. And with pages of 4 kB nearly
//! every row of a large table costs a walk through the page table. Memory mapped in its own right starts at a page, and the
//! system is asked for huge pages; where it has none, ordinary ones are used.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

#[cfg(doc)]
use super::mapped::FileBytes;
use super::mapped::{give_back, pieces};

/// A fixed number of values.
#[derive(Debug, Default)]
pub struct Table {
    /// `None` for no values.
    pages: Option<MmapMut>,
    /// Whether it goes back to the system a piece at a time.
    gently: bool,
}

impl Drop for Table {
    fn drop(&mut self) {
        if let (true, Some(pages)) = (self.gently, &mut self.pages) {
            give_back(pages);
        }
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl AsRef<[f32]> for Table {
    fn as_ref(&self) -> &[f32] {
        self
    }
}

impl Table {
    /// `length` zeros.
    ///
    /// # Panics
    /// When the system has no memory left, as vectors do.
    pub fn zeros(length: usize) -> Self {
        if length == 0 {
            return Table::default();
        }
        let pages = MmapMut::map_anon(length * size_of::<f32>()).expect("memory for a table");
        // A wish: without huge pages the table works as well, only slower.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Table { pages: Some(pages), gently: false }
    }

    /// A copy of values that is made and dropped beside requests: it has small pages, one of which the system clears in 2 µs and a huge
    /// one in 0.4 ms, and goes back a [piece](FileBytes) at a time.
    ///
    /// # Panics
    /// When the system has no memory left, as vectors do.
    pub fn beside_requests(bytes: &[u8]) -> Self {
        assert!(bytes.len().is_multiple_of(size_of::<f32>()), "{} bytes are no values", bytes.len());
        if bytes.is_empty() {
            return Table::default();
        }
        let mut pages = MmapMut::map_anon(bytes.len()).expect("memory for a table");
        for piece in pieces(bytes.len()) {
            pages[piece.clone()].copy_from_slice(&bytes[piece]);
        }
        Table { pages: Some(pages), gently: true }
    }
}

impl Deref for Table {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.pages.as_ref().map_or(&[], |pages| bytemuck::cast_slice(pages))
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.pages.as_mut().map_or(&mut [], |pages| bytemuck::cast_slice_mut(pages))
    }
}

impl Clone for Table {
    fn clone(&self) -> Self {
        let mut copy = Table::zeros(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_start_as_zeros_at_a_line_and_clone() {
        let mut table = Table::zeros(100_000);
        assert_eq!(table.as_ptr().addr() % 64, 0);
        assert!(table.len() == 100_000 && table.iter().all(|value| *value == 0.0));
        table[99_999] = 2.0;
        let copy = table.clone();
        table[99_999] = 3.0;
        assert_eq!(copy[99_999], 2.0);
        assert!(Table::zeros(0).clone().is_empty());
        assert!(Table::beside_requests(bytemuck::cast_slice(&copy)) == copy);
        assert!(Table::beside_requests(&[]).is_empty());
    }
}
