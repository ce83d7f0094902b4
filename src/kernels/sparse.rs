//! Models with a table: slots of one impression to a logit, and the update of the slots touched.
//!
//! Tables are far larger than the cache, so time is spent waiting for memory. Each kernel first asks for all the lines
//! of an impression (a hint that costs nothing when wrong), then computes. Pairs (z, n) of FTRL lie side by side, so
//! that a slot costs one line: kept apart, an update took 24 % longer at 2²² slots and 74 % at 2²⁴.

use super::dispatch::per_isa;
use super::vectors::assert_same;

/// The slot of a value that is not there. Every kernel skips it.
pub const EMPTY_SLOT: u32 = u32::MAX;

/// Rates of FTRL-Proximal (McMahan et al. 2013, "Ad click prediction: a view from the trenches", algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FtrlRates {
    /// Learning rate, above 0.
    pub alpha: f32,
    /// Softens the first steps of a slot, 0 or more.
    pub beta: f32,
    /// L1 penalty: a slot with |z| at or below it weighs 0.
    pub l1: f32,
    /// L2 penalty.
    pub l2: f32,
}

/// Weight of a slot: 0 where |z| ≤ l1, else −(z − sign(z) l1) / ((beta + √n) / alpha + l2).
#[inline(always)]
pub fn ftrl_weight(z: f32, n: f32, rates: &FtrlRates) -> f32 {
    let shrunk = z - rates.l1.copysign(z);
    let weight = -shrunk / ((rates.beta + n.sqrt()) / rates.alpha + rates.l2);
    if z.abs() <= rates.l1 { 0.0 } else { weight }
}

per_isa! {
    /// Σ of the weights of the slots: the logit of one impression whose features all have the value 1.
    ///
    /// Weight i goes to lane i mod 16; the lanes are added in halves. Empty slots add nothing.
    ///
    /// # Panics
    /// When a slot is outside the table.
    pub fn ftrl_logit(pairs: &[[f32; 2]], slots: &[u32], rates: &FtrlRates) -> f32 = ftrl_logit_body
}

/// One FTRL-Proximal step on every slot of an impression, with `gradient` = p − y (times the weight of the row).
///
/// For each slot in order: σ = (√(n + g²) − √n) / alpha; z += g − σ w; n += g². A slot that occurs twice is stepped twice.
///
/// # Panics
/// When a slot is outside the table.
pub fn ftrl_update(pairs: &mut [[f32; 2]], slots: &[u32], gradient: f32, rates: &FtrlRates) {
    let square = gradient * gradient;
    for &slot in slots {
        if slot == EMPTY_SLOT {
            continue;
        }
        let pair = &mut pairs[slot as usize];
        let [z, n] = *pair;
        let grown = n + square;
        let sigma = (grown.sqrt() - n.sqrt()) / rates.alpha;
        *pair = [z + (gradient - sigma * ftrl_weight(z, n, rates)), grown];
    }
}

/// Σ of `weights` at `slots`: the logit of a frozen linear model. Added one by one in the order of the slots.
///
/// # Panics
/// When a slot is outside the table.
pub fn gather_sum(weights: &[f32], slots: &[u32]) -> f32 {
    for &slot in slots {
        prefetch(weights, slot as usize);
    }
    let mut sum = 0.0;
    for &slot in slots {
        if slot != EMPTY_SLOT {
            sum += weights[slot as usize];
        }
    }
    sum
}

/// Rows of an embedding table, `dim` values each, one after another into `out` (slots × dim). An empty slot gives zeros.
///
/// # Panics
/// When a slot is outside the table, or `out` does not hold slots × dim values.
pub fn gather_rows(table: &[f32], dim: usize, slots: &[u32], out: &mut [f32]) {
    assert_same("gather_rows", out.len(), slots.len() * dim);
    if dim == 0 {
        return;
    }
    for (row, (&slot, out)) in slots.iter().zip(out.chunks_exact_mut(dim)).enumerate() {
        if let Some(&ahead) = slots.get(row + ROWS_AHEAD) {
            prefetch_row(table, dim, ahead);
        }
        if slot == EMPTY_SLOT {
            out.fill(0.0);
        } else {
            out.copy_from_slice(&table[slot as usize * dim..][..dim]);
        }
    }
}

/// The backward pass of [`gather_rows`]: adds each row of `grad` (slots × dim) to the row of its slot, in order.
///
/// # Panics
/// When a slot is outside the table, or `grad` does not hold slots × dim values.
pub fn scatter_add_rows(table: &mut [f32], dim: usize, slots: &[u32], grad: &[f32]) {
    assert_same("scatter_add_rows", grad.len(), slots.len() * dim);
    if dim == 0 {
        return;
    }
    for (row, (&slot, grad)) in slots.iter().zip(grad.chunks_exact(dim)).enumerate() {
        if let Some(&ahead) = slots.get(row + ROWS_AHEAD) {
            prefetch_row(table, dim, ahead);
        }
        if slot != EMPTY_SLOT {
            for (value, &grad) in table[slot as usize * dim..][..dim].iter_mut().zip(grad) {
                *value += grad;
            }
        }
    }
}

/// Asks for the line of `data[index]`. A hint: any index is fine, and nothing happens on other processors.
#[inline(always)]
pub fn prefetch<T>(data: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if index < data.len() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the index is inside; a prefetch reads nothing that the program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().add(index).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, index);
}

/// Rows between the one asked for and the one used.
const ROWS_AHEAD: usize = 8;

/// Asks for every line of a row.
#[inline(always)]
fn prefetch_row(table: &[f32], dim: usize, slot: u32) {
    if slot != EMPTY_SLOT {
        for value in (0..dim).step_by(16) {
            prefetch(table, slot as usize * dim + value);
        }
    }
}

#[inline(always)]
fn ftrl_logit_body(pairs: &[[f32; 2]], slots: &[u32], rates: &FtrlRates) -> f32 {
    for &slot in slots {
        prefetch(pairs, slot as usize);
    }
    let mut lanes = [0.0f32; 16];
    for slots in slots.chunks(16) {
        // z = n = 0 weighs 0 where l1 ≥ 0, so an empty slot needs no branch below.
        let mut z = [0.0f32; 16];
        let mut n = [0.0f32; 16];
        for (lane, &slot) in slots.iter().enumerate() {
            if slot != EMPTY_SLOT {
                [z[lane], n[lane]] = pairs[slot as usize];
            }
        }
        for lane in 0..16 {
            lanes[lane] += ftrl_weight(z[lane], n[lane], rates);
        }
    }
    let mut half = 8;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
