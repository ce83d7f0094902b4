//! Recipe: one TOML file that says which data, which models and which rules of judgment make an experiment.
//!
//! Read in three steps: TOML text → table, on which `--set key=value` acts; table → plain structs, where an unknown key is an
//! error that names the nearest one; structs → [`Recipe`], checked against each other. Settings of models are checked before
//! any data are read ([`Recipe::check_models`]). `experiments/example.toml` is a commented example, parsed in a test.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::grid;
use super::kind::Kind;
use super::rules::{self, BootstrapConfig, CalibrationConfig, Limits, VerdictConfig};
use crate::config;
use crate::error::{Error, Result};
use crate::learn::settings::Evidence;
use crate::learn::split::SplitConfig;
use crate::model::features::hash::Fingerprint;
use crate::model::schema::Schema;

/// A checked recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Name of the experiment, part of records and reports.
    pub name: String,
    /// The question it answers, in words.
    pub question: Option<String>,
    /// Where the rows are.
    pub data: DataConfig,
    /// Which rows train, validate and test; unused when files stand apart.
    pub split: SplitConfig,
    /// What is compared.
    pub models: Vec<ModelRecipe>,
    /// How probabilities are calibrated.
    pub calibration: CalibrationConfig,
    /// What a winner must keep.
    pub limits: Limits,
    /// How intervals are made.
    pub bootstrap: BootstrapConfig,
    /// When a difference counts.
    pub verdict: VerdictConfig,
    /// Threads for training and evaluation; 0 takes one for each core.
    pub threads: usize,
    /// The recipe as it was used, `--set` applied, defaults not filled in.
    pub text: String,
    /// Identity of that text.
    pub fingerprint: Fingerprint,
    /// Relative paths start here.
    pub folder: PathBuf,
    /// File it came from, for error messages.
    pub place: String,
}

/// One model with its settings, or a grid of settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRecipe {
    /// Name in the report and in folders.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Settings, one table for each point of the grid; one point without a grid.
    pub points: Vec<Table>,
    /// Keys of the grid; empty without one.
    pub grid_keys: Vec<String>,
    /// One run for each.
    pub seeds: Vec<u64>,
    /// With how many of the seeds each point of the grid is tried before one is chosen.
    pub grid_seeds: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecipe {
    name: String,
    question: Option<String>,
    data: DataConfig,
    split: Option<SplitConfig>,
    models: Vec<RawModel>,
    #[serde(default = "one_seed")]
    seeds: Vec<u64>,
    #[serde(default)]
    calibration: CalibrationConfig,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    bootstrap: BootstrapConfig,
    #[serde(default)]
    verdict: VerdictConfig,
    #[serde(default)]
    threads: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    name: String,
    kind: String,
    #[serde(default)]
    params: Table,
    #[serde(default)]
    grid: IndexMap<String, Vec<Value>>,
    seeds: Option<Vec<u64>>,
    #[serde(default = "one")]
    grid_seeds: usize,
}

/// Where the rows are: `files` for one log that is split, `train` and `test` (and `valid`) for logs that stand apart, or
/// `prepared` for a folder that `pctr prepare` made. Paths are relative to the recipe's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Preset or schema file; not needed with `prepared`.
    pub schema: Option<String>,
    /// Logs that are read in this order and then split.
    pub files: Vec<PathBuf>,
    /// Logs to learn from.
    pub train: Vec<PathBuf>,
    /// Logs that decide calibration, early stopping and grids; without them the last tenth of `train`.
    pub valid: Vec<PathBuf>,
    /// Logs that decide nothing.
    pub test: Vec<PathBuf>,
    /// A folder of prepared data.
    pub prepared: Option<PathBuf>,
    /// True click probabilities, where data were generated: files with header `p` and one line for each row of `files` (of
    /// `test` where logs stand apart).
    pub truth: Vec<PathBuf>,
    /// Share of bad rows that is borne, 0 to 1; without it the default of `pctr prepare`.
    pub max_bad_rows: Option<f64>,
}

fn one_seed() -> Vec<u64> {
    vec![1]
}

fn one() -> usize {
    1
}

