//! pctr
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
