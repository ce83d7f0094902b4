//! The dense part: x₀ (embeddings of a row) → cross layers and tower → head → logit, and the gradients back to x₀.
//!
//! ```text
//! parallel:  x₀ ─┬─ cross layers ── x_L ─┐              stacked:  x₀ ── cross layers ── x_L ── tower ── h ── head
//!                └─ tower ───────── h ───┴─ head
//! ```
//!
//! The head is linear: logit = w·[x_L, h] + bias. In the parallel form without cross layers it reads h alone, without a tower
//! it reads x_L alone.

use super::config::{DcnConfig, Structure};
use super::crew::{self, Crew};
use super::cross::FullCross;
use super::deep::{DeepLayer, Dropout};
use super::head::HeadPart;
use super::mixture::MixtureCross;
use super::parameters::Parameters;
use crate::kernels;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// All dense layers with their weights and buffers.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) parameters: Parameters,
    width: usize,
    stacked: bool,
    cross: Vec<CrossLayer>,
    /// x₁ … x_L, each rows × width.
    crossed: Vec<Vec<f32>>,
    deep: Vec<DeepLayer>,
    head_cross: Option<HeadPart>,
    head_deep: Option<HeadPart>,
    bias: Range<usize>,
    /// ∂x₍l₎ while it travels down the cross layers.
    gradient_x: Vec<f32>,
    /// ∂x₀, rows × width.
    pub(super) gradient_x0: Vec<f32>,
    buffer: Vec<f32>,
}

/// A cross layer of either form.
#[derive(Debug, Clone)]
enum CrossLayer {
    Full(FullCross),
    Mixture(Box<MixtureCross>),
}

