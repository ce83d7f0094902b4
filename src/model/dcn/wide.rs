//! The linear part: slots → Σ of one weight per slot, beside the network; with its own optimizer.
//!
//! A bag adds the mean of its weights, as its embedding is a mean. The bias is that of the head.

use super::config::{DcnConfig, WideRule};
use super::embedding::share;
use super::optimizer::Decay;
use super::touched::{Touched, split_rows};
use crate::kernels::{self, AdamStep, FtrlRates};
use crate::model::{EMPTY_SLOT, Slots, Span, Threads};

/// Weights, one a slot, and what their rule remembers.
#[derive(Debug, Clone)]
pub(super) struct Wide {
    spans: Vec<Span>,
    span_of: Vec<u32>,
    pub(super) weights: Vec<f32>,
    /// (m, v) of Adam, (accumulator, unused) of Adagrad, (z, n) of FTRL-Proximal.
    state: Vec<[f32; 2]>,
    rule: WideRule,
    learning_rate: f32,
    rates: FtrlRates,
    decay: Decay,
}

impl Wide {
    /// All weights start at 0. `None` where the config has no linear part.
    pub(super) fn new(config: &DcnConfig, spans: &[Span], table_rows: usize) -> Option<Self> {
        let settings = config.settings();
        let learning_rate = config.wide_learning_rate();
        let decay = match settings.wide {
            WideRule::None => return None,
            WideRule::Adam | WideRule::Adagrad => learning_rate * settings.wide_l2,
            WideRule::Ftrl => 0.0,
        };
        let span_of = (0u32..).zip(spans).flat_map(|(index, span)| std::iter::repeat_n(index, span.len));
        Some(Wide {
            spans: spans.to_vec(),
            span_of: span_of.collect(),
            weights: vec![0.0; table_rows],
            state: vec![[0.0; 2]; table_rows],
            rule: settings.wide,
            learning_rate,
            rates: FtrlRates {
                alpha: learning_rate,
                beta: settings.wide_beta,
                l1: settings.wide_l1,
                l2: settings.wide_l2,
            },
            decay: Decay::new(decay, table_rows),
        })
    }

    /// Brings the weights of the batch up to date. Comes before [`Wide::forward`].
    pub(super) fn catch_up(&mut self, touched: &Touched) {
        if !self.decay.is_on() {
            return;
        }
        let (paid, owed) = self.decay.parts();
        for number in 0..touched.len() {
            let slot = touched.get(number).0;
            owed.pay(&mut self.weights[slot..=slot], &mut paid[slot]);
        }
    }

    /// Adds the linear part to the logits.
    pub(super) fn forward(&self, slots: Slots<'_>, logits: &mut [f32]) {
        add_logits(&self.weights, &self.spans, slots, logits);
    }

    /// One step on the slots of the batch. `gradients` are ∂loss/∂logit of each row, of the loss *summed* over rows.
    ///
    /// Adam steps with the mean over the batch, as the network does. Adagrad and FTRL-Proximal step with the sum, as if rows
    /// had come one by one, because their beta is meant for gradients of single rows. FTRL-Proximal takes no `rate`, because
    /// its weights are proportional to alpha: a falling alpha would take back what was learned.
    pub(super) fn learn(
        &mut self,
        slots: Slots<'_>,
        touched: &Touched,
        gradients: &[f32],
        step: &AdamStep,
        rate: f32,
        threads: Threads<'_>,
    ) {
        let rule = self.rule;
        let step = AdamStep { learning_rate: self.learning_rate * rate, ..*step };
        let rates = self.rates;
        let mean = 1.0 / slots.rows() as f32;
        self.decay.begin(rate);
        let (paid, owed) = self.decay.parts();
        let (weights, state) = (&mut self.weights, &mut self.state);
        let cuts = touched.cuts();
        let parts = (split_rows(weights, 1, &cuts).into_iter())
            .zip(split_rows(state, 1, &cuts).into_iter().zip(split_rows(paid, 1, &cuts)));
        let (spans, span_of) = (&self.spans, &self.span_of);
        touched.for_each(threads, cuts, parts, |numbers, first_row, (weights, (state, paid))| {
            for number in numbers {
                let (slot, places) = touched.get(number);
                let gradient = add_up(spans, span_of, slots, gradients, touched.indices(places));
                let row = slot - first_row;
                let (weight, [first, second]) = (&mut weights[row..=row], &mut state[row]);
                if let Some(paid) = paid.get_mut(row) {
                    owed.pay(weight, paid);
                }
                match rule {
                    WideRule::None => (),
                    WideRule::Adam => {
                        let (first, second) = (std::slice::from_mut(first), std::slice::from_mut(second));
                        kernels::adam(weight, first, second, &[gradient * mean], &step);
                    }
                    WideRule::Adagrad => {
                        kernels::adagrad_rowwise(weight, &[gradient], first, step.learning_rate, rates.beta);
                    }
                    WideRule::Ftrl => weight[0] = ftrl(first, second, weight[0], gradient, &rates),
                }
            }
        });
    }

    /// A copy of the weights, all up to date.
    pub(super) fn frozen(&self) -> Vec<f32> {
        let mut weights = self.weights.clone();
        self.decay.settle(&mut weights, 1);
        weights
    }

    /// ∂loss/∂weights in full, for tests.
    #[cfg(test)]
    pub(super) fn gradient(&self, slots: Slots<'_>, touched: &Touched, gradients: &[f32]) -> Vec<f32> {
        let mut full = vec![0.0; self.weights.len()];
        for number in 0..touched.len() {
            let (slot, places) = touched.get(number);
            full[slot] = add_up(&self.spans, &self.span_of, slots, gradients, touched.indices(places));
        }
        full
    }
}

/// Σ over places of share · ∂logit, in order.
fn add_up(
    spans: &[Span],
    span_of: &[u32],
    slots: Slots<'_>,
    gradients: &[f32],
    indices: impl Iterator<Item = usize>,
) -> f32 {
    let mut sum = 0.0;
    for index in indices {
        let (row, position) = (index / slots.width(), index % slots.width());
        sum += share(slots.row(row), &spans[span_of[position] as usize]) * gradients[row];
    }
    sum
}

/// One step of FTRL-Proximal (McMahan et al. 2013, algorithm 1); returns the new weight.
fn ftrl(z: &mut f32, n: &mut f32, weight: f32, gradient: f32, rates: &FtrlRates) -> f32 {
    let grown = *n + gradient * gradient;
    let sigma = (grown.sqrt() - n.sqrt()) / rates.alpha;
    *z += gradient - sigma * weight;
    *n = grown;
    kernels::ftrl_weight(*z, *n, rates)
}

/// Adds the weights of each row's slots to its logit: spans in order, a bag by its mean.
pub(super) fn add_logits(weights: &[f32], spans: &[Span], slots: Slots<'_>, logits: &mut [f32]) {
    for (row, logit) in logits.iter_mut().enumerate() {
        if row + 1 < slots.rows() {
            for &slot in slots.row(row + 1) {
                kernels::prefetch(weights, slot as usize);
            }
        }
        let slots = slots.row(row);
        let mut total = 0.0;
        for span in spans {
            let present = slots[span.range()].iter().filter(|slot| **slot != EMPTY_SLOT);
            let sum: f32 = present.map(|&slot| weights[slot as usize]).sum();
            total += share(slots, span) * sum;
        }
        *logit += total;
    }
}
