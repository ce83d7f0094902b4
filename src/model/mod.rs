//! Row → probability: everything both lives must share, once.
//!
//! ```text
//! row ─▶ encoder ─▶ codes ─▶ indexer ─▶ slots ─▶ model ─▶ logit ─▶ calibrator ─▶ probability
//! ```
//!
//! A **code** is the stable 32-bit hash of one field's value; prepared data keep codes, so that one prepared set
//! serves any model. A **slot** is a row of one model's weight table; the model's indexer turns codes into slots.

pub mod base_rate;
pub mod batch;
pub mod bundle;
pub mod calibration;
pub mod codec;
pub mod dcn;
pub mod features;
pub mod ftrl;
pub mod row;
pub mod schema;

pub use batch::{Batch, EMPTY_SLOT, Layout, OwnSpans, Slots, Span, Threads};

/// A finished model: slots in, logits out. Cannot fail, cannot learn.
pub trait Predict {
    /// Buffers that one caller reuses between calls, so that a warm call allocates nothing.
    type Scratch: Default + Send;

    /// Writes one logit (log-odds of a click, uncalibrated) for each row of `slots` into `logits`.
    ///
    /// The bits of a row's logit depend on that row alone, never on its neighbors or on their number.
    fn predict(&self, slots: Slots<'_>, scratch: &mut Self::Scratch, logits: &mut [f32]);
}

/// A model that learns. Freezing yields another type, so that serving cannot train.
pub trait Learn {
    /// What [`Learn::freeze`] yields.
    type Frozen: Predict;

    /// One step on one batch. Returns the summed (weighted) log loss in nats from *before* the step, so that summing it
    /// over the first pass gives the progressive loss.
    ///
    /// `rate` multiplies the learning rate (warm-up, plateau, decay; 1 means the configured rate). The resulting weights
    /// are the same bits at any number of threads.
    fn learn(&mut self, batch: &Batch<'_>, rate: f32, threads: Threads<'_>) -> f64;

    /// The model as it stands, ready to predict.
    fn freeze(&self) -> Self::Frozen;
}
