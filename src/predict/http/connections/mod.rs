//! Sockets → requests of the router, within limits: how many connections, how long a head, how slow a client.
//!
//! hyper reads HTTP/1.1; what is added here is what a service on an open port needs: connections beyond the limit are told so
//! and closed, a client that is slow with its head or silent for long is closed, a panic is answered with 500, and when the
//! service is told to stop, idle connections close at once and the others after their answer.

mod dozing;
mod guard;
mod pace;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

use super::refusal::{Refusal, RefusalKind};
use super::tls::{Acceptor, handshake};
use super::{Limits, Shared, hot};
use dozing::Dozing;
use guard::Guarded;
pub(super) use guard::Paths;
use pace::{Pace, Paced};

/// Pause after the system had no socket to give.
const PAUSE: Duration = Duration::from_millis(20);

/// Connections that the system may make before they are taken; it has a bound of its own too (`net.core.somaxconn`). One more waits
/// for the client to try again a second later, so a burst of clients must fit: 128, as is usual, is soon full. As many are still
/// taken after the order to stop.
const BACKLOG: u32 = 4096;

/// Opens a listener for at most so many connections, inside the runtime that will serve it.
pub(super) fn listen(address: SocketAddr, most: usize) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A service that starts again takes the address at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    make_room(&socket, most);
    socket.listen(BACKLOG)
}

/// Has the system make its table of this process's files as large as it will get, by a number that is used for a moment.
///
/// Linux doubles the table when it is full, and in a process of several threads whoever connects then waits until all processors
/// have seen the new one: 10 to 15 ms, in which nobody is answered.
fn make_room(socket: &TcpSocket, most: usize) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(1);
    let number = i32::try_from(limit.min(most as u64)).unwrap_or(i32::MAX);
    if let Err(error) = fcntl_dupfd_cloexec(socket, number) {
        tracing::debug!("no room made for {number} files: {error}");
    }
}

/// Serves a listener until `stop` turns true, then until its connections have ended, at most the grace.
pub(super) async fn serve(
    listener: TcpListener,
    paths: Paths,
    tls: Option<Acceptor>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let most = shared.options.limits.connections;
    let open = Arc::new(Semaphore::new(most));
    let begin = |stream| match open.clone().try_acquire_owned() {
        Ok(place) => drop(tokio::spawn(begin(stream, paths.clone(), tls.clone(), shared.clone(), stop.clone(), place))),
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
    paths: Paths,
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
        None => converse(stream, paths, &shared, stop).await,
        Some(tls) => {
            let patience = Duration::from_millis(shared.options.limits.header_ms);
            match tokio::time::timeout(patience, handshake(tls, stream)).await {
                Ok(Ok(stream)) => converse(stream, paths, &shared, stop).await,
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
async fn converse<Stream>(stream: Stream, paths: Paths, shared: &Arc<Shared>, mut stop: watch::Receiver<bool>)
where
    Stream: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &shared.options.limits;
    let pace = Arc::new(Pace::new());
    let service = Guarded::new(paths, shared.clone(), pace.clone(), hot::answer);
    let io = TokioIo::new(Paced::new(stream, pace.clone()));
    let mut builder = http1::Builder::new();
    // An answer goes out in one piece: copying it costs less than having the system gather it.
    builder.header_read_timeout(None).max_buf_size(limits.header_bytes).pipeline_flush(true).writev(false);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut stopping = *stop.borrow();
    if stopping {
        connection.as_mut().graceful_shutdown();
    }
    let mut look = pin!(tokio::time::sleep(pace.next_look(limits).unwrap_or_default()));
    loop {
        let mut aside = pin!(Dozing::new(aside(&mut stop, stopping, look.as_mut(), &pace, limits)));
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
            aside = aside.as_mut() => match aside {
                Aside::Stopped => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                Aside::TooSlow => return,
            },
        }
    }
}

/// What comes between a connection and its next request.
enum Aside {
    /// The service is to end.
    Stopped,
    /// The client takes too long.
    TooSlow,
}

async fn aside(
    stop: &mut watch::Receiver<bool>,
    stopping: bool,
    mut look: Pin<&mut Sleep>,
    pace: &Pace,
    limits: &Limits,
) -> Aside {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop), if !stopping => return Aside::Stopped,
            () = look.as_mut() => match pace.next_look(limits) {
                Some(after) => look.as_mut().reset(Instant::now() + after),
                None => return Aside::TooSlow,
            },
        }
    }
}
