//! Codes of some candidates → logits of one tier.

use crate::model::features::Indexer;
use crate::model::{OwnSpans, Slots};

/// Buffers of one tier for one request.
#[derive(Debug, Default)]
pub(super) struct Rung {
    width: usize,
    /// Slots of the context; empty before the first step.
    context: Vec<u32>,
    slots: Vec<u32>,
    logits: Vec<f32>,
}

impl Rung {
    /// For a new request.
    pub(super) fn begin(&mut self) {
        self.context.clear();
    }

    /// Turns codes of candidates into slots; says whether it is the request's first step on this rung. `context` may be left out where
    /// [`Bundle::gains_from_sharing`](crate::model::bundle::Bundle::gains_from_sharing) says that nothing is shared.
    pub(super) fn index<'c>(
        &mut self,
        indexer: &Indexer,
        context: Option<&[u32]>,
        own: &OwnSpans,
        candidates: impl ExactSizeIterator<Item = &'c [u32]> + Clone,
    ) -> bool {
        self.width = indexer.layout().width();
        let is_first = self.context.is_empty();
        if let (true, Some(context)) = (is_first, context) {
            indexer.index(context, &mut self.context);
        }
        self.slots.clear();
        self.logits.clear();
        self.logits.resize(candidates.len(), 0.0);
        indexer.append_own(own, &self.context, candidates, &mut self.slots);
        is_first
    }

    /// The row of slots that candidates have but for their own.
    pub(super) fn context(&self) -> Slots<'_> {
        Slots::new(self.width, &self.context)
    }

    /// The candidates' logits, by `predict`.
    pub(super) fn logits(&mut self, predict: impl FnOnce(Slots<'_>, &mut [f32])) -> &[f32] {
        predict(Slots::new(self.width, &self.slots), &mut self.logits);
        &self.logits
    }
}
