//! How the service is, and what it takes: `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, `/docs`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::page::html;
use super::{Answer, Shared, json};

/// What each path takes and answers, as OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// A page that shows it, without anything from elsewhere.
const DOCS: &str = include_str!("docs.html");

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/healthz", get(|| async { json(StatusCode::OK, r#"{"status":"alive"}"#) }))
        .route("/readyz", get(answer_ready))
        .route("/metrics", get(answer_metrics))
        .route("/openapi.json", get(|| async { json(StatusCode::OK, OPENAPI) }))
        .route("/docs", get(|| async { html(DOCS) }))
}

async fn answer_ready(State(shared): State<Arc<Shared>>) -> Answer {
    let model = shared.live.model();
    let manifest = &model.bundle.manifest;
    let ready = serde_json::json!({
        "status": "ready",
        "model": manifest.model,
        "kind": manifest.kind,
        "schema": manifest.schema,
        "schema_fingerprint": manifest.schema_fingerprint,
        "refused": shared.live.refused().as_deref(),
    });
    json(StatusCode::OK, ready.to_string())
}

async fn answer_metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics()).into_response()
}
