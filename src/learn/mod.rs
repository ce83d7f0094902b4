//! The first life: logs in, experiments, honest comparison and bundles out.

pub mod dataset;
pub mod evaluate;
pub mod generate;
mod interrupt;
pub mod settings;
pub mod split;
pub mod trainer;

pub use interrupt::Interrupt;
