//! Files and folders that are there whole, or not at all.
//!
//! Everything `pctr` leaves on disk is first written beside its place under a `.partial` name, flushed to the device, and
//! then put in place by one rename. Whoever reads sees the old one or the new one; a process killed at any moment leaves
//! at most a `.partial` entry, which the next writer of the same place removes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, test_kill_process};

use crate::error::{Error, Result};

/// Writes a file whole: `fill` writes the content, and only when it succeeds does `path` change.
///
/// # Errors
/// Io when the place cannot be written; whatever `fill` answers.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let partial = partial_path(path)?;
    let result = (|| {
        let file = File::create(&partial).map_err(Error::io(path, "create"))?;
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        fill(&mut writer)?;
        let file = writer.into_inner().map_err(|error| Error::io(path, "write")(error.into_error()))?;
        file.sync_all().map_err(Error::io(path, "flush"))?;
        fs::rename(&partial, path).map_err(Error::io(path, "put in place"))?;
        sync_parent(path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&partial);
    }
    result
}

/// Writes bytes as a whole file.
///
/// # Errors
/// Io when the place cannot be written.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_file(path, |writer| writer.write_all(bytes).map_err(Error::io(path, "write")))
}

/// Appends one line, without its end, to a file of lines and flushes it to the device; makes the file when there is none.
///
/// The line is one write, so that several processes may append to one file. A line that a killed process left unfinished is
/// ended first: readers meet one line they cannot read and none that is run together with another.
///
/// # Errors
/// Io when the file cannot be opened or written.
pub fn append_line(path: &Path, line: &[u8]) -> Result<()> {
    let mut file = File::options().read(true).append(true).create(true).open(path).map_err(Error::io(path, "open"))?;
    let io = |action| Error::io(path, action);
    let mut last = [b'\n'];
    if file.metadata().map_err(io("inspect"))?.len() > 0 {
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(io("read"))?;
    }
    let end_of_last: &[u8] = if last == [b'\n'] { b"" } else { b"\n" };
    file.write_all(&[end_of_last, line, b"\n"].concat()).and_then(|()| file.sync_all()).map_err(io("append to"))
}

/// A folder being written under a `.partial` name. Dropped before [`PartialFolder::commit`], it is removed again.
#[derive(Debug)]
pub struct PartialFolder {
    target: PathBuf,
    partial: PathBuf,
    committed: bool,
}

impl PartialFolder {
    /// Starts a folder that will stand at `target`. A folder already there is replaced at commit when it holds a file named
    /// `mark`, the sign that it is one of ours; anything else there is refused.
    ///
    /// # Errors
    /// Config when something else stands at `target`; io when the place cannot be written.
    pub fn create(target: &Path, mark: &str) -> Result<Self> {
        if target.exists() && !target.join(mark).is_file() && !is_empty_folder(target) {
            let message = format!("it exists and holds no {mark}; choose another place or remove it first");
            return Err(Error::config("output", target.display().to_string(), message));
        }
        let partial = partial_path(target)?;
        fs::create_dir_all(&partial).map_err(Error::io(target, "create"))?;
        Ok(PartialFolder { target: target.to_path_buf(), partial, committed: false })
    }

    /// Where to write its files.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes one of its files. It is flushed with all others, at commit.
    ///
    /// # Errors
    /// Io when the place cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.partial.join(name);
        fs::write(&path, bytes).map_err(Error::io(&path, "write"))
    }

    /// Flushes all files and puts the folder in place by one rename.
    ///
    /// # Errors
    /// Io when flushing or renaming fails; then `target` is as it was.
    pub fn commit(self) -> Result<()> {
        sync_tree(&self.partial)?;
        let target = self.target.clone();
        self.commit_unflushed()?;
        sync_parent(&target)
    }

    /// Puts the folder in place by one rename and leaves the flushing to the system: for folders that are thrown away by the one
    /// who made them.
    ///
    /// # Errors
    /// Io when renaming fails; then `target` is as it was.
    pub fn commit_unflushed(mut self) -> Result<()> {
        if self.target.exists() {
            let exchanged = renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::EXCHANGE);
            exchanged.map_err(|error| Error::io(&self.target, "replace")(error.into()))?;
            // The old folder now stands under the partial name; dropping `self` removes it.
        } else {
            fs::rename(&self.partial, &self.target).map_err(Error::io(&self.target, "put in place"))?;
            self.committed = true;
        }
        Ok(())
    }
}

impl Drop for PartialFolder {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// A fresh `.NAME.partial-PID-N` beside `path`, after removing those of processes that are gone.
fn partial_path(path: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| Error::config("output", path.display().to_string(), "expected a path that ends in a name"))?;
    let parent = parent(path);
    fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".partial-");
    for entry in fs::read_dir(parent).map_err(Error::io(parent, "list"))?.flatten() {
        let entry_name = entry.file_name();
        let Some(rest) = entry_name.to_str().zip(prefix.to_str()).and_then(|(name, prefix)| name.strip_prefix(prefix))
        else {
            continue;
        };
        let writer = rest.split('-').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        // Any other answer means that the writer is there, perhaps another user's.
        if writer.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH)) {
            let stale = entry.path();
            let _ = if stale.is_dir() { fs::remove_dir_all(&stale) } else { fs::remove_file(&stale) };
        }
    }
    prefix.push(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok(parent.join(prefix))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "list"))? {
        let path = entry.map_err(Error::io(folder, "list"))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io(&path, "flush"))?;
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder, "flush"))
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = parent(path);
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(Error::io(parent, "flush"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preds.csv");
        write_bytes(&path, b"old").unwrap();
        let failed = write_file(&path, |writer| {
            writer.write_all(b"half").unwrap();
            Err(Error::Interrupted)
        });
        assert!(matches!(failed, Err(Error::Interrupted)));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["preds.csv"]);
    }

    #[test]
    fn folders_are_exchanged_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("bundle");
        for content in ["one", "two"] {
            let partial = PartialFolder::create(&target, "manifest.json").unwrap();
            fs::write(partial.path().join("manifest.json"), content).unwrap();
            partial.commit().unwrap();
            assert_eq!(fs::read_to_string(target.join("manifest.json")).unwrap(), content);
        }
        drop(PartialFolder::create(&target, "manifest.json").unwrap());
        assert_eq!(names(folder.path()), ["bundle"]);
        assert_eq!(fs::read_to_string(target.join("manifest.json")).unwrap(), "two");
    }

    #[test]
    fn foreign_folders_are_refused_and_leftovers_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("home");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("thesis.txt"), "years of work").unwrap();
        assert!(PartialFolder::create(&target, "manifest.json").unwrap_err().to_string().contains("manifest.json"));
        // No process has the greatest process id of Linux.
        let leftover = folder.path().join(".bundle.partial-4194304-0");
        fs::create_dir(&leftover).unwrap();
        drop(PartialFolder::create(&folder.path().join("bundle"), "manifest.json").unwrap());
        assert!(!leftover.exists());
    }
}
