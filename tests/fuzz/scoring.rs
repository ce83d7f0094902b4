//! Any body at `/v1/score` and `/v1/score/batch`: refused as such, or answered the same however it is written down.

use std::sync::Arc;

use axum::http::StatusCode;
use pctr::model::bundle::ModelKind;
use pctr::predict::http::{Limits, Shared};
use pctr::predict::{Live, LiveModel};
use serde_json::Value;

use crate::bundles;
use crate::service::{Answered, Service, is_json, nesting, relaid};

/// Nesting from which on a request may be refused for it.
const DEEP: usize = 100;

/// A service with small limits.
pub(crate) fn service() -> Service {
    let model = LiveModel::new(bundles::bundle(ModelKind::Ftrl, 1)).expect("it answers");
    Service::new(Shared::new(Arc::new(Live::new(model)), Limits { candidates: 20, batch: 5, ..Limits::default() }))
}

/// Asks both paths, and compares: what is no JSON is refused; white space means nothing; a request gets in a batch what it gets alone.
pub(crate) fn check(service: &Service, body: &[u8]) -> [Answered; 2] {
    let alone = service.ask("/v1/score", body);
    let batch = service.ask("/v1/score/batch", body);
    match is_json(body) {
        None => assert!([&alone, &batch].iter().all(|answer| answer.status == StatusCode::BAD_REQUEST)),
        // There is a limit somewhere, and a batch is nearer to it.
        Some(text) if nesting(text) > DEEP => {}
        Some(text) => {
            for between in ["", " \n"] {
                let relaid = relaid(text, between);
                assert_eq!(sense(&service.ask("/v1/score", relaid.as_bytes())), sense(&alone), "{relaid}");
                assert_eq!(sense(&service.ask("/v1/score/batch", relaid.as_bytes())), sense(&batch), "{relaid}");
            }
            let wrapped = service.ask("/v1/score/batch", format!("{{\"requests\":[{text}]}}").as_bytes());
            assert_eq!(wrapped.status, StatusCode::OK, "{}", wrapped.body);
            let inside = Answered { status: alone.status, body: wrapped.body["answers"][0].clone() };
            assert_eq!(sense(&inside), sense(&alone));
        }
    }
    for candidate in alone.body["candidates"].as_array().into_iter().flatten() {
        let probability = candidate["probability"].as_f64().expect("it is a number");
        assert!(probability > 0.0 && probability < 1.0, "{candidate}");
    }
    [alone, batch]
}

/// What an answer says, without how long it took and how messages put it.
fn sense(answer: &Answered) -> (StatusCode, Vec<Value>) {
    let error = |of: &Value| [of["error"]["kind"].clone(), of["error"]["field"].clone()];
    let body = &answer.body;
    let mut said = vec![body["candidates"].clone()];
    said.extend(error(body));
    for item in body["answers"].as_array().into_iter().flatten() {
        said.push(item["candidates"].clone());
        said.extend(error(item));
    }
    (answer.status, said)
}
