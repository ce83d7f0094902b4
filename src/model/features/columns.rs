//! Neighboring rows of a text → codes, column by column: the same codes as [`Encoder::encode`], at several times its speed.
//!
//! What a column needs is worked out once: the masks of its hash, and a table of codes for small integers, which are most of
//! what stands in numeric columns. One column is then one short loop over rows. What is uncommon (other numbers, bags) takes
//! the way of a single row, cell by cell.

use std::hint::select_unpredictable;

use super::encoder::{Encoder, FeatureEncoder, Kind};
use super::hash::{EMPTY_CODE, KeyHasher, bin_code, missing_code};
use crate::kernels::text::{NO_INTEGER, small_integers};
use crate::model::row::{Cell, TextColumn, TextRows};

/// Integers whose codes stand in a table.
const TABLE: std::ops::Range<i32> = -16..1_008;

/// An [`Encoder`], made ready for many rows of text.
#[derive(Debug, Clone)]
pub struct ColumnEncoder {
    columns: Vec<ColumnFeature>,
    width: usize,
}

#[derive(Debug, Clone)]
struct ColumnFeature {
    encoder: FeatureEncoder,
    /// Code of a missing value.
    missing: u32,
    /// Place of its first code in a row.
    at: usize,
    kind: ColumnKind,
}

#[derive(Debug, Clone)]
enum ColumnKind {
    Values(KeyHasher),
    /// Codes of the integers of [`TABLE`], and [`EMPTY_CODE`] for all others.
    Numbers(Vec<u32>),
    /// Everything else.
    Cells,
}

impl ColumnEncoder {
    /// Makes `encoder` ready.
    pub fn new(encoder: &Encoder) -> Self {
        let mut at = 0;
        let columns = encoder.encoders().iter().map(|feature| {
            let place = at;
            at += feature.kind.positions();
            let kind = match &feature.kind {
                Kind::Categorical => ColumnKind::Values(KeyHasher::new(feature.salt)),
                Kind::LogSquare | Kind::Quantile(_) => {
                    let code = |integer| bin_code(feature.salt, feature.bin(f64::from(integer)));
                    ColumnKind::Numbers(TABLE.map(code).chain([EMPTY_CODE]).collect())
                }
                Kind::Characters(..) | Kind::Bag { .. } => ColumnKind::Cells,
            };
            ColumnFeature { encoder: feature.clone(), missing: missing_code(feature.salt), at: place, kind }
        });
        let columns = columns.collect();
        ColumnEncoder { columns, width: at }
    }

    /// Encodes `rows` into `codes` (rows × [`Encoder::width`]). Rows in which a numeric cell holds something that is no finite
    /// number are named in `refused`, once for each such cell; [`Encoder::encode`] says why.
    ///
    /// # Panics
    /// When `codes` has another length.
    pub fn encode(&self, rows: &TextRows<'_>, codes: &mut [u32], refused: &mut Vec<usize>) {
        assert_eq!(codes.len(), rows.rows() * self.width, "one code for each row and position");
        let mut cells = ShortCells::default();
        for feature in &self.columns {
            let column = rows.column(feature.encoder.column);
            let mut first_row = 0;
            for codes in codes.chunks_mut(ShortCells::ROWS * self.width) {
                feature.encode(column, first_row, codes, self.width, &mut cells, refused);
                first_row += codes.len() / self.width;
            }
        }
    }
}

/// What stands in some neighboring cells of one column, as far as their first bytes tell.
pub(super) struct ShortCells {
    words: [u64; ShortCells::ROWS],
    pub(super) lengths: [u32; ShortCells::ROWS],
    pub(super) integers: [i32; ShortCells::ROWS],
    codes: [u32; ShortCells::ROWS],
}

impl Default for ShortCells {
    fn default() -> Self {
        const { ShortCells { words: [0; _], lengths: [0; _], integers: [0; _], codes: [0; _] } }
    }
}

impl ShortCells {
    /// Cells looked at together.
    pub(super) const ROWS: usize = 128;

    /// Reads the small integers of `rows` cells from `first_row` on.
    pub(super) fn integers(&mut self, column: &TextColumn<'_>, first_row: usize, rows: usize) -> &Self {
        let ShortCells { words, lengths, integers, .. } = self;
        column.words(first_row, &mut words[..rows], &mut lengths[..rows]);
        small_integers(&words[..rows], &lengths[..rows], &mut integers[..rows]);
        self
    }
}

