//! Requests of a connection → the code that answers them, with its pace told and its panics caught.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service as _;

use super::pace::Pace;
use crate::predict::http::hot::Task;
use crate::predict::http::refusal::{Refusal, RefusalKind};
use crate::predict::http::{Answer, Shared, refuse};

/// What a listener serves.
#[derive(Debug, Clone)]
pub(in crate::predict::http) struct Paths {
    /// All its paths.
    pub(in crate::predict::http) router: Router,
    /// Whether those of bidders are among them.
    pub(in crate::predict::http) hot: bool,
}

/// A listener's paths for one connection.
pub(super) struct Guarded<Hot> {
    paths: Paths,
    shared: Arc<Shared>,
    pace: Arc<Pace>,
    /// Answers what bidders ask.
    hot: Hot,
}

impl<Hot> Guarded<Hot> {
    pub(super) fn new(paths: Paths, shared: Arc<Shared>, pace: Arc<Pace>, hot: Hot) -> Guarded<Hot> {
        Guarded { paths, shared, pace, hot }
    }
}

impl<Hot, Work> hyper::service::Service<Request<Incoming>> for Guarded<Hot>
where
    Hot: Fn(Arc<Shared>, Task, Request<Incoming>) -> Work,
    Work: Future<Output = Answer>,
{
    type Response = Response<Either<Full<Bytes>, Body>>;
    type Error = Infallible;
    type Future = Answering<Work>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.pace.busy();
        let work = match Task::of(&request).filter(|_| self.paths.hot) {
            Some(task) => Handling::Hot { work: (self.hot)(self.shared.clone(), task, request) },
            None => Handling::Routed { work: self.paths.router.clone().call(request) },
        };
        Answering { work: Caught { work }, shared: self.shared.clone(), pace: self.pace.clone() }
    }
}

pin_project! {
    /// An answer being made.
    pub(super) struct Answering<Work> {
        #[pin]
        work: Caught<Handling<Work>>,
        shared: Arc<Shared>,
        pace: Arc<Pace>,
    }
}

impl<Work: Future<Output = Answer>> Future for Answering<Work> {
    type Output = Result<Response<Either<Full<Bytes>, Body>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.work.poll(context)).unwrap_or_else(|| {
            // What it said went to standard error when it happened.
            tracing::error!("a request made the service panic");
            let refusal = Refusal::new(RefusalKind::Internal, "the service has a bug; please report it");
            refuse(this.shared, &refusal).map(Either::Left)
        });
        this.pace.idle();
        Poll::Ready(Ok(answer))
    }
}

pin_project! {
    /// By whom.
    #[project = HandlingBy]
    enum Handling<Work> {
        Hot { #[pin] work: Work },
        Routed { #[pin] work: RouteFuture<Infallible> },
    }
}

impl<Work: Future<Output = Answer>> Future for Handling<Work> {
    type Output = Response<Either<Full<Bytes>, Body>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            HandlingBy::Hot { work } => work.poll(context).map(|answer| answer.map(Either::Left)),
            HandlingBy::Routed { work } => work.poll(context).map(|Ok(answer)| answer.map(Either::Right)),
        }
    }
}

pin_project! {
    /// A future that ends with nothing when it panics.
    struct Caught<Work> {
        #[pin]
        work: Work,
    }
}

impl<Work: Future> Future for Caught<Work> {
    type Output = Option<Work::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let work = self.project().work;
        match catch_unwind(AssertUnwindSafe(|| work.poll(context))) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panics_are_caught() {
        assert_eq!(Caught { work: Box::pin(async { 5 }) }.await, Some(5));
        let panics = Caught {
            work: Box::pin(async {
                tokio::task::yield_now().await;
                panic!("on purpose")
            }),
        };
        assert_eq!(panics.await, None::<()>);
    }
}
