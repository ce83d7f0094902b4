//! The one contract: settings, matrix and labels → a fitted model and what there is to say about the fit.
//!
//! Checks that hold for every kind are made here, once: labels, both classes, size limits, widths.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::boost::{self, FittedBoost, SmartcoreBoost};
use crate::forest::{self, FittedForest, SmartcoreForest};
use crate::logistic::{self, Convergence, FittedLogistic, LinfaLogistic};
use crate::sample::{model_seed, sample_rows};
use crate::{BaselineError, Dense};

/// A model of another library with its checked settings; `kind` names it in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Baseline {
    /// `linfa-logistic`: dense logistic regression with an L2 penalty.
    LinfaLogistic(LinfaLogistic),
    /// `smartcore-forest`: random forest.
    SmartcoreForest(SmartcoreForest),
    /// `smartcore-boost`: boosted trees.
    SmartcoreBoost(SmartcoreBoost),
}

impl Baseline {
    /// The name in a recipe and in errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LinfaLogistic(_) => logistic::KIND,
            Self::SmartcoreForest(_) => forest::KIND,
            Self::SmartcoreBoost(_) => boost::KIND,
        }
    }

    /// Most rows a fit uses at this width: the setting `row_limit`, or less where the cell limit of the kind is nearer.
    ///
    /// A caller that builds only the rows `sample_rows(rows, row_limit, seed)` gets the same model as one that hands over
    /// everything, and needs less memory.
    ///
    /// # Errors
    /// [`BaselineError::TooWide`] when the cell limit leaves room for fewer than 1,000 rows.
    pub fn row_limit(&self, columns: usize) -> Result<usize, BaselineError> {
        const FEWEST_ROWS: usize = 1_000;
        let (row_limit, cell_limit) = match self {
            Self::LinfaLogistic(settings) => (settings.settings().row_limit, logistic::CELL_LIMIT),
            Self::SmartcoreForest(settings) => (settings.settings().row_limit, forest::CELL_LIMIT),
            Self::SmartcoreBoost(settings) => (settings.settings().row_limit, boost::CELL_LIMIT),
        };
        let limit = cell_limit / FEWEST_ROWS;
        if columns > limit {
            return Err(BaselineError::TooWide { kind: self.kind(), columns, limit });
        }
        Ok(row_limit.min(cell_limit / columns.max(1)))
    }

    /// Learns from `train` and its labels (0 = no click, 1 = click), one a row.
    ///
    /// Rows beyond [`Baseline::row_limit`] are left out: those of `sample_rows(rows, row_limit, seed)` are used.
    /// The same arguments give the same model, bit for bit.
    ///
    /// # Errors
    /// [`BaselineError`] for a label count that does not fit, a label that is neither 0 nor 1, rows of one class only (a model
    /// of a constant would be the base rate, which pctr has), a matrix too wide, or a failure of the library.
    pub fn fit(&self, train: &Dense, labels: &[u8], seed: u64) -> Result<Fitted, BaselineError> {
        if labels.len() != train.rows() {
            return Err(BaselineError::LabelCount { rows: train.rows(), labels: labels.len() });
        }
        if let Some(row) = labels.iter().position(|&label| label > 1) {
            return Err(BaselineError::Label { row, label: labels[row] });
        }
        let limit = self.row_limit(train.columns())?;
        let (rows, labels) = if train.rows() > limit {
            let sample = sample_rows(train.rows(), limit, seed);
            let labels: Vec<u8> = sample.iter().map(|&row| labels[row]).collect();
            (Cow::Owned(train.select(&sample)), Cow::Owned(labels))
        } else {
            (Cow::Borrowed(train), Cow::Borrowed(labels))
        };
        let clicks = labels.iter().filter(|&&label| label == 1).count();
        if clicks == 0 || clicks == labels.len() {
            return Err(BaselineError::OneClass { kind: self.kind(), rows: labels.len(), clicks });
        }
        let model = match self {
            Self::LinfaLogistic(settings) => Model::Logistic(settings.fit(&rows, &labels)?),
            Self::SmartcoreForest(settings) => Model::Forest(settings.fit(&rows, &labels, model_seed(seed))?),
            Self::SmartcoreBoost(settings) => Model::Boost(settings.fit(&rows, &labels, model_seed(seed))?),
        };
        let convergence = match &model {
            Model::Logistic(fitted) => Some(fitted.convergence()),
            Model::Forest(_) | Model::Boost(_) => None,
        };
        let report = FitReport {
            kind: self.kind().to_string(),
            rows_offered: train.rows(),
            rows_used: rows.rows(),
            clicks_used: clicks,
            columns: train.columns(),
            seed,
            convergence,
        };
        Ok(Fitted { kind: self.kind(), columns: train.columns(), model, report })
    }
}

/// A fitted baseline.
#[derive(Debug)]
pub struct Fitted {
    kind: &'static str,
    columns: usize,
    model: Model,
    report: FitReport,
}

#[derive(Debug)]
enum Model {
    Logistic(FittedLogistic),
    Forest(FittedForest),
    Boost(FittedBoost),
}

impl Fitted {
    /// The probability of a click for each row, in order, each finite and inside of (0, 1). Any number of rows.
    ///
    /// # Errors
    /// [`BaselineError::Columns`] when the width is not that of the fit.
    pub fn predict(&self, rows: &Dense) -> Result<Vec<f64>, BaselineError> {
        if rows.columns() != self.columns {
            let (kind, expected, got) = (self.kind, self.columns, rows.columns());
            return Err(BaselineError::Columns { kind, expected, got });
        }
        match &self.model {
            Model::Logistic(fitted) => Ok(fitted.predict(rows)),
            Model::Forest(fitted) => fitted.predict(rows),
            Model::Boost(fitted) => fitted.predict(rows),
        }
    }

    /// What there is to say about the fit.
    pub fn report(&self) -> &FitReport {
        &self.report
    }
}

/// What a reader of a comparison must know about a fit. Its `Display` is one sentence for a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Name of the baseline.
    pub kind: String,
    /// Rows handed over. A caller that sampled before may put the size of its log here.
    pub rows_offered: usize,
    /// Rows the model learned from.
    pub rows_used: usize,
    /// Clicks among the rows used.
    pub clicks_used: usize,
    /// Features a row.
    pub columns: usize,
    /// Seed of the row sample and of the model.
    pub seed: u64,
    /// How the solver ended, for kinds that solve for an optimum.
    pub convergence: Option<Convergence>,
}

impl FitReport {
    /// Whether rows were left out.
    pub fn is_sampled(&self) -> bool {
        self.rows_used < self.rows_offered
    }
}

impl fmt::Display for FitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: learned from ", self.kind)?;
        match self.is_sampled() {
            true => write!(f, "a sample of {} of {} rows", self.rows_used, self.rows_offered)?,
            false => write!(f, "all {} rows", self.rows_used)?,
        }
        write!(f, " × {} columns", self.columns)?;
        match &self.convergence {
            Some(convergence) => write!(f, "; {convergence}"),
            None => Ok(()),
        }
    }
}
