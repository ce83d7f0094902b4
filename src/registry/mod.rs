//! Registry: finished bundles → the one that serves. The bridge from learning to predicting.
//!
//! A folder that any number of processes may share:
//!
//! ```text
//! REG/registry.json            says that the folder is a registry, and of which format
//! REG/models/<model>/          published bundles, copied whole, never changed
//! REG/stages/<stage>.json      which model the stage serves, and which it served before
//! REG/ledger.jsonl             what was published, promoted and rolled back, and when; only ever appended to
//! REG/served.jsonl             what services that follow it served, and when; written by them
//! REG/lock                     held by the one process that changes something
//! ```
//!
//! Readers take no lock: a bundle and a stage are each put in place by one rename, so whoever reads sees the old one or
//! the new one. A process killed at any moment leaves the registry as it was before or as it is after.

mod gate;
mod ledger;
mod lock;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use gate::{SchemaChange, check_answers};
pub use ledger::{Action, Entry};
pub use stage::{PRODUCTION, Stage};

use crate::durable::{PartialFolder, write_bytes};
use crate::error::{Error, Result, nearest};
use crate::model::bundle::{Bundle, MANIFEST_FILE, Manifest};
use ledger::Ledger;
use lock::Lock;

const MARK_FILE: &str = "registry.json";
const MAGIC: &str = "pctr-registry";
const FORMAT: u32 = 1;

/// A folder of published bundles.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

/// `registry.json`.
#[derive(Serialize, Deserialize)]
struct Mark {
    magic: String,
    format: u32,
}

/// What [`Registry::publish`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The model's name.
    pub model: String,
    /// Where it stands now.
    pub path: PathBuf,
    /// Whether it was not there before.
    pub new: bool,
}

/// The model that a stage serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The model's name.
    pub model: String,
    /// Its bundle.
    pub path: PathBuf,
    /// Number of the stage's change that brought it, from 1; it grows with every promotion and rollback.
    pub change: u64,
    /// What brought it.
    pub action: Action,
    /// Whether its promotion was forced.
    pub forced: bool,
}

/// One published model.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The model's name.
    pub model: String,
    /// When it was published (UTC, RFC 3339), as far as the ledger tells.
    pub published: Option<String>,
    /// Stages that serve it.
    pub stages: Vec<String>,
    /// What it is, when that can be read.
    pub manifest: Option<Manifest>,
    /// Why the bundle is refused.
    pub problem: Option<String>,
}

impl Registry {
    /// The registry in `folder`, for reading and writing.
    ///
    /// # Errors
    /// Io when there is no such folder; config when it holds no registry.
    pub fn open(folder: &Path) -> Result<Registry> {
        let mark = folder.join(MARK_FILE);
        let place = folder.display().to_string();
        let text = match fs::read(&mark) {
            Ok(text) => text,
            Err(_) if folder.is_dir() && !mark.exists() => {
                let message = format!("expected a registry, but there is no {MARK_FILE}; the first publish makes one");
                return Err(Error::config("--registry", place, message));
            }
            Err(error) => return Err(Error::io(&mark, "read")(error)),
        };
        match serde_json::from_slice::<Mark>(&text) {
            Ok(mark) if mark.magic == MAGIC && mark.format == FORMAT => Ok(Registry { folder: folder.to_path_buf() }),
            Ok(mark) if mark.magic == MAGIC => {
                let message = format!("expected a registry of format {FORMAT}, got format {}", mark.format);
                Err(Error::config("--registry", place, message))
            }
            _ => Err(Error::config("--registry", place, format!("its {MARK_FILE} is not that of a registry"))),
        }
    }

