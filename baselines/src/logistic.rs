//! Dense features → logit, by linfa-logistic: L2-penalized logistic regression solved by L-BFGS.
//!
//! Minimizes, over weights `w` and intercept `b` (not penalized), with `n` rows,
//! `(1/n) Σ log(1 + exp(-s·(w·x + b))) + l2/2 · |w|²`, where `s` is 1 for a click and -1 otherwise.
//!
//! Three things of linfa 0.8 that bite:
//! * its loss is a sum over rows, so its penalty `alpha` is `l2 · n` and its gradient tolerance `tolerance · n`;
//! * its positive class is the more frequent one, on a tie the first seen: the sign of the logit is set by `labels().pos.class`;
//! * it returns the best point found whether the solver converged or not: the gradient is computed again here, and reported.

use std::fmt;

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, ShapeBuilder};
use serde::{Deserialize, Serialize};

use crate::error::within;
use crate::probability::sigmoid;
use crate::{BaselineError, Dense};

pub(crate) const KIND: &str = "linfa-logistic";
pub(crate) const CELL_LIMIT: usize = 12_800_000;

/// Settings of `linfa-logistic` as written in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLinfaLogistic {
    /// L2 penalty on the weights per row, so that a value means the same at any number of rows. 0 to 1, default 0.00001.
    pub l2: f64,
    /// Most L-BFGS steps. 1 to 10,000, default 100. A fit that needs more is reported as not converged.
    pub max_iterations: u64,
    /// Converged when the Euclidean norm of the gradient of the mean loss is below this. 1e-12 to 1, default 0.0001.
    pub tolerance: f64,
    /// Most rows to learn from. 1,000 to 200,000, default 50,000.
    pub row_limit: usize,
}

impl Default for RawLinfaLogistic {
    fn default() -> Self {
        Self { l2: 1e-5, max_iterations: 100, tolerance: 1e-4, row_limit: 50_000 }
    }
}

/// Checked settings of `linfa-logistic`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawLinfaLogistic", into = "RawLinfaLogistic")]
pub struct LinfaLogistic(RawLinfaLogistic);

impl TryFrom<RawLinfaLogistic> for LinfaLogistic {
    type Error = BaselineError;

    fn try_from(raw: RawLinfaLogistic) -> Result<Self, BaselineError> {
        within(KIND, "l2", raw.l2, 0.0..=1.0)?;
        within(KIND, "max_iterations", raw.max_iterations, 1..=10_000)?;
        within(KIND, "tolerance", raw.tolerance, 1e-12..=1.0)?;
        within(KIND, "row_limit", raw.row_limit, 1_000..=200_000)?;
        Ok(Self(raw))
    }
}

impl From<LinfaLogistic> for RawLinfaLogistic {
    fn from(checked: LinfaLogistic) -> Self {
        checked.0
    }
}

impl LinfaLogistic {
    /// The values.
    pub fn settings(&self) -> &RawLinfaLogistic {
        &self.0
    }

    /// Solves for weights. Labels hold both classes, one label a row.
    pub(crate) fn fit(&self, train: &Dense, labels: &[u8]) -> Result<FittedLogistic, BaselineError> {
        let rows = train.rows() as f64;
        // Column-major: linfa's products read a column at a time.
        let shape = (train.rows(), train.columns()).f();
        let records = Array2::from_shape_vec(shape, train.column_major::<f64>())
            .expect("a dense matrix has rows × columns values");
        let dataset = DatasetBase::new(records, Array1::from(labels.to_vec()));
        let solved = LogisticRegression::default()
            .alpha(self.0.l2 * rows)
            .gradient_tolerance(self.0.tolerance * rows)
            .max_iterations(self.0.max_iterations)
            .fit(&dataset)
            .map_err(|error| BaselineError::library(KIND, error))?;
        let sign = if solved.labels().pos.class == 1 { 1.0 } else { -1.0 };
        let line = Line {
            weights: solved.params().iter().map(|weight| sign * weight).collect(),
            intercept: sign * solved.intercept(),
        };
        if !line.intercept.is_finite() || line.weights.iter().any(|weight| !weight.is_finite()) {
            return Err(BaselineError::library(KIND, "the solver diverged to weights that are not finite"));
        }
        let gradient_norm = line.gradient_norm(train, labels, self.0.l2);
        Ok(FittedLogistic { line, convergence: Convergence { gradient_norm, tolerance: self.0.tolerance } })
    }
}

/// How the solver ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// Euclidean norm of the gradient of the mean loss at the solution.
    pub gradient_norm: f64,
    /// The norm asked for.
    pub tolerance: f64,
}

impl Convergence {
    /// Whether the norm asked for was reached.
    pub fn is_converged(&self) -> bool {
        // The norm is computed here in another order of additions than in the solver.
        self.gradient_norm <= self.tolerance * (1.0 + 1e-6)
    }
}

impl fmt::Display for Convergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_converged() { "converged" } else { "NOT converged" };
        write!(f, "{verdict}, gradient norm {:.1e} at a tolerance of {:.1e}", self.gradient_norm, self.tolerance)
    }
}

/// The model and how its solver ended.
#[derive(Debug)]
pub(crate) struct FittedLogistic {
    line: Line,
    convergence: Convergence,
}

impl FittedLogistic {
    pub(crate) fn convergence(&self) -> Convergence {
        self.convergence
    }

    pub(crate) fn predict(&self, rows: &Dense) -> Vec<f64> {
        rows.iter_rows().map(|row| sigmoid(self.line.logit(row))).collect()
    }
}

/// `w·x + b`, the logit of a click.
#[derive(Debug)]
struct Line {
    weights: Vec<f64>,
    intercept: f64,
}

impl Line {
    fn logit(&self, row: &[f32]) -> f64 {
        let products = row.iter().zip(&self.weights).map(|(&value, weight)| f64::from(value) * weight);
        self.intercept + products.sum::<f64>()
    }

    /// Norm of the gradient of the objective at the top of this file.
    fn gradient_norm(&self, train: &Dense, labels: &[u8], l2: f64) -> f64 {
        let rows = train.rows() as f64;
        let mut by_weight: Vec<f64> = self.weights.iter().map(|weight| l2 * weight).collect();
        let mut by_intercept = 0.0;
        for (row, &label) in train.iter_rows().zip(labels) {
            let residual = (sigmoid(self.logit(row)) - f64::from(label)) / rows;
            by_intercept += residual;
            for (slope, &value) in by_weight.iter_mut().zip(row) {
                *slope += residual * f64::from(value);
            }
        }
        (by_weight.iter().map(|slope| slope * slope).sum::<f64>() + by_intercept * by_intercept).sqrt()
    }
}
