//! A service in this thread: a body → status and answer, which must make sense whatever the body is.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use pctr::predict::http::Shared;
use tower::ServiceExt;

/// A service and the thread's runtime.
pub(crate) struct Service {
    router: Router,
    runtime: tokio::runtime::Runtime,
}

impl Service {
    /// Serves what `shared` says.
    pub(crate) fn new(shared: Arc<Shared>) -> Service {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread is there");
        Service { router: pctr::predict::http::app(shared), runtime }
    }

    /// Asks, and checks: no 5xx, an answer in JSON wherever there is one, and an error that says what kind it is.
    pub(crate) fn ask(&self, path: &str, body: &[u8]) {
        let request = Request::post(path).header("x-budget-us", "1000000").body(Body::from(body.to_vec()));
        let request = request.expect("the request is well-formed");
        let (status, answer) = self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("the router cannot fail");
            let status = response.status();
            (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("the answer is in memory"))
        });
        assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&answer));
        if status == StatusCode::NO_CONTENT {
            return assert!(answer.is_empty());
        }
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("answers are JSON");
        match status.is_success() {
            true => assert!(answer["error"].is_null()),
            false => assert!(answer["error"]["kind"].is_string() && answer["error"]["message"].is_string()),
        }
    }
}
