//! The plain truth, read by tests only: each kernel as its formula, in f64, one element at a time.
//!
//! Except [`chain`] and [`chain_of_pairs`], which are the promise of the product itself: f32, in the order of k.

use super::{AdamStep, EMPTY_SLOT, FtrlRates, Matrix};

/// One element of C by the definition: fused multiply-adds over k in order, from `start`.
pub(super) fn chain(a: Matrix<'_>, b: Matrix<'_>, i: usize, j: usize, start: f32) -> f32 {
    (0..a.columns()).fold(start, |sum, k| a.get(i, k).mul_add(b.get(k, j), sum))
}

/// [`chain`] with factors rounded to bfloat16, the second step of each pair first.
pub(super) fn chain_of_pairs(a: Matrix<'_>, b: Matrix<'_>, i: usize, j: usize, start: f32) -> f32 {
    let step = |sum, k| {
        let (a, b) = if k < a.columns() { (a.get(i, k), b.get(k, j)) } else { (0.0, 0.0) };
        round_to_bf16(a).mul_add(round_to_bf16(b), sum)
    };
    (0..a.columns()).step_by(2).fold(start, |sum, k| step(step(sum, k + 1), k))
}

/// The nearest of the two neighbors with 16 bits of zeros below; the even one when both are as near.
pub(super) fn round_to_bf16(value: f32) -> f32 {
    if !value.is_finite() {
        return value;
    }
    let toward_zero = value.to_bits() & 0xffff_0000;
    let neighbors = [toward_zero, toward_zero + 0x1_0000].map(f32::from_bits);
    // The neighbor of the largest number counts as 2^128, which is where its distance is taken from.
    let place = |neighbor: f32| {
        if neighbor.is_finite() { f64::from(neighbor) } else { 2f64.powi(128).copysign(f64::from(value)) }
    };
    let distance = neighbors.map(|neighbor| (place(neighbor) - f64::from(value)).abs());
    let even = (toward_zero >> 16).is_multiple_of(2);
    if distance[0] < distance[1] || (distance[0] == distance[1] && even) { neighbors[0] } else { neighbors[1] }
}

/// One element of A·B, and the sum of the sizes of its terms, which bounds the rounding error.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, i: usize, j: usize) -> (f64, f64) {
    (0..a.columns()).fold((0.0, 0.0), |(sum, size), k| {
        let term = f64::from(a.get(i, k)) * f64::from(b.get(k, j));
        (sum + term, size + term.abs())
    })
}

/// Σ aᵢ bᵢ and Σ |aᵢ bᵢ|.
pub(super) fn dot(a: &[f32], b: &[f32]) -> (f64, f64) {
    product(Matrix::new(a, 1, a.len()), Matrix::new(b, b.len(), 1), 0, 0)
}

/// The log loss of one row and its gradient with respect to the logit.
pub(super) fn log_loss(logit: f32, label: f32, weight: f32) -> (f64, f64) {
    let (x, y, w) = (f64::from(logit), f64::from(label), f64::from(weight));
    let probability = if x > 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) };
    let loss = x.max(0.0) - x * y + (-x.abs()).exp().ln_1p();
    (w * loss, w * (probability - y))
}

/// New weight and moments of one weight.
pub(super) fn adam(w: f32, m: f32, v: f32, g: f32, step: &AdamStep) -> [f64; 3] {
    let [w, m, v, g] = [w, m, v, g].map(f64::from);
    let [rate, beta1, beta2, epsilon, correction1, correction2] =
        [step.learning_rate, step.beta1, step.beta2, step.epsilon, step.correction1, step.correction2].map(f64::from);
    let m = beta1 * m + (1.0 - beta1) * g;
    let v = beta2 * v + (1.0 - beta2) * g * g;
    [w - rate * (m / correction1) / ((v / correction2).sqrt() + epsilon), m, v]
}

/// FTRL-Proximal, line for line from the paper.
pub(super) struct Ftrl {
    pub(super) z: Vec<f64>,
    pub(super) n: Vec<f64>,
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) l1: f64,
    pub(super) l2: f64,
}

impl Ftrl {
    pub(super) fn new(slots: usize, rates: &FtrlRates) -> Self {
        let [alpha, beta, l1, l2] = [rates.alpha, rates.beta, rates.l1, rates.l2].map(f64::from);
        Ftrl { z: vec![0.0; slots], n: vec![0.0; slots], alpha, beta, l1, l2 }
    }

    fn weight(&self, slot: usize) -> f64 {
        let (z, n) = (self.z[slot], self.n[slot]);
        if z.abs() <= self.l1 {
            return 0.0;
        }
        -(z - z.signum() * self.l1) / ((self.beta + n.sqrt()) / self.alpha + self.l2)
    }

    pub(super) fn logit(&self, slots: &[u32]) -> f64 {
        slots.iter().filter(|&&slot| slot != EMPTY_SLOT).map(|&slot| self.weight(slot as usize)).sum()
    }

    /// Steps each slot that occurs once, however often it does.
    pub(super) fn update(&mut self, slots: &[u32], gradient: f64) {
        let distinct: std::collections::BTreeSet<u32> =
            slots.iter().copied().filter(|&slot| slot != EMPTY_SLOT).collect();
        for slot in distinct.into_iter().map(|slot| slot as usize) {
            let weight = self.weight(slot);
            let sigma = ((self.n[slot] + gradient * gradient).sqrt() - self.n[slot].sqrt()) / self.alpha;
            self.z[slot] += gradient - sigma * weight;
            self.n[slot] += gradient * gradient;
        }
    }
}
