//! The first life: logs in, experiments, honest comparison and bundles out.

pub mod analysis;
pub mod auction;
pub mod dataset;
pub mod evaluate;
pub mod experiment;
pub mod generate;
pub mod inspect;
mod interrupt;
pub mod predictions;
pub mod prepare;
pub mod report;
pub mod score;
pub mod settings;
pub mod source;
pub mod split;
pub mod trainer;

pub use interrupt::Interrupt;
