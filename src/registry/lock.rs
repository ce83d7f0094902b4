//! One writer at a time, across threads and processes. The system frees the lock when its holder ends in any way.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

/// Name of the lock file in a registry.
pub(super) const FILE: &str = "lock";

/// Held until dropped.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for its turn.
    pub(super) fn take(registry: &Path) -> Result<Lock> {
        let path = registry.join(FILE);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io(&path, "open"))?;
        file.lock().map_err(Error::io(&path, "lock"))?;
        Ok(Lock { _file: file })
    }
}
