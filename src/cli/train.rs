//! `pctr train`: labeled rows → a bundle.

use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::progress::{self, Unit};
use super::rows::{self, Opening};
use super::{Context, pool, print, schema};
use crate::durable;
use crate::error::{Error, Result};
use crate::learn::dataset::View;
use crate::learn::settings::{Evidence, Settings, from_flags};
use crate::learn::source::MAX_BAD_ROWS;
use crate::learn::split::{Amount, SplitConfig};
use crate::learn::trainer::{Progress, Task, Trained, train};
use crate::model::Threads;
use crate::model::bundle::ModelKind;
use crate::model::schema::Schema;

/// Train a model and write it as a bundle.
#[derive(Debug, clap::Args)]
#[command(after_long_help = SETTINGS_HELP)]
pub(crate) struct TrainArgs {
    /// Kind of model: base-rate, ftrl (hashed logistic regression) or dcn (deep & cross network v2).
    #[arg(long, value_parser = model_kind)]
    model: ModelKind,
    /// A preset (criteo, avazu, demo) or a schema file.
    #[arg(long)]
    schema: String,
    /// Training rows: a log (plain, gzip, zstd, Parquet) or a folder made by pctr prepare.
    #[arg(long, value_name = "FILE|DIR")]
    train: PathBuf,
    /// Rows that decide calibration and early stopping; without them, the last tenth of the training rows by time.
    #[arg(long, value_name = "FILE|DIR")]
    valid: Option<PathBuf>,
    /// Seed of initial weights, order and dropout: the same seed gives the same bytes, at any number of threads.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 takes one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// A setting, e.g. --set passes=2; see below.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Companion of a dcn for candidates that a request has no time for, calibrated on the same rows: ftrl or none.
    #[arg(long, value_name = "KIND", default_value = "ftrl", value_parser = ["ftrl", "none"])]
    cheap: String,
    /// A setting of the companion, as --set.
    #[arg(long, value_name = "KEY=VALUE")]
    cheap_set: Vec<String>,
    /// Share of bad rows that is borne, 0 to 1.
    #[arg(long, default_value_t = MAX_BAD_ROWS)]
    max_bad_rows: f64,
    /// Folder of the bundle.
    #[arg(short, long, value_name = "BUNDLE")]
    out: PathBuf,
    /// Also write how training went (rows, seconds, curve, threads, instruction set) as JSON; a bundle holds no times, so
    /// that the same data and seed give the same bytes.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print the bundle's manifest as JSON.
    #[arg(long)]
    json: bool,
}

/// Settings are checked for some rows before any are read.
const ANY_EVIDENCE: Evidence = Evidence { rows: 1_000_000, clicks: 30_000 };

const SETTINGS_HELP: &str = include_str!("settings_help.txt");

