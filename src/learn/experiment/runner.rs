//! A recipe → finished runs in a folder → their comparison.
//!
//! ```text
//! OUT/experiment.json                    which recipe, which command
//! OUT/data/                              prepared rows, used again when files and schema are the same
//! OUT/runs/NAME[-gPOINT][-fFOLD]-SEED/   run.json, machine.json, test.parquet, valid.parquet, bundle/; there whole or not at all
//! OUT/trials/NAME-gPOINT-rRUNG-SEED.json points of a search that learned from little
//! OUT/search/NAME.json                   what was tried for a model, and what was chosen
//! OUT/auction.json                       what the models' bids would have won, where the recipe asks for it
//! ```
//!
//! A run that is there already and was made from the same data, split, settings, seed and version is not run again, so an
//! experiment that was stopped goes on where it was. Everything that can be refused is refused before the first training.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compare::{self, Comparison};
use super::data::{self, ExperimentData};
use super::describe;
use super::estimate;
use super::plan::{self, AllSettings, Plan};
use super::queue::{Job, Queue};
use super::recipe::Recipe;
use super::record::{DataRecord, RunRecord, to_json};
use super::run::TrialRecord;
use super::work::{Fold, Work, work_off};
use crate::durable::write_bytes;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::analysis::{self, Subject};
use crate::learn::prepare::PrepareProgress;
use crate::learn::split::Split;
use crate::learn::trainer::Progress;
use crate::model::Threads;
use crate::model::features::hash::Fingerprint;
use crate::model::schema::Schema;

/// File that says a folder is an experiment.
pub const EXPERIMENT_FILE: &str = "experiment.json";
/// Folder of an experiment that holds its runs.
pub const RUNS: &str = "runs";
/// Folder of an experiment that holds trials of searches, a file each.
pub const TRIALS: &str = "trials";
/// Folder of an experiment that says what was tried for each model.
pub const SEARCH: &str = "search";
/// What the models' bids came to, in an experiment's folder ([`crate::learn::auction::AuctionReport`]).
pub const AUCTION_FILE: &str = "auction.json";
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
    Training {
        /// Its folder's name.
        run: &'a str,
        /// How far it is.
        progress: Progress,
    },
    /// A run is there.
    Finished {
        /// Its record.
        record: &'a RunRecord,
        /// Whether it was there before.
        kept: bool,
    },
    /// A trial of a search is there.
    Tried {
        /// Its file's name, without the ending.
        run: &'a str,
        /// Its record.
        trial: &'a TrialRecord,
        /// Whether it was there before.
        kept: bool,
    },
    /// Scoring is timed, now that nothing else runs.
    Timing {
        /// Its folder's name.
        run: &'a str,
    },
    /// Bids are replayed.
    Replaying,
    /// Models are looked into.
    Analyzing {
        /// What is going on.
        what: &'a str,
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

/// Says what [`run`] would do, and about how long it would take. Prepares the rows, since their number decides defaults, and
/// trains nothing but a few rows with each model to see how fast it is.
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
    let data = open(recipe, options, threads, on_event, interrupt)?;
    let Ready { folds, settings, mut plan } = Ready::new(recipe, &data, threads, interrupt)?;
    let work = Work { recipe, settings: &settings, folds: &folds, plan: &plan, out: &options.out };
    let kept: Vec<usize> = (0..recipe.models.len()).map(|model| count_kept(&work, model)).collect::<Result<_>>()?;
    let mut seconds = Vec::with_capacity(recipe.models.len());
    for (at, model) in recipe.models.iter().enumerate() {
        let last = &folds.last().expect("there is a fold").split;
        let lent = plan.threads_a_run();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(lent).build();
        let pool = pool.map_err(|error| Error::config("threads", lent.to_string(), error.to_string()))?;
        seconds.push(estimate::seconds(&model.name, &settings[at][0], last, Threads::of(&pool), interrupt)?);
    }
    for (model, kept) in plan.models.iter_mut().zip(&kept) {
        model.kept = (*kept).min(model.runs + model.trials);
    }
    plan.kept = plan.models.iter().map(|model| model.kept).sum();
    plan.set_seconds(&seconds);
    Ok(plan)
}

/// Runs a recipe and compares its runs.
///
/// # Errors
/// Config when the recipe is wrong or the folder holds something else; data and io as they come; interrupted, after which the
/// same call goes on with the runs that were stopped.
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    threads: Threads<'_>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<Comparison> {
    check(recipe, options)?;
    write_experiment(recipe, options, None)?;
    let data = open(recipe, options, threads, on_event, interrupt)?;
    let Ready { folds, settings, plan } = Ready::new(recipe, &data, threads, interrupt)?;
    on_event(Event::Planned(&plan));
    for Fold { split, data, .. } in &folds {
        describe::write(&options.out, &recipe.slices, data, split, threads, interrupt)?;
    }
    let work = Work { recipe, settings: &settings, folds: &folds, plan: &plan, out: &options.out };
    let queue = work_off(&work, threads, on_event, interrupt)?;
    let runs = queue.runs();
    work.time_alone(&runs, on_event, interrupt)?;
    write_searches(&queue, &options.out)?;
    let shipped = shipped(&work, &queue, &runs)?;
    replay(&work, &shipped, data.schema(), threads, on_event, interrupt)?;
    look_into(&work, &shipped, threads, on_event, interrupt)?;
    write_experiment(recipe, options, Some(runs.iter().map(|job| work.name(job)).collect()))?;
    on_event(Event::Comparing);
    interrupt.check()?;
    compare::compare(std::slice::from_ref(&options.out), threads, interrupt)
}

