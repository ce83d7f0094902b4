//! The settings of the network: [`RawDcn`] as written in a recipe, [`DcnConfig`] once every bound holds.

use super::frozen::ScoringPrecision;
use crate::error::{Error, Result};
use crate::kernels::Precision;
use serde::{Deserialize, Serialize};

/// Settings that hold together; the only way in is through [`RawDcn`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawDcn", into = "RawDcn")]
pub struct DcnConfig(RawDcn);

/// Settings of a DCN v2 as a recipe writes them, all optional; unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawDcn {
    /// Networks that differ in their seed only and whose logits are averaged; 1 to 16. Default 1.
    pub members: usize,
    /// Numbers in the embedding of one slot; 1 to 256. Default 16.
    pub embedding_dim: usize,
    /// `parallel`: cross layers and tower both read the embeddings; `stacked`: the tower reads the last cross layer.
    /// Default `parallel`.
    pub structure: Structure,
    /// Number of cross layers; 0 to 16. Default 3.
    pub cross_layers: usize,
    /// Rank of each expert of a cross layer; 0 means one full matrix, otherwise at most 1024. Default 0.
    pub cross_rank: usize,
    /// Experts of a low-rank cross layer; 1 to 64, unused at rank 0. Default 4.
    pub cross_experts: usize,
    /// Widths of the tower's layers, first to last; each 1 to 8192, at most 16, may be empty. Default 400, 400, 400.
    pub deep: Vec<usize>,
    /// Share of the outputs of each tower layer set to zero while learning; from 0, below 1. Default 0.
    pub dropout: f32,
    /// Share of the last cross layer's outputs set to zero on their way to the head while learning (in the stacked form with a
    /// tower the head does not read them); from 0, below 1. Default 0.
    pub cross_dropout: f32,
    /// Share of the fields of a row whose embeddings are set to zero while learning; from 0, below 1. Default 0.
    pub embedding_dropout: f32,
    /// Batch normalization before each ReLU of the tower (momentum 0.1, epsilon 1e-5). Default false.
    pub batch_norm: bool,
    /// The optimizer of the linear part, one weight per slot beside the network; `none` leaves it out. Default `none`.
    pub wide: WideRule,
    /// Learning rate of the linear part (alpha of FTRL-Proximal); above 0, at most 10. Default 0.01 for `adam`, 0.05 for
    /// `adagrad` and `ftrl`.
    pub wide_learning_rate: Option<f32>,
    /// Beta of FTRL-Proximal and of the linear part's Adagrad, softens the first steps; 0 to 1000. Default 1.
    pub wide_beta: f32,
    /// L1 of FTRL-Proximal, against gradients summed over a batch; 0 to 1e6, unused by other rules. Default 0.
    pub wide_l1: f32,
    /// L2 of the linear part, 0 to 1e6: for FTRL-Proximal its own λ₂, for the other rules a decay of every weight by
    /// `wide_learning_rate · rate · wide_l2` at each step. Default 0.
    pub wide_l2: f32,
    /// With a linear part: whether crosses (`a*b`) get embeddings too, or only linear weights. Default false.
    pub embed_crosses: bool,
    /// What the factors of matrix products are rounded to while learning: `f32` (as they are), `bf16`, or `auto`, which is `bf16`
    /// where the processor multiplies bfloat16 (AVX512_BF16) and `f32` elsewhere. Weights, sums and scoring are f32 always.
    /// Default `auto`.
    pub precision: LearningPrecision,
    /// Learning rate of Adam for everything dense; above 0, at most 1. Default 0.001.
    pub learning_rate: f32,
    /// Decay of Adam's mean of gradients; from 0, below 1. Default 0.9.
    pub beta1: f32,
    /// Decay of Adam's mean of squared gradients; from 0, below 1. Default 0.999.
    pub beta2: f32,
    /// Added to the root in Adam's denominator; above 0, at most 1. Default 1e-8.
    pub epsilon: f32,
    /// Decay of dense matrices (never of biases or batch normalization); 0 to 100. Default 0.
    pub weight_decay: f32,
    /// `decoupled` shrinks weights by `learning_rate · rate · weight_decay` (AdamW); `l2` adds `weight_decay · w` to the
    /// gradient. Default `decoupled`.
    pub weight_decay_form: WeightDecayForm,
    /// The optimizer of the embeddings. Default `adam`.
    pub embedding_optimizer: EmbeddingRule,
    /// Learning rate of the embeddings; above 0, at most 10. Default `learning_rate`, or 0.05 for `adagrad`.
    pub embedding_learning_rate: Option<f32>,
    /// L2 penalty of the embeddings, of *all* rows at every step, as a dense penalty is; 0 to 1e4. For `adam` it is the
    /// factor λ of `λ/2 · ‖embeddings‖²` in the mean loss of a batch; for `lazy_adam` and `adagrad` a decay of every row by
    /// `embedding_learning_rate · rate · λ` at each step. Default 0.
    pub l2_embedding: f32,
    /// Slots seen fewer times in training share one embedding per field; the linear part keeps them apart. 0 and 1 mean that
    /// each slot has its own. Default 1.
    pub embedding_min_count: u32,
    /// Distribution that embeddings start from. Default `normal`.
    pub embedding_init: EmbeddingInit,
    /// Standard deviation (`normal`) or largest magnitude (`uniform`) of the first embeddings; 0 to 10. Default 0.01.
    pub embedding_scale: f32,
    /// The numbers in which the finished model multiplies: `f32`, `int8` (full cross layers and tower in 8 bits), or `auto`,
    /// which takes `int8` where the validation rows show that it costs nothing. Default `auto`.
    pub scoring_precision: ScoringRule,
}

