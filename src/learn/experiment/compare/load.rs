//! Folders → runs → models, of each grid the point that was chosen; and what an experiment left beside its runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::LoadedRun;
use super::summary::{GridSummary, ModelSummary};
use crate::error::{Error, Result};
use crate::learn::auction::AuctionReport;
use crate::learn::experiment::grid;
use crate::learn::experiment::record::DataRecord;
use crate::learn::experiment::record::{RECORD_FILE, RunRecord};
use crate::learn::experiment::rules::Limits;
use crate::learn::experiment::runner::{AUCTION_FILE, ExperimentRecord, RUNS, SEARCH};
use crate::learn::experiment::search::SearchRecord;
use crate::learn::report::exhibit::{ANALYSIS, Exhibit, FORMAT};

/// The folder of the experiment that `folder` is, or that the run in it belongs to.
pub(super) fn home(folder: &Path) -> PathBuf {
    let of_run = || Some(folder.canonicalize().ok()?.parent()?.parent()?.to_path_buf());
    match folder.join(RECORD_FILE).is_file() {
        true => of_run().unwrap_or_else(|| folder.to_path_buf()),
        false => folder.to_path_buf(),
    }
}

/// What analyses left in an experiment's folder, in the order of their file names.
pub(super) fn exhibits(home: &Path) -> Result<Vec<Exhibit>> {
    let read = |path: &PathBuf| {
        let exhibit: Exhibit = json(path, "an exhibit")?;
        match exhibit.format {
            FORMAT => Ok(exhibit),
            other => {
                let message = format!("expected format {FORMAT}, got {other}: analyze again");
                Err(Error::data(path.display().to_string(), message))
            }
        }
    };
    json_files(&home.join(ANALYSIS))?.iter().map(read).collect()
}

/// What was tried for each model of an experiment, where there was a choice.
pub(super) fn searches(home: &Path) -> Result<Vec<SearchRecord>> {
    json_files(&home.join(SEARCH))?.iter().map(|path| json(path, "the record of a search")).collect()
}

/// The JSON files of a folder by name; none where there is no folder.
fn json_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder).map_err(Error::io(folder, "list"))? {
            let path = entry.map_err(Error::io(folder, "list"))?.path();
            if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// The auction of an experiment's models, where there was one.
pub(super) fn auction(home: &Path) -> Result<Option<AuctionReport>> {
    let path = home.join(AUCTION_FILE);
    if path.is_file() { json(&path, "the result of an auction").map(Some) } else { Ok(None) }
}

fn json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let wrong = |error| Error::data(path.display().to_string(), format!("is not {what}: {error}"));
    serde_json::from_str(&text).map_err(wrong)
}

/// The rows of each fold, the earliest first. All runs must have the same data, and the same split of their fold.
pub(super) fn folds(runs: &[LoadedRun]) -> Result<Vec<DataRecord>> {
    let first = &runs[0];
    let mut folds: BTreeMap<usize, &LoadedRun> = BTreeMap::new();
    for run in runs {
        let same = folds.entry(run.fold()).or_insert(run);
        let what = match () {
            () if run.record.data.fingerprint != first.record.data.fingerprint => "data",
            () if run.record.data.split != same.record.data.split => "split",
            () if run.record.fold.is_some() != first.record.fold.is_some() => "folds",
            () => continue,
        };
        let message = format!("has other {what} than {}: only runs on the same rows compare", first.folder.display());
        return Err(Error::config("compare", run.folder.display().to_string(), message));
    }
    Ok(folds.into_values().map(|run| run.record.data.clone()).collect())
}

/// Leaves out what cannot be compared because a seed was not run on every fold; says so.
pub(super) fn keep_whole_seeds(models: &mut Vec<(String, Vec<LoadedRun>)>, folds: usize, notes: &mut Vec<String>) {
    for (name, runs) in models.iter_mut() {
        let count = |runs: &[LoadedRun], seed: u64| runs.iter().filter(|run| run.record.seed == seed).count();
        let mut cut: Vec<u64> = runs.iter().map(|run| run.record.seed).collect();
        cut.dedup();
        cut.retain(|seed| count(runs, *seed) < folds);
        for seed in &cut {
            let had = count(runs, *seed);
            notes.push(format!("{name}, seed {seed}, is left out: it was run on {had} of {folds} folds."));
        }
        runs.retain(|run| !cut.contains(&run.record.seed));
    }
    models.retain(|(_, runs)| !runs.is_empty());
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
pub(super) fn group(
    runs: Vec<LoadedRun>,
    folds: usize,
    limits: &Limits,
    notes: &mut Vec<String>,
) -> Result<Vec<ModelSummary>> {
    let mut named: IndexMap<(String, String), Vec<LoadedRun>> = IndexMap::new();
    for run in runs {
        let record = &run.record;
        // Points of one grid belong together; without a grid, equal settings do.
        let settings = match &record.grid {
            Some(_) => record.experiment.recipe.to_string(),
            None => format!("{} {}", record.kind, record.settings),
        };
        let same = named.entry((record.model.clone(), settings)).or_default();
        let point = |run: &LoadedRun| (run.record.grid.as_ref().map(|grid| grid.point), run.record.seed, run.fold());
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
    let (mut of_models, mut grids) = (Vec::new(), IndexMap::new());
    for ((name, _), runs) in named {
        let mut label = if unique(&name) { name } else { format!("{name} ({})", runs[0].record.experiment.name) };
        while taken.contains(&label) {
            label.push('′');
        }
        taken.push(label.clone());
        let (runs, grid) = chosen(runs);
        grids.insert(label.clone(), grid);
        of_models.push((label, runs));
    }
    keep_whole_seeds(&mut of_models, folds, notes);
    if of_models.is_empty() {
        return Err(Error::config(
            "compare",
            "folds",
            "no seed of any model was run on every fold: let the experiment finish",
        ));
    }
    let summary = |(name, runs): (String, Vec<LoadedRun>)| {
        let grid = grids.get_mut(&name).and_then(Option::take);
        ModelSummary::new(name, runs, grid, limits)
    };
    Ok(of_models.into_iter().map(summary).collect())
}

/// The runs of the chosen point of a grid, by seed and then by fold, and what was tried. A point is chosen on the first fold: the
/// validation rows of later ones may be test rows of earlier ones.
fn chosen(mut runs: Vec<LoadedRun>) -> (Vec<LoadedRun>, Option<GridSummary>) {
    let first = runs.iter().map(LoadedRun::fold).min().unwrap_or(0);
    let tried: Vec<(usize, u64, f64)> = runs
        .iter()
        .filter(|run| run.fold() == first)
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
    runs.sort_by_key(|run| (run.record.seed, run.fold()));
    (runs, summary)
}