/// Rows, settings and plan: everything that can be refused was not.
struct Ready<'d> {
    folds: Vec<Fold<'d>>,
    settings: AllSettings,
    plan: Plan,
}

impl<'d> Ready<'d> {
    fn new(
        recipe: &Recipe,
        data: &'d ExperimentData,
        threads: Threads<'_>,
        interrupt: &Interrupt,
    ) -> Result<Ready<'d>> {
        let splits = data.folds(recipe)?;
        let records = splits.iter().map(|split| data.record(split, recipe, interrupt)).collect::<Result<Vec<_>>>()?;
        let settings = plan::resolve(recipe, data.schema(), &records[0])?;
        let plan = Plan::new(recipe, &settings, &splits, records.clone(), threads.count(), interrupt)?;
        if let Some(config) = &recipe.auction {
            config.check(recipe.auction_place(data.schema()))?;
        }
        let of =
            |(split, record): (Split<'d>, DataRecord)| Fold { truth: data.truth_of(&split.test), split, data: record };
        let folds = splits.into_iter().zip(records).map(of).collect();
        Ok(Ready { folds, settings, plan })
    }
}

fn open(
    recipe: &Recipe,
    options: &RunOptions,
    threads: Threads<'_>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<ExperimentData> {
    let preparing = &mut |at| on_event(Event::Preparing(at));
    data::open(recipe, &options.out.join("data"), threads, preparing, interrupt)
}

/// Runs and trials of a model that are there from before, of all that could be asked for.
fn count_kept(work: &Work<'_>, model: usize) -> Result<usize> {
    let recipe = &work.recipe.models[model];
    let rungs = recipe.halving.as_ref().map_or(0, |halving| halving.rungs.len() - 1);
    let mut kept = 0;
    for point in 0..recipe.points.len() {
        for seed in &recipe.seeds {
            let trials = (0..rungs).map(|rung| (0, Some(rung)));
            for (fold, rung) in trials.chain((0..work.folds.len()).map(|fold| (fold, None))) {
                kept += usize::from(work.is_there(&Job { model, point, seed: *seed, fold, rung })?);
            }
        }
    }
    Ok(kept)
}

/// Of each model the run that would be shipped: the chosen point, the last fold, the seed of the least validation loss.
fn shipped<'w>(work: &'w Work<'_>, queue: &Queue<'_>, runs: &[Job]) -> Result<Vec<(&'w str, PathBuf)>> {
    let last = work.folds.len() - 1;
    let mut shipped = Vec::new();
    for (at, model) in work.recipe.models.iter().enumerate() {
        let mut best: Option<(f64, PathBuf)> = None;
        let candidates = runs.iter().filter(|job| (job.model, job.point, job.fold) == (at, queue.chosen(at), last));
        for job in candidates {
            let folder = work.out.join(RUNS).join(work.name(job));
            let loss = RunRecord::read(&folder)?.selection_log_loss.unwrap_or(f64::INFINITY);
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, folder));
            }
        }
        shipped.extend(best.map(|(_, folder)| (model.name.as_str(), folder)));
    }
    Ok(shipped)
}

/// Replays the bids of the shipped runs where the recipe asks for it; otherwise removes what an earlier recipe asked for.
fn replay(
    work: &Work<'_>,
    shipped: &[(&str, PathBuf)],
    schema: &Schema,
    threads: Threads<'_>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<()> {
    let path = work.out.join(AUCTION_FILE);
    let Some(config) = &work.recipe.auction else {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, "remove")(error)),
            _ => Ok(()),
        };
    };
    on_event(Event::Replaying);
    let bootstrap = work.recipe.bootstrap.settings();
    let place = work.recipe.auction_place(schema);
    let report = config.run(place, shipped, bootstrap, threads, &mut |_| {}, interrupt)?;
    write_bytes(&path, to_json(&report).as_bytes())
}

/// Looks into the shipped runs of models that have a bundle, where the recipe asks for it.
fn look_into(
    work: &Work<'_>,
    shipped: &[(&str, PathBuf)],
    threads: Threads<'_>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<()> {
    let Some(config) = &work.recipe.analysis else { return Ok(()) };
    let with_bundle = shipped.iter().filter(|(_, folder)| folder.join(BUNDLE).is_dir());
    let subjects = with_bundle.map(|(_, folder)| Subject::open(folder)).collect::<Result<Vec<Subject>>>()?;
    let split = &work.folds.last().expect("there is a fold").split;
    let experiment = analysis::Experiment {
        folder: work.out,
        config,
        bootstrap: work.recipe.bootstrap.settings(),
        block_rows: work.recipe.bootstrap.block_rows,
        subjects,
        train: split.train.clone(),
        valid: split.valid.clone(),
        test: split.test.clone(),
    };
    let mut on_progress = |at: analysis::Progress<'_>| on_event(Event::Analyzing { what: at.what });
    analysis::analyze(&experiment, threads, &mut on_progress, interrupt).map(|_| ())
}

/// Writes what was tried, and removes what an earlier recipe tried.
fn write_searches(queue: &Queue<'_>, out: &Path) -> Result<()> {
    let folder = out.join(SEARCH);
    if folder.is_dir() {
        std::fs::remove_dir_all(&folder).map_err(Error::io(&folder, "remove"))?;
    }
    for search in queue.searches() {
        write_bytes(&folder.join(format!("{}.json", search.model)), to_json(&search).as_bytes())?;
    }
    Ok(())
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
    write_bytes(&options.out.join(EXPERIMENT_FILE), to_json(&record).as_bytes())
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
