//! Probabilities → the body of an answer.

use std::cell::Cell;
use std::time::Instant;

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Request;
use crate::predict::http::refusal::{Refusal, RefusalKind, Told};
use crate::predict::json::Hex;
use crate::predict::scorer::Scored;

/// The answer to one request of a batch.
pub(in crate::predict::http) enum Item<'a> {
    /// Its candidates, scored.
    Scored(Request<'a>, Vec<Scored>),
    /// Why it was not scored.
    Refused(Refusal),
}

/// The answer to one request. `micros` counts from `arrived` to here.
pub(in crate::predict::http) fn answer(
    model: &str,
    request: &Request<'_>,
    scored: &[Scored],
    arrived: Instant,
) -> Result<Vec<u8>, Refusal> {
    #[derive(serde::Serialize)]
    struct Answer<'a, Candidates: Serialize> {
        model: &'a str,
        candidates: Candidates,
        micros: u64,
    }

    let mut body = Vec::with_capacity(64 + 112 * scored.len());
    let answer = Answer { model, candidates: candidates(request, scored), micros: micros(arrived) };
    write(&mut body, &answer)?;
    Ok(body)
}

/// The answer to a batch: one item for each request, in their order.
pub(in crate::predict::http) fn batch(model: &str, items: &[Item<'_>], arrived: Instant) -> Result<Vec<u8>, Refusal> {
    #[derive(serde::Serialize)]
    struct Answer<'a, Answers: Serialize> {
        model: &'a str,
        answers: Answers,
        micros: u64,
    }

    #[derive(serde::Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Shown<'a, Candidates: Serialize> {
        Candidates(Candidates),
        Error(Told<'a>),
    }

    let shown = items.iter().map(|item| match item {
        Item::Scored(request, scored) => Shown::Candidates(candidates(request, scored)),
        Item::Refused(refusal) => Shown::Error(refusal.told()),
    });
    let mut body = Vec::new();
    write(&mut body, &Answer { model, answers: Listed::new(shown), micros: micros(arrived) })?;
    Ok(body)
}

fn candidates(request: &Request<'_>, scored: &[Scored]) -> impl Serialize {
    #[derive(serde::Serialize)]
    struct Candidate<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        probability: f64,
        tier: &'static str,
        fingerprint: Hex,
    }

    Listed::new(request.ids().zip(scored).map(|(id, scored)| Candidate {
        id,
        probability: scored.probability,
        tier: scored.tier.name(),
        fingerprint: Hex(scored.fingerprint),
    }))
}

/// A list that is written from an iterator, once.
struct Listed<Items>(Cell<Option<Items>>);

impl<Items> Listed<Items> {
    fn new(items: Items) -> Self {
        Listed(Cell::new(Some(items)))
    }
}

impl<Items: Iterator<Item: Serialize>> Serialize for Listed<Items> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.take().into_iter().flatten())
    }
}

fn micros(arrived: Instant) -> u64 {
    arrived.elapsed().as_micros().try_into().unwrap_or(u64::MAX)
}

fn write(body: &mut Vec<u8>, answer: &impl Serialize) -> Result<(), Refusal> {
    serde_json::to_writer(body, answer)
        .map_err(|error| Refusal::new(RefusalKind::Internal, format!("the answer cannot be written: {error}")))
}