impl ColumnFeature {
    /// Encodes one column of the rows from `first_row` on that `codes` has places for.
    fn encode(
        &self,
        column: Option<TextColumn<'_>>,
        first_row: usize,
        codes: &mut [u32],
        width: usize,
        cells: &mut ShortCells,
        refused: &mut Vec<usize>,
    ) {
        let rows = codes.len() / width;
        let ready = column.is_some_and(|column| self.short_codes(&column, first_row, rows, cells));
        if ready {
            for (codes, code) in codes.chunks_exact_mut(width).zip(&cells.codes) {
                codes[self.at] = *code;
            }
        }
        for (row, codes) in codes.chunks_exact_mut(width).enumerate() {
            if !ready || cells.codes[row] == EMPTY_CODE {
                let codes = &mut codes[self.at..self.at + self.encoder.kind.positions()];
                if ready && matches!(self.kind, ColumnKind::Numbers(_)) && cells.integers[row] != NO_INTEGER {
                    codes[0] = bin_code(self.encoder.salt, self.encoder.bin(f64::from(cells.integers[row])));
                    continue;
                }
                let cell = column.map_or(Cell::Missing, |column| column.cell(first_row + row));
                if self.encoder.encode(cell, codes).is_err() {
                    refused.push(first_row + row);
                }
            }
        }
    }

    /// Leaves the codes of `rows` cells from `first_row` on in `cells`, with [`EMPTY_CODE`] for cells that need a closer look. `false`
    /// when all do. Which cells are missing cannot be foreseen, so nothing is decided by it.
    fn short_codes(&self, column: &TextColumn<'_>, first_row: usize, rows: usize, cells: &mut ShortCells) -> bool {
        match &self.kind {
            ColumnKind::Cells => return false,
            ColumnKind::Values(hasher) => {
                let ShortCells { words, lengths, codes, .. } = cells;
                column.words(first_row, &mut words[..rows], &mut lengths[..rows]);
                hasher.short_value_codes(&words[..rows], &lengths[..rows], &mut codes[..rows]);
                for (code, length) in codes[..rows].iter_mut().zip(&lengths[..rows]) {
                    let short = select_unpredictable(length.wrapping_sub(4) <= 4, *code, EMPTY_CODE);
                    *code = select_unpredictable(*length == 0, self.missing, short);
                }
            }
            ColumnKind::Numbers(table) => {
                cells.integers(column, first_row, rows);
                let ShortCells { lengths, integers, codes, .. } = cells;
                for ((code, length), integer) in codes[..rows].iter_mut().zip(&lengths[..rows]).zip(&integers[..rows]) {
                    let listed = integer.wrapping_sub(TABLE.start) as u32 as usize;
                    let place = select_unpredictable(listed < TABLE.len(), listed, TABLE.len());
                    *code = select_unpredictable(*length == 0, self.missing, table[place]);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::features::EncoderBuilder;
    use crate::model::schema::Schema;

    const SCHEMA: &str = r#"
        version = 1
        name = "test"
        [fields]
        y = { kind = "label" }
        site = { kind = "categorical" }
        prefix = { kind = "categorical", column = "site", characters = [0, 2] }
        age = { kind = "numeric" }
        price = { kind = "numeric", bins = { quantile = 4 } }
        tags = { kind = "bag", max_values = 3 }
        absent = { kind = "categorical" }
    "#;

    proptest! {
        #[test]
        fn columns_give_the_codes_of_rows(
            rows in proptest::collection::vec(
                ("[01]?", "[a-z\u{e9}]{0,20}", "(-?[0-9]{0,9}|[0-9.e+ -]{0,5}|[a-z])", "-?[0-9]{0,4}(\\.5)?", "[a-c|]{0,6}"), 1..40,
            ),
            carriage in any::<bool>(),
        ) {
            let schema = Schema::parse(SCHEMA, "test").unwrap();
            let mut builder = EncoderBuilder::new(&schema);
            for price in 0..1_000 {
                builder.observe(&[Cell::Missing, Cell::Missing, Cell::Missing, Cell::Number(price as f64), Cell::Missing, Cell::Missing]);
            }
            let encoder = builder.finish();
            let (mut text, mut starts) = (Vec::new(), vec![0]);
            for (y, site, age, price, tags) in &rows {
                // In another order than the schema's.
                for (place, cell) in [tags, y, age, site, price].into_iter().enumerate() {
                    text.extend_from_slice(cell.as_bytes());
                    text.extend_from_slice(if place < 4 { b"," } else if carriage { b"\r\n" } else { b"\n" });
                    starts.push(text.len() as u32);
                }
            }
            let places = [Some(1), Some(3), Some(2), Some(4), Some(0), None];
            let all = TextRows::new(&text, &starts, 5, &places);
            let (mut codes, mut refused) = (vec![7; rows.len() * encoder.width()], Vec::new());
            ColumnEncoder::new(&encoder).encode(&all, &mut codes, &mut refused);
            for (row, codes) in codes.chunks_exact(encoder.width()).enumerate() {
                let cells: Vec<Cell<'_>> = (0..6).map(|column| all.cell(row, column)).collect();
                let mut expected = vec![0; encoder.width()];
                match encoder.encode(&cells, &mut expected) {
                    Ok(()) => prop_assert_eq!((codes, refused.contains(&row)), (&expected[..], false)),
                    Err(_) => prop_assert!(refused.contains(&row)),
                }
            }
        }
    }
}
