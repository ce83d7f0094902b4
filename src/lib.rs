//! pctr
pub mod config;
pub mod error;
pub mod kernels;
pub mod learn;
pub mod model;
