//! pctr
pub mod error;
