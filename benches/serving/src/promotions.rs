//! Promotions made ahead, so that only the service works while they are measured.
//!
//! A promotion opens and checks the bundle, waits for the disk, and ends with one rename that puts a small file in place: the stage.
//! All but the rename is the work of whoever promotes, who has a machine of his own. Done here meanwhile it would take the service's
//! processor, or the load's.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pctr::registry::{PRODUCTION, Registry, SchemaChange};

/// What a stage was after each of some promotions.
pub struct Promotions {
    place: PathBuf,
    stages: Vec<Vec<u8>>,
    /// The one that comes next.
    next: usize,
}

impl Promotions {
    /// Promotes `names` in turn, `count` times after the first, which serves when this is done.
    pub fn make(registry: &Registry, names: &[String], count: usize) -> Result<Promotions, Box<dyn Error>> {
        let place = registry.folder().join("stages").join(format!("{PRODUCTION}.json"));
        let mut stages = Vec::with_capacity(count + 1);
        for name in names.iter().cycle().take(count + 1) {
            registry.promote(name, PRODUCTION, SchemaChange::Refuse)?;
            stages.push(fs::read(&place)?);
        }
        put(&place, &stages[0])?;
        Ok(Promotions { place, stages, next: 1 })
    }

    /// Puts one in place `every` so often until `done`, at most `most`; how many. After the last the first one comes again.
    pub fn play(&mut self, most: usize, every: Duration, done: &AtomicBool) -> std::io::Result<usize> {
        let begin = Instant::now();
        for count in 0..most {
            // Looks up now and then, so that whoever is done need not wait long.
            while begin.elapsed() < every * count as u32 {
                sleep(every.min(Duration::from_millis(20)));
            }
            if done.load(Ordering::Relaxed) {
                return Ok(count);
            }
            put(&self.place, &self.stages[self.next])?;
            self.next = (self.next + 1) % self.stages.len();
        }
        Ok(most)
    }
}

/// Writes a file that is there as a whole, as the old one or as the new one.
fn put(place: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = place.with_extension("partial");
    fs::write(&partial, bytes)?;
    fs::rename(partial, place)
}