/// How cross layers and tower are put together (Wang et al. 2021, figure 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// Embeddings → cross layers → tower → logit.
    Stacked,
    /// Embeddings → cross layers and tower side by side → logit.
    Parallel,
}

/// What the factors of matrix products are rounded to while learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningPrecision {
    /// bfloat16 where the processor multiplies it, else `f32`.
    Auto,
    /// Not rounded: the same bits on every processor.
    F32,
    /// bfloat16; a processor that cannot multiply it rounds, and multiplies in f32.
    Bf16,
}

/// How the linear part learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WideRule {
    /// No linear part.
    None,
    /// Lazy Adam with the betas and epsilon of the network: only slots of the batch move, corrections count all steps.
    Adam,
    /// Adagrad on gradients summed over the batch: w −= lr · g / (beta + √Σg²).
    Adagrad,
    /// FTRL-Proximal (McMahan et al. 2013) on gradients summed over the batch.
    Ftrl,
}

/// How embeddings learn. Every rule touches only the rows of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingRule {
    /// Adam as a dense table would learn: steps that a row missed (gradient 0 plus the penalty) are replayed at its next
    /// touch.
    Adam,
    /// Adam in which a row of no gradient stands still; the bias corrections count all steps (PyTorch's `SparseAdam`).
    LazyAdam,
    /// Row-wise Adagrad: one accumulator a row, of the mean squared gradient.
    Adagrad,
}

/// What weight decay acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightDecayForm {
    /// On the weight (AdamW).
    Decoupled,
    /// On the gradient.
    L2,
}

/// Who decides in which numbers the finished model multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoringRule {
    /// The end of training, on the validation rows. A model still undecided scores in `f32`.
    Auto,
    /// Always `f32`.
    F32,
    /// Always 8 bits.
    Int8,
}

/// What embeddings start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingInit {
    /// Normal of mean 0.
    Normal,
    /// Uniform around 0.
    Uniform,
}

impl Default for RawDcn {
    fn default() -> Self {
        RawDcn {
            members: 1,
            embedding_dim: 16,
            structure: Structure::Parallel,
            cross_layers: 3,
            cross_rank: 0,
            cross_experts: 4,
            deep: vec![400, 400, 400],
            dropout: 0.0,
            cross_dropout: 0.0,
            embedding_dropout: 0.0,
            batch_norm: false,
            wide: WideRule::None,
            wide_learning_rate: None,
            wide_beta: 1.0,
            wide_l1: 0.0,
            wide_l2: 0.0,
            embed_crosses: false,
            precision: LearningPrecision::Auto,
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            weight_decay_form: WeightDecayForm::Decoupled,
            embedding_optimizer: EmbeddingRule::Adam,
            embedding_learning_rate: None,
            l2_embedding: 0.0,
            embedding_min_count: 1,
            embedding_init: EmbeddingInit::Normal,
            embedding_scale: 0.01,
            scoring_precision: ScoringRule::Auto,
        }
    }
}

impl DcnConfig {
    /// The settings, all in bounds.
    pub fn settings(&self) -> &RawDcn {
        &self.0
    }

    /// What the factors of products are rounded to, on this processor.
    pub fn precision(&self) -> Precision {
        match self.0.precision {
            LearningPrecision::F32 => Precision::F32,
            LearningPrecision::Bf16 => Precision::Bf16,
            LearningPrecision::Auto => Precision::fastest(),
        }
    }

    /// The numbers in which a model of these settings multiplies.
    pub fn scoring(&self) -> ScoringPrecision {
        match self.0.scoring_precision {
            ScoringRule::Auto | ScoringRule::F32 => ScoringPrecision::F32,
            ScoringRule::Int8 => ScoringPrecision::Int8,
        }
    }

