//! A question in a recipe → runs with records → an honest comparison.
//!
//! ```text
//! recipe.toml ─▶ recipe ─▶ data (prepared once, split) ─▶ plan ─▶ runner ─▶ run ─▶ run.json, test.parquet, bundle/
//!                                                                              └─▶ compare ─▶ verdict, winner
//! ```
//!
//! A recipe names everything that decides a result, and a record repeats it, so that a run can be understood and repeated
//! without the one who ran it. Reports are made from records alone ([`crate::learn::report`]).

pub mod compare;
pub mod data;
pub mod dense;
pub mod grid;
pub mod kind;
pub mod plan;
pub mod predictions;
pub mod recipe;
pub mod record;
pub mod rules;
mod run;
mod runner;
#[cfg(test)]
pub(crate) mod tests;

pub use compare::{Comparison, compare};
pub use recipe::Recipe;
pub use record::RunRecord;
pub use runner::{BUNDLE, EXPERIMENT_FILE, Event, ExperimentRecord, RUNS, RunOptions, plan, run};
