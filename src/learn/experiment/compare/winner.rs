//! A leaderboard → the model to ship, and why.

use std::path::PathBuf;

use serde::Serialize;

use super::summary::ModelSummary;
use super::verdict::{Pair, Verdict};
use crate::learn::experiment::rules::{Limits, Tie, VerdictConfig};

/// The model to ship.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Winner {
    /// Its name.
    pub model: String,
    /// Seed of the run to ship: of the last fold, the one with the least validation log loss.
    pub seed: u64,
    /// Folder of that run; its bundle is in `bundle/`.
    pub run: PathBuf,
}

/// Chooses among `models` (best first): publishable ones that keep all limits; of those that are not shown to be worse than the
/// best by the margin or more, the one that the rule for ties says. `margin` is in the unit of the metric; `pair` compares two
/// models by their places. Returns the reason in any case, one paragraph that ends with the rule.
pub(super) fn choose(
    models: &[ModelSummary],
    limits: &Limits,
    verdict: &VerdictConfig,
    margin: f64,
    pair: &dyn Fn(usize, usize) -> Option<Pair>,
) -> (Option<Winner>, String) {
    let VerdictConfig { metric, tie, .. } = *verdict;
    let leads = if metric.more_is_better() { "the highest" } else { "the least" };
    let leads = format!("{leads} {}", metric.name());
    let rule = rule(limits, tie, margin, &leads);
    let mut reasons = Vec::new();
    for model in models.iter().filter(|model| model.publishable() && !model.broken_limits.is_empty()) {
        reasons.push(format!("{} breaks limits ({}).", model.name, model.broken_limits.join("; ")));
    }
    let eligible: Vec<usize> =
        (0..models.len()).filter(|at| models[*at].publishable() && models[*at].broken_limits.is_empty()).collect();
    let Some(best) = eligible.first().copied() else {
        reasons.push("No publishable model keeps the limits, so there is no winner.".into());
        reasons.push(rule);
        return (None, reasons.join(" "));
    };
    let tied: Vec<usize> = eligible
        .iter()
        .copied()
        .filter(|at| {
            let close = |pair: Pair| pair.verdict != Verdict::Better || pair.difference.estimate < margin;
            *at == best || pair(best, *at).is_some_and(close)
        })
        .collect();
    let fastest = |a: &&usize, b: &&usize| models[**a].p99_micros_100.total_cmp(&models[**b].p99_micros_100);
    let at = match tie {
        Tie::LowestLoss => best,
        Tie::Fastest => tied.iter().min_by(fastest).copied().unwrap_or(best),
    };
    let (name, leader) = (&models[at].name, &models[best].name);
    let micros = |at: usize| format!("p99 {:.0} µs for 100 rows", models[at].p99_micros_100);
    let next = eligible.get(1).copied();
    // The two leaders of the leaderboard have their sentence already, as the verdict.
    let sentence = |other: usize| match (best, other) {
        (0, 1) => String::new(),
        _ => pair(best, other).map(|pair| format!(" {}", pair.sentence())).unwrap_or_default(),
    };
    reasons.insert(
        0,
        match (tied.len(), next) {
            (1, Some(next)) => {
                format!("{name} wins: it has {leads} of the models that can be published within the limits.{}", sentence(next))
            }
            (1, None) => format!("{name} wins: no other model can be published within the limits."),
            _ if at == best && tie == Tie::LowestLoss => format!(
                "{name} wins by the recipe's rule ({leads}), though it cannot be told apart from {}.",
                names(models, &tied, at)
            ),
            _ if at == best => format!(
                "{name} wins: it has {leads}, and of the models that cannot be told apart from it by the margin ({}) none \
                 scores faster ({}).",
                names(models, &tied, at),
                micros(at)
            ),
            _ => format!(
                "{name} wins: it cannot be told apart by the margin from {leader}, which has {leads}, and it scores faster \
                 ({} against {:.0} µs).{}",
                micros(at),
                models[best].p99_micros_100,
                sentence(at)
            ),
        },
    );
    if !models[0].publishable() {
        let sentence = pair(0, at).map(|pair| pair.sentence()).unwrap_or_default();
        reasons.push(format!(
            "The reference {} has a better {} but cannot be published. {sentence}",
            models[0].name,
            metric.name()
        ));
    }
    reasons.push(rule);
    let loss = |run: &&super::LoadedRun| run.record.selection_log_loss.unwrap_or(f64::INFINITY);
    // The bundle of the last fold has learned from the most recent rows.
    let last = models[at].runs.iter().map(super::LoadedRun::fold).max().unwrap_or(0);
    let of_last = models[at].runs.iter().filter(|run| run.fold() == last);
    let run = of_last.min_by(|a, b| loss(a).total_cmp(&loss(b))).expect("a model has at least one run");
    let winner = Winner { model: name.clone(), seed: run.record.seed, run: run.folder.clone() };
    (Some(winner), reasons.join(" "))
}

/// The recipe's rule in words.
fn rule(limits: &Limits, tie: Tie, margin: f64, leads: &str) -> String {
    let limit = |limit: Option<f64>, what: &str, unit: &str| limit.map(|limit| format!("{what} at most {limit}{unit}"));
    let limits: Vec<String> = [
        limit(limits.p99_micros_1, "p99 for one row", " µs"),
        limit(limits.p99_micros_100, "p99 for 100 rows", " µs"),
        limit(limits.model_mb, "size", " MB"),
        limit(limits.pcoc_within, "PCOC away from 1 by", ""),
        limit(limits.band_pcoc_within, "PCOC of any band of scores away from 1 by", ""),
        limit(limits.slice_pcoc_within, "PCOC of any slice away from 1 by", ""),
    ]
    .into_iter()
    .flatten()
    .collect();
    let limits = if limits.is_empty() { "no limits".to_owned() } else { limits.join(", ") };
    let tie = match tie {
        Tie::Fastest => "the fastest of them wins",
        Tie::LowestLoss => "the first of them wins",
    };
    format!(
        "The rule: of the models that can be published and keep the limits ({limits}), {leads} leads; those not shown to be worse \
         by {margin:.5} or more are tied with it, and {tie}."
    )
}

fn names(models: &[ModelSummary], of: &[usize], without: usize) -> String {
    of.iter().filter(|at| **at != without).map(|at| models[*at].name.as_str()).collect::<Vec<_>>().join(", ")
}
