//! pctr
pub mod config;
pub mod error;
pub mod kernels;
pub mod model;
