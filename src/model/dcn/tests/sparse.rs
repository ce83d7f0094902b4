//! Updates of touched rows only, against f64 loops that do every row at every step.

use super::super::deep::Dropout;
use super::super::embedding::Embedding;
use super::super::touched::Touched;
use super::super::wide::Wide;
use super::super::{EmbeddingRule, RawDcn, WideRule};
use super::{Rows, assert_near, checked, layout, small};
use crate::kernels::AdamStep;
use crate::model::{EMPTY_SLOT, Layout, Threads};
use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const DIM: usize = 3;
const TABLE: usize = 60;
const STEPS: u64 = 40;

#[test]
fn adam_moves_rows_that_were_not_touched_as_a_dense_table_would() {
    embeddings_agree(EmbeddingRule::Adam, 0.02);
    embeddings_agree(EmbeddingRule::Adam, 0.0);
}

#[test]
fn lazy_adam_decays_rows_that_were_not_touched() {
    embeddings_agree(EmbeddingRule::LazyAdam, 3.0);
    embeddings_agree(EmbeddingRule::LazyAdam, 0.0);
}

#[test]
fn adagrad_decays_rows_that_were_not_touched() {
    embeddings_agree(EmbeddingRule::Adagrad, 0.7);
}

/// One row is touched once, then missed for longer than a replay without penalty lasts.
#[test]
fn a_long_absence_is_cut_short_without_a_trace() {
    let raw = RawDcn { learning_rate: 0.01, ..small() };
    let layout = layout(&[("site", 1)], 2);
    let mut dense = Dense::new(&raw, &layout);
    let (mut embedding, mut touched) = (dense.embedding(), Touched::default());
    for step in 1..=600 {
        let rows = Rows { width: 1, slots: vec![u32::from(step != 1)], labels: vec![], weights: vec![] };
        let gradient = [0.5, -0.1, 0.2];
        step_once(&mut embedding, &mut touched, &rows, &gradient, &raw, step, 1.0);
        dense.step(&rows, &gradient, step, 1.0);
    }
    assert_near("table", &embedding.frozen(), &dense.table, 1e-5);
}

#[test]
fn a_row_that_no_batch_touched_ends_at_zero_where_dense_adam_takes_it() {
    let raw = RawDcn { l2_embedding: 1e-3, learning_rate: 1e-3, embedding_scale: 0.1, ..small() };
    let layout = layout(&[("site", 1)], 2);
    let mut dense = Dense::new(&raw, &layout);
    let (mut embedding, mut touched) = (dense.embedding(), Touched::default());
    let rows = Rows { width: 1, slots: vec![1], labels: vec![], weights: vec![] };
    for step in 1..=2_000 {
        step_once(&mut embedding, &mut touched, &rows, &[0.1; DIM], &raw, step, 1.0);
        dense.step(&rows, &[0.1; DIM], step, 1.0);
    }
    assert_eq!(embedding.frozen()[..DIM], [0.0; DIM]);
    assert!(embedding.table[..DIM].iter().any(|weight| weight.abs() > 1e-3), "it started somewhere else");
    assert!(dense.table[..DIM].iter().all(|weight| weight.abs() < 2e-3), "{:?}", &dense.table[..DIM]);
}

