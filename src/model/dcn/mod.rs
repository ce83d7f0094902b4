//! Deep & Cross Network v2 (Wang et al. 2021, arXiv 2008.13535): slots → logit; forward and backward side by side.
//!
//! ```text
//! slots ─▶ embedding ─▶ x₀ ─┬─▶ cross, or mixture (with experts) ─┬─▶ head ─▶ (+) ─▶ logit
//!   │                       └─▶ deep (with norm) ─────────────────┘            ▲
//!   └─▶ wide ──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! [`DcnLearner`] learns and freezes into a [`DcnModel`]. `network` holds the dense layers together, `parameters` their tensors and
//! Adam. `frozen` holds the layers of a model, `sharing` what rows of a request share of them. `narrow` turns slots into rows of the embedding table, `touched` finds those of a batch, `optimizer` makes up for steps that a slot missed. `crew` cuts work for lent
//! threads so that their number never changes a bit. [`Schedule`] turns steps into rates.

mod block;
mod config;
mod crew;
mod cross;
mod deep;
mod embedding;
mod ensemble;
mod experts;
mod frozen;
mod head;
mod learner;
mod mixture;
mod model;
mod narrow;
mod network;
mod norm;
mod optimizer;
mod parameters;
mod schedule;
mod sharing;
#[cfg(test)]
mod tests;
mod touched;
mod wide;

pub use config::{
    DcnConfig, EmbeddingInit, EmbeddingRule, LearningPrecision, RawDcn, ScoringRule, Structure, WeightDecayForm,
    WideRule,
};
pub use crew::Stage;
pub use ensemble::{DcnEnsemble, EnsembleLearner, EnsembleScratch};
pub use frozen::ScoringPrecision;
pub use learner::DcnLearner;
pub use model::{DcnModel, DcnScratch, Values};
pub use schedule::{Decay, Schedule};
