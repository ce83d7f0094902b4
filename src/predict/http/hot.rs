//! The paths that bidders call: request → answer, with as little as possible between.
//!
//! They stand in the router like all others. A connection calls them past it, since the router would box the body, its answer and the
//! work between.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::routing::post;
use bytes::Bytes;
use hyper::body::Body;

use super::intake::take;
use super::{Answer, Shared, bidding, scoring};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Score,
    Batch,
    Bid,
}

/// Where.
const PATHS: [(&str, Task); 3] =
    [("/v1/score", Task::Score), ("/v1/openrtb", Task::Bid), ("/v1/score/batch", Task::Batch)];

impl Task {
    /// What a request asks for; `None` for whatever else there is.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Task> {
        let path = request.uri().path();
        PATHS.iter().find(|(known, _)| *known == path && *request.method() == Method::POST).map(|(_, task)| *task)
    }
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    PATHS.into_iter().fold(Router::new(), |router, (path, task)| {
        router.route(path, post(move |State(shared), request: Request| answer(shared, task, request)))
    })
}

/// Answers a request, whatever is wrong with it.
pub(super) fn answer<B>(shared: Arc<Shared>, task: Task, request: Request<B>) -> impl Future<Output = Answer>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let work = match task {
        Task::Score => scoring::answer_score,
        Task::Batch => scoring::answer_batch,
        Task::Bid => bidding::answer_bid,
    };
    take(shared, request, work)
}
