//! Runs → which model is better, by how much, and whether that is more than noise.
//!
//! ```text
//! folders ─▶ runs (run.json, test.parquet) ─▶ models, their grids chosen ─▶ leaderboard ─▶ pairs ─▶ winner
//! ```
//!
//! All runs must have the same rows and the same split. Points of a grid are chosen on validation rows only, with the function
//! the runner uses. A model's losses are averaged over its seeds row by row before rows are resampled ([`verdict`]).

pub mod summary;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod winner;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::Serialize;

use super::grid;
use super::kind::Kind;
use super::predictions::{PredictionTable, TEST_FILE};
use super::record::{DataRecord, RECORD_FILE, RunRecord};
use super::rules::{BootstrapConfig, Limits, VerdictConfig};
use super::runner::{ExperimentRecord, RUNS};
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::metrics::bootstrap::{self, Blocks};
use crate::metrics::{Predictions, losses};
use crate::model::bundle::ModelKind;
use summary::{GridSummary, ModelSummary};
use verdict::{Pair, mirrored, thousands, widen};
use winner::Winner;

/// Consecutive rows of a block, where neither recipe nor schema says which rows belong together.
const BLOCK_ROWS: usize = 100;

/// A run and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedRun {
    /// Its folder.
    pub folder: PathBuf,
    /// Its record.
    pub record: RunRecord,
}

/// The answer. `comparison.json` is this, without the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the experiment, or of all of them.
    pub title: String,
    /// The question asked.
    pub question: Option<String>,
    /// The verdict on the two models with the least log loss.
    pub verdict: String,
    /// The model to ship; `None` when none keeps the limits.
    pub winner: Option<Winner>,
    /// Why that one.
    pub reason: String,
    /// Least log loss first.
    pub models: Vec<ModelSummary>,
    /// Mean log loss in nats of the true probabilities on the test rows, where they are known.
    pub truth_log_loss: Option<f64>,
    /// The rows.
    pub data: DataRecord,
    /// Which rows were resampled together, in words.
    pub blocks: String,
    /// How intervals were made.
    pub bootstrap: BootstrapConfig,
    /// Smallest difference that matters, nats.
    pub margin: f64,
    /// What a winner must keep.
    pub limits: Limits,
    /// The experiments the runs belong to.
    pub experiments: Vec<ExperimentRecord>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Compares the runs of folders; each is an experiment or a single run.
