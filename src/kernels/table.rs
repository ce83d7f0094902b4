//! Room for tables that are read at random: rows do not straddle cache lines, and few pages hold them.
//!
//! A vector of 64-byte rows starts 16 bytes into a page, so that every row lies in two lines. And with pages of 4 kB nearly
//! every row of a large table costs a walk through the page table. Memory mapped in its own right starts at a page, and the
//! system is asked for huge pages; where it has none, ordinary ones are used.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// A fixed number of values.
#[derive(Debug, Default)]
pub struct Table {
    /// `None` for no values.
    pages: Option<MmapMut>,
}

impl Table {
    /// `length` zeros.
    ///
    /// # Panics
    /// When the system has no memory left, as vectors do.
    pub fn zeros(length: usize) -> Self {
        if length == 0 {
            return Table { pages: None };
        }
        let pages = MmapMut::map_anon(length * size_of::<f32>()).expect("memory for a table");
        // A wish: without huge pages the table works as well, only slower.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Table { pages: Some(pages) }
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
    }
}
