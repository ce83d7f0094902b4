//! The whole network once more, in f64 and plain loops, from weights by name: logits and loss of one batch while learning.

use super::super::{DcnConfig, Structure, WideRule};
use crate::model::{Batch, EMPTY_SLOT, Layout};
use std::collections::BTreeMap;

/// Weights by name.
pub(super) type Weights = BTreeMap<String, Vec<f64>>;

/// What dropout multiplies by: fields (first), the outputs of each tower layer, what the head reads of the cross layers.
pub(super) type Factors = Vec<Vec<f32>>;

type Rows = Vec<Vec<f64>>;

/// Mean over rows of weight · log loss.
pub(super) fn loss(
    config: &DcnConfig,
    layout: &Layout,
    weights: &Weights,
    factors: &Factors,
    batch: &Batch<'_>,
) -> f64 {
    let rows = batch.labels.len();
    let losses = logits(config, layout, weights, factors, batch).into_iter().enumerate().map(|(row, logit)| {
        let sign = if batch.labels[row] > 0.5 { -1.0 } else { 1.0 };
        batch.weights.map_or(1.0, |weights| f64::from(weights[row])) * (sign * logit).exp().ln_1p()
    });
    losses.sum::<f64>() / rows as f64
}

pub(super) fn logits(
    config: &DcnConfig,
    layout: &Layout,
    weights: &Weights,
    factors: &Factors,
    batch: &Batch<'_>,
) -> Vec<f64> {
    let settings = config.settings();
    let dim = settings.embedding_dim;
    let wide = settings.wide != WideRule::None;
    let fields: Vec<_> =
        layout.spans.iter().filter(|span| !wide || settings.embed_crosses || !span.name.contains('*')).collect();
    let mean = |table: &[f64], row: usize, span: &crate::model::Span, value: usize, dim: usize| {
        let present: Vec<_> = batch.slots.row(row)[span.range()].iter().filter(|slot| **slot != EMPTY_SLOT).collect();
        let sum: f64 = present.iter().map(|slot| table[**slot as usize * dim + value]).sum();
        sum / present.len().max(1) as f64
    };
    let factor =
        |layer: usize, at: usize| factors.get(layer).and_then(|layer| layer.get(at)).map_or(1.0, |f| f64::from(*f));
    let x0: Rows = (0..batch.labels.len())
        .map(|row| {
            let field = |field: usize, value| {
                let table = &weights["embedding.weight"];
                mean(table, row, fields[field], value, dim) * factor(0, row * fields.len() + field)
            };
            (0..fields.len() * dim).map(|at| field(at / dim, at % dim)).collect()
        })
        .collect();
    let mut x = x0.clone();
    for layer in 0..settings.cross_layers {
        let name = |tensor: &str| format!("cross.{layer}.{tensor}");
        let bias = &weights[&name("bias")];
        let v: Rows = if settings.cross_rank == 0 {
            product(&x, &weights[&name("weight")], x0[0].len())
        } else {
            mixture(&x, settings.cross_rank, settings.cross_experts, |tensor| &weights[&name(tensor)])
        };
        for (row, x) in x.iter_mut().enumerate() {
            for (at, x) in x.iter_mut().enumerate() {
                *x += x0[row][at] * (v[row][at] + bias[at]);
            }
        }
    }
    let mut h = if settings.structure == Structure::Stacked { x.clone() } else { x0.clone() };
    for (layer, &width) in settings.deep.iter().enumerate() {
        let name = |tensor: &str| format!("deep.{layer}.{tensor}");
        h = product(&h, &weights[&name("weight")], width);
        if settings.batch_norm {
            normalize(&mut h, &weights[&name("norm.gamma")], &weights[&name("norm.beta")]);
        } else {
            h.iter_mut().for_each(|h| h.iter_mut().zip(&weights[&name("bias")]).for_each(|(h, bias)| *h += bias));
        }
        for (row, h) in h.iter_mut().enumerate() {
            h.iter_mut().enumerate().for_each(|(at, h)| *h = h.max(0.0) * factor(1 + layer, row * width + at));
        }
    }
    let dot = |name: &str, x: &[f64]| weights.get(name).map_or(0.0, |w| w.iter().zip(x).map(|(w, x)| w * x).sum());
    let rows = x.iter().zip(&h).enumerate().map(|(row, (x, h))| {
        let linear = |weights: &Vec<f64>| layout.spans.iter().map(|span| mean(weights, row, span, 0, 1)).sum();
        let wide: f64 = weights.get("wide.weight").map_or(0.0, linear);
        let width = x.len();
        let crossed = x.iter().enumerate().map(|(at, x)| x * factor(1 + settings.deep.len(), row * width + at));
        weights["head.bias"][0] + dot("head.cross", &crossed.collect::<Vec<_>>()) + dot("head.deep", h) + wide
    });
    rows.collect()
}

/// x · w, with w of x's width × `width`.
fn product(x: &Rows, w: &[f64], width: usize) -> Rows {
    let row =
        |x: &Vec<f64>| (0..width).map(|j| x.iter().enumerate().map(|(i, x)| x * w[i * width + j]).sum()).collect();
    x.iter().map(row).collect()
}

/// Σᵢ Gᵢ Uᵢ tanh(Cᵢ tanh(Vᵢᵀ x)), expert by expert.
fn mixture<'a>(x: &Rows, rank: usize, experts: usize, tensor: impl Fn(&str) -> &'a Vec<f64>) -> Rows {
    let width = x[0].len();
    let gates = product(x, tensor("gate"), experts);
    let mut v = vec![vec![0.0; width]; x.len()];
    for expert in 0..experts {
        let down = tensor("down").chunks(experts * rank).flat_map(|row| row[expert * rank..][..rank].to_vec());
        let mut hidden = product(x, &down.collect::<Vec<_>>(), rank);
        hidden.iter_mut().flatten().for_each(|value| *value = value.tanh());
        hidden = product(&hidden, &tensor("core")[expert * rank * rank..][..rank * rank], rank);
        hidden.iter_mut().flatten().for_each(|value| *value = value.tanh());
        let up = product(&hidden, &tensor("up")[expert * rank * width..][..rank * width], width);
        for ((v, up), gates) in v.iter_mut().zip(&up).zip(&gates) {
            let share = gates[expert].exp() / gates.iter().map(|gate| gate.exp()).sum::<f64>();
            v.iter_mut().zip(up).for_each(|(v, up)| *v += share * up);
        }
    }
    v
}

fn normalize(x: &mut Rows, gamma: &[f64], beta: &[f64]) {
    let rows = x.len() as f64;
    for column in 0..gamma.len() {
        let mean = x.iter().map(|x| x[column]).sum::<f64>() / rows;
        let variance = x.iter().map(|x| (x[column] - mean).powi(2)).sum::<f64>() / rows;
        let normal = |x: f64| (x - mean) / (variance + f64::from(1e-5f32)).sqrt();
        x.iter_mut().for_each(|x| x[column] = normal(x[column]) * gamma[column] + beta[column]);
    }
}
