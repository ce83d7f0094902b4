//! `pctr prepare`: logs → a folder of prepared data that maps into memory.

use std::path::PathBuf;

use super::rows::{self, prepare_with_bar};
use super::{Context, pool, print, schema};
use crate::error::{Error, Result};
use crate::learn::dataset::{Dataset, Manifest};
use crate::learn::prepare::PrepareOptions;
use crate::learn::source::{Input, MAX_BAD_ROWS};
use crate::model::Threads;
use crate::model::bundle::Bundle;
use crate::model::features::Encoder;

/// Encode logs once, for many trainings: Arrow files that map into memory.
#[derive(Debug, clap::Args)]
pub(crate) struct PrepareArgs {
    /// Logs in row order: text (plain, gzip, zstd) or Parquet; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Preset (criteo, avazu, demo) or file of the logs' schema.
    #[arg(long, short)]
    schema: String,
    /// Folder to write; prepared data that stand there are replaced in one step.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Prepared data or bundle whose encoder to use, e.g. the training rows' for validation rows [default: learn one].
    #[arg(long, value_name = "DIR|BUNDLE")]
    encoder: Option<PathBuf>,
    /// Share of bad rows that is borne, 0 to 1.
    #[arg(long, default_value_t = MAX_BAD_ROWS)]
    max_bad_rows: f64,
    /// Threads; 0 takes one for each core. The same bytes are written by any number.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print the manifest as JSON.
    #[arg(long)]
    json: bool,
}

impl PrepareArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let schema = schema(&self.schema)?;
        let encoder = self.encoder.as_deref().map(encoder_of).transpose()?;
        let pool = pool(self.threads)?;
        let inputs: Vec<Input> = self.files.iter().map(Input::new).collect();
        let options = PrepareOptions { encoder, max_bad_rows: self.max_bad_rows, ..PrepareOptions::default() };
        let manifest = prepare_with_bar(context, &inputs, &schema, &self.output, options, Threads::of(&pool))?;
        rows::note_bad_rows(context, &manifest.bad_rows);
        if self.json {
            return print(&manifest.to_json());
        }
        print(&format!("{}: {}\n", rows::shown(&self.output), summary(&manifest)))
    }
}

/// The encoder of a folder of prepared data, or of a bundle.
fn encoder_of(folder: &std::path::Path) -> Result<Encoder> {
    match (Dataset::open(folder), Bundle::open(folder)) {
        (Ok(dataset), _) => Ok(dataset.encoder().clone()),
        (_, Ok(bundle)) => Ok(bundle.encoder),
        (Err(error), _) if error.kind() == crate::error::Kind::Io => Err(error),
        _ => Err(Error::config("--encoder", folder.display().to_string(), "expected prepared data or a bundle")),
    }
}

fn summary(manifest: &Manifest) -> String {
    let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
    format!(
        "{} rows, {} clicks (CTR {:.4}), {} codes a row, {:.1} MB, {} bad rows, data {}",
        manifest.rows,
        manifest.clicks,
        manifest.clicks as f64 / manifest.rows as f64,
        manifest.width,
        bytes as f64 / 1e6,
        manifest.bad_rows.count,
        manifest.data_fingerprint
    )
}
