//! A sample of answered requests → files of JSON lines that can be replayed bit for bit.
//!
//! ```text
//! request threads ─▶ bounded queue ─▶ one thread: encode again, one line of JSON, file of limited size ─▶ pctr replay
//! ```
//!
//! A request that is logged costs its thread a copy of its cells; everything else is done by the log's own thread at low priority.
//! Nobody waits: when the queue is full, or the disk is, lines are dropped and counted. JSON lines and not Parquet, because a log is
//! looked at when something went wrong: a line that was written can be read with anything, at once and also after a crash, while a
//! Parquet file without its footer is lost. What is sampled is small enough that its size matters little.

mod files;
mod line;
mod replay;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::given::Given;
use super::live::LiveModel;
use super::scorer::Scored;
use crate::config::settings;
use crate::error::{Error, Result};
use crate::model::features::hash;

pub use line::{FORMAT, Line, LoggedCandidate, Value};
pub use replay::{Difference, Replay, replay};

settings! {
    /// Which requests are logged, and where.
    pub struct LogSettings {
        /// Folder of the log; without one nothing is logged.
        pub folder: Option<PathBuf> = None,
        /// Share of requests that are logged (0 to 1). One with an id is chosen by its id, so that services choose the same.
        pub rate: f64 = 0.01,
        /// Whether the codes of each candidate's row are logged, so that a replay can name the field that differs.
        pub codes: bool = true,
        /// Bytes after which another file is begun (4096 and more).
        pub file_bytes: u64 = 64 << 20,
        /// Files that are kept (2 to 1000000); the oldest go first.
        pub files: usize = 16,
        /// Requests that may wait to be written (1 to 1000000); more are dropped and counted.
        pub queue: usize = 1024,
    }
}

impl LogSettings {
    /// Checks all bounds; `place` is the section.
    ///
    /// # Errors
    /// Config naming the key.
    pub fn check(&self, place: &str) -> Result<()> {
        let refuse = |key: &str, message: String| Err(Error::config("serve", format!("{place}.{key}"), message));
        match self {
            Self { rate, .. } if !(0.0..=1.0).contains(rate) => refuse("rate", format!("expected 0 to 1, got {rate}")),
            Self { file_bytes, .. } if *file_bytes < 4096 => {
                refuse("file_bytes", format!("expected at least 4096, got {file_bytes}"))
            }
            Self { files, .. } if !(2..=1_000_000).contains(files) => {
                refuse("files", format!("expected 2 to 1000000, got {files}"))
            }
            Self { queue, .. } if !(1..=1_000_000).contains(queue) => {
                refuse("queue", format!("expected 1 to 1000000, got {queue}"))
            }
            _ => Ok(()),
        }
    }
}

/// An answered request on its way to the log.
#[derive(Debug)]
pub struct Answer {
    /// Wall time of the answer. Only ever written down: no duration comes from it.
    pub at: jiff::Timestamp,
    /// The request's id, where it has one.
    pub id: Option<String>,
    /// The model that answered.
    pub model: Arc<LiveModel>,
    /// The cells that were scored.
    pub given: Given,
    /// What was answered, a candidate each.
    pub scored: Vec<Scored>,
    /// Time that the request had.
    pub budget: Option<Duration>,
    /// Time that it took, by a clock that never steps.
    pub took: Duration,
}

/// What became of the requests chosen for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LogCounts {
    /// Lines written.
    pub written: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Lost because the file could not be written.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// The log of a running service. Dropped, it writes what waits and ends.
#[derive(Debug)]
pub struct RequestLog {
    rate: f64,
    /// Numbers requests without an id.
    requests: AtomicU64,
    counters: Arc<Counters>,
    queue: Option<SyncSender<Answer>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Salt of the choice, so that it is independent of other choices made by id.
const CHOICE: u64 = 0x70_63_74_72_6c_6f_67;

impl RequestLog {
    /// Starts the log; `None` when the settings name no folder.
    ///
    /// # Errors
    /// Config when a setting is out of bounds; io when the folder cannot be made or the system has no thread.
    pub fn start(settings: &LogSettings) -> Result<Option<RequestLog>> {
        settings.check("request_log")?;
        let Some(folder) = &settings.folder else { return Ok(None) };
        let files = files::Files::open(folder, settings.file_bytes, settings.files)?;
        let (queue, answers) = sync_channel(settings.queue);
        let counters = Arc::new(Counters::default());
        let mut writer = writer::Writer::new(files, settings.codes, counters.clone());
        let thread = thread::Builder::new()
            .name("request log".into())
            .spawn(move || writer.run(&answers))
            .map_err(Error::io(folder, "start a thread for"))?;
        let rate = settings.rate;
        Ok(Some(RequestLog { rate, requests: AtomicU64::new(0), counters, queue: Some(queue), thread: Some(thread) }))
    }

    /// Whether the request with this id is chosen. One without an id is chosen by its number.
    pub fn wants(&self, id: Option<&[u8]>) -> bool {
        let key = match id {
            Some(id) => hash::group_id(id),
            None => self.requests.fetch_add(1, Ordering::Relaxed),
        };
        hash::uniform(CHOICE, key) < self.rate
    }

    /// Hands an answer over to be written, or drops it when too many wait. Never blocks.
    pub fn offer(&self, answer: Answer) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(answer) {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of the requests chosen so far.
    pub fn counts(&self) -> LogCounts {
        let Counters { written, dropped, failed } = &*self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogCounts { written: read(written), dropped: read(dropped), failed: read(failed) }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
