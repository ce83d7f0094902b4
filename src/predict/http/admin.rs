//! `/v1/models`: what the registry holds, and which model serves; behind a bearer token.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::refusal::{Refusal, RefusalKind};
use super::{AdminSettings, Answer, Shared, json, refuse};
use crate::error::{Error, Kind, Result};
use crate::predict::live::Look;
use crate::registry::{Registry, SchemaChange, Stage};

/// The environment variable that may hold the token.
const VARIABLE: &str = "PCTR_ADMIN_TOKEN";

/// Bytes of the longest body that an admin path takes.
const MOST_BODY: usize = 16 << 10;

/// Least length of a token: shorter ones can be guessed.
const SHORTEST: usize = 16;

/// What an admin must show. Never printed.
pub(super) struct Token(Vec<u8>);

impl Token {
    /// The token of the environment or else of the file, if there is one.
    pub(super) fn find(settings: &AdminSettings) -> Result<Option<Token>> {
        let (text, place) = match (std::env::var(VARIABLE), &settings.token_file) {
            (Ok(text), _) => (text, VARIABLE.to_owned()),
            (Err(_), Some(path)) => {
                (std::fs::read_to_string(path).map_err(Error::io(path, "read"))?, path.display().to_string())
            }
            (Err(_), None) => return Ok(None),
        };
        let token = text.trim();
        if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("expected at least {SHORTEST} visible ASCII characters without spaces");
            return Err(Error::config("admin token", place, message));
        }
        Ok(Some(Token(token.as_bytes().to_vec())))
    }

    /// Whether an `authorization` header shows it. Takes the same time wherever the two differ.
    fn is_shown(&self, header: &[u8]) -> bool {
        let Some((scheme, shown)) = header.split_at_checked(7) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") || shown.len() != self.0.len() {
            return false;
        }
        let differing = shown.iter().zip(&self.0).fold(0, |bits, (a, b)| bits | std::hint::black_box(a ^ b));
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

pub(super) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/models", get(answer_models))
        .route("/v1/models/promote", post(answer_promote))
        .route("/v1/models/rollback", post(answer_rollback))
        .layer(from_fn_with_state(shared.clone(), ask_for_token))
}

async fn ask_for_token(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    let refusal = |message| refuse(&shared, &Refusal::new(RefusalKind::Unauthorized, message)).map(Body::new);
    match (&shared.token, shown) {
        (Some(token), Some(shown)) if token.is_shown(shown.as_bytes()) => next.run(request).await,
        (_, Some(_)) => refusal("the token is not the one expected"),
        (_, None) => refusal("expected the header authorization: Bearer TOKEN"),
    }
}

async fn answer_models(State(shared): State<Arc<Shared>>) -> Answer {
    #[derive(Serialize)]
    struct Model {
        model: String,
        published: Option<String>,
        stages: Vec<String>,
        problem: Option<String>,
        manifest: Option<serde_json::Value>,
    }

    #[derive(Serialize)]
    struct Answer {
        serving: String,
        stage: Option<String>,
        models: Vec<Model>,
    }

    let serving = shared.live.model().name().to_owned();
    let followed = shared.registry.clone();
    let listed = blocking(move || {
        let Some((registry, stage)) = followed else { return Ok(Answer { serving, stage: None, models: Vec::new() }) };
        let model = |listed: crate::registry::Listed| Model {
            model: listed.model,
            published: listed.published,
            stages: listed.stages,
            problem: listed.problem,
            manifest: listed.manifest.and_then(|manifest| serde_json::to_value(manifest).ok()),
        };
        let models = registry.list()?.into_iter().map(model).collect();
        Ok(Answer { serving, stage: Some(stage), models })
    });
    answer(&shared, listed.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promotion {
    model: String,
    /// Whether rows of another schema are taken.
    #[serde(default)]
    force: bool,
}

async fn answer_promote(State(shared): State<Arc<Shared>>, body: Body) -> Answer {
    let Ok(body) = to_bytes(body, MOST_BODY).await else {
        return refuse(&shared, &Refusal::too_large(MOST_BODY));
    };
    let promotion: Promotion = match serde_json::from_slice(&body) {
        Ok(promotion) => promotion,
        Err(error) => {
            let message = format!("expected {{\"model\": NAME, \"force\": false}}: {error}");
            return refuse(&shared, &Refusal::new(RefusalKind::InvalidJson, message));
        }
    };
    let schema = if promotion.force { SchemaChange::Allow } else { SchemaChange::Refuse };
    change(&shared, move |registry, stage| registry.promote(&promotion.model, stage, schema)).await
}

async fn answer_rollback(State(shared): State<Arc<Shared>>) -> Answer {
    change(&shared, Registry::rollback).await
}

/// Changes the stage that is served. When this answers, the change is durable and the model in use.
async fn change(shared: &Shared, change: impl FnOnce(&Registry, &str) -> Result<Stage> + Send + 'static) -> Answer {
    let Some((registry, stage)) = shared.registry.clone() else {
        let message = "one bundle is served for good; start with --registry to change it";
        return refuse(shared, &Refusal::new(RefusalKind::NoRegistry, message));
    };
    let live = shared.live.clone();
    let changed = blocking(move || {
        let stage = change(&registry, &stage)?;
        match live.look_now() {
            Some(Look::Refused(refused)) => {
                let message = format!("it is promoted, but this service cannot serve it: {}", refused.reason);
                Err(Error::bundle(&stage.model, message))
            }
            Some(Look::Same | Look::Swapped(_)) | None => Ok(stage),
        }
    });
    answer(shared, changed.await)
}

fn answer(shared: &Shared, done: Result<impl Serialize>) -> Answer {
    let written = done.and_then(|done| serde_json::to_string(&done).map_err(|error| Error::Bug(error.to_string())));
    match written {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => {
            let kind = match error.kind() {
                Kind::Config => RefusalKind::UnknownModel,
                Kind::Bundle | Kind::Data => RefusalKind::ModelRefused,
                Kind::Io | Kind::Interrupted | Kind::Bug => RefusalKind::Internal,
            };
            refuse(shared, &Refusal::new(kind, error.to_string()))
        }
    }
}

/// Files are read off the threads that answer.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::Bug(error.to_string())))
}
