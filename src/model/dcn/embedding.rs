//! Slots → x₀, the embeddings of a row's fields side by side; and the gradient of x₀ back to the rows of the table.
//!
//! A plain field gives the row of its slot. A bag gives the mean over its present slots; a field with none gives zeros.
//! Dropout takes whole fields of a row.
//!
//! Only rows of the batch are touched: places are sorted by slot, gradients added up in the order of the batch, and each row
//! is stepped once.

use super::config::{DcnConfig, EmbeddingInit, EmbeddingRule, RawDcn};
use super::deep::Dropout;
use super::optimizer::{Decay, LARGEST_DIM, Replay};
use super::parameters;
use super::touched::{Touched, split_rows};
use crate::kernels::{self, AdamStep, Table};
use crate::model::{EMPTY_SLOT, Slots, Span, Threads};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::ops::Range;

/// The table, `table_rows × dim`, and how it learns.
#[derive(Debug, Clone)]
pub(super) struct Embedding {
    dim: usize,
    fields: Vec<Span>,
    /// Field of each position of a row.
    field_of: Vec<u32>,
    pub(super) table: Table,
    rule: EmbeddingRule,
    learning_rate: f32,
    epsilon: f32,
    /// Moments of Adam, as the table.
    first: Table,
    second: Table,
    /// Accumulators of Adagrad, one a row.
    accumulators: Vec<f32>,
    /// Steps each row has had, for dense Adam.
    paid: Vec<u32>,
    replay: Replay,
    decay: Decay,
}

impl Embedding {
    /// `fields` are ranges of a narrowed row, without gaps.
    pub(super) fn new(
        config: &DcnConfig,
        fields: Vec<Span>,
        table_rows: usize,
        generator: &mut Xoshiro256PlusPlus,
    ) -> Self {
        let settings = config.settings();
        let (dim, rule, scale) = (settings.embedding_dim, settings.embedding_optimizer, settings.embedding_scale);
        let mut table = Table::zeros(table_rows * dim);
        table.iter_mut().for_each(|weight| {
            *weight = match settings.embedding_init {
                EmbeddingInit::Normal => scale * parameters::normal(generator),
                EmbeddingInit::Uniform => scale * parameters::uniform(generator),
            };
        });
        let field_of = (0u32..).zip(&fields).flat_map(|(field, span)| std::iter::repeat_n(field, span.len)).collect();
        let when = |condition: bool, length: usize| if condition { length } else { 0 };
        let moments = when(rule != EmbeddingRule::Adagrad, table_rows * dim);
        let learning_rate = config.embedding_learning_rate();
        let decay = if rule == EmbeddingRule::Adam { 0.0 } else { learning_rate * settings.l2_embedding };
        Embedding {
            dim,
            fields,
            field_of,
            table,
            rule,
            learning_rate,
            epsilon: settings.epsilon,
            first: Table::zeros(moments),
            second: Table::zeros(moments),
            accumulators: vec![0.0; when(rule == EmbeddingRule::Adagrad, table_rows)],
            paid: vec![0; when(rule == EmbeddingRule::Adam, table_rows)],
            replay: Replay::new(settings.l2_embedding),
            decay: Decay::new(decay, table_rows),
        }
    }

    /// Values of x₀ for one row.
    pub(super) fn width(&self) -> usize {
        self.fields.len() * self.dim
    }

    /// Brings the rows of the batch up to date with the steps they missed. Comes before [`Embedding::forward`].
    pub(super) fn catch_up(&mut self, touched: &Touched, threads: Threads<'_>) {
        let dim = self.dim;
        if self.rule == EmbeddingRule::Adam {
            let (table, first, second, paid) = (&mut self.table, &mut self.first, &mut self.second, &mut self.paid);
            let cuts = touched.cuts();
            let parts = (split_rows(table, dim, &cuts).into_iter().zip(split_rows(first, dim, &cuts)))
                .zip(split_rows(second, dim, &cuts).into_iter().zip(split_rows(paid, 1, &cuts)));
            let replay = &self.replay;
            touched.for_each(threads, cuts, parts, |numbers, first_row, ((table, first), (second, paid))| {
                for number in numbers {
                    if let Some(ahead) = touched.ahead(number) {
                        prefetch_rows([&*table, &*first, &*second], dim, ahead - first_row);
                    }
                    let row = touched.get(number).0 - first_row;
                    let at = row * dim..(row + 1) * dim;
                    replay.pay(&mut table[at.clone()], &mut first[at.clone()], &mut second[at], &mut paid[row]);
                }
            });
        } else if self.decay.is_on() {
            let (paid, owed) = self.decay.parts();
            let table = &mut self.table;
            let cuts = touched.cuts();
            let parts = split_rows(table, dim, &cuts).into_iter().zip(split_rows(paid, 1, &cuts));

            touched.for_each(threads, cuts, parts, |numbers, first_row, (table, paid)| {
                for number in numbers {
                    let row = touched.get(number).0 - first_row;
                    owed.pay(&mut table[row * dim..(row + 1) * dim], &mut paid[row]);
                }
            });
        }
    }

