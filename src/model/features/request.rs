//! Rows that share most of their cells → codes: a context is encoded once, and a candidate's own cells over it.
//!
//! The codes are those of [`Encoder::encode`] for the whole row. Most columns are read by one feature that takes a value or a number;
//! all that such a column needs stands in one place: the masks of its hash, or where the codes of integers stand, in the same tables
//! that [`ColumnEncoder`](super::ColumnEncoder) has. Nothing is allocated.

use super::encoder::{Encoder, FeatureEncoder, Kind};
use super::hash::{EMPTY_CODE, KeyHasher};
use crate::kernels::places::{PLACES, integer_place};
use crate::kernels::text::{small_integer, word_of};
use crate::model::row::{Cell, CellError};

/// An [`Encoder`], made ready for rows that differ in few cells.
#[derive(Debug, Clone)]
pub struct RequestEncoder {
    columns: Vec<Column>,
    /// Column by column.
    features: Vec<Feature>,
    /// Codes by [`integer_place`], for each column with one number.
    tables: Vec<[u32; PLACES]>,
    /// Codes of a row of missing values.
    missing: Vec<u32>,
}

/// What reads a column.
#[derive(Debug, Clone)]
struct Column {
    shortcut: Shortcut,
    /// Its features, as positions.
    first: u32,
    end: u32,
}

/// How most cells of a column become a code, the one at a place of a row.
#[derive(Debug, Clone)]
enum Shortcut {
    /// The only feature takes values.
    Value(u32, KeyHasher),
    /// The only feature takes numbers, and has a table of codes.
    Number(u32, u32),
    /// Another feature, or not one.
    None,
}

#[derive(Debug, Clone)]
struct Feature {
    encoder: FeatureEncoder,
    hasher: KeyHasher,
    /// Place of its first code in a row.
    at: usize,
}

impl RequestEncoder {
    /// Makes `encoder` ready for rows of `columns` columns.
    pub fn new(encoder: &Encoder, columns: usize) -> Self {
        let mut missing = vec![0; encoder.width()];
        let mut features = Vec::new();
        let mut at = 0;
        for feature in encoder.encoders() {
            let end = at + feature.kind.positions();
            feature.encode(Cell::Missing, &mut missing[at..end]).expect("a missing value is no bad number");
            features.push(Feature { encoder: feature.clone(), hasher: KeyHasher::new(feature.salt), at });
            at = end;
        }
        features.sort_by_key(|feature| feature.encoder.column);
        let mut tables = Vec::new();
        let columns = (0..columns).map(|column| {
            let first = features.partition_point(|feature| feature.encoder.column < column);
            let end = features.partition_point(|feature| feature.encoder.column <= column);
            let shortcut = match &features[first..end] {
                [Feature { encoder, hasher, at }] => match encoder.kind {
                    Kind::Categorical => Shortcut::Value(*at as u32, hasher.clone()),
                    Kind::LogSquare | Kind::Quantile(_) => {
                        tables.push(encoder.codes_of_places());
                        Shortcut::Number(*at as u32, tables.len() as u32 - 1)
                    }
                    Kind::Characters(..) | Kind::Bag { .. } => Shortcut::None,
                },
                _ => Shortcut::None,
            };
            Column { shortcut, first: first as u32, end: end as u32 }
        });
        let columns = columns.collect();
        RequestEncoder { columns, features, tables, missing }
    }

    /// Codes in one row.
    pub fn width(&self) -> usize {
        self.missing.len()
    }

    /// Codes of a row of missing values, to begin with.
    pub fn missing(&self) -> &[u32] {
        &self.missing
    }