#[test]
fn every_rule_of_the_linear_part_agrees() {
    for wide in [WideRule::Adam, WideRule::Adagrad, WideRule::Ftrl] {
        let raw = RawDcn { wide, wide_learning_rate: Some(0.1), wide_l2: 0.3, wide_l1: 0.05, ..small() };
        let layout = layout(&[("site", 1), ("tags", 3)], TABLE);
        let config = checked(raw.clone());
        let (mut linear, mut touched) = (Wide::new(&config, &layout.spans, TABLE).unwrap(), Touched::default());
        let (mut weights, mut state) = (vec![0.0f64; TABLE], vec![[0.0f64; 2]; TABLE]);
        for step in 1..=STEPS {
            let rows = Rows::draw(&layout, 4, step);
            let gradients: Vec<f32> = rows.weights.iter().map(|weight| weight - 1.4).collect();
            let rate = rate(step);
            touched.sort(rows.slots(), TABLE);
            linear.catch_up(&touched);
            let mut logits = vec![0.0; 4];
            linear.forward(rows.slots(), &mut logits);
            let (sums, shares) = linear_gradient(&rows, &layout, &gradients);
            let expected: Vec<f64> =
                shares.iter().map(|row| row.iter().map(|(slot, share)| share * weights[*slot]).sum()).collect();
            assert_near("logits", &logits, &expected, 1e-5);
            let adam = AdamStep::new(0.0, raw.beta1, raw.beta2, raw.epsilon, step);
            linear.learn(rows.slots(), &touched, &gradients, &adam, rate as f32, Threads::one());
            for (slot, (weight, [a, b])) in weights.iter_mut().zip(&mut state).enumerate() {
                if wide != WideRule::Ftrl {
                    *weight *= 1.0 - 0.1 * rate * 0.3;
                }
                let Some(sum) = sums[slot] else { continue };
                match wide {
                    WideRule::Ftrl => {
                        let sigma = ((*b + sum * sum).sqrt() - b.sqrt()) / 0.1;
                        *a += sum - sigma * *weight;
                        *b += sum * sum;
                        let shrunk = (a.abs() - 0.05).max(0.0) * a.signum();
                        *weight = -shrunk / ((1.0 + b.sqrt()) / 0.1 + 0.3);
                    }
                    WideRule::Adagrad => {
                        *a += sum * sum;
                        *weight -= 0.1 * rate * sum / (a.sqrt() + 1.0);
                    }
                    _ => adam_step(weight, a, b, sum / 4.0, 0.1 * rate, step),
                }
            }
        }
        assert_near("linear weights", &linear.frozen(), &weights, 1e-5);
    }
}

/// Σ over places of share · gradient for each slot that occurs; and the share of each slot in each row.
type Shares = Vec<Vec<(usize, f64)>>;

fn linear_gradient(rows: &Rows, layout: &Layout, gradients: &[f32]) -> (Vec<Option<f64>>, Shares) {
    let mut sums = vec![None; TABLE];
    let shares: Shares = (0..gradients.len())
        .map(|row| {
            let spans = layout.spans.iter().flat_map(|span| {
                let present: Vec<usize> = (rows.slots().row(row)[span.range()].iter())
                    .filter(|slot| **slot != EMPTY_SLOT)
                    .map(|slot| *slot as usize)
                    .collect();
                let share = 1.0 / present.len().max(1) as f64;
                present.into_iter().map(move |slot| (slot, share))
            });
            spans.collect()
        })
        .collect();
    for (row, gradient) in shares.iter().zip(gradients) {
        for (slot, share) in row {
            *sums[*slot].get_or_insert(0.0) += share * f64::from(*gradient);
        }
    }
    (sums, shares)
}

fn embeddings_agree(rule: EmbeddingRule, l2: f32) {
    let raw = RawDcn { embedding_optimizer: rule, l2_embedding: l2, embedding_learning_rate: Some(0.02), ..small() };
    let layout = layout(&[("site", 1), ("tags", 3)], TABLE);
    let mut dense = Dense::new(&raw, &layout);
    let (mut embedding, mut touched) = (dense.embedding(), Touched::default());
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(8);
    for step in 1..=STEPS {
        let rows = Rows::draw(&layout, 4, step);
        let gradient: Vec<f32> =
            (0..4 * 2 * DIM).map(|_| generator.next_u32() as f32 / u32::MAX as f32 - 0.3).collect();
        let x0 = step_once(&mut embedding, &mut touched, &rows, &gradient, &raw, step, rate(step));
        let expected = dense.step(&rows, &gradient, step, rate(step));
        assert_near(&format!("{rule:?}: x0 at step {step}"), &x0, &expected, 2e-5);
    }
    assert_near(&format!("{rule:?}: table"), &embedding.frozen(), &dense.table, 2e-5);
    let far = dense.table.iter().zip(&dense.start).filter(|(now, start)| (*now - *start).abs() > 1e-3).count();
    assert!(far > TABLE, "only {far} of {} numbers moved", TABLE * DIM);
}

/// A rate that changes, so that missed steps are not all alike.
fn rate(step: u64) -> f64 {
    [1.0, 0.25, 2.0][step as usize % 3]
}