    /// Whether anything multiplies fields: dropout, or 1 / present slots of a bag.
    pub(super) fn scales_fields(&self, settings: &RawDcn) -> bool {
        settings.embedding_dropout > 0.0 || self.field_of.len() > self.fields.len()
    }

    /// `slots` of rows from `first` on → `x0`, rows × width; and what each field was multiplied by, rows × fields, unless
    /// `scales` is empty.
    pub(super) fn forward(&self, slots: Slots<'_>, dropout: Dropout, first: usize, x0: &mut [f32], scales: &mut [f32]) {
        let (count, width, dim) = (self.fields.len(), self.width(), self.dim);
        gather(&self.table, dim, &self.fields, slots, x0);
        scales.fill(1.0);
        kernels::dropout(scales, dropout.keep, dropout.seed, (first * count) as u64);
        for (row, scales) in scales.chunks_exact_mut(count).enumerate() {
            let x0 = &mut x0[row * width..(row + 1) * width];
            for ((span, scale), x0) in self.fields.iter().zip(scales).zip(x0.chunks_exact_mut(dim)) {
                if *scale != 1.0 {
                    kernels::scale(*scale, x0);
                }
                *scale *= share(slots.row(row), span);
            }
        }
    }

    /// One step on the rows of the batch, from the scales that [`Embedding::forward`] gave and ∂x₀, rows × width, of the loss
    /// that the learning rate is meant for.
    pub(super) fn learn(
        &mut self,
        slots: Slots<'_>,
        touched: &Touched,
        (scales, gradient_x0): (&[f32], &[f32]),
        step: &AdamStep,
        rate: f32,
        threads: Threads<'_>,
    ) {
        let dim = self.dim;
        let step = AdamStep { learning_rate: self.learning_rate * rate, ..*step };
        if self.rule == EmbeddingRule::Adam {
            self.replay.push(step);
        }
        self.decay.begin(rate);
        let (paid_decay, owed) = self.decay.parts();
        let (table, first, second) = (&mut self.table, &mut self.first, &mut self.second);
        let (accumulators, paid) = (&mut self.accumulators, &mut self.paid);
        let cuts = touched.cuts();
        let parts = (split_rows(table, dim, &cuts).into_iter())
            .zip(split_rows(first, dim, &cuts).into_iter().zip(split_rows(second, dim, &cuts)))
            .zip(split_rows(accumulators, 1, &cuts).into_iter().zip(split_rows(paid, 1, &cuts)))
            .zip(split_rows(paid_decay, 1, &cuts));
        let places = Places::new(slots, self.fields.len(), &self.field_of, (scales, gradient_x0), dim);
        let (rule, epsilon, replay) = (self.rule, self.epsilon, &self.replay);
        touched.for_each(threads, cuts, parts, |numbers, first_row, part| {
            let (((table, (first, second)), (accumulators, paid)), paid_decay) = part;
            let mut sum = [0.0; LARGEST_DIM];
            let sum = &mut sum[..dim];
            for number in numbers {
                if let Some(ahead) = touched.ahead(number) {
                    prefetch_rows([&*table, &*first, &*second], dim, ahead - first_row);
                }
                let (slot, indices) = touched.get(number);
                places.add_up(touched, indices, sum);
                let row = slot - first_row;
                let at = row * dim..(row + 1) * dim;
                let weights = &mut table[at.clone()];
                if let Some(paid) = paid_decay.get_mut(row) {
                    owed.pay(weights, paid);
                }
                match rule {
                    EmbeddingRule::Adam => {
                        sum.iter_mut().zip(&*weights).for_each(|(sum, weight)| *sum += replay.penalty * weight);
                        kernels::adam(weights, &mut first[at.clone()], &mut second[at], sum, &step);
                        paid[row] = replay.now();
                    }
                    EmbeddingRule::LazyAdam => {
                        kernels::adam(weights, &mut first[at.clone()], &mut second[at], sum, &step);
                    }
                    EmbeddingRule::Adagrad => {
                        kernels::adagrad_rowwise(weights, sum, &mut accumulators[row], step.learning_rate, epsilon);
                    }
                }
            }
        });
    }

    /// A copy of the table with every row up to date.
    pub(super) fn frozen(&self) -> Vec<f32> {
        let mut table = self.table.to_vec();
        match self.rule {
            EmbeddingRule::Adam => self.replay.settle(&mut table, &self.first, &self.second, &self.paid),
            EmbeddingRule::LazyAdam | EmbeddingRule::Adagrad => self.decay.settle(&mut table, self.dim),
        }
        table
    }