    /// Puts the codes of one column's cell over those in `codes`, a row.
    ///
    /// # Errors
    /// When a numeric feature reads the column and the cell holds something that is no finite number.
    #[inline(always)]
    pub fn put(&self, column: usize, cell: Cell<'_>, codes: &mut [u32]) -> Result<(), CellError> {
        let column = &self.columns[column];
        let Cell::Text(text) = cell else { return self.put_any(column, cell, codes) };
        let (at, code) = match &column.shortcut {
            Shortcut::Value(at, hasher) => (*at, hasher.value_code(text)),
            Shortcut::Number(at, table) => {
                let integer = small_integer(word_of(text), text.len() as u32);
                (*at, self.tables[*table as usize][integer_place(integer) as usize])
            }
            Shortcut::None => (0, EMPTY_CODE),
        };
        if code == EMPTY_CODE {
            // No shortcut, or what such a cell has none for.
            return self.put_any(column, Cell::Text(text), codes);
        }
        codes[at as usize] = code;
        Ok(())
    }

    /// [`RequestEncoder::put`] without a shortcut.
    #[inline(never)]
    fn put_any(&self, column: &Column, cell: Cell<'_>, codes: &mut [u32]) -> Result<(), CellError> {
        for Feature { encoder, hasher, at } in self.features_of(column) {
            match (&encoder.kind, cell) {
                (Kind::Categorical, Cell::Text(text)) => codes[*at] = hasher.value_code(text),
                (kind, cell) => encoder.encode(cell, &mut codes[*at..*at + kind.positions()])?,
            }
        }
        Ok(())
    }

    /// Marks the codes of a row that depend on a column.
    pub fn mark(&self, column: usize, marks: &mut [bool]) {
        for Feature { encoder, at, .. } in self.features_of(&self.columns[column]) {
            marks[*at..*at + encoder.kind.positions()].fill(true);
        }
    }

    fn features_of(&self, column: &Column) -> &[Feature] {
        &self.features[column.first as usize..column.end as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::features::EncoderBuilder;
    use crate::model::schema::Schema;

    const SCHEMA: &str = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\n\
         site = { kind = \"categorical\" }\nprefix = { kind = \"categorical\", column = \"site\", characters = [0, 2] }\n\
         age = { kind = \"numeric\" }\nexact = { kind = \"categorical\", column = \"age\" }\n\
         tags = { kind = \"bag\", max_values = 3 }\nshop = { kind = \"categorical\" }\nprice = { kind = \"numeric\" }\n";

    proptest! {
        #[test]
        fn cells_over_a_context_give_the_codes_of_the_whole_row(
            context in proptest::collection::vec((1..6_usize, "(-?[0-9]{0,9}|[0-9.]{0,4}|[a-z|]{0,20})"), 0..8),
            own in proptest::collection::vec((1..6_usize, "(-?[0-9]{0,9}|[0-9.]{0,4}|[a-z|]{0,20})"), 0..6),
        ) {
            let schema = Schema::parse(SCHEMA, "t").unwrap();
            let encoder = EncoderBuilder::new(&schema).finish();
            let ready = RequestEncoder::new(&encoder, schema.columns.len());
            let cell = |text: &'static str| if text.is_empty() { Cell::Missing } else { Cell::Text(text.as_bytes()) };
            let mut row = vec![Cell::Missing; schema.columns.len()];
            let mut codes = ready.missing().to_vec();
            let mut refused = vec![false; schema.columns.len()];
            let mut marks = vec![false; ready.width()];
            for (place, (column, text)) in context.iter().chain(&own).enumerate() {
                row[*column] = cell(text.clone().leak());
                refused[*column] = ready.put(*column, row[*column], &mut codes).is_err();
                if place >= context.len() {
                    ready.mark(*column, &mut marks);
                }
            }
            let mut expected = vec![0; encoder.width()];
            let encoded = encoder.encode(&row, &mut expected);
            prop_assert_eq!(encoded.is_err(), refused.contains(&true));
            if encoded.is_ok() {
                prop_assert_eq!(&codes, &expected);
                let mut before = ready.missing().to_vec();
                for (column, text) in &context {
                    let _ = ready.put(*column, cell(text.clone().leak()), &mut before);
                }
                for ((mark, before), after) in marks.iter().zip(&before).zip(&codes) {
                    prop_assert!(*mark || before == after, "a code changed that depends on no own column");
                }
            }
        }
    }
}
