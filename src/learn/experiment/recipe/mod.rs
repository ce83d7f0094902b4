//! Recipe: one TOML file that says which data, which models and which rules of judgment make an experiment.
//!
//! Read in three steps: TOML text → table, on which `--set key=value` acts; table → plain structs, where an unknown key is an
//! error that names the nearest one; structs → [`Recipe`], checked against each other. Settings of models are checked before
//! any data are read ([`Recipe::check_models`]). `experiments/example.toml` is a commented example, parsed in a test.

mod data;
mod model;

pub use data::{DataConfig, LeakageConfig};
pub use model::ModelRecipe;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

use super::describe::SliceConfig;
use super::rules::{self, BootstrapConfig, CalibrationConfig, Limits, VerdictConfig};
use crate::config;
use crate::error::{Error, Result};
use crate::learn::analysis::AnalysisConfig;
use crate::learn::auction::{AuctionConfig, Place};
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
    /// Which slices of the test rows are judged apart.
    pub slices: SliceConfig,
    /// What is refused because test rows would be known from training.
    pub leakage: LeakageConfig,
    /// Replay auctions with the bids of each model, so that a difference can be read in currency.
    pub auction: Option<AuctionConfig>,
    /// Look into the models once they are there.
    pub analysis: Option<AnalysisConfig>,
    /// How much of the machine it may take.
    pub machine: Machine,
    /// The recipe as it was used, `--set` applied, defaults not filled in.
    pub text: String,
    /// Identity of that text without `threads`, `parallel` and `memory_mb`, which decide no result.
    pub fingerprint: Fingerprint,
    /// Relative paths start here.
    pub folder: PathBuf,
    /// File it came from, for error messages.
    pub place: String,
}

/// How much of the machine an experiment may take; no result depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Machine {
    /// Threads for all runs together; 0 takes one for each core.
    pub threads: usize,
    /// Most runs at a time; 0 takes as many as there are threads.
    pub parallel: usize,
    /// Most megabytes (10⁶ bytes) of all runs at a time, by their estimates; 0 takes four fifths of what is free.
    pub memory_mb: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecipe {
    name: String,
    question: Option<String>,
    data: DataConfig,
    split: Option<SplitConfig>,
    models: Vec<model::RawModel>,
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
    slices: SliceConfig,
    #[serde(default)]
    leakage: LeakageConfig,
    auction: Option<AuctionConfig>,
    analysis: Option<AnalysisConfig>,
    #[serde(default)]
    threads: usize,
    #[serde(default)]
    parallel: usize,
    #[serde(default)]
    memory_mb: u64,
}

fn one_seed() -> Vec<u64> {
    vec![1]
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
        raw.data.check(raw.split.is_some(), place)?;
        raw.leakage.check(place)?;
        let split = raw.split.unwrap_or_default();
        let models: Vec<ModelRecipe> =
            raw.models.into_iter().map(|model| model.check(&raw.seeds, place)).collect::<Result<_>>()?;
        if let Some(analysis) = &raw.analysis {
            let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
            analysis.check(&names, None, place)?;
        }
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
        raw.slices.check(None, place)?;
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
            slices: raw.slices,
            leakage: raw.leakage,
            auction: raw.auction,
            analysis: raw.analysis,
            machine: Machine { threads: raw.threads, parallel: raw.parallel, memory_mb: raw.memory_mb },
            fingerprint: fingerprint(&text, place)?,
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
        self.slices.check(Some(schema), &self.place)?;
        if let Some(analysis) = &self.analysis {
            let names: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
            let fields: Vec<&str> = schema.features.iter().map(|feature| feature.name.as_str()).collect();
            analysis.check(&names, Some(&fields), &self.place)?;
        }
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

    /// Where the models' bids are replayed: the log that holds the test rows, where it is one file.
    pub fn auction_place<'a>(&'a self, schema: &'a Schema) -> Place<'a> {
        let own_log = match (self.data.files.as_slice(), self.data.test.as_slice()) {
            ([file], []) | ([], [file]) => Some(file.as_path()),
            _ => None,
        };
        Place { schema, folder: &self.folder, own_log, recipe: &self.place }
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

fn render(table: &Table) -> Result<String> {
    toml::to_string(table).map_err(|error| Error::Bug(format!("a recipe that was read cannot be written: {error}")))
}

/// Identity of what decides results.
fn fingerprint(text: &str, place: &str) -> Result<Fingerprint> {
    let mut table = config::table(text, place)?;
    for key in ["threads", "parallel", "memory_mb"] {
        table.remove(key);
    }
    Ok(Fingerprint::of(render(&table)?.as_bytes()))
}

/// Names become folders, so they must be plain.
fn is_file_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    !name.is_empty() && name.len() <= 80 && !name.starts_with(['.', '-']) && name.chars().all(plain)
}
