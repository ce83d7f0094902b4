//! Lines → files of limited size in one folder, the oldest removed: `requests-00000001.jsonl`, `requests-00000002.jsonl`, ...
//!
//! Files are numbered, not dated: a clock that steps back changes no order. A line stands in a file whole or not at all; what a full
//! disk cut off is cut away again, so that the next line begins where a line begins.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folder, and the file being written.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    most_bytes: u64,
    most_files: usize,
    /// Number of the latest file.
    number: u64,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    bytes: u64,
}

const PREFIX: &str = "requests-";
const SUFFIX: &str = ".jsonl";

impl Files {
    /// Begins a new file in `folder`, behind those that are there.
    ///
    /// # Errors
    /// Io when the folder cannot be made, listed or written.
    pub(super) fn open(folder: &Path, most_bytes: u64, most_files: usize) -> Result<Files> {
        fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        let number = numbered(folder)?.last().map_or(0, |(number, _)| *number);
        let mut files = Files { folder: folder.to_path_buf(), most_bytes, most_files, number, current: None };
        files.begin()?;
        Ok(files)
    }

    /// Writes whole lines, ends included.
    ///
    /// # Errors
    /// Io; then nothing of `lines` is in the file.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<()> {
        let full = |current: &Current| current.bytes > 0 && current.bytes + lines.len() as u64 > self.most_bytes;
        // A file that was taken away would take further lines with it.
        match &self.current {
            Some(current) if !full(current) && current.path.exists() => {}
            _ => self.begin()?,
        }
        let Some(current) = &mut self.current else { return Err(Error::Bug("there is a file to write".into())) };
        match current.file.write_all(lines) {
            Ok(()) => {
                current.bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                let path = current.path.clone();
                // Where the rest of a line cannot be cut off, another file is begun.
                if current.file.set_len(current.bytes).is_err() {
                    self.current = None;
                }
                Err(Error::io(&path, "write")(error))
            }
        }
    }

    /// Flushes the file being written to the device.
    pub(super) fn flush(&self) {
        if let Some(Err(error)) = self.current.as_ref().map(|current| current.file.sync_data()) {
            tracing::warn!("request log: cannot flush: {error}");
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.flush();
        self.current = None;
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder, "create"))?;
        let existing = numbered(&self.folder)?;
        self.number = self.number.max(existing.last().map_or(0, |(number, _)| *number)) + 1;
        let keep = self.most_files - 1;
        for (_, old) in &existing[..existing.len().saturating_sub(keep)] {
            fs::remove_file(old).map_err(Error::io(old, "remove"))?;
        }
        let path = self.folder.join(format!("{PREFIX}{:08}{SUFFIX}", self.number));
        // What people asked for is nobody else's business.
        let file = File::options().append(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(Error::io(&path, "create"))?;
        self.current = Some(Current { file, path, bytes: 0 });
        Ok(())
    }
}

/// Files of a log, oldest first.
pub(super) fn numbered(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "list"))? {
        let path = entry.map_err(Error::io(folder, "list"))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(folder: &Path) -> Vec<String> {
        numbered(folder).unwrap().into_iter().map(|(_, path)| fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn files_are_cut_by_size_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path(), 10, 3).unwrap();
        for line in ["one\n", "two\n", "three\n", "a line longer than a file\n", "five\n", "six\n", "seven\n"] {
            files.write(line.as_bytes()).unwrap();
        }
        assert_eq!(texts(folder.path()), ["a line longer than a file\n", "five\nsix\n", "seven\n"]);
        // The next service goes on behind them.
        Files::open(folder.path(), 10, 3).unwrap().write(b"eight\n").unwrap();
        assert_eq!(texts(folder.path()), ["five\nsix\n", "seven\n", "eight\n"]);
    }

    #[test]
    fn a_full_disk_loses_its_lines_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path(), 1 << 20, 3).unwrap();
        files.write(b"before\n").unwrap();
        let full = File::options().append(true).open("/dev/full").unwrap();
        let good = std::mem::replace(&mut files.current.as_mut().unwrap().file, full);
        let error = files.write(b"lost\n").unwrap_err().to_string();
        assert!(error.contains("requests-00000001.jsonl") && error.contains("No space left"), "{error}");
        match &mut files.current {
            // The device cannot be cut: another file is begun.
            None => drop(good),
            Some(current) => current.file = good,
        }
        files.write(b"after\n").unwrap();
        assert_eq!(texts(folder.path()).concat(), "before\nafter\n");
    }

    #[test]
    fn a_folder_that_is_taken_away_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut files = Files::open(&log, 1 << 20, 3).unwrap();
        files.write(b"one\n").unwrap();
        fs::remove_dir_all(&log).unwrap();
        files.write(b"two\n").unwrap();
        assert_eq!(texts(&log), ["two\n"]);
    }
}
