//! A model trained without a field → what the field is worth when another model may take its place.
//!
//! Permutation asks what *this* model would lose; ablation asks what is lost when the model is trained without the field, so that
//! fields that say the same stand in for each other. Crosses of the field go with it. All else stays: settings, rows, seeds.
//!
//! The difference is paired by row; its interval resamples blocks of test rows and adds, with several seeds, the variance between
//! them ([`crate::metrics::differences`]).

use serde::{Deserialize, Serialize};

use super::config::{Ablate, AnalysisConfig};
use super::retrain::Retrainer;
use super::rows::Judge;
use super::{Looking, Subject, Unit};
use crate::error::Result;
use crate::learn::settings::Settings;
use crate::metrics::bootstrap::{BlockSums, Estimate, Resamples};
use crate::metrics::differences::{Differences, ModelDraws, RunDraws};

/// One model and what it loses without some of its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// The model.
    pub model: String,
    /// Seeds of all trainings.
    pub seeds: Vec<u64>,
    /// Mean log loss on the test rows with all fields, nats; the mean over seeds.
    pub log_loss: f64,
    /// Trained without these, the most missed first.
    pub without: Vec<Without>,
}

/// One training without a field or a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Without {
    /// Field or group.
    pub name: String,
    /// The fields.
    pub fields: Vec<String>,
    /// Mean log loss on the test rows without them, nats.
    pub log_loss: f64,
    /// Log loss without minus log loss with, nats; above 0 says that the field is worth having.
    pub difference: Estimate,
}

/// Which units the settings ask to leave out.
pub(super) fn left_out<'u>(units: &'u [Unit], config: &AnalysisConfig) -> Vec<&'u Unit> {
    let asked = |unit: &&Unit| match &config.ablate {
        Ablate::Named(names) => names.contains(&unit.name),
        Ablate::Word(word) => unit.group == (word == "groups"),
    };
    units.iter().filter(asked).collect()
}

/// Trains without each unit in turn.
///
/// # Errors
/// Those of training; interrupted.
pub(super) fn ablation(
    subject: &Subject,
    units: &[&Unit],
    config: &AnalysisConfig,
    retrainer: &mut Retrainer<'_>,
    judge: &Judge<'_>,
    looking: &mut Looking<'_, '_>,
) -> Result<Ablation> {
    let seeds = if config.seeds.is_empty() { vec![subject.seed] } else { config.seeds.clone() };
    let rows = retrainer.train.clone();
    let mut losses = |what: &str, settings: &Settings, looking: &mut Looking<'_, '_>| {
        let of_seed = |seed: &u64| {
            let probabilities = retrainer.probabilities(what, settings, *seed, &rows, looking)?;
            Ok(judge.losses(&probabilities))
        };
        seeds.iter().map(of_seed).collect::<Result<Vec<Vec<f64>>>>()
    };
    let with = losses(&subject.name, &subject.settings, looking)?;
    let all = rows.dataset().encoder().features().map(|(name, _)| name.to_owned()).collect::<Vec<String>>();
    let mut without = Vec::with_capacity(units.len());
    for unit in units {
        let names: Vec<String> = unit.fields.iter().map(|field| field.name.clone()).collect();
        // Nothing is left to train on without all of a model's fields.
        let Some(settings) = settings_without(&subject.settings, &names, &all) else { continue };
        let than = match settings == subject.settings {
            true => with.clone(),
            false => losses(&format!("{} without {}", subject.name, unit.name), &settings, looking)?,
        };
        without.push(Without {
            name: unit.name.clone(),
            fields: names,
            log_loss: mean_loss(&than, judge),
            difference: difference(&than, &with, judge),
        });
    }
    without.sort_by(|a, b| b.difference.value.total_cmp(&a.difference.value));
    Ok(Ablation { model: subject.name.clone(), seeds, log_loss: mean_loss(&with, judge), without })
}

/// The same settings without `names` and their crosses; `None` when no field is left.
fn settings_without(settings: &Settings, names: &[String], all: &[String]) -> Option<Settings> {
    let mut settings = settings.clone();
    let used = settings.features.features.as_deref().unwrap_or(all);
    let left: Vec<String> = used.iter().filter(|field| !names.contains(field)).cloned().collect();
    if left.is_empty() {
        return None;
    }
    if left.len() < used.len() {
        settings.features.features = Some(left);
    }
    settings.features.crosses.retain(|cross| !cross.iter().any(|field| names.contains(field)));
    Some(settings)
}

/// Mean over seeds of the mean log loss.
fn mean_loss(of_seeds: &[Vec<f64>], judge: &Judge<'_>) -> f64 {
    let mean = |losses: &Vec<f64>| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (row, loss) in losses.iter().enumerate() {
            sum += judge.weight(row) * loss;
            weights += judge.weight(row);
        }
        sum / f64::max(weights, f64::MIN_POSITIVE)
    };
    of_seeds.iter().map(mean).sum::<f64>() / of_seeds.len() as f64
}

/// Mean loss of `a` minus that of `b`; row losses of the same seeds.
fn difference(a: &[Vec<f64>], b: &[Vec<f64>], judge: &Judge<'_>) -> Estimate {
    let value = mean_loss(a, judge) - mean_loss(b, judge);
    if a == b {
        return Estimate { value, low: Some(value), high: Some(value) };
    }
    let blocks = judge.blocks.blocks();
    let interval = (blocks > 1).then(|| {
        let resamples = Resamples::draw(blocks, judge.bootstrap);
        let of_run = |losses: &Vec<f64>| {
            let sums = BlockSums::of(&judge.blocks, |row| [judge.weight(row) * losses[row], judge.weight(row)]);
            let ratio = |[loss, weight]: [f64; 2]| (weight > 0.0).then(|| loss / weight);
            let draws = sums.resampled(&resamples).into_iter().map(ratio).collect();
            RunDraws { estimate: ratio(sums.total()).unwrap_or(f64::NAN), draws }
        };
        let model = |runs: &[Vec<f64>]| ModelDraws::of_runs(&runs.iter().map(of_run).collect::<Vec<_>>(), blocks);
        let differences = Differences::new(vec![model(a)?, model(b)?], blocks, judge.bootstrap)?;
        Some(differences.between(0, 1).interval)
    });
    Estimate::new(value, interval.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::settings::Evidence;
    use crate::model::bundle::ModelKind;
    use crate::model::schema::{PRESETS, Schema};

    #[test]
    fn a_field_goes_with_its_crosses() {
        let schema = Schema::parse(PRESETS[2].1, "demo").unwrap();
        let all: Vec<String> = schema.features.iter().map(|feature| feature.name.clone()).collect();
        let evidence = Evidence { rows: 10_000, clicks: 500 };
        let settings = Settings::resolve(ModelKind::Ftrl, &toml::Table::new(), &schema, evidence, "t").unwrap();
        let crossed = settings.features.crosses[0][0].clone();
        let without = settings_without(&settings, std::slice::from_ref(&crossed), &all).unwrap();
        assert_eq!(without.features.features.as_ref().unwrap().len(), all.len() - 1);
        assert!(without.features.crosses.len() < settings.features.crosses.len());
        assert!(without.features.crosses.iter().flatten().all(|field| *field != crossed));
        assert_eq!(settings_without(&without, &[crossed], &all).unwrap(), without, "it is gone already");
        assert_eq!(settings_without(&settings, &all, &all), None);
    }
}
