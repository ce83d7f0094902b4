//! The thread that keeps a service: it follows the registry, writes the ledger, and tells those who count.
//!
//! It gives way to requests, so that opening and warming a model takes only the time that they leave.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::{Entry, Happening};
use super::{Follower, Live, LiveModel, Look, RefusedBundle, Swap};
use crate::predict::background::give_way;

/// What the keeper needs to know.
#[derive(Debug, Clone)]
pub struct KeeperOptions {
    /// Time between two looks at the registry.
    pub poll: Duration,
    /// File that says what served when.
    pub ledger: Option<PathBuf>,
    /// Which service this is, as the ledger names it.
    pub service: String,
}

/// What the keeper tells.
#[derive(Debug)]
pub enum Event<'a> {
    /// Time has passed: meters may be folded.
    Tick,
    /// Another model is in use.
    Swapped {
        /// The model before.
        from: &'a LiveModel,
        /// The model now.
        to: &'a LiveModel,
        /// What was found on the way.
        swap: &'a Swap,
    },
    /// A bundle should serve and cannot.
    Refused(&'a RefusedBundle),
}

/// Someone waits for a look at the registry.
pub(super) type Asks = Sender<Sender<Look>>;

/// Asks the keeper for a look and waits for the answer; `None` when it has ended.
pub(super) fn ask(asks: &Asks) -> Option<Look> {
    let (answer, answered) = channel();
    asks.send(answer).ok()?;
    answered.recv().ok()
}

/// The running thread. Dropped, it ends after what it is at.
#[derive(Debug)]
pub struct Keeper {
    live: Arc<Live>,
    thread: Option<thread::JoinHandle<()>>,
    stop: Option<Sender<Sender<Look>>>,
}

impl Keeper {
    /// Starts to keep `live`: with a follower it follows the registry; always it ticks.
    ///
    /// # Errors
    /// What the system answers when it has no thread.
    pub fn start(
        live: Arc<Live>,
        follower: Option<Follower>,
        options: KeeperOptions,
        tell: impl FnMut(Event<'_>) + Send + 'static,
    ) -> std::io::Result<Keeper> {
        let KeeperOptions { poll, ledger, service } = options;
        let (asks, asked) = channel();
        if let (true, Ok(mut keeper)) = (follower.is_some(), live.keeper.lock()) {
            *keeper = Some(asks.clone());
        }
        let mut work = Work { live: live.clone(), follower, ledger, service, tell };
        let thread = thread::Builder::new().name("keeper".into()).spawn(move || {
            give_way();
            work.run(&asked, poll);
        })?;
        Ok(Keeper { live, thread: Some(thread), stop: Some(asks) })
    }
}

/// Longest time between two ticks.
const TICK: Duration = Duration::from_secs(1);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Ok(mut keeper) = self.live.keeper.lock() {
            *keeper = None;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work<Tell> {
    live: Arc<Live>,
    follower: Option<Follower>,
    ledger: Option<PathBuf>,
    service: String,
    tell: Tell,
}

impl<Tell: FnMut(Event<'_>)> Work<Tell> {
    /// Until nobody can ask any more.
    fn run(&mut self, asked: &Receiver<Sender<Look>>, poll: Duration) {
        let began = Entry::new(Happening::Began, &self.service, Some(self.live.model().name().to_owned()));
        self.record(&Entry { change: self.follower.as_ref().map(Follower::change), ..began });
        let mut looked = Instant::now();
        loop {
            match asked.recv_timeout(poll.saturating_sub(looked.elapsed()).min(TICK)) {
                Err(RecvTimeoutError::Timeout) => {
                    (self.tell)(Event::Tick);
                    if looked.elapsed() >= poll {
                        looked = Instant::now();
                        self.look();
                    }
                }
                Ok(asker) => {
                    let _ = asker.send(self.look());
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.record(&Entry::new(Happening::Ended, &self.service, Some(self.live.model().name().to_owned())));
    }

    fn look(&mut self) -> Look {
        let Some(follower) = &mut self.follower else { return Look::Same };
        let before = self.live.model_arc();
        let look = follower.look(&self.live);
        match &look {
            Look::Same => {}
            Look::Swapped(swap) => {
                let (from, to, ms) = (&swap.from, &swap.to, swap.prepared.as_secs_f64() * 1e3);
                match &swap.warning {
                    None => tracing::info!("{to} takes over from {from} after {ms:.0} ms of preparation"),
                    Some(warning) => tracing::warn!("{to} takes over from {from}, though {warning}"),
                }
                (self.tell)(Event::Swapped { from: &before, to: &self.live.model_arc(), swap });
                self.record(&Entry::took_over(&self.service, swap));
            }
            Look::Refused(refused) => {
                tracing::error!("{}; {} goes on serving", refused.reason, before.name());
                (self.tell)(Event::Refused(refused));
                self.record(&Entry::refused(&self.service, refused));
            }
        }
        look
    }

    fn record(&self, entry: &Entry) {
        if let Some(Err(error)) = self.ledger.as_ref().map(|path| entry.append(path)) {
            tracing::warn!("{error}; what serves is not changed by that");
        }
    }
}
