//! Optimizer steps: gradients to new weights.

use super::dispatch::per_isa;
use super::vectors::{LANES, assert_same, sum_of_lanes};

/// What one step of Adam needs beside weights, moments and gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Step size before bias correction.
    pub learning_rate: f32,
    /// Decay of the first moment, in [0, 1).
    pub beta1: f32,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// 1 − beta1^t.
    pub correction1: f32,
    /// 1 − beta2^t.
    pub correction2: f32,
}

impl AdamStep {
    /// The corrections of step `t`, counted from 1, computed in f64.
    pub fn new(learning_rate: f32, beta1: f32, beta2: f32, epsilon: f32, t: u64) -> Self {
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(t as f64)) as f32;
        let (correction1, correction2) = (correction(beta1), correction(beta2));
        AdamStep { learning_rate, beta1, beta2, epsilon, correction1, correction2 }
    }
}

per_isa! {
    /// One step of Adam as PyTorch takes it (Kingma and Ba 2015, algorithm 1, with epsilon outside the root):
    /// m ← m + (1 − β₁)(g − m); v ← β₂ v + (1 − β₂) g²; w ← w − (lr / c₁) m / (√v / √c₂ + ε).
    ///
    /// For dense tensors, and for single rows of an embedding.
    pub fn adam(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: &AdamStep) = adam_body,
    check {
        assert_same("adam (m)", w.len(), m.len());
        assert_same("adam (v)", w.len(), v.len());
        assert_same("adam (g)", w.len(), g.len());
    }
}

per_isa! {
    /// One step of row-wise Adagrad on one row: accumulator += mean(g²); w ← w − lr g / (√accumulator + ε).
    ///
    /// One accumulator for a row in place of one for each weight (as in DLRM, Naumov et al. 2019).
    pub fn adagrad_rowwise(
        w: &mut [f32], g: &[f32], accumulator: &mut f32, learning_rate: f32, epsilon: f32
    ) = adagrad_rowwise_body,
    check { assert_same("adagrad_rowwise", w.len(), g.len()) }
}

#[inline(always)]
fn adam_body(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: &AdamStep) {
    let step_size = step.learning_rate / step.correction1;
    let inverse_root = 1.0 / step.correction2.sqrt();
    let (keep2, take1, take2) = (step.beta2, 1.0 - step.beta1, 1.0 - step.beta2);
    for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
        *m = take1.mul_add(g - *m, *m);
        *v = (take2 * g).mul_add(g, *v * keep2);
        let scale = v.sqrt().mul_add(inverse_root, step.epsilon);
        *w -= step_size * *m / scale;
    }
}

#[inline(always)]
fn adagrad_rowwise_body(w: &mut [f32], g: &[f32], accumulator: &mut f32, learning_rate: f32, epsilon: f32) {
    if w.is_empty() {
        return;
    }
    let mut lanes = [0.0f32; LANES];
    for block in g.chunks(LANES) {
        for (lane, &g) in lanes.iter_mut().zip(block) {
            *lane = g.mul_add(g, *lane);
        }
    }
    *accumulator += sum_of_lanes(&lanes) / g.len() as f32;
    let rate = -learning_rate / (accumulator.sqrt() + epsilon);
    for (w, &g) in w.iter_mut().zip(g) {
        *w = rate.mul_add(g, *w);
    }
}
