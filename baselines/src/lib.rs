//! Other people's models behind one contract, so that pctr's own are judged beside them by the same metrics.
//!
//! A dense matrix of features and 0/1 labels go in; [`Baseline::fit`] gives a [`Fitted`] model, [`Fitted::predict`]
//! gives one click probability a row. The set is closed, so it is an enum and not a trait:
//!
//! | kind | library | raw output | most rows (default) | most cells |
//! |---|---|---|---|---|
//! | `linfa-logistic` | linfa-logistic, L-BFGS | probability | 200,000 (50,000) | 25.6 million |
//! | `smartcore-forest` | smartcore, random forest regressor on 0/1 | mean of leaf click rates | 200,000 (50,000) | 12.8 million |
//! | `smartcore-boost` | smartcore, boosted trees, squared error | score that may leave (0, 1) | 100,000 (20,000) | 1.28 million |
//!
//! These libraries hold everything in memory, use one thread and have no early stop, so each kind has limits. Rows beyond
//! them are left out by a seeded sample, and the [`FitReport`] says how many were used of how many. Sample weights are not part of
//! the contract: linfa-logistic has none.

mod baseline;
mod boost;
mod dense;
mod error;
mod forest;
mod logistic;
mod probability;
mod sample;
#[cfg(test)]
mod tests;

pub use baseline::{Baseline, FitReport, Fitted};
pub use boost::{RawSmartcoreBoost, SmartcoreBoost};
pub use dense::Dense;
pub use error::BaselineError;
pub use forest::{RawSmartcoreForest, SmartcoreForest};
pub use logistic::{Convergence, LinfaLogistic, RawLinfaLogistic};
pub use sample::sample_rows;
