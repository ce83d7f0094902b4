//! HTTP around the scorer: the only room that knows axum.
//!
//! ```text
//! POST /v1/score   one context, many candidates → probabilities
//! GET  /healthz    the process is alive
//! GET  /readyz     a model is loaded; which one
//! GET  /metrics    counters and latencies, as Prometheus reads them
//! ```
//!
//! Whatever is wrong is answered as `{"error": {"kind", "message", "field"}}`.

mod meters;
mod refusal;
mod server;
mod wire;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

pub use refusal::RefusalKind;
pub use server::{ServeOptions, ServerHandle, Source, serve, spawn};

use super::{Budget, Live, scorer};
use meters::Meters;
use refusal::Refusal;

/// What a request may ask for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Candidates in one request.
    pub candidates: usize,
    /// Bytes of one request's body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { candidates: 1000, body_bytes: 4 << 20 }
    }
}

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    live: Arc<Live>,
    limits: Limits,
    meters: Meters,
}

impl Shared {
    /// Serves `live` within `limits`.
    pub fn new(live: Arc<Live>, limits: Limits) -> Arc<Shared> {
        let meters = Meters::new();
        meters.serves(&live.model().bundle.manifest);
        Arc::new(Shared { live, limits, meters })
    }
}

/// The service.
pub fn app(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/score", post(answer_score))
        .route("/healthz", get(|| async { json(StatusCode::OK, r#"{"status":"alive"}"#) }))
        .route("/readyz", get(answer_ready))
        .route("/metrics", get(answer_metrics))
        .fallback(answer_not_found)
        .method_not_allowed_fallback(answer_method_not_allowed)
        .layer(DefaultBodyLimit::max(shared.limits.body_bytes))
        .with_state(shared)
}

async fn answer_score(State(shared): State<Arc<Shared>>, body: Result<Bytes, BytesRejection>) -> Response {
    let started = Instant::now();
    let scored = match body {
        Ok(body) => score(&shared, &body, started),
        Err(rejection) => Err(Refusal::of_body(&rejection, shared.limits.body_bytes)),
    };
    match scored {
        Ok((answer, candidates)) => {
            shared.meters.answered(candidates, started.elapsed());
            json(StatusCode::OK, answer)
        }
        Err(refusal) => refuse(&shared, refusal),
    }
}

/// A request's body → the answer's body and the number of candidates in it.
fn score(shared: &Shared, body: &[u8], started: Instant) -> Result<(Vec<u8>, usize), Refusal> {
    thread_local! {
        static SCRATCH: RefCell<scorer::Scratch> = RefCell::default();
    }
    let model = shared.live.model();
    let request = wire::Request::parse(body, &model, shared.limits.candidates)?;
    SCRATCH.with_borrow_mut(|scratch| {
        let budget = Budget::unlimited();
        let scored = scorer::score(&model, request.context(), request.candidates(), &budget, scratch)
            .map_err(|refused| request.refusal(refused, &model))?;
        Ok((wire::answer(model.name(), &request, scored, started)?, scored.len()))
    })
}

async fn answer_ready(State(shared): State<Arc<Shared>>) -> Response {
    let manifest = &shared.live.model().bundle.manifest;
    let ready = serde_json::json!({
        "status": "ready",
        "model": manifest.model,
        "kind": manifest.kind,
        "schema": manifest.schema,
        "schema_fingerprint": manifest.schema_fingerprint,
    });
    json(StatusCode::OK, ready.to_string())
}

async fn answer_metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.meters.render()).into_response()
}

async fn answer_not_found(State(shared): State<Arc<Shared>>, uri: axum::http::Uri) -> Response {
    let message = format!("there is no {}; see POST /v1/score, GET /healthz, /readyz, /metrics", uri.path());
    refuse(&shared, Refusal::new(RefusalKind::NotFound, message))
}

async fn answer_method_not_allowed(State(shared): State<Arc<Shared>>, method: axum::http::Method) -> Response {
    let message = format!("{method} is not for this path; POST /v1/score, GET the others");
    refuse(&shared, Refusal::new(RefusalKind::MethodNotAllowed, message))
}

fn refuse(shared: &Shared, refusal: Refusal) -> Response {
    shared.meters.refused(refusal.kind);
    json(refusal.kind.status(), refusal.body())
}

fn json(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}
