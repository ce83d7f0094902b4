//! Rare slots: one embedding for those of a field, weights of their own in the linear part.

use super::super::{DcnLearner, DcnModel, DcnScratch, RawDcn, WideRule};
use super::{checked, layout, set, small};
use crate::model::{Batch, EMPTY_SLOT, Layout, Learn, Predict, Slots, Threads};
use std::sync::Arc;

fn narrowed(wide: WideRule) -> (DcnLearner, Layout) {
    let layout = layout(&[("site", 1), ("tags", 2), ("site*tags", 1)], 8);
    let config = checked(RawDcn { embedding_min_count: 5, wide, ..small() });
    let counts = [9, 1, 5, 4, 0, 7, 1, 1];
    (DcnLearner::with_counts(config, layout.clone(), Some(&counts), 1).unwrap(), layout)
}

fn score(model: &DcnModel, rows: [[u32; 4]; 2]) -> [f32; 2] {
    let mut logits = [0.0; 2];
    model.predict(Slots::new(4, rows.as_flattened()), &mut DcnScratch::default(), &mut logits);
    logits
}

#[test]
fn rare_slots_of_a_field_are_one_to_the_network_and_apart_to_the_linear_part() {
    let (mut learner, _) = narrowed(WideRule::Adam);
    let model = learner.freeze();
    let rows = model.tensors().into_iter().find(|(name, ..)| name == "embedding.rows").unwrap();
    assert_eq!(rows.2, [0.0, -1.0, 1.0, -1.0, -1.0, 2.0, -1.0, -1.0]);
    let table = model.tensors().into_iter().find(|(name, ..)| name == "embedding.weight").unwrap();
    assert_eq!(table.1, [3 + 2, 3], "three frequent slots, and one row for the rare ones of each embedded field");
    // Bias 0 and linear weights 0: only embeddings tell rows apart.
    let [left, right] = score(&model, [[1, 3, 4, 0], [7, 6, 6, 5]]);
    assert_eq!(left, right, "all rare: alike");
    let [left, right] = score(&model, [[1, 3, 4, 0], [0, 3, 4, 0]]);
    assert_ne!(left, right, "slot 0 is frequent");
    let [left, right] = score(&model, [[1, 0, EMPTY_SLOT, 0], [1, 0, 3, 0]]);
    assert_ne!(left, right, "an absent value is not a rare one");
    set(&mut learner, "wide.weight", &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0]);
    let [left, right] = score(&learner.freeze(), [[1, 3, 4, 0], [7, 6, 6, 5]]);
    assert!((right - left - 4.0).abs() < 1e-5, "weights 1 and 5: {left} {right}");
}

#[test]
fn a_step_moves_the_shared_row_and_the_bundle_keeps_it() {
    let (mut learner, layout) = narrowed(WideRule::None);
    let before = learner.freeze();
    let slots = [1, 0, EMPTY_SLOT, 3];
    learner.learn(&Batch { slots: Slots::new(4, &slots), labels: &[1.0], weights: None }, 1.0, Threads::one());
    let after = learner.freeze();
    let row = |model: &DcnModel, row: usize| {
        let tensors = model.tensors();
        tensors.iter().find(|(name, ..)| name == "embedding.weight").unwrap().2[3 * row..3 * row + 3].to_vec()
    };
    // Rows: slots 0, 2, 5, then the rare slots of site, tags and (without a linear part) the cross.
    let moved: Vec<bool> = (0..6).map(|at| row(&before, at) != row(&after, at)).collect();
    assert_eq!(moved, [true, false, false, true, false, true]);
    let tensors = after.tensors();
    let rebuilt = |change: f32| {
        DcnModel::from_tensors(after.config().clone(), layout.clone(), |name| {
            let (_, shape, values) = tensors.iter().find(|(tensor, ..)| tensor == name)?;
            let mut values = values.to_vec();
            values[0] += if name == "embedding.rows" { change } else { 0.0 };
            Some((shape.clone(), Arc::new(values) as _))
        })
    };
    let rows = [[1, 0, EMPTY_SLOT, 3], [0, 2, 5, 7]];
    assert_eq!(score(&rebuilt(0.0).unwrap(), rows), score(&after, rows));
    let error = rebuilt(0.5).unwrap_err().to_string();
    assert_eq!(error, "bundle weights: tensor embedding.rows: slot 0 has row 0.5");
}

#[test]
fn counts_must_be_there_and_fit() {
    let (_, layout) = narrowed(WideRule::None);
    let config = checked(RawDcn { embedding_min_count: 5, ..small() });
    for counts in [None, Some(&[1, 2][..])] {
        let error = DcnLearner::with_counts(config.clone(), layout.clone(), counts, 1).unwrap_err().to_string();
        assert_eq!(error, "dcn: embedding_min_count: 5 needs the count of each of the 8 slots");
    }
}
