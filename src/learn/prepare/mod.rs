//! Logs → a folder of prepared data ([`crate::learn::dataset`]), in the memory of one block of rows.
//!
//! Quantile bins are learned in a first pass over all rows; without them (or with an encoder given) one pass does. The
//! folder appears under its name only when it is complete ([`PartialFolder`]).

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use super::Interrupt;
use super::dataset::{DatasetWriter, MANIFEST, Manifest};
use super::source::{BadRows, Found, Input, MAX_BAD_ROWS, Progress, Reading, Refusal, read_rows};
use super::split::Amount;
use crate::durable::PartialFolder;
use crate::error::{Error, Result};
use crate::model::features::{Encoder, EncoderBuilder};
use crate::model::row::targets;
use crate::model::schema::Schema;

/// How logs are prepared.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// Encoder to use, e.g. that of the training rows for validation rows; `None` learns one.
    pub encoder: Option<Encoder>,
    /// Rows that an encoder is learned from: the first of them, so that rows to be tested on teach it nothing; `None` for all.
    pub learn_from: Option<Amount>,
    /// Share of bad rows that is borne, 0 to 1.
    pub max_bad_rows: f64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        PrepareOptions { encoder: None, learn_from: None, max_bad_rows: MAX_BAD_ROWS }
    }
}

/// How far preparing is, over all logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareProgress {
    /// Number of this pass over the logs, from 1.
    pub pass: u32,
    /// Passes in all.
    pub passes: u32,
    /// Stored bytes read in this pass.
    pub bytes: u64,
    /// Stored bytes of all logs, if known.
    pub total_bytes: Option<u64>,
    /// Rows seen in this pass.
    pub rows: u64,
}

/// Prepares `inputs`, in order, as the folder `target`; an earlier set of that name is replaced in one step.
///
/// # Errors
/// Config when there is no input, the encoder is another schema's, or `target` is something else than prepared data; Io when
/// something cannot be read or written; Data when a log is damaged or has too many bad rows or no good one; Interrupted.
/// In every case `target` stays as it was.
pub fn prepare(
    inputs: &[Input],
    schema: &Schema,
    target: &Path,
    options: PrepareOptions,
    progress: &mut dyn FnMut(PrepareProgress),
    interrupt: &Interrupt,
) -> Result<Manifest> {
    let total_bytes = total_bytes(inputs)?;
    let folder = PartialFolder::create(target, MANIFEST)?;
    let reading = Reading { schema, targets: true, interrupt };
    let learns = options.encoder.is_none() && EncoderBuilder::new(schema).learns();
    // Standard input can be read once only, so two passes need it on disk.
    let mut inputs = inputs.to_vec();
    let spool = folder.path().join("standard-input");
    if let Some(input) = inputs.iter_mut().find(|input| learns && input.is_stdin()) {
        copy_stdin(&spool)?;
        *input = Input::named(&spool, input.name());
    }

    let passes = 1 + u32::from(learns);
    let mut step = |pass: u32, progress_of: Progress| {
        let Progress { bytes, rows } = progress_of;
        progress(PrepareProgress { pass, passes, bytes, total_bytes, rows });
    };
    let encoder = match options.encoder {
        Some(encoder) if encoder.schema() != schema.fingerprint() => {
            let message = format!("the encoder was learned for another schema than {}", schema.name);
            return Err(Error::config("prepare", "encoder", message));
        }
        Some(encoder) => encoder,
        None => learn_encoder(&inputs, reading, options.learn_from, options.max_bad_rows, &mut |at| step(1, at))?,
    };

    let mut bad = BadRows::new(options.max_bad_rows)?;
    let mut writer = DatasetWriter::new(folder.path(), schema, &encoder);
    let mut records = Vec::new();
    let mut before = 0;
    for input in &inputs {
        let mut visit = |found: Found<'_>| {
            if let Found::Row { cells, .. } = found {
                let targets = targets(schema, cells)?;
                writer.push(targets, |codes| encoder.encode(cells, codes))??;
            }
            Ok::<_, Refusal>(ControlFlow::Continue(()))
        };
        let mut at = |at: Progress| step(passes, Progress { bytes: before + at.bytes, ..at });
        let record = read_rows(input, reading, &mut bad, &mut at, &mut visit)?;
        before += record.bytes;
        records.push(record);
    }
    bad.finish(&names(&inputs))?;
    let manifest = writer.finish(records, options.learn_from, bad.record().clone())?;
    if spool.exists() {
        std::fs::remove_file(&spool).map_err(Error::io(&spool, "remove"))?;
    }
    interrupt.check()?;
    folder.commit()?;
    Ok(manifest)
}

/// Learns the schema's encoder from the rows of `inputs` (the first ones, with `learn_from`); reads nothing when there is nothing to learn.
///
/// # Errors
/// Those of [`read_rows`]; Config when an input is standard input, which cannot be read again.
pub fn learn_encoder(
    inputs: &[Input],
    reading: Reading<'_>,
    learn_from: Option<Amount>,
    max_bad_rows: f64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Encoder> {
    let mut builder = EncoderBuilder::new(reading.schema);
    if !builder.learns() {
        return Ok(builder.finish());
    }
    if inputs.iter().any(Input::is_stdin) {
        let message =
            "quantile bins need two passes, and standard input can be read only once; write it to a file first";
        return Err(Error::config("standard input", "bins", message));
    }
    let mut bad = BadRows::new(max_bad_rows)?;
    let mut before = 0;
    for input in inputs {
        let mut visit = |found: Found<'_>| {
            if let Found::Row { cells, .. } = found {
                builder.observe(cells);
            }
            Ok::<_, Refusal>(ControlFlow::Continue(()))
        };
        let mut at = |at: Progress| progress(Progress { bytes: before + at.bytes, ..at });
        before += read_rows(input, reading, &mut bad, &mut at, &mut visit)?.bytes;
    }
    let rows = match learn_from {
        None => builder.rows(),
        Some(Amount::Rows(rows)) => rows,
        Some(Amount::Share(share)) => (share * builder.rows() as f64) as u64,
    };
    Ok(builder.finish_on_first(rows))
}

/// Stored bytes of all logs, if all are files.
fn total_bytes(inputs: &[Input]) -> Result<Option<u64>> {
    if inputs.is_empty() {
        return Err(Error::config("prepare", "FILE", "expected at least one log, got none"));
    }
    if inputs.iter().filter(|input| input.is_stdin()).count() > 1 {
        return Err(Error::config("prepare", "FILE", "expected standard input (-) at most once"));
    }
    let sizes = inputs.iter().map(Input::bytes).collect::<Result<Vec<_>>>()?;
    Ok(sizes.into_iter().sum())
}

fn names(inputs: &[Input]) -> String {
    inputs.iter().map(Input::name).collect::<Vec<_>>().join(", ")
}

fn copy_stdin(path: &Path) -> Result<()> {
    let mut file = File::create_new(path).map_err(Error::io(path, "create"))?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file).map_err(Error::io(path, "copy standard input to"))?;
    Ok(())
}

#[cfg(test)]
mod tests;
