//! Platt scaling: probability = logistic(slope · logit + intercept), fitted by maximum likelihood with `linfa-logistic`.
//!
//! Two traps of that crate are handled here: its positive class is the one with more rows, and its loss is a sum. With no
//! penalty (alpha 0) the sum does not matter; the class is read back and the signs turned when needed.

use linfa::dataset::Dataset;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A line through the logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Above 1 the model was too shy, below 1 too bold.
    pub slope: f64,
    /// Shift of the log-odds.
    pub intercept: f64,
}

impl Platt {
    /// Fits (logit, label) points, which hold both classes.
    ///
    /// # Errors
    /// Data when the fit does not converge to finite numbers.
    pub fn fit(points: &[(f64, u8)]) -> Result<Platt> {
        // Centered and scaled logits make the two parameters nearly independent, so that the fit converges in few steps.
        let n = points.len() as f64;
        let mean = points.iter().map(|(logit, _)| logit).sum::<f64>() / n;
        let variance = points.iter().map(|(logit, _)| (logit - mean).powi(2)).sum::<f64>() / n;
        if variance < 1e-12 {
            let ctr = points.iter().map(|(_, label)| f64::from(*label)).sum::<f64>() / n;
            return Ok(Platt { slope: 1.0, intercept: (ctr / (1.0 - ctr)).ln() - mean });
        }
        let deviation = variance.sqrt();
        let scaled = Array2::from_shape_fn((points.len(), 1), |(row, _)| (points[row].0 - mean) / deviation);
        let labels: Array1<u8> = points.iter().map(|(_, label)| *label).collect();
        let fitted = LogisticRegression::default()
            .alpha(0.0)
            .gradient_tolerance(1e-10 * n)
            .max_iterations(200)
            .fit(&Dataset::new(scaled, labels))
            .map_err(|error| Error::data("Platt calibration", error.to_string()))?;
        let sign = if fitted.labels().pos.class == 1 { 1.0 } else { -1.0 };
        let slope = sign * fitted.params()[0] / deviation;
        let intercept = sign * fitted.intercept() - slope * mean;
        match slope.is_finite() && intercept.is_finite() {
            true => Ok(Platt { slope, intercept }),
            false => {
                Err(Error::data("Platt calibration", format!("expected a finite line, got {slope} x + {intercept}")))
            }
        }
    }
}
