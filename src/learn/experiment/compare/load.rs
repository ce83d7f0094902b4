//! Folders → runs → models, of each grid the point that was chosen.

use std::path::Path;

use indexmap::IndexMap;

use super::LoadedRun;
use super::summary::{GridSummary, ModelSummary};
use crate::error::{Error, Result};
use crate::learn::experiment::grid;
use crate::learn::experiment::record::{RECORD_FILE, RunRecord};
use crate::learn::experiment::rules::Limits;
use crate::learn::experiment::runner::{ExperimentRecord, RUNS};

/// The experiment that a folder is, or that a run's folder belongs to.
pub(super) fn experiment_of(folder: &Path) -> Result<Option<ExperimentRecord>> {
    match folder.join(RECORD_FILE).is_file() {
        false => ExperimentRecord::read(folder),
        true => match folder.canonicalize().ok().as_deref().and_then(Path::parent).and_then(Path::parent) {
            Some(experiment) => ExperimentRecord::read(experiment),
            None => Ok(None),
        },
    }
}

/// Reads the runs of a folder.
pub(super) fn collect(folder: &Path, experiment: Option<&ExperimentRecord>, runs: &mut Vec<LoadedRun>) -> Result<()> {
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
pub(super) fn group(runs: Vec<LoadedRun>, limits: &Limits) -> Result<Vec<ModelSummary>> {
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
