//! Bodies of `POST /v1/score` and `POST /v1/score/batch` ↔ fields and probabilities.
//!
//! ```text
//! bytes ─▶ document ─▶ reader ─┬─▶ fields ─▶ request ─▶ scorer ─▶ answer ─▶ bytes
//!          JSON                └── names: which column a key is
//! ```

mod answer;
mod document;
mod fields;
mod names;
mod reader;
mod request;

pub(super) use answer::{BatchAnswer, answer, end};
pub(super) use reader::{Buffers, Rules, read, read_batch};
pub(super) use request::Request;