///
/// # Errors
/// Config when there is nothing to compare, or runs do not have the same rows and split; io and data when a run cannot be
/// read; interrupted.
pub fn compare(folders: &[PathBuf], interrupt: &Interrupt) -> Result<Comparison> {
    let mut experiments: Vec<ExperimentRecord> = Vec::new();
    let mut notes = Vec::new();
    let mut runs: Vec<LoadedRun> = Vec::new();
    for folder in folders {
        let experiment = experiment_of(folder)?;
        let before = runs.len();
        collect(folder, experiment.as_ref(), &mut runs)?;
        if let Some(experiment) = experiment {
            if experiment.runs.is_none() {
                let found = runs.len() - before;
                notes.push(format!("{} was not finished: its {found} finished runs are compared.", experiment.name));
            }
            if !experiments.contains(&experiment) {
                experiments.push(experiment);
            }
        }
    }
    let first = runs.first().ok_or_else(|| {
        let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Error::config("compare", names.join(", "), "holds no finished run (a folder with run.json)")
    })?;
    let data = first.record.data.clone();
    for run in &runs[1..] {
        let other = &run.record.data;
        if (other.fingerprint, other.split) != (data.fingerprint, data.split) {
            let what = if other.fingerprint == data.fingerprint { "split" } else { "data" };
            let message =
                format!("has other {what} than {}: only runs on the same rows compare", first.folder.display());
            return Err(Error::config("compare", run.folder.display().to_string(), message));
        }
    }
    let rules = experiments.first();
    let bootstrap = rules.map_or_else(BootstrapConfig::default, |rules| rules.bootstrap);
    let verdict = rules.map_or_else(VerdictConfig::default, |rules| rules.verdict);
    let limits = rules.map_or_else(Limits::default, |rules| rules.limits);
    if experiments.iter().any(|other| (other.bootstrap, other.verdict, other.limits) != (bootstrap, verdict, limits)) {
        notes.push("The experiments have different rules; those of the first one hold.".into());
    }
    let truth_log_loss = first.record.truth_log_loss;
    let mut models = group(runs, &limits)?;
    models.sort_by(|a, b| a.log_loss.mean.total_cmp(&b.log_loss.mean));

    let rows = Rows::read(&models, interrupt)?;
    let margin = verdict.margin * losses::entropy(models[0].runs[0].record.test.ctr);
    let groups = rows.groups.as_deref().filter(|_| bootstrap.block_rows == 0);
    let block_rows = if bootstrap.block_rows == 0 { BLOCK_ROWS } else { bootstrap.block_rows };
    let pair = |a: usize, b: usize| {
        let blocks = groups.map_or(Blocks::Rows(block_rows), Blocks::Groups);
        let weights = rows.weights.as_deref();
        let settings = bootstrap.settings();
        let interval = bootstrap::log_loss_difference(&rows.losses[b], &rows.losses[a], weights, blocks, settings)?;
        let seed_error = (models[a].log_loss.squared_error() + models[b].log_loss.squared_error()).sqrt();
        let interval = widen(interval, seed_error, bootstrap.confidence);
        let (better, worse, interval) = match interval.estimate < 0.0 {
            true => (b, a, mirrored(interval)),
            false => (a, b, interval),
        };
        let (better, worse) = (&models[better].name, &models[worse].name);
        Some(Pair::judge(better, worse, interval, margin, data.test.rows, bootstrap.confidence))
    };
    let (winner, reason) = winner::choose(&models, verdict.tie, &pair);
    let sentence = match models.len() {
        1 => format!("{} stands alone: its test log loss is {:.5} nats.", models[0].name, models[0].log_loss.mean),
        _ => match pair(0, 1) {
            Some(pair) => pair.sentence(),
            None => "There are too few test rows for an interval: expected at least two blocks.".into(),
        },
    };
    let base = models.iter().position(|model| model.kind == Kind::Own(ModelKind::BaseRate));
    let pairs: Vec<_> = (0..models.len())
        .map(|at| {
            let against = |other: Option<usize>| other.filter(|other| *other != at).and_then(|other| pair(other, at));
            (against(Some(0)), against(base))
        })
        .collect();
    for (model, (best, base)) in models.iter_mut().zip(pairs) {
        (model.versus_best, model.versus_base) = (best, base);
    }
    let random = |model: &&ModelSummary| model.seeds.len() == 1 && model.kind != Kind::Own(ModelKind::BaseRate);
    let one_seed: Vec<&str> = models.iter().filter(random).map(|model| model.name.as_str()).collect();
    if !one_seed.is_empty() {
        let names = one_seed.join(", ");
        notes.push(format!(
            "One seed only: {names}. The noise of seeds is not known there, and intervals do not cover it."
        ));
    }
    let blocks = match groups {
        Some(_) => "the rows of one group stay together".to_owned(),
        None => format!("{} consecutive rows stay together", thousands(block_rows as u64)),
    };
    let names: Vec<&str> = experiments.iter().map(|experiment| experiment.name.as_str()).collect();
    Ok(Comparison {
        title: if names.is_empty() { models[0].runs[0].record.experiment.name.clone() } else { names.join(" + ") },
        question: experiments.iter().find_map(|experiment| experiment.question.clone()),
        verdict: sentence,
        winner,
        reason,
        models,
        truth_log_loss,
        data,
        blocks,
        bootstrap,
        margin,
        limits,
        experiments,
        notes,
    })
}

/// The experiment that a folder is, or that a run's folder belongs to.
fn experiment_of(folder: &Path) -> Result<Option<ExperimentRecord>> {
    match folder.join(RECORD_FILE).is_file() {
        false => ExperimentRecord::read(folder),
        true => match folder.canonicalize().ok().as_deref().and_then(Path::parent).and_then(Path::parent) {
            Some(experiment) => ExperimentRecord::read(experiment),
            None => Ok(None),
        },
    }
}

/// Reads the runs of a folder.
fn collect(folder: &Path, experiment: Option<&ExperimentRecord>, runs: &mut Vec<LoadedRun>) -> Result<()> {
    let mut folders = Vec::new();
    if folder.join(RECORD_FILE).is_file() {
        folders.push(folder.to_path_buf());
    } else if let Some(named) = experiment.and_then(|experiment| experiment.runs.as_ref()) {
        folders.extend(named.iter().map(|name| folder.join(RUNS).join(name)));
    } else {
        let within = if folder.join(RUNS).is_dir() { folder.join(RUNS) } else { folder.to_path_buf() };
        for entry in std::fs::read_dir(&within).map_err(Error::io(&within, "list"))? {
            let path = entry.map_err(Error::io(&within, "list"))?.path();
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.join(RECORD_FILE).is_file() {
                folders.push(path);
            }
        }
        folders.sort();
    }
    for folder in folders {
        runs.push(LoadedRun { record: RunRecord::read(&folder)?, folder });
    }
    Ok(())
}

