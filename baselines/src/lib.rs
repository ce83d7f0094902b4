//! Other people's models behind one contract, so that pctr's own are judged beside them by the same metrics.
//!
//! A dense matrix of features and 0/1 labels go in; [`Baseline::fit`] gives a [`Fitted`] model, [`Fitted::predict`]
//! gives one click probability a row. The set is closed, so it is an enum and not a trait:
//!
//! | kind | library | raw output | `row_limit`: default, most | most cells |
//! |---|---|---|---|---|
//! | `linfa-logistic` | linfa-logistic, L-BFGS | probability | 50,000, 200,000 | 12.8 million |
//! | `smartcore-forest` | smartcore, random forest regressor on 0/1 | mean of leaf click rates | 50,000, 200,000 | 12.8 million |
//! | `smartcore-boost` | smartcore, boosted trees, squared error | score that may leave (0, 1) | 50,000, 100,000 | 3.2 million |
//!
//! The limits are where a fit at default settings takes under 30 seconds of one processor. Measured with `--example limits` on a
//! shared 2-core AMD EPYC as processor time of a fit and a prediction, mean of hashed counts and continuous columns:
//! logistic 7 s at 50,000 × 256; forest 7 s at 50,000 × 64 and 18 s at 50,000 × 256; boost 18 s at 50,000 × 64 and 14 s at 12,500 × 256
//! (continuous columns take boost about 2.5 times as long as counts). Peak memory of the whole example: 190 MiB for the logistic
//! and 265 MiB for the forest at 50,000 × 256, 48 MiB for boost at 50,000 × 64.
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
