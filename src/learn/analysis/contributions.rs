//! A bundle and one row → what each field adds to its log-odds.
//!
//! | model | a field's part | the rest |
//! |---|---|---|
//! | linear | the weights of its slots, exactly; a cross has a part of its own | the bias |
//! | network | logit minus the logit with the field missing | what is left: bias and what fields say together |
//! | base rate | nothing | the logit |
//!
//! Parts and rest add up to the logit. Leaving one field out at a time (Robnik-Šikonja and Kononenko 2008) counts what two fields
//! say together twice, so the rest of a network may be large; a part says which way the field pushes here, and how hard.

use serde::{Deserialize, Serialize};

use super::importance::sees;
use super::rows::fields;
use crate::model::bundle::{Bundle, Model, ScoreScratch};
use crate::model::row::Cell;
use crate::model::{EMPTY_SLOT, Span};

/// What makes up one logit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contributions {
    /// The model's uncalibrated log-odds.
    pub logit: f64,
    /// Fields and crosses with their parts.
    pub parts: Vec<(String, f64)>,
    /// `logit` minus all parts.
    pub rest: f64,
}

/// Takes the logit of one row of codes apart.
///
/// # Panics
/// When `codes` is not one row.
pub fn contributions(bundle: &Bundle, codes: &[u32]) -> Contributions {
    assert_eq!(codes.len(), bundle.encoder.width(), "one row of codes");
    let mut scratch = ScoreScratch::default();
    let logit = f64::from(bundle.logits(codes, &mut scratch)[0]);
    let parts = match &bundle.model {
        Model::BaseRate(_) => Vec::new(),
        Model::Ftrl(model) => linear(bundle, &model.weights, codes),
        Model::Dcn(_) => left_out(bundle, codes, logit, &mut scratch),
    };
    let rest = logit - parts.iter().map(|part| part.1).sum::<f64>();
    Contributions { logit, parts, rest }
}

fn linear(bundle: &Bundle, weights: &[f32], codes: &[u32]) -> Vec<(String, f64)> {
    let mut slots = Vec::new();
    bundle.indexer.index(codes, &mut slots);
    let weight = |slot: &u32| if *slot == EMPTY_SLOT { 0.0 } else { f64::from(weights[*slot as usize]) };
    let part = |span: &Span| (span.name.clone(), slots[span.range()].iter().map(weight).sum());
    bundle.indexer.layout().spans.iter().map(part).collect()
}

/// One batch: the row with each field missing in turn.
fn left_out(bundle: &Bundle, codes: &[u32], logit: f64, scratch: &mut ScoreScratch) -> Vec<(String, f64)> {
    let fields: Vec<_> = fields(&bundle.encoder).into_iter().filter(|field| sees(bundle, &field.name)).collect();
    let mut missing = vec![0; codes.len()];
    let cells = vec![Cell::Missing; bundle.schema.columns.len()];
    bundle.encoder.encode(&cells, &mut missing).expect("a missing cell can be encoded in every field");
    let mut batch = Vec::with_capacity(codes.len() * fields.len());
    for field in &fields {
        let start = batch.len();
        batch.extend_from_slice(codes);
        batch[start..][field.codes.clone()].copy_from_slice(&missing[field.codes.clone()]);
    }
    let without = bundle.logits(&batch, scratch);
    fields.into_iter().zip(without).map(|(field, without)| (field.name, logit - f64::from(*without))).collect()
}
