//! A frozen DCN v2: slots → logits, on weights packed once. Cannot learn.
//!
//! Rows are worked off in blocks that stay in the cache. Every operation of a row is the same whatever its block, so its bits
//! depend on that row alone.

use super::config::DcnConfig;
use super::embedding;
use super::experts::{Experts, Hidden};
use super::frozen::{Buffers, Known, ScoringPrecision, Weight};
use super::head::add_dots;
use super::narrow::Narrow;
use super::network::HeadReads;
use super::sharing::{Common, Readers};
use super::wide;
use crate::error::{Error, Result};
use crate::kernels::{Matrix, Part, Precision};
use crate::model::{Layout, OwnSpans, Predict, Slots};
use std::sync::Arc;

/// Values of a tensor, in memory or mapped.
pub type Values = Arc<dyn AsRef<[f32]> + Send + Sync>;

/// A DCN v2 that predicts.
pub struct DcnModel {
    config: DcnConfig,
    layout: Layout,
    /// Name, shape and values, in the order of [`DcnModel::tensors`].
    tensors: Vec<(String, Vec<usize>, Values)>,
    narrow: Narrow,
    known: Known,
    embedding: Values,
    wide: Option<Values>,
    cross: Vec<(Cross, Values)>,
    deep: Vec<(Weight, Values)>,
    head_cross: Option<Values>,
    head_deep: Option<Values>,
    bias: f32,
}

/// Weights of a cross layer.
enum Cross {
    Full(Weight),
    Mixture(Experts),
}

impl Cross {
    fn full(&self) -> Option<&Weight> {
        match self {
            Cross::Full(weight) => Some(weight),
            Cross::Mixture(_) => None,
        }
    }
}

/// Buffers of [`DcnModel::predict`] for one block of rows.
#[derive(Debug, Default)]
pub struct DcnScratch {
    layers: Buffers,
    narrowed: Vec<u32>,
    x0: Vec<f32>,
    x: Vec<f32>,
    hidden: Hidden,
    deep: Vec<f32>,
    deep_next: Vec<f32>,
    /// For rows that have nothing in common.
    nothing: Common,
}

