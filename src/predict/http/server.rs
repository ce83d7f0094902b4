//! The service as a process runs it: socket, threads, the registry followed, and a clean end.
//!
//! Callers are synchronous; the async runtime lives and ends in here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{Limits, Shared, app};
use crate::error::{Error, Result};
use crate::predict::live::{Follower, Live, LiveModel, Look};
use crate::registry::Registry;

/// How long requests that are being answered may take once the service is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where the model comes from.
    pub source: Source,
    /// Address and port to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// What a request may ask for at most.
    pub limits: Limits,
    /// Threads that answer; `None` for one a core.
    pub threads: Option<usize>,
    /// Time between two looks at the registry.
    pub poll: Duration,
}

/// Where the model comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// One bundle, for good.
    Bundle(PathBuf),
    /// What a stage of a registry serves, followed while serving.
    Registry {
        /// Folder of the registry.
        folder: PathBuf,
        /// The stage.
        stage: String,
    },
}

impl ServeOptions {
    /// Serves `source` on 127.0.0.1:8080 within the default limits; looks at a registry every second.
    pub fn new(source: Source) -> Self {
        ServeOptions {
            source,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            limits: Limits::default(),
            threads: None,
            poll: Duration::from_secs(1),
        }
    }
}

/// Serves until the process is told to stop (SIGINT, SIGTERM), then finishes the requests it has.
///
/// `started` is called once the service answers.
///
/// # Errors
/// Whatever [`spawn`] answers.
pub fn serve(options: &ServeOptions, started: impl FnOnce(&ServerHandle) -> Result<()>) -> Result<()> {
    let handle = spawn(options)?;
    started(&handle)?;
    handle.runtime.block_on(told_to_stop())?;
    tracing::info!("stopping");
    handle.join()
}

/// Starts the service beside the caller. Not to be called, nor the handle used, inside an async runtime.
///
/// # Errors
/// Config when nothing is promoted; bundle when the model is refused; io when the address cannot be had.
pub fn spawn(options: &ServeOptions) -> Result<ServerHandle> {
    let (follower, model) = match &options.source {
        Source::Bundle(folder) => (None, LiveModel::open(folder)?),
        Source::Registry { folder, stage } => {
            let (follower, model) = Follower::new(Registry::open(folder)?, stage)?;
            (Some(follower), model)
        }
    };
    let name = model.name().to_owned();
    let shared = Shared::new(Arc::new(Live::new(model)), options.limits);

    let address = PathBuf::from(options.listen.to_string());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = options.threads {
        builder.worker_threads(threads.max(1));
    }
    let runtime =
        builder.thread_name("answer").enable_all().build().map_err(Error::io(&address, "start threads for"))?;
    let listener = runtime.block_on(TcpListener::bind(options.listen)).map_err(Error::io(&address, "listen on"))?;
    let local_addr = listener.local_addr().map_err(Error::io(&address, "listen on"))?;
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!("connection without TCP_NODELAY: {error}");
        }
    });

    let (stop, mut stopped) = watch::channel(false);
    let service = axum::serve(listener, app(shared.clone()))
        .with_graceful_shutdown(async move { stopped.wait_for(|stop| *stop).await.map_or((), |_| ()) });
    let answering = runtime.spawn(async move { service.await });
    let keeper = Keeper::start(shared, follower, options.poll).map_err(Error::io(&address, "start threads for"))?;
    tracing::info!("serving {name} on http://{local_addr}");
    Ok(ServerHandle { local_addr, stop, answering, keeper, runtime })
}

/// A running service. Dropped, it stops at once.
#[derive(Debug)]
pub struct ServerHandle {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    answering: tokio::task::JoinHandle<std::io::Result<()>>,
    keeper: Keeper,
    runtime: Runtime,
}

impl ServerHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Tells it to take no more connections and to finish the requests it has. Returns at once.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
    }

    /// Stops it and waits until all its requests are answered, at most ten seconds.
    ///
    /// # Errors
    /// Io when the socket broke; bug when the service panicked.
    pub fn join(self) -> Result<()> {
        self.shutdown();
        let ended = self.runtime.block_on(async { tokio::time::timeout(GRACE, self.answering).await });
        drop(self.keeper);
        self.runtime.shutdown_timeout(Duration::from_millis(100));
        match ended {
            Ok(Ok(served)) => served.map_err(Error::io(&PathBuf::from(self.local_addr.to_string()), "serve on")),
            Ok(Err(panicked)) => Err(Error::Bug(panicked.to_string())),
            Err(_) => {
                tracing::warn!("some requests took longer than {} s to end; dropped", GRACE.as_secs());
                Ok(())
            }
        }
    }
}

/// The thread that follows the registry and keeps the meters small, off the threads that answer.
#[derive(Debug)]
struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keeper {
    fn start(shared: Arc<Shared>, mut follower: Option<Follower>, poll: Duration) -> std::io::Result<Keeper> {
        let (stop, stopped) = channel::<()>();
        let thread = thread::Builder::new().name("registry".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(poll) {
                shared.meters.upkeep();
                if let Some(follower) = &mut follower {
                    follow(follower, &shared);
                }
            }
        })?;
        Ok(Keeper { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn follow(follower: &mut Follower, shared: &Shared) {
    let before = shared.live.model();
    match follower.look(&shared.live) {
        Look::Same => {}
        Look::Swapped { from, to } => {
            shared.meters.swapped(&before.bundle.manifest, &shared.live.model().bundle.manifest);
            tracing::info!("{to} takes over from {from}");
        }
        Look::Refused(error) => {
            shared.meters.refused_model();
            tracing::error!("{error}; {} goes on serving", before.name());
        }
    }
}

/// Resolves at the first SIGINT or SIGTERM.
async fn told_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(Error::io(&PathBuf::from("signals"), "listen to"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
