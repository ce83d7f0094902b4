//! `pctr models`: the registry from the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::print;
use crate::error::{Error, Result};
use crate::model::bundle::TierProfile;
use crate::registry::{Action, Entry, Listed, PRODUCTION, Registry, SchemaChange, Stage};

/// List, show, publish, promote and roll back models in a registry.
#[derive(Debug, Args)]
pub(super) struct ModelsArgs {
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

/// Carries out `pctr models`; results go to standard output.
///
/// # Errors
/// Whatever the registry answers; io when standard output cannot be written.
pub(super) fn run(args: &ModelsArgs) -> Result<()> {
    match &args.verb {
        Verb::List { place } => {
            let models = Registry::open(&place.registry)?.list()?;
            tell(if place.json { pretty(&json!(models)) } else { table(&models) })
        }
        Verb::Show { model, place } => show(model, place),
        Verb::Publish { bundle, place } => {
            let published = Registry::create(&place.registry)?.publish(bundle)?;
            if !published.new {
                tracing::info!("{} was published before", published.model);
            }
            tell(if place.json { pretty(&json!(published)) } else { published.model })
        }
        Verb::Promote { model, stage, force, place } => {
            let schema = if *force { SchemaChange::Allow } else { SchemaChange::Refuse };
            let stage = Registry::open(&place.registry)?.promote(model, stage, schema)?;
            tell(if place.json { pretty(&json!(stage)) } else { serves(&stage) })
        }
        Verb::Rollback { stage, place } => {
            let stage = Registry::open(&place.registry)?.rollback(stage)?;
            tell(if place.json { pretty(&json!(stage)) } else { serves(&stage) })
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
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["model", "serves", "schema", "training rows", "valid log loss", "size", "published"]);
    for listed in models {
        let mut row = vec![listed.model.clone(), listed.stages.join(", ")];
        match &listed.manifest {
            Some(manifest) => row.extend([
                manifest.schema.clone(),
                manifest.profile.rows.to_string(),
                manifest.metrics.get("valid_log_loss").map_or(String::new(), |loss| format!("{loss:.5}")),
                size(manifest.files.values().map(|file| file.bytes).sum()),
            ]),
            None => row.extend(["refused".into(), String::new(), String::new(), String::new()]),
        }
        row.push(listed.published.as_deref().map_or(String::new(), to_the_second));
        table.add_row(row);
    }
    table.to_string()
}

fn described(listed: &Listed, history: &[Entry]) -> String {
    let mut lines = vec![("model".to_owned(), listed.model.clone()), ("serves".into(), listed.stages.join(", "))];
    if let Some(problem) = &listed.problem {
        lines.push(("refused".into(), problem.clone()));
    }
    if let Some(manifest) = &listed.manifest {
        let (profile, provenance) = (&manifest.profile, &manifest.provenance);
        lines.extend([
            ("kind".into(), manifest.kind.to_string()),
            ("schema".into(), format!("{} {}", manifest.schema, manifest.schema_fingerprint)),
            ("trained on".into(), format!("{} rows, {} clicks", profile.rows, profile.clicks)),
            ("data".into(), provenance.data.to_string()),
            ("seed".into(), provenance.seed.to_string()),
            ("calibration".into(), format!("{:?}", profile.calibration.method).to_lowercase()),
        ]);
        lines.extend(profile.scoring.map(|scoring| ("scoring".into(), scoring.to_string())));
        if profile.tiers.is_empty() {
            lines.push(("base-rate tier".into(), format!("{} clicks in {} rows", profile.clicks, profile.rows)));
        }
        lines.extend(profile.tiers.iter().map(|(tier, about)| (format!("{tier} tier"), of_tier(about))));
        let files = manifest.files.iter();
        lines.extend(files.map(|(name, file)| (name.clone(), format!("{} {}", size(file.bytes), file.fingerprint))));
        lines.extend(manifest.metrics.iter().map(|(name, value)| (name.clone(), value.to_string())));
        settings("", &provenance.settings, &mut lines);
    }
    lines.extend(history.iter().map(|entry| (to_the_second(&entry.at), told(entry))));
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> = lines.iter().map(|(name, text)| format!("{name:width$}  {text}")).collect();
    lines.join("\n")
}

/// A tier below the model, in a line.
fn of_tier(about: &TierProfile) -> String {
    let metrics = about.metrics.iter().map(|(name, value)| format!(", {} {value:.5}", name.replace('_', " ")));
    let calibration = format!("{:?}", about.calibration.method).to_lowercase();
    format!("{}, {calibration} calibration{}", about.kind, metrics.collect::<String>())
}

/// Settings one a line, with dotted names.
fn settings(name: &str, value: &serde_json::Value, lines: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(inner) => {
            let dot = if name.is_empty() { "" } else { "." };
            inner.iter().for_each(|(key, value)| settings(&format!("{name}{dot}{key}"), value, lines));
        }
        value => lines.push((name.to_owned(), value.to_string())),
    }
}

/// A time without its fraction of a second.
fn to_the_second(at: &str) -> String {
    at.split_once('.').map_or_else(|| at.to_owned(), |(second, _)| format!("{second}Z"))
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
