//! The same bits: at any number of threads, in any block of rows, before and after a bundle.

use super::super::{DcnLearner, DcnModel, DcnScratch, EmbeddingRule, LearningPrecision, RawDcn, Structure, WideRule};
use super::{Rows, checked, layout, mixed_layout, small};
use crate::error::Kind;
use crate::model::{Layout, Learn, Predict, Slots, Threads};
use std::sync::Arc;

/// Settings that go through every layer and rule once.
fn variants() -> [RawDcn; 6] {
    let regularized =
        RawDcn { dropout: 0.2, cross_dropout: 0.2, embedding_dropout: 0.1, l2_embedding: 0.01, ..small() };
    [
        RawDcn { wide: WideRule::Ftrl, ..regularized.clone() },
        RawDcn { cross_rank: 4, cross_experts: 2, batch_norm: true, weight_decay: 0.1, ..regularized.clone() },
        RawDcn { structure: Structure::Stacked, embedding_optimizer: EmbeddingRule::LazyAdam, ..regularized.clone() },
        RawDcn { wide: WideRule::Adam, embedding_min_count: 3, ..regularized.clone() },
        RawDcn { precision: LearningPrecision::Bf16, batch_norm: true, deep: vec![9, 5, 3], ..regularized.clone() },
        RawDcn { embedding_optimizer: EmbeddingRule::Adagrad, wide: WideRule::Adagrad, wide_l2: 0.1, ..regularized },
    ]
}

/// Slots enough that touched rows make several pieces of work.
fn large_layout() -> Layout {
    layout(&[("site", 1), ("tags", 3), ("hour", 1), ("site*hour", 1)], 5_000)
}

#[test]
fn threads_do_not_change_a_bit() {
    for raw in variants() {
        let mut runs = (1..=3).map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut learner = learner(raw.clone(), large_layout(), 4);
            let losses: Vec<u64> = (0..4)
                .map(|step| {
                    let rows = Rows::draw(&large_layout(), 700 + 130 * step, step as u64);
                    learner.learn(&rows.batch(), 1.0, Threads::of(&pool)).to_bits()
                })
                .collect();
            (losses, bits(&learner.freeze()))
        });
        let one = runs.next().unwrap();
        assert!(runs.all(|run| run == one), "{raw:?}");
    }
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let learn = |seed| {
        let mut learner = learner(variants()[0].clone(), mixed_layout(), seed);
        learner.learn(&Rows::draw(&mixed_layout(), 50, 1).batch(), 1.0, Threads::one());
        bits(&learner.freeze())
    };
    assert_eq!(learn(7), learn(7));
    assert_ne!(learn(7), learn(8));
}

#[test]
fn a_row_scores_alike_alone_and_in_company() {
    for raw in variants() {
        let mut learner = learner(raw, mixed_layout(), 4);
        let rows = Rows::draw(&mixed_layout(), 300, 2);
        learner.learn(&rows.batch(), 1.0, Threads::one());
        let (model, mut scratch) = (learner.freeze(), DcnScratch::default());
        let mut together = vec![0.0; 300];
        model.predict(rows.slots(), &mut scratch, &mut together);
        for (row, logit) in together.iter().enumerate() {
            let mut alone = [0.0];
            model.predict(Slots::new(rows.width, rows.slots().row(row)), &mut scratch, &mut alone);
            assert_eq!(alone[0].to_bits(), logit.to_bits(), "row {row}");
        }
    }
}

/// Without dropout and batch normalization, learning and predicting are the same function of the same weights.
#[test]
fn the_frozen_model_gives_the_logits_of_the_learner() {
    for raw in variants() {
        let plain = RawDcn {
            dropout: 0.0,
            cross_dropout: 0.0,
            embedding_dropout: 0.0,
            batch_norm: false,
            l2_embedding: 0.0,
            wide_l2: 0.0,
            precision: LearningPrecision::F32,
            ..raw
        };
        let mut learner = learner(plain, mixed_layout(), 4);
        learner.set_bias(-1.5);
        let rows = Rows::draw(&mixed_layout(), 200, 2);
        let mut logits = vec![0.0; 200];
        learner.freeze().predict(rows.slots(), &mut DcnScratch::default(), &mut logits);
        learner.learn(&rows.batch(), 1.0, Threads::one());
        assert_eq!(learner.logits(), logits);
    }
}

#[test]
fn tensors_make_the_same_model_again() {
    for raw in variants() {
        let model = learner(raw, mixed_layout(), 4).freeze();
        let again = rebuilt(&model, |_, _| ()).unwrap();
        let rows = Rows::draw(&mixed_layout(), 20, 2);
        let (mut logits, mut logits_again) = (vec![0.0; 20], vec![0.0; 20]);
        model.predict(rows.slots(), &mut DcnScratch::default(), &mut logits);
        again.predict(rows.slots(), &mut DcnScratch::default(), &mut logits_again);
        assert_eq!(logits, logits_again);
        assert!(logits.iter().any(|logit| *logit != 0.0));
    }
}

#[test]
fn a_foreign_tensor_is_refused_by_name() {
    let model = DcnLearner::new(checked(small()), mixed_layout(), 4).unwrap().freeze();
    let refusal = |change: &dyn Fn(&mut Vec<usize>, &mut Vec<f32>)| {
        let refused = rebuilt(&model, |name, (shape, values)| {
            if name == "deep.1.bias" {
                change(shape, values)
            }
        });
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Kind::Bundle);
        error.to_string()
    };
    let missing = DcnModel::from_tensors(model.config().clone(), mixed_layout(), |_| None).unwrap_err().to_string();
    assert_eq!(missing, "bundle weights: tensor embedding.weight: is missing");
    let shape = refusal(&|shape, _| shape[0] = 6);
    assert_eq!(shape, "bundle weights: tensor deep.1.bias: expected shape [5], got [6] with 5 values");
    let short = refusal(&|_, values| values.truncate(4));
    assert_eq!(short, "bundle weights: tensor deep.1.bias: expected shape [5], got [5] with 4 values");
    let infinite = refusal(&|_, values| values[2] = f32::INFINITY);
    assert_eq!(infinite, "bundle weights: tensor deep.1.bias: expected finite numbers, got inf at 2");
}

/// The model made again from its own tensors, after `change`.
fn rebuilt(
    model: &DcnModel,
    change: impl Fn(&str, (&mut Vec<usize>, &mut Vec<f32>)),
) -> crate::error::Result<DcnModel> {
    let tensors = model.tensors();
    DcnModel::from_tensors(model.config().clone(), model.layout().clone(), |name| {
        let (_, shape, values) = tensors.iter().find(|(tensor, ..)| tensor == name)?;
        let (mut shape, mut values) = (shape.clone(), values.to_vec());
        change(name, (&mut shape, &mut values));
        Some((shape, Arc::new(values) as _))
    })
}

/// A learner that knows counts: slots 0, 4, 8, … are frequent.
fn learner(raw: RawDcn, layout: Layout, seed: u64) -> DcnLearner {
    let counts: Vec<u32> = (0..layout.table_rows).map(|slot| if slot % 4 == 0 { 3 } else { 2 }).collect();
    DcnLearner::with_counts(checked(raw), layout, Some(&counts), seed).unwrap()
}

/// All weights, to the bit.
fn bits(model: &DcnModel) -> Vec<u32> {
    model.tensors().iter().flat_map(|(_, _, values)| values.iter().map(|value| value.to_bits())).collect()
}
