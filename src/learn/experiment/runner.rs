//! A recipe → finished runs in a folder → their comparison.
//!
//! ```text
//! OUT/experiment.json   which recipe, which command
//! OUT/data/             prepared rows, used again when files and schema are the same
//! OUT/runs/NAME-SEED/   run.json, test.parquet, valid.parquet, bundle/; there whole or not at all
//! ```
//!
//! A run that is there already and was made from the same data, split, settings, seed and version is not run again, so an
//! experiment that was stopped goes on where it was. Each point of a grid is tried with the first seeds; the one with the
//! least validation log loss runs with the others.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compare::{self, Comparison};
use super::data::{self, ExperimentData};
use super::grid;
use super::plan::Plan;
use super::predictions::{TEST_FILE, VALID_FILE};
use super::recipe::{ModelRecipe, Recipe};
use super::record::{DataRecord, ExperimentMark, GridPlace, RECORD_FILE, RunRecord, folder_name};
use super::run::{RunOutcome, RunTask};
use crate::durable::{PartialFolder, write_bytes};
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::prepare::PrepareProgress;
use crate::learn::split::Split;
use crate::learn::trainer::Progress;
use crate::model::Threads;
use crate::model::features::hash::Fingerprint;

/// File that says a folder is an experiment.
pub const EXPERIMENT_FILE: &str = "experiment.json";
/// Folder of an experiment that holds its runs.
pub const RUNS: &str = "runs";
/// Folder of a run that holds its bundle.
pub const BUNDLE: &str = "bundle";

/// How a recipe is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The experiment's folder.
    pub out: PathBuf,
    /// Go on in a folder of another recipe, keeping the runs whose data and settings are the same.
    pub resume: bool,
    /// The command that does the same again, for the record.
    pub command: String,
}

/// What happens while an experiment runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// Logs are read.
    Preparing(PrepareProgress),
    /// Everything is known that is going to be run.
    Planned(&'a Plan),
    /// A run begins.
    Started {
        /// Its folder's name.
        run: &'a str,
        /// Its number, from 1.
        number: usize,
        /// Runs in all.
        of: usize,
    },
    /// A model learns.
    Training(Progress),
    /// A run is there.
    Finished {
        /// Its record.
        record: &'a RunRecord,
        /// Whether it was there before.
        kept: bool,
    },
    /// All runs are there and are compared.
    Comparing,
}

/// `experiment.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentRecord {
    /// Name of the experiment.
    pub name: String,
    /// The question it answers.
    pub question: Option<String>,
    /// The recipe as used, `--set` applied.
    pub recipe: String,
    /// Identity of the recipe.
    pub fingerprint: Fingerprint,
    /// The command that does the same again.
    pub command: String,
    /// Version of pctr.
    pub pctr: String,
    /// How intervals are made.
    pub bootstrap: super::rules::BootstrapConfig,
    /// When a difference counts.
    pub verdict: super::rules::VerdictConfig,
    /// What a winner must keep.
    pub limits: super::rules::Limits,
    /// Folders of its runs, in order, once all are finished; a run beside them belongs to an earlier recipe.
    pub runs: Option<Vec<String>>,
}

/// Says what [`run`] would do. Prepares the rows, since their number decides defaults, and trains nothing.
///
/// # Errors
/// Those of [`run`] before the first run.
pub fn plan(
    recipe: &Recipe,
    options: &RunOptions,
    threads: Threads<'_>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<Plan> {
    check(recipe, options)?;
    if ExperimentRecord::read(&options.out)?.is_none() {
        write_experiment(recipe, options, None)?;
    }
    let preparing = &mut |at| on_event(Event::Preparing(at));
    let data = data::open(recipe, &options.out.join("data"), threads, preparing, interrupt)?;
    let split = data.split(recipe)?;
    Plan::new(recipe, data.schema(), &data.record(&split))
}

/// Runs a recipe and compares its runs.
///
/// # Errors
/// Config when the recipe is wrong or the folder holds something else; data and io as they come; interrupted, after which the
/// same call goes on with the run that was stopped.
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    threads: Threads<'_>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<Comparison> {
    check(recipe, options)?;
    write_experiment(recipe, options, None)?;
    let preparing = &mut |at| on_event(Event::Preparing(at));
    let data = data::open(recipe, &options.out.join("data"), threads, preparing, interrupt)?;
    let split = data.split(recipe)?;
    let record = data.record(&split);
    let truth = data.truth_of(&split.test);
    let plan = Plan::new(recipe, data.schema(), &record)?;
    on_event(Event::Planned(&plan));
    let mut runner = Runner {
        recipe,
        data: &data,
        split: &split,
        record: &record,
        truth: truth.as_deref(),
        runs: options.out.join(RUNS),
        threads,
        interrupt,
        on_event,
        number: 0,
        of: plan.runs,
        folders: Vec::new(),
    };
    for model in &recipe.models {
        runner.run_model(model)?;
    }
    let folders = std::mem::take(&mut runner.folders);
    write_experiment(recipe, options, Some(folders))?;
    on_event(Event::Comparing);
    interrupt.check()?;
    compare::compare(std::slice::from_ref(&options.out), threads, interrupt)
}

