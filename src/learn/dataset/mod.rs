//! A folder of prepared data → rows of codes, mapped into memory without copying.
//!
//! The folder holds `manifest.json`, `encoder.bin` and Arrow IPC files (`part-00000.arrow`, …) that pandas, polars and
//! DuckDB open too. Every block but the last has [`BLOCK_ROWS`] rows, so that a row is found by a shift. Columns:
//!
//! | column | type | |
//! |---|---|---|
//! | `label` | UInt8 | 1 for a click |
//! | `weight` | Float32 | only when the schema has a weight |
//! | `time` | Int64 | seconds since 1970, only when the schema has a time |
//! | `group` | UInt64 | hash of the group column, only when the schema has one |
//! | `codes` | FixedSizeList(UInt32, width) | hashes before masking, so that one set serves any model |
//!
//! Memory: what is read stays until it is given back ([`Dataset::release`]), which every pass over rows does behind itself.

mod encoded;
mod identity;
mod manifest;
mod part;
mod view;
mod writer;

use std::ops::Range;
use std::path::{Path, PathBuf};

pub use encoded::EncodedRows;
pub use identity::RowsIdentity;
pub use manifest::{BadRowsRecord, ENCODER, FORMAT, InputRecord, MANIFEST, Manifest, PartRecord, SchemaRecord};
pub use view::{BatchBuffer, Batches, Behind, Order, View};
pub use writer::DatasetWriter;

use crate::error::{Error, Result};
use crate::model::codec;
use crate::model::features::Encoder;
use crate::model::features::hash::Fingerprint;
use crate::model::schema::Schema;
use part::Block;

/// Rows in every block but the last.
pub const BLOCK_ROWS: usize = 1 << 16;

/// Prepared rows. Shared by threads; cheap to open.
#[derive(Debug)]
pub struct Dataset {
    folder: PathBuf,
    manifest: Manifest,
    schema: Schema,
    encoder: Encoder,
    blocks: Vec<Block>,
}

/// Neighboring rows, borrowed from the mapping.
#[derive(Debug, Clone)]
pub struct Piece<'a> {
    /// Which rows of the dataset.
    pub rows: Range<usize>,
    /// `rows × width` codes, row by row.
    pub codes: &'a [u32],
    /// 1 for a click, 0 for none.
    pub labels: &'a [u8],
    /// Weights in the loss, if the schema has a weight.
    pub weights: Option<&'a [f32]>,
    /// Seconds since 1970, if the schema has a time.
    pub times: Option<&'a [i64]>,
    /// Hash of the group column, if the schema has one.
    pub groups: Option<&'a [u64]>,
}

impl Dataset {
    /// Opens a folder of prepared data.
    ///
    /// # Errors
    /// Io when a file cannot be read; Data when the folder holds no prepared data, or something does not fit.
    pub fn open(folder: &Path) -> Result<Dataset> {
        let manifest = Manifest::read(folder)?;
        let wrong = |message: String| Error::data(folder.display().to_string(), message);
        let schema = Schema::parse(&manifest.schema.source, &format!("{}: schema", folder.display()))?;
        if schema.fingerprint() != manifest.schema.fingerprint {
            return Err(wrong("the schema does not fit its fingerprint: prepare the data again".into()));
        }
        let path = folder.join(ENCODER);
        let bytes = std::fs::read(&path).map_err(Error::io(&path, "read"))?;
        let encoder: Encoder =
            codec::decode(&bytes).map_err(|error| wrong(format!("{ENCODER} cannot be read: {error}")))?;
        if encoder.fingerprint() != manifest.encoder_fingerprint || encoder.width() != manifest.width {
            return Err(wrong(format!("{ENCODER} does not fit the manifest")));
        }
        let mut blocks = Vec::new();
        for part in &manifest.parts {
            part::open(&folder.join(&part.file), part, manifest.width, &schema, &mut blocks)?;
        }
        let rows: usize = blocks.iter().map(Block::rows).sum();
        let even = blocks.iter().rev().skip(1).all(|block| block.rows() == BLOCK_ROWS);
        if rows as u64 != manifest.rows || !even {
            return Err(wrong(format!("expected {} rows in blocks of {BLOCK_ROWS}, got {rows}", manifest.rows)));
        }
        Ok(Dataset { folder: folder.to_path_buf(), manifest, schema, encoder, blocks })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.manifest.rows as usize
    }

    /// Codes in one row.
    pub fn width(&self) -> usize {
        self.manifest.width
    }

    /// The folder it was opened from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the folder says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The schema its rows were read by.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The encoder that made its codes.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Identity of all rows with their targets, and of the encoder.
    pub fn fingerprint(&self) -> Fingerprint {
        self.manifest.data_fingerprint
    }

    /// Whether rows have weights of their own.
    pub fn has_weight(&self) -> bool {
        self.schema.weight.is_some()
    }

    /// Whether rows have a time.
    pub fn has_time(&self) -> bool {
        self.schema.time.is_some()
    }

    /// Whether rows have a group.
    pub fn has_group(&self) -> bool {
        self.schema.group.is_some()
    }

    /// 1 for a click, 0 for none.
    pub fn label(&self, row: usize) -> u8 {
        self.block(row).labels[row % BLOCK_ROWS]
    }

    /// Weight in the loss; 1 without a weight column.
    pub fn weight(&self, row: usize) -> f32 {
        self.block(row).weights.as_ref().map_or(1.0, |weights| weights[row % BLOCK_ROWS])
    }

    /// Seconds since 1970, if rows have a time.
    pub fn time(&self, row: usize) -> Option<i64> {
        self.block(row).times.as_ref().map(|times| times[row % BLOCK_ROWS])
    }

    /// Hash of the group column, if rows have a group.
    pub fn group(&self, row: usize) -> Option<u64> {
        self.block(row).groups.as_ref().map(|groups| groups[row % BLOCK_ROWS])
    }

    /// The codes of one row.
    pub fn codes(&self, row: usize) -> &[u32] {
        let (width, at) = (self.width(), row % BLOCK_ROWS);
        &self.block(row).codes[at * width..(at + 1) * width]
    }

    /// All rows, as a selection.
    pub fn view(&self) -> View<'_> {
        View::all(self)
    }

    /// Rows in order, as few pieces as the blocks allow, each at most [`BLOCK_ROWS`] rows.
    ///
    /// # Panics
    /// When `rows` ends beyond the last row.
    pub fn pieces(&self, rows: Range<usize>) -> impl Iterator<Item = Piece<'_>> {
        assert!(rows.end <= self.rows(), "row {} of {}", rows.end, self.rows());
        let blocks = if rows.is_empty() { 0..0 } else { rows.start / BLOCK_ROWS..rows.end.div_ceil(BLOCK_ROWS) };
        blocks.map(move |block| {
            let first = block * BLOCK_ROWS;
            let within = rows.start.max(first) - first..rows.end.min(first + BLOCK_ROWS) - first;
            self.blocks[block].piece(first, within, self.width())
        })
    }

    /// Gives back the memory of rows that were read. They stay readable, and are read from the file again.
    ///
    /// # Panics
    /// When `rows` ends beyond the last row.
    pub fn release(&self, rows: Range<usize>) {
        for piece in self.pieces(rows) {
            let first = piece.rows.start / BLOCK_ROWS * BLOCK_ROWS;
            self.block(first).release(piece.rows.start - first..piece.rows.end - first, self.width());
        }
    }

    fn block(&self, row: usize) -> &Block {
        &self.blocks[row / BLOCK_ROWS]
    }
}

#[cfg(test)]
pub(crate) mod tests;
