//! HTTP around the scorer: the only room that knows axum.
//!
//! ```text
//! socket ─▶ connections ─▶ hot paths ─▶ intake ─▶ admission ─▶ wire ─▶ scorer ─▶ wire ─▶ socket
//!           limits, pace  └▶ routes    body, budget  a place, or 503 at once
//! ```
//!
//! What is served where stands in [`ROUTES`]; what each path takes and answers, in `openapi.json`. Whatever is wrong is
//! answered as `{"error": {"kind", "message", "field"}}`.

mod admin;
mod admission;
mod bidding;
mod connections;
mod health;
mod hot;
mod intake;
mod meters;
mod observer;
mod page;
mod refusal;
mod scoring;
mod server;
mod settings;
mod tls;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::Full;

pub use health::OPENAPI;
pub use refusal::RefusalKind;
pub use server::{ServerHandle, serve, spawn};
pub use settings::{
    AdminSettings, Budgets, Limits, LogFormat, Logs, Requests, ServeOptions, Source, TlsSettings, Unknown,
};

use super::Live;
use super::log::RequestLog;
use super::openrtb::Bidder;
use crate::registry::Registry;
use admin::Token;
use admission::Admission;
use meters::{Meters, Sampler};
use refusal::Refusal;

/// Who may use a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everyone who reaches a listener.
    Everyone,
    /// Clients of the scoring service.
    Clients,
    /// Who holds the token.
    Admins,
}

/// Every path of the service: method, path, audience.
pub const ROUTES: [(&str, &str, Audience); 13] = [
    ("POST", "/v1/score", Audience::Clients),
    ("POST", "/v1/score/batch", Audience::Clients),
    ("POST", "/v1/openrtb", Audience::Clients),
    ("GET", "/v1/models", Audience::Admins),
    ("POST", "/v1/models/promote", Audience::Admins),
    ("POST", "/v1/models/rollback", Audience::Admins),
    ("GET", "/healthz", Audience::Everyone),
    ("GET", "/readyz", Audience::Everyone),
    ("GET", "/metrics", Audience::Everyone),
    ("GET", "/", Audience::Everyone),
    ("GET", "/v1/live", Audience::Everyone),
    ("GET", "/openapi.json", Audience::Everyone),
    ("GET", "/docs", Audience::Everyone),
];

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    live: Arc<Live>,
    options: ServeOptions,
    meters: Meters,
    admission: Admission,
    /// Bytes of bodies being read or waiting.
    bodies: AtomicUsize,
    answers_logged: Sampler,
    refusals_logged: Sampler,
    /// What answers bid requests.
    bidder: Option<Bidder>,
    /// The registry and the stage that are followed.
    registry: Option<(Registry, String)>,
    token: Option<Token>,
    log: Option<RequestLog>,
    story: page::Story,
}

impl Shared {
    /// Serves `live` within `limits`, for whoever brings a socket of its own.
    pub fn new(live: Arc<Live>, limits: Limits) -> Arc<Shared> {
        let options = ServeOptions { limits, threads: 1, ..ServeOptions::default() };
        Arc::new(Shared::with(live, options, None, None, None, None))
    }

    /// The same with a bidder.
    pub fn bidding(live: Arc<Live>, limits: Limits, bidder: Bidder) -> Arc<Shared> {
        let options = ServeOptions { limits, threads: 1, ..ServeOptions::default() };
        Arc::new(Shared::with(live, options, Some(bidder), None, None, None))
    }

    fn with(
        live: Arc<Live>,
        options: ServeOptions,
        bidder: Option<Bidder>,
        registry: Option<(Registry, String)>,
        token: Option<Token>,
        log: Option<RequestLog>,
    ) -> Shared {
        let meters = Meters::new();
        let story = page::Story::new(live.model().name());
        meters.serves(&live.model().bundle.manifest);
        Shared {
            live,
            meters,
            admission: Admission::new(options.threads.max(1), Duration::from_micros(options.budget.queue_us)),
            bodies: AtomicUsize::new(0),
            answers_logged: Sampler::new(options.logs.sample_answers),
            refusals_logged: Sampler::new(options.logs.sample_refusals),
            options,
            bidder,
            registry,
            token,
            log,
            story,
        }
    }
}

/// What clients see.
pub fn app(shared: Arc<Shared>) -> Router {
    let mut router = hot::routes().merge(health::routes()).merge(page::routes());
    if shared.options.admin.shared_listener {
        router = router.merge(admin::routes(&shared));
    }
    finish(router, shared)
}

/// What the admin listener serves.
pub fn admin(shared: Arc<Shared>) -> Router {
    finish(health::routes().merge(page::routes()).merge(admin::routes(&shared)), shared)
}

fn finish(router: Router<Arc<Shared>>, shared: Arc<Shared>) -> Router {
    router.fallback(answer_not_found).method_not_allowed_fallback(answer_method_not_allowed).with_state(shared)
}

async fn answer_not_found(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    refuse(&shared, &Refusal::new(RefusalKind::NotFound, format!("there is no {}; see GET /docs", uri.path())))
}

async fn answer_method_not_allowed(State(shared): State<Arc<Shared>>, method: Method) -> Answer {
    let message = format!("{method} is not for this path; see GET /docs");
    refuse(&shared, &Refusal::new(RefusalKind::MethodNotAllowed, message))
}

/// Answers a refusal, counted and now and then logged.
fn refuse(shared: &Shared, refusal: &Refusal) -> Answer {
    shared.meters.refused(refusal.kind);
    if shared.refusals_logged.take() {
        tracing::info!(kind = refusal.kind.name(), field = refusal.field.as_deref(), "refused: {}", refusal.message);
    }
    let mut response = json(refusal.kind.status(), refusal.body());
    let headers = response.headers_mut();
    match refusal.kind {
        RefusalKind::Overloaded => {
            headers.insert(header::RETRY_AFTER, shared.options.budget.retry_after_s.into());
        }
        RefusalKind::Unauthorized => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // What is left of the body would be taken for the next request.
        RefusalKind::BodyTooLarge | RefusalKind::BodyTooSlow | RefusalKind::BodyUnreadable => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// An answer that is there as a whole.
type Answer = Response<Full<Bytes>>;

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