/// One step of the embedding alone; returns the x₀ it read before.
fn step_once(
    embedding: &mut Embedding,
    touched: &mut Touched,
    rows: &Rows,
    gradient: &[f32],
    raw: &RawDcn,
    step: u64,
    rate: f64,
) -> Vec<f32> {
    let slots = rows.slots();
    touched.sort(slots, embedding.table.len() / DIM);
    embedding.catch_up(touched, Threads::one());
    let mut x0 = vec![0.0; slots.rows() * embedding.width()];
    let mut scales = vec![0.0; x0.len() / DIM];
    embedding.forward(slots, Dropout::NONE, 0, &mut x0, &mut scales);
    let adam = AdamStep::new(0.0, raw.beta1, raw.beta2, raw.epsilon, step);
    embedding.learn(slots, touched, (&scales, gradient), &adam, rate as f32, Threads::one());
    x0
}

/// The same table in f64, every row at every step.
struct Dense {
    raw: RawDcn,
    layout: Layout,
    start: Vec<f64>,
    table: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    accumulators: Vec<f64>,
}

impl Dense {
    fn new(raw: &RawDcn, layout: &Layout) -> Self {
        let mut dense = Dense {
            raw: raw.clone(),
            layout: layout.clone(),
            start: vec![],
            table: vec![],
            first: vec![0.0; layout.table_rows * DIM],
            second: vec![0.0; layout.table_rows * DIM],
            accumulators: vec![0.0; layout.table_rows],
        };
        dense.start = dense.embedding().table.iter().map(|weight| f64::from(*weight)).collect();
        dense.table = dense.start.clone();
        dense
    }

    fn embedding(&self) -> Embedding {
        let spans = self.layout.spans.clone();
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(1);
        Embedding::new(&checked(self.raw.clone()), spans, self.layout.table_rows, &mut generator)
    }

    /// Returns x₀ from before the step.
    fn step(&mut self, rows: &Rows, gradient_x0: &[f32], step: u64, rate: f64) -> Vec<f64> {
        let mut gradient: Vec<Option<[f64; DIM]>> = vec![None; self.layout.table_rows];
        let mut x0 = Vec::new();
        for row in 0..rows.slots().rows() {
            for span in &self.layout.spans {
                let field = &gradient_x0[x0.len()..x0.len() + DIM];
                let mut mean = [0.0; DIM];
                let slots = &rows.slots().row(row)[span.range()];
                let present: Vec<_> = slots.iter().filter(|slot| **slot != EMPTY_SLOT).collect();
                for slot in &present {
                    for value in 0..DIM {
                        let share = 1.0 / present.len() as f64;
                        mean[value] += share * self.table[**slot as usize * DIM + value];
                        gradient[**slot as usize].get_or_insert([0.0; DIM])[value] += share * f64::from(field[value]);
                    }
                }
                x0.extend(mean);
            }
        }
        let learning_rate = f64::from(checked(self.raw.clone()).embedding_learning_rate()) * rate;
        let l2 = f64::from(self.raw.l2_embedding);
        for (row, gradient) in gradient.into_iter().enumerate() {
            let square = gradient.map_or(0.0, |gradient| gradient.iter().map(|g| g * g).sum::<f64>() / DIM as f64);
            self.accumulators[row] += square;
            for value in 0..DIM {
                let at = row * DIM + value;
                let (weight, first, second) = (&mut self.table[at], &mut self.first[at], &mut self.second[at]);
                let of_batch = gradient.map(|gradient| gradient[value]);
                if self.raw.embedding_optimizer == EmbeddingRule::Adam {
                    let gradient = of_batch.unwrap_or(0.0) + l2 * *weight;
                    adam_step(weight, first, second, gradient, learning_rate, step);
                    continue;
                }
                *weight *= 1.0 - learning_rate * l2;
                let Some(gradient) = of_batch else { continue };
                match self.raw.embedding_optimizer {
                    EmbeddingRule::Adagrad => {
                        *weight -= learning_rate * gradient / (self.accumulators[row].sqrt() + 1e-8)
                    }
                    _ => adam_step(weight, first, second, gradient, learning_rate, step),
                }
            }
        }
        x0
    }
}

/// Adam as PyTorch takes it, with the betas of f32.
fn adam_step(weight: &mut f64, first: &mut f64, second: &mut f64, gradient: f64, learning_rate: f64, step: u64) {
    let (beta1, beta2) = (f64::from(0.9f32), f64::from(0.999f32));
    *first = beta1 * *first + (1.0 - beta1) * gradient;
    *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
    let (correction1, correction2) = (1.0 - beta1.powf(step as f64), 1.0 - beta2.powf(step as f64));
    *weight -= learning_rate * *first / correction1 / ((*second / correction2).sqrt() + 1e-8);
}
