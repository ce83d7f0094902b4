//! One context and many candidates → one probability each.
//!
//! A candidate's row is the context with the candidate's own fields put over it. The bits of its probability are those
//! that `pctr score` writes for the same row and tier: both go through [`Bundle::score_tier`].

use std::time::Instant;

pub use crate::model::bundle::Tier;
use crate::model::bundle::{Bundle, ScoreScratch};
use crate::model::features::hash::row_fingerprint;
use crate::model::row::{Cell, CellError};
use crate::predict::LiveModel;
use crate::predict::budget::Budget;

/// What scoring with one bundle prepares once.
#[derive(Debug)]
pub struct Ready {}

/// A candidate's probability of a click, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Calibrated, above 0 and below 1.
    pub probability: f64,
    /// Which rung of the ladder gave it.
    pub tier: Tier,
    /// Identity of the encoded row: equal rows of one schema have equal ones.
    pub fingerprint: u64,
}

/// Buffers that one caller of [`score`] reuses.
#[derive(Debug, Default)]
pub struct Scratch {
    codes: Vec<u32>,
    probabilities: Vec<f64>,
    scored: Vec<Scored>,
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

impl Ready {
    /// Prepares scoring with `bundle`.
    pub fn new(_bundle: &Bundle) -> Ready {
        Ready {}
    }
}

/// Fills caches and estimates of cost with made-up requests, before `model` serves.
pub fn warm(model: &LiveModel, clock: &dyn Fn() -> Instant) {
    let budget = Budget::until(clock() + std::time::Duration::from_secs(1), clock);
    let nothing = std::iter::empty::<(usize, Cell<'_>)>;
    let candidates = (0..16).map(|_| nothing());
    // A bundle that refuses missing values is refused before it gets here.
    let _ = score(model, nothing(), candidates, &budget, &mut Scratch::default());
}

/// Probabilities of a click on each candidate, in their order.
///
/// Fields are pairs of a position in the schema's columns and a cell; of equal positions the last wins, a candidate's
/// wins over the context's, and a column that neither names is missing.
///
/// # Errors
/// When a numeric column holds something that is no finite number.
pub fn score<'cell, 'scratch, Candidate>(
    model: &LiveModel,
    context: impl Iterator<Item = (usize, Cell<'cell>)>,
    candidates: impl ExactSizeIterator<Item = Candidate>,
    _budget: &Budget<'_>,
    scratch: &'scratch mut Scratch,
) -> Result<&'scratch [Scored], Refused>
where
    Candidate: Iterator<Item = (usize, Cell<'cell>)>,
{
    let bundle = &model.bundle;
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
    let rows = scratch.probabilities.iter().zip(scratch.codes.chunks_exact(width));
    scratch.scored.clear();
    scratch.scored.extend(rows.map(|(probability, codes)| Scored {
        probability: *probability,
        tier: Tier::Full,
        fingerprint: row_fingerprint(codes),
    }));
    Ok(&scratch.scored)
}
