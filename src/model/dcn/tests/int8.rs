//! Scoring in 8 bits: near the logits of `f32`, the same bits alone and in company, and back again.

use super::super::{DcnModel, DcnScratch, EnsembleLearner, RawDcn, ScoringPrecision, ScoringRule, Structure, WideRule};
use super::{Rows, checked, mixed_layout, small};
use crate::model::{Learn, OwnSpans, Predict, Slots, Threads};

fn logits(model: &DcnModel, rows: &Rows) -> Vec<f32> {
    let mut logits = vec![0.0; rows.slots().rows()];
    model.predict(rows.slots(), &mut DcnScratch::default(), &mut logits);
    logits
}

/// Every structure, with weights a few steps from their start.
fn models() -> Vec<DcnModel> {
    let variants = [
        small(),
        RawDcn { structure: Structure::Stacked, wide: WideRule::Ftrl, ..small() },
        RawDcn { cross_rank: 2, cross_experts: 2, batch_norm: true, ..small() },
        RawDcn { cross_layers: 0, ..small() },
        RawDcn { deep: vec![], ..small() },
    ];
    let model = |raw: RawDcn| {
        let mut learner = super::super::DcnLearner::new(checked(raw), mixed_layout(), 4).unwrap();
        let rows = Rows::draw(&mixed_layout(), 300, 2);
        (0..20).for_each(|_| {
            learner.learn(&rows.batch(), 1.0, Threads::one());
        });
        learner.freeze()
    };
    variants.into_iter().map(model).collect()
}

#[test]
fn eight_bits_stay_near_and_are_not_the_same() {
    for model in models() {
        let rows = Rows::draw(&mixed_layout(), 300, 3);
        let (plain, rounded) = (logits(&model, &rows), logits(&model.in_precision(ScoringPrecision::Int8), &rows));
        let apart = plain.iter().zip(&rounded).map(|(plain, rounded)| (plain - rounded).abs()).fold(0.0, f32::max);
        // Embeddings of 0.5 through matrices of order 1: products of a few units, each factor off by up to 1/250.
        assert!(apart > 0.0 && apart < 0.05, "{apart} in {:?}", model.config().settings());
    }
}

#[test]
fn a_row_in_eight_bits_scores_alike_alone_and_in_company() {
    for model in models() {
        let model = model.in_precision(ScoringPrecision::Int8);
        let rows = Rows::draw(&mixed_layout(), 150, 3);
        let mut scratch = DcnScratch::default();
        for (row, logit) in logits(&model, &rows).iter().enumerate() {
            let mut alone = [0.0];
            model.predict(Slots::new(rows.width, rows.slots().row(row)), &mut scratch, &mut alone);
            assert_eq!(alone[0].to_bits(), logit.to_bits(), "row {row}");
        }
    }
}

/// Rows as candidates of a request: the slots of the first row in all spans but some.
fn sharing(rows: &Rows, own: &[bool]) -> Vec<u32> {
    let mut slots = rows.slots().values().to_vec();
    let spans = mixed_layout().spans;
    for row in 1..rows.slots().rows() {
        for (span, _) in spans.iter().zip(own).filter(|(_, own)| !**own) {
            let (first, rest) = slots.split_at_mut(rows.width);
            rest[(row - 1) * rows.width..][span.range()].copy_from_slice(&first[span.range()]);
        }
    }
    slots
}

#[test]
fn rows_that_share_spans_score_as_they_do_alone() {
    let spans = mixed_layout().spans.len();
    for plain in models() {
        for model in [plain.in_precision(ScoringPrecision::Int8), plain] {
            let rows = Rows::draw(&mixed_layout(), 150, 3);
            for pattern in [0b0, 0b1, 0b1010, 0b0110_1101, !0] {
                let own: Vec<bool> = (0..spans).map(|span| pattern >> span & 1 == 1).collect();
                let slots = sharing(&rows, &own);
                let (mut spans, mut common) = (OwnSpans::default(), Default::default());
                spans.fill(own.iter().copied());
                let mut scratch = DcnScratch::default();
                // What the first row has in its own spans must not matter.
                let mut first = slots[..rows.width].to_vec();
                for (span, _) in mixed_layout().spans.iter().zip(&own).filter(|(_, own)| **own) {
                    first[span.range()].copy_from_slice(&rows.slots().row(77)[span.range()]);
                }
                model.share(Slots::new(rows.width, &first), &spans, &mut common);
                let (mut expected, mut got) = (vec![0.0; 150], vec![0.0; 150]);
                let slots = Slots::new(rows.width, &slots);
                model.predict(slots, &mut scratch, &mut expected);
                for (part, got) in [0..40, 40..41, 41..150].into_iter().zip(split(&mut got, [40, 1, 109])) {
                    model.predict_own(slots.range(part), &common, &mut scratch, got);
                }
                let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<u32>>();
                assert_eq!(bits(&got), bits(&expected), "own {own:?} in {:?}", model.config().settings());
            }
        }
    }
}

/// Neighboring pieces of these lengths.
fn split<const COUNT: usize>(mut values: &mut [f32], lengths: [usize; COUNT]) -> [&mut [f32]; COUNT] {
    lengths.map(|length| values.split_off_mut(..length).unwrap())
}

#[test]
fn the_precision_is_a_setting_of_the_model_and_its_weights_stay() {
    for model in models() {
        let rows = Rows::draw(&mixed_layout(), 40, 3);
        assert_eq!(model.config().settings().scoring_precision, ScoringRule::Auto);
        let int8 = model.in_precision(ScoringPrecision::Int8);
        assert_eq!(int8.config().scoring(), ScoringPrecision::Int8);
        assert_eq!(int8.tensors(), model.tensors(), "stored weights are those it learned");
        let again = int8.in_precision(ScoringPrecision::F32);
        assert_eq!(again.config().settings().scoring_precision, ScoringRule::F32);
        assert_eq!(logits(&again, &rows), logits(&model, &rows));
    }
}

#[test]
fn all_members_change() {
    let learner = EnsembleLearner::new(&checked(RawDcn { members: 3, ..small() }), &mixed_layout(), None, 1).unwrap();
    let ensemble = learner.freeze().in_precision(ScoringPrecision::Int8);
    assert_eq!(ensemble.config().scoring(), ScoringPrecision::Int8);
    let rows = Rows::draw(&mixed_layout(), 50, 3);
    let mut together = vec![0.0; 50];
    ensemble.predict(rows.slots(), &mut Default::default(), &mut together);
    let mut mean = [0.0; 50];
    for member in ensemble.members() {
        assert_eq!(member.config().scoring(), ScoringPrecision::Int8);
        mean.iter_mut().zip(logits(member, &rows)).for_each(|(mean, logit)| *mean += logit / 3.0);
    }
    assert!(mean.iter().zip(&together).all(|(mean, logit)| (mean - logit).abs() < 1e-5));
}
