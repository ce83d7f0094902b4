//! One context and many candidates → one probability each, by the best tier there is time for.
//!
//! ```text
//! context ─▶ codes (once) ─┐
//! candidates ─▶ own codes ─┴─▶ rows ─▶ ladder ─┬─▶ full: slots ─▶ model ─▶ calibrator ─▶ probability
//!                                              ├─▶ cheap: slots ─▶ linear ─▶ calibrator ─▶ probability
//!                                              └─▶ base rate
//! ```
//!
//! A candidate's row is the context with the candidate's own fields put over it. The bits of its probability are those
//! that `pctr score` writes for the same row and tier (`tests/parity.rs`). What all candidates share is worked out once. After the
//! first requests nothing is allocated (`tests/allocations.rs`), and nothing is locked.

mod rows;
mod rungs;

use std::ops::Range;
use std::time::Instant;

use super::LiveModel;
use super::background;
use super::budget::{Budget, Costs, Ladder, Step};
use crate::model::Predict;
use crate::model::bundle::Bundle;
pub use crate::model::bundle::Tier;
use crate::model::dcn::EnsembleScratch;
use crate::model::features::hash::row_fingerprint;
use crate::model::row::Cell;
use rows::{Own, Prepared, Rows};
use rungs::Rung;

pub use rows::Refused;

/// What scoring with one bundle prepares once, and what it learned about its cost.
#[derive(Debug)]
pub struct Ready {
    rows: Prepared,
    costs: Costs,
}

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

/// Buffers that one caller of [`score`] reuses, whatever models it is called with.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Rows,
    own: Own,
    full: Rung,
    cheap: Rung,
    network: EnsembleScratch,
    /// Candidates in the order in which they are scored.
    order: Vec<u32>,
    /// Whether the order is that of the cheap tier.
    ranked: bool,
    scored: Vec<Scored>,
    /// Steps since one was timed of which that was not needed.
    untimed: u32,
}

impl Ready {
    /// Prepares scoring with `bundle`.
    pub fn new(bundle: &Bundle) -> Ready {
        Ready { rows: Prepared::new(bundle), costs: Costs::default() }
    }

    /// What its tiers take.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }
}

/// One of so many steps that end with time to spare is timed.
const TIMED_EVERY: u32 = 8;

/// Rounds of [`warm`].
const WARM_ROUNDS: usize = 12;

/// Fills caches and estimates of cost with rows of missing values, before `model` serves. Takes some milliseconds; an estimate
/// is closer after some real requests.
pub fn warm(model: &LiveModel, clock: &dyn Fn() -> Instant) {
    let mut scratch = Scratch::default();
    // Half of the columns are the candidates' own.
    let own = || (1..model.bundle.schema.columns.len()).step_by(2).map(|column| (column, Cell::Missing));
    for count in (0..WARM_ROUNDS).flat_map(|_| [1, 4, 16, 64, 128]) {
        background::offer();
        if scratch.begin(model, std::iter::empty(), (0..count).map(|_| own())).is_err() {
            // Only for a bundle that refuses missing values; the gate refuses those.
            return;
        }
        for tier in model.bundle.tiers().filter(|tier| *tier != Tier::BaseRate) {
            let started = clock();
            scratch.run(tier, model, 0..count);
            model.scorer.costs.record(tier, count, clock().saturating_duration_since(started));
        }
    }
}

