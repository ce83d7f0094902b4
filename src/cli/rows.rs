//! FILE or DIR as the user gave it → a dataset: prepared data are opened, logs are prepared in a scratch folder first.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Context;
use super::progress::{self, Unit};
use crate::error::{Error, Result};
use crate::learn::dataset::{self, BadRowsRecord, Dataset};
use crate::learn::prepare::{PrepareOptions, prepare};
use crate::learn::source::Input;
use crate::model::Threads;
use crate::model::features::Encoder;
use crate::model::schema::Schema;

/// Rows a command works on. A scratch folder is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The rows.
    pub(crate) dataset: Dataset,
    _scratch: Option<TempDir>,
}

/// How logs become rows.
#[derive(Debug, Clone)]
pub(crate) struct Opening<'a> {
    /// Schema of the logs; prepared data must be of the same one.
    pub(crate) schema: &'a Schema,
    /// Encoder the rows must have, e.g. that of the training rows or of a bundle.
    pub(crate) encoder: Option<&'a Encoder>,
    /// Share of bad rows that is borne.
    pub(crate) max_bad_rows: f64,
    /// Threads that prepare logs.
    pub(crate) threads: Threads<'a>,
}

/// Opens a prepared folder, or prepares a log.
///
/// # Errors
/// Config when prepared data are of another schema or were encoded another way; those of preparing.
pub(crate) fn open(context: &Context, path: &Path, opening: &Opening<'_>) -> Result<Rows> {
    if path.is_dir() {
        let dataset = Dataset::open(path)?;
        let place = path.display().to_string();
        if dataset.schema().fingerprint() != opening.schema.fingerprint() {
            let message = format!("expected data of schema {}, got {}", opening.schema.name, dataset.schema().name);
            return Err(Error::config(place, "schema", message));
        }
        if opening.encoder.is_some_and(|encoder| encoder.fingerprint() != dataset.encoder().fingerprint()) {
            let message = "these rows were encoded with other quantile bins than the model's; \
                           prepare them with --encoder, or pass the log itself";
            return Err(Error::config(place, "encoder", message));
        }
        return Ok(Rows { dataset, _scratch: None });
    }
    let scratch = TempDir::with_prefix("pctr-").map_err(Error::io(&std::env::temp_dir(), "create a folder in"))?;
    let target = scratch.path().join("rows");
    let options = PrepareOptions {
        encoder: opening.encoder.cloned(),
        learn_from: None,
        max_bad_rows: opening.max_bad_rows,
        scratch: true,
    };
    let manifest = prepare_with_bar(context, &[Input::new(path)], opening.schema, &target, options, opening.threads)?;
    note_bad_rows(context, &manifest.bad_rows);
    Ok(Rows { dataset: Dataset::open(&target)?, _scratch: Some(scratch) })
}

/// Prepares logs, showing how far it is.
///
/// # Errors
/// Those of preparing.
pub(crate) fn prepare_with_bar(
    context: &Context,
    inputs: &[Input],
    schema: &Schema,
    target: &Path,
    options: PrepareOptions,
    threads: Threads<'_>,
) -> Result<dataset::Manifest> {
    let total = inputs.iter().map(Input::bytes).collect::<Result<Option<Vec<u64>>>>()?;
    let bar = progress::bar(context, "prepare", Unit::Bytes, total.map(|sizes| sizes.iter().sum()));
    let mut on_progress = |at: crate::learn::prepare::PrepareProgress| {
        bar.set_position(at.bytes);
        bar.set_message(format!("{} rows", at.rows));
    };
    let manifest = prepare(inputs, schema, target, options, threads, &mut on_progress, &context.interrupt)?;
    bar.finish_and_clear();
    Ok(manifest)
}

/// Tells people about rows that could not be used.
pub(crate) fn note_bad_rows(context: &Context, bad: &BadRowsRecord) {
    if bad.count == 0 {
        return;
    }
    context.note(format_args!("{} bad rows were left out:", bad.count));
    for (expectation, count) in &bad.by_expectation {
        context.note(format_args!("  {count} × expected {expectation}"));
    }
    for example in &bad.examples {
        context.note(format_args!("  {example}"));
    }
}

/// A path argument that a person can read in messages.
pub(crate) fn shown(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}
