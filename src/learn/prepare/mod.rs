//! Logs → a folder of prepared data ([`crate::learn::dataset`]), in the memory of a few blocks of rows, by all threads lent.
//!
//! Quantile bins are learned from a bounded sample ([`super::source::read_sample`]), so that each row is read once. Rows are
//! encoded block by block by any thread and written in the order of the logs: the same bytes at any number of threads. The folder
//! appears under its name only when it is complete ([`PartialFolder`]).

mod encode;

use std::path::Path;

pub(in crate::learn) use encode::BlockEncoder;
use encode::BlockSampler;

use super::Interrupt;
use super::dataset::{DatasetWriter, MANIFEST, Manifest};
use super::settings::Evidence;
use super::source::{BLOCK, BadRows, Input, MAX_BAD_ROWS, Progress, Reading, read_blocks, read_sample};
use super::split::Amount;
use crate::durable::PartialFolder;
use crate::error::{Error, Result};
use crate::model::Threads;
use crate::model::features::{ColumnEncoder, Encoder, EncoderBuilder};
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
    /// The folder is thrown away after use, so nothing waits until it is on the disk.
    pub scratch: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        PrepareOptions { encoder: None, learn_from: None, max_bad_rows: MAX_BAD_ROWS, scratch: false }
    }
}

/// How far preparing is, over all logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareProgress {
    /// Stored bytes read.
    pub bytes: u64,
    /// Stored bytes of all logs, if known.
    pub total_bytes: Option<u64>,
    /// Rows seen.
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
    threads: Threads<'_>,
    progress: &mut (dyn FnMut(PrepareProgress) + Send),
    interrupt: &Interrupt,
) -> Result<Manifest> {
    prepare_in_blocks(inputs, schema, target, options, threads, progress, interrupt, BLOCK)
}

/// [`prepare`] with blocks of about `block` bytes.
#[allow(clippy::too_many_arguments, reason = "those of prepare, and what tests turn")]
fn prepare_in_blocks(
    inputs: &[Input],
    schema: &Schema,
    target: &Path,
    options: PrepareOptions,
    threads: Threads<'_>,
    progress: &mut (dyn FnMut(PrepareProgress) + Send),
    interrupt: &Interrupt,
    block: usize,
) -> Result<Manifest> {
    let total_bytes = total_bytes(inputs)?;
    let folder = PartialFolder::create(target, MANIFEST)?;
    let reading = Reading { schema, targets: true, interrupt };
    let (encoder, inputs) = match options.encoder {
        Some(encoder) if encoder.schema() != schema.fingerprint() => {
            let message = format!("the encoder was learned for another schema than {}", schema.name);
            return Err(Error::config("prepare", "encoder", message));
        }
        Some(encoder) => (encoder, inputs.to_vec()),
        None => learn_encoder(inputs, reading, options.learn_from, threads)?,
    };

    let mut bad = BadRows::new(options.max_bad_rows)?;
    let mut writer = DatasetWriter::new(folder.path(), schema, &encoder, !options.scratch);
    let columns = ColumnEncoder::new(&encoder);
    let make = || BlockEncoder::new(schema, &encoder, &columns);
    let mut records = Vec::new();
    let mut before = 0;
    for input in &inputs {
        let mut at = |Progress { bytes, rows }: Progress| {
            progress(PrepareProgress { bytes: before + bytes, total_bytes, rows });
        };
        let mut take = |encoded: &mut BlockEncoder<'_>| {
            writer.append(encoded.rows())?;
            encoded.clear();
            Ok(())
        };
        let record = read_blocks(input, reading, block, &mut bad, threads, &mut at, &make, &mut take)?;
        before += record.bytes;
        records.push(record);
    }
    bad.finish(&names(&inputs))?;
    let manifest = writer.finish(records, options.learn_from, bad.record().clone())?;
    interrupt.check()?;
    match options.scratch {
        true => folder.commit_unflushed()?,
        false => folder.commit()?,
    }
    Ok(manifest)
}

/// Learns the schema's encoder as [`foresee`] does, but reads nothing when there is nothing to learn. The logs to be read from
/// now on come with it.
///
/// # Errors
/// Those of [`read_sample`].
pub fn learn_encoder(
    inputs: &[Input],
    reading: Reading<'_>,
    learn_from: Option<Amount>,
    threads: Threads<'_>,
) -> Result<(Encoder, Vec<Input>)> {
    let builder = EncoderBuilder::new(reading.schema);
    if !builder.learns() {
        return Ok((builder.finish(), inputs.to_vec()));
    }
    let Foreseen { encoder, inputs, .. } = foresee(inputs, reading, learn_from, threads)?;
    Ok((encoder, inputs))
}

/// What a sample of logs tells before all their rows are read.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// The schema's encoder.
    pub encoder: Encoder,
    /// The logs, to be read from now on: standard input cannot be read twice.
    pub inputs: Vec<Input>,
    /// How many rows and clicks there are, about; those of the sample where nobody knows how long the logs are.
    pub evidence: Evidence,
}

/// Learns the schema's encoder from a sample of the rows of `inputs` (the first ones, with `learn_from`).
///
/// # Errors
/// Those of [`read_sample`].
pub fn foresee(
    inputs: &[Input],
    reading: Reading<'_>,
    learn_from: Option<Amount>,
    threads: Threads<'_>,
) -> Result<Foreseen> {
    let mut builder = EncoderBuilder::new(reading.schema);
    let make = || BlockSampler::new(reading.schema, builder.sample());
    let sampled = read_sample(inputs, reading, learn_from.is_some(), threads, &make)?;
    let mut clicks = 0;
    for sampler in &sampled.takers {
        builder.observe_sample(sampler.numbers());
        clicks += sampler.clicks();
    }
    // A share of the rows that were sampled is at most that share of all rows, so that no later row teaches anything.
    let rows = builder.rows();
    let all = rows as f64 * sampled.scale;
    let (first, of) = match learn_from {
        None => (rows, all),
        Some(Amount::Rows(first)) => (first, all.min(first as f64)),
        Some(Amount::Share(share)) => ((share * rows as f64) as u64, share * all),
    };
    let evidence = Evidence { rows: all as usize, clicks: (clicks as f64 * sampled.scale) as usize };
    Ok(Foreseen { encoder: builder.finish_on_first(first, of as u64), inputs: sampled.inputs, evidence })
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

#[cfg(test)]
mod tests;