impl DcnModel {
    /// Builds the model from tensors found by name (see [`DcnModel::tensors`] for names and shapes); it scores in the numbers
    /// that [`DcnConfig::scoring`] names.
    ///
    /// # Errors
    /// [`Error::Bundle`] naming the first tensor that is missing, of another shape, or holds a number that is not finite.
    pub fn from_tensors(
        config: DcnConfig,
        layout: Layout,
        mut lookup: impl FnMut(&str) -> Option<(Vec<usize>, Values)>,
    ) -> Result<Self> {
        let settings = config.settings();
        let (table_rows, dim) = (layout.table_rows, settings.embedding_dim);
        let precision = config.scoring();
        let mut tensors = Vec::new();
        let mut take = |name: String, shape: &[usize]| -> Result<Values> {
            let (got, values) = lookup(&name).ok_or_else(|| refuse(&name, "is missing"))?;
            let length = (*values).as_ref().len();
            if got != shape || length != shape.iter().product::<usize>() {
                return Err(refuse(&name, &format!("expected shape {shape:?}, got {got:?} with {length} values")));
            }
            if let Some(at) = (*values).as_ref().iter().position(|value| !value.is_finite()) {
                return Err(refuse(&name, &format!("expected finite numbers, got {} at {at}", (*values).as_ref()[at])));
            }
            tensors.push((name, got, values.clone()));
            Ok(values)
        };
        let narrowed = settings.embedding_min_count > 1;
        let rows = if narrowed { Some(take("embedding.rows".into(), &[table_rows])?) } else { None };
        let narrow = Narrow::restored(&config, &layout, rows.as_ref().map(|rows| (**rows).as_ref()))?;
        let width = narrow.fields.len() * dim;
        let embedding = take("embedding.weight".into(), &[narrow.table_rows, dim])?;
        let has_wide = settings.wide != super::WideRule::None;
        let wide = if has_wide { Some(take("wide.weight".into(), &[table_rows])?) } else { None };
        // Ranges matter in 8 bits only.
        let ranged = if precision == ScoringPrecision::Int8 { (*embedding).as_ref() } else { &[] };
        let known = Known::new(ranged, dim, narrow.fields.len());
        // A layer that reads x₀ shares sums among rows, where it scores in 8 bits.
        let weight = |values: &Values, inputs, outputs, reads_x0: bool| {
            let values = (**values).as_ref();
            let known = (reads_x0 && precision == ScoringPrecision::Int8).then(|| known.weight(values, outputs));
            known.flatten().unwrap_or_else(|| Weight::new(values, inputs, outputs, precision))
        };
        let mut cross = Vec::new();
        for layer in 0..settings.cross_layers {
            let (rank, experts) = (settings.cross_rank, settings.cross_experts);
            let mut take = |tensor: &str, shape: &[usize]| take(format!("cross.{layer}.{tensor}"), shape);
            let weights = if rank == 0 {
                Cross::Full(weight(&take("weight", &[width, width])?, width, width, layer == 0))
            } else {
                let (down, core) = (take("down", &[width, experts * rank])?, take("core", &[experts, rank, rank])?);
                let (up, gate) = (take("up", &[experts * rank, width])?, take("gate", &[width, experts])?);
                let views = [
                    Matrix::new((*down).as_ref(), width, experts * rank),
                    Matrix::new((*core).as_ref(), experts * rank, rank),
                    Matrix::new((*up).as_ref(), experts * rank, width),
                    Matrix::new((*gate).as_ref(), width, experts),
                ];
                Cross::Mixture(Experts::pack(views, Precision::F32))
            };
            cross.push((weights, take("bias", &[width])?));
        }
        let mut deep = Vec::new();
        let mut inputs = width;
        for (layer, &outputs) in settings.deep.iter().enumerate() {
            let values = take(format!("deep.{layer}.weight"), &[inputs, outputs])?;
            let reads_x0 = layer == 0 && settings.structure == super::Structure::Parallel;
            deep.push((weight(&values, inputs, outputs, reads_x0), take(format!("deep.{layer}.bias"), &[outputs])?));
            inputs = outputs;
        }
        let reads = HeadReads::of(&config);
        let head_cross = if reads.cross { Some(take("head.cross".into(), &[width])?) } else { None };
        let head_deep = if reads.deep { Some(take("head.deep".into(), &[inputs])?) } else { None };
        let bias = (*take("head.bias".into(), &[1])?).as_ref()[0];
        Ok(DcnModel {
            config,
            layout,
            tensors,
            narrow,
            known,
            embedding,
            wide,
            cross,
            deep,
            head_cross,
            head_deep,
            bias,
        })
    }