    /// The registry in `folder`, made there when the folder is missing or empty.
    ///
    /// # Errors
    /// Config when something else stands there; io when it cannot be written.
    pub fn create(folder: &Path) -> Result<Registry> {
        if !folder.join(MARK_FILE).exists() {
            fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
            for entry in fs::read_dir(folder).map_err(Error::io(folder, "list"))? {
                let name = entry.map_err(Error::io(folder, "list"))?.file_name();
                let name = name.to_string_lossy();
                // Another process may be making the same registry.
                let ours = name == lock::FILE || name.trim_start_matches('.').starts_with(MARK_FILE);
                if !ours && !folder.join(MARK_FILE).exists() {
                    let message = format!("expected a registry or an empty folder, but it holds {name:?}");
                    return Err(Error::config("--registry", folder.display().to_string(), message));
                }
            }
            let _lock = Lock::take(folder)?;
            let mark = serde_json::to_vec(&Mark { magic: MAGIC.into(), format: FORMAT });
            write_bytes(&folder.join(MARK_FILE), &mark.map_err(|error| Error::Bug(error.to_string()))?)?;
        }
        Registry::open(folder)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies a bundle into the registry, whole or not at all. Publishing the same content again changes nothing, but
    /// for a copy that was damaged since: it is replaced by the good one.
    ///
    /// # Errors
    /// Bundle when it is corrupted, foreign or answers nonsense; io when it cannot be copied.
    pub fn publish(&self, folder: &Path) -> Result<Published> {
        let bundle = Bundle::open(folder)?;
        gate::check_name(&bundle, folder)?;
        check_answers(&bundle)?;
        let manifest = bundle.manifest;
        let _lock = Lock::take(&self.folder)?;
        let ledger = self.ledger();
        let path = self.models_folder().join(&manifest.model);
        let there = path.exists();
        let good = there && Bundle::open(&path).is_ok_and(|there| there.manifest.files == manifest.files);
        if !good {
            let partial = PartialFolder::create(&path, MANIFEST_FILE)?;
            for name in manifest.files.keys().map(String::as_str).chain([MANIFEST_FILE]) {
                copy_read_only(&folder.join(name), &partial.path().join(name))?;
            }
            // What is put in place is what was checked, even if the source changed meanwhile.
            if Bundle::open(partial.path())?.manifest != manifest {
                return Err(Error::bundle(folder.display().to_string(), "it changed while it was copied"));
            }
            partial.commit()?;
        }
        let recorded = ledger.read().iter().any(|entry| entry.publishes(&manifest.model));
        if !good || !recorded {
            ledger.append(&Entry::published(&manifest.model));
        }
        Ok(Published { model: manifest.model, path, new: !there })
    }

    /// Makes `stage` serve `model`, which must pass the gate: its bundle opens, its checksums fit, it answers, and it takes the
    /// rows that the stage's model takes, unless `schema` allows another schema. Promoting what is served changes nothing.
    ///
    /// # Errors
    /// Config for an unknown model or a stage of an impossible name; bundle when the gate refuses; io.
    pub fn promote(&self, model: &str, stage: &str, schema: SchemaChange) -> Result<Stage> {
        stage::check_name(stage)?;
        let path = self.model_path(model)?;
        let _lock = Lock::take(&self.folder)?;
        let current = self.stage(stage)?;
        let bundle = gate::check(&path, model, current.as_ref(), schema)?;
        match current {
            Some(current) if current.model == model => Ok(current),
            current => self.change(Stage::promoted(stage, current, &bundle.manifest, schema == SchemaChange::Allow)),
        }
    }

    /// Makes `stage` serve again what it served before its last promotion. Rolling back twice goes two promotions back.
    ///
    /// # Errors
    /// Config when the stage served nothing before; bundle when that model is damaged; io.
    pub fn rollback(&self, stage: &str) -> Result<Stage> {
        stage::check_name(stage)?;
        let _lock = Lock::take(&self.folder)?;
        let current = self.stage(stage)?.ok_or_else(|| self.nothing_promoted(stage))?;
        let Some(previous) = current.earlier.last() else {
            let message = format!("it served nothing before {}", current.model);
            return Err(Error::config("rollback", stage, message));
        };
        let bundle = gate::check(&self.model_path(previous)?, previous, None, SchemaChange::Allow)?;
        self.change(current.rolled_back(&bundle.manifest))
    }

    /// The model that `stage` serves.
    ///
    /// # Errors
    /// Config when nothing was promoted to it; data when its file is damaged; io.
    pub fn resolve(&self, stage: &str) -> Result<Resolved> {
        let stage = self.stage(stage)?.ok_or_else(|| self.nothing_promoted(stage))?;
        let path = self.models_folder().join(&stage.model);
        let Stage { model, change, action, forced, .. } = stage;
        Ok(Resolved { model, path, change, action, forced })
    }

    /// What `stage` serves and served; `None` before the first promotion.
    ///
    /// # Errors
    /// Config for an impossible name; data when its file is damaged; io.
    pub fn stage(&self, stage: &str) -> Result<Option<Stage>> {
        stage::check_name(stage)?;
        Stage::read(&self.stages_folder().join(format!("{stage}.json")))
    }

    /// All published models, by name. Manifests are read, weights are not.
    ///
    /// # Errors
    /// Io when the folder cannot be listed; data when a stage's file is damaged.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let (stages, ledger) = (self.stages()?, self.ledger().read());
        let listed = |model: String| {
            let manifest = Manifest::read(&self.models_folder().join(&model));
            self.listed(model, manifest, &stages, &ledger)
        };
        Ok(self.models()?.into_iter().map(listed).collect())
    }

