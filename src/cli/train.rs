//! `pctr train`: labeled rows → a bundle.

use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use toml::Table;

use super::progress::{self, Unit};
use super::rows::{self, Opening};
use super::{Context, pool, print, schema};
use crate::durable;
use crate::error::{Error, Result};
use crate::learn::dataset::View;
use crate::learn::prepare::{Foreseen, foresee};
use crate::learn::settings::{Evidence, Settings, from_flags};
use crate::learn::source::{Input, MAX_BAD_ROWS, Reading};
use crate::learn::split::{Amount, SplitConfig};
use crate::learn::trainer::{OnlineTask, Progress, Task, Trained, train, train_online};
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

const SETTINGS_HELP: &str = include_str!("settings_help.txt");

impl TrainArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let schema = schema(&self.schema)?;
        // Mistakes in settings are told before hours of preparing, not after.
        let table = from_flags(&self.set)?;
        Settings::resolve(self.model, &table, &schema, Evidence::LARGE, "--set")?;
        let cheap_table = from_flags(&self.cheap_set)?;
        let has_companion = self.model == ModelKind::Dcn && self.cheap == "ftrl";
        let companion = Wish { model: ModelKind::Ftrl, table: &cheap_table, schema: &schema, place: "--cheap-set" };
        let companion = has_companion.then_some(companion);
        if let Some(companion) = &companion {
            companion.settings(Evidence::LARGE)?;
        } else if !self.cheap_set.is_empty() {
            let message = format!("a {} model has no companion (--cheap {})", self.model, self.cheap);
            return Err(Error::config("--cheap-set", "cheap", message));
        }
        let pool = pool(self.threads)?;
        let threads = Threads::of(&pool);
        let wish = Wish { model: self.model, table: &table, schema: &schema, place: "--set" };
        let foreseen = self.foresee(context, &wish, threads)?;
        let encoder = foreseen.as_ref().map(|foreseen| &foreseen.encoder);
        let opening = Opening { schema: &schema, encoder, max_bad_rows: self.max_bad_rows, threads };
        let straight = match &foreseen {
            Some(foreseen) => self.straight_from_log(context, &wish, foreseen, &opening)?,
            None => None,
        };
        let trained = match straight {
            Some(trained) => trained,
            None => self.through_prepared(context, &wish, companion.as_ref(), &opening)?,
        };
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

/// What is to be trained, as far as it was said.
struct Wish<'a> {
    model: ModelKind,
    table: &'a Table,
    schema: &'a Schema,
    /// Where settings stand.
    place: &'static str,
}

impl Wish<'_> {
    /// The settings for rows at hand.
    fn settings(&self, evidence: Evidence) -> Result<Settings> {
        Settings::resolve(self.model, self.table, self.schema, evidence, self.place)
    }

    /// The settings, if they are the same for all of these and let the model learn online.
    fn online(&self, evidence: &[Evidence]) -> Result<Option<Settings>> {
        let mut all = evidence.iter().map(|evidence| self.settings(*evidence)).collect::<Result<Vec<_>>>()?;
        all.dedup();
        Ok(all.pop().filter(|settings| all.is_empty() && settings.learns_online()))
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

impl TrainArgs {
    /// A look at a log that a model may learn from while it is read; `None` where it cannot whatever stands in the log.
    fn foresee(&self, context: &Context, wish: &Wish<'_>, threads: Threads<'_>) -> Result<Option<Foreseen>> {
        let input = Input::new(&self.train);
        let some_rows: &[Evidence] = match input.is_stdin() {
            // It cannot be read again, so nothing may depend on the number of rows.
            true => &[Evidence::SMALL, Evidence::MEDIUM, Evidence::LARGE],
            false => &[Evidence::LARGE],
        };
        if self.valid.is_none() || self.train.is_dir() || wish.online(some_rows)?.is_none() {
            return Ok(None);
        }
        let reading = Reading { schema: wish.schema, targets: true, interrupt: &context.interrupt };
        foresee(&[input], reading, None, threads).map(Some)
    }

    /// Learns from the rows while the log is read, where model and settings allow it. Settings go by the number of rows, which is
    /// only foreseen: should they turn out other, `None` comes after all, and the rows must be read again.
    fn straight_from_log(
        &self,
        context: &Context,
        wish: &Wish<'_>,
        foreseen: &Foreseen,
        opening: &Opening<'_>,
    ) -> Result<Option<Trained>> {
        let Foreseen { encoder, inputs, evidence } = foreseen;
        let about = match inputs[0].is_stdin() {
            true => vec![*evidence],
            false => [0.9, 1.0, 1.1].map(|share| evidence.scaled(share)).into(),
        };
        let (Some(valid), Some(settings)) = (&self.valid, wish.online(&about)?) else { return Ok(None) };
        let valid = rows::open(context, valid, opening)?;
        let task = OnlineTask {
            inputs,
            schema: wish.schema,
            encoder,
            max_bad_rows: self.max_bad_rows,
            valid: valid.dataset.view(),
            settings,
            seed: self.seed,
            expected_rows: evidence.rows as u64,
        };
        let bar = progress::bar(context, self.model.name(), Unit::Rows, Some(0));
        let online = train_online(&task, opening.threads, &mut |at| show(&bar, at), &context.interrupt)?;
        bar.finish_and_clear();
        if wish.settings(online.evidence)? != task.settings {
            return Ok(None);
        }
        rows::note_bad_rows(context, &online.bad_rows);
        Ok(Some(online.trained))
    }

    /// Learns from prepared rows; a log is prepared in a scratch folder first.
    fn through_prepared(
        &self,
        context: &Context,
        wish: &Wish<'_>,
        companion: Option<&Wish<'_>>,
        opening: &Opening<'_>,
    ) -> Result<Trained> {
        let rows = rows::open(context, &self.train, opening)?;
        let of_valid = Opening { encoder: Some(rows.dataset.encoder()), ..opening.clone() };
        let valid_rows = self.valid.as_ref().map(|path| rows::open(context, path, &of_valid)).transpose()?;
        let (train_view, valid_view) = match &valid_rows {
            Some(valid) => (rows.dataset.view(), valid.dataset.view()),
            None => last_tenth(&rows.dataset, wish.schema)?,
        };
        let evidence = train_view.evidence();
        let settings = wish.settings(evidence)?;
        let task = Task { train: train_view, valid: valid_view, settings, seed: self.seed };
        let trained = train_with_bar(context, &task, opening.threads, self.model.name())?;
        let Some(companion) = companion else { return Ok(trained) };
        let task = Task { settings: companion.settings(evidence)?, ..task };
        trained.with_cheap(train_with_bar(context, &task, opening.threads, "cheap tier")?)
    }
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
