//! A recipe and its rows → the runs there will be, about how much memory each takes and, when asked, about how long.

use serde::Serialize;

use super::estimate::{self, Codes};
use super::grid;
use super::kind::{Kind, Resolved};
use super::queue;
use super::recipe::{ModelRecipe, Recipe};
use super::record::DataRecord;
use super::search::Resource;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::settings::Evidence;
use crate::learn::split::Split;
use crate::model::schema::Schema;

/// What an experiment is going to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The rows of each fold, earliest first; without folds one.
    pub folds: Vec<DataRecord>,
    /// The models in the recipe's order.
    pub models: Vec<PlannedModel>,
    /// All runs and trials together.
    pub runs: usize,
    /// Of these, there already from before.
    pub kept: usize,
    /// Most runs at a time.
    pub parallel: usize,
    /// Threads of all runs together.
    pub threads: usize,
    /// Most bytes that runs may take together, by their estimates; `None` where neither recipe nor system says.
    pub memory_limit_bytes: Option<u64>,
    /// About how many bytes all that run at a time take.
    pub memory_bytes: u64,
    /// About how many seconds everything takes that is not there yet; only in a dry run.
    pub seconds: Option<f64>,
    /// About how many bytes a run of each point of each model takes.
    #[serde(skip)]
    pub(super) point_bytes: Vec<Vec<u64>>,
}

/// The runs of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedModel {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its points, as `key = value`; one empty text where there is only one.
    pub points: Vec<String>,
    /// Seeds that the chosen point runs with.
    pub seeds: usize,
    /// Runs with all rows and passes: every point that comes so far with its trial seeds, then the chosen one with the rest.
    pub runs: usize,
    /// Trials of successive halving, with less than everything.
    pub trials: usize,
    /// What the trials take together, in runs with everything.
    pub trial_share: f64,
    /// Runs and trials that are there already.
    pub kept: usize,
    /// Training rows of one pass, in the last fold.
    pub rows: u64,
    /// About how many bytes a run takes, the largest point; mapped rows not counted.
    pub memory_bytes: u64,
    /// About how many seconds a run with everything takes; only in a dry run.
    pub seconds: Option<f64>,
}

/// Settings of all points of all models, defaults filled in.
pub(super) type AllSettings = Vec<Vec<Resolved>>;

/// Fills in the defaults of every point of every model, for the training rows of the first fold: a model keeps its settings
/// over the folds.
///
/// # Errors
/// Config, naming model and key.
pub(super) fn resolve(recipe: &Recipe, schema: &Schema, first: &DataRecord) -> Result<AllSettings> {
    let evidence = Evidence { rows: first.train.rows as usize, clicks: first.train.clicks as usize };
    let of_model = |model: &ModelRecipe| {
        let place = recipe.model_place(model);
        let resolve = |point| model.kind.resolve(point, &recipe.calibration.methods, schema, evidence, &place);
        let settings: Vec<Resolved> = model.points.iter().map(resolve).collect::<Result<_>>()?;
        check_passes(model, &settings, &place)?;
        Ok(settings)
    };
    recipe.models.iter().map(of_model).collect()
}

/// Halving by passes needs passes to give out.
fn check_passes(model: &ModelRecipe, settings: &[Resolved], place: &str) -> Result<()> {
    if model.halving.as_ref().is_none_or(|halving| halving.by == Resource::Rows) {
        return Ok(());
    }
    for (point, settings) in settings.iter().enumerate() {
        let got = match settings {
            Resolved::Own(own) if own.training.passes > 1 => continue,
            Resolved::Own(_) => "1".to_owned(),
            Resolved::Reference(_) => "a model of another library, which learns in one go".to_owned(),
        };
        let message = format!(
            "halving by passes needs at least 2 passes{}, got {got}; halve by = \"rows\", or set passes",
            model.point_place(point)
        );
        return Err(Error::config(place, "search.by", message));
    }
    Ok(())
}

