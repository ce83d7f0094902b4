//! What is wrong with a request → status and body of the answer.
//!
//! Everything wrong with what a request *says* is 400, whatever it is, so that a client needs one branch; `kind` tells the
//! causes apart, `field` names the field, and `message` says where, what was expected and what was found.

use axum::http::StatusCode;
use serde::Serialize;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The body is no JSON, or no UTF-8.
    InvalidJson,
    /// A field, or a key of the request, is unknown.
    UnknownField,
    /// A field, or a key of the request, stands twice in one object.
    DuplicateField,
    /// A value is of another type than its field takes.
    WrongType,
    /// A numeric field holds something that is no finite number.
    InvalidNumber,
    /// There is no candidate.
    NoCandidates,
    /// There are more candidates than the service takes.
    TooManyCandidates,
    /// The body is longer than the service takes.
    BodyTooLarge,
    /// The body ended early.
    BodyUnreadable,
    /// A field that must be there is missing.
    MissingField,
    /// A value is of the right type and means nothing.
    InvalidValue,
    /// There is no request in a batch.
    NoRequests,
    /// There are more requests in a batch than the service takes.
    BatchTooLong,
    /// The body took longer than the service waits.
    BodyTooSlow,
    /// The bearer token is missing or wrong.
    Unauthorized,
    /// The registry has no such model, or nothing to go back to.
    UnknownModel,
    /// The model did not pass the registry's gate.
    ModelRefused,
    /// The service follows no registry.
    NoRegistry,
    /// There is more work than can be done in time; nothing of the request was tried.
    Overloaded,
    /// No such path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// Our bug.
    Internal,
}

impl RefusalKind {
    /// All kinds.
    pub const ALL: [RefusalKind; 22] = [
        RefusalKind::InvalidJson,
        RefusalKind::UnknownField,
        RefusalKind::DuplicateField,
        RefusalKind::WrongType,
        RefusalKind::InvalidNumber,
        RefusalKind::NoCandidates,
        RefusalKind::TooManyCandidates,
        RefusalKind::BodyTooLarge,
        RefusalKind::BodyUnreadable,
        RefusalKind::MissingField,
        RefusalKind::InvalidValue,
        RefusalKind::NoRequests,
        RefusalKind::BatchTooLong,
        RefusalKind::BodyTooSlow,
        RefusalKind::Unauthorized,
        RefusalKind::UnknownModel,
        RefusalKind::ModelRefused,
        RefusalKind::NoRegistry,
        RefusalKind::Overloaded,
        RefusalKind::NotFound,
        RefusalKind::MethodNotAllowed,
        RefusalKind::Internal,
    ];

    /// As the answer's `kind` and the metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            RefusalKind::InvalidJson => "invalid_json",
            RefusalKind::UnknownField => "unknown_field",
            RefusalKind::DuplicateField => "duplicate_field",
            RefusalKind::WrongType => "wrong_type",
            RefusalKind::InvalidNumber => "invalid_number",
            RefusalKind::NoCandidates => "no_candidates",
            RefusalKind::TooManyCandidates => "too_many_candidates",
            RefusalKind::BodyTooLarge => "body_too_large",
            RefusalKind::BodyUnreadable => "body_unreadable",
            RefusalKind::MissingField => "missing_field",
            RefusalKind::InvalidValue => "invalid_value",
            RefusalKind::NoRequests => "no_requests",
            RefusalKind::BatchTooLong => "batch_too_long",
            RefusalKind::BodyTooSlow => "body_too_slow",
            RefusalKind::Unauthorized => "unauthorized",
            RefusalKind::UnknownModel => "unknown_model",
            RefusalKind::ModelRefused => "model_refused",
            RefusalKind::NoRegistry => "no_registry",
            RefusalKind::Overloaded => "overloaded",
            RefusalKind::NotFound => "not_found",
            RefusalKind::MethodNotAllowed => "method_not_allowed",
            RefusalKind::Internal => "internal",
        }
    }

    /// Status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            RefusalKind::InvalidJson
            | RefusalKind::UnknownField
            | RefusalKind::DuplicateField
            | RefusalKind::WrongType
            | RefusalKind::InvalidNumber
            | RefusalKind::NoCandidates
            | RefusalKind::TooManyCandidates
            | RefusalKind::BodyUnreadable
            | RefusalKind::MissingField
            | RefusalKind::InvalidValue
            | RefusalKind::NoRequests
            | RefusalKind::BatchTooLong => StatusCode::BAD_REQUEST,
            RefusalKind::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            RefusalKind::Unauthorized => StatusCode::UNAUTHORIZED,
            RefusalKind::ModelRefused | RefusalKind::NoRegistry => StatusCode::CONFLICT,
            RefusalKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RefusalKind::NotFound | RefusalKind::UnknownModel => StatusCode::NOT_FOUND,
            RefusalKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            RefusalKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A refused request.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) kind: RefusalKind,
    pub(super) message: String,
    pub(super) field: Option<String>,
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, message: impl Into<String>) -> Refusal {
        Refusal { kind, message: message.into(), field: None }
    }

    pub(super) fn of_field(kind: RefusalKind, field: &str, message: impl Into<String>) -> Refusal {
        Refusal { kind, message: message.into(), field: Some(field.to_owned()) }
    }

    /// The body is longer than `most` bytes.
    pub(super) fn too_large(most: usize) -> Refusal {
        Refusal::new(RefusalKind::BodyTooLarge, format!("expected a body of at most {most} bytes"))
    }

    /// As answers show it.
    pub(super) fn told(&self) -> Told<'_> {
        Told { kind: self.kind.name(), message: &self.message, field: self.field.as_deref() }
    }

    /// The answer's body.
    pub(super) fn body(&self) -> String {
        #[derive(Serialize)]
        struct Answer<'a> {
            error: Told<'a>,
        }

        serde_json::to_string(&Answer { error: self.told() }).expect("strings can be written as JSON")
    }
}

/// A refusal, as answers show it.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    kind: &'static str,
    message: &'a str,
    field: Option<&'a str>,
}
