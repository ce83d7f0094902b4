//! Runs → which model is better, by how much, and whether that is more than noise.
//!
//! ```text
//! folders ─▶ load: runs, models ─▶ evidence: test rows resampled ─▶ pairs, verdicts ─▶ winner
//! ```
//!
//! All runs must have the same rows and the same split. Points of a grid are chosen on validation rows only, with the function
//! the runner uses. Intervals of all pairs hold together ([`crate::metrics::differences`]); what they say is [`verdict`].

mod evidence;
mod load;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod winner;

use std::path::PathBuf;

use serde::Serialize;

use super::kind::Kind;
use super::record::{DataRecord, RunRecord};
use super::rules::{BootstrapConfig, Limits, VerdictConfig};
use super::runner::ExperimentRecord;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::metrics::bootstrap::Interval;
use crate::metrics::resampled::Metric;
use crate::model::Threads;
use crate::model::bundle::ModelKind;
use evidence::Evidence;
use summary::{MetricDifference, ModelSummary};
use verdict::Judge;
use winner::Winner;

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
    /// The verdict on the two models that lead.
    pub verdict: String,
    /// The model to ship; `None` when none keeps the limits.
    pub winner: Option<Winner>,
    /// Why that one.
    pub reason: String,
    /// Best first, by the metric of the recipe.
    pub models: Vec<ModelSummary>,
    /// Mean log loss in nats of the true probabilities on the test rows, where they are known.
    pub truth_log_loss: Option<f64>,
    /// The rows.
    pub data: DataRecord,
    /// Which rows were resampled together, in words.
    pub blocks: String,
    /// How intervals were made.
    pub bootstrap: BootstrapConfig,
    /// When a difference counts.
    pub rules: VerdictConfig,
    /// Smallest difference that matters, in the unit of the metric.
    pub margin: f64,
    /// How far intervals reach, in standard errors of a normal error: more than for one pair, because all pairs hold together.
    pub critical: Option<f64>,
    /// What a winner must keep.
    pub limits: Limits,
    /// The experiments the runs belong to.
    pub experiments: Vec<ExperimentRecord>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Compares the runs of folders; each is an experiment or a single run. Results do not depend on the threads.
///
/// # Errors
/// Config when there is nothing to compare, or runs do not have the same rows and split; io and data when a run cannot be
/// read; interrupted.
pub fn compare(folders: &[PathBuf], threads: Threads, interrupt: &Interrupt) -> Result<Comparison> {
    let mut experiments: Vec<ExperimentRecord> = Vec::new();
    let mut notes = Vec::new();
    let mut runs: Vec<LoadedRun> = Vec::new();
    for folder in folders {
        let experiment = load::experiment_of(folder)?;
        let before = runs.len();
        load::collect(folder, experiment.as_ref(), &mut runs)?;
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
    let mut models = load::group(runs, &limits)?;
    let metric = verdict.metric;
    models.sort_by(|a, b| a.distance_from_best(metric).total_cmp(&b.distance_from_best(metric)));

    let evidence = Evidence::read(&models, &bootstrap, threads, interrupt)?;
    let margin = verdict.margin_on(models[0].runs[0].record.test.ctr);
    let judge = Judge { metric, margin, rows: data.test.rows };
    let pair = |a: usize, b: usize| Some(judge.pair(&models[a], &models[b], evidence.between(metric, a, b)?));
    let (winner, reason) = winner::choose(&models, &limits, &verdict, margin, &pair);
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
            (against(Some(0)), against(base), if at > 0 { metric_differences(&evidence, at) } else { Vec::new() })
        })
        .collect();
    for (model, (best, base, metrics)) in models.iter_mut().zip(pairs) {
        (model.versus_best, model.versus_base, model.metrics_minus_best) = (best, base, metrics);
    }
    let one_seed: Vec<&str> =
        models.iter().filter(|model| model.seed_noise_unknown()).map(|model| model.name.as_str()).collect();
    if !one_seed.is_empty() {
        let names = one_seed.join(", ");
        notes.push(format!(
            "One seed only: {names}. The noise of seeds is not known there, and intervals do not cover it."
        ));
    }
    let critical = evidence.critical(metric);
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
        blocks: evidence.blocks,
        bootstrap,
        rules: verdict,
        margin,
        critical,
        limits,
        experiments,
        notes,
    })
}

/// Every metric of the model at this place minus that of the best one.
fn metric_differences(evidence: &Evidence, at: usize) -> Vec<MetricDifference> {
    let of = |metric: &Metric| {
        let difference = evidence.between(*metric, at, 0)?;
        let delong = match metric {
            Metric::Auc => evidence.delong(at, 0),
            Metric::LogLoss | Metric::NormalizedEntropy | Metric::Pcoc => None,
        };
        let Interval { estimate, low, high, .. } = difference.interval;
        Some(MetricDifference { metric: *metric, estimate, low, high, p_value: difference.p_value, delong })
    };
    Metric::ALL.iter().filter_map(of).collect()
}
