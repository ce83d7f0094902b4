//! What is done with every answer besides sending it: counted, logged now and then, sampled for the next model and for the request
//! log.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::model::row::Cell;
use crate::predict::LiveModel;
use crate::predict::given::Given;
use crate::predict::live::MOST_CANDIDATES;
use crate::predict::log::Answer;
use crate::predict::scorer::Scored;

/// A request whose scores are known.
pub(super) struct Known<'a> {
    /// What scored it.
    pub(super) model: &'a Arc<LiveModel>,
    /// Its candidates' scores.
    pub(super) scored: &'a [Scored],
    /// How long it took from when it was there as a whole.
    pub(super) took: Duration,
    /// What it might take.
    pub(super) allowed: Duration,
    /// Its id, where it has one.
    pub(super) id: Option<&'a str>,
}

impl Shared {
    /// Notes an answer, with its cells as the scorer took them. Every request that is scored comes by here once, whatever path it
    /// took.
    ///
    /// Nearly always that is counting; the cells of a sampled request are copied. Nothing here waits.
    pub(super) fn answered<'c, Candidate>(
        &self,
        known: &Known<'_>,
        context: impl Iterator<Item = (usize, Cell<'c>)>,
        candidates: impl Iterator<Item = Candidate>,
    ) where
        Candidate: Iterator<Item = (usize, Cell<'c>)>,
    {
        thread_local! {
            static GIVEN: RefCell<Given> = RefCell::default();
        }
        let took = known.took;
        self.meters.answered(known.scored, took, took > known.allowed);
        self.tell(known);
        let for_log = self.log.as_ref().filter(|log| log.wants(known.id.map(str::as_bytes)));
        let for_swap = self.registry.is_some() && self.live.recent().wants();
        if for_log.is_none() && !for_swap {
            return;
        }
        GIVEN.with_borrow_mut(|given| {
            given.fill(context, candidates, if for_log.is_some() { usize::MAX } else { MOST_CANDIDATES });
            if for_swap {
                self.live.recent().keep(known.model, given);
            }
            if let Some(log) = for_log {
                log.offer(Answer {
                    at: jiff::Timestamp::now(),
                    id: known.id.map(str::to_owned),
                    model: known.model.clone(),
                    given: given.clone(),
                    scored: known.scored.to_vec(),
                    budget: Some(known.allowed),
                    took,
                });
            }
        });
    }

    /// The text that Prometheus reads.
    pub(super) fn metrics(&self) -> String {
        self.meters.render(self.log.as_ref().map(|log| log.counts()))
    }

    /// Logs one of many answers for people.
    fn tell(&self, known: &Known<'_>) {
        if self.answers_logged.take() {
            tracing::info!(
                model = known.model.name(),
                candidates = known.scored.len(),
                tier = known.scored.iter().map(|scored| scored.tier).max().map(|tier| tier.name()),
                micros = known.took.as_micros() as u64,
                "answered"
            );
        }
    }
}
