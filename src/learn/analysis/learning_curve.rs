//! A model trained on shares of its rows → what more rows would bring.
//!
//! A share is the *latest* rows: what a team has that keeps less history, and what drift makes worth most. Test rows stay the same,
//! so points are compared row by row; so do settings, also those whose defaults go by the number of rows. The curve is fitted by
//! a power law ([`super::power_law`]), each resample of the test rows anew, which gives the interval of what doubling would bring.

use serde::{Deserialize, Serialize};

use super::config::AnalysisConfig;
use super::power_law::PowerLaw;
use super::retrain::Retrainer;
use super::rows::Judge;
use super::{Looking, Subject};
use crate::error::Result;
use crate::metrics::bootstrap::{BlockSums, Estimate, Interval, Resamples};

/// Loss of one model by training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// The model.
    pub model: String,
    /// Seeds of all trainings.
    pub seeds: Vec<u64>,
    /// From few rows to many.
    pub points: Vec<CurvePoint>,
    /// Fitted to the points; `None` with fewer than three.
    pub power_law: Option<PowerLaw>,
    /// Log loss that twice the rows would take away by that law, nats, with its interval over resampled test rows.
    pub gain_of_doubling: Option<Estimate>,
}

/// One training on a share of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Share of the training rows, the latest ones.
    pub share: f64,
    /// Training rows.
    pub rows: u64,
    /// Mean log loss on the test rows, nats; the mean over seeds.
    pub log_loss: Estimate,
    /// That minus log loss with the most rows, nats.
    pub above_most: Estimate,
}

/// Trains on each share.
///
/// # Errors
/// Those of training, as when a share holds no click; interrupted.
pub(super) fn learning_curve(
    subject: &Subject,
    config: &AnalysisConfig,
    retrainer: &mut Retrainer<'_>,
    judge: &Judge<'_>,
    looking: &mut Looking<'_, '_>,
) -> Result<LearningCurve> {
    let seeds = if config.seeds.is_empty() { vec![subject.seed] } else { config.seeds.clone() };
    let all = retrainer.train.clone();
    let mut shares = config.shares.clone();
    shares.sort_unstable_by(f64::total_cmp);
    shares.dedup();
    let mut rows = Vec::with_capacity(shares.len());
    // Mean over seeds of the loss of each test row.
    let mut losses: Vec<Vec<f64>> = Vec::with_capacity(shares.len());
    for share in &shares {
        let kept = ((share * all.rows() as f64).round() as usize).clamp(1, all.rows());
        let latest = match kept == all.rows() {
            true => all.clone(),
            false => all.slice(all.rows() - kept..all.rows()),
        };
        let what = format!("{} on {kept} rows", subject.name);
        let mut mean = vec![0.0; judge.blocks.rows()];
        for seed in &seeds {
            let probabilities = retrainer.probabilities(&what, &subject.settings, *seed, &latest, looking)?;
            for (mean, loss) in mean.iter_mut().zip(judge.losses(&probabilities)) {
                *mean += loss / seeds.len() as f64;
            }
        }
        rows.push(kept as u64);
        losses.push(mean);
    }
    let most = losses.last().expect("shares were checked");
    let nothing = Estimate { value: f64::NAN, low: None, high: None };
    let points: Vec<CurvePoint> = (shares.iter().zip(&rows).zip(&losses))
        .map(|((share, rows), losses)| CurvePoint {
            share: *share,
            rows: *rows,
            log_loss: judge.mean(|row| losses[row], |_| true).unwrap_or(nothing),
            above_most: judge.mean(|row| losses[row] - most[row], |_| true).unwrap_or(nothing),
        })
        .collect();
    let fit = |of_points: &[f64]| {
        let points: Vec<(f64, f64, f64)> =
            rows.iter().zip(of_points).map(|(rows, loss)| (*rows as f64, *loss, 1.0)).collect();
        PowerLaw::fit(&points)
    };
    let power_law = fit(&points.iter().map(|point| point.log_loss.value).collect::<Vec<_>>());
    let gain_of_doubling = power_law.map(|law| {
        let blocks = judge.blocks.blocks();
        let drawn = if blocks > 1 { drawn_gains(&losses, judge, fit) } else { Vec::new() };
        let gain = law.gain_of_doubling();
        Estimate::new(gain, Interval::percentile(gain, drawn, blocks, judge.bootstrap))
    });
    Ok(LearningCurve { model: subject.name.clone(), seeds, points, power_law, gain_of_doubling })
}

/// The gain of doubling on every resample of the test rows.
fn drawn_gains(losses: &[Vec<f64>], judge: &Judge<'_>, fit: impl Fn(&[f64]) -> Option<PowerLaw>) -> Vec<f64> {
    let resamples = Resamples::draw(judge.blocks.blocks(), judge.bootstrap);
    let of_points: Vec<Vec<[f64; 2]>> = losses
        .iter()
        .map(|losses| {
            let sums = BlockSums::of(&judge.blocks, |row| [judge.weight(row) * losses[row], judge.weight(row)]);
            sums.resampled(&resamples)
        })
        .collect();
    let of_resample = |at: usize| -> Option<f64> {
        let means = of_points.iter().map(|point| (point[at][1] > 0.0).then(|| point[at][0] / point[at][1]));
        Some(fit(&means.collect::<Option<Vec<f64>>>()?)?.gain_of_doubling())
    };
    (0..resamples.len()).filter_map(of_resample).collect()
}
