//! The user's wish to stop → an error that unwinds long loops without leaving anything half-written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A flag that a signal handler sets and long loops check. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    /// Flag of the work that this one is a part of.
    whole: Option<Arc<AtomicBool>>,
}

impl Interrupt {
    /// Asks everything that checks this flag to stop.
    pub fn set(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether to go on; cheap enough for every block of rows.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once the flag is set.
    pub fn check(&self) -> Result<()> {
        let set = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        match set(&self.flag) || self.whole.as_ref().is_some_and(set) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// A flag for a part of the work: it stops when this one is set, and can be set without stopping the rest.
    pub fn part(&self) -> Interrupt {
        Interrupt { flag: Arc::default(), whole: Some(self.flag.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_whole_but_not_the_other_way() {
        let whole = Interrupt::default();
        let (one, other) = (whole.part(), whole.part());
        one.set();
        assert!(one.check().is_err() && other.check().is_ok() && whole.check().is_ok());
        whole.set();
        assert!(other.check().is_err());
    }

    #[test]
    fn clones_share_the_flag() {
        let flag = Interrupt::default();
        let seen_elsewhere = flag.clone();
        assert!(seen_elsewhere.check().is_ok());
        flag.set();
        assert!(matches!(seen_elsewhere.check(), Err(Error::Interrupted)));
    }
}
