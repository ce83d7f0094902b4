//! A score request → fields by column.
//!
//! Values keep the text they came with: `5`, `"5"` and the cell `5` of a log give the same code, and `5.0` another, as in a
//! log. A list for a bag becomes the cell a log would have, with the separator between. So a row gets the same codes here
//! and in a file.

use std::fmt;
use std::ops::Range;

use super::document::Span;
use crate::model::row::Cell;
use crate::predict::LiveModel;
use crate::predict::http::refusal::{Refusal, RefusalKind};
use crate::predict::scorer::Refused;

/// What requests of one body say, in lists that are used again for the next body: nothing is allocated for a request once they
/// have grown.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Strings that had escapes, and bags, one behind the other.
    pub(super) unescaped: Vec<u8>,
    /// Fields of contexts and candidates.
    pub(super) fields: Vec<Field>,
    pub(super) candidates: Vec<Candidate>,
}

impl Said {
    pub(super) fn clear(&mut self) {
        self.unescaped.clear();
        self.fields.clear();
        self.candidates.clear();
    }
}

/// A value for a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) column: u32,
    /// Nothing for a missing value.
    pub(super) value: Span,
}

#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// As given, with its quotes; nothing without one.
    pub(super) id: Span,
    /// Its fields, among all.
    pub(super) fields: Range<usize>,
}

/// Where a request stands among all that was said.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// Fields of the context.
    pub(super) context: Range<usize>,
    pub(super) candidates: Range<usize>,
}

/// A request that fits the model's schema.
#[derive(Debug, Clone, Copy)]
pub(in crate::predict::http) struct Request<'a> {
    text: &'a str,
    said: &'a Said,
    context: &'a [Field],
    candidates: &'a [Candidate],
}

impl<'a> Request<'a> {
    pub(super) fn new(text: &'a str, said: &'a Said, parts: &Parts) -> Request<'a> {
        let (context, candidates) = (&said.fields[parts.context.clone()], &said.candidates[parts.candidates.clone()]);
        Request { text, said, context, candidates }
    }

    /// The context's cells, by column.
    pub(in crate::predict::http) fn context(self) -> impl Iterator<Item = (usize, Cell<'a>)> {
        self.cells(self.context)
    }

    /// Each candidate's own cells, by column.
    pub(in crate::predict::http) fn candidates(
        self,
    ) -> impl ExactSizeIterator<Item = impl Iterator<Item = (usize, Cell<'a>)>> {
        self.candidates.iter().map(move |candidate| self.cells(&self.said.fields[candidate.fields.clone()]))
    }

    /// The candidates' ids, as given; nothing for those without one.
    pub(super) fn ids(self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.candidates.iter().map(move |candidate| candidate.id.of(self.text, &self.said.unescaped))
    }

    /// What to answer when the scorer refuses a cell: names the column, not the feature, and where it stands.
    pub(in crate::predict::http) fn refusal(self, Refused { candidate, error }: Refused, model: &LiveModel) -> Refusal {
        let schema = &model.bundle.schema;
        let column = schema.features.iter().find(|feature| feature.name == error.field).map(|feature| feature.column);
        let field = column.map_or(error.field.as_str(), |column| schema.columns[column].as_str());
        let own = &self.said.fields[self.candidates[candidate].fields.clone()];
        let is_own = own.iter().any(|field| Some(field.column as usize) == column);
        let place = if is_own { Place::Candidate(candidate) } else { Place::Context };
        let message = format!("{place}: {field}: expected {}, got {}", error.expected, error.got);
        Refusal::of_field(RefusalKind::InvalidNumber, field, message)
    }

    fn cells(self, fields: &'a [Field]) -> impl Iterator<Item = (usize, Cell<'a>)> {
        let Request { text, said, .. } = self;
        fields.iter().map(move |field| {
            let cell = match field.value.is_empty() {
                true => Cell::Missing,
                false => Cell::Text(field.value.of(text, &said.unescaped)),
            };
            (field.column as usize, cell)
        })
    }
}

/// An object of a body, as messages name it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Body,
    /// In a batch.
    Request,
    Context,
    Candidate(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Body => f.write_str("the body"),
            Place::Request => f.write_str("the request"),
            Place::Context => f.write_str("context"),
            Place::Candidate(position) => write!(f, "candidates[{position}]"),
        }
    }
}
