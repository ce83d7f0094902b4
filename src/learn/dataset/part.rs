//! One Arrow IPC file → blocks of columns that borrow its mapping.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float32Type, Int64Type, UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{Array, FixedSizeListArray, PrimitiveArray, RecordBatch};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::root_as_footer;
use arrow_schema::{DataType, Field, Schema as ArrowSchema};

use super::Piece;
use super::manifest::PartRecord;
use crate::error::{Error, Result};
use crate::kernels::mapped::{self, Mmap, map_file};
use crate::model::schema::Schema;

/// A mapped part, shared by its blocks.
#[derive(Debug, Clone)]
struct Mapping(Arc<Mmap>);

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// One record batch, its buffers in the mapping.
#[derive(Debug)]
pub(super) struct Block {
    mapping: Mapping,
    pub(super) codes: ScalarBuffer<u32>,
    pub(super) labels: ScalarBuffer<u8>,
    pub(super) weights: Option<ScalarBuffer<f32>>,
    pub(super) times: Option<ScalarBuffer<i64>>,
    pub(super) groups: Option<ScalarBuffer<u64>>,
}

impl Block {
    pub(super) fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Gives back the memory of these rows; they are read from the file again when needed.
    pub(super) fn release(&self, within: Range<usize>, width: usize) {
        let give_back = |bytes: &[u8]| mapped::release(&self.mapping.0, bytes);
        give_back(bytemuck::cast_slice(&self.codes[within.start * width..within.end * width]));
        give_back(&self.labels[within.clone()]);
        self.weights.iter().for_each(|weights| give_back(bytemuck::cast_slice(&weights[within.clone()])));
        self.times.iter().for_each(|times| give_back(bytemuck::cast_slice(&times[within.clone()])));
        self.groups.iter().for_each(|groups| give_back(bytemuck::cast_slice(&groups[within.clone()])));
    }

    /// The rows `within` the block whose first row is row `first` of the dataset.
    pub(super) fn piece(&self, first: usize, within: Range<usize>, width: usize) -> Piece<'_> {
        Piece {
            rows: first + within.start..first + within.end,
            codes: &self.codes[within.start * width..within.end * width],
            labels: &self.labels[within.clone()],
            weights: self.weights.as_ref().map(|weights| &weights[within.clone()]),
            times: self.times.as_ref().map(|times| &times[within.clone()]),
            groups: self.groups.as_ref().map(|groups| &groups[within.clone()]),
        }
    }
}

/// The columns of a part.
pub(super) fn arrow_schema(schema: &Schema, width: usize) -> ArrowSchema {
    let mut fields = vec![Field::new("label", DataType::UInt8, false)];
    let optional = [
        (schema.weight.is_some(), "weight", DataType::Float32),
        (schema.time.is_some(), "time", DataType::Int64),
        (schema.group.is_some(), "group", DataType::UInt64),
    ];
    fields
        .extend(optional.into_iter().filter(|(there, ..)| *there).map(|(_, name, kind)| Field::new(name, kind, false)));
    fields.push(Field::new("codes", DataType::FixedSizeList(code_field(), width as i32), false));
    ArrowSchema::new(fields)
}

/// What stands in a row's list of codes.
pub(super) fn code_field() -> Arc<Field> {
    Arc::new(Field::new("code", DataType::UInt32, false))
}

