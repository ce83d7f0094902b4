//! The service as a process runs it: socket, threads, the registry followed, and a clean end.
//!
//! Callers are synchronous; the async runtime lives and ends in here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admin::Token;
use super::connections::Paths;
use super::tls::{self, Acceptor};
use super::{ServeOptions, Shared, Source, admin, app, connections};
use crate::error::{Error, Result};
use crate::predict::live::{Event, Follower, Keeper, KeeperOptions, Live, LiveModel};
use crate::predict::log::RequestLog;
use crate::predict::openrtb::Bidder;
use crate::registry::Registry;

/// File of a registry in which the services that follow it say what they served.
const SERVED_FILE: &str = "served.jsonl";

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
/// Config when a setting is out of its bounds or nothing is promoted; bundle when the model is refused; io when an address
/// cannot be had.
pub fn spawn(options: &ServeOptions) -> Result<ServerHandle> {
    options.check()?;
    let token = Token::find(&options.admin)?;
    let tls = tls::acceptor(&options.tls)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut ledger = options.swap.ledger.clone();
    let (follower, registry, model) = match options.source()? {
        Source::Bundle(folder) => (None, None, LiveModel::open(&folder)?),
        Source::Registry { folder, stage } => {
            let registry = Registry::open(&folder)?;
            let (follower, model) = Follower::new(registry.clone(), &stage, options.swap.clone())?;
            ledger.get_or_insert_with(|| folder.join(SERVED_FILE));
            (Some(follower), Some((registry, stage)), model)
        }
    };
    let name = model.name().to_owned();
    let bidder = Bidder::open(&options.openrtb, &model)?;
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let options = ServeOptions { threads, ..options.clone() };
    let wants_admin = token.is_some() && !options.admin.shared_listener;
    let live = Arc::new(Live::new(model));
    let log = RequestLog::start(&options.request_log)?;
    let shared = Arc::new(Shared::with(live.clone(), options.clone(), bidder, registry, token, log));

    let place = PathBuf::from(options.listen.to_string());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).thread_name("answer").enable_all().build();
    let runtime = runtime.map_err(Error::io(&place, "start threads for"))?;
    let (stop, stopped) = watch::channel(false);
    let mut listeners = Listeners { runtime: &runtime, serving: JoinSet::new(), shared: shared.clone(), stopped };
    let local_addr = listeners.open(options.listen, Paths { router: app(shared.clone()), hot: true }, tls)?;
    let admin_addr = match wants_admin {
        true => {
            Some(listeners.open(options.admin.listen, Paths { router: admin(shared.clone()), hot: false }, None)?)
        }
        false => None,
    };
    let serving = listeners.serving;
    let poll = Duration::from_millis(options.poll_ms);
    let service = format!("{local_addr}, process {}", std::process::id());
    let keeper = Keeper::start(live, follower, KeeperOptions { poll, ledger, service }, move |event| {
        note(&shared, &event);
    });
    let keeper = keeper.map_err(Error::io(&place, "start threads for"))?;
    tracing::info!("serving {name} on {scheme}://{local_addr}");
    if let Some(admin_addr) = admin_addr {
        tracing::info!("admin paths on http://{admin_addr}");
    }
    Ok(ServerHandle { local_addr, admin_addr, stop, serving, keeper, runtime })
}

/// Listeners being opened.
struct Listeners<'a> {
    runtime: &'a Runtime,
    serving: JoinSet<()>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
}

impl Listeners<'_> {
    /// Serves `paths` on `address`; the address it got.
    fn open(&mut self, address: SocketAddr, paths: Paths, tls: Option<Acceptor>) -> Result<SocketAddr> {
        let place = PathBuf::from(address.to_string());
        let _inside = self.runtime.enter();
        let most = self.shared.options.limits.connections;
        let listener = connections::listen(address, most).map_err(Error::io(&place, "listen on"))?;
        let local_addr = listener.local_addr().map_err(Error::io(&place, "listen on"))?;
        let serving = connections::serve(listener, paths, tls, self.shared.clone(), self.stopped.clone());
        self.serving.spawn_on(serving, self.runtime.handle());
        Ok(local_addr)
    }
}

/// A running service. Dropped, it stops at once.
#[derive(Debug)]
pub struct ServerHandle {
    local_addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
    keeper: Keeper,
    runtime: Runtime,
}

impl ServerHandle {
    /// Where it listens to clients.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where it listens to admins, when they have a listener of their own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Tells it to take no more connections and to finish the requests it has. Returns at once.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
    }

    /// Stops it and waits until all its requests are answered, at most the grace of its limits.
    ///
    /// # Errors
    /// Bug when the service panicked.
    pub fn join(mut self) -> Result<()> {
        self.shutdown();
        let mut ended = Ok(());
        while let Some(served) = self.runtime.block_on(self.serving.join_next()) {
            ended = ended.and(served.map_err(|panicked| Error::Bug(panicked.to_string())));
        }
        drop(self.keeper);
        self.runtime.shutdown_timeout(Duration::from_millis(100));
        ended
    }
}

/// Counts what the keeper tells.
fn note(shared: &Shared, event: &Event<'_>) {
    shared.story.add(event);
    match event {
        Event::Tick => shared.meters.tick(Instant::now()),
        Event::Swapped { from, to, .. } => shared.meters.swapped(&from.bundle.manifest, &to.bundle.manifest),
        Event::Refused(_) => shared.meters.refused_model(),
    }
}

/// Resolves at the first SIGINT or SIGTERM.
async fn told_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(Error::io(Path::new("signals"), "listen to"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
