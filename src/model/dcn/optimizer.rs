//! What rows of a table owe for steps that did not touch them, paid at their next touch.
//!
//! A dense penalty shrinks every row at every step, and dense Adam moves every row at every step. Doing so would cost a
//! pass over the whole table for each batch. Both are exact here without that pass:
//!
//! * [`Decay`]: w ← w (1 − lr · rateₜ · λ) at each step t. The product over missed steps is one exponential, because the sums
//!   of ln(1 − lr · rateₜ · λ) are kept for every step.
//! * [`Replay`]: Adam with gradient λ w at each missed step, replayed one by one in registers: no closed form exists,
//!   because the second moment changes with the weight. It costs about 20 ns a missed step for 16 values.

use crate::kernels::{self, AdamStep};

/// Decoupled decay of all rows of a table, exact for rows that were not touched.
#[derive(Debug, Clone)]
pub(super) struct Decay {
    strength: f64,
    /// Σ ln(1 − lr · rate · λ) over the first t steps, for every t.
    logarithms: Vec<f64>,
    /// Steps that each row has paid for. Empty where there is no decay.
    paid: Vec<u32>,
}

impl Decay {
    /// `strength` is lr · λ; below 1 (the config checks it). At 0 nothing is stored and nothing is done.
    pub(super) fn new(strength: f32, rows: usize) -> Self {
        let rows = if strength > 0.0 { rows } else { 0 };
        Decay { strength: f64::from(strength), logarithms: vec![0.0], paid: vec![0; rows] }
    }

    pub(super) fn is_on(&self) -> bool {
        self.strength > 0.0
    }

    /// Begins a step at `rate` times the learning rate: from now on rows owe it too.
    pub(super) fn begin(&mut self, rate: f32) {
        if self.is_on() {
            let last = self.logarithms[self.logarithms.len() - 1];
            // A rate above 1 could take the shrinkage past 1; a weight then ends at 0 and not beyond it.
            let shrinkage = (self.strength * f64::from(rate)).min(1.0 - 1e-9);
            self.logarithms.push(last + (-shrinkage).ln_1p());
        }
    }

    /// The steps that rows have paid for, to be cut for threads; and what turns one of them into a factor.
    pub(super) fn parts(&mut self) -> (&mut [u32], Owed<'_>) {
        (&mut self.paid, Owed { logarithms: &self.logarithms })
    }

    /// Pays for all rows of a copy of the table, `width` values a row.
    pub(super) fn settle(&self, table: &mut [f32], width: usize) {
        let owed = Owed { logarithms: &self.logarithms };
        for (row, &paid) in table.chunks_exact_mut(width).zip(&self.paid) {
            kernels::scale(owed.factor(paid), row);
        }
    }
}

/// Turns steps paid into the factor still owed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owed<'a> {
    logarithms: &'a [f64],
}

impl Owed<'_> {
    /// Factor for a row that has paid for `paid` steps.
    pub(super) fn factor(self, paid: u32) -> f32 {
        let now = self.logarithms[self.logarithms.len() - 1];
        (now - self.logarithms[paid as usize]).exp() as f32
    }

    /// Takes what the row owes off it.
    pub(super) fn pay(self, row: &mut [f32], paid: &mut u32) {
        let now = (self.logarithms.len() - 1) as u32;
        if *paid != now {
            kernels::scale(self.factor(*paid), row);
            *paid = now;
        }
    }
}

/// The steps of dense Adam so far, to be replayed on rows that missed some.
#[derive(Debug, Clone, Default)]
pub(super) struct Replay {
    /// λ of the penalty λ/2 · ‖w‖².
    pub(super) penalty: f32,
    steps: Vec<AdamStep>,
}

/// Largest embedding, so that a gradient fits on the stack.
pub(super) const LARGEST_DIM: usize = 256;

/// Missed steps that are replayed where there is a penalty. By then Adam has taken a row to its rest at 0: it moves a weight by
/// about a learning rate a step, whatever the penalty.
const LONGEST_REPLAY: usize = 1 << 14;

/// A never-touched row counts as at rest at 0 after this many steps (its first values are some learning rates from 0).
const NEVER_TOUCHED: usize = 1 << 10;

impl Replay {
    pub(super) fn new(penalty: f32) -> Self {
        Replay { penalty, steps: Vec::new() }
    }

    /// Number of steps so far.
    pub(super) fn now(&self) -> u32 {
        self.steps.len() as u32
    }

    /// Adds a step that rows can now miss.
    pub(super) fn push(&mut self, step: AdamStep) {
        self.steps.push(step);
    }

    /// Brings one row up to date; `paid` is the number of steps it has had.
    pub(super) fn pay(&self, row: &mut [f32], first: &mut [f32], second: &mut [f32], paid: &mut u32) {
        // Without a touch there are no moments, and without a penalty no gradient: nothing moves.
        let still = *paid == 0 && self.penalty == 0.0;
        let missed = &self.steps[*paid as usize..];
        *paid = self.now();
        let (Some(&AdamStep { beta1, beta2, .. }), false) = (missed.first(), still) else { return };
        let replayed = &missed[..missed.len().min(self.longest(beta1))];
        let mut gradient = [0.0; LARGEST_DIM];
        let gradient = &mut gradient[..row.len()];
        for step in replayed {
            if self.penalty > 0.0 {
                gradient.iter_mut().zip(&*row).for_each(|(gradient, weight)| *gradient = self.penalty * weight);
            }
            kernels::adam(row, first, second, gradient, step);
        }
        let rest = (missed.len() - replayed.len()) as i32;
        if rest > 0 {
            kernels::scale(beta1.powi(rest), first);
            kernels::scale(beta2.powi(rest), second);
        }
    }

    /// Brings all rows of a copy of the table up to date. Rows that no batch ever touched go to 0 where a penalty had
    /// time to take them there.
    pub(super) fn settle(&self, table: &mut [f32], first: &[f32], second: &[f32], paid: &[u32]) {
        let width = table.len() / paid.len().max(1);
        let (mut first_row, mut second_row) = ([0.0; LARGEST_DIM], [0.0; LARGEST_DIM]);
        let moments = first.chunks_exact(width).zip(second.chunks_exact(width));
        for ((row, (first, second)), &paid) in table.chunks_exact_mut(width).zip(moments).zip(paid) {
            if paid == 0 && self.penalty > 0.0 && self.steps.len() > NEVER_TOUCHED {
                row.fill(0.0);
                continue;
            }
            first_row[..width].copy_from_slice(first);
            second_row[..width].copy_from_slice(second);
            self.pay(row, &mut first_row[..width], &mut second_row[..width], &mut paid.clone());
        }
    }

    /// Without a penalty only the first moment moves a row; after this many steps it has fallen to a millionth.
    fn longest(&self, beta1: f32) -> usize {
        if self.penalty > 0.0 {
            return LONGEST_REPLAY;
        }
        if beta1 == 0.0 { 1 } else { (1e-6f32.ln() / beta1.ln()).ceil() as usize }
    }
}
