//! Neighboring rows of a text → codes, column by column: the same codes as [`Encoder::encode`], at several times its speed.
//!
//! What a column needs is worked out once: the masks of its hash, and a table of codes for small integers, which are most of
//! what stands in numeric columns. One column is then one short loop over rows. What is uncommon (other numbers, bags) takes
//! the way of a single row, cell by cell.

use super::encoder::{Encoder, FeatureEncoder, Kind};
use super::hash::{KeyHasher, bin_code, missing_code};
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
    /// Codes of the integers of [`TABLE`].
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
                    ColumnKind::Numbers(TABLE.map(code).collect())
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
        for feature in &self.columns {
            let rows_codes = codes.chunks_exact_mut(self.width).map(|codes| &mut codes[feature.at..]);
            feature.encode(rows.column(feature.encoder.column), rows_codes, refused);
        }
    }
}

impl ColumnFeature {
    #[inline]
    fn encode<'a>(
        &self,
        column: Option<TextColumn<'_>>,
        codes: impl Iterator<Item = &'a mut [u32]>,
        refused: &mut Vec<usize>,
    ) {
        let rows = codes.enumerate();
        match (&self.kind, column) {
            (ColumnKind::Values(hasher), Some(column)) => {
                for (row, codes) in rows {
                    codes[0] = match column.bytes(row) {
                        [] => self.missing,
                        value => hasher.value_code(value),
                    };
                }
            }
            (ColumnKind::Numbers(table), Some(column)) => {
                for (row, codes) in rows {
                    let listed = |integer: i32| table.get(integer.wrapping_sub(TABLE.start) as usize);
                    match column.small_integer(row) {
                        Some(integer) => {
                            codes[0] = listed(integer).copied().unwrap_or_else(|| self.number_code(f64::from(integer)));
                        }
                        None => self.encode_cell(column.cell(row), row, codes, refused),
                    }
                }
            }
            (_, column) => {
                for (row, codes) in rows {
                    let cell = column.map_or(Cell::Missing, |column| column.cell(row));
                    self.encode_cell(cell, row, codes, refused);
                }
            }
        }
    }

    #[inline]
    fn number_code(&self, number: f64) -> u32 {
        bin_code(self.encoder.salt, self.encoder.bin(number))
    }

    #[inline]
    fn encode_cell(&self, cell: Cell<'_>, row: usize, codes: &mut [u32], refused: &mut Vec<usize>) {
        if cell == Cell::Missing && !matches!(self.kind, ColumnKind::Cells) {
            codes[0] = self.missing;
        } else if self.encoder.encode(cell, &mut codes[..self.encoder.kind.positions()]).is_err() {
            refused.push(row);
        }
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
