//! One input of the head: logit += w · dropout(x) for each row.
//!
//! With g = ∂loss/∂logit of a row: ∂x = dropout(g w), by the same choice, and ∂w = Σ rows g dropout(x).

use super::crew;
use super::deep::Dropout;
use super::parameters::{Parameters, Start};
use crate::kernels;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// The weights for one input of `width` values a row.
#[derive(Debug, Clone)]
pub(super) struct HeadPart {
    pub(super) width: usize,
    pub(super) weight: Range<usize>,
}

impl HeadPart {
    /// `fan_in` is the width of all inputs of the head together.
    pub(super) fn new(
        name: &str,
        width: usize,
        fan_in: usize,
        parameters: &mut Parameters,
        generator: &mut Xoshiro256PlusPlus,
    ) -> Self {
        let start = Start::Xavier { fan_in, fan_out: 1 };
        HeadPart { width, weight: parameters.matrix(name.into(), &[width], start, generator) }
    }

    /// `x` (rows × width, of rows from `first` on) is added to `logits`; `dropped` keeps dropout(x) where any is dropped.
    pub(super) fn forward(
        &self,
        values: &[f32],
        x: &[f32],
        (dropout, first): (Dropout, usize),
        dropped: &mut Vec<f32>,
        logits: &mut [f32],
    ) {
        let weight = &values[self.weight.clone()];
        if dropout.keep == 1.0 {
            return add_dots(weight, x, logits);
        }
        crew::fit(dropped, x.len());
        dropped.copy_from_slice(x);
        kernels::dropout(dropped, dropout.keep, dropout.seed, (first * self.width) as u64);
        add_dots(weight, dropped, logits);
    }

    /// Writes `gradient_x` and the block's part of ∂w; `x` is dropout(x).
    pub(super) fn backward(
        &self,
        values: &[f32],
        x: &[f32],
        (dropout, first): (Dropout, usize),
        gradients: &[f32],
        gradient_weight: &mut Vec<f32>,
        gradient_x: &mut [f32],
    ) {
        crew::fit(gradient_weight, self.width);
        kernels::linear_backward(gradients, &values[self.weight.clone()], x, gradient_weight, gradient_x);
        kernels::dropout(gradient_x, dropout.keep, dropout.seed, (first * self.width) as u64);
    }
}

/// logit += w · x for each row of `x`.
pub(super) fn add_dots(weight: &[f32], x: &[f32], logits: &mut [f32]) {
    for (logit, x) in logits.iter_mut().zip(x.chunks_exact(weight.len())) {
        *logit += kernels::dot(weight, x);
    }
}