    /// Name, shape and values of every tensor, to be stored.
    ///
    /// With D values in x₀, E experts of rank R and T slots: `embedding.weight` T × dim (with `embedding_min_count` fewer rows, and
    /// `embedding.rows` T: the row of each slot, −1 for rare ones), `wide.weight` T; for each cross layer
    /// `cross.i.weight` D × D or `down` D × E·R, `core` E × R × R, `up` E·R × D, `gate` D × E, and `bias` D; for each layer of the
    /// tower `deep.i.weight` inputs × outputs, `deep.i.bias`; `head.cross` D, `head.deep`, `head.bias` 1.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        self.tensors.iter().map(|(name, shape, values)| (name.clone(), shape.clone(), (**values).as_ref())).collect()
    }

    /// The same network, scoring in other numbers.
    pub fn in_precision(&self, precision: ScoringPrecision) -> Self {
        let lookup = |name: &str| {
            let (_, shape, values) = self.tensors.iter().find(|(tensor, ..)| tensor == name)?;
            Some((shape.clone(), values.clone()))
        };
        let config = self.config.clone().with_scoring(precision);
        DcnModel::from_tensors(config, self.layout.clone(), lookup).expect("these tensors made a model before")
    }

    /// The settings it was made with.
    pub fn config(&self) -> &DcnConfig {
        &self.config
    }

    /// The layout of its rows.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Rows worked on at a time. x₀ and x of a block share the second cache with the weights of one layer, which in `f32` do not
    /// fit it anyway: then more rows are worth their reading.
    fn block_rows(&self) -> usize {
        match self.config.scoring() {
            ScoringPrecision::F32 => 128,
            ScoringPrecision::Int8 => 64,
        }
    }

    /// What reads x₀.
    fn readers(&self) -> Readers<'_> {
        Readers {
            table: (*self.embedding).as_ref(),
            dim: self.config.settings().embedding_dim,
            narrow: &self.narrow,
            known: &self.known,
            cross: self.cross.first().and_then(|(cross, _)| cross.full()).filter(|weight| weight.known().is_some()),
            deep: self.deep.first().map(|(weight, _)| weight).filter(|weight| weight.known().is_some()),
        }
    }

    /// Works out what rows have in common that have the slots of `row` in all spans but their `own`.
    pub(super) fn share(&self, row: Slots<'_>, own: &OwnSpans, common: &mut Common) {
        common.of(row, own, &self.readers());
    }

    /// [`Predict::predict`] of rows with this in common.
    pub(super) fn predict_own(&self, slots: Slots<'_>, common: &Common, scratch: &mut DcnScratch, logits: &mut [f32]) {
        assert_eq!(slots.rows(), logits.len(), "one logit for each row");
        assert_eq!(slots.width(), self.layout.width(), "positions of a row");
        let most = self.block_rows();
        let blocks = logits.len().div_ceil(most).max(1);
        let rows = logits.len().div_ceil(blocks).max(1);
        for (block, logits) in logits.chunks_mut(rows).enumerate() {
            let first = block * rows;
            self.predict_block(slots.range(first..first + logits.len()), common, scratch, logits);
        }
    }

    /// One block of rows.
    fn predict_block(&self, slots: Slots<'_>, common: &Common, scratch: &mut DcnScratch, logits: &mut [f32]) {
        let rows = slots.rows();
        let Readers { table, dim, narrow, known, cross, deep: tower } = self.readers();
        let width = narrow.fields.len() * dim;
        let DcnScratch { layers, narrowed, x0, x, hidden, deep, deep_next, nothing: _ } = scratch;
        x0.resize(rows * width, 0.0);
        narrow.fill(slots, narrowed);
        if !common.x0().is_empty() {
            x0.chunks_exact_mut(width).for_each(|x0| x0.copy_from_slice(common.x0()));
        }
        let own = common.own().iter().map(|field| *field as usize);
        embedding::gather_some(table, dim, &narrow.fields, own, narrow.view(slots, narrowed), x0);
        if cross.is_some() || tower.is_some() {
            layers.read_x0(Matrix::new(x0, rows, width), common.own(), known);
        }
        x.clear();
        x.extend_from_slice(x0);
        for (weights, bias) in &self.cross {
            let bias = (**bias).as_ref();
            match weights {
                Cross::Full(weight) => {
                    weight.cross(bias, x0, x, Part { lines: common.lines(), sums: common.cross() }, layers);
                }
                Cross::Mixture(experts) => {
                    let settings = self.config.settings();
                    hidden.fit(rows, settings.cross_experts, settings.cross_rank);
                    layers.mixture(experts, &mut hidden.view_mut(), bias, x0, x);
                }
            }
        }
        let stacked = self.config.settings().structure == super::Structure::Stacked;
        let mut from = if stacked { &x[..] } else { &x0[..] };
        for (weight, bias) in &self.deep {
            let own = Part { lines: common.lines(), sums: common.deep() };
            weight.relu((**bias).as_ref(), Matrix::new(from, rows, from.len() / rows), deep_next, own, layers);
            std::mem::swap(deep, deep_next);
            from = deep;
        }
        logits.fill(self.bias);
        if let Some(weight) = &self.head_cross {
            add_dots((**weight).as_ref(), x, logits);
        }
        if let Some(weight) = &self.head_deep {
            add_dots((**weight).as_ref(), from, logits);
        }
        if let Some(weights) = &self.wide {
            wide::add_logits((**weights).as_ref(), &self.layout.spans, slots, logits);
        }
    }
}

impl Predict for DcnModel {
    type Scratch = DcnScratch;

    fn predict(&self, slots: Slots<'_>, scratch: &mut DcnScratch, logits: &mut [f32]) {
        let mut nothing = std::mem::take(&mut scratch.nothing);
        nothing.nothing(&self.readers());
        self.predict_own(slots, &nothing, scratch, logits);
        scratch.nothing = nothing;
    }
}

impl std::fmt::Debug for DcnModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DcnModel").field("config", &self.config).finish_non_exhaustive()
    }
}

fn refuse(tensor: &str, message: &str) -> Error {
    Error::bundle("weights", format!("tensor {tensor}: {message}"))
}
