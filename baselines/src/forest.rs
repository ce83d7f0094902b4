//! Dense features → mean click rate of leaves, by smartcore's random forest regressor on 0/1 labels.
//!
//! The regressor and not the classifier: a classifier of smartcore answers hard labels. Squared error on 0/1 labels chooses the
//! same splits as the Gini impurity.
//!
//! Two things of smartcore 0.7 that bite: its `max_depth` counts the nodes of a path, so that 1 means no split at all (here: the splits);
//! and it fits one tree after the other on one thread.

use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::error::within;
use crate::probability::{ProbabilityRange, click_rate};
use crate::{BaselineError, Dense};

pub(crate) const KIND: &str = "smartcore-forest";
pub(crate) const CELL_LIMIT: usize = 12_800_000;

/// Settings of `smartcore-forest` as written in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSmartcoreForest {
    /// Number of trees. 1 to 1,000, default 50.
    pub trees: usize,
    /// Most splits on the way to a leaf. 1 to 64, default 12.
    pub max_depth: u16,
    /// Fewest rows of a tree's bootstrap sample in a leaf. 1 to 100,000, default 50.
    pub min_samples_leaf: usize,
    /// Columns tried at each split, drawn anew each time. 0 (the default) means the square root of the number of columns.
    pub columns_per_split: usize,
    /// Most rows to learn from. 1,000 to 200,000, default 50,000.
    pub row_limit: usize,
}

impl Default for RawSmartcoreForest {
    fn default() -> Self {
        Self { trees: 50, max_depth: 12, min_samples_leaf: 50, columns_per_split: 0, row_limit: 50_000 }
    }
}

/// Checked settings of `smartcore-forest`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSmartcoreForest", into = "RawSmartcoreForest")]
pub struct SmartcoreForest(RawSmartcoreForest);

impl TryFrom<RawSmartcoreForest> for SmartcoreForest {
    type Error = BaselineError;

    fn try_from(raw: RawSmartcoreForest) -> Result<Self, BaselineError> {
        within(KIND, "trees", raw.trees, 1..=1_000)?;
        within(KIND, "max_depth", raw.max_depth, 1..=64)?;
        within(KIND, "min_samples_leaf", raw.min_samples_leaf, 1..=100_000)?;
        within(KIND, "columns_per_split", raw.columns_per_split, 0..=100_000)?;
        within(KIND, "row_limit", raw.row_limit, 1_000..=200_000)?;
        Ok(Self(raw))
    }
}

impl From<SmartcoreForest> for RawSmartcoreForest {
    fn from(checked: SmartcoreForest) -> Self {
        checked.0
    }
}

impl SmartcoreForest {
    /// The values.
    pub fn settings(&self) -> &RawSmartcoreForest {
        &self.0
    }

    /// Grows the trees. Labels hold both classes, one label a row.
    pub(crate) fn fit(&self, train: &Dense, labels: &[u8], seed: u64) -> Result<FittedForest, BaselineError> {
        let columns_per_split = match self.0.columns_per_split {
            0 => train.columns().isqrt(),
            columns => columns.min(train.columns()),
        };
        let parameters = RandomForestRegressorParameters::default()
            .with_n_trees(self.0.trees)
            .with_max_depth(self.0.max_depth + 1)
            .with_min_samples_leaf(self.0.min_samples_leaf)
            .with_m(columns_per_split)
            .with_seed(seed);
        // Column-major: a split reads one column.
        let records = DenseMatrix::new(train.rows(), train.columns(), train.column_major::<f32>(), true)
            .map_err(|error| BaselineError::library(KIND, error))?;
        let targets = labels.iter().map(|&label| f64::from(label)).collect();
        let forest = RandomForestRegressor::fit(&records, &targets, parameters)
            .map_err(|error| BaselineError::library(KIND, error))?;
        Ok(FittedForest { forest, range: ProbabilityRange::around(click_rate(labels)) })
    }
}

/// The trees, and the range their means are clipped to.
#[derive(Debug)]
pub(crate) struct FittedForest {
    forest: RandomForestRegressor<f32, f64, DenseMatrix<f32>, Vec<f64>>,
    range: ProbabilityRange,
}

impl FittedForest {
    pub(crate) fn predict(&self, rows: &Dense) -> Result<Vec<f64>, BaselineError> {
        // smartcore owns what it reads: batches keep the copy small.
        const BATCH_ROWS: usize = 4_096;
        let mut probabilities = Vec::with_capacity(rows.rows());
        for batch in rows.values().chunks(BATCH_ROWS * rows.columns()) {
            let means = DenseMatrix::new(batch.len() / rows.columns(), rows.columns(), batch.to_vec(), false)
                .and_then(|records| self.forest.predict(&records))
                .map_err(|error| BaselineError::library(KIND, error))?;
            probabilities.extend(means.into_iter().map(|mean| self.range.clip(mean)));
        }
        Ok(probabilities)
    }
}
