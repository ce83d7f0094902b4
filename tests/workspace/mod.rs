//! A scratch folder with logs in it, and the binary run as a user runs it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A folder that commands run in; removed when dropped.
pub(crate) struct Workspace {
    folder: TempDir,
}

/// What a command answered.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workspace {
    pub(crate) fn new() -> Workspace {
        Workspace { folder: TempDir::new().expect("scratch folders can be made") }
    }

    /// A workspace with `train.csv` of the demo shape.
    pub(crate) fn with_demo(rows: u64) -> Workspace {
        let workspace = Workspace::new();
        let rows = rows.to_string();
        workspace.ok(&["generate", "--shape", "demo", "--rows", &rows, "--seed", "7", "-o", "train.csv"]);
        workspace
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("scratch folders can be written");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("pctr").expect("the binary is built");
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs a command; never panics on failure of the command itself, but on a panic inside it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let answer = Answer { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) };
        assert!(!answer.stderr.contains("panicked"), "{arguments:?} panicked: {}", answer.stderr);
        answer
    }

    /// Runs a command that must succeed; returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "{arguments:?} failed: {}", answer.stderr);
        answer.stdout
    }

    /// Runs a command that must fail with this exit code; returns what it told on standard error.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, code, "{arguments:?} answered: {}{}", answer.stdout, answer.stderr);
        assert!(answer.stderr.contains("pctr: ") || code == 2, "no message: {}", answer.stderr);
        answer.stderr
    }

    /// Names in the folder, hidden ones included, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("scratch folders can be listed");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}
