//! Sockets → requests of the router, within limits: how many connections, how long a head, how slow a client.
//!
//! hyper reads HTTP/1.1; what is added here is what a service on an open port needs: connections beyond the limit are told so
//! and closed, a client that is slow with its head or silent for long is closed, a panic is answered with 500, and when the
//! service is told to stop, idle connections close at once and the others after their answer.

use std::convert::Infallible;
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service as _;

use super::refusal::{Refusal, RefusalKind};
use super::tls::{Acceptor, handshake};
use super::{Limits, Shared, refuse};

/// Pause after the system had no socket to give.
const PAUSE: Duration = Duration::from_millis(20);

/// Connections that the system may make before they are taken; it has a bound of its own too (`net.core.somaxconn`). One more waits
/// for the client to try again a second later, so a burst of clients must fit: 128, as is usual, is soon full. As many are still
/// taken after the order to stop.
const BACKLOG: u32 = 4096;

/// Opens a listener, inside the runtime that will serve it.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A service that starts again takes the address at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a listener until `stop` turns true, then until its connections have ended, at most the grace.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Acceptor>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let most = shared.options.limits.connections;
    let open = Arc::new(Semaphore::new(most));
    let begin = |stream| match open.clone().try_acquire_owned() {
        Ok(place) => {
            drop(tokio::spawn(begin(stream, router.clone(), tls.clone(), shared.clone(), stop.clone(), place)))
        }
        Err(_) => {
            shared.meters.refused(RefusalKind::Overloaded);
            // Who expects keys first could not read it.
            if tls.is_none() {
                turn_away(stream, shared.options.budget.retry_after_s);
            }
        }
    };
    let mut stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => begin(stream),
            Err(error) => {
                tracing::debug!("a connection was not accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    for _ in 0..BACKLOG {
        match tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            Ok(Ok((stream, _))) => begin(stream),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    drop(listener);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let grace = Duration::from_millis(shared.options.limits.grace_ms);
    if tokio::time::timeout(grace, open.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests took longer than {} ms to end; dropped", grace.as_millis());
    }
}

/// Serves a connection that has its place.
async fn begin(
    stream: TcpStream,
    router: Router,
    tls: Option<Acceptor>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) {
    shared.meters.connections().increment(1.0);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("connection without TCP_NODELAY: {error}");
    }
    match tls {
        None => converse(stream, router, &shared, stop).await,
        Some(tls) => {
            let patience = Duration::from_millis(shared.options.limits.header_ms);
            match tokio::time::timeout(patience, handshake(tls, stream)).await {
                Ok(Ok(stream)) => converse(stream, router, &shared, stop).await,
                Ok(Err(error)) => tracing::debug!("no keys were agreed on: {error}"),
                Err(_) => tracing::debug!("no keys were agreed on in time"),
            }
        }
    }
    shared.meters.connections().decrement(1.0);
    drop(place);
}

/// Says that there are too many connections, if the socket takes it at once, and closes.
fn turn_away(stream: TcpStream, retry_after_s: u64) {
    let Ok(mut stream) = stream.into_std() else { return };
    let body = Refusal::new(RefusalKind::Overloaded, "too many connections").body();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: {retry_after_s}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // What was sent and not read would make the system reset the connection instead of ending it.
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(answer.as_bytes());
}

/// Serves one connection to its end.
async fn converse<Stream>(stream: Stream, router: Router, shared: &Arc<Shared>, mut stop: watch::Receiver<bool>)
where
    Stream: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &shared.options.limits;
    let pace = Arc::new(Pace::new());
    let service = Guarded { router, shared: shared.clone(), pace: pace.clone() };
    let io = TokioIo::new(Paced { stream, pace: pace.clone() });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(limits.header_bytes).pipeline_flush(true);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut stopping = *stop.borrow();
    if stopping {
        connection.as_mut().graceful_shutdown();
    }
    let mut look = pin!(tokio::time::sleep(pace.next_look(limits).unwrap_or_default()));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = look.as_mut() => match pace.next_look(limits) {
                Some(after) => look.as_mut().reset(tokio::time::Instant::now() + after),
                // Too slow.
                None => return,
            },
        }
    }
}

/// What a connection is doing, and since when.
#[derive(Debug)]
struct Pace {
    /// When the phase began, in nanoseconds of the system's coarse clock, times 4, plus the phase.
    phase: AtomicU64,
}

