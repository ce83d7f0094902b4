//! When a process waited for its processor while another had it: what the scheduler counts, and whom it held up.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Watches one thread by its count of time in line for a processor (Linux: the second number of `schedstat`).
pub struct Witness {
    path: PathBuf,
    looked: Instant,
    waited: Duration,
    held: Vec<Range<Instant>>,
    total: Duration,
}

/// Time between two looks.
const PACE: Duration = Duration::from_micros(250);
/// A wait that is worth a note.
const NOTEWORTHY: Duration = Duration::from_micros(500);

impl Witness {
    /// Of the thread of a process that has this name.
    pub fn of(process: u32, thread: &str) -> io::Result<Witness> {
        let named =
            |folder: &PathBuf| fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim_end() == thread);
        let mut folders = fs::read_dir(format!("/proc/{process}/task"))?.filter_map(|entry| Some(entry.ok()?.path()));
        let path = folders.find(named).ok_or_else(|| io::Error::other(format!("{process} has no thread {thread}")))?;
        let path = path.join("schedstat");
        let waited = waited(&path)?;
        Ok(Witness { path, looked: Instant::now(), waited, held: Vec::new(), total: Duration::ZERO })
    }

    /// Looks, unless it just has. Called with every answer it misses nothing: a thread that waits answers nobody.
    pub fn look(&mut self, now: Instant) -> io::Result<()> {
        if now.duration_since(self.looked) < PACE {
            return Ok(());
        }
        let waited = waited(&self.path)?;
        let wait = waited - self.waited;
        if wait >= NOTEWORTHY {
            self.total += wait;
            self.held.push(self.looked.min(now.checked_sub(wait).unwrap_or(now))..now);
        }
        (self.looked, self.waited) = (now, waited);
        Ok(())
    }

    /// Whether somebody on the way at this time was held up: while the thread waited, or as long again afterwards, when it worked
    /// off what had come meanwhile.
    pub fn held(&self, on_its_way: &Range<Instant>) -> bool {
        self.held
            .iter()
            .any(|held| held.start <= on_its_way.end && on_its_way.start <= held.end + (held.end - held.start))
    }

    /// All the time in line that was worth a note.
    pub fn total(&self) -> Duration {
        self.total
    }
}

fn waited(path: &Path) -> io::Result<Duration> {
    let text = fs::read_to_string(path)?;
    let number = text.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok());
    number.map(Duration::from_nanos).ok_or_else(|| io::Error::other(format!("{} is {text:?}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_held_up_is_told_from_who_was_not() {
        let start = Instant::now();
        let at = |micros| start + Duration::from_micros(micros);
        let held = vec![at(100)..at(200), at(500)..at(900)];
        let witness =
            Witness { path: PathBuf::new(), looked: start, waited: Duration::ZERO, held, total: Duration::ZERO };
        for (from, to, expected) in [
            (0, 99, false),
            (0, 100, true),
            (150, 160, true),
            (300, 400, true),
            (301, 499, false),
            (301, 1000, true),
            (1300, 1400, true),
            (1301, 1400, false),
        ] {
            assert_eq!(witness.held(&(at(from)..at(to))), expected, "{from} to {to}");
        }
    }

    #[test]
    fn time_in_line_is_read_of_this_very_process() {
        if !Path::new("/proc/self/schedstat").exists() {
            eprintln!("skipped: this system does not count how long threads wait");
            return;
        }
        let thread = std::thread::Builder::new().name("watched".into());
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let watched = thread.spawn(move || ended.recv()).expect("a thread starts");
        let mut witness = loop {
            // It takes its name a moment after it has started.
            if let Ok(witness) = Witness::of(std::process::id(), "watched") {
                break witness;
            }
        };
        witness.look(Instant::now() + PACE).expect("Linux counts it");
        drop(end);
        assert!(watched.join().is_ok());
        assert!(Witness::of(std::process::id(), "nobody").is_err());
    }
}
