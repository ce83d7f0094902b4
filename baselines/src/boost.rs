//! Dense features → score, by smartcore's boosted trees, and score → probability by clipping.
//!
//! smartcore's only objective is squared error, so a score estimates the click rate but may leave (0, 1). It starts from the click rate
//! of the fit. The clipped score wants a calibrator.
//!
//! What bites in smartcore 0.7: every node sorts every column anew, so time grows with
//! `rounds · max_depth · rows · log(rows) · columns`; hence the small limits.

use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

use crate::error::within;
use crate::probability::{ProbabilityRange, click_rate};
use crate::{BaselineError, Dense};

pub(crate) const KIND: &str = "smartcore-boost";
pub(crate) const CELL_LIMIT: usize = 3_200_000;

/// Settings of `smartcore-boost` as written in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSmartcoreBoost {
    /// Boosting rounds, one tree each. 1 to 1,000, default 40.
    pub rounds: usize,
    /// Share of each tree's correction that is added. Above 0 to 1, default 0.15.
    pub learning_rate: f64,
    /// Most splits on the way to a leaf. 1 to 16, default 4.
    pub max_depth: u16,
    /// Fewest rows in a leaf. 1 to 100,000, default 20.
    pub min_samples_leaf: usize,
    /// L2 penalty on leaf values, in rows. 0 to 1,000,000, default 1.
    pub l2: f64,
    /// Share of the rows each tree sees, drawn anew. 0.1 to 1, default 0.5. At 1 the seed only decides which rows are sampled.
    pub subsample: f64,
    /// Most rows to learn from. 1,000 to 100,000, default 50,000.
    pub row_limit: usize,
}

impl Default for RawSmartcoreBoost {
    fn default() -> Self {
        Self {
            rounds: 40,
            learning_rate: 0.15,
            max_depth: 4,
            min_samples_leaf: 20,
            l2: 1.0,
            subsample: 0.5,
            row_limit: 50_000,
        }
    }
}

/// Checked settings of `smartcore-boost`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSmartcoreBoost", into = "RawSmartcoreBoost")]
pub struct SmartcoreBoost(RawSmartcoreBoost);

impl TryFrom<RawSmartcoreBoost> for SmartcoreBoost {
    type Error = BaselineError;

    fn try_from(raw: RawSmartcoreBoost) -> Result<Self, BaselineError> {
        within(KIND, "rounds", raw.rounds, 1..=1_000)?;
        within(KIND, "learning_rate", raw.learning_rate, 1e-6..=1.0)?;
        within(KIND, "max_depth", raw.max_depth, 1..=16)?;
        within(KIND, "min_samples_leaf", raw.min_samples_leaf, 1..=100_000)?;
        within(KIND, "l2", raw.l2, 0.0..=1e6)?;
        within(KIND, "subsample", raw.subsample, 0.1..=1.0)?;
        within(KIND, "row_limit", raw.row_limit, 1_000..=100_000)?;
        Ok(Self(raw))
    }
}

impl From<SmartcoreBoost> for RawSmartcoreBoost {
    fn from(checked: SmartcoreBoost) -> Self {
        checked.0
    }
}

impl SmartcoreBoost {
    /// The values.
    pub fn settings(&self) -> &RawSmartcoreBoost {
        &self.0
    }

    /// Grows the trees, each on the residuals of those before. Labels hold both classes, one label a row.
    pub(crate) fn fit(&self, train: &Dense, labels: &[u8], seed: u64) -> Result<FittedBoost, BaselineError> {
        let click_rate = click_rate(labels);
        let parameters = XGRegressorParameters::default()
            .with_n_estimators(self.0.rounds)
            .with_learning_rate(self.0.learning_rate)
            .with_max_depth(self.0.max_depth)
            .with_min_child_weight(self.0.min_samples_leaf) // the second derivative of the squared error is 1 a row
            .with_lambda(self.0.l2)
            .with_subsample(self.0.subsample)
            .with_base_score(click_rate)
            .with_seed(seed);
        // Column-major: a split reads one column.
        let records = DenseMatrix::new(train.rows(), train.columns(), train.column_major::<f32>(), true)
            .map_err(|error| BaselineError::library(KIND, error))?;
        let targets = labels.iter().map(|&label| f64::from(label)).collect();
        let trees =
            XGRegressor::fit(&records, &targets, parameters).map_err(|error| BaselineError::library(KIND, error))?;
        Ok(FittedBoost { trees, range: ProbabilityRange::around(click_rate) })
    }
}

/// The trees, and the range their scores are clipped to.
#[derive(Debug)]
pub(crate) struct FittedBoost {
    trees: XGRegressor<f32, f64, DenseMatrix<f32>, Vec<f64>>,
    range: ProbabilityRange,
}

impl FittedBoost {
    pub(crate) fn predict(&self, rows: &Dense) -> Result<Vec<f64>, BaselineError> {
        // smartcore owns what it reads: batches keep the copy small.
        const BATCH_ROWS: usize = 4_096;
        let mut probabilities = Vec::with_capacity(rows.rows());
        for batch in rows.values().chunks(BATCH_ROWS * rows.columns()) {
            let scores = DenseMatrix::new(batch.len() / rows.columns(), rows.columns(), batch.to_vec(), false)
                .and_then(|records| self.trees.predict(&records))
                .map_err(|error| BaselineError::library(KIND, error))?;
            probabilities.extend(scores.into_iter().map(|score| self.range.clip(f64::from(score))));
        }
        Ok(probabilities)
    }
}
