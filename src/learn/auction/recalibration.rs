//! A model's probabilities and the clicks → what a calibrated model of the same ranking would have said.
//!
//! Isotonic regression of clicks on the model's own log-odds, cross-fitted: blocks of rows are dealt to [`FOLDS`] folds, and
//! each fold gets the curve of the others. So no row's click decides its own calibrated probability, and money counted
//! with these curves is not flattered by them.

use super::replay::Market;
use crate::model::calibration::{Isotonic, LEAST_PROBABILITY};

/// Parts of the blocks, each predicted by a curve fitted on the others.
pub const FOLDS: usize = 5;
/// Below this many clicks or non-clicks no curve is fitted.
pub const LEAST_OF_EACH: usize = 20;

/// Calibrated probabilities of the market's rows; `None` when a fold leaves too few clicks (or non-clicks) to the others.
pub fn cross_fitted(market: &Market, probabilities: &[f64]) -> Option<Vec<f64>> {
    let folds = FOLDS.min(market.blocks);
    let fold_of = |row: usize| market.block[row] as usize % folds;
    let mut points: Vec<(f64, u8, u8)> = (0..market.rows())
        .filter_map(|row| {
            let clicked = market.clicked[row]?;
            Some((log_odds(probabilities[row]), u8::from(clicked), fold_of(row) as u8))
        })
        .collect();
    // Sorted once for all fits.
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let curves: Vec<Isotonic> = (0..folds)
        .map(|fold| {
            let others =
                || points.iter().filter(move |point| usize::from(point.2) != fold).map(|point| (point.0, point.1));
            let (rows, clicks) =
                others().fold((0, 0), |(rows, clicks), (_, label)| (rows + 1, clicks + usize::from(label)));
            let enough = clicks.min(rows - clicks) >= LEAST_OF_EACH;
            enough.then(|| Isotonic::fit(others()))
        })
        .collect::<Option<Vec<_>>>()?;
    let calibrated = |row: usize| curves[fold_of(row)].probability(log_odds(probabilities[row]));
    Some((0..market.rows()).map(calibrated).collect())
}

fn log_odds(probability: f64) -> f64 {
    let p = probability.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY);
    p.ln() - (-p).ln_1p()
}
