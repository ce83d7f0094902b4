//! Neighboring rows of a text → codes: the same codes as [`Encoder::encode`], at many times its speed.
//!
//! Features that are nearly always alike are worked on together, many cells of a row at once: values of 4 to 8 bytes are hashed,
//! integers are looked up in a table of codes, and nothing is branched on. A cell that is none of these gets [`EMPTY_CODE`] there, and
//! takes the way of a single row afterwards, as bags do.

use super::encoder::{Encoder, FeatureEncoder, Kind};
use super::hash::{EMPTY_CODE, KeyHasher, bin_code, missing_code};
use crate::kernels::places::{MISSING, PLACES, integer_places, integers_of};
use crate::kernels::text::{LANES, NO_INTEGER, place_codes, small_integers, word_codes};
use crate::model::row::TextRows;

/// Rows worked on at a time: what is written about them, and their text, stays in the first-level cache.
const ROWS: usize = 32;

/// Rows for which what depends on the lane alone is written out.
const ROWS_A_PERIOD: usize = 8;

/// An [`Encoder`], made ready for many rows of text.
#[derive(Debug, Clone)]
pub struct ColumnEncoder {
    values: Group,
    /// For each lane of a period.
    masks: Vec<u64>,
    missing: Vec<u32>,
    numbers: Group,
    /// Codes by [`integer_places`], feature by feature.
    tables: Vec<u32>,
    /// For each lane of a period.
    table_starts: Vec<u32>,
    /// Features that are encoded cell by cell.
    others: Group,
    width: usize,
}

/// Features that are encoded together.
#[derive(Debug, Clone, Default)]
struct Group {
    features: Vec<FeatureEncoder>,
    /// Place of each one's first code in a row.
    at: Vec<usize>,
    columns: Vec<usize>,
}

/// Buffers that are reused from call to call.
#[derive(Debug, Default)]
pub struct ColumnScratch {
    words: Vec<u64>,
    lengths: Vec<u32>,
    integers: Vec<i32>,
    codes: Vec<u32>,
    empty: Vec<u8>,
}

impl ColumnEncoder {
    /// Makes `encoder` ready.
    pub fn new(encoder: &Encoder) -> Self {
        let [mut values, mut numbers, mut others] = [(); 3].map(|()| Group::default());
        let mut width = 0;
        for feature in encoder.encoders() {
            let group = match &feature.kind {
                Kind::Categorical => &mut values,
                Kind::LogSquare | Kind::Quantile(_) => &mut numbers,
                Kind::Characters(..) | Kind::Bag { .. } => &mut others,
            };
            group.at.push(width);
            group.columns.push(feature.column);
            group.features.push(feature.clone());
            width += feature.kind.positions();
        }
        let mut masks: Vec<u64> = values.features.iter().map(|value| KeyHasher::new(value.salt).word_mask()).collect();
        let mut missing: Vec<u32> = values.features.iter().map(|value| missing_code(value.salt)).collect();
        masks.resize(values.lanes(), 0);
        missing.resize(values.lanes(), 0);
        let (masks, missing) = (masks.repeat(ROWS_A_PERIOD), missing.repeat(ROWS_A_PERIOD));
        let tables = numbers.features.iter().flat_map(FeatureEncoder::codes_of_places).collect();
        let table_starts = (0..numbers.lanes()).map(|lane| (lane.min(numbers.at.len() - 1) * PLACES) as u32);
        let table_starts = table_starts.collect::<Vec<u32>>().repeat(ROWS_A_PERIOD);
        ColumnEncoder { values, masks, missing, numbers, tables, table_starts, others, width }
    }

    /// Encodes `rows` into `codes` (rows × [`Encoder::width`]). Rows in which a numeric cell holds something that is no finite
    /// number are named in `refused`, once for each such cell; [`Encoder::encode`] says why.
    ///
    /// # Panics
    /// When `codes` has another length.
    pub fn encode(
        &self,
        rows: &TextRows<'_>,
        scratch: &mut ColumnScratch,
        codes: &mut [u32],
        refused: &mut Vec<usize>,
    ) {
        assert_eq!(codes.len(), rows.rows() * self.width, "one code for each row and position");
        let mut first_row = 0;
        for codes in codes.chunks_mut((ROWS * self.width).max(1)) {
            self.encode_values(rows, first_row, scratch, codes);
            self.encode_numbers(rows, first_row, scratch, codes, refused);
            for (feature, at) in self.others.features.iter().zip(&self.others.at) {
                for (row, codes) in codes.chunks_exact_mut(self.width).enumerate() {
                    let codes = &mut codes[*at..*at + feature.kind.positions()];
                    let encoded = feature.encode(rows.cell(first_row + row, feature.column), codes);
                    encoded.expect("only numbers are refused");
                }
            }
            first_row += codes.len() / self.width;
        }
    }

