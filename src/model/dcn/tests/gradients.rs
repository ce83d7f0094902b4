//! Every gradient against central differences of the f64 reference.

use super::super::learner::dropout_factors;
use super::super::{DcnConfig, DcnLearner, RawDcn, Structure, WideRule};
use super::reference::{self, Weights};
use super::{Rows, assert_near, checked, mixed_layout, small};
use crate::model::Layout;

#[test]
fn parallel_full_rank_with_a_linear_part() {
    check(RawDcn { wide: WideRule::Adam, ..small() });
}

#[test]
fn parallel_mixture() {
    check(RawDcn { cross_rank: 2, cross_experts: 3, ..small() });
}

#[test]
fn stacked_mixture_with_batch_norm() {
    check(RawDcn { structure: Structure::Stacked, cross_rank: 4, cross_experts: 2, batch_norm: true, ..small() });
}

#[test]
fn stacked_full_rank() {
    check(RawDcn { structure: Structure::Stacked, ..small() });
}

#[test]
fn dropout_of_fields_and_tower() {
    check(RawDcn { dropout: 0.4, embedding_dropout: 0.3, cross_dropout: 0.5, ..small() });
    check(RawDcn { structure: Structure::Stacked, dropout: 0.3, embedding_dropout: 0.2, batch_norm: true, ..small() });
}

#[test]
fn without_cross_layers_without_tower_and_without_both() {
    check(RawDcn { cross_layers: 0, ..small() });
    check(RawDcn { deep: vec![], ..small() });
    check(RawDcn { structure: Structure::Stacked, deep: vec![], ..small() });
    check(RawDcn { cross_layers: 0, deep: vec![], embed_crosses: true, wide: WideRule::Ftrl, ..small() });
}

/// Rows: more than one block, and the last block not full.
fn check(raw: RawDcn) {
    let (config, layout) = (checked(raw), mixed_layout());
    let rows = Rows::draw(&layout, 150, 5);
    let batch = rows.batch();
    let mut learner = DcnLearner::new(config.clone(), layout.clone(), 3).unwrap();
    for (at, (_, values)) in learner.weights_by_name().into_iter().enumerate() {
        // Biases and linear weights start at 0, where nothing would be seen of them.
        for (index, value) in values.iter_mut().enumerate().filter(|(_, value)| **value == 0.0) {
            *value = 0.2 * ((at + index) as f32).sin();
        }
    }
    let factors = factors(&config, &layout, &learner, rows.labels.len());
    let mut weights: Weights = (learner.weights_by_name().into_iter())
        .map(|(name, values)| (name, values.iter().map(|value| f64::from(*value)).collect()))
        .collect();
    let (loss, gradients) = learner.gradients_by_name(&batch);

    let expected = reference::logits(&config, &layout, &weights, &factors, &batch);
    assert_near("logits", learner.logits(), &expected, 1e-5);
    let expected = reference::loss(&config, &layout, &weights, &factors, &batch) * rows.labels.len() as f64;
    assert!((loss - expected).abs() < 1e-5 * expected, "loss {loss}, expected {expected}");
    assert_eq!(gradients.len(), weights.len());
    for (name, gradient) in gradients {
        let mut difference = |at: usize| {
            let mut at_offset = |offset: f64| {
                let weight = weights.get_mut(&name).unwrap();
                let before = weight[at];
                weight[at] += offset;
                let loss = reference::loss(&config, &layout, &weights, &factors, &batch);
                weights.get_mut(&name).unwrap()[at] = before;
                loss
            };
            (at_offset(STEP) - at_offset(-STEP)) / (2.0 * STEP)
        };
        // All of a small tensor, and some elements of a large one.
        let stride = gradient.len().div_ceil(60);
        let some = || (0..gradient.len()).step_by(stride);
        let expected: Vec<f64> = some().map(&mut difference).collect();
        let got: Vec<f32> = some().map(|at| gradient[at]).collect();
        assert_near(&name, &got, &expected, 1e-4);
        assert!(gradient.iter().any(|gradient| *gradient != 0.0), "{name} has no gradient");
    }
}

const STEP: f64 = 1e-6;

/// What dropout will multiply by: fields, then the layers of the tower, then what the head reads of the cross layers.
fn factors(config: &DcnConfig, layout: &Layout, learner: &DcnLearner, rows: usize) -> reference::Factors {
    let settings = config.settings();
    let all = settings.wide == WideRule::None || settings.embed_crosses;
    let fields = layout.spans.iter().filter(|span| all || !span.name.contains('*')).count();
    let mut factors = vec![dropout_factors(learner, 0, settings.embedding_dropout, rows * fields)];
    for (layer, &width) in (1..).zip(&settings.deep) {
        factors.push(dropout_factors(learner, layer, settings.dropout, rows * width));
    }
    let last = settings.deep.len() as u64 + 1;
    factors.push(dropout_factors(learner, last, settings.cross_dropout, rows * fields * settings.embedding_dim));
    for (factors, share) in factors.iter().zip([settings.embedding_dropout, settings.dropout]) {
        let dropped = factors.iter().filter(|factor| **factor == 0.0).count() as f32 / factors.len() as f32;
        assert!((dropped - share).abs() < 0.1, "{dropped} dropped for {share}");
    }
    factors
}
