//! A leaderboard → the model to ship, and why.

use std::path::PathBuf;

use serde::Serialize;

use super::summary::ModelSummary;
use super::verdict::{Pair, Verdict};
use crate::learn::experiment::rules::Tie;

/// The model to ship.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Winner {
    /// Its name.
    pub model: String,
    /// Seed of the run to ship: the one with the least validation log loss.
    pub seed: u64,
    /// Folder of that run; its bundle is in `bundle/`.
    pub run: PathBuf,
}

/// Chooses among `models` (least log loss first): publishable ones that keep all limits; of those that cannot be told apart
/// from the best, the one `tie` says. `pair` compares two models by their places. Returns the reason in any case.
pub(super) fn choose(
    models: &[ModelSummary],
    tie: Tie,
    pair: &dyn Fn(usize, usize) -> Option<Pair>,
) -> (Option<Winner>, String) {
    let mut reasons = Vec::new();
    for model in models.iter().filter(|model| model.publishable() && !model.broken_limits.is_empty()) {
        reasons.push(format!("{} breaks limits ({}).", model.name, model.broken_limits.join("; ")));
    }
    let eligible: Vec<usize> =
        (0..models.len()).filter(|at| models[*at].publishable() && models[*at].broken_limits.is_empty()).collect();
    let Some(best) = eligible.first().copied() else {
        reasons.push("No publishable model keeps the limits, so there is no winner.".into());
        return (None, reasons.join(" "));
    };
    let tied: Vec<usize> = eligible
        .iter()
        .copied()
        .filter(|at| *at == best || pair(best, *at).is_some_and(|pair| pair.verdict != Verdict::Better))
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
                format!("{name} wins: it has the least log loss of the models that can be published within the limits.{}", sentence(next))
            }
            (1, None) => format!("{name} wins: no other model can be published within the limits."),
            _ if at == best && tie == Tie::LowestLoss => format!(
                "{name} wins by the recipe's rule (least log loss), though it cannot be told apart from {}.",
                names(models, &tied, at)
            ),
            _ if at == best => format!(
                "{name} wins: it has the least log loss, and of the models that cannot be told apart from it ({}) none \
                 scores faster ({}).",
                names(models, &tied, at),
                micros(at)
            ),
            _ => format!(
                "{name} wins: it cannot be told apart from {leader}, which has the least log loss, and it scores faster \
                 ({} against {:.0} µs).{}",
                micros(at),
                models[best].p99_micros_100,
                sentence(at)
            ),
        },
    );
    if !models[0].publishable() {
        let sentence = pair(0, at).map(|pair| pair.sentence()).unwrap_or_default();
        reasons
            .push(format!("The reference {} has a lower log loss but cannot be published. {sentence}", models[0].name));
    }
    let loss = |run: &&super::LoadedRun| run.record.selection_log_loss.unwrap_or(f64::INFINITY);
    let run = models[at].runs.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).expect("a model has at least one run");
    let winner = Winner { model: name.clone(), seed: run.record.seed, run: run.folder.clone() };
    (Some(winner), reasons.join(" "))
}

fn names(models: &[ModelSummary], of: &[usize], without: usize) -> String {
    of.iter().filter(|at| **at != without).map(|at| models[*at].name.as_str()).collect::<Vec<_>>().join(", ")
}
