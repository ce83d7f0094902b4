//! Bodies of `POST /v1/score` and `POST /v1/score/batch` ↔ fields and probabilities.

mod answer;
mod objects;
mod request;

use serde_json::value::RawValue;

pub(super) use answer::{Item, answer, batch};
pub(super) use request::{Request, Rules};

use super::refusal::{Refusal, RefusalKind};
use super::settings::Unknown;
use crate::error::nearest;
use objects::{each_field, items};

/// A body's one JSON value.
pub(super) fn document(body: &[u8]) -> Result<&RawValue, Refusal> {
    let body = std::str::from_utf8(body).map_err(|error| {
        let message = format!("expected UTF-8, got another byte at {}", error.valid_up_to());
        Refusal::new(RefusalKind::InvalidJson, message)
    })?;
    serde_json::from_str(body)
        .map_err(|error| Refusal::new(RefusalKind::InvalidJson, format!("the body is no JSON: {error}")))
}

/// The requests of a batch, at most `most`.
pub(super) fn requests(body: &RawValue, most: usize, unknown: Unknown) -> Result<Vec<&RawValue>, Refusal> {
    let mut requests = None;
    each_field(body, "the body", |key, value| match &*key {
        "requests" if requests.is_some() => {
            let message = "the body: requests stands there twice";
            Err(Refusal::of_field(RefusalKind::DuplicateField, "requests", message))
        }
        "requests" => {
            requests = Some(value);
            Ok(())
        }
        _ if unknown == Unknown::Ignore => Ok(()),
        key => {
            let message = format!("the body: expected requests, got {key:?}{}", nearest(key, ["requests"]));
            Err(Refusal::of_field(RefusalKind::UnknownField, key, message))
        }
    })?;
    let missing = || Refusal::of_field(RefusalKind::NoRequests, "requests", "the body: requests is missing");
    let requests = items("requests", requests.ok_or_else(missing)?, most, RefusalKind::BatchTooLong)?;
    if requests.is_empty() {
        let message = "requests: expected at least one, got an empty list";
        return Err(Refusal::of_field(RefusalKind::NoRequests, "requests", message));
    }
    Ok(requests)
}
