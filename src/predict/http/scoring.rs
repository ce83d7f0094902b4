//! `POST /v1/score` and `POST /v1/score/batch`.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::intake::Arrived;
use super::observer::Known;
use super::refusal::Refusal;
use super::wire::{self, BatchAnswer, Buffers, Rules};
use super::{Answer, Shared, json};
use crate::predict::scorer::{Scored, Scratch, score};
use crate::predict::{Budget, LiveModel};

thread_local! {
    /// Buffers of the scorer, one set a thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    /// Those of the reader of bodies.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

pub(super) fn answer_score(shared: &Shared, arrived: &Arrived<'_>) -> Result<Answer, Refusal> {
    let model = shared.live.model();
    BUFFERS.with_borrow_mut(|buffers| {
        let request = wire::read(arrived.body, &model, rules(shared), buffers)?;
        let write = |scored: &[Scored]| wire::answer(model.name(), request, scored);
        let (answer, took) = scored(shared, &model, request, arrived, write)?;
        Ok(json(StatusCode::OK, wire::end(answer, took)))
    })
}

pub(super) fn answer_batch(shared: &Shared, arrived: &Arrived<'_>) -> Result<Answer, Refusal> {
    // One model for the whole batch.
    let model = shared.live.model();
    BUFFERS.with_borrow_mut(|buffers| {
        let requests = wire::read_batch(arrived.body, &model, rules(shared), buffers)?;
        let mut answer = BatchAnswer::new(model.name());
        let refuse = |answer: &mut BatchAnswer, refusal: &Refusal| {
            shared.meters.refused(refusal.kind);
            answer.refused(refusal);
        };
        for request in requests {
            match request {
                Ok(request) => {
                    let write = |scored: &[Scored]| answer.scored(request, scored);
                    if let Err(refusal) = scored(shared, &model, request, arrived, write) {
                        refuse(&mut answer, &refusal);
                    }
                }
                Err(refusal) => refuse(&mut answer, refusal),
            }
        }
        Ok(json(StatusCode::OK, answer.finish(arrived.at)))
    })
}

/// Scores a request and lets `use_them` read the scores where they lie; what came of it, and how long after its arrival.
fn scored<Used>(
    shared: &Shared,
    model: &Arc<LiveModel>,
    request: wire::Request<'_>,
    arrived: &Arrived<'_>,
    use_them: impl FnOnce(&[Scored]) -> Used,
) -> Result<(Used, Duration), Refusal> {
    let allowed = arrived.budget(Duration::from_micros(shared.options.budget.default_us));
    with_scratch(|scratch| {
        let budget = Budget::until(arrived.at + allowed, &Instant::now);
        let scored = score(model, request.context(), request.candidates(), &budget, scratch)
            .map_err(|refused| request.refusal(refused, model))?;
        let used = use_them(scored);
        let took = arrived.at.elapsed();
        let known = Known { model, scored, took, allowed, id: arrived.id };
        shared.answered(&known, request.context(), request.candidates());
        Ok((used, took))
    })
}

/// Lends the thread's buffers.
pub(super) fn with_scratch<Used>(work: impl FnOnce(&mut Scratch) -> Used) -> Used {
    SCRATCH.with_borrow_mut(work)
}

fn rules(shared: &Shared) -> Rules {
    let (limits, unknown) = (&shared.options.limits, shared.options.requests.unknown_fields);
    Rules { candidates: limits.candidates, batch: limits.batch, unknown }
}