    fn encode_values(&self, rows: &TextRows<'_>, first_row: usize, scratch: &mut ColumnScratch, codes: &mut [u32]) {
        let (group, lanes) = (&self.values, self.values.lanes());
        if lanes == 0 {
            return;
        }
        let Room { words, lengths, codes: short, empty, .. } = scratch.room(codes.len() / self.width * lanes);
        rows.words(&group.columns, first_row, lanes, words, lengths);
        word_codes(words, lengths, &self.masks, &self.missing, short);
        group.place(short, codes, self.width, empty);
        group.for_each_empty(empty, |row, _, feature, at| {
            let cell = rows.cell(first_row + row, feature.column);
            let place = row * self.width + at;
            feature.encode(cell, &mut codes[place..=place]).expect("any text is a value");
        });
    }

    fn encode_numbers(
        &self,
        rows: &TextRows<'_>,
        first_row: usize,
        scratch: &mut ColumnScratch,
        codes: &mut [u32],
        refused: &mut Vec<usize>,
    ) {
        let (group, lanes) = (&self.numbers, self.numbers.lanes());
        if lanes == 0 {
            return;
        }
        let Room { words, lengths, integers, codes: short, empty } = scratch.room(codes.len() / self.width * lanes);
        rows.words(&group.columns, first_row, lanes, words, lengths);
        small_integers(words, lengths, integers);
        integer_places(integers, lengths, &self.table_starts, short);
        for code in short.iter_mut() {
            *code = self.tables[*code as usize];
        }
        group.place(short, codes, self.width, empty);
        group.for_each_empty(empty, |row, lane, feature, at| {
            let (place, integer) = (row * self.width + at, integers[row * lanes + lane]);
            if integer != NO_INTEGER {
                codes[place] = bin_code(feature.salt, feature.bin(f64::from(integer)));
                return;
            }
            let cell = rows.cell(first_row + row, feature.column);
            if feature.encode(cell, &mut codes[place..=place]).is_err() {
                refused.push(first_row + row);
            }
        });
    }
}

impl Group {
    /// Features, and padding to whole registers.
    fn lanes(&self) -> usize {
        self.features.len().next_multiple_of(LANES)
    }

    /// Puts codes where they belong in their rows, and marks those that need a closer look.
    fn place(&self, short: &[u32], codes: &mut [u32], width: usize, empty: &mut [u8]) {
        let (first, count, lanes) = (self.at[0], self.at.len(), self.lanes());
        let neighbors = self.at[count - 1] == first + count - 1;
        place_codes(short, lanes, if neighbors { count } else { 0 }, codes, width, first, empty);
        if !neighbors {
            for (codes, short) in codes.chunks_exact_mut(width).zip(short.chunks_exact(lanes)) {
                short.iter().zip(&self.at).for_each(|(code, at)| codes[*at] = *code);
            }
        }
    }

    /// Calls `look` with row, lane, feature and its place in a row for each mark.
    fn for_each_empty(&self, empty: &[u8], mut look: impl FnMut(usize, usize, &FeatureEncoder, usize)) {
        let bytes_a_row = self.lanes() / LANES;
        for (byte, marks) in empty.iter().enumerate().filter(|(_, marks)| **marks != 0) {
            let (row, first) = (byte / bytes_a_row, byte % bytes_a_row * LANES);
            let mut marks = *marks;
            while marks != 0 {
                let lane = first + marks.trailing_zeros() as usize;
                marks &= marks - 1;
                // What is behind the last feature is padding.
                if let (Some(feature), Some(at)) = (self.features.get(lane), self.at.get(lane)) {
                    look(row, lane, feature, *at);
                }
            }
        }
    }
}

/// A place for each of some cells.
struct Room<'a> {
    words: &'a mut [u64],
    lengths: &'a mut [u32],
    integers: &'a mut [i32],
    codes: &'a mut [u32],
    /// Codes that need a closer look: a bit for each.
    empty: &'a mut [u8],
}

impl ColumnScratch {
    /// What stands there is of earlier cells.
    fn room(&mut self, cells: usize) -> Room<'_> {
        if self.words.len() < cells {
            self.words.resize(cells, 0);
            self.lengths.resize(cells, 0);
            self.integers.resize(cells, 0);
            self.codes.resize(cells, 0);
            self.empty.resize(cells / LANES, 0);
        }
        Room {
            words: &mut self.words[..cells],
            lengths: &mut self.lengths[..cells],
            integers: &mut self.integers[..cells],
            codes: &mut self.codes[..cells],
            empty: &mut self.empty[..cells / LANES],
        }
    }
}

impl FeatureEncoder {
    /// Code of each place of [`integer_places`]; [`EMPTY_CODE`] where its integers have different ones. Only for numeric kinds.
    pub(super) fn codes_of_places(&self) -> [u32; PLACES] {
        std::array::from_fn(|place| self.code_of_place(place))
    }

    /// Code of all integers of a place, if they have the same.
    fn code_of_place(&self, place: usize) -> u32 {
        match integers_of(place) {
            _ if place == MISSING => missing_code(self.salt),
            Some((lowest, highest)) if self.bin(f64::from(lowest)) == self.bin(f64::from(highest)) => {
                bin_code(self.salt, self.bin(f64::from(lowest)))
            }
            _ => EMPTY_CODE,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::features::EncoderBuilder;
    use crate::model::row::Cell;
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
            ColumnEncoder::new(&encoder).encode(&all, &mut ColumnScratch::default(), &mut codes, &mut refused);
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
