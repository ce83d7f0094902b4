//! The first life: logs in, experiments, honest comparison and bundles out.

pub mod dataset;
pub mod generate;
mod interrupt;
pub mod split;

pub use interrupt::Interrupt;
