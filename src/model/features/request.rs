//! Rows that share most of their cells → codes: a context is encoded once, and a candidate's own cells over it.
//!
//! The codes are those of [`Encoder::encode`] for the whole row. What a feature needs is worked out once: the masks of its
//! hash, and its code for a missing value. Nothing is allocated.

use super::encoder::{Encoder, FeatureEncoder, Kind};
use super::hash::KeyHasher;
use crate::model::row::{Cell, CellError};

/// An [`Encoder`], made ready for rows that differ in few cells.
#[derive(Debug, Clone)]
pub struct RequestEncoder {
    features: Vec<Feature>,
    /// Features that read each column, as positions in `features`.
    readers: Vec<Vec<u32>>,
    /// Codes of a row of missing values.
    missing: Vec<u32>,
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
        let mut readers = vec![Vec::new(); columns];
        let mut features = Vec::new();
        let mut at = 0;
        for (position, feature) in encoder.encoders().iter().enumerate() {
            let end = at + feature.kind.positions();
            feature.encode(Cell::Missing, &mut missing[at..end]).expect("a missing value is no bad number");
            readers[feature.column].push(position as u32);
            features.push(Feature { encoder: feature.clone(), hasher: KeyHasher::new(feature.salt), at });
            at = end;
        }
        RequestEncoder { features, readers, missing }
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
    #[inline]
    pub fn put(&self, column: usize, cell: Cell<'_>, codes: &mut [u32]) -> Result<(), CellError> {
        for &reader in &self.readers[column] {
            let Feature { encoder, hasher, at } = &self.features[reader as usize];
            match (&encoder.kind, cell) {
                (Kind::Categorical, Cell::Text(text)) => codes[*at] = hasher.value_code(text),
                (kind, cell) => encoder.encode(cell, &mut codes[*at..*at + kind.positions()])?,
            }
        }
        Ok(())
    }

    /// Marks the codes of a row that depend on a column.
    pub fn mark(&self, column: usize, marks: &mut [bool]) {
        for &reader in &self.readers[column] {
            let Feature { encoder, at, .. } = &self.features[reader as usize];
            marks[*at..*at + encoder.kind.positions()].fill(true);
        }
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
         tags = { kind = \"bag\", max_values = 3 }\n";

    proptest! {
        #[test]
        fn cells_over_a_context_give_the_codes_of_the_whole_row(
            context in proptest::collection::vec((1..4_usize, "([0-9]{0,3}|[a-z|]{0,20})"), 0..5),
            own in proptest::collection::vec((1..4_usize, "([0-9]{0,3}|[a-z|]{0,20})"), 0..4),
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