/// Probabilities of a click on each candidate, in their order.
///
/// Fields are pairs of a position in the schema's columns and a cell; of equal positions the last wins, a candidate's
/// wins over the context's, and a column that neither names is missing. Each candidate has the best tier that `budget` leaves
/// time for (see [`Ladder`]).
///
/// # Errors
/// When a numeric column holds something that is no finite number.
pub fn score<'cell, 'scratch, Candidate>(
    model: &LiveModel,
    context: impl Iterator<Item = (usize, Cell<'cell>)>,
    candidates: impl ExactSizeIterator<Item = Candidate>,
    budget: &Budget<'_>,
    scratch: &'scratch mut Scratch,
) -> Result<&'scratch [Scored], Refused>
where
    Candidate: Iterator<Item = (usize, Cell<'cell>)>,
{
    let costs = &model.scorer.costs;
    scratch.begin(model, context, candidates)?;
    let mut ladder = Ladder::new(costs, model.bundle.has(Tier::Cheap), scratch.order.len());
    // Candidates before `full` in the order have the full tier; then come those before `next` with another one.
    let (mut full, mut next) = (0, 0);
    let mut now = budget.now();
    loop {
        let (tier, places) = match ladder.next(budget.left_at(now)) {
            Step::Full(count) => (Tier::Full, next..next + count),
            Step::Cheap(count) => (Tier::Cheap, next..next + count),
            Step::Best(count) => {
                if !scratch.ranked {
                    scratch.rank(full);
                }
                (Tier::Full, full..full + count)
            }
            Step::Done => break,
        };
        scratch.run(tier, model, places.clone());
        next = next.max(places.end);
        if tier == Tier::Full {
            full = places.end;
        }
        if ladder.ended_at_ease() && !scratch.is_timed_now() {
            break;
        }
        let after = budget.now();
        if let (Some(before), Some(after)) = (now, after) {
            costs.record(tier, places.len(), after.saturating_duration_since(before));
        }
        now = after;
    }
    Ok(&scratch.scored)
}

impl Scratch {
    /// Encodes a request; every candidate has the base rate.
    fn begin<'cell, Candidate>(
        &mut self,
        model: &LiveModel,
        context: impl Iterator<Item = (usize, Cell<'cell>)>,
        candidates: impl Iterator<Item = Candidate>,
    ) -> Result<(), Refused>
    where
        Candidate: Iterator<Item = (usize, Cell<'cell>)>,
    {
        self.rows.read(&model.scorer.rows, context, candidates)?;
        if model.bundle.gains_from_sharing() {
            self.own.find(&model.scorer.rows, &self.rows, &model.bundle);
        }
        self.full.begin();
        self.cheap.begin();
        self.ranked = false;
        let probability = model.bundle.tiers.base_rate.probability();
        self.scored.clear();
        self.scored.extend(self.rows.codes().map(|codes| Scored {
            probability,
            tier: Tier::BaseRate,
            fingerprint: row_fingerprint(codes),
        }));
        self.order.clear();
        self.order.extend(0..self.scored.len() as u32);
        Ok(())
    }

    /// Scores the candidates at some places of the order by a tier.
    fn run(&mut self, tier: Tier, model: &LiveModel, places: Range<usize>) {
        let Scratch { rows, own, full, cheap, network, order, scored, .. } = self;
        let candidates = &order[places];
        let context = model.bundle.gains_from_sharing().then(|| rows.context());
        let Bundle { indexer, model, calibrator, tiers, .. } = &model.bundle;
        let wanted = candidates.iter().map(|candidate| rows.codes_of(*candidate as usize));
        let (logits, calibrator) = match (tier, &tiers.cheap) {
            (Tier::Full, _) => {
                let is_first = full.index(indexer, context, &own.full, wanted);
                if is_first && context.is_some() {
                    model.share(full.context(), &own.full, network);
                }
                (full.logits(|slots, logits| model.predict_own(slots, network, logits)), calibrator)
            }
            (Tier::Cheap, Some(tier)) => {
                cheap.index(&tier.indexer, context, &own.cheap, wanted);
                (cheap.logits(|slots, logits| tier.model.predict(slots, &mut (), logits)), &tier.calibrator)
            }
            // What every candidate has from the start.
            (Tier::Cheap, None) | (Tier::BaseRate, _) => return,
        };
        for (candidate, logit) in candidates.iter().zip(logits) {
            let scored = &mut scored[*candidate as usize];
            (scored.probability, scored.tier) = (calibrator.probability(*logit), tier);
        }
    }

    /// Whether it is the turn of a step that nothing depends on to be timed: reading a clock takes as long as encoding five cells.
    fn is_timed_now(&mut self) -> bool {
        self.untimed = (self.untimed + 1) % TIMED_EVERY;
        self.untimed == 0
    }

    /// Puts the candidates from a place of the order on into the order of their probabilities, the best first; of equals the
    /// first given.
    fn rank(&mut self, from: usize) {
        let Scratch { order, scored, .. } = self;
        let probability = |candidate: &u32| scored[*candidate as usize].probability;
        order[from..].sort_unstable_by(|a, b| probability(b).total_cmp(&probability(a)).then(a.cmp(b)));
        self.ranked = true;
    }
}
