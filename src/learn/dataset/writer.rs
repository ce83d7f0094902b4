//! Encoded rows → a folder of prepared data.
//!
//! The folder is filled under another name by the caller ([`crate::learn::prepare`]) and gets its own only when it is
//! complete. Memory: one block.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, UInt8Array, UInt32Array, UInt64Array,
};
use arrow_buffer::Buffer;
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, SchemaRef};

use super::manifest::{
    BadRowsRecord, ENCODER, FORMAT, InputRecord, MANIFEST, Manifest, PartRecord, SchemaRecord, part_name,
};
use super::{BLOCK_ROWS, EncodedRows, RowsIdentity, part};
use crate::error::{Error, Result};
use crate::learn::split::Amount;
use crate::model::codec;
use crate::model::features::Encoder;
use crate::model::features::hash;
use crate::model::schema::Schema;

/// Blocks in one file: about four million rows, so that files stay easy to copy.
const PART_BLOCKS: usize = 64;

/// Writes a folder of prepared data.
pub struct DatasetWriter {
    folder: PathBuf,
    schema: Schema,
    encoder: Encoder,
    columns: SchemaRef,
    part: Option<Part>,
    parts: Vec<PartRecord>,
    pending: EncodedRows,
    clicks: u64,
    identity: RowsIdentity,
    flush: bool,
}

struct Part {
    path: PathBuf,
    writer: FileWriter<BufWriter<File>>,
    blocks: usize,
    rows: u64,
}

impl DatasetWriter {
    /// Starts an empty set in an existing, empty folder. With `flush`, files are on the disk before the next one is begun.
    pub fn new(folder: &Path, schema: &Schema, encoder: &Encoder, flush: bool) -> Self {
        DatasetWriter {
            folder: folder.to_path_buf(),
            schema: schema.clone(),
            encoder: encoder.clone(),
            columns: Arc::new(part::arrow_schema(schema, encoder.width())),
            part: None,
            parts: Vec::new(),
            pending: EncodedRows::new(schema),
            clicks: 0,
            identity: RowsIdentity::new(schema, encoder),
            flush,
        }
    }

    /// Adds rows, in order; full blocks go to disk.
    ///
    /// # Errors
    /// Io when a block cannot be written.
    pub fn append(&mut self, rows: &EncodedRows) -> Result<()> {
        let mut start = 0;
        while start < rows.rows() {
            let end = rows.rows().min(start + BLOCK_ROWS - self.pending.rows());
            self.pending.append(rows, start..end);
            start = end;
            if self.pending.rows() == BLOCK_ROWS {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        let open = self.part.as_ref().map_or(0, |part| part.rows);
        self.parts.iter().map(|part| part.rows).sum::<u64>() + open + self.pending.rows() as u64
    }

    fn write_block(&mut self) -> Result<()> {
        let block = std::mem::replace(&mut self.pending, EncodedRows::new(&self.schema));
        self.clicks += block.labels.iter().map(|label| *label as u64).sum::<u64>();
        self.identity.block(&block);

        let part = match &mut self.part {
            Some(part) => part,
            none => {
                let path = self.folder.join(part_name(self.parts.len()));
                let file = File::create_new(&path).map_err(Error::io(&path, "create"))?;
                let options =
                    IpcWriteOptions::try_new(64, false, MetadataVersion::V5).expect("64 is a legal alignment");
                let writer = FileWriter::try_new_with_options(BufWriter::new(file), &self.columns, options);
                let writer = writer.map_err(|error| write_error(&path, error))?;
                none.insert(Part { path, writer, blocks: 0, rows: 0 })
            }
        };
        part.rows += block.labels.len() as u64;
        part.blocks += 1;
        let (batch, codes) = record_batch(&self.columns, &self.schema, self.encoder.width(), block);
        part.writer.write(&batch).map_err(|error| write_error(&part.path, error))?;
        // The codes are most of a block: the next one gets their memory.
        drop(batch);
        if let Ok(codes) = codes.into_vec() {
            self.pending.reuse(codes);
        }
        if part.blocks == PART_BLOCKS {
            self.finish_part()?;
        }
        Ok(())
    }

    fn finish_part(&mut self) -> Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let Part { path, writer, rows, .. } = part;
        let buffered = writer.into_inner().map_err(|error| write_error(&path, error))?;
        let file = buffered.into_inner().map_err(|error| Error::io(&path, "write")(error.into_error()))?;
        if self.flush {
            file.sync_all().map_err(Error::io(&path, "sync"))?;
        }
        let bytes = file.metadata().map_err(Error::io(&path, "read"))?.len();
        self.parts.push(PartRecord { file: part_name(self.parts.len()), rows, bytes });
        Ok(())
    }

    /// Writes what is pending, the encoder and the manifest; with `flush`, all files are on disk when it returns.
    ///
    /// # Errors
    /// Io when something cannot be written.
    pub fn finish(
        mut self,
        inputs: Vec<InputRecord>,
        learned_from: Option<Amount>,
        bad_rows: BadRowsRecord,
    ) -> Result<Manifest> {
        if self.pending.rows() > 0 {
            self.write_block()?;
        }
        self.finish_part()?;
        let manifest = Manifest {
            format: FORMAT,
            hash_version: hash::VERSION,
            rows: self.rows(),
            clicks: self.clicks,
            width: self.encoder.width(),
            data_fingerprint: self.identity.finish(),
            encoder_fingerprint: self.encoder.fingerprint(),
            schema: SchemaRecord {
                name: self.schema.name.clone(),
                fingerprint: self.schema.fingerprint(),
                source: self.schema.source.clone(),
            },
            parts: self.parts,
            inputs,
            learned_from,
            bad_rows,
        };
        write(&self.folder.join(ENCODER), &codec::encode(&self.encoder), self.flush)?;
        write(&self.folder.join(MANIFEST), manifest.to_json().as_bytes(), self.flush)?;
        Ok(manifest)
    }
}

/// A block as Arrow has it, without copying, and a handle to the memory of its codes.
fn record_batch(columns: &SchemaRef, schema: &Schema, width: usize, block: EncodedRows) -> (RecordBatch, Buffer) {
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(UInt8Array::from(block.labels))];
    if schema.weight.is_some() {
        arrays.push(Arc::new(Float32Array::from(block.weights)));
    }
    if schema.time.is_some() {
        arrays.push(Arc::new(Int64Array::from(block.times)));
    }
    if schema.group.is_some() {
        arrays.push(Arc::new(UInt64Array::from(block.groups)));
    }
    let memory = Buffer::from_vec(block.codes);
    let codes = Arc::new(UInt32Array::new(memory.clone().into(), None));
    arrays.push(Arc::new(FixedSizeListArray::new(part::code_field(), width as i32, codes, None)));
    (RecordBatch::try_new(columns.clone(), arrays).expect("columns are built from the same schema"), memory)
}

fn write_error(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io(path, "write")(source),
        other => Error::Bug(format!("{}: {other}", path.display())),
    }
}

fn write(path: &Path, bytes: &[u8], flush: bool) -> Result<()> {
    use std::io::Write;
    let mut file = File::create_new(path).map_err(Error::io(path, "create"))?;
    file.write_all(bytes).map_err(Error::io(path, "write"))?;
    match flush {
        true => file.sync_all().map_err(Error::io(path, "sync")),
        false => Ok(()),
    }
}
