//! The live page for people: one HTML file without anything from elsewhere, and the numbers it asks for once a second.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::meters::Shown;
use super::{Answer, Shared, json};
use crate::model::bundle::Manifest;
use crate::predict::live::{Event, RefusedBundle, Shift};
use crate::predict::log::LogCounts;

/// What the page may load: itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Happenings that the page shows.
const KEPT: usize = 50;

/// `GET /` and `GET /v1/live`.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/", get(answer_page)).route("/v1/live", get(answer_numbers))
}

/// What happened to the service's model since it began.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    chapters: Mutex<VecDeque<Chapter>>,
}

#[derive(Debug, Clone, Serialize)]
struct Chapter {
    at: String,
    happening: &'static str,
    model: Option<String>,
    from: Option<String>,
    /// Whether the model was still in memory.
    kept: bool,
    prepared_ms: Option<f64>,
    shift: Option<Shift>,
    reason: Option<String>,
}

impl Story {
    /// Begins with a model.
    pub(super) fn new(model: &str) -> Story {
        let began = Chapter { model: Some(model.to_owned()), ..Chapter::now("began") };
        Story { began: Instant::now(), chapters: Mutex::new(VecDeque::from([began])) }
    }

    /// Adds what the keeper tells.
    pub(super) fn add(&self, event: &Event<'_>) {
        let chapter = match event {
            Event::Tick => return,
            Event::Swapped { swap, .. } => Chapter {
                model: Some(swap.to.clone()),
                from: Some(swap.from.clone()),
                kept: swap.kept,
                prepared_ms: Some(swap.prepared.as_secs_f64() * 1e3),
                shift: swap.shift.clone(),
                reason: swap.warning.clone(),
                ..Chapter::now("took over")
            },
            Event::Refused(refused) => Chapter {
                model: refused.model.clone(),
                reason: Some(refused.reason.clone()),
                ..Chapter::now("refused")
            },
        };
        if let Ok(mut chapters) = self.chapters.lock() {
            chapters.truncate(KEPT - 1);
            chapters.push_front(chapter);
        }
    }
}

impl Chapter {
    fn now(happening: &'static str) -> Chapter {
        let at = jiff::Timestamp::now().to_string();
        Chapter { at, happening, model: None, from: None, kept: false, prepared_ms: None, shift: None, reason: None }
    }
}

async fn answer_page() -> Response {
    html(include_str!("page.html"))
}

/// A page that may load nothing but what this service serves.
pub(super) fn html(page: &'static str) -> Response {
    let head = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (head, page).into_response()
}

async fn answer_numbers(State(shared): State<Arc<Shared>>) -> Answer {
    #[derive(Serialize)]
    struct Numbers<'a> {
        version: &'static str,
        uptime_seconds: f64,
        model: Model<'a>,
        refused: Option<&'a RefusedBundle>,
        /// Latest first.
        history: Vec<Chapter>,
        counted: Shown,
        request_log: Option<LogCounts>,
        /// Clicks joined with answers; nothing joins them yet.
        labels: Option<()>,
    }

    #[derive(Serialize)]
    struct Model<'a> {
        name: &'a str,
        kind: &'a str,
        schema: &'a str,
        trained_on_rows: u64,
        /// 5 %, 50 % and 95 % quantiles of the probabilities on the validation rows.
        validation_quantiles: Option<[f64; 3]>,
    }

    let model = shared.live.model_arc();
    let Manifest { model: name, kind, schema, profile, .. } = &model.bundle.manifest;
    let quantiles = &profile.score_quantiles;
    // Quantiles 0, 1/20, …, 1.
    let validation_quantiles = (quantiles.len() == 21).then(|| [quantiles[1], quantiles[10], quantiles[19]]);
    let refused = shared.live.refused();
    let numbers = Numbers {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: shared.story.began.elapsed().as_secs_f64(),
        model: Model { name, kind: kind.name(), schema, trained_on_rows: profile.rows, validation_quantiles },
        refused: refused.as_deref(),
        history: shared.story.chapters.lock().map_or_else(|_| Vec::new(), |all| all.iter().cloned().collect()),
        counted: shared.meters.shown(Instant::now()),
        request_log: shared.log.as_ref().map(|log| log.counts()),
        labels: None,
    };
    match serde_json::to_vec(&numbers) {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