impl TrainArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let schema = schema(&self.schema)?;
        // Mistakes in settings are told before hours of preparing, not after.
        let table = from_flags(&self.set)?;
        Settings::resolve(self.model, &table, &schema, ANY_EVIDENCE, "--set")?;
        let cheap_table = from_flags(&self.cheap_set)?;
        let has_companion = self.model == ModelKind::Dcn && self.cheap == "ftrl";
        let companion_settings =
            |evidence| Settings::resolve(ModelKind::Ftrl, &cheap_table, &schema, evidence, "--cheap-set");
        if has_companion {
            companion_settings(ANY_EVIDENCE)?;
        } else if !self.cheap_set.is_empty() {
            let message = format!("a {} model has no companion (--cheap {})", self.model, self.cheap);
            return Err(Error::config("--cheap-set", "cheap", message));
        }
        let pool = pool(self.threads)?;
        let threads = Threads::of(&pool);
        let mut opening = Opening { schema: &schema, encoder: None, max_bad_rows: self.max_bad_rows, threads };
        let rows = rows::open(context, &self.train, &opening)?;
        opening.encoder = Some(rows.dataset.encoder());
        let valid_rows = self.valid.as_ref().map(|path| rows::open(context, path, &opening)).transpose()?;
        let (train_view, valid_view) = match &valid_rows {
            Some(valid) => (rows.dataset.view(), valid.dataset.view()),
            None => last_tenth(&rows.dataset, &schema)?,
        };
        let settings = Settings::resolve(self.model, &table, &schema, train_view.evidence(), "--set")?;
        let companion = has_companion.then(|| companion_settings(train_view.evidence())).transpose()?;
        let task = Task { train: train_view, valid: valid_view, settings, seed: self.seed };
        let mut trained = train_with_bar(context, &task, threads, self.model.name())?;
        if let Some(settings) = companion {
            let companion = train_with_bar(context, &Task { settings, ..task }, threads, "cheap tier")?;
            trained = trained.with_cheap(companion)?;
        }
        trained.bundle.write(&self.out)?;
        let manifest = &trained.bundle.manifest;
        if let Some(path) = &self.record {
            write_record(path, &trained, threads)?;
        }
        if self.json {
            let json = serde_json::to_string_pretty(manifest).map_err(|error| Error::Bug(error.to_string()))?;
            return print(&format!("{json}\n"));
        }
        let metric = |name: &str| manifest.metrics.get(name).map_or("-".into(), |value| format!("{value:.5}"));
        print(&format!(
            "{}  valid log loss {}  AUC {}  PCOC {}  ({} rows in {:.1} s, {:?} calibration)\n{}\n",
            manifest.model,
            metric("valid_log_loss"),
            metric("valid_auc"),
            metric("valid_pcoc"),
            trained.record.rows,
            trained.record.seconds,
            manifest.profile.calibration.method,
            rows::shown(&self.out),
        ))
    }
}

/// Trains, showing how far it is and how well it goes.
///
/// # Errors
/// Those of training.
pub(crate) fn train_with_bar(context: &Context, task: &Task<'_>, threads: Threads<'_>, what: &str) -> Result<Trained> {
    let bar = progress::bar(context, what, Unit::Rows, Some(0));
    let trained = train(task, threads, &mut |at| show(&bar, at), &context.interrupt)?;
    bar.finish_and_clear();
    Ok(trained)
}

fn show(bar: &ProgressBar, at: Progress) {
    bar.set_length(at.total_rows);
    bar.set_position(at.rows);
    let valid = at.valid_log_loss.map_or(String::new(), |loss| format!(", valid {loss:.5}"));
    bar.set_message(format!("log loss {:.5}{valid}", at.log_loss));
}

/// What a bundle does not say about its training.
fn write_record(path: &Path, trained: &Trained, threads: Threads<'_>) -> Result<()> {
    let manifest = &trained.bundle.manifest;
    let record = serde_json::json!({
        "model": manifest.model,
        "threads": threads.count(),
        "isa": manifest.provenance.isa,
        "training": trained.record,
    });
    durable::write_file(path, |file| writeln!(file, "{record:#}").map_err(Error::io(path, "write")))
}

/// All but the last tenth to train, the last tenth to calibrate and stop.
fn last_tenth<'a>(dataset: &'a crate::learn::dataset::Dataset, schema: &Schema) -> Result<(View<'a>, View<'a>)> {
    let by_time = SplitConfig {
        train: Amount::Share(0.9),
        valid: Amount::Share(0.1),
        test: Amount::Rows(0),
        ..SplitConfig::default()
    };
    if !dataset.has_time() && !schema.rows_in_time_order {
        let message = "without --valid the last tenth by time is used, but the schema has no field of kind \"time\" and does \
                       not say rows_in_time_order = true; pass --valid";
        return Err(Error::config("--valid", "valid", message));
    }
    let split = by_time.split(dataset, "--train")?;
    Ok((split.train, split.valid))
}

fn model_kind(name: &str) -> Result<ModelKind, String> {
    let kinds = [ModelKind::BaseRate, ModelKind::Ftrl, ModelKind::Dcn];
    kinds.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let hint = crate::error::nearest(name, kinds.map(ModelKind::name));
        format!("expected base-rate, ftrl or dcn{hint}")
    })
}
