//! Compared runs → a folder in MLflow's file layout, so that `mlflow ui --backend-store-uri DIR` shows them.
//!
//! ```text
//! DIR/EXPERIMENT/meta.yaml                  one experiment
//! DIR/EXPERIMENT/RUN/meta.yaml              one run, named by the first half of its identity and of its experiment's
//! DIR/EXPERIMENT/RUN/params/KEY             a setting as text
//! DIR/EXPERIMENT/RUN/metrics/KEY            lines "milliseconds value step"; curves have a line a point, steps are rows
//! DIR/EXPERIMENT/RUN/tags/KEY               a tag as text
//! DIR/EXPERIMENT/RUN/artifacts/             run.json and machine.json
//! ```
//!
//! MLflow (2.x and 3.x) reads what its own file store wrote; this is that layout, with keys its rules allow. An export replaces an
//! earlier one of the same runs. `tests/mlflow/run` opens an export with the MLflow of PyPI and compares every number.

use std::path::Path;

use serde_json::Value;

use super::compare::Comparison;
use super::record::{MACHINE_FILE, RECORD_FILE, RunRecord};
use crate::durable::{PartialFolder, write_bytes};
use crate::error::{Error, Result};
use crate::metrics::Evaluation;
use crate::model::features::hash::Fingerprint;

/// File that MLflow describes experiments and runs in.
const META: &str = "meta.yaml";

/// Longest value of a setting that MLflow takes.
const LONGEST_PARAM: usize = 6000;

/// Writes all runs of a comparison into `folder`, an experiment for each name they carry.
///
/// # Errors
/// Io when the place cannot be written; config when something else stands where a run is to stand.
pub fn export(comparison: &Comparison, folder: &Path) -> Result<()> {
    for run in comparison.models.iter().flat_map(|model| &model.runs) {
        let record = &run.record;
        let experiment = experiment_id(&record.experiment.name);
        let of_experiment = folder.join(&experiment);
        if !of_experiment.join(META).is_file() {
            let meta = [
                ("artifact_location", quoted(&artifact_uri(&of_experiment)?)),
                ("creation_time", started(record).to_string()),
                ("experiment_id", quoted(&experiment)),
                ("last_update_time", started(record).to_string()),
                ("lifecycle_stage", "active".into()),
                ("name", quoted(&record.experiment.name)),
            ];
            write_bytes(&of_experiment.join(META), yaml(&meta).as_bytes())?;
        }
        write_run(record, &run.folder, &experiment, &of_experiment)?;
    }
    Ok(())
}

fn write_run(record: &RunRecord, from: &Path, experiment: &str, of_experiment: &Path) -> Result<()> {
    // The same settings may stand under two names: the name is part of what tells runs apart.
    let id = Fingerprint::of(format!("{} {}", record.identity, record.folder_name()).as_bytes()).to_string();
    let target = of_experiment.join(&id);
    let partial = PartialFolder::create(&target, META)?;
    let at = partial.path();
    let begun = started(record);
    let ended = begun + (record.wall_seconds * 1000.0) as i64;
    for folder in ["params", "metrics", "tags", "artifacts"] {
        let folder = at.join(folder);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
    }
    let write = |kind: &str, key: &str, text: String| write_bytes(&at.join(kind).join(key_of(key)), text.as_bytes());
    for (key, value) in params(record) {
        write("params", &key, value.chars().take(LONGEST_PARAM).collect())?;
    }
    for (key, value) in metrics(record) {
        write("metrics", &key, format!("{ended} {value} 0\n"))?;
    }
    for (key, points) in curves(record) {
        let lines: Vec<String> = points.iter().map(|(rows, loss)| format!("{ended} {loss} {rows}\n")).collect();
        write("metrics", key, lines.concat())?;
    }
    for (key, value) in tags(record) {
        write("tags", key, value)?;
    }
    for file in [RECORD_FILE, MACHINE_FILE] {
        let bytes = std::fs::read(from.join(file)).map_err(Error::io(&from.join(file), "read"))?;
        write_bytes(&at.join("artifacts").join(file), &bytes)?;
    }
    let meta = [
        ("artifact_uri", quoted(&format!("{}/{id}/artifacts", artifact_uri(of_experiment)?))),
        ("end_time", ended.to_string()),
        ("entry_point_name", quoted("")),
        ("experiment_id", quoted(experiment)),
        ("lifecycle_stage", "active".into()),
        ("run_id", id.clone()),
        ("run_name", quoted(&record.folder_name())),
        ("run_uuid", id.clone()),
        ("source_name", quoted("")),
        // Local source, finished: MLflow's own numbers.
        ("source_type", "4".into()),
        ("source_version", quoted("")),
        ("start_time", begun.to_string()),
        ("status", "3".into()),
        ("tags", "[]".into()),
        ("user_id", quoted("pctr")),
    ];
    write_bytes(&at.join(META), yaml(&meta).as_bytes())?;
    partial.commit()
}

