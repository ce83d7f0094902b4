//! Our numbers against those of an independent implementation, compared as numbers with a stated tolerance.
//!
//! Each `*.json` here was written by the script `make_*.py` beside it, whose header pins the versions.

mod delong;
mod metrics;
