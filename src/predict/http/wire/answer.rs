//! Probabilities → the body of an answer, written from its first byte to its last.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Request;
use crate::predict::http::refusal::Refusal;
use crate::predict::json::Hex;
use crate::predict::scorer::Scored;

/// Most bytes of an answer about one candidate, besides its id.
const CANDIDATE: usize = 100;

/// The answer to one request, but for its [`end`].
pub(in crate::predict::http) fn answer(model: &str, request: Request<'_>, scored: &[Scored]) -> Vec<u8> {
    let room = request.ids().map(|id| CANDIDATE + id.len()).sum();
    let mut body = begin(model, "candidates", room);
    candidates(&mut body, request, scored);
    body
}

/// The answer to a batch, item by item in the order of its requests.
pub(in crate::predict::http) struct BatchAnswer {
    body: Vec<u8>,
    items: usize,
}

impl BatchAnswer {
    /// Without items yet.
    pub(in crate::predict::http) fn new(model: &str) -> BatchAnswer {
        let mut body = begin(model, "answers", 0);
        body.push(b'[');
        BatchAnswer { body, items: 0 }
    }

    /// Adds what a request came to.
    pub(in crate::predict::http) fn scored(&mut self, request: Request<'_>, scored: &[Scored]) {
        self.item("candidates");
        candidates(&mut self.body, request, scored);
        self.body.push(b'}');
    }

    /// Adds why a request has no answer.
    pub(in crate::predict::http) fn refused(&mut self, refusal: &Refusal) {
        self.item("error");
        json(&mut self.body, &refusal.told());
        self.body.push(b'}');
    }

    /// The answer, whose `micros` count from `arrived` to here.
    pub(in crate::predict::http) fn finish(mut self, arrived: Instant) -> Vec<u8> {
        self.body.push(b']');
        end(self.body, arrived.elapsed())
    }

    fn item(&mut self, key: &str) {
        if self.items > 0 {
            self.body.push(b',');
        }
        self.items += 1;
        put(&mut self.body, &["{\"", key, "\":"]);
    }
}

fn candidates(body: &mut Vec<u8>, request: Request<'_>, scored: &[Scored]) {
    let mut before = "[{";
    for (id, scored) in request.ids().zip(scored) {
        put(body, &[before]);
        if !id.is_empty() {
            put(body, &["\"id\":"]);
            body.extend_from_slice(id);
            body.push(b',');
        }
        put(body, &["\"probability\":"]);
        json(body, &scored.probability);
        put(body, &[",\"tier\":\"", scored.tier.name(), "\",\"fingerprint\":\""]);
        body.extend_from_slice(&Hex(scored.fingerprint).digits());
        put(body, &["\"}"]);
        before = ",{";
    }
    // There is no request without candidates.
    body.push(b']');
}

fn begin(model: &str, key: &str, room: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + model.len() + room);
    put(&mut body, &["{\"model\":"]);
    json(&mut body, &model);
    put(&mut body, &[",\"", key, "\":"]);
    body
}

/// The whole answer, which took this long.
pub(in crate::predict::http) fn end(mut body: Vec<u8>, took: Duration) -> Vec<u8> {
    put(&mut body, &[",\"micros\":"]);
    json(&mut body, &u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    body.push(b'}');
    body
}

fn put(body: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| body.extend_from_slice(text.as_bytes()));
}

fn json(body: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(body, value).expect("texts and numbers can be written to memory");
}