    /// The same settings with the numbers decided.
    pub fn with_scoring(mut self, precision: ScoringPrecision) -> Self {
        self.0.scoring_precision = match precision {
            ScoringPrecision::F32 => ScoringRule::F32,
            ScoringPrecision::Int8 => ScoringRule::Int8,
        };
        self
    }

    /// Learning rate of the embeddings, after its default.
    pub fn embedding_learning_rate(&self) -> f32 {
        self.0.embedding_learning_rate.unwrap_or(match self.0.embedding_optimizer {
            EmbeddingRule::Adam | EmbeddingRule::LazyAdam => self.0.learning_rate,
            EmbeddingRule::Adagrad => 0.05,
        })
    }

    /// Learning rate of the linear part, after its default.
    pub fn wide_learning_rate(&self) -> f32 {
        self.0.wide_learning_rate.unwrap_or(match self.0.wide {
            WideRule::None | WideRule::Adam => 0.01,
            WideRule::Adagrad | WideRule::Ftrl => 0.05,
        })
    }
}

impl From<DcnConfig> for RawDcn {
    fn from(config: DcnConfig) -> Self {
        config.0
    }
}

impl TryFrom<RawDcn> for DcnConfig {
    type Error = Error;

    /// # Errors
    /// [`Error::Config`] naming the first key out of bounds.
    fn try_from(raw: RawDcn) -> Result<Self> {
        count("members", raw.members, 1, 16)?;
        count("embedding_dim", raw.embedding_dim, 1, 256)?;
        count("cross_layers", raw.cross_layers, 0, 16)?;
        count("cross_rank", raw.cross_rank, 0, 1024)?;
        count("cross_experts", raw.cross_experts, 1, 64)?;
        count("deep", raw.deep.len(), 0, 16)?;
        for &width in &raw.deep {
            count("deep", width, 1, 8192)?;
        }
        share("dropout", raw.dropout)?;
        share("cross_dropout", raw.cross_dropout)?;
        share("embedding_dropout", raw.embedding_dropout)?;
        positive("wide_learning_rate", raw.wide_learning_rate.unwrap_or(1.0), 10.0)?;
        from_zero("wide_beta", raw.wide_beta, 1e3)?;
        from_zero("wide_l1", raw.wide_l1, 1e6)?;
        from_zero("wide_l2", raw.wide_l2, 1e6)?;
        positive("learning_rate", raw.learning_rate, 1.0)?;
        share("beta1", raw.beta1)?;
        share("beta2", raw.beta2)?;
        positive("epsilon", raw.epsilon, 1.0)?;
        from_zero("weight_decay", raw.weight_decay, 100.0)?;
        positive("embedding_learning_rate", raw.embedding_learning_rate.unwrap_or(1.0), 10.0)?;
        from_zero("l2_embedding", raw.l2_embedding, 1e4)?;
        from_zero("embedding_scale", raw.embedding_scale, 10.0)?;
        let config = DcnConfig(raw);
        decay_below_one("l2_embedding", config.embedding_learning_rate() * config.0.l2_embedding, {
            config.0.embedding_optimizer != EmbeddingRule::Adam
        })?;
        decay_below_one("wide_l2", config.wide_learning_rate() * config.0.wide_l2, {
            matches!(config.0.wide, WideRule::Adam | WideRule::Adagrad)
        })?;
        decay_below_one("weight_decay", config.0.learning_rate * config.0.weight_decay, {
            config.0.weight_decay_form == WeightDecayForm::Decoupled
        })?;
        Ok(config)
    }
}

fn refuse(key: &str, message: String) -> Result<()> {
    Err(Error::config("dcn", key, message))
}

fn count(key: &str, got: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&got) { Ok(()) } else { refuse(key, format!("expected {low} to {high}, got {got}")) }
}

fn share(key: &str, got: f32) -> Result<()> {
    if (0.0..1.0).contains(&got) { Ok(()) } else { refuse(key, format!("expected from 0 to below 1, got {got}")) }
}

fn positive(key: &str, got: f32, high: f32) -> Result<()> {
    if got > 0.0 && got <= high { Ok(()) } else { refuse(key, format!("expected above 0 to {high}, got {got}")) }
}

fn from_zero(key: &str, got: f32, high: f32) -> Result<()> {
    if (0.0..=high).contains(&got) { Ok(()) } else { refuse(key, format!("expected 0 to {high}, got {got}")) }
}

/// A step must not shrink a weight past zero.
fn decay_below_one(key: &str, shrinkage: f32, applies: bool) -> Result<()> {
    if !applies || shrinkage < 1.0 {
        return Ok(());
    }
    refuse(
        key,
        format!("expected learning rate × {key} below 1, got {shrinkage}: one step would wipe out every weight"),
    )
}
