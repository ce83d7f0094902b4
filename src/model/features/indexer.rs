//! Codes → slots: one model's choice of features, crosses and table.
//!
//! In `hash` mode a slot is the code's low bits: any value has a slot at once, different values may share one. In
//! `vocabulary` mode a code seen at least `min_count` times in training has a slot of its own, and every other value of
//! its feature shares one out-of-vocabulary slot. Ids are exact up to coincidences of 32-bit codes within a feature: a
//! value out of n meets another with probability n / 2³² (0.02 % at a million values).

use serde::{Deserialize, Serialize};

use super::encoder::Encoder;
use super::hash::{EMPTY_CODE, cross_code, salt};
use super::vocabulary::{CodeCounts, Vocabulary};
use crate::error::{Error, Result, nearest};
use crate::model::batch::{EMPTY_SLOT, Layout, OwnSpans, Span, Threads};

/// How codes become slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// A table of `2^bits` slots shared by all features; 8 to 30 bits.
    Hash {
        /// Binary logarithm of the table's size.
        bits: u8,
    },
    /// Exact ids for codes seen at least `min_count` times in training.
    Vocabulary {
        /// Rarer codes share their feature's out-of-vocabulary slot; at least 1.
        min_count: u32,
    },
}

/// What a model sees of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexerConfig {
    /// How codes become slots.
    pub mode: Mode,
    /// Names of the features to use; `None` uses all of them.
    pub features: Option<Vec<String>>,
    /// Crosses to add, each 2 to 4 feature names.
    pub crosses: Vec<Vec<String>>,
}

/// Turns blocks of codes into slots. Learned by [`IndexerBuilder`], then only read.
#[derive(Debug, Clone, PartialEq)]
pub struct Indexer {
    plan: Plan,
    table: Table,
    layout: Layout,
}

