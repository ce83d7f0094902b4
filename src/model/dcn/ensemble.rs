//! Several networks of one setting → one logit, their mean.
//!
//! Networks that differ only in their seed make different mistakes, and the mean of their logits makes fewer than each
//! (Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep ensembles"). All members see
//! the same batches; cost in time and size grows with `members`. One member is the plain network, bit for bit.

use super::config::DcnConfig;
use super::frozen::ScoringPrecision;
use super::learner::DcnLearner;
use super::model::{DcnModel, DcnScratch, Values};
use super::sharing::Common;
use crate::error::Result;
use crate::model::{Batch, Layout, Learn, OwnSpans, Predict, Slots, Threads};

/// Networks that learn side by side.
#[derive(Debug)]
pub struct EnsembleLearner {
    members: Vec<DcnLearner>,
}

/// Networks that predict together.
#[derive(Debug)]
pub struct DcnEnsemble {
    members: Vec<DcnModel>,
}

/// Buffers of [`DcnEnsemble::predict`].
#[derive(Debug, Default)]
pub struct EnsembleScratch {
    member: DcnScratch,
    logits: Vec<f32>,
    /// What the rows of a request have in common, for each member.
    common: Vec<Common>,
}

impl EnsembleLearner {
    /// As many networks as the config has members; the first has the seed itself. See [`DcnLearner::with_counts`].
    ///
    /// # Errors
    /// Those of [`DcnLearner::with_counts`].
    pub fn new(config: &DcnConfig, layout: &Layout, counts: Option<&[u32]>, seed: u64) -> Result<Self> {
        let member = |at: usize| {
            let seed = seed.wrapping_add((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            DcnLearner::with_counts(config.clone(), layout.clone(), counts, seed)
        };
        Ok(EnsembleLearner { members: (0..config.settings().members).map(member).collect::<Result<_>>()? })
    }

    /// Sets the bias of all members; see [`DcnLearner::set_bias`].
    pub fn set_bias(&mut self, logit: f32) {
        self.members.iter_mut().for_each(|member| member.set_bias(logit));
    }
}

impl Learn for EnsembleLearner {
    type Frozen = DcnEnsemble;

    /// The loss is the mean of the members' own, which that of their mean logit is never above.
    fn learn(&mut self, batch: &Batch<'_>, rate: f32, threads: Threads<'_>) -> f64 {
        let sum: f64 = self.members.iter_mut().map(|member| member.learn(batch, rate, threads)).sum();
        sum / self.members.len() as f64
    }

    fn freeze(&self) -> DcnEnsemble {
        DcnEnsemble { members: self.members.iter().map(Learn::freeze).collect() }
    }
}

impl DcnEnsemble {
    /// Builds the members from tensors found by name (see [`DcnEnsemble::tensors`]).
    ///
    /// # Errors
    /// Those of [`DcnModel::from_tensors`].
    pub fn from_tensors(
        config: &DcnConfig,
        layout: &Layout,
        mut lookup: impl FnMut(&str) -> Option<(Vec<usize>, Values)>,
    ) -> Result<Self> {
        let count = config.settings().members;
        let member = |at: usize| {
            let prefix = prefix(at, count);
            DcnModel::from_tensors(config.clone(), layout.clone(), |name| lookup(&format!("{prefix}{name}")))
        };
        Ok(DcnEnsemble { members: (0..count).map(member).collect::<Result<_>>()? })
    }

    /// Tensors of all members, as [`DcnModel::tensors`]; with more than one, names start with `member.i.`.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let count = self.members.len();
        let mut all = Vec::new();
        for (at, member) in self.members.iter().enumerate() {
            let tensors = member.tensors().into_iter();
            all.extend(tensors.map(|(name, shape, values)| (prefix(at, count) + &name, shape, values)));
        }
        all
    }

    /// The same networks, scoring in other numbers.
    pub fn in_precision(&self, precision: ScoringPrecision) -> Self {
        DcnEnsemble { members: self.members.iter().map(|member| member.in_precision(precision)).collect() }
    }

    /// For tests: the networks.
    #[cfg(test)]
    pub(super) fn members(&self) -> &[DcnModel] {
        &self.members
    }

    /// The settings of every member.
    pub fn config(&self) -> &DcnConfig {
        self.members[0].config()
    }

    /// Works out, in `scratch`, what rows have in common that have the slots of `row` in all spans but their `own`; for
    /// [`DcnEnsemble::predict_own`].
    pub fn share(&self, row: Slots<'_>, own: &OwnSpans, scratch: &mut EnsembleScratch) {
        scratch.common.resize_with(self.members.len(), Common::default);
        for (member, common) in self.members.iter().zip(&mut scratch.common) {
            member.share(row, own, common);
        }
    }

    /// [`Predict::predict`] of rows with what [`DcnEnsemble::share`] was told in common, with the same bits.
    ///
    /// # Panics
    /// When nothing was shared before.
    pub fn predict_own(&self, slots: Slots<'_>, scratch: &mut EnsembleScratch, logits: &mut [f32]) {
        let EnsembleScratch { member: buffers, logits: of_member, common } = scratch;
        assert_eq!(common.len(), self.members.len(), "what rows have in common is worked out before they are scored");
        let predict = |at: usize, logits: &mut [f32]| {
            self.members[at].predict_own(slots, &common[at], buffers, logits);
        };
        self.mean(predict, of_member, logits);
    }

    /// The mean of what `predict` gives for each member.
    fn mean(&self, mut predict: impl FnMut(usize, &mut [f32]), of_member: &mut Vec<f32>, logits: &mut [f32]) {
        predict(0, logits);
        if self.members.len() == 1 {
            return;
        }
        of_member.resize(logits.len(), 0.0);
        for member in 1..self.members.len() {
            predict(member, of_member);
            logits.iter_mut().zip(&*of_member).for_each(|(sum, logit)| *sum += logit);
        }
        let share = 1.0 / self.members.len() as f32;
        logits.iter_mut().for_each(|logit| *logit *= share);
    }
}

impl Predict for DcnEnsemble {
    type Scratch = EnsembleScratch;

    fn predict(&self, slots: Slots<'_>, scratch: &mut EnsembleScratch, logits: &mut [f32]) {
        let EnsembleScratch { member: buffers, logits: of_member, .. } = scratch;
        let predict = |at: usize, logits: &mut [f32]| self.members[at].predict(slots, buffers, logits);
        self.mean(predict, of_member, logits);
    }
}

fn prefix(member: usize, members: usize) -> String {
    if members == 1 { String::new() } else { format!("member.{member}.") }
}
