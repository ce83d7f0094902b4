//! The dense part: x₀ (embeddings of a row) → cross layers and tower → head → logit, and the gradients back to x₀.
//!
//! ```text
//! parallel:  x₀ ─┬─ cross layers ── x_L ─┐              stacked:  x₀ ── cross layers ── x_L ── tower ── h ── head
//!                └─ tower ───────── h ───┴─ head
//! ```
//!
//! The head is linear: logit = w·[x_L, h] + bias. In the parallel form without cross layers it reads h alone, without a tower
//! it reads x_L alone.

use super::block::{self, Block, Outer};
use super::config::{DcnConfig, Structure};
use super::crew::{BLOCK, Crew, Lane, Stage, Watch};
use super::cross::FullCross;
use super::deep::{DeepLayer, Dropout, Shift};
use super::embedding::Embedding;
use super::head::HeadPart;
use super::mixture::MixtureCross;
use super::parameters::Parameters;
use super::wide::Wide;
use crate::kernels::{self, Matrix, PackedMatrix};
use crate::model::Slots;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// All dense layers, and the blocks that go through them.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) parameters: Parameters,
    width: usize,
    stacked: bool,
    batch_norm: bool,
    cross: Vec<CrossLayer>,
    deep: Vec<DeepLayer>,
    head_cross: Option<HeadPart>,
    head_deep: Option<HeadPart>,
    bias: Range<usize>,
    blocks: Vec<Block>,
}

/// What all blocks of a step have in common.
pub(super) struct Pass<'a> {
    pub(super) embedding: &'a Embedding,
    pub(super) wide: Option<&'a Wide>,
    pub(super) dropouts: Dropouts,
    /// 1 / rows of the batch.
    pub(super) inverse_rows: f32,
}

/// What a step drops where.
#[derive(Debug, Clone)]
pub(super) struct Dropouts {
    /// Fields of a row.
    pub(super) embedding: Dropout,
    /// Outputs of each layer of the tower, and after these what is dropped between cross layers and head.
    pub(super) layers: Vec<Dropout>,
}

