//! A service in this thread: a body → status and answer, which must make sense whatever the body is. And what the checks of both
//! parsers share: whether a text is JSON by another reader's word, and the same JSON with other white space.

#![allow(dead_code, reason = "each target uses its part")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use pctr::predict::http::Shared;
use serde_json::Value;
use serde_json::value::RawValue;
use tower::ServiceExt;

/// A service and the thread's runtime.
pub(crate) struct Service {
    router: Router,
    runtime: tokio::runtime::Runtime,
}

/// An answer.
pub(crate) struct Answered {
    /// Its status.
    pub(crate) status: StatusCode,
    /// What it says; null where it has no body.
    pub(crate) body: Value,
}

impl Service {
    /// Serves what `shared` says.
    pub(crate) fn new(shared: Arc<Shared>) -> Service {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread is there");
        Service { router: pctr::predict::http::app(shared), runtime }
    }

    /// Asks, and checks: no 5xx, an answer in JSON wherever there is one, and an error that says what kind it is.
    pub(crate) fn ask(&self, path: &str, body: &[u8]) -> Answered {
        let request = Request::post(path).header("x-budget-us", "60000000").body(Body::from(body.to_vec()));
        let request = request.expect("the request is well-formed");
        let (status, answer) = self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("the router cannot fail");
            let status = response.status();
            (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("the answer is in memory"))
        });
        assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&answer));
        if status == StatusCode::NO_CONTENT {
            assert!(answer.is_empty());
            return Answered { status, body: Value::Null };
        }
        let body: Value = serde_json::from_slice(&answer).expect("answers are JSON");
        match status.is_success() {
            true => assert!(body["error"].is_null()),
            false => assert!(body["error"]["kind"].is_string() && body["error"]["message"].is_string()),
        }
        Answered { status, body }
    }
}

/// The text, when it is JSON.
pub(crate) fn is_json(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::from_str::<&RawValue>(text).is_ok().then_some(text)
}

/// How many lists and objects stand inside one another at most, strings and all: enough to tell what is deep.
pub(crate) fn nesting(json: &str) -> usize {
    let step = |(open, most): (usize, usize), letter| match letter {
        b'[' | b'{' => (open + 1, most.max(open + 1)),
        b']' | b'}' => (open.saturating_sub(1), most),
        _ => (open, most),
    };
    json.bytes().fold((0, 0), step).1
}

/// JSON with `between` around what gives it its structure, and no other white space outside of strings.
pub(crate) fn relaid(json: &str, between: &str) -> String {
    let mut relaid = String::with_capacity(2 * json.len());
    let (mut inside, mut escaped) = (false, false);
    for letter in json.chars() {
        match letter {
            _ if inside => {
                inside = escaped || letter != '"';
                escaped = !escaped && letter == '\\';
                relaid.push(letter);
            }
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '}' | '[' | ']' | ':' | ',' => {
                relaid.push_str(between);
                relaid.push(letter);
                relaid.push_str(between);
            }
            _ => {
                inside = letter == '"';
                relaid.push(letter);
            }
        }
    }
    relaid
}