impl Recipe {
    /// Reads the recipe at `path` and applies `settings` (`key=value`).
    ///
    /// # Errors
    /// Io when it cannot be read; config, naming the key, when something in it is wrong.
    pub fn read(path: &Path, settings: &[String]) -> Result<Recipe> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Recipe::parse(&text, settings, &path.display().to_string(), folder)
    }

    /// Parses a recipe; relative paths in it start at `folder`, and `place` is named in errors.
    ///
    /// # Errors
    /// Config, naming the key, when something in it is wrong.
    pub fn parse(text: &str, settings: &[String], place: &str, folder: &Path) -> Result<Recipe> {
        let raw: RawRecipe;
        let text = match settings.is_empty() {
            // The text itself is parsed, so that errors name its lines.
            true => {
                raw = config::from_toml(text, place)?;
                render(&config::table(text, place)?)?
            }
            false => {
                let mut table = config::table(text, place)?;
                config::apply_settings(&mut table, settings)?;
                raw = config::from_table(table.clone(), place)?;
                render(&table)?
            }
        };
        let wrong = |key: &str, message: String| Err(Error::config(place, key, message));
        if !is_file_name(&raw.name) {
            return wrong("name", format!("expected letters, digits, dots, dashes or underscores, got {:?}", raw.name));
        }
        check_data(&raw.data, raw.split.is_some(), place)?;
        let split = raw.split.unwrap_or_default();
        let models: Vec<ModelRecipe> =
            raw.models.into_iter().map(|model| model.check(&raw.seeds, place)).collect::<Result<_>>()?;
        if models.is_empty() {
            return wrong("models", "expected at least one [[models]] entry, got none".into());
        }
        for (at, model) in models.iter().enumerate() {
            if models[..at].iter().any(|other| other.name.eq_ignore_ascii_case(&model.name)) {
                return wrong("models.name", format!("two models are named {:?}", model.name));
            }
        }
        if raw.calibration.methods.is_empty() {
            return wrong("calibration.methods", "expected at least one of identity, platt, isotonic; got none".into());
        }
        rules::check(&raw.limits, &raw.bootstrap, &raw.verdict, place)?;
        Ok(Recipe {
            name: raw.name,
            question: raw.question,
            data: raw.data,
            split,
            models,
            calibration: raw.calibration,
            limits: raw.limits,
            bootstrap: raw.bootstrap,
            verdict: raw.verdict,
            threads: raw.threads,
            fingerprint: Fingerprint::of(text.as_bytes()),
            text,
            folder: folder.to_path_buf(),
            place: place.to_owned(),
        })
    }

    /// Checks the settings of every model at every point of its grid, as far as that is possible without rows.
    ///
    /// # Errors
    /// Config, naming model and key.
    pub fn check_models(&self, schema: &Schema) -> Result<()> {
        const SOME: Evidence = Evidence { rows: 1_000_000, clicks: 30_000 };
        for model in &self.models {
            for point in &model.points {
                model.kind.resolve(point, &self.calibration.methods, schema, SOME, &self.model_place(model))?;
            }
        }
        Ok(())
    }

    /// How errors name a model of this recipe.
    pub fn model_place(&self, model: &ModelRecipe) -> String {
        format!("{}: model {}", self.place, model.name)
    }

    /// A path of the recipe, from its folder.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// The schema that `data.schema` names; `None` when prepared data bring their own.
    ///
    /// # Errors
    /// Io when its file cannot be read; config when it is wrong.
    pub fn schema(&self) -> Result<Option<Schema>> {
        let Some(name) = &self.data.schema else { return Ok(None) };
        let read = |path: &str| {
            let path = self.path(Path::new(path));
            std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))
        };
        Schema::resolve(name, read).map(Some)
    }
}

impl RawModel {
    fn check(self, seeds: &[u64], place: &str) -> Result<ModelRecipe> {
        let place = format!("{place}: model {}", self.name);
        let wrong = |key: &str, message: String| Err(Error::config(&place, key, message));
        if !is_file_name(&self.name) {
            return wrong(
                "name",
                format!("expected letters, digits, dots, dashes or underscores, got {:?}", self.name),
            );
        }
        let kind = Kind::parse(&self.kind, &place)?;
        let seeds = self.seeds.unwrap_or_else(|| seeds.to_vec());
        if seeds.is_empty() || (1..seeds.len()).any(|at| seeds[..at].contains(&seeds[at])) {
            return wrong("seeds", format!("expected at least one seed and each once, got {seeds:?}"));
        }
        if self.grid_seeds == 0 || self.grid_seeds > seeds.len() {
            return wrong("grid_seeds", format!("expected 1 to {} (the seeds), got {}", seeds.len(), self.grid_seeds));
        }
        let grid_keys = self.grid.keys().cloned().collect();
        let points = grid::expand(&self.params, &self.grid, &place)?;
        Ok(ModelRecipe { name: self.name, kind, points, grid_keys, seeds, grid_seeds: self.grid_seeds })
    }
}

fn render(table: &Table) -> Result<String> {
    toml::to_string(table).map_err(|error| Error::Bug(format!("a recipe that was read cannot be written: {error}")))
}

/// Names become folders, so they must be plain.
fn is_file_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    !name.is_empty() && name.len() <= 80 && !name.starts_with(['.', '-']) && name.chars().all(plain)
}

fn check_data(data: &DataConfig, split_given: bool, place: &str) -> Result<()> {
    let wrong = |key: &str, message: &str| Err(Error::config(place, key, message));
    let apart = !data.train.is_empty() || !data.test.is_empty() || !data.valid.is_empty();
    let ways = usize::from(!data.files.is_empty()) + usize::from(apart) + usize::from(data.prepared.is_some());
    if ways != 1 {
        return wrong("data", "expected exactly one of files, train and test, or prepared");
    }
    if apart && (data.train.is_empty() || data.test.is_empty()) {
        return wrong("data", "files that stand apart need both train and test");
    }
    if apart && split_given {
        return wrong("split", "files that stand apart are split already: leave [split] out");
    }
    if data.schema.is_none() && data.prepared.is_none() {
        return wrong("data.schema", "expected a preset (criteo, avazu, demo) or a .toml file, got nothing");
    }
    if data.schema.is_some() && data.prepared.is_some() {
        return wrong("data.schema", "prepared data bring their own schema: leave it out");
    }
    let inputs = data.files.iter().chain(&data.train).chain(&data.valid).chain(&data.test).chain(&data.truth);
    if inputs.into_iter().any(|path| path.as_os_str() == "-") {
        return wrong("data", "standard input cannot be read twice: expected files");
    }
    match data.max_bad_rows {
        Some(share) if !(0.0..=1.0).contains(&share) => wrong("data.max_bad_rows", "expected a share from 0 to 1"),
        _ => Ok(()),
    }
}
