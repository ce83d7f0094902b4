//! Runs → which model is better, by how much, and whether that is more than noise.
//!
//! ```text
//! folders ─▶ load: runs, models ─▶ evidence: test rows resampled ─▶ pairs, verdicts ─▶ winner
//!                                       └─▶ sliced, reliability: where models differ, when, and how well they are calibrated there
//! ```
//!
//! All runs must have the same rows and the same split; with rolling folds, the test rows of all folds are judged together. Points of a grid are chosen on validation rows only, with the function
//! the runner uses. Intervals of all pairs hold together ([`crate::metrics::differences`]); what they say is [`verdict`].

mod evidence;
mod load;
pub mod reliability;
pub mod sliced;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod winner;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::describe::{self, Card};
use super::kind::Kind;
use super::record::{DataRecord, RunRecord};
use super::rules::{BootstrapConfig, Limits, VerdictConfig};
use super::runner::ExperimentRecord;
use super::search::SearchRecord;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::auction::AuctionReport;
use crate::learn::report::exhibit::Exhibit;
use crate::metrics::bootstrap::Interval;
use crate::metrics::resampled::Metric;
use crate::metrics::{Predictions, losses};
use crate::model::Threads;
use crate::model::bundle::ModelKind;
use evidence::{Evidence, TestRows};
use reliability::SliceReliability;
use sliced::Sliced;
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

/// The answer; `report.json` holds all of it but the runs.
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
    /// The rows; with rolling folds, those of the last one.
    pub data: DataRecord,
    /// The rows of each rolling fold, the earliest first; one without folds.
    pub folds: Vec<DataRecord>,
    /// What is known about the features of these rows, where the experiment described them.
    pub card: Option<Card>,
    /// The test rows cut in several ways, each judged.
    pub sliced: Vec<Sliced>,
    /// Reliability in the largest slices of every field, of the models that lead.
    pub slice_reliability: Vec<SliceReliability>,
    /// What the models' bids would have come to, where the experiment holds an auction.
    pub auction: Option<AuctionReport>,
    /// What analyses of the experiment found.
    pub exhibits: Vec<Exhibit>,
    /// What was tried for models that were chosen from several points.
    pub searches: Vec<SearchRecord>,
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
        let experiment = ExperimentRecord::read(&load::home(folder))?;
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
    if runs.is_empty() {
        let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(Error::config("compare", names.join(", "), "holds no finished run (a folder with run.json)"));
    }
    let folds = load::folds(&runs)?;
    let data = folds.last().cloned().expect("every run has its fold");
    let rules = experiments.first();
    let bootstrap = rules.map_or_else(BootstrapConfig::default, |rules| rules.bootstrap);
    let verdict = rules.map_or_else(VerdictConfig::default, |rules| rules.verdict);
    let limits = rules.map_or_else(Limits::default, |rules| rules.limits);
    if experiments.iter().any(|other| (other.bootstrap, other.verdict, other.limits) != (bootstrap, verdict, limits)) {
        notes.push("The experiments have different rules; those of the first one hold.".into());
    }
    let mut models = load::group(runs, folds.len(), &limits, &mut notes)?;
    let metric = verdict.metric;
    models.sort_by(|a, b| a.distance_from_best(metric).total_cmp(&b.distance_from_best(metric)));
    let homes = homes(folders);
    let (card, described) = describe_rows(&homes, &folds, &mut notes)?;

    let rows = TestRows::read(&models[0], &bootstrap)?;
    let cuttings = sliced::cuttings(&rows, &folds, &described);
    let evidence = Evidence::read(&models, &rows, &cuttings, &bootstrap, threads, interrupt)?;
    let confidence = bootstrap.confidence;
    let sliced = sliced::judge(&rows, &cuttings, &evidence, models.len(), confidence);
    let slice_reliability = reliability::in_slices(&models, &rows, &cuttings)?;
    let farthest = sliced::farthest_off(&sliced, models.len(), confidence);
    for (model, farthest) in models.iter_mut().zip(farthest) {
        model.check_slices(&limits, farthest);
    }
    let truth_log_loss = rows.table.truth.as_ref().and_then(|truth| {
        losses::log_loss(&Predictions::new(&rows.table.labels, truth, rows.table.weights.as_deref()))
    });
    let margin = verdict.margin_on(models[0].runs[0].record.test.ctr);
    let judge = Judge { metric, margin, rows: rows.table.rows.len() as u64 };
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
    let components: Vec<_> = models.iter().map(|model| model.components_minus(&models[0])).collect();
    for (at, (model, (best, base, metrics))) in models.iter_mut().zip(pairs).enumerate() {
        (model.versus_best, model.versus_base, model.metrics_minus_best) = (best, base, metrics);
        model.components_minus_best = components[at].filter(|_| at > 0);
        model.reliability_before = evidence.reliability_before(at).to_vec();
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
        folds,
        card,
        sliced,
        slice_reliability,
        auction: first_of(&homes, load::auction)?,
        exhibits: all_of(&homes, load::exhibits)?,
        searches: all_of(&homes, load::searches)?,
        blocks: rows.blocks_are,
        bootstrap,
        rules: verdict,
        margin,
        critical,
        limits,
        experiments,
        notes,
    })
}

/// The folders of the experiments that are compared, each once.
fn homes(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = Vec::new();
    for home in folders.iter().map(|folder| load::home(folder)) {
        if !homes.contains(&home) {
            homes.push(home);
        }
    }
    homes
}

/// The first of the experiments' answers that is there.
fn first_of<T>(homes: &[PathBuf], read: impl Fn(&Path) -> Result<Option<T>>) -> Result<Option<T>> {
    homes.iter().find_map(|home| read(home).transpose()).transpose()
}

/// The answers of all experiments, one after the other.
fn all_of<T>(homes: &[PathBuf], read: impl Fn(&Path) -> Result<Vec<T>>) -> Result<Vec<T>> {
    let all: Vec<Vec<T>> = homes.iter().map(|home| read(home)).collect::<Result<_>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// The data card of the last fold and the slicings of all; nothing where some fold was not described.
fn describe_rows(
    homes: &[PathBuf],
    folds: &[DataRecord],
    notes: &mut Vec<String>,
) -> Result<(Option<Card>, Vec<describe::Slicings>)> {
    let of = |fold: &DataRecord| first_of(homes, |home| describe::read(home, fold));
    let described: Option<Vec<_>> = folds.iter().map(of).collect::<Result<Vec<_>>>()?.into_iter().collect();
    let Some(described) = described else {
        notes.push(
            "The folders hold no description of these rows, so there are no slices by field and no data card.".into(),
        );
        return Ok((None, Vec::new()));
    };
    let (mut cards, slicings): (Vec<Card>, Vec<_>) = described.into_iter().unzip();
    Ok((cards.pop(), slicings))
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
