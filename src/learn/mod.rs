//! The first life: logs in, experiments, honest comparison and bundles out.

pub mod dataset;
mod interrupt;
pub mod split;

pub use interrupt::Interrupt;
