//! A request's cells → codes of its candidates' rows, and the parts of a row in which candidates differ.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::OwnSpans;
use crate::model::bundle::Bundle;
use crate::model::features::RequestEncoder;
use crate::model::row::{Cell, CellError};

/// A cell that the encoder refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Position of the candidate, from 0.
    pub candidate: usize,
    /// The cell; its field is the feature's name.
    pub error: CellError,
}

/// What reading requests for one bundle prepares once.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Tells bundles apart in buffers that outlive them; never 0.
    id: u64,
    columns: usize,
    encoder: RequestEncoder,
}

impl Prepared {
    pub(super) fn new(bundle: &Bundle) -> Prepared {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let columns = bundle.schema.columns.len();
        let encoder = RequestEncoder::new(&bundle.encoder, columns);
        Prepared { id: NEXT.fetch_add(1, Ordering::Relaxed), columns, encoder }
    }
}

/// Codes of a request's rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    width: usize,
    context: Vec<u32>,
    codes: Vec<u32>,
    /// Columns that a candidate names.
    named: Vec<bool>,
    /// Cells of the context that only matter where a candidate does not name their column.
    refused: Vec<(usize, CellError)>,
}

impl Rows {
    /// Encodes the context once and each candidate's own cells over it.
    ///
    /// # Errors
    /// When a candidate's row has a cell that the encoder refuses; of several candidates the first.
    pub(super) fn read<'cell, Candidate>(
        &mut self,
        prepared: &Prepared,
        context: impl Iterator<Item = (usize, Cell<'cell>)>,
        candidates: impl Iterator<Item = Candidate>,
    ) -> Result<(), Refused>
    where
        Candidate: Iterator<Item = (usize, Cell<'cell>)>,
    {
        let encoder = &prepared.encoder;
        self.width = encoder.width();
        self.context.clear();
        self.context.extend_from_slice(encoder.missing());
        self.refused.clear();
        for (column, cell) in context {
            if let Err(error) = encoder.put(column, cell, &mut self.context) {
                self.refused.push((column, error));
            }
        }
        self.named.clear();
        self.named.resize(prepared.columns, false);
        self.codes.clear();
        for (candidate, fields) in candidates.enumerate() {
            let start = self.codes.len();
            self.codes.extend_from_slice(&self.context);
            let codes = &mut self.codes[start..];
            let mut over = Vec::new();
            for (column, cell) in fields {
                self.named[column] = true;
                encoder.put(column, cell, codes).map_err(|error| Refused { candidate, error })?;
                if !self.refused.is_empty() {
                    over.push(column);
                }
            }
            if let Some((_, error)) = self.refused.iter().find(|(column, _)| !over.contains(column)) {
                return Err(Refused { candidate, error: error.clone() });
            }
        }
        Ok(())
    }

    /// Codes of the context alone.
    pub(super) fn context(&self) -> &[u32] {
        &self.context
    }

    /// Codes of each candidate.
    pub(super) fn codes(&self) -> impl Iterator<Item = &[u32]> {
        self.codes.chunks_exact(self.width)
    }

    /// Codes of one candidate.
    pub(super) fn codes_of(&self, candidate: usize) -> &[u32] {
        &self.codes[candidate * self.width..(candidate + 1) * self.width]
    }
}

/// Spans in which the candidates of a request differ. Requests of one kind name the same columns, so that it is rarely worked
/// out anew.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// For which bundle and which columns.
    of: (u64, Vec<bool>),
    codes: Vec<bool>,
    /// Of the model's layout.
    pub(super) full: OwnSpans,
    /// Of the cheap tier's.
    pub(super) cheap: OwnSpans,
}

impl Own {
    pub(super) fn find(&mut self, prepared: &Prepared, rows: &Rows, bundle: &Bundle) {
        if self.of.0 == prepared.id && self.of.1 == rows.named {
            return;
        }
        self.of.0 = prepared.id;
        self.of.1.clone_from(&rows.named);
        self.codes.clear();
        self.codes.resize(rows.width, false);
        for column in (0..prepared.columns).filter(|column| rows.named[*column]) {
            prepared.encoder.mark(column, &mut self.codes);
        }
        bundle.indexer.own_spans(&self.codes, &mut self.full);
        if let Some(cheap) = &bundle.tiers.cheap {
            cheap.indexer.own_spans(&self.codes, &mut self.cheap);
        }
    }
}
