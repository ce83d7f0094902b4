//! What the network learns where the truth is known.

use super::super::{DcnLearner, DcnScratch, LearningPrecision, RawDcn, WideRule};
use super::{Rows, checked, layout};
use crate::model::{Batch, Learn, Predict, Threads};

/// Clicks depend on whether two fields are of the same parity: no linear model sees anything, a product sees all.
#[test]
fn an_interaction_is_learned_by_crosses_and_by_the_tower() {
    let raw = RawDcn { embedding_dim: 4, learning_rate: 5e-3, embedding_scale: 0.1, ..RawDcn::default() };
    let crosses = held_out_loss(RawDcn { cross_layers: 2, deep: vec![], ..raw.clone() });
    assert!(crosses < 0.40, "cross layers: {crosses}");
    let mixture = held_out_loss(RawDcn { cross_layers: 2, cross_rank: 4, deep: vec![], ..raw.clone() });
    assert!(mixture < 0.40, "low-rank cross layers: {mixture}");
    let tower = held_out_loss(RawDcn { cross_layers: 0, deep: vec![32, 16], ..raw.clone() });
    assert!(tower < 0.40, "tower: {tower}");
    let linear = held_out_loss(RawDcn { cross_layers: 0, deep: vec![], wide: WideRule::Ftrl, ..raw });
    assert!(linear > 0.68, "a linear model cannot: {linear}");
}

#[test]
fn bfloat16_learns_as_well() {
    let raw =
        RawDcn { embedding_dim: 4, learning_rate: 5e-3, embedding_scale: 0.1, deep: vec![32, 16], ..RawDcn::default() };
    let [exact, rounded] = [LearningPrecision::F32, LearningPrecision::Bf16]
        .map(|precision| held_out_loss(RawDcn { precision, ..raw.clone() }));
    assert!(exact != rounded && (exact - rounded).abs() < 0.005, "f32 {exact}, bf16 {rounded}");
    assert!(rounded < 0.40, "{rounded}");
}

/// Click probability is 0.1 or 0.9, so the best possible loss is 0.325.
fn held_out_loss(raw: RawDcn) -> f64 {
    let layout = layout(&[("left", 1), ("right", 1)], 40);
    let draw = |rows, seed| {
        let mut drawn = Rows::draw(&layout, rows, seed);
        for row in 0..rows {
            let [left, right] = [drawn.slots[2 * row] % 20, drawn.slots[2 * row + 1] % 20 + 20];
            drawn.slots[2 * row..2 * row + 2].copy_from_slice(&[left, right]);
            let noise = drawn.weights[row] > 2.3;
            drawn.labels[row] = f32::from(u8::from((left % 2 == right % 2) != noise));
        }
        drawn
    };
    let mut learner = DcnLearner::new(checked(raw), layout.clone(), 1).unwrap();
    for step in 0..400 {
        let rows = draw(128, step);
        learner.learn(&Batch { weights: None, ..rows.batch() }, 1.0, Threads::one());
    }
    let rows = draw(2_000, 1_000_000);
    let mut logits = vec![0.0; 2_000];
    learner.freeze().predict(rows.slots(), &mut DcnScratch::default(), &mut logits);
    let losses = logits.iter().zip(&rows.labels).map(|(&logit, &label)| {
        let sign = if label > 0.5 { -1.0 } else { 1.0 };
        f64::from(sign * logit).exp().ln_1p()
    });
    losses.sum::<f64>() / 2_000.0
}

/// Summed over a first pass, the returned loss is the progressive loss: each batch is scored before it is learned.
#[test]
fn the_loss_is_that_before_the_step_and_weights_count() {
    let layout = layout(&[("site", 1)], 4);
    let mut learner = DcnLearner::new(checked(super::small()), layout.clone(), 1).unwrap();
    learner.set_bias(0.0);
    let rows = Rows::draw(&layout, 10, 1);
    let scored = |learner: &DcnLearner, weights: &[f32]| {
        let mut logits = vec![0.0; 10];
        learner.freeze().predict(rows.slots(), &mut DcnScratch::default(), &mut logits);
        let losses = logits.iter().zip(&rows.labels).zip(weights).map(|((&logit, &label), &weight)| {
            f64::from(weight) * f64::from(if label > 0.5 { -logit } else { logit }).exp().ln_1p()
        });
        losses.sum::<f64>()
    };
    let before = scored(&learner, &rows.weights);
    let loss = learner.learn(&rows.batch(), 1.0, Threads::one());
    assert!((loss - before).abs() < 1e-5 * before, "{loss} for {before}");
    assert!(scored(&learner, &rows.weights) < before, "a step helps");
    let plain = scored(&learner, &[1.0; 10]);
    let loss = learner.learn(&Batch { weights: None, ..rows.batch() }, 1.0, Threads::one());
    assert!((loss - plain).abs() < 1e-5 * plain, "{loss} for {plain}");
    assert_eq!(learner.steps(), 2);
    let nothing = Batch { slots: rows.slots().range(0..0), labels: &[], weights: None };
    assert_eq!((learner.learn(&nothing, 1.0, Threads::one()), learner.steps()), (0.0, 2));
}
