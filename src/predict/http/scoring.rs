//! `POST /v1/score` and `POST /v1/score/batch`.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::intake::{Arrived, take};
use super::refusal::Refusal;
use super::wire::{self, Item, Rules};
use super::{Shared, json};
use crate::predict::scorer::{Scored, Scratch, score};
use crate::predict::{Budget, LiveModel};

thread_local! {
    /// Buffers of the scorer, one set a thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) async fn answer_score(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    take(shared, request, |shared, arrived| {
        let model = shared.live.model();
        let request = wire::Request::read(wire::document(arrived.body)?, "the body", &model, rules(shared))?;
        let answer = scored(shared, &model, &request, arrived, |scored| {
            wire::answer(model.name(), &request, scored, arrived.at)
        })??;
        Ok(json(StatusCode::OK, answer))
    })
    .await
}

pub(super) async fn answer_batch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    take(shared, request, |shared, arrived| {
        // One model for the whole batch.
        let model = shared.live.model();
        let body = wire::document(arrived.body)?;
        let requests = wire::requests(body, shared.options.limits.batch, shared.options.requests.unknown_fields)?;
        let items: Vec<Item<'_>> = (requests.into_iter())
            .map(|request| {
                let request = wire::Request::read(request, "the request", &model, rules(shared))?;
                let scored = scored(shared, &model, &request, arrived, <[Scored]>::to_vec)?;
                Ok(Item::Scored(request, scored))
            })
            .map(|item: Result<Item<'_>, Refusal>| {
                item.unwrap_or_else(|refusal| {
                    shared.meters.refused(refusal.kind);
                    Item::Refused(refusal)
                })
            })
            .collect();
        Ok(json(StatusCode::OK, wire::batch(model.name(), &items, arrived.at)?))
    })
    .await
}

/// Scores a request and lets `use_them` read the scores where they lie.
fn scored<Used>(
    shared: &Shared,
    model: &LiveModel,
    request: &wire::Request<'_>,
    arrived: &Arrived<'_>,
    use_them: impl FnOnce(&[Scored]) -> Used,
) -> Result<Used, Refusal> {
    let allowed = arrived.budget(Duration::from_micros(shared.options.budget.default_us));
    with_scratch(|scratch| {
        let budget = Budget::until(arrived.at + allowed, &Instant::now);
        let scored = score(model, request.context(), request.candidates(), &budget, scratch)
            .map_err(|refused| request.refusal(refused, model))?;
        let used = use_them(scored);
        known(shared, &Known { model, scored, arrived: arrived.at, allowed });
        Ok(used)
    })
}

/// Lends the thread's buffers.
pub(super) fn with_scratch<Used>(work: impl FnOnce(&mut Scratch) -> Used) -> Used {
    SCRATCH.with_borrow_mut(work)
}

fn rules(shared: &Shared) -> Rules {
    Rules { candidates: shared.options.limits.candidates, unknown: shared.options.requests.unknown_fields }
}

/// A request whose scores are known.
pub(super) struct Known<'a> {
    /// What scored it.
    pub(super) model: &'a LiveModel,
    /// Its candidates' scores.
    pub(super) scored: &'a [Scored],
    /// When it was there as a whole.
    pub(super) arrived: Instant,
    /// What it might take from then on.
    pub(super) allowed: Duration,
}

/// Counts and logs what is known. Every request that is scored comes by here once, whatever path it took.
pub(super) fn known(shared: &Shared, known: &Known<'_>) {
    let took = known.arrived.elapsed();
    shared.meters.answered(known.scored, took, took > known.allowed);
    if shared.answers_logged.take() {
        tracing::info!(
            model = known.model.name(),
            candidates = known.scored.len(),
            tier = known.scored.iter().map(|scored| scored.tier).max().map(|tier| tier.name()),
            micros = took.as_micros() as u64,
            "answered"
        );
    }
}