/// Where each span's codes come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) codes_width: usize,
    pub(crate) mode: Mode,
    sources: Vec<Source>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Source {
    name: String,
    /// Salt of a cross; 0 for a feature, whose codes are salted already.
    salt: u32,
    /// Positions (start, length) of the features in a row of codes; one for a feature, more for a cross.
    parts: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Table {
    /// `is_plain`: see [`Plan::is_all_codes`].
    Hash {
        mask: u32,
        is_plain: bool,
    },
    Vocabulary(Vec<Vocabulary>),
}

/// Crosses of bags are cut to this many values.
const MAX_CROSS_VALUES: usize = 64;

impl Plan {
    fn new(config: &IndexerConfig, encoder: &Encoder) -> Result<Plan> {
        match config.mode {
            Mode::Hash { bits } if !(8..=30).contains(&bits) => {
                return Err(Error::config("features", "bits", format!("expected 8 to 30, got {bits}")));
            }
            Mode::Vocabulary { min_count: 0 } => {
                return Err(Error::config("features", "min_count", "expected at least 1, got 0"));
            }
            _ => {}
        }
        let mut known = Vec::new();
        let mut start = 0;
        for (name, positions) in encoder.features() {
            known.push((name, (start, positions)));
            start += positions;
        }
        let find = |key: &str, name: &String| {
            known.iter().find(|(known, _)| known == name).map(|(_, place)| *place).ok_or_else(|| {
                let hint = nearest(name, known.iter().map(|(name, _)| *name));
                Error::config("features", key, format!("there is no feature {name:?}{hint}"))
            })
        };
        let names = match &config.features {
            Some(names) => names.clone(),
            None => known.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        let mut sources = Vec::new();
        for name in &names {
            sources.push(Source { name: name.clone(), salt: 0, parts: vec![find("features", name)?] });
        }
        for cross in &config.crosses {
            if !(2..=4).contains(&cross.len()) {
                let message = format!("expected 2 to 4 features in a cross, got {}", cross.len());
                return Err(Error::config("features", "crosses", message));
            }
            let parts = cross.iter().map(|name| find("crosses", name)).collect::<Result<_>>()?;
            let name = cross.join("*");
            let salt = (salt(&name) >> 32) as u32 | 1;
            sources.push(Source { name, salt, parts });
        }
        if sources.is_empty() {
            return Err(Error::config("features", "features", "expected at least one feature, got none"));
        }
        Ok(Plan { codes_width: encoder.width(), mode: config.mode, sources })
    }

    /// Whether slots stand where codes stand: all features in their order, no crosses.
    fn is_all_codes(&self) -> bool {
        let mut next = 0;
        let follows = |source: &Source| match source.parts[..] {
            [(start, len)] => start == std::mem::replace(&mut next, start + len),
            _ => false,
        };
        self.sources.iter().all(follows) && next == self.codes_width
    }

    fn spans(&self) -> Vec<Span> {
        let mut start = 0;
        let span = |source: &Source| {
            let span = Span { name: source.name.clone(), start, len: source.positions() };
            start += span.len;
            span
        };
        self.sources.iter().map(span).collect()
    }
}

impl Source {
    fn positions(&self) -> usize {
        self.parts.iter().map(|(_, len)| len).product::<usize>().min(MAX_CROSS_VALUES)
    }

    /// Calls `each` with the code of every position in turn, [`EMPTY_CODE`] included.
    #[inline(always)]
    fn codes(&self, row: &[u32], mut each: impl FnMut(u32)) {
        if let [(start, len)] = self.parts[..] {
            row[start..start + len].iter().for_each(|code| each(*code));
            return;
        }
        let cross = |code: u32, part: u32| match part {
            EMPTY_CODE => EMPTY_CODE,
            _ if code == EMPTY_CODE => EMPTY_CODE,
            part => cross_code(code, part),
        };
        if self.parts.iter().all(|(_, len)| *len == 1) {
            return each(self.parts.iter().fold(self.salt, |code, (start, _)| cross(code, row[*start])));
        }
        for position in 0..self.positions() {
            let mut rest = position;
            let mut code = self.salt;
            for (start, len) in &self.parts {
                let part = row[start + rest % len];
                rest /= len;
                code = cross(code, part);
            }
            each(code);
        }
    }
}

/// The slot of a code in a table of `mask` + 1 slots.
#[inline(always)]
fn hashed(code: u32, mask: u32) -> u32 {
    if code == EMPTY_CODE { EMPTY_SLOT } else { code & mask }
}

impl Indexer {
    /// Layout of the slots it makes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Codes in one row it takes.
    pub fn codes_width(&self) -> usize {
        self.plan.codes_width
    }

    /// Whether slots stand where codes stand and each is bits of its code, so that slots cost next to nothing.
    pub fn is_plain(&self) -> bool {
        matches!(self.table, Table::Hash { is_plain: true, .. })
    }

    /// How codes become slots.
    pub fn mode(&self) -> Mode {
        self.plan.mode
    }

    /// Turns rows of codes into rows of slots; `slots` is cleared and filled.
    pub fn index(&self, codes: &[u32], slots: &mut Vec<u32>) {
        slots.clear();
        self.append(codes, slots);
    }

    /// Turns rows of codes into rows of slots behind those already there.
    pub fn append(&self, codes: &[u32], slots: &mut Vec<u32>) {
        match &self.table {
            Table::Hash { mask, is_plain: true } => slots.extend(codes.iter().map(|code| hashed(*code, *mask))),
            Table::Hash { mask, .. } => self.append_by(codes, slots, |_, code| hashed(code, *mask), |_, _| ()),
            Table::Vocabulary(vocabularies) => {
                let slot = |source: usize, code| match code {
                    EMPTY_CODE => EMPTY_SLOT,
                    code => vocabularies[source].slot(code),
                };
                self.append_by(codes, slots, slot, |source, code| vocabularies[source].prefetch(code));
            }
        }
    }

    /// Appends the `slot` of each code of each source. `ahead` hears of the codes of features some rows before.
    #[inline(always)]
    fn append_by(
        &self,
        codes: &[u32],
        slots: &mut Vec<u32>,
        slot: impl Fn(usize, u32) -> u32,
        ahead: impl Fn(usize, u32),
    ) {
        const ROWS_AHEAD: usize = 4;
        let Plan { codes_width, sources, .. } = &self.plan;
        slots.reserve(codes.len() / codes_width * self.layout.width());
        for (row, codes_of_row) in codes.chunks_exact(*codes_width).enumerate() {
            if let Some(row_ahead) = codes.get((row + ROWS_AHEAD) * codes_width..(row + ROWS_AHEAD + 1) * codes_width) {
                for (number, source) in sources.iter().enumerate() {
                    if let [(start, len)] = source.parts[..] {
                        row_ahead[start..start + len].iter().for_each(|code| ahead(number, *code));
                    }
                }
            }
            for (number, source) in sources.iter().enumerate() {
                source.codes(codes_of_row, |code| slots.push(slot(number, code)));
            }
        }
    }

    /// Finds the spans that read a code marked in `own`, a mark for each code of a row.
    pub fn own_spans(&self, own: &[bool], spans: &mut OwnSpans) {
        let reads = |source: &Source| source.parts.iter().any(|&(start, len)| own[start..start + len].contains(&true));
        spans.fill(self.plan.sources.iter().map(reads));
    }

    /// Turns rows of codes that differ in their `own` spans only into rows of slots behind those already there; the other slots
    /// are those of `common`, a row.
    pub fn append_own<'c>(
        &self,
        own: &OwnSpans,
        common: &[u32],
        rows: impl Iterator<Item = &'c [u32]> + Clone,
        slots: &mut Vec<u32>,
    ) {
        if let Table::Hash { mask, is_plain: true } = &self.table {
            // Side by side, a whole row takes less than its own spans one by one.
            return rows.for_each(|codes| slots.extend(codes.iter().map(|code| hashed(*code, *mask))));
        }
        const ROWS_AHEAD: usize = 4;
        let mut ahead = rows.clone().skip(ROWS_AHEAD);
        for codes in rows {
            if let (Table::Vocabulary(vocabularies), Some(ahead)) = (&self.table, ahead.next()) {
                for &span in own.positions() {
                    if let [(start, len)] = self.plan.sources[span as usize].parts[..] {
                        ahead[start..start + len].iter().for_each(|code| vocabularies[span as usize].prefetch(*code));
                    }
                }
            }
            let first = slots.len();
            slots.extend_from_slice(common);
            let row = &mut slots[first..];
            for &span in own.positions() {
                let number = span as usize;
                let mut places = row[self.layout.spans[number].range()].iter_mut();
                let mut put = |slot| *places.next().expect("a span has as many places as its source has codes") = slot;
                match &self.table {
                    Table::Hash { mask, .. } => self.plan.sources[number].codes(codes, |code| put(hashed(code, *mask))),
                    Table::Vocabulary(vocabularies) => self.plan.sources[number].codes(codes, |code| {
                        put(if code == EMPTY_CODE { EMPTY_SLOT } else { vocabularies[number].slot(code) });
                    }),
                }
            }
        }
    }

    /// The slot of one code of the feature or cross at position `span` of the layout; [`EMPTY_SLOT`] where there is no value.
    ///
    /// # Panics
    /// In vocabulary mode, when there is no such span.
    pub fn slot_of(&self, span: usize, code: u32) -> u32 {
        match (&self.table, code) {
            (_, EMPTY_CODE) => EMPTY_SLOT,
            (Table::Hash { mask, .. }, code) => hashed(code, *mask),
            (Table::Vocabulary(vocabularies), code) => vocabularies[span].slot(code),
        }
    }

    /// Values known to each span's vocabulary; empty in hash mode.
    pub fn vocabulary_sizes(&self) -> Vec<usize> {
        match &self.table {
            Table::Hash { .. } => Vec::new(),
            Table::Vocabulary(vocabularies) => vocabularies.iter().map(|vocabulary| vocabulary.codes().len()).collect(),
        }
    }

    /// What the bundle keeps: the plan, and each span's codes in slot order.
    pub(crate) fn parts(&self) -> (&Plan, Vec<&[u32]>) {
        match &self.table {
            Table::Hash { .. } => (&self.plan, Vec::new()),
            Table::Vocabulary(vocabularies) => (&self.plan, vocabularies.iter().map(Vocabulary::codes).collect()),
        }
    }

    /// Puts together what [`Indexer::parts`] took apart.
    ///
    /// # Errors
    /// Bundle when the vocabularies do not fit the plan.
    pub(crate) fn from_parts(plan: Plan, codes: Vec<Vec<u32>>, bundle: &str) -> Result<Indexer> {
        let expected = match plan.mode {
            Mode::Hash { .. } => 0,
            Mode::Vocabulary { .. } => plan.sources.len(),
        };
        if codes.len() != expected {
            let message = format!("expected {expected} vocabularies, got {}", codes.len());
            return Err(Error::bundle(bundle, message));
        }
        if !codes.iter().all(|codes| codes.is_sorted_by(|a, b| a < b)) {
            return Err(Error::bundle(bundle, "a vocabulary is not sorted"));
        }
        Ok(Indexer::assemble(plan, codes))
    }

    fn assemble(plan: Plan, codes: Vec<Vec<u32>>) -> Indexer {
        let spans = plan.spans();
        let (table, table_rows) = match plan.mode {
            Mode::Hash { bits } => (Table::Hash { mask: (1 << bits) - 1, is_plain: plan.is_all_codes() }, 1 << bits),
            Mode::Vocabulary { .. } => {
                let mut next = 0;
                let vocabularies = codes.into_iter().map(|codes| {
                    let vocabulary = Vocabulary::new(next, codes);
                    next += 1 + vocabulary.codes().len() as u32;
                    vocabulary
                });
                (Table::Vocabulary(vocabularies.collect()), next as usize)
            }
        };
        Indexer { plan, table, layout: Layout { spans, table_rows } }
    }
}

/// Learns an [`Indexer`]; in vocabulary mode it must count all training rows first.
#[derive(Debug)]
pub struct IndexerBuilder {
    plan: Plan,
    counts: Vec<CodeCounts>,
}

impl IndexerBuilder {
    /// An indexer to be learned for rows of `encoder`.
    ///
    /// # Errors
    /// Config when a feature is unknown or a number out of bounds.
    pub fn new(config: &IndexerConfig, encoder: &Encoder) -> Result<Self> {
        let plan = Plan::new(config, encoder)?;
        let counts = match config.mode {
            Mode::Hash { .. } => Vec::new(),
            Mode::Vocabulary { .. } => plan.sources.iter().map(|_| CodeCounts::default()).collect(),
        };
        Ok(IndexerBuilder { plan, counts })
    }

    /// Whether rows must be counted at all.
    pub fn counts(&self) -> bool {
        !self.counts.is_empty()
    }

    /// Counts the codes of a block of rows.
    pub fn count(&mut self, codes: &[u32], threads: Threads<'_>) {
        let pieces = self.plan.sources.iter().zip(&mut self.counts).collect();
        threads.for_each(pieces, |(source, counts): (&Source, &mut CodeCounts)| {
            for row in codes.chunks_exact(self.plan.codes_width) {
                source.codes(row, |code| {
                    if code != EMPTY_CODE {
                        counts.add(code);
                    }
                });
            }
        });
    }

    /// What was counted of each feature and cross so far, by the name of its span; nothing in hash mode.
    pub fn counted(&self) -> impl Iterator<Item = (&str, &CodeCounts)> {
        self.plan.sources.iter().map(|source| source.name.as_str()).zip(&self.counts)
    }

    /// The learned indexer.
    pub fn finish(self) -> Indexer {
        let min_count = match self.plan.mode {
            Mode::Hash { .. } => 0,
            Mode::Vocabulary { min_count } => min_count,
        };
        let codes = self.counts.into_iter().map(|counts| counts.at_least(min_count)).collect();
        Indexer::assemble(self.plan, codes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::EncoderBuilder;
    use super::*;
    use crate::model::row::Cell;
    use crate::model::schema::Schema;

    fn encoded(rows: &[[&str; 2]]) -> (Encoder, Vec<u32>) {
        let text = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\na = { kind = \"categorical\" }\n\
                    b = { kind = \"bag\", max_values = 2 }\n";
        let encoder = EncoderBuilder::new(&Schema::parse(text, "t").unwrap()).finish();
        let mut codes = vec![0; rows.len() * encoder.width()];
        for (row, codes) in rows.iter().zip(codes.chunks_exact_mut(encoder.width())) {
            let cells = [Cell::Text(b"1"), Cell::Text(row[0].as_bytes()), Cell::Text(row[1].as_bytes())];
            encoder.encode(&cells, codes).unwrap();
        }
        (encoder, codes)
    }

    fn learn(mode: Mode, encoder: &Encoder, codes: &[u32]) -> Indexer {
        let crosses = vec![vec!["a".to_owned(), "b".to_owned()]];
        let config = IndexerConfig { mode, features: None, crosses };
        let mut builder = IndexerBuilder::new(&config, encoder).unwrap();
        if builder.counts() {
            builder.count(codes, Threads::one());
        }
        builder.finish()
    }

    #[test]
    fn vocabulary_keeps_frequent_values_and_folds_rare_ones() {
        let (encoder, codes) = encoded(&[["x", "p|q"], ["x", "p"], ["y", "p"], ["z", "r"]]);
        let indexer = learn(Mode::Vocabulary { min_count: 2 }, &encoder, &codes);
        let mut slots = Vec::new();
        indexer.index(&codes, &mut slots);
        let rows: Vec<&[u32]> = slots.chunks_exact(indexer.layout().width()).collect();
        assert_eq!(indexer.layout().width(), 1 + 2 + 2);
        assert_eq!(rows[0][0], rows[1][0], "x is frequent");
        assert_eq!(rows[2][0], rows[3][0], "y and z share the out-of-vocabulary slot");
        assert_ne!(rows[0][0], rows[2][0]);
        assert_eq!(rows[1][2], EMPTY_SLOT, "a bag of one value");
        assert_eq!(rows[1][4], EMPTY_SLOT, "so is its cross");
        assert_eq!(indexer.vocabulary_sizes(), [1, 1, 1]);
        assert_eq!(indexer.layout().table_rows, 6);
        assert!(slots.iter().all(|slot| *slot == EMPTY_SLOT || (*slot as usize) < 6));
    }

    #[test]
    fn without_crosses_slots_are_codes_cut_to_the_table() {
        let (encoder, codes) = encoded(&[["x", "p|q"], ["y", "r"]]);
        let index = |features: Option<Vec<String>>| {
            let config = IndexerConfig { mode: Mode::Hash { bits: 8 }, features, crosses: vec![] };
            let mut slots = vec![7];
            IndexerBuilder::new(&config, &encoder).unwrap().finish().append(&codes, &mut slots);
            slots
        };
        let expected = codes.iter().map(|code| if *code == EMPTY_CODE { EMPTY_SLOT } else { code & 255 });
        let all: Vec<u32> = std::iter::once(7).chain(expected).collect();
        assert_eq!(index(None), all, "appended behind what is there");
        let turned = index(Some(vec!["b".into(), "a".into()]));
        assert_eq!(turned, [7, all[2], all[3], all[1], all[5], all[6], all[4]]);
        assert_eq!(index(Some(vec!["a".into()])), [7, all[1], all[4]]);
    }

    #[test]
    fn hash_slots_are_below_the_table() {
        let (encoder, codes) = encoded(&[["x", "p|q"], ["y", "r"]]);
        let indexer = learn(Mode::Hash { bits: 8 }, &encoder, &codes);
        let mut slots = Vec::new();
        indexer.index(&codes, &mut slots);
        assert!(slots.iter().all(|slot| *slot == EMPTY_SLOT || *slot < 256));
    }

    #[test]
    fn parts_make_the_same_indexer() {
        let (encoder, codes) = encoded(&[["x", "p|q"], ["x", "p"], ["y", "p"]]);
        let indexer = learn(Mode::Vocabulary { min_count: 1 }, &encoder, &codes);
        let (plan, vocabularies) = indexer.parts();
        let vocabularies = vocabularies.into_iter().map(<[u32]>::to_vec).collect();
        assert_eq!(Indexer::from_parts(plan.clone(), vocabularies, "b").unwrap(), indexer);
        assert!(Indexer::from_parts(plan.clone(), vec![], "b").is_err());
    }

    #[test]
    fn unknown_features_are_named() {
        let (encoder, _) = encoded(&[["x", "p"]]);
        let config =
            IndexerConfig { mode: Mode::Hash { bits: 10 }, features: Some(vec!["bb".into()]), crosses: vec![] };
        let message = IndexerBuilder::new(&config, &encoder).unwrap_err().to_string();
        assert!(message.contains("did you mean \"b\"?"), "{message}");
    }
}