    /// ∂loss/∂table in full, for tests: what [`Embedding::learn`] would step with.
    #[cfg(test)]
    pub(super) fn gradient(&self, slots: Slots<'_>, touched: &Touched, gradients: (&[f32], &[f32])) -> Vec<f32> {
        let places = Places::new(slots, self.fields.len(), &self.field_of, gradients, self.dim);
        let mut full = vec![0.0; self.table.len()];
        for number in 0..touched.len() {
            let (slot, indices) = touched.get(number);
            places.add_up(touched, indices, &mut full[slot * self.dim..(slot + 1) * self.dim]);
        }
        full
    }
}

/// Where the gradients of a slot's places are found.
struct Places<'a> {
    dim: usize,
    fields: usize,
    /// Positions of a row.
    width: usize,
    field_of: &'a [u32],
    /// Empty where all are 1.
    scales: &'a [f32],
    gradient_x0: &'a [f32],
}

/// Places between the one whose gradient is asked for and the one added.
const PLACES_AHEAD: usize = 12;

impl<'a> Places<'a> {
    fn new(
        slots: Slots<'_>,
        fields: usize,
        field_of: &'a [u32],
        (scales, gradient_x0): (&'a [f32], &'a [f32]),
        dim: usize,
    ) -> Self {
        Places { dim, fields, width: slots.width(), field_of, scales, gradient_x0 }
    }

    /// Σ over places of scale · ∂x₀, in order. `places` are numbers of places of `touched`.
    fn add_up(&self, touched: &Touched, places: Range<usize>, sum: &mut [f32]) {
        sum.fill(0.0);
        for place in places {
            if let Some(ahead) = touched.index(place + PLACES_AHEAD) {
                let at = self.field_of_batch(ahead) * self.dim;
                kernels::prefetch(self.gradient_x0, at);
                kernels::prefetch(self.gradient_x0, at + self.dim - 1);
            }
            let at = touched.index(place).map_or(0, |index| self.field_of_batch(index));
            let gradient = &self.gradient_x0[at * self.dim..(at + 1) * self.dim];
            match self.scales.get(at) {
                Some(&scale) => sum.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += scale * gradient),
                None => sum.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient),
            }
        }
    }

    /// Index of a place into the batch's slots → number of its field, counted through all rows.
    fn field_of_batch(&self, index: usize) -> usize {
        if self.width == self.fields {
            return index;
        }
        index / self.width * self.fields + self.field_of[index % self.width] as usize
    }
}

/// Asks for the lines of one row of several tables. Rows outside are fine: they belong to another piece of work.
fn prefetch_rows(tables: [&[f32]; 3], dim: usize, row: usize) {
    for table in tables {
        kernels::prefetch(table, row * dim);
        kernels::prefetch(table, row * dim + dim - 1);
    }
}

/// Embeddings of `slots` → `x0`, rows × fields × dim. Asks for the table's lines one row ahead.
pub(super) fn gather(table: &[f32], dim: usize, fields: &[Span], slots: Slots<'_>, x0: &mut [f32]) {
    gather_some(table, dim, fields, 0..fields.len(), slots, x0);
}

/// [`gather`] of some fields only, by number; what else is in `x0` stays.
pub(super) fn gather_some(
    table: &[f32],
    dim: usize,
    fields: &[Span],
    numbers: impl Iterator<Item = usize> + Clone,
    slots: Slots<'_>,
    x0: &mut [f32],
) {
    let width = fields.len() * dim;
    for (row, x0) in x0.chunks_exact_mut(width).enumerate() {
        if row + 1 < slots.rows() {
            let ahead = slots.row(row + 1);
            let positions = numbers.clone().flat_map(|number| fields[number].range());
            for &slot in positions.map(|position| &ahead[position]).filter(|slot| **slot != EMPTY_SLOT) {
                let start = slot as usize * dim;
                kernels::prefetch(table, start);
                kernels::prefetch(table, start + dim - 1);
            }
        }
        let slots = slots.row(row);
        for number in numbers.clone() {
            let (span, x0) = (&fields[number], &mut x0[number * dim..][..dim]);
            if let ([slot], false) = (&slots[span.range()], slots[span.start] == EMPTY_SLOT) {
                x0.copy_from_slice(&table[*slot as usize * dim..][..dim]);
                continue;
            }
            x0.fill(0.0);
            for &slot in slots[span.range()].iter().filter(|slot| **slot != EMPTY_SLOT) {
                let weights = &table[slot as usize * dim..][..dim];
                x0.iter_mut().zip(weights).for_each(|(x0, weight)| *x0 += weight);
            }
            let share = share(slots, span);
            if share != 1.0 {
                x0.iter_mut().for_each(|value| *value *= share);
            }
        }
    }
}

/// 1 / number of present slots in a span of a row: the weight of each in the mean. 1 where there are none.
pub(super) fn share(row: &[u32], span: &Span) -> f32 {
    if span.len == 1 {
        return 1.0;
    }
    let present = row[span.range()].iter().filter(|slot| **slot != EMPTY_SLOT).count();
    1.0 / present.max(1) as f32
}
