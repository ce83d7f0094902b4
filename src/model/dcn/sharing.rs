//! What rows of a request have in common → their share of x₀ and of the layers that read it, worked out once.
//!
//! In 8 bits the sums of the first cross layer and of the first layer of the tower are whole numbers over ranges known from
//! the table, so they can be cut between fields: those of the common fields are where each row's own begin, and the bits are
//! those of the whole. In `f32` a product is one chain over all fields, and only x₀ is shared.

use super::embedding;
use super::frozen::{Known, Weight};
use super::narrow::Narrow;
use crate::kernels::{Matrix, QuantizedRows, quantized_sums};
use crate::model::{OwnSpans, Slots};

/// The common part of some rows, and the fields that are their own.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Embedded fields in which rows differ, ascending.
    own: Vec<u32>,
    /// x₀ of a row, right in all other fields; empty where every field is a row's own.
    x0: Vec<f32>,
    /// Lines of the own fields in the layers that read x₀ in 8 bits.
    lines: Vec<u32>,
    /// What their sums begin with.
    cross: Vec<i32>,
    deep: Vec<i32>,
    others: Vec<u32>,
    bytes: QuantizedRows,
    narrowed: Vec<u32>,
}

/// What a network reads x₀ with.
pub(super) struct Readers<'a> {
    pub(super) table: &'a [f32],
    pub(super) dim: usize,
    pub(super) narrow: &'a Narrow,
    pub(super) known: &'a Known,
    /// The first cross layer, where it reads x₀ in 8 bits.
    pub(super) cross: Option<&'a Weight>,
    /// The first layer of the tower, where it reads x₀ in 8 bits.
    pub(super) deep: Option<&'a Weight>,
}

impl Common {
    /// For rows that have nothing in common.
    pub(super) fn nothing(&mut self, readers: &Readers<'_>) {
        self.own.clear();
        self.own.extend(0..readers.narrow.fields.len() as u32);
        self.x0.clear();
        self.begin(readers);
    }

    /// For rows that have the slots of `row` in all spans but their `own`.
    pub(super) fn of(&mut self, row: Slots<'_>, own: &OwnSpans, readers: &Readers<'_>) {
        let Readers { table, dim, narrow, known, .. } = readers;
        let is_own = |field: &u32| own.contains(narrow.spans[*field as usize]);
        let fields = 0..narrow.fields.len() as u32;
        self.own.clear();
        self.own.extend(fields.clone().filter(is_own));
        self.others.clear();
        self.others.extend(fields.filter(|field| !is_own(field)));
        narrow.fill(row, &mut self.narrowed);
        self.x0.resize(narrow.fields.len() * dim, 0.0);
        embedding::gather(table, *dim, &narrow.fields, narrow.view(row, &self.narrowed), &mut self.x0);
        self.begin(readers);
        if readers.cross.is_none() && readers.deep.is_none() {
            return;
        }
        self.bytes.fill_known(Matrix::new(&self.x0, 1, self.x0.len()), &self.others, known.inverse());
        let lines = &mut self.narrowed;
        known.lines(&self.others, lines);
        for (weight, sums) in [(readers.cross, &mut self.cross), (readers.deep, &mut self.deep)] {
            if let Some((matrix, _)) = weight.and_then(Weight::known) {
                quantized_sums(&self.bytes, matrix, lines, sums);
            }
        }
    }

    /// Lines of the own fields, and sums that begin with nothing.
    fn begin(&mut self, readers: &Readers<'_>) {
        readers.known.lines(&self.own, &mut self.lines);
        for (weight, sums) in [(readers.cross, &mut self.cross), (readers.deep, &mut self.deep)] {
            sums.clear();
            if let Some((_, start)) = weight.and_then(Weight::known) {
                sums.extend_from_slice(start);
            }
        }
    }

    /// Fields in which rows differ.
    pub(super) fn own(&self) -> &[u32] {
        &self.own
    }

    /// x₀ of a row, right in all other fields; empty where there are none.
    pub(super) fn x0(&self) -> &[f32] {
        &self.x0
    }

    pub(super) fn lines(&self) -> &[u32] {
        &self.lines
    }

    /// What sums of the first cross layer begin with.
    pub(super) fn cross(&self) -> &[i32] {
        &self.cross
    }

    /// What sums of the first layer of the tower begin with.
    pub(super) fn deep(&self) -> &[i32] {
        &self.deep
    }
}
