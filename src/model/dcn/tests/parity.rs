//! Logits, loss, every gradient, ten steps of Adam and the model in evaluation mode, against PyTorch in float64.
//!
//! The numbers come from `tests/golden/make_dcn.py`, which says where the two optimizers could differ and do not.

use super::super::{DcnConfig, DcnLearner, DcnScratch, LearningPrecision, RawDcn};
use super::{assert_near, checked, set};
use crate::model::{Batch, Layout, Learn, Predict, Slots, Threads};
use safetensors::SafeTensors;

/// For logits, loss and gradients, relative to the largest of a tensor; the largest difference measured is 7e-7.
const FORWARD: f64 = 3e-6;
/// For losses, weights and evaluation after Adam; the largest difference measured is 3e-7.
const AFTER_TEN_STEPS: f64 = 3e-6;

#[test]
fn parallel_full_rank_with_a_lazy_linear_part() {
    check(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dcn_parallel.safetensors")));
}

#[test]
fn stacked_mixture_with_batch_norm_and_l2() {
    check(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dcn_stacked.safetensors")));
}

fn check(file: &[u8]) {
    let golden = Golden::read(file);
    let mut learner = golden.learner();
    let (loss, gradients) = learner.gradients_by_name(&golden.batch(0));
    let losses = golden.f64s("losses");
    assert!((loss - losses[0]).abs() < FORWARD * losses[0], "loss {loss}, PyTorch {}", losses[0]);
    assert_near("logits", learner.logits(), &golden.numbers("logits"), FORWARD);
    for (name, gradient) in &gradients {
        assert_near(&format!("gradient of {name}"), gradient, &golden.numbers(&format!("gradient.{name}")), FORWARD);
    }
    assert_eq!(gradients.len(), golden.names("gradient.").len());

    let mut learner = golden.learner();
    for (step, expected) in losses.iter().enumerate() {
        let loss = learner.learn(&golden.batch(step), 1.0, Threads::one());
        assert!((loss - expected).abs() < AFTER_TEN_STEPS * expected, "step {step}: loss {loss}, PyTorch {expected}");
    }
    let frozen = learner.freeze();
    for (name, weights) in learner.weights_by_name() {
        // Rows that missed steps are brought up to date only when they are touched or frozen.
        let expected = golden.numbers(&format!("last.{name}"));
        if name == "embedding.weight" {
            let tensors = frozen.tensors();
            let (.., settled) = tensors.iter().find(|(tensor, ..)| *tensor == name).unwrap();
            assert_near(&name, settled, &expected, AFTER_TEN_STEPS);
        } else {
            assert_near(&name, weights, &expected, AFTER_TEN_STEPS);
        }
    }
    let mut logits = vec![0.0; golden.batch(0).labels.len()];
    frozen.predict(golden.batch(0).slots, &mut DcnScratch::default(), &mut logits);
    assert_near("evaluation", &logits, &golden.numbers("evaluation"), AFTER_TEN_STEPS);
}

struct Golden<'a> {
    tensors: SafeTensors<'a>,
    config: DcnConfig,
    layout: Layout,
    slots: Vec<u32>,
    labels: Vec<f32>,
    weights: Vec<f32>,
}

impl<'a> Golden<'a> {
    fn read(file: &'a [u8]) -> Self {
        let tensors = SafeTensors::deserialize(file).unwrap();
        let (_, header) = SafeTensors::read_metadata(file).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        let bytes = |name: &str| tensors.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
        Golden {
            config: exact(serde_json::from_str(&metadata["config"]).unwrap()),
            layout: serde_json::from_str(&metadata["layout"]).unwrap(),
            slots: bytes("slots").into_iter().map(u32::from_le_bytes).collect(),
            labels: bytes("labels").into_iter().map(f32::from_le_bytes).collect(),
            weights: bytes("weights").into_iter().map(f32::from_le_bytes).collect(),
            tensors,
        }
    }

    fn learner(&self) -> DcnLearner {
        let mut learner = DcnLearner::new(self.config.clone(), self.layout.clone(), 0).unwrap();
        for name in self.names("first.") {
            set(&mut learner, name.strip_prefix("first.").unwrap(), &self.f32s(name));
        }
        learner
    }

    fn batch(&self, step: usize) -> Batch<'_> {
        let rows = self.tensors.tensor("labels").unwrap().shape()[1];
        let width = self.layout.width();
        let at = step * rows..(step + 1) * rows;
        Batch {
            slots: Slots::new(width, &self.slots[at.start * width..at.end * width]),
            labels: &self.labels[at.clone()],
            weights: Some(&self.weights[at]),
        }
    }

    fn names(&self, prefix: &str) -> Vec<&str> {
        self.tensors.names().into_iter().filter(|name| name.starts_with(prefix)).collect()
    }

    fn f32s(&self, name: &str) -> Vec<f32> {
        let bytes = self.tensors.tensor(name).unwrap();
        bytes.data().as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
    }

    fn f64s(&self, name: &str) -> Vec<f64> {
        let bytes = self.tensors.tensor(name).unwrap();
        bytes.data().as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value)).collect()
    }

    /// A tensor stored in f32, as f64.
    fn numbers(&self, name: &str) -> Vec<f64> {
        self.f32s(name).into_iter().map(f64::from).collect()
    }
}

/// The same settings without rounded factors, which PyTorch did not have.
fn exact(raw: RawDcn) -> DcnConfig {
    checked(RawDcn { precision: LearningPrecision::F32, ..raw })
}
