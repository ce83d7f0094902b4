//! The one error: what went wrong, where, what was expected and what was found.
//!
//! Each variant says whose fault it is through [`Error::kind`]; the command line turns that into an exit code and the
//! service into an HTTP status, so that a script can tell a typo from a broken disk.

use std::path::{Path, PathBuf};

/// Result of everything in `pctr` that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Arguments, schema or recipe: exit code 2.
    Config,
    /// The content of a log or a request: exit code 3.
    Data,
    /// Reading or writing files or sockets: exit code 4.
    Io,
    /// A bundle that does not fit, or is corrupted: exit code 5.
    Bundle,
    /// The user asked to stop: exit code 130, as a shell reports it.
    Interrupted,
    /// Our bug: exit code 70.
    Bug,
}

impl Kind {
    /// Exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Config => 2,
            Kind::Data => 3,
            Kind::Io => 4,
            Kind::Bundle => 5,
            Kind::Interrupted => 130,
            Kind::Bug => 70,
        }
    }
}

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is unknown, missing or out of bounds.
    #[error("{place}: {key}: {message}")]
    Config {
        /// File, flag or section where the setting stands.
        place: String,
        /// The setting.
        key: String,
        /// What was expected and what was found.
        message: String,
    },
    /// One row of a log, or one field of a request, cannot be used.
    #[error("{file}:{line}: {field}: expected {expected}, got {got}")]
    Row {
        /// File, or the name of the stream.
        file: String,
        /// Line of the file, from 1; row number for Parquet.
        line: u64,
        /// Field of the schema, or `row` when the whole row is meant.
        field: String,
        /// What the schema asks for.
        expected: String,
        /// What stands there, shortened.
        got: String,
    },
    /// A set of rows cannot be used as a whole.
    #[error("{place}: {message}")]
    Data {
        /// File, folder or stage.
        place: String,
        /// What was expected and what was found.
        message: String,
    },
    /// The operating system said no.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried: `open`, `write`, ...
        action: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A bundle is corrupted, of another version or made for another schema.
    #[error("bundle {name}: {message}")]
    Bundle {
        /// The bundle's name or path.
        name: String,
        /// What does not fit.
        message: String,
    },
    /// The user asked to stop.
    #[error("interrupted; nothing half-written was kept")]
    Interrupted,
    /// Something that cannot happen happened.
    #[error("internal error, please report it: {0}")]
    Bug(String),
}

impl Error {
    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Config { .. } => Kind::Config,
            Error::Row { .. } | Error::Data { .. } => Kind::Data,
            Error::Io { .. } => Kind::Io,
            Error::Bundle { .. } => Kind::Bundle,
            Error::Interrupted => Kind::Interrupted,
            Error::Bug(_) => Kind::Bug,
        }
    }

    /// A setting that cannot be used.
    pub fn config(place: impl Into<String>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Config { place: place.into(), key: key.into(), message: message.into() }
    }

    /// Rows that cannot be used.
    pub fn data(place: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Data { place: place.into(), message: message.into() }
    }

    /// A refused bundle.
    pub fn bundle(name: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Bundle { name: name.into(), message: message.into() }
    }

    /// For `map_err`: the file and what was tried.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Error::Io { path, action, source }
    }
}

/// The `choices` entry nearest to `word`, as `; did you mean "x"?`, or nothing when none is near.
pub fn nearest<'a>(word: &str, choices: impl IntoIterator<Item = &'a str>) -> String {
    let near = choices
        .into_iter()
        .map(|choice| (strsim::damerau_levenshtein(word, choice), choice))
        .min()
        .filter(|(distance, choice)| *distance <= 1 + choice.len().min(word.len()) / 3);
    near.map_or_else(String::new, |(_, choice)| format!("; did you mean \"{choice}\"?"))
}