impl Plan {
    /// Plans the runs of a recipe, and refuses what cannot fit in memory.
    ///
    /// # Errors
    /// Config when a run alone takes more memory than there may be; interrupted.
    pub(super) fn new(
        recipe: &Recipe,
        settings: &AllSettings,
        splits: &[Split<'_>],
        folds: Vec<DataRecord>,
        threads: usize,
        interrupt: &Interrupt,
    ) -> Result<Plan> {
        let memory_limit_bytes = estimate::memory_limit(recipe.machine.memory_mb);
        let (last_split, last) = (splits.last().expect("there is a fold"), folds.last().expect("there is a fold"));
        let codes = Codes::count(last_split, settings.iter().flatten(), interrupt)?;
        let (mut models, mut point_bytes) = (Vec::new(), Vec::new());
        for (model, settings) in recipe.models.iter().zip(settings) {
            let of_points: Vec<u64> = settings.iter().map(|point| estimate::memory(point, last, codes)).collect();
            for (point, bytes) in of_points.iter().copied().enumerate() {
                if let Some(limit) = memory_limit_bytes.filter(|limit| bytes > *limit) {
                    return Err(too_large(recipe, model, point, bytes, limit));
                }
            }
            let queue::Counts { runs, trials } = queue::count(model, folds.len());
            let little = model.halving.iter().flat_map(|halving| &halving.rungs[..halving.rungs.len() - 1]);
            models.push(PlannedModel {
                name: model.name.clone(),
                kind: model.kind,
                points: model.points.iter().map(|point| grid::describe(point, &model.grid_keys)).collect(),
                seeds: model.seeds.len(),
                runs,
                trials,
                trial_share: little.map(|rung| rung.share * (rung.points * model.grid_seeds) as f64).sum(),
                kept: 0,
                rows: last.train.rows,
                memory_bytes: of_points.iter().copied().max().unwrap_or(0),
                seconds: None,
            });
            point_bytes.push(of_points);
        }
        let runs = models.iter().map(|model| model.runs + model.trials).sum();
        let parallel = match recipe.machine.parallel {
            0 => threads,
            asked => asked,
        };
        let parallel = parallel.min(runs);
        let mut largest: Vec<u64> =
            models.iter().flat_map(|model| vec![model.memory_bytes; model.runs + model.trials]).collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let together: u64 = largest.iter().take(parallel).sum();
        let memory_bytes = memory_limit_bytes.map_or(together, |limit| together.min(limit));
        Ok(Plan {
            folds,
            models,
            runs,
            kept: 0,
            parallel,
            threads,
            memory_limit_bytes,
            memory_bytes,
            seconds: None,
            point_bytes,
        })
    }

    /// Rows of the last fold, or of the only one.
    pub fn data(&self) -> &DataRecord {
        self.folds.last().expect("there is a fold")
    }

    /// Threads that each of the runs at a time gets.
    pub fn threads_a_run(&self) -> usize {
        (self.threads / self.parallel.max(1)).max(1)
    }

    /// Fills in the time of each model's run and of all that are not there yet: as much as fits beside each other does.
    pub(super) fn set_seconds(&mut self, seconds: &[f64]) {
        let (mut all, mut longest) = (0.0, 0.0_f64);
        for (model, seconds) in self.models.iter_mut().zip(seconds) {
            model.seconds = Some(*seconds);
            let planned = model.runs as f64 + model.trial_share;
            let share_left = 1.0 - model.kept as f64 / (model.runs + model.trials) as f64;
            all += planned * share_left * seconds;
            if share_left > 0.0 {
                longest = longest.max(*seconds);
            }
        }
        self.seconds = Some((all / self.parallel as f64).max(longest));
    }
}

fn too_large(recipe: &Recipe, model: &ModelRecipe, point: usize, bytes: u64, limit: u64) -> Error {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let from = match recipe.machine.memory_mb {
        0 => "four fifths of the free memory; memory_mb sets another limit",
        _ => "memory_mb",
    };
    let message = format!(
        "a run{} takes about {} MB, and {} MB are allowed ({from})",
        model.point_place(point),
        megabytes(bytes),
        megabytes(limit)
    );
    Error::config(recipe.model_place(model), "memory", message)
}
