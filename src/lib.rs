//! `pctr` turns ad click logs into calibrated click probabilities behind a bid endpoint.
//!
//! ```text
//!         how it learns                                              how it predicts
//!  files ─▶ rows ─▶ features ─▶ model ─▶ calibration     request ─▶ row ─▶ features ─▶ model ─▶ calibration ─▶ p
//!  └───────────────── learn ────────┬──────────┘          └─────────────── predict ───────────────┬────┘
//!                                   └────────▶ registry: a bundle ────────────────────────────────┘
//! ```
//!
//! The two lives never meet in code. They meet on disk: a *bundle* goes out. Everything that must be the same in both
//! lives (schema, hashing, model, calibrator) exists once, in [`model`]. Modules in the order of the story:
//!
//! * the ground, pure: [`kernels`] (numbers → numbers, fast), [`metrics`] (predictions → verdicts), [`model`] (row →
//!   probability);
//! * the bridge: [`registry`];
//! * the first life: [`learn`]; the second life: [`predict`];
//! * the command line: [`cli`]; and what all of them share: [`error`], [`config`], [`durable`].
//!
//! `ARCHITECTURE.md` says which may use which, and `tests/architecture.rs` holds it.

pub mod cli;
pub mod config;
pub mod durable;
pub mod error;
pub mod kernels;
pub mod learn;
pub mod metrics;
pub mod model;
pub mod predict;
pub mod registry;