/// The part of a batch that one block works on.
pub(super) struct Share<'a> {
    /// Number of its first row.
    pub(super) first: usize,
    /// Rows of the embedding table.
    pub(super) narrowed: Slots<'a>,
    /// Slots as the layout has them, for the linear part.
    pub(super) slots: Slots<'a>,
    pub(super) labels: &'a [f32],
    /// Empty where all are 1.
    pub(super) weights: &'a [f32],
    /// What fields are multiplied by; empty where by nothing.
    pub(super) scales: &'a mut [f32],
    pub(super) logits: &'a mut [f32],
    /// ∂loss/∂logit, of the loss summed over the batch.
    pub(super) summed: &'a mut [f32],
    /// The same of the mean.
    pub(super) mean: &'a mut [f32],
    /// ∂x₀ of the mean, rows × width.
    pub(super) gradient_x0: &'a mut [f32],
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
            batch_norm: settings.batch_norm,
            cross,
            deep,
            blocks: Vec::new(),
        }
    }

    /// Every weight matrix that products of a step read, with what it is to be packed from.
    pub(super) fn packings(&mut self) -> Vec<(&mut PackedMatrix, Matrix<'_>)> {
        let values = &self.parameters.values;
        let cross = self.cross.iter_mut().flat_map(|layer| match layer {
            CrossLayer::Full(cross) => cross.packings(values),
            CrossLayer::Mixture(cross) => cross.packings(values),
        });
        cross.chain(self.deep.iter_mut().flat_map(|deep| deep.packings(values))).collect()
    }

    /// Slots of all blocks → logits, loss, gradients of x₀ and of all weights. Returns the summed loss.
    ///
    /// A block goes all the way without waiting for others. Only batch normalization makes it wait: statistics are those
    /// of the whole batch, so all blocks end each phase before any begins the next.
    pub(super) fn learn(&mut self, shares: Vec<Share<'_>>, pass: &Pass<'_>, crew: &mut Crew<'_>) -> f64 {
        let mut all_blocks = std::mem::take(&mut self.blocks);
        let rows = shares.iter().map(|share| share.labels.len()).sum();
        let blocks = block::cut(&mut all_blocks, rows, self.cross.len(), self.deep.len());
        let watch = crew.watch;
        let mut pieces: Vec<_> = shares.into_iter().zip(&mut *blocks).collect();
        let phases = 2 * self.deep.len() + 1;
        if self.batch_norm {
            for phase in 0..phases {
                let network = &*self;
                crew.each(pieces.iter_mut(), |(share, block), lane| {
                    network.phase(phase, pass, share, block, lane, watch);
                });
                self.end_phase(phase, pieces.iter().map(|(_, block)| &**block));
            }
        } else {
            let network = &*self;
            crew.each(pieces.iter_mut(), |(share, block), lane| {
                (0..phases).for_each(|phase| network.phase(phase, pass, share, block, lane, watch));
            });
        }
        let gradients = pieces.iter().flat_map(|(share, _)| share.mean.iter());
        self.parameters.gradients[self.bias.start] = gradients.map(|&value| f64::from(value)).sum::<f64>() as f32;
        drop(pieces);
        let blocks = &all_blocks[..rows.div_ceil(BLOCK)];
        self.weight_gradients(blocks, crew);
        let loss = blocks.iter().map(|block| block.loss).sum();
        self.blocks = all_blocks;
        loss
    }

    /// One phase of one block. With L layers in the tower, phase 0 ends with the product of the first, phase l finishes layer
    /// l − 1 and ends with the product of layer l, phase L is the head, phase L + 1 goes back through the last layer, and the
    /// last phase ends at x₀.
    fn phase(
        &self,
        phase: usize,
        pass: &Pass<'_>,
        share: &mut Share<'_>,
        block: &mut Block,
        lane: &mut Lane,
        watch: Watch<'_>,
    ) {
        let (values, tower) = (&self.parameters.values, self.deep.len());
        if phase == 0 {
            watch(Stage::Gather);
            block.x0.resize(block.rows * self.width, 0.0);
            pass.embedding.forward(share.narrowed, pass.dropouts.embedding, share.first, &mut block.x0, share.scales);
            watch(Stage::CrossForward);
            self.cross_forward(block, lane);
        }
        if (1..=tower).contains(&phase) {
            let layer = phase - 1;
            if self.batch_norm || pass.dropouts.layers[layer].keep < 1.0 {
                watch(Stage::Normalize);
                self.deep[layer].finish(values, pass.dropouts.layers[layer], share.first, &mut block.deep[layer]);
            }
        }
        if phase < tower {
            watch(Stage::TowerForward);
            let mut trace = std::mem::take(&mut block.deep[phase]);
            self.deep[phase].forward(values, block.deep_input(phase, self.stacked), &mut trace, lane);
            block.deep[phase] = trace;
        }
        if phase == tower {
            watch(Stage::Head);
            self.head(pass, share, block, lane);
        }
        if phase > tower {
            self.deep_backward(2 * tower - phase, share, block, lane, watch);
        }
        if (tower..2 * tower).contains(&phase) {
            // The layer that the next phase goes back through.
            let below = 2 * tower - 1 - phase;
            watch(if self.batch_norm { Stage::Normalize } else { Stage::TowerSplit });
            self.deep[below].gate(pass.dropouts.layers[below], &mut block.deep[below]);
        }
        if phase == 2 * tower {
            self.cross_backward(share.gradient_x0, block, lane, watch);
        }
    }

    /// What batch normalization needs of all blocks between two phases.
    fn end_phase<'a>(&mut self, phase: usize, blocks: impl Iterator<Item = &'a Block> + Clone) {
        let tower = self.deep.len();
        let layer = if phase < tower { phase } else { (2 * tower).wrapping_sub(1 + phase) };
        let Some(Shift::Norm(norm)) = self.deep.get_mut(layer).map(|deep| &mut deep.shift) else { return };
        if phase < tower {
            norm.gather(blocks.map(|block| &block.deep[layer].norm));
        } else {
            let rows = blocks.clone().map(|block| block.rows).sum();
            let traces = blocks.map(|block| &block.deep[layer].norm);
            norm.gather_gradients(traces, rows, &mut self.parameters.gradients);
        }
    }

    /// x₀ → x₁ … x_L.
    fn cross_forward(&self, block: &mut Block, lane: &mut Lane) {
        let (values, length) = (&self.parameters.values, block.x0.len());
        for (layer, cross) in self.cross.iter().enumerate() {
            let (before, after) = block.cross.split_at_mut(layer);
            let x = before.last().map_or(&block.x0[..], |below| &below.out);
            let trace = &mut after[0];
            trace.out.resize(length, 0.0);
            match cross {
                CrossLayer::Full(cross) => cross.forward(values, &block.x0, x, trace, lane),
                CrossLayer::Mixture(cross) => cross.forward(values, &block.x0, x, trace, lane),
            }
        }
    }

    /// x_L and h → logits → loss → their gradients.
    fn head(&self, pass: &Pass<'_>, share: &mut Share<'_>, block: &mut Block, lane: &mut Lane) {
        let values = &self.parameters.values;
        let drop = (pass.dropouts.layers[self.deep.len()], share.first);
        let none = (Dropout::NONE, share.first);
        let Share { logits, summed, mean, .. } = share;
        logits.fill(values[self.bias.start]);
        let mut dropped = std::mem::take(&mut block.dropped);
        if let Some(part) = &self.head_cross {
            part.forward(values, block.crossed(), drop, &mut dropped, logits);
        }
        if let (Some(part), Some(deep)) = (&self.head_deep, block.deep.last()) {
            part.forward(values, &deep.activated, none, &mut Vec::new(), logits);
        }
        if let Some(wide) = pass.wide {
            wide.forward(share.slots, logits);
        }
        block.loss = kernels::log_loss_with_logits(logits, share.labels, share.weights, summed);
        mean.copy_from_slice(summed);
        kernels::scale(pass.inverse_rows, mean);
        if let Some(part) = &self.head_cross {
            let mut gradient = lane.take(block.x0.len());
            let mut of_weight = std::mem::take(&mut block.head_cross);
            let x = if drop.0.keep == 1.0 { block.crossed() } else { &dropped };
            part.backward(values, x, drop, mean, &mut of_weight, &mut gradient[..x.len()]);
            (block.gradient_x, block.head_cross) = (gradient, of_weight);
        }
        if let (Some(part), Some(deep)) = (&self.head_deep, block.deep.last_mut()) {
            let length = deep.activated.len();
            deep.gradient = lane.take(length);
            let gradient = &mut deep.gradient[..length];
            part.backward(values, &deep.activated, none, mean, &mut block.head_deep, gradient);
            kernels::relu_backward(gradient, &deep.activated);
        }
        block.dropped = dropped;
    }

    /// Back through one layer of the tower, from the gradient of what its ReLU read.
    fn deep_backward(&self, layer: usize, share: &mut Share<'_>, block: &mut Block, lane: &mut Lane, watch: Watch<'_>) {
        let values = &self.parameters.values;
        let (before, after) = block.deep.split_at_mut(layer);
        let target = match before.last_mut() {
            Some(below) => {
                let length = below.activated.len();
                below.gradient = lane.take(length);
                (&mut below.gradient[..length], Some(&below.activated[..]))
            }
            None if self.stacked => {
                block.gradient_x = lane.take(block.x0.len());
                (&mut block.gradient_x[..block.x0.len()], None)
            }
            None => (&mut *share.gradient_x0, None),
        };
        self.deep[layer].backward(values, target, &mut after[0], lane, watch);
    }

    /// Back through the cross layers, from ∂x_L to ∂x₀.
    fn cross_backward(&self, gradient_x0: &mut [f32], block: &mut Block, lane: &mut Lane, watch: Watch<'_>) {
        let length = block.x0.len();
        if self.stacked || self.deep.is_empty() {
            gradient_x0.fill(0.0);
        }
        if !self.stacked && self.head_cross.is_none() {
            return;
        }
        let gradient = &mut block.gradient_x[..length];
        for (layer, (cross, trace)) in self.cross.iter().zip(&mut block.cross).enumerate().rev() {
            let (x0, first) = (&block.x0, layer == 0);
            match cross {
                CrossLayer::Full(cross) => {
                    cross.backward(x0, gradient, gradient_x0, first, trace, lane, watch);
                }
                CrossLayer::Mixture(cross) => {
                    cross.backward(x0, gradient, gradient_x0, first, trace, lane, watch);
                }
            }
        }
        if self.cross.is_empty() {
            kernels::add_assign(gradient_x0, gradient);
        }
        lane.give(&mut block.gradient_x);
    }

    /// Gradients of all weights from what the blocks kept.
    fn weight_gradients(&mut self, blocks: &[Block], crew: &mut Crew<'_>) {
        (crew.watch)(Stage::WeightGradients);
        let gradients = &mut self.parameters.gradients;
        let mut outers: Vec<Outer> = Vec::new();
        for (layer, cross) in self.cross.iter().enumerate() {
            let (bias, of_layer) = match cross {
                CrossLayer::Full(cross) => cross.gradients(layer),
                CrossLayer::Mixture(cross) => cross.gradients(layer),
            };
            block::add_up(blocks.iter().map(|block| &block.cross[layer].bias), &mut gradients[bias]);
            outers.extend(of_layer);
        }
        for (layer, deep) in self.deep.iter().enumerate() {
            if let Shift::Bias(bias) = &deep.shift {
                block::add_up(blocks.iter().map(|block| &block.deep[layer].bias), &mut gradients[bias.clone()]);
            }
            outers.push(deep.gradients(layer, self.stacked));
        }
        if let Some(part) = &self.head_cross {
            block::add_up(blocks.iter().map(|block| &block.head_cross), &mut gradients[part.weight.clone()]);
        }
        if let Some(part) = &self.head_deep {
            block::add_up(blocks.iter().map(|block| &block.head_deep), &mut gradients[part.weight.clone()]);
        }
        let runs = Outer::runs(&outers, &blocks[0], gradients);
        crew.each(runs.into_iter(), |run, lane| run.add_up(blocks, lane));
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
