//! What a connection is doing → how long it may go on like that.
//!
//! hyper can limit the time of a head; it cannot limit silence. So the stream tells when bytes came, the service when it began and ended
//! an answer, and who watches the connection looks now and then.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::predict::http::Limits;

/// What a connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Pace {
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
    pub(super) fn new() -> Pace {
        let pace = Pace { phase: AtomicU64::new(IDLE) };
        pace.begin(IDLE);
        pace
    }

    fn begin(&self, phase: u64) {
        self.phase.store(now() << 2 | phase, Ordering::Relaxed);
    }

    /// The router has a request; how long it takes is not looked at here.
    pub(super) fn busy(&self) {
        self.phase.store(BUSY, Ordering::Relaxed);
    }

    /// The router has answered.
    pub(super) fn idle(&self) {
        self.begin(IDLE);
    }

    /// Bytes came.
    fn read(&self) {
        if self.phase.load(Ordering::Relaxed) & 3 == IDLE {
            self.begin(HEAD);
        }
    }

    /// How long until its pace must be looked at again; `None` when it is too slow.
    pub(super) fn next_look(&self, limits: &Limits) -> Option<Duration> {
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
pub(super) struct Paced<Stream> {
    stream: Stream,
    pace: Arc<Pace>,
}

impl<Stream> Paced<Stream> {
    pub(super) fn new(stream: Stream, pace: Arc<Pace>) -> Paced<Stream> {
        Paced { stream, pace }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
        pace.busy();
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.next_look(&limits).is_some(), "what is being answered is not ended here");
        pace.idle();
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.next_look(&limits).is_none());
    }
}
