//! One context and many candidates → one probability each.
//!
//! A candidate's row is the context with the candidate's own fields put over it. The bits of its probability are those
//! that `pctr score` writes for the same row: both go through [`Bundle::score`].

use crate::model::bundle::{Bundle, ScoreScratch};
use crate::model::row::{Cell, CellError};

/// Buffers that one caller of [`score`] reuses.
#[derive(Debug, Default)]
pub struct Scratch {
    codes: Vec<u32>,
    probabilities: Vec<f64>,
    bundle: ScoreScratch,
}

/// A cell that the encoder refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Position of the candidate, from 0.
    pub candidate: usize,
    /// The cell; its field is the feature's name.
    pub error: CellError,
}

/// Probabilities of a click on each candidate, in their order.
///
/// Fields are pairs of a position in the schema's columns and a cell; of equal positions the last wins, a candidate's
/// wins over the context's, and a column that neither names is missing.
///
/// # Errors
/// When a numeric column holds something that is no finite number.
pub fn score<'cell, 'scratch, Candidate>(
    bundle: &Bundle,
    context: impl Iterator<Item = (usize, Cell<'cell>)>,
    candidates: impl ExactSizeIterator<Item = Candidate>,
    scratch: &'scratch mut Scratch,
) -> Result<&'scratch [f64], Refused>
where
    Candidate: Iterator<Item = (usize, Cell<'cell>)>,
{
    let mut shared = vec![Cell::Missing; bundle.schema.columns.len()];
    context.for_each(|(column, cell)| shared[column] = cell);
    let mut row = shared.clone();

    let width = bundle.encoder.width();
    scratch.codes.clear();
    scratch.codes.resize(width * candidates.len(), 0);
    for (candidate, (fields, codes)) in candidates.zip(scratch.codes.chunks_exact_mut(width)).enumerate() {
        row.copy_from_slice(&shared);
        fields.for_each(|(column, cell)| row[column] = cell);
        bundle.encoder.encode(&row, codes).map_err(|error| Refused { candidate, error })?;
    }
    scratch.probabilities.clear();
    bundle.score(&scratch.codes, &mut scratch.bundle, &mut scratch.probabilities);
    Ok(&scratch.probabilities)
}