/// Checks what can be checked before any row is read.
fn check(recipe: &Recipe, options: &RunOptions) -> Result<()> {
    if let Some(schema) = recipe.schema()? {
        recipe.check_models(&schema)?;
    }
    let out = &options.out;
    let refused = |message: String| Err(Error::config("--out", out.display().to_string(), message));
    let holds_runs = || std::fs::read_dir(out.join(RUNS)).is_ok_and(|mut entries| entries.next().is_some());
    match ExperimentRecord::read(out)? {
        Some(other) if other.fingerprint != recipe.fingerprint && !options.resume && holds_runs() => refused(format!(
            "it holds runs of another recipe ({}); name another folder, or give --resume to keep the runs whose data and \
             settings are the same",
            other.name
        )),
        None if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) => {
            refused(format!("it exists and holds no {EXPERIMENT_FILE}; name another folder, or remove it first"))
        }
        _ => Ok(()),
    }
}

fn write_experiment(recipe: &Recipe, options: &RunOptions, runs: Option<Vec<String>>) -> Result<()> {
    let record = ExperimentRecord {
        name: recipe.name.clone(),
        question: recipe.question.clone(),
        recipe: recipe.text.clone(),
        fingerprint: recipe.fingerprint,
        command: options.command.clone(),
        pctr: env!("CARGO_PKG_VERSION").into(),
        bootstrap: recipe.bootstrap,
        verdict: recipe.verdict,
        limits: recipe.limits,
        runs,
    };
    let mut text = serde_json::to_string_pretty(&record).map_err(|error| Error::Bug(error.to_string()))?;
    text.push('\n');
    write_bytes(&options.out.join(EXPERIMENT_FILE), text.as_bytes())
}

impl ExperimentRecord {
    /// Reads the record of the experiment in `folder`; `None` when there is none.
    ///
    /// # Errors
    /// Io when it cannot be read; data when it is broken.
    pub fn read(folder: &Path) -> Result<Option<ExperimentRecord>> {
        let path = folder.join(EXPERIMENT_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
        let wrong = |error| Error::data(path.display().to_string(), format!("is no record of an experiment: {error}"));
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }
}

struct Runner<'a> {
    recipe: &'a Recipe,
    data: &'a ExperimentData,
    split: &'a Split<'a>,
    record: &'a DataRecord,
    truth: Option<&'a [f64]>,
    runs: PathBuf,
    threads: Threads<'a>,
    interrupt: &'a Interrupt,
    on_event: &'a mut (dyn FnMut(Event<'_>) + Send),
    number: usize,
    of: usize,
    folders: Vec<String>,
}

impl Runner<'_> {
    fn run_model(&mut self, model: &ModelRecipe) -> Result<()> {
        let (trial_seeds, other_seeds) = match model.points.len() {
            1 => (&model.seeds[..0], &model.seeds[..]),
            _ => model.seeds.split_at(model.grid_seeds),
        };
        let mut tried = Vec::new();
        for point in 0..model.points.len() {
            for seed in trial_seeds {
                let record = self.run_one(model, point, *seed)?;
                tried.push((point, *seed, record.selection_log_loss.unwrap_or(f64::NAN)));
            }
        }
        let point = grid::choose(&tried).unwrap_or(0);
        for seed in other_seeds {
            self.run_one(model, point, *seed)?;
        }
        Ok(())
    }

    fn run_one(&mut self, model: &ModelRecipe, point: usize, seed: u64) -> Result<RunRecord> {
        self.interrupt.check()?;
        let recipe = self.recipe;
        let grid = (model.points.len() > 1)
            .then(|| GridPlace { point, values: grid::describe(&model.points[point], &model.grid_keys) });
        let name = folder_name(&model.name, grid.as_ref().map(|grid| grid.point), seed);
        self.number += 1;
        (self.on_event)(Event::Started { run: &name, number: self.number, of: self.of });
        let methods = &recipe.calibration.methods;
        let (evidence, place) = (self.split.train.evidence(), recipe.model_place(model));
        let task = RunTask {
            experiment: ExperimentMark { name: recipe.name.clone(), recipe: recipe.fingerprint },
            model: &model.name,
            kind: model.kind,
            grid,
            settings: model.kind.resolve(&model.points[point], methods, self.data.schema(), evidence, &place)?,
            seed,
            split: self.split,
            data: self.record,
            truth: self.truth,
            threads: self.threads,
            interrupt: self.interrupt,
        };
        let folder = self.runs.join(&name);
        let identity = task.identity()?;
        let kept = RunRecord::read(&folder).ok().filter(|record| record.identity == identity);
        let was_kept = kept.is_some();
        let record = match kept {
            Some(record) => record,
            None => {
                let outcome = task.run(&mut |at| (self.on_event)(Event::Training(at)))?;
                write_run(&folder, &outcome)?;
                outcome.record
            }
        };
        (self.on_event)(Event::Finished { record: &record, kept: was_kept });
        self.folders.push(name);
        Ok(record)
    }
}

fn write_run(folder: &Path, outcome: &RunOutcome) -> Result<()> {
    let partial = PartialFolder::create(folder, RECORD_FILE)?;
    outcome.test.write(&partial.path().join(TEST_FILE))?;
    if let Some(valid) = &outcome.valid {
        valid.write(&partial.path().join(VALID_FILE))?;
    }
    if let Some(bundle) = &outcome.bundle {
        bundle.write(&partial.path().join(BUNDLE))?;
    }
    write_bytes(&partial.path().join(RECORD_FILE), outcome.record.to_json().as_bytes())?;
    partial.commit()
}
