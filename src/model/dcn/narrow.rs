//! Slots as the layout has them → rows of the embedding table: only fields to embed, and rare slots as one row per field.
//!
//! A linear weight is learned from few clicks; an embedding is not, and what the network reads into a rare slot is mostly
//! noise. With `embedding_min_count` rare slots of a field share one embedding while the linear part keeps them apart. The
//! table shrinks with them.

use super::config::{DcnConfig, WideRule};
use crate::error::{Error, Result};
use crate::model::{EMPTY_SLOT, Layout, Slots, Span};

/// A slot without a row of its own.
const RARE: u32 = u32::MAX;

/// Row numbers are stored as f32, which counts exactly up to here.
const MOST_ROWS: usize = 1 << 24;

/// Which row of the embedding table a slot reads.
#[derive(Debug, Clone)]
pub(super) struct Narrow {
    /// Fields to embed, as ranges of a narrowed row.
    pub(super) fields: Vec<Span>,
    /// Position of each field's span in the layout.
    pub(super) spans: Vec<usize>,
    /// Position in the layout and field, for each position of a narrowed row.
    positions: Vec<(usize, u32)>,
    /// Row of each slot or [`RARE`]; `None` where each slot has its own.
    rows: Option<Vec<u32>>,
    /// Rows of the embedding table.
    pub(super) table_rows: usize,
    /// Nothing to do: every position is embedded, and every slot has its own row.
    identity: bool,
}

impl Narrow {
    /// For a learner. `counts` holds how often each slot occurs in the training rows.
    pub(super) fn learned(config: &DcnConfig, layout: &Layout, counts: Option<&[u32]>) -> Result<Self> {
        let least = config.settings().embedding_min_count;
        if least <= 1 {
            return Ok(Narrow::new(config, layout, None));
        }
        let counts = counts.filter(|counts| counts.len() == layout.table_rows).ok_or_else(|| {
            let message = format!("{least} needs the count of each of the {} slots", layout.table_rows);
            Error::config("dcn", "embedding_min_count", message)
        })?;
        let mut next = 0;
        let row = |count: &u32| {
            if *count < least {
                return RARE;
            }
            next += 1;
            next - 1
        };
        let rows: Vec<u32> = counts.iter().map(row).collect();
        if next as usize > MOST_ROWS {
            let message = format!("{least} leaves {next} embeddings, expected at most {MOST_ROWS}");
            return Err(Error::config("dcn", "embedding_min_count", message));
        }
        Ok(Narrow::new(config, layout, Some(rows)))
    }

    /// For a model, from what [`Narrow::stored`] gave; `None` where the config asks for none.
    pub(super) fn restored(config: &DcnConfig, layout: &Layout, stored: Option<&[f32]>) -> Result<Self> {
        let Some(stored) = stored else { return Ok(Narrow::new(config, layout, None)) };
        let row = |(slot, &row): (usize, &f32)| match row {
            -1.0 => Ok(RARE),
            row if row >= 0.0 && row < MOST_ROWS as f32 && row.fract() == 0.0 => Ok(row as u32),
            row => Err(Error::bundle("weights", format!("tensor embedding.rows: slot {slot} has row {row}"))),
        };
        let rows: Result<Vec<u32>> = stored.iter().enumerate().map(row).collect();
        Ok(Narrow::new(config, layout, Some(rows?)))
    }

    /// Row of each slot, −1 for rare ones; `None` where each slot has its own.
    pub(super) fn stored(&self) -> Option<Vec<f32>> {
        let stored = |row: &u32| if *row == RARE { -1.0 } else { *row as f32 };
        self.rows.as_ref().map(|rows| rows.iter().map(stored).collect())
    }

    fn new(config: &DcnConfig, layout: &Layout, rows: Option<Vec<u32>>) -> Self {
        let mut positions = Vec::new();
        let mut fields = Vec::new();
        let mut spans = Vec::new();
        for (number, span) in embedded_spans(config, layout) {
            spans.push(number);
            let start = positions.len();
            positions.extend(span.range().map(|position| (position, fields.len() as u32)));
            fields.push(Span { name: span.name.clone(), start, len: span.len });
        }
        // Frequent slots first, then one row for the rare slots of each field.
        let table_rows = match &rows {
            None => layout.table_rows,
            Some(rows) => {
                let frequent = rows.iter().filter(|row| **row != RARE).max().map_or(0, |row| *row as usize + 1);
                frequent + fields.len()
            }
        };
        let identity = rows.is_none() && positions.len() == layout.width();
        Narrow { fields, spans, positions, rows, table_rows, identity }
    }

    /// Fills `buffer` for [`Narrow::view`].
    pub(super) fn fill(&self, slots: Slots<'_>, buffer: &mut Vec<u32>) {
        buffer.clear();
        if self.identity {
            return;
        }
        let rare = (self.table_rows - self.fields.len()) as u32;
        for row in 0..slots.rows() {
            let slots = slots.row(row);
            buffer.extend(self.positions.iter().map(|&(position, field)| match (slots[position], &self.rows) {
                (EMPTY_SLOT, _) => EMPTY_SLOT,
                (slot, None) => slot,
                (slot, Some(rows)) => match rows[slot as usize] {
                    RARE => rare + field,
                    row => row,
                },
            }));
        }
    }

    /// The rows of the embedding table for `slots`, after [`Narrow::fill`].
    pub(super) fn view<'a>(&self, slots: Slots<'a>, buffer: &'a [u32]) -> Slots<'a> {
        if self.identity { slots } else { Slots::new(self.positions.len(), buffer) }
    }
}

/// Spans that get embeddings, by position: all, but crosses only where the config says so or nothing else would read them.
fn embedded_spans<'a>(config: &DcnConfig, layout: &'a Layout) -> impl Iterator<Item = (usize, &'a Span)> {
    let settings = config.settings();
    let all = settings.embed_crosses || settings.wide == WideRule::None;
    layout.spans.iter().enumerate().filter(move |(_, span)| all || !span.name.contains('*'))
}
