//! A question in a recipe → runs with records → an honest comparison.
//!
//! ```text
//! recipe.toml ─▶ recipe ─▶ data (prepared once, split into folds) ─▶ plan ─▶ queue ─▶ work ─▶ run ─▶ run.json, test.parquet, bundle/
//!                                                                                                      └─▶ compare ─▶ verdict, winner
//! ```
//!
//! A recipe names everything that decides a result, and a record repeats it, so that a run can be understood and repeated
//! without the one who ran it. Reports are made from records alone ([`crate::learn::report`]).

pub mod compare;
pub mod data;
pub mod dense;
pub mod describe;
pub mod duplicates;
mod estimate;
pub mod grid;
pub mod kind;
pub mod mlflow;
pub mod plan;
pub mod predictions;
mod queue;
pub mod recipe;
pub mod record;
pub mod rules;
mod run;
mod runner;
pub mod search;
#[cfg(test)]
pub(crate) mod tests;
mod work;

pub use compare::{Comparison, compare};
pub use recipe::Recipe;
pub use record::RunRecord;
pub use run::TrialRecord;
pub use runner::{
    AUCTION_FILE, BUNDLE, EXPERIMENT_FILE, Event, ExperimentRecord, RUNS, RunOptions, SEARCH, TRIALS, plan, run,
};
