//! The same HTTP stack with nothing behind it: it reads the body and answers the same bytes. What a service can reach at most.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;

/// As long as an answer with one candidate.
const ANSWER: &str = r#"{"model":"ftrl-3c336fb179ef","candidates":[{"probability":0.020412345678901234,"tier":"full","fingerprint":"0123456789abcdef"}],"micros":12}"#;

/// Serves until it is killed.
pub fn serve(address: SocketAddr) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route("/v1/score", post(answer))).await
    })
}

async fn answer(body: Bytes) -> Response {
    std::hint::black_box(body);
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], ANSWER).into_response()
}