/// Waiting for the first byte of a request.
const IDLE: u64 = 0;
/// Reading a request's line and headers.
const HEAD: u64 = 1;
/// The request is in the router.
const BUSY: u64 = 2;

impl Pace {
    fn new() -> Pace {
        let pace = Pace { phase: AtomicU64::new(IDLE) };
        pace.begin(IDLE);
        pace
    }

    fn begin(&self, phase: u64) {
        self.phase.store(now() << 2 | phase, Ordering::Relaxed);
    }

    /// Bytes came.
    fn read(&self) {
        if self.phase.load(Ordering::Relaxed) & 3 == IDLE {
            self.begin(HEAD);
        }
    }

    /// How long until its pace must be looked at again; `None` when it is too slow.
    fn next_look(&self, limits: &Limits) -> Option<Duration> {
        let (header, idle) = (Duration::from_millis(limits.header_ms), Duration::from_millis(limits.idle_ms));
        let state = self.phase.load(Ordering::Relaxed);
        let took = Duration::from_nanos(now().saturating_sub(state >> 2));
        let left = match state & 3 {
            IDLE => idle.checked_sub(took)?,
            HEAD => header.checked_sub(took)?,
            // The router has a limit of its own for the body.
            _ => header,
        };
        // An idle connection may begin a head at any time.
        Some(left.min(header).max(Duration::from_millis(1)))
    }
}

/// Nanoseconds of a clock that never steps, to some milliseconds: every request asks several times, and limits are seconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// A stream that tells its pace.
struct Paced<Stream> {
    stream: Stream,
    pace: Arc<Pace>,
}

impl<Stream: AsyncRead + Unpin> AsyncRead for Paced<Stream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, into));
        if into.filled().len() > before {
            self.pace.read();
        }
        Poll::Ready(read)
    }
}

impl<Stream: AsyncWrite + Unpin> AsyncWrite for Paced<Stream> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The router, with its pace told and its panics caught.
struct Guarded {
    router: Router,
    shared: Arc<Shared>,
    pace: Arc<Pace>,
}

impl hyper::service::Service<Request<Incoming>> for Guarded {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<RouteFuture<Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.pace.begin(BUSY);
        let answer = self.router.clone().call(request);
        Answering { answer: Caught(answer), shared: self.shared.clone(), pace: self.pace.clone() }
    }
}

/// An answer being made.
struct Answering<Answer> {
    answer: Caught<Answer>,
    shared: Arc<Shared>,
    pace: Arc<Pace>,
}

impl<Answer: Future<Output = Result<Response, Infallible>> + Unpin> Future for Answering<Answer> {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context)).unwrap_or_else(|| {
            // What it said went to standard error when it happened.
            tracing::error!("a request made the service panic");
            let refusal = Refusal::new(RefusalKind::Internal, "the service has a bug; please report it");
            Ok(refuse(&self.shared, &refusal))
        });
        self.pace.begin(IDLE);
        Poll::Ready(answer)
    }
}

/// A future that ends with nothing when it panics.
struct Caught<Work>(Work);

impl<Work: Future + Unpin> Future for Caught<Work> {
    type Output = Option<Work::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(context))) {
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
        assert_eq!(Caught(Box::pin(async { 5 })).await, Some(5));
        let panics = Caught(Box::pin(async {
            tokio::task::yield_now().await;
            panic!("on purpose")
        }));
        assert_eq!(panics.await, None::<()>);
    }

    #[test]
    fn pace_ends_what_is_slow() {
        let limits = Limits { header_ms: 10, idle_ms: 40, ..Limits::default() };
        let pace = Pace::new();
        assert!(pace.next_look(&limits).is_some_and(|after| after <= Duration::from_millis(10)));
        std::thread::sleep(Duration::from_millis(15));
        assert!(pace.next_look(&limits).is_some(), "silence may last longer than a head");
        pace.read();
        std::thread::sleep(Duration::from_millis(15));
        pace.read();
        assert!(pace.next_look(&limits).is_none(), "a head counts from its first byte");
        pace.begin(BUSY);
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.next_look(&limits).is_some(), "what is being answered is not ended here");
        pace.begin(IDLE);
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.next_look(&limits).is_none());
    }
}
