//! Log files → rows of cells by schema: text with any one-byte delimiter, plain, gzip or zstd, and Parquet.
//!
//! ```text
//! file ─▶ open (magic bytes, unpacking) ─▶ blocks of whole records ─▶ text::rows ─▶ visitor
//!     └─▶ parquet (batches of columns) ───────────────────────────────────────────────▶┘
//! ```
//!
//! The formats are told by their first bytes, never by the file's name. Blocks are cut one after the other, but the rows
//! of a block are parsed without knowledge of any other, so that threads can share blocks. Memory: a block, or a batch.

mod bad_rows;
mod blocks;
mod open;
mod parquet;
mod text;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use bad_rows::{BadRows, MAX_BAD_ROWS};

use super::Interrupt;
use super::dataset::InputRecord;
use crate::error::{Error, Result};
use crate::model::row::{Cell, CellError};
use crate::model::schema::Schema;

/// One log: a file, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    path: PathBuf,
    name: String,
}

impl Input {
    /// The log at `path`; `-` is standard input.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
        Input { path, name }
    }

    /// The log at `path`, named `name` in messages and records.
    pub(crate) fn named(path: &Path, name: &str) -> Self {
        Input { path: path.to_path_buf(), name: name.to_owned() }
    }

    /// Whether it is standard input, which can be read only once.
    pub fn is_stdin(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name in messages and records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size as stored; `None` for standard input and pipes.
    ///
    /// # Errors
    /// Io when there is no such file.
    pub fn bytes(&self) -> Result<Option<u64>> {
        if self.is_stdin() {
            return Ok(None);
        }
        let metadata = std::fs::metadata(&self.path).map_err(Error::io(&self.path, "open"))?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }
}

/// How logs are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Which columns a row has.
    pub schema: &'a Schema,
    /// Whether rows need label, weight, time and group (learning), or features alone (scoring). A file without a header
    /// may then leave the label column out.
    pub targets: bool,
    /// Checked after each block.
    pub interrupt: &'a Interrupt,
}

impl Reading<'_> {
    /// Whether a column of the schema must be in the file.
    fn needs(&self, column: usize) -> bool {
        let schema = self.schema;
        let target = column == schema.label
            || Some(column) == schema.weight
            || Some(column) == schema.time.map(|(column, _)| column)
            || Some(column) == schema.group;
        schema.features.iter().any(|feature| feature.column == column) || self.targets && target
    }
}

/// How far one log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read, as stored.
    pub bytes: u64,
    /// Rows seen, bad ones included.
    pub rows: u64,
}

/// What stands in the log.
#[derive(Debug)]
pub enum Found<'a> {
    /// A row with the right columns.
    Row {
        /// Line of the file (row for Parquet), from 1.
        line: u64,
        /// One cell for each column of the schema; columns that the file does not have are missing.
        cells: &'a [Cell<'a>],
    },
    /// A row that cannot be used, counted already; told so that readers of one answer a row can keep step.
    Bad {
        /// Line of the file (row for Parquet), from 1.
        line: u64,
    },
}

/// Why a visitor does not take a row.
#[derive(Debug)]
pub enum Refusal {
    /// A cell cannot be used: the row is counted as bad, and reading goes on.
    Cell(CellError),
    /// Reading must end.
    Stop(Error),
}

impl From<CellError> for Refusal {
    fn from(error: CellError) -> Self {
        Refusal::Cell(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Stop(error)
    }
}

/// Takes rows one by one; breaks to end reading without an error.
pub type Visitor<'a> = dyn FnMut(Found<'_>) -> Result<ControlFlow<()>, Refusal> + 'a;

/// Reads all rows of one log, in order. Returns what was read, with the fingerprint of the bytes read so far.
///
/// Bad rows are counted in `bad`, which may be shared by several logs; call [`BadRows::finish`] after the last one.
///
/// # Errors
/// Io when the log cannot be read; Data when it is empty, damaged or cut short, lacks columns, or has too many bad rows;
/// Interrupted.
pub fn read_rows(
    input: &Input,
    reading: Reading<'_>,
    bad: &mut BadRows,
    progress: &mut dyn FnMut(Progress),
    visit: &mut Visitor<'_>,
) -> Result<InputRecord> {
    let source = match open::open(input)? {
        open::Opened::Parquet(file) => return parquet::read(input, file, reading, bad, progress, visit),
        open::Opened::Text(source) => source,
    };
    let mut blocks = blocks::Blocks::new(source, reading.schema.text.delimiter);
    let columns = text::Columns::read(&mut blocks, reading)?;
    let mut rows = Rows { name: input.name(), bad, visit };
    while let Some(mut block) = blocks.next(&mut rows)? {
        reading.interrupt.check()?;
        if text::rows(&mut block, &columns, &mut rows)?.is_break() {
            break;
        }
        progress(Progress { bytes: blocks.source().bytes_read(), rows: rows.bad.rows() });
        blocks.reuse(block);
    }
    blocks.into_source().record()
}

/// Where the rows of one log go: good ones to the visitor, bad ones to the count.
struct Rows<'a, 'v> {
    name: &'a str,
    bad: &'a mut BadRows,
    visit: &'a mut Visitor<'v>,
}

impl Rows<'_, '_> {
    fn good(&mut self, line: u64, cells: &[Cell<'_>]) -> Result<ControlFlow<()>> {
        self.bad.seen();
        match (self.visit)(Found::Row { line, cells }) {
            Ok(flow) => Ok(flow),
            Err(Refusal::Stop(error)) => Err(error),
            Err(Refusal::Cell(error)) => {
                self.bad.add(self.name, line, &error.field, error.expected, error.expected, &error.got)?;
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    /// `reason` is what rows are counted by; `expected` may say more.
    fn bad(&mut self, line: u64, reason: &'static str, expected: &str, got: &str) -> Result<ControlFlow<()>> {
        self.bad.seen();
        self.bad.add(self.name, line, "row", reason, expected, got)?;
        match (self.visit)(Found::Bad { line }) {
            Ok(flow) => Ok(flow),
            Err(Refusal::Stop(error)) => Err(error),
            Err(Refusal::Cell(error)) => Err(Error::Bug(format!("a bad row was refused again: {error:?}"))),
        }
    }
}

#[cfg(test)]
mod tests;