fn params(record: &RunRecord) -> Vec<(String, String)> {
    let mut params = vec![
        ("kind".to_owned(), record.kind.to_string()),
        ("seed".to_owned(), record.seed.to_string()),
        ("calibration".to_owned(), format!("{:?}", record.calibration.choice.method).to_lowercase()),
    ];
    params.extend(record.fold.map(|fold| ("fold".to_owned(), (fold.number + 1).to_string())));
    flatten("", &record.settings, &mut params);
    params
}

/// Nested settings as `training.passes`.
fn flatten(prefix: &str, value: &Value, params: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, params);
            }
        }
        Value::String(text) => params.push((format!("settings.{prefix}"), text.clone())),
        other => params.push((format!("settings.{prefix}"), other.to_string())),
    }
}

fn metrics(record: &RunRecord) -> Vec<(String, f64)> {
    let mut metrics = Vec::new();
    let mut of_part = |part: &str, evaluation: &Evaluation| {
        let known = [
            ("log_loss", Some(evaluation.log_loss)),
            ("auc", evaluation.auc),
            ("normalized_entropy", evaluation.normalized_entropy),
            ("pcoc", evaluation.pcoc),
            ("ece", Some(evaluation.ece)),
            ("brier", Some(evaluation.brier)),
            ("pr_auc", evaluation.pr_auc),
        ];
        metrics.extend(known.into_iter().filter_map(|(name, value)| Some((format!("{part}_{name}"), value?))));
    };
    of_part("test", &record.test);
    if let Some(valid) = &record.valid {
        of_part("valid", valid);
    }
    let rest = [
        ("truth_log_loss", record.truth_log_loss),
        ("selection_log_loss", record.selection_log_loss),
        ("train_seconds", Some(record.training.seconds)),
        ("train_rows_per_second", Some(record.training.rows_per_second)),
        ("wall_seconds", Some(record.wall_seconds)),
        ("score_p99_micros_1", Some(record.scoring.one.p99_micros)),
        ("score_p99_micros_100", Some(record.scoring.hundred.p99_micros)),
        ("bundle_bytes", record.bundle_bytes.map(|bytes| bytes as f64)),
    ];
    metrics.extend(rest.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    metrics
}

type Curve = Vec<(u64, f64)>;

fn curves(record: &RunRecord) -> [(&'static str, Curve); 2] {
    let curve = &record.training.curve;
    [
        ("progressive_log_loss", curve.iter().map(|point| (point.rows, point.progressive_log_loss)).collect()),
        ("curve_valid_log_loss", curve.iter().filter_map(|point| Some((point.rows, point.valid_log_loss?))).collect()),
    ]
}

fn tags(record: &RunRecord) -> Vec<(&'static str, String)> {
    vec![
        ("mlflow.runName", record.folder_name()),
        ("mlflow.user", "pctr".into()),
        ("mlflow.source.name", "pctr".into()),
        ("mlflow.source.type", "LOCAL".into()),
        ("pctr.version", record.environment.pctr.clone()),
        ("pctr.identity", record.identity.to_string()),
        ("pctr.data", record.data.fingerprint.to_string()),
        ("pctr.split", record.data.split.to_string()),
        ("pctr.model", record.model.clone()),
        ("pctr.isa", record.environment.isa.clone()),
    ]
}

/// MLflow takes whole numbers as ids of experiments: 18 digits of the name's fingerprint.
fn experiment_id(name: &str) -> String {
    let digits = u128::from_str_radix(&Fingerprint::of(name.as_bytes()).to_string(), 16).unwrap_or(0);
    format!("{:018}", digits % 1_000_000_000_000_000_000)
}

/// Letters, digits, underscores, dashes, dots, spaces and slashes are allowed in keys; slashes would be folders here.
fn key_of(key: &str) -> String {
    key.chars().map(|letter| if letter.is_alphanumeric() || "_-. ".contains(letter) { letter } else { '_' }).collect()
}

fn artifact_uri(folder: &Path) -> Result<String> {
    let absolute = std::path::absolute(folder).map_err(Error::io(folder, "find"))?;
    Ok(format!("file://{}", absolute.display()))
}

fn started(record: &RunRecord) -> i64 {
    record.started.parse::<jiff::Timestamp>().map_or(0, |time| time.as_millisecond())
}

/// A text in YAML's single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn yaml(pairs: &[(&str, String)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_ids_keep_to_the_rules() {
        assert_eq!(key_of("settings.model/alpha:β\"1\""), "settings.model_alpha_β_1_");
        let id = experiment_id("001-criteo80k");
        assert!(id.len() == 18 && id.bytes().all(|digit| digit.is_ascii_digit()), "{id}");
        assert_eq!(id, experiment_id("001-criteo80k"));
        assert_eq!(yaml(&[("name", quoted("it's"))]), "name: 'it''s'\n");
    }

    #[test]
    fn nested_settings_are_named_by_their_path() {
        let mut params = Vec::new();
        flatten("", &serde_json::json!({ "kind": "ftrl", "model": { "alpha": 0.1, "list": [1, 2] } }), &mut params);
        let expected = [("settings.kind", "ftrl"), ("settings.model.alpha", "0.1"), ("settings.model.list", "[1,2]")];
        assert_eq!(params, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
