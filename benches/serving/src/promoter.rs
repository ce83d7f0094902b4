//! Models promoted in turn, by a process of its own.
//!
//! Promoting is somebody else's work. Done by a thread of the harness, it would take time and locks of memory from the load: then the
//! load would be late and the service blamed. A process for each promotion would have to be started and torn down on the service's
//! processor; so one process promotes them all, where the service runs and only while the service leaves it time.

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pctr::registry::{PRODUCTION, Registry, SchemaChange};

use crate::service::{Part, give_way, pin};

/// The running process.
pub struct Promoter(Child);

impl Promoter {
    /// Starts to promote `names` in turn, at most `most` times and one `every` so often.
    pub fn start(
        registry: &Registry,
        names: &[String],
        most: u32,
        every: Duration,
    ) -> Result<Promoter, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("promote").arg(registry.folder()).args([most.to_string(), every.as_micros().to_string()]);
        pin(Part::Service);
        let child = command.args(names).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        pin(Part::Load);
        Ok(Promoter(child?))
    }

    /// Ends it; how often it promoted.
    pub fn stop(mut self) -> Result<u32, Box<dyn Error>> {
        if let Some(status) = self.0.try_wait()?.filter(|status| !status.success()) {
            return Err(format!("promoting ended: {status}").into());
        }
        self.0.kill()?;
        let mut said = Vec::new();
        if let Some(mut output) = self.0.stdout.take() {
            output.read_to_end(&mut said)?;
        }
        self.0.wait()?;
        Ok(u32::try_from(said.len())?)
    }
}

impl Drop for Promoter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What that process does: a byte for each promotion.
pub fn promote(registry: &Path, names: &[String], most: u32, every: Duration) -> Result<(), Box<dyn Error>> {
    give_way();
    let registry = Registry::open(registry)?;
    let mut said = std::io::stdout();
    let mut due = Instant::now();
    for _ in 0..most {
        let current = registry.resolve(PRODUCTION)?.model;
        let at = names.iter().position(|name| *name == current).map_or(0, |at| (at + 1) % names.len());
        registry.promote(&names[at], PRODUCTION, SchemaChange::Refuse)?;
        said.write_all(b".").and_then(|()| said.flush())?;
        due += every;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
