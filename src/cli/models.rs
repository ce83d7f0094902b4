//! `pctr models`: the registry from the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Context, print};
use crate::error::{Error, Result};
use crate::registry::{Action, Entry, Listed, PRODUCTION, Registry, SchemaChange, Stage};

/// List, show, publish, promote and roll back models in a registry.
#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the published models and the stages that serve them
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Show one model: what it is, where it comes from, what happened to it; its checksums are verified
    Show {
        /// Name of the model, as `models list` prints it
        model: String,
        #[command(flatten)]
        place: Place,
    },
    /// Copy a bundle into the registry; a missing registry is made. Prints the model's name
    Publish {
        /// Folder of the bundle, as `pctr train -o` writes it
        bundle: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Make a stage serve a model, when it passes the gate: it opens, answers, and takes the same schema
    Promote {
        /// Name of the model, as `models list` prints it
        model: String,
        /// The stage
        #[arg(long, default_value = PRODUCTION)]
        stage: String,
        /// Allow another schema than the one the stage serves now
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Make a stage serve again what it served before its last promotion
    Rollback {
        /// The stage
        #[arg(long, default_value = PRODUCTION)]
        stage: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Folder of the registry
    #[arg(long, value_name = "DIR")]
    registry: PathBuf,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

impl ModelsArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        match self.verb {
            Verb::List { place } => {
                let models = Registry::open(&place.registry)?.list()?;
                tell(if place.json { pretty(&json!(models)) } else { table(&models) })
            }
            Verb::Show { model, place } => show(&model, &place),
            Verb::Publish { bundle, place } => {
                let published = Registry::create(&place.registry)?.publish(&bundle)?;
                if !published.new {
                    context.note(format_args!("{} was published before; nothing changed", published.model));
                }
                tell(if place.json { pretty(&json!(published)) } else { published.model })
            }
            Verb::Promote { model, stage, force, place } => {
                let schema = if force { SchemaChange::Allow } else { SchemaChange::Refuse };
                let stage = Registry::open(&place.registry)?.promote(&model, &stage, schema)?;
                tell(if place.json { pretty(&json!(stage)) } else { serves(&stage) })
            }
            Verb::Rollback { stage, place } => {
                let stage = Registry::open(&place.registry)?.rollback(&stage)?;
                tell(if place.json { pretty(&json!(stage)) } else { serves(&stage) })
            }
        }
    }
}

/// Prints a model; one that is refused is an error after that.
fn show(model: &str, place: &Place) -> Result<()> {
    let registry = Registry::open(&place.registry)?;
    let shown = registry.show(model)?;
    let mut history = registry.history();
    history.retain(|entry| entry.model == model || entry.from.as_deref() == Some(model));
    tell(match place.json {
        true => pretty(&json!({ "model": shown, "history": history })),
        false => described(&shown, &history),
    })?;
    match shown.problem {
        None => Ok(()),
        Some(problem) => Err(Error::bundle(model, problem)),
    }
}

fn serves(stage: &Stage) -> String {
    let before = stage.from.as_ref().map_or(String::new(), |from| format!(" (before: {from})"));
    format!("{} serves {}{before}", stage.stage, stage.model)
}

fn table(models: &[Listed]) -> String {
    if models.is_empty() {
        return "no models published".into();
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header(["model", "serves", "schema", "training rows", "log loss", "size", "published"]);
    for listed in models {
        let mut row = vec![listed.model.clone(), listed.stages.join(", ")];
        match &listed.manifest {
            Some(manifest) => row.extend([
                manifest.schema.clone(),
                manifest.profile.rows.to_string(),
                manifest.metrics.get("log_loss").map_or(String::new(), |loss| format!("{loss:.5}")),
                size(manifest.files.values().map(|file| file.bytes).sum()),
            ]),
            None => row.extend(["refused".into(), String::new(), String::new(), String::new()]),
        }
        row.push(listed.published.clone().unwrap_or_default());
        table.add_row(row);
    }
    table.to_string()
}

fn described(listed: &Listed, history: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.add_row(["model", &listed.model]);
    table.add_row(["serves", &listed.stages.join(", ")]);
    if let Some(problem) = &listed.problem {
        table.add_row(["refused", problem]);
    }
    if let Some(manifest) = &listed.manifest {
        let profile = &manifest.profile;
        table.add_row(["kind", manifest.kind.name()]);
        table.add_row(["schema", &format!("{} {}", manifest.schema, manifest.schema_fingerprint)]);
        table.add_row(["trained on", &format!("{} rows, {} clicks", profile.rows, profile.clicks)]);
        table.add_row(["data", &manifest.provenance.data.to_string()]);
        table.add_row(["seed", &manifest.provenance.seed.to_string()]);
        table.add_row(["calibration", &format!("{:?}", profile.calibration.method).to_lowercase()]);
        table.add_row(["settings", &manifest.provenance.settings.to_string()]);
        for (name, file) in &manifest.files {
            table.add_row([name, &format!("{}, {}", size(file.bytes), file.fingerprint)]);
        }
        for (name, value) in &manifest.metrics {
            table.add_row([name, &value.to_string()]);
        }
    }
    for entry in history {
        table.add_row([entry.at.as_str(), &told(entry)]);
    }
    table.to_string()
}

fn told(entry: &Entry) -> String {
    let stage = entry.stage.as_deref().unwrap_or_default();
    let from = entry.from.as_ref().map_or(String::new(), |from| format!(", in place of {from}"));
    match entry.action {
        Action::Published => format!("{} published", entry.model),
        Action::Promoted => format!("{} promoted to {stage}{from}", entry.model),
        Action::RolledBack => format!("{stage} rolled back to {}{from}", entry.model),
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}")
}

fn tell(text: String) -> Result<()> {
    print(&(text + "\n"))
}
