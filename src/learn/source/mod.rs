//! Log files → rows of cells by schema: text with any one-byte delimiter, plain, gzip or zstd, and Parquet.
//!
//! ```text
//! file ─▶ open (magic bytes, unpacking) ─▶ blocks of whole records ─▶ text::rows ─▶ a visitor, or takers of blocks
//!     └─▶ parquet (batches of columns) ───────────────────────────────────────────────▶┘
//! ```
//!
//! The formats are told by their first bytes, never by the file's name. Blocks are cut one after the other, but the rows
//! of a block are parsed without knowledge of any other. So one thread can show all rows to a visitor ([`read_rows`]), and
//! several can share the blocks ([`read_blocks`]). Memory: a few blocks, or batches.

mod bad_rows;
mod blocks;
mod open;
mod parquet;
mod rows;
mod sample;
mod stream;
mod text;
mod workers;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use bad_rows::{BadRows, MAX_BAD_ROWS};
pub use blocks::BLOCK;
pub use rows::TakeRows;
use rows::{EachRow, Rows};
pub use sample::{SAMPLE_BYTES, Sampled, read_sample};
pub use workers::read_blocks;

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
    /// What was read of standard input already.
    head: Head,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Head {
    /// Nothing.
    None,
    /// These bytes, and nothing else is to be read.
    Only(Arc<[u8]>),
    /// These bytes; the others come behind them.
    First(Arc<[u8]>),
}

impl Input {
    /// The log at `path`; `-` is standard input.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
        Input { path, name, head: Head::None }
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
    let (shape, mut stream) = stream::open(input, reading, BLOCK)?;
    let mut line = stream.first_line();
    let mut scratch = text::Scratch::default();
    let mut space = Vec::new();
    while let Some(mut piece) = stream.next(space).map_err(|failure| failure.at(input.name(), line))? {
        reading.interrupt.check()?;
        let mut each = EachRow { visit: &mut *visit, line };
        let mut rows = Rows::new(&mut each);
        let flow = piece.rows(&shape, reading, input.name(), &mut scratch, &mut rows);
        bad.add(input.name(), line, &rows.count)?;
        match flow? {
            ControlFlow::Continue(lines) => line += lines,
            ControlFlow::Break(()) => break,
        }
        progress(Progress { bytes: piece.bytes_read(), rows: bad.rows() });
        space = piece.into_space();
    }
    Ok(stream.record())
}

#[cfg(test)]
mod tests;
