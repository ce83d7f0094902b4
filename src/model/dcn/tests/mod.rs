//! The network against independent truths: PyTorch, finite differences in f64, explicit dense loops.

mod bits;
mod config;
mod gradients;
mod int8;
mod learning;
mod narrow;
mod parity;
mod reference;
mod sparse;

use super::{DcnConfig, DcnLearner, LearningPrecision, RawDcn};
use crate::model::{Batch, EMPTY_SLOT, Layout, Slots, Span};
use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A checked config.
fn checked(raw: RawDcn) -> DcnConfig {
    DcnConfig::try_from(raw).unwrap()
}

/// A small network; tests change what they are about.
fn small() -> RawDcn {
    RawDcn {
        embedding_dim: 3,
        cross_layers: 2,
        deep: vec![7, 5],
        embedding_scale: 0.5,
        precision: LearningPrecision::F32,
        ..RawDcn::default()
    }
}

/// Spans of the given lengths; names with `*` are crosses.
fn layout(spans: &[(&str, usize)], table_rows: usize) -> Layout {
    let mut start = 0;
    let spans = spans.iter().map(|&(name, len)| {
        start += len;
        Span { name: name.into(), start: start - len, len }
    });
    Layout { spans: spans.collect(), table_rows }
}

/// Three fields, one of them a bag, and a cross, over 30 slots.
fn mixed_layout() -> Layout {
    layout(&[("site", 1), ("tags", 3), ("hour", 1), ("site*hour", 1)], 30)
}

/// Rows drawn at random; bags are often short and sometimes empty.
struct Rows {
    width: usize,
    slots: Vec<u32>,
    labels: Vec<f32>,
    weights: Vec<f32>,
}

impl Rows {
    fn draw(layout: &Layout, rows: usize, seed: u64) -> Self {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut drawn = Rows { width: layout.width(), slots: Vec::new(), labels: Vec::new(), weights: Vec::new() };
        for _ in 0..rows {
            for span in &layout.spans {
                for _ in 0..span.len {
                    let empty = span.len > 1 && generator.next_u32() % 2 == 0;
                    let slot = generator.next_u32() % layout.table_rows as u32;
                    drawn.slots.push(if empty { EMPTY_SLOT } else { slot });
                }
            }
            drawn.labels.push((generator.next_u32() % 2) as f32);
            drawn.weights.push(0.5 + (generator.next_u32() % 100) as f32 / 50.0);
        }
        drawn
    }

    fn slots(&self) -> Slots<'_> {
        Slots::new(self.width, &self.slots)
    }

    fn batch(&self) -> Batch<'_> {
        Batch { slots: self.slots(), labels: &self.labels, weights: Some(&self.weights) }
    }
}

/// Replaces weights by name.
fn set(learner: &mut DcnLearner, name: &str, values: &[f32]) {
    let (_, weights) = learner.weights_by_name().into_iter().find(|(weight, _)| weight == name).unwrap();
    weights.copy_from_slice(values);
}

/// Every weight is near its expected value: within `relative` of the largest of its tensor.
#[track_caller]
fn assert_near(name: &str, got: &[f32], expected: &[f64], relative: f64) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(1e-3, |largest: f64, value| largest.max(value.abs()));
    for (at, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let off = (f64::from(got) - expected).abs() / largest;
        assert!(off <= relative, "{name}[{at}]: got {got}, expected {expected}, off by {off:.1e} of {largest:.1e}");
    }
}