impl Network {
    /// `width` is that of x₀.
    pub(super) fn new(config: &DcnConfig, width: usize, generator: &mut Xoshiro256PlusPlus) -> Self {
        let settings = config.settings();
        let mut parameters = Parameters::default();
        let mut cross = Vec::new();
        for layer in 0..settings.cross_layers {
            let name = format!("cross.{layer}");
            cross.push(match settings.cross_rank {
                0 => CrossLayer::Full(FullCross::new(&name, width, &mut parameters, generator)),
                rank => {
                    let shape = (width, rank, settings.cross_experts);
                    CrossLayer::Mixture(Box::new(MixtureCross::new(&name, shape, &mut parameters, generator)))
                }
            });
        }
        let mut deep = Vec::new();
        let mut inputs = width;
        for (layer, &outputs) in settings.deep.iter().enumerate() {
            let (name, shape) = (format!("deep.{layer}"), (inputs, outputs));
            deep.push(DeepLayer::new(&name, shape, settings.batch_norm, &mut parameters, generator));
            inputs = outputs;
        }
        let reads = HeadReads::of(config);
        let deep_width = settings.deep.last().copied().unwrap_or(0);
        let fan_in = if reads.cross { width } else { 0 } + if reads.deep { deep_width } else { 0 };
        let mut part = |name: &str, width| HeadPart::new(name, width, fan_in, &mut parameters, generator);
        Network {
            head_cross: reads.cross.then(|| part("head.cross", width)),
            head_deep: reads.deep.then(|| part("head.deep", deep_width)),
            bias: parameters.vector("head.bias".into(), 1, 0.0),
            parameters,
            width,
            stacked: settings.structure == Structure::Stacked,
            crossed: vec![Vec::new(); cross.len()],
            cross,
            deep,
            gradient_x: Vec::new(),
            gradient_x0: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// `x0` (rows × width) → `logits`. `dropout` gives what each layer of the tower drops, and after these what is
    /// dropped between cross layers and head.
    pub(super) fn forward(
        &mut self,
        x0: &[f32],
        dropout: impl Fn(usize) -> Dropout,
        logits: &mut [f32],
        crew: &mut Crew<'_>,
    ) {
        let values = &self.parameters.values;
        for (layer, cross) in self.cross.iter_mut().enumerate() {
            let (before, after) = self.crossed.split_at_mut(layer);
            let (x, out) = (before.last().map_or(x0, |x| &x[..]), &mut after[0]);
            crew::fit(out, x0.len());
            match cross {
                CrossLayer::Full(cross) => cross.forward(values, x0, x, out, crew),
                CrossLayer::Mixture(cross) => cross.forward(values, x0, x, out, crew),
            }
        }
        let last = self.crossed.last().map_or(x0, |x| &x[..]);
        for layer in 0..self.deep.len() {
            let (before, after) = self.deep.split_at_mut(layer);
            let x = before.last().map_or(if self.stacked { last } else { x0 }, |below| &below.activated);
            after[0].forward(values, x, dropout(layer), crew);
        }
        logits.fill(values[self.bias.start]);
        if let Some(part) = &mut self.head_cross {
            part.forward(values, last, dropout(self.deep.len()), logits, crew);
        }
        if let (Some(part), Some(deep)) = (&mut self.head_deep, self.deep.last()) {
            part.forward(values, &deep.activated, Dropout::NONE, logits, crew);
        }
    }

    /// Gradients of the logits → gradients of all weights, and [`Network::gradient_x0`].
    pub(super) fn backward(
        &mut self,
        x0: &[f32],
        dropout: impl Fn(usize) -> Dropout,
        gradients: &[f32],
        crew: &mut Crew<'_>,
    ) {
        let (parameters, length) = (&mut self.parameters, x0.len());
        parameters.gradients[self.bias.start] = sum_in_order(gradients);
        for buffer in [&mut self.gradient_x, &mut self.gradient_x0, &mut self.buffer] {
            crew::fit(buffer, length);
        }
        let last = self.crossed.last().map_or(x0, |x| &x[..]);
        if let Some(part) = &mut self.head_cross {
            part.backward(parameters, last, dropout(self.deep.len()), gradients, &mut self.gradient_x, crew);
        }
        if let (Some(part), Some(deep)) = (&mut self.head_deep, self.deep.last_mut()) {
            crew::fit(&mut deep.gradient, deep.activated.len());
            part.backward(parameters, &deep.activated, Dropout::NONE, gradients, &mut deep.gradient, crew);
        }
        for layer in (1..self.deep.len()).rev() {
            let (before, after) = self.deep.split_at_mut(layer);
            let below = &mut before[layer - 1];
            crew::fit(&mut below.gradient, below.activated.len());
            after[0].backward(parameters, &below.activated, dropout(layer), &mut below.gradient, crew);
        }
        match self.deep.first_mut() {
            Some(deep) if self.stacked => {
                deep.backward(parameters, last, dropout(0), &mut self.gradient_x, crew);
                self.gradient_x0.fill(0.0);
            }
            Some(deep) => deep.backward(parameters, x0, dropout(0), &mut self.gradient_x0, crew),
            None => self.gradient_x0.fill(0.0),
        }
        if !self.stacked && self.head_cross.is_none() {
            return;
        }
        let (gradient_x, gradient_x0, buffer) = (&mut self.gradient_x, &mut self.gradient_x0, &mut self.buffer);
        for (layer, cross) in self.cross.iter_mut().enumerate().rev() {
            let x = if layer == 0 { x0 } else { &self.crossed[layer - 1][..] };
            match cross {
                CrossLayer::Full(cross) => cross.backward(parameters, x0, x, gradient_x, gradient_x0, buffer, crew),
                CrossLayer::Mixture(cross) => cross.backward(parameters, x0, x, gradient_x, gradient_x0, buffer, crew),
            }
        }
        let run = crew.run(length / self.width) * self.width;
        let parts = gradient_x0.chunks_mut(run).zip(gradient_x.chunks(run));
        crew.rows(length / self.width, parts, |_, (gradient_x0, gradient_x)| {
            kernels::add_assign(gradient_x0, gradient_x);
        });
    }

    /// Sets the bias of the head: the log-odds of a click when nothing else is known.
    pub(super) fn set_bias(&mut self, logit: f32) {
        self.parameters.values[self.bias.start] = logit;
    }

    /// Name, shape and values of each tensor of the frozen network; batch normalization is folded into weights.
    pub(super) fn frozen(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let values = &self.parameters.values;
        let plain = self.parameters.tensors.iter().filter(|tensor| !tensor.name.starts_with("deep."));
        let mut tensors: Vec<_> = plain
            .map(|tensor| (tensor.name.clone(), tensor.shape.clone(), values[tensor.range.clone()].to_vec()))
            .collect();
        for (layer, deep) in self.deep.iter().enumerate() {
            let (weight, bias) = deep.frozen(values);
            tensors.push((format!("deep.{layer}.weight"), vec![weight.len() / bias.len(), bias.len()], weight));
            tensors.push((format!("deep.{layer}.bias"), vec![bias.len()], bias));
        }
        tensors
    }
}

/// What the head reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadReads {
    pub(super) cross: bool,
    pub(super) deep: bool,
}

impl HeadReads {
    pub(super) fn of(config: &DcnConfig) -> Self {
        let settings = config.settings();
        let deep = !settings.deep.is_empty();
        let cross = match settings.structure {
            Structure::Stacked => !deep,
            Structure::Parallel => !deep || settings.cross_layers > 0,
        };
        HeadReads { cross, deep }
    }
}

/// One chain of additions in f64.
fn sum_in_order(values: &[f32]) -> f32 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() as f32
}
