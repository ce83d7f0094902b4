//! pctr
pub mod config;
pub mod error;
pub mod kernels;
pub mod metrics;
pub mod model;