/// Maps one file and appends its blocks.
///
/// # Errors
/// Io when it cannot be read; Data when it is not what its record says.
pub(super) fn open(
    path: &Path,
    record: &PartRecord,
    width: usize,
    schema: &Schema,
    blocks: &mut Vec<Block>,
) -> Result<()> {
    let file = std::fs::File::open(path).map_err(Error::io(path, "open"))?;
    let mapping = Mapping(Arc::new(map_file(&file).map_err(Error::io(path, "map"))?));
    let wrong = |message: String| Error::data(path.display().to_string(), message);
    let bytes = mapping.0.len() as u64;
    if bytes != record.bytes {
        return Err(wrong(format!("expected {} bytes, got {}: prepare the data again", record.bytes, bytes)));
    }
    let before = blocks.len();
    let buffer = Buffer::from(bytes::Bytes::from_owner(mapping.clone()));
    decode(&buffer, &mapping, width, schema, blocks)
        .map_err(|message| wrong(format!("is no part of prepared data: {message}")))?;
    let rows: usize = blocks[before..].iter().map(Block::rows).sum();
    if rows as u64 != record.rows {
        return Err(wrong(format!("expected {} rows, got {rows}", record.rows)));
    }
    Ok(())
}

fn decode(
    file: &Buffer,
    mapping: &Mapping,
    width: usize,
    schema: &Schema,
    blocks: &mut Vec<Block>,
) -> Result<(), String> {
    const TRAILER: usize = 10;
    let footer_end = file.len().checked_sub(TRAILER).ok_or("too short")?;
    let trailer = file[footer_end..].try_into().expect("ten bytes were cut");
    let footer_bytes = read_footer_length(trailer).map_err(|error| error.to_string())?;
    let footer_start = footer_end.checked_sub(footer_bytes).ok_or("the footer is longer than the file")?;
    let footer = root_as_footer(&file[footer_start..footer_end]).map_err(|error| error.to_string())?;
    let columns =
        try_fb_to_schema(footer.schema().ok_or("the footer has no schema")?).map_err(|error| error.to_string())?;
    let expected = arrow_schema(schema, width);
    if columns.fields() != expected.fields() {
        return Err(format!("expected the columns {}, got {}", names(&expected), names(&columns)));
    }
    let decoder = FileDecoder::new(Arc::new(columns), footer.version()).with_require_alignment(true);
    for batch in footer.recordBatches().ok_or("the footer lists no batches")? {
        let bounds = || {
            let start = usize::try_from(batch.offset()).ok()?;
            let length =
                usize::try_from(batch.metaDataLength()).ok()?.checked_add(usize::try_from(batch.bodyLength()).ok()?)?;
            (start.checked_add(length)? <= footer_start).then_some((start, length))
        };
        let (start, length) = bounds().ok_or("a batch lies outside the file")?;
        let body = file.slice_with_length(start, length);
        let batch = decoder.read_record_batch(batch, &body).map_err(|error| error.to_string())?;
        blocks.push(block(mapping, &batch.ok_or("an empty message stands where a batch should")?)?);
    }
    Ok(())
}

fn names(schema: &ArrowSchema) -> String {
    let fields = schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type()));
    fields.collect::<Vec<_>>().join(", ")
}

fn block(mapping: &Mapping, batch: &RecordBatch) -> Result<Block, String> {
    let codes = batch.column_by_name("codes").and_then(|array| array.as_any().downcast_ref::<FixedSizeListArray>());
    let codes = codes.ok_or("no codes")?;
    Ok(Block {
        mapping: mapping.clone(),
        codes: values::<UInt32Type>(codes.values().as_ref())?,
        labels: column::<UInt8Type>(batch, "label")?.ok_or("no labels")?,
        weights: column::<Float32Type>(batch, "weight")?,
        times: column::<Int64Type>(batch, "time")?,
        groups: column::<UInt64Type>(batch, "group")?,
    })
}

fn column<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str) -> Result<Option<ScalarBuffer<T::Native>>, String> {
    batch.column_by_name(name).map(|array| values::<T>(array.as_ref())).transpose()
}

fn values<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<ScalarBuffer<T::Native>, String> {
    let array =
        array.as_any().downcast_ref::<PrimitiveArray<T>>().ok_or("a column has another type than its schema says")?;
    match array.null_count() {
        0 => Ok(array.values().clone()),
        nulls => Err(format!("expected no nulls, got {nulls}")),
    }
}