/// Runs → models. Points of a grid are reduced to the chosen one; equal names of different models are told apart by their
/// experiments.
fn group(runs: Vec<LoadedRun>, limits: &Limits) -> Result<Vec<ModelSummary>> {
    let mut named: IndexMap<(String, String), Vec<LoadedRun>> = IndexMap::new();
    for run in runs {
        let record = &run.record;
        // Points of one grid belong together; without a grid, equal settings do.
        let settings = match &record.grid {
            Some(_) => record.experiment.recipe.to_string(),
            None => format!("{} {}", record.kind, record.settings),
        };
        let same = named.entry((record.model.clone(), settings)).or_default();
        let point = |run: &LoadedRun| (run.record.grid.as_ref().map(|grid| grid.point), run.record.seed);
        match same.iter().find(|other| point(other) == point(&run)) {
            None => same.push(run),
            // The same run given twice, as a folder and as part of an experiment, counts once.
            Some(other) if other.record.identity == run.record.identity => {}
            Some(other) => {
                let message = format!("is the same model and seed as {}", other.folder.display());
                return Err(Error::config("compare", run.folder.display().to_string(), message));
            }
        }
    }
    let names: Vec<String> = named.keys().map(|(name, _)| name.clone()).collect();
    let unique = |name: &str| names.iter().filter(|other| *other == name).count() == 1;
    let mut taken: Vec<String> = Vec::new();
    let mut models = Vec::new();
    for ((name, _), runs) in named {
        let mut label = if unique(&name) { name } else { format!("{name} ({})", runs[0].record.experiment.name) };
        while taken.contains(&label) {
            label.push('′');
        }
        taken.push(label.clone());
        let (runs, grid) = chosen(runs);
        models.push(ModelSummary::new(label, runs, grid, limits));
    }
    Ok(models)
}

/// The runs of the chosen point of a grid, in the order of their seeds, and what was tried.
fn chosen(mut runs: Vec<LoadedRun>) -> (Vec<LoadedRun>, Option<GridSummary>) {
    let tried: Vec<(usize, u64, f64)> = runs
        .iter()
        .filter_map(|run| {
            let loss = run.record.selection_log_loss.unwrap_or(f64::NAN);
            run.record.grid.as_ref().map(|grid| (grid.point, run.record.seed, loss))
        })
        .collect();
    let point = grid::choose(&tried);
    let summary = point.map(|chosen| {
        let points: std::collections::BTreeSet<usize> = tried.iter().map(|(point, ..)| *point).collect();
        let seeds_of = |point: usize| tried.iter().filter(move |(at, ..)| *at == point).map(|(_, seed, _)| *seed);
        let shared: Vec<u64> = seeds_of(chosen)
            .filter(|seed| points.iter().all(|point| seeds_of(*point).any(|other| other == *seed)))
            .collect();
        let values = |point: usize| {
            let grid = runs.iter().filter_map(|run| run.record.grid.as_ref()).find(|grid| grid.point == point);
            grid.map(|grid| grid.values.clone()).unwrap_or_default()
        };
        let loss = |point: usize| {
            let losses = tried.iter().filter(|(at, seed, _)| *at == point && shared.contains(seed));
            losses.map(|(.., loss)| loss).sum::<f64>() / shared.len() as f64
        };
        let tried = points.iter().map(|point| (values(*point), loss(*point))).collect();
        GridSummary { tried, seeds: shared.len(), chosen: values(chosen) }
    });
    if point.is_some() {
        runs.retain(|run| run.record.grid.as_ref().map(|grid| grid.point) == point);
    }
    runs.sort_by_key(|run| run.record.seed);
    (runs, summary)
}

/// The test rows: losses of each model averaged over its seeds, and what all runs share.
struct Rows {
    losses: Vec<Vec<f64>>,
    weights: Option<Vec<f32>>,
    groups: Option<Vec<u64>>,
}

impl Rows {
    fn read(models: &[ModelSummary], interrupt: &Interrupt) -> Result<Rows> {
        let mut all = Vec::with_capacity(models.len());
        let mut shared: Option<PredictionTable> = None;
        for model in models {
            let mut sums: Vec<f64> = Vec::new();
            for run in &model.runs {
                interrupt.check()?;
                let path = run.folder.join(TEST_FILE);
                let table = PredictionTable::read(&path)?;
                let same = |shared: &PredictionTable| shared.rows == table.rows && shared.labels == table.labels;
                if shared.as_ref().is_some_and(|shared| !same(shared)) {
                    let message = "holds other rows or labels than the other runs, against what its record says";
                    return Err(Error::data(path.display().to_string(), message));
                }
                let losses = losses::row_log_losses(&Predictions::new(&table.labels, &table.probabilities, None));
                match sums.is_empty() {
                    true => sums = losses,
                    false => sums.iter_mut().zip(losses).for_each(|(sum, loss)| *sum += loss),
                }
                shared.get_or_insert(table);
            }
            let seeds = model.runs.len() as f64;
            sums.iter_mut().for_each(|sum| *sum /= seeds);
            all.push(sums);
        }
        let (weights, groups) = shared.map(|table| (table.weights, table.groups)).unwrap_or_default();
        Ok(Rows { losses: all, weights, groups })
    }
}
