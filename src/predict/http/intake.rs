//! A request as it comes from the socket → its whole body, its budget and a place to be scored in.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use super::admission::{Counted, TurnedAway};
use super::refusal::{Refusal, RefusalKind};
use super::settings::MOST_BUDGET;
use super::{Answer, Limits, Shared, refuse};

/// The header that gives a request's budget.
static BUDGET: HeaderName = HeaderName::from_static("x-budget-us");
/// The header that names a request.
static ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that has its place.
pub(super) struct Arrived<'a> {
    /// Its body, whole.
    pub(super) body: &'a [u8],
    /// When its last byte was read.
    pub(super) at: Instant,
    /// What its header gives it, if it does.
    pub(super) asked: Option<Duration>,
    /// What its header calls it, if it does.
    pub(super) id: Option<&'a str>,
}

impl Arrived<'_> {
    /// What it may take, from its arrival: what its header says, or else `otherwise`.
    pub(super) fn budget(&self, otherwise: Duration) -> Duration {
        self.asked.unwrap_or(otherwise)
    }
}

/// Reads a request, waits for its place, and lets `work` answer it there; whatever goes wrong is answered too.
///
/// What a request does not need is let go before: hyper and its caller move the future as a whole.
pub(super) fn take<B>(
    shared: Arc<Shared>,
    request: Request<B>,
    work: impl FnOnce(&Shared, &Arrived<'_>) -> Result<Answer, Refusal>,
) -> impl Future<Output = Answer>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let (head, mut body) = request.into_parts();
    let headers = head.headers;
    async move {
        let answer = async {
            let limits = &shared.options.limits;
            let length = content_length(&headers);
            if length.is_some_and(|length| length > limits.body_bytes) {
                return Err(Refusal::too_large(limits.body_bytes));
            }
            let _memory = Counted::within(&shared.bodies, length.unwrap_or(limits.body_bytes), limits.bodies_bytes)
                .ok_or_else(|| overloaded(shared.admission.expected_wait()))?;
            let asked = budget(&headers)?;
            let body = read(limits, &mut body).await?;
            let at = Instant::now();
            let left = asked.unwrap_or(Duration::from_micros(shared.options.budget.default_us));
            let place = shared.admission.enter(body.len(), at, left).await;
            let place = place.map_err(|TurnedAway(expected)| overloaded(expected))?;
            shared.meters.waited(place.waited);
            let id = headers.get(&ID).and_then(|id| id.to_str().ok());
            work(&shared, &Arrived { body: &body, at, asked, id })
        };
        answer.await.unwrap_or_else(|refusal| refuse(&shared, &refusal))
    }
}

async fn read(limits: &Limits, body: impl Body<Data = Bytes, Error: Display> + Unpin) -> Result<Bytes, Refusal> {
    let mut whole = pin!(gather(body, limits.body_bytes));
    // Most bodies came with their heads and need no timer.
    match poll_fn(|context| Poll::Ready(whole.as_mut().poll(context))).await {
        Poll::Ready(whole) => whole,
        Poll::Pending => {
            Box::pin(tokio::time::timeout(Duration::from_millis(limits.body_ms), whole)).await.unwrap_or_else(|_| {
                let message = format!("expected the body within {} ms", limits.body_ms);
                Err(Refusal::new(RefusalKind::BodyTooSlow, message))
            })
        }
    }
}

/// A body of at most `most` bytes. One that comes in one part, as most do, is not copied.
async fn gather(mut body: impl Body<Data = Bytes, Error: Display> + Unpin, most: usize) -> Result<Bytes, Refusal> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame
            .map_err(|error| Refusal::new(RefusalKind::BodyUnreadable, format!("the body cannot be read: {error}")))?;
        // What is no data is a trailer, which nobody asked for.
        let Ok(part) = frame.into_data() else { continue };
        if part.len() > most - first.len().max(all.len()) {
            return Err(Refusal::too_large(most));
        }
        match (first.is_empty(), all.is_empty()) {
            (true, true) => first = part,
            (false, true) => all = [&first[..], &part].concat(),
            _ => all.extend_from_slice(&part),
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn budget(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(&BUDGET) else { return Ok(None) };
    let micros: Option<u64> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match micros.map(Duration::from_micros).filter(|budget| (1..=MOST_BUDGET.as_micros()).contains(&budget.as_micros()))
    {
        Some(budget) => Ok(Some(budget)),
        None => {
            let message = format!(
                "header {BUDGET}: expected microseconds, 1 to {}, got {:?}",
                MOST_BUDGET.as_micros(),
                String::from_utf8_lossy(value.as_bytes())
            );
            Err(Refusal::of_field(RefusalKind::InvalidValue, BUDGET.as_str(), message))
        }
    }
}

fn overloaded(expected: Duration) -> Refusal {
    let message = format!("too busy: a wait of {} µs is to be expected", expected.as_micros());
    Refusal::new(RefusalKind::Overloaded, message)
}
