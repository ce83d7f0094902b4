//! One input of the head: logit += w · x for each row.
//!
//! With g = ∂loss/∂logit of a row: ∂x = g w and ∂w = Σ rows g x.

use super::crew::{self, BLOCK, Crew};
use super::parameters::{Parameters, Start};
use crate::kernels;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// The weights for one input of `width` values a row.
#[derive(Debug, Clone)]
pub(super) struct HeadPart {
    width: usize,
    weight: Range<usize>,
    /// ∂w over blocks of rows.
    blocks: Vec<f32>,
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
        HeadPart { width, weight: parameters.matrix(name.into(), &[width], start, generator), blocks: Vec::new() }
    }

    pub(super) fn forward(&self, values: &[f32], x: &[f32], logits: &mut [f32], crew: &mut Crew<'_>) {
        let (width, weight, rows) = (self.width, &values[self.weight.clone()], logits.len());
        let parts = logits.chunks_mut(crew.run(rows));
        crew.rows(rows, parts, |lane, logits| {
            add_dots(weight, &x[lane.first * width..(lane.first + logits.len()) * width], logits);
        });
    }

    /// Writes `gradient_x`.
    pub(super) fn backward(
        &mut self,
        parameters: &mut Parameters,
        x: &[f32],
        gradients: &[f32],
        gradient_x: &mut [f32],
        crew: &mut Crew<'_>,
    ) {
        let (width, rows) = (self.width, gradients.len());
        crew::fit(&mut self.blocks, rows.div_ceil(BLOCK) * width);
        let (weight, run) = (&parameters.values[self.weight.clone()], crew.run(rows));
        let parts = gradient_x.chunks_mut(run * width).zip(self.blocks.chunks_mut(run / BLOCK * width));
        crew.rows(rows, parts, |lane, (gradient_x, blocks)| {
            for (block, (gradient_x, sum)) in
                gradient_x.chunks_mut(BLOCK * width).zip(blocks.chunks_mut(width)).enumerate()
            {
                sum.fill(0.0);
                let first = lane.first + block * BLOCK;
                let rows = gradients[first..].iter().zip(x[first * width..].chunks_exact(width));
                for ((&gradient, x), gradient_x) in rows.zip(gradient_x.chunks_exact_mut(width)) {
                    kernels::axpy(gradient, x, sum);
                    gradient_x.iter_mut().zip(weight).for_each(|(out, weight)| *out = gradient * weight);
                }
            }
        });
        crew::add_blocks(&self.blocks, width, &mut parameters.gradients[self.weight.clone()]);
    }
}

/// logit += w · x for each row of `x`.
pub(super) fn add_dots(weight: &[f32], x: &[f32], logits: &mut [f32]) {
    for (logit, x) in logits.iter_mut().zip(x.chunks_exact(weight.len())) {
        *logit += kernels::dot(weight, x);
    }
}
