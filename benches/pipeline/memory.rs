//! How much memory of its own this process holds at most, watched while a stage runs.
//!
//! The kernel keeps a high-water mark of all resident pages (`VmHWM`), but those include mapped files, which grow with the
//! rows and cost nothing. So a thread looks at the anonymous pages (`RssAnon`) every few milliseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that looks.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<u64>>,
}

impl Watch {
    pub(crate) fn start() -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = anonymous_bytes();
            while !asked.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                peak = peak.max(anonymous_bytes());
            }
            peak
        });
        Watch { stop, thread }
    }

    /// The most that was seen, in bytes; `None` where the system does not say.
    pub(crate) fn finish(self) -> Option<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("reading a file does not panic")
    }
}

fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}
