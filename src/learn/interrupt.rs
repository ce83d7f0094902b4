//! The user's wish to stop → an error that unwinds long loops without leaving anything half-written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A flag that a signal handler sets and long loops check. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks everything that checks this flag to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to go on; cheap enough for every block of rows.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once the flag is set.
    pub fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag() {
        let flag = Interrupt::default();
        let seen_elsewhere = flag.clone();
        assert!(seen_elsewhere.check().is_ok());
        flag.set();
        assert!(matches!(seen_elsewhere.check(), Err(Error::Interrupted)));
    }
}
