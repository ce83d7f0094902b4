//! One input of the head: logit += w · dropout(x) for each row.
//!
//! With g = ∂loss/∂logit of a row: ∂x = dropout(g w), by the same choice, and ∂w = Σ rows g dropout(x).

use super::crew::{self, BLOCK, Crew};
use super::deep::Dropout;
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
    /// dropout(x), where any is dropped.
    dropped: Vec<f32>,
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
        HeadPart {
            width,
            weight: parameters.matrix(name.into(), &[width], start, generator),
            blocks: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub(super) fn forward(
        &mut self,
        values: &[f32],
        x: &[f32],
        dropout: Dropout,
        logits: &mut [f32],
        crew: &mut Crew<'_>,
    ) {
        let (width, weight, rows) = (self.width, &values[self.weight.clone()], logits.len());
        let run = crew.run(rows);
        if dropout.keep == 1.0 {
            crew.rows(rows, logits.chunks_mut(run), |lane, logits| {
                add_dots(weight, &x[lane.first * width..(lane.first + logits.len()) * width], logits);
            });
            return;
        }
        crew::fit(&mut self.dropped, x.len());
        let parts = logits.chunks_mut(run).zip(self.dropped.chunks_mut(run * width));
        crew.rows(rows, parts, |lane, (logits, dropped)| {
            dropped.copy_from_slice(&x[lane.first * width..][..dropped.len()]);
            kernels::dropout(dropped, dropout.keep, dropout.seed, (lane.first * width) as u64);
            add_dots(weight, dropped, logits);
        });
    }

    /// Writes `gradient_x`.
    pub(super) fn backward(
        &mut self,
        parameters: &mut Parameters,
        x: &[f32],
        dropout: Dropout,
        gradients: &[f32],
        gradient_x: &mut [f32],
        crew: &mut Crew<'_>,
    ) {
        let (width, rows) = (self.width, gradients.len());
        crew::fit(&mut self.blocks, rows.div_ceil(BLOCK) * width);
        let x = if dropout.keep == 1.0 { x } else { &self.dropped };
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
                kernels::dropout(gradient_x, dropout.keep, dropout.seed, (first * width) as u64);
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