    /// One published model, with its checksums verified.
    ///
    /// # Errors
    /// Config when there is none of this name; io; data when a stage's file is damaged.
    pub fn show(&self, model: &str) -> Result<Listed> {
        let bundle = Bundle::open(&self.model_path(model)?);
        let manifest = bundle.map(|bundle| bundle.manifest);
        Ok(self.listed(model.to_owned(), manifest, &self.stages()?, &self.ledger().read()))
    }

    /// Everything that happened, oldest first. Lines of the ledger that cannot be read are left out, with a warning.
    pub fn history(&self) -> Vec<Entry> {
        self.ledger().read()
    }

    fn listed(&self, model: String, manifest: Result<Manifest>, stages: &[Stage], ledger: &[Entry]) -> Listed {
        let published = ledger.iter().find(|entry| entry.publishes(&model)).map(|entry| entry.at.clone());
        let stages = stages.iter().filter(|stage| stage.model == model).map(|stage| stage.stage.clone()).collect();
        match manifest {
            Ok(manifest) => Listed { model, published, stages, manifest: Some(manifest), problem: None },
            Err(error) => Listed { model, published, stages, manifest: None, problem: Some(error.to_string()) },
        }
    }

    /// Puts a stage's change in place; the ledger follows.
    fn change(&self, stage: Stage) -> Result<Stage> {
        let ledger = self.ledger();
        // A process killed between stage and ledger left a line out: the stage still tells which.
        let known = ledger.read();
        for earlier in self.stages()? {
            let entry = earlier.entry();
            if !known.contains(&entry) {
                ledger.append(&entry);
            }
        }
        stage.write(&self.stages_folder().join(format!("{}.json", stage.stage)))?;
        ledger.append(&stage.entry());
        Ok(stage)
    }

    fn model_path(&self, model: &str) -> Result<PathBuf> {
        let models = self.models()?;
        // Looked up among the names that exist, so that no name leads out of the registry.
        match models.iter().any(|known| known == model) {
            true => Ok(self.models_folder().join(model)),
            false => {
                let hint = nearest(model, models.iter().map(String::as_str));
                let message = format!("no such model in registry {}{hint}", self.folder.display());
                Err(Error::config("models", model, message))
            }
        }
    }

    fn models(&self) -> Result<Vec<String>> {
        names(&self.models_folder())
    }

    fn stages(&self) -> Result<Vec<Stage>> {
        let mut stages = Vec::new();
        for name in names(&self.stages_folder())?.iter().filter_map(|name| name.strip_suffix(".json")) {
            stages.extend(self.stage(name)?);
        }
        Ok(stages)
    }

    fn nothing_promoted(&self, stage: &str) -> Error {
        let folder = self.folder.display();
        let message = format!("nothing is promoted to it; see pctr models promote MODEL --registry {folder}");
        Error::config(format!("registry {folder}"), stage, message)
    }

    fn ledger(&self) -> Ledger {
        Ledger::new(self.folder.join("ledger.jsonl"))
    }

    fn models_folder(&self) -> PathBuf {
        self.folder.join("models")
    }

    fn stages_folder(&self) -> PathBuf {
        self.folder.join("stages")
    }
}

/// Names in a folder that do not begin with a dot, sorted; none when there is no folder yet.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(folder, "list")(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::io(folder, "list"))?.file_name().into_string());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

fn copy_read_only(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map_err(Error::io(from, "copy"))?;
    let mut permissions = fs::metadata(to).map_err(Error::io(to, "inspect"))?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(to, permissions).map_err(Error::io(to, "protect"))
}
