//! Row → codes → slots: the only way from a log or a request to what a model sees.
//!
//! [`Encoder`] turns one row's cells into codes (stable 32-bit hashes salted by the feature); it is learned when data are
//! prepared and serves every model. [`Indexer`] turns codes into one model's slots: it chooses features, adds crosses and
//! maps codes by hash or by vocabulary; it is learned when that model is trained. Both travel in the bundle.

mod columns;
pub mod encoder;
pub mod hash;
pub mod indexer;
mod names;
mod request;
mod vocabulary;

pub use columns::{ColumnEncoder, ColumnScratch};
pub use encoder::{Encoder, EncoderBuilder, Sample};
pub use indexer::{Indexer, IndexerBuilder, IndexerConfig, Mode};
pub use request::RequestEncoder;
pub use vocabulary::CodeCounts;
