//! Every dense tensor of the network in one vector, with gradients and moments beside it in the same order.
//!
//! One vector makes the optimizer one pass over memory, and lets layers be plain ranges: a layer reads its weights from
//! `values` and writes its gradients to the same range of `gradients`.

use super::config::{DcnConfig, WeightDecayForm};
use crate::kernels::{self, AdamStep};
use crate::model::Threads;
use rand_core::RngCore;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// What a tensor starts from. `fan_in` and `fan_out` are the numbers of its inputs and outputs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// Uniform within ±√(6 / (fan_in + fan_out)) (Glorot & Bengio 2010): cross layers, experts, head.
    Xavier { fan_in: usize, fan_out: usize },
    /// Normal of variance 2 / fan_in (He et al. 2015): the tower, whose ReLUs halve the variance.
    He { fan_in: usize },
}

/// One tensor: its name in a bundle, its shape, and where its values lie.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) range: Range<usize>,
    decays: bool,
}

/// The dense tensors.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    pub(super) tensors: Vec<Tensor>,
    pub(super) values: Vec<f32>,
    pub(super) gradients: Vec<f32>,
    first_moments: Vec<f32>,
    second_moments: Vec<f32>,
}

impl Parameters {
    /// A matrix, or a stack of them: weight decay acts on it.
    pub(super) fn matrix(
        &mut self,
        name: String,
        shape: &[usize],
        start: Start,
        generator: &mut Xoshiro256PlusPlus,
    ) -> Range<usize> {
        let length = shape.iter().product::<usize>();
        match start {
            Start::Xavier { fan_in, fan_out } => {
                let bound = (6.0 / (fan_in + fan_out) as f32).sqrt();
                self.values.extend((0..length).map(|_| uniform(generator) * bound));
            }
            Start::He { fan_in } => {
                let deviation = (2.0 / fan_in as f32).sqrt();
                self.values.extend((0..length).map(|_| normal(generator) * deviation));
            }
        }
        self.describe(name, shape, true)
    }

    /// A bias, or a tensor of batch normalization, all of one value: weight decay leaves it alone.
    pub(super) fn vector(&mut self, name: String, length: usize, value: f32) -> Range<usize> {
        self.values.resize(self.values.len() + length, value);
        self.describe(name, &[length], false)
    }

    /// Names the values just added.
    fn describe(&mut self, name: String, shape: &[usize], decays: bool) -> Range<usize> {
        let range = self.gradients.len()..self.values.len();
        for other in [&mut self.gradients, &mut self.first_moments, &mut self.second_moments] {
            other.resize(range.end, 0.0);
        }
        self.tensors.push(Tensor { name, shape: shape.to_vec(), range: range.clone(), decays });
        range
    }

    /// One step of Adam on every tensor. `step.learning_rate` already holds the schedule's multiplier.
    pub(super) fn adam(&mut self, config: &DcnConfig, step: &AdamStep, threads: Threads<'_>) {
        let settings = config.settings();
        let decay = settings.weight_decay;
        let mut pieces = Vec::new();
        let mut rest =
            (&mut self.values[..], &mut self.gradients[..], &mut self.first_moments[..], &mut self.second_moments[..]);
        for tensor in &self.tensors {
            let length = tensor.range.len();
            let (values, rest0) = rest.0.split_at_mut(length);
            let (gradients, rest1) = rest.1.split_at_mut(length);
            let (first, rest2) = rest.2.split_at_mut(length);
            let (second, rest3) = rest.3.split_at_mut(length);
            rest = (rest0, rest1, rest2, rest3);
            let moments = first.chunks_mut(PIECE).zip(second.chunks_mut(PIECE));
            let tensor_pieces = values.chunks_mut(PIECE).zip(gradients.chunks_mut(PIECE)).zip(moments);
            pieces.extend(tensor_pieces.map(|piece| (decay > 0.0 && tensor.decays, piece)));
        }
        threads.for_each(pieces, |(decays, ((values, gradients), (first, second)))| {
            if decays {
                match settings.weight_decay_form {
                    WeightDecayForm::Decoupled => kernels::scale(1.0 - step.learning_rate * decay, values),
                    WeightDecayForm::L2 => kernels::axpy(decay, values, gradients),
                }
            }
            kernels::adam(values, first, second, gradients, step);
        });
    }
}

/// Values in one piece of the optimizer's work: four arrays of it fit the second-level cache.
const PIECE: usize = 32 * 1024;

/// Uniform in [−1, 1).
pub(super) fn uniform(generator: &mut Xoshiro256PlusPlus) -> f32 {
    (generator.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// Normal of mean 0 and variance 1.
pub(super) fn normal(generator: &mut Xoshiro256PlusPlus) -> f32 {
    StandardNormal.sample(generator)
}
