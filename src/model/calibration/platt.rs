//! Platt scaling: probability = logistic(slope · logit + intercept), fitted by maximum likelihood.
//!
//! `linfa-logistic` fits a line to at most [`FIRST_POINTS`] points; Newton's method takes it to the maximum over all of
//! them in a few passes (with two parameters a pass is exact arithmetic, and a million points cost milliseconds, where the
//! general solver took seconds).
//!
//! Two traps of that crate are handled here: its positive class is the one with more rows, and its loss is a sum. With no
//! penalty (alpha 0) the sum does not matter; the class is read back and the signs turned when needed.

use linfa::dataset::Dataset;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::kernels::sigmoids_f64;

/// Most points of the first fit, evenly spaced among all. More only when these hold too few of a class.
const FIRST_POINTS: usize = 8192;
/// Fewest points of each class in the first fit, where there are as many.
const FIRST_OF_EACH: usize = 20;
/// Mean gradient at which the fit has converged.
const TOLERANCE: f64 = 1e-10;
/// Passes of Newton's method. Four are usual.
const MOST_PASSES: usize = 50;

/// A line through the logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Above 1 the model was too shy, below 1 too bold.
    pub slope: f64,
    /// Shift of the log-odds.
    pub intercept: f64,
}

/// Where logits lie. Centered and scaled, they make the two parameters nearly independent.
#[derive(Clone, Copy)]
struct Scale {
    rows: f64,
    ctr: f64,
    mean: f64,
    deviation: f64,
}

impl Platt {
    /// Fits (logit, label) points, which hold both classes.
    ///
    /// # Errors
    /// Data when the fit does not converge to finite numbers.
    pub fn fit(points: impl Iterator<Item = (f64, u8)> + Clone) -> Result<Platt> {
        let scale = Scale::of(points.clone());
        let every = (scale.rows as usize).div_ceil(FIRST_POINTS).max(1);
        let few: Vec<(f64, u8)> = points.clone().step_by(every).collect();
        let clicks = few.iter().filter(|(_, label)| *label == 1).count();
        let line = match clicks.min(few.len() - clicks) < FIRST_OF_EACH && every > 1 {
            true => first_line(&points.clone().collect::<Vec<_>>(), scale)?,
            false => first_line(&few, scale)?,
        };
        line.refit(points)
    }

    /// Fits other points, starting at a line that is not far: that of all points, where some are left out.
    ///
    /// # Errors
    /// As for [`Platt::fit`].
    pub fn refit(self, points: impl Iterator<Item = (f64, u8)> + Clone) -> Result<Platt> {
        let scale = Scale::of(points.clone());
        if scale.deviation < 1e-6 {
            return Ok(scale.constant());
        }
        let mut line = [self.slope * scale.deviation, self.intercept + self.slope * scale.mean];
        let mut step = [0.0; 2];
        let mut size = f64::INFINITY;
        for _ in 0..MOST_PASSES {
            let tried = [line[0] + step[0], line[1] + step[1]];
            let slope = Slope::at(tried, points.clone(), scale);
            if slope.size() <= TOLERANCE {
                return scale.platt(tried);
            }
            if slope.size() < size {
                (line, size, step) = (tried, slope.size(), slope.newton_step());
            } else {
                step = step.map(|step| 0.5 * step);
            }
        }
        // A line that separates the classes can be steeper forever: the last one is steep enough.
        scale.platt(line)
    }
}

impl Scale {
    fn of(points: impl Iterator<Item = (f64, u8)> + Clone) -> Scale {
        let (mut rows, mut clicks, mut sum, mut squares) = (0.0, 0.0, 0.0, 0.0);
        for (logit, label) in points.clone() {
            rows += 1.0;
            clicks += f64::from(label);
            sum += logit;
        }
        let mean = sum / rows;
        for (logit, _) in points {
            squares += (logit - mean) * (logit - mean);
        }
        Scale { rows, ctr: clicks / rows, mean, deviation: (squares / rows).sqrt() }
    }

    /// The line when all logits are one.
    fn constant(self) -> Platt {
        Platt { slope: 1.0, intercept: (self.ctr / (1.0 - self.ctr)).ln() - self.mean }
    }

    /// The line that is `slope` and `intercept` in scaled logits.
    fn platt(self, [slope, intercept]: [f64; 2]) -> Result<Platt> {
        let slope = slope / self.deviation;
        let intercept = intercept - slope * self.mean;
        match slope.is_finite() && intercept.is_finite() {
            true => Ok(Platt { slope, intercept }),
            false => {
                Err(Error::data("Platt calibration", format!("expected a finite line, got {slope} x + {intercept}")))
            }
        }
    }
}

fn first_line(points: &[(f64, u8)], scale: Scale) -> Result<Platt> {
    if scale.deviation < 1e-6 {
        return Ok(scale.constant());
    }
    let scaled = Array2::from_shape_fn((points.len(), 1), |(row, _)| (points[row].0 - scale.mean) / scale.deviation);
    let labels: Array1<u8> = points.iter().map(|(_, label)| *label).collect();
    let fitted = LogisticRegression::default()
        .alpha(0.0)
        .gradient_tolerance(1e-6 * points.len() as f64)
        .max_iterations(200)
        .fit(&Dataset::new(scaled, labels))
        .map_err(|error| Error::data("Platt calibration", error.to_string()))?;
    let sign = if fitted.labels().pos.class == 1 { 1.0 } else { -1.0 };
    scale.platt([sign * fitted.params()[0], sign * fitted.intercept()])
}

/// First and second derivatives of the mean loss with respect to slope and intercept, in scaled logits.
struct Slope {
    gradient: [f64; 2],
    /// By slope twice, by both, by intercept twice.
    curvature: [f64; 3],
}

impl Slope {
    fn at(line: [f64; 2], mut points: impl Iterator<Item = (f64, u8)>, scale: Scale) -> Slope {
        const BLOCK: usize = 512;
        let mut slope = Slope { gradient: [0.0; 2], curvature: [0.0; 3] };
        let (mut scaled, mut labels, mut probabilities) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
        loop {
            let mut rows = 0;
            for (logit, label) in points.by_ref().take(BLOCK) {
                scaled[rows] = (logit - scale.mean) / scale.deviation;
                labels[rows] = f64::from(label);
                probabilities[rows] = line[0] * scaled[rows] + line[1];
                rows += 1;
            }
            if rows == 0 {
                break;
            }
            sigmoids_f64(&mut probabilities[..rows]);
            for ((x, y), p) in scaled.iter().zip(&labels).zip(&probabilities).take(rows) {
                let (error, weight) = (p - y, p * (1.0 - p));
                slope.gradient[0] += error * x;
                slope.gradient[1] += error;
                slope.curvature[0] += weight * x * x;
                slope.curvature[1] += weight * x;
                slope.curvature[2] += weight;
            }
        }
        slope.gradient = slope.gradient.map(|sum| sum / scale.rows);
        slope.curvature = slope.curvature.map(|sum| sum / scale.rows);
        slope
    }

    fn size(&self) -> f64 {
        self.gradient[0].abs().max(self.gradient[1].abs())
    }

    /// Minus the inverse curvature times the gradient.
    fn newton_step(&self) -> [f64; 2] {
        let ([a, b, c], [g, h]) = (self.curvature, self.gradient);
        let determinant = a * c - b * b;
        [(b * h - c * g) / determinant, (b * g - a * h) / determinant]
    }
}
