//! Small trained bundles for tests of what reads bundles: one schema with every kind of feature, made-up rows, and a model
//! of each kind trained on them.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pctr::model::base_rate::BaseRateLearner;
use pctr::model::bundle::{Bundle, CheapTier, Model, ModelKind, Parts, Profile, Provenance, Tiers};
use pctr::model::calibration::{self, Calibrator, Map, Method};
use pctr::model::dcn::{DcnConfig, EnsembleLearner, RawDcn, ScoringRule, Structure, WideRule};
use pctr::model::features::hash::Fingerprint;
use pctr::model::features::{Encoder, EncoderBuilder, IndexerBuilder, IndexerConfig, Mode};
use pctr::model::ftrl::FtrlLearner;
use pctr::model::row::Cell;
use pctr::model::schema::Schema;
use pctr::model::{Batch, Learn, Slots, Threads};

/// Every kind of feature, features that read a column again, and columns that no feature reads.
pub(crate) const SCHEMA: &str = r#"
version = 1
name = "ads"
crosses = [["site", "slot"]]
[fields]
click = { kind = "label" }
when = { kind = "time", format = "seconds" }
request = { kind = "group" }
note = { kind = "ignore" }
site = { kind = "categorical" }
section = { kind = "categorical", column = "site", characters = [0, 3] }
slot = { kind = "categorical" }
age = { kind = "numeric" }
bid_floor = { kind = "numeric", bins = { quantile = 8 } }
exact_floor = { kind = "categorical", column = "bid_floor" }
tags = { kind = "bag", separator = "|", max_values = 3 }
"#;

/// Kinds and seeds of [`bundle`] that cover every model and both structures of the network.
pub(crate) const MODELS: [(ModelKind, u64); 5] =
    [(ModelKind::BaseRate, 1), (ModelKind::Ftrl, 1), (ModelKind::Dcn, 1), (ModelKind::Dcn, 2), (ModelKind::Dcn, 3)];

/// Text of the cells of row `row`, in the order of the schema's columns: plain values, values that need quotes in CSV and
/// escapes in JSON, and missing ones.
pub(crate) fn row(row: usize) -> Vec<String> {
    let pick = |choices: &[&str], step: usize| choices[row / step % choices.len()].to_owned();
    let clicked = row.is_multiple_of(3) || row % 7 == 1;
    vec![
        u8::from(clicked).to_string(),
        (1_700_000_000 + row).to_string(),
        format!("r{}", row / 4),
        pick(&["", "free text, with a comma", "x"], 1),
        pick(&["news", "news.example", "a \"quoted\" site", "42", "4.20", "größe\\n", "", "true"], 1),
        pick(&["1", "2", "007", ""], 2),
        pick(&["30", "30.5", "", "-1", "1e3", " 7 ", "0"], 3),
        if row.is_multiple_of(11) { String::new() } else { format!("{}", (row * 37 % 500) as f64 / 100.0) },
        pick(&["sport|cars", "cars", "", "a|b|c|d", "|sport||", "1|2.50", "with space|ü"], 1),
    ]
}

/// A cell as a reader of CSV makes it.
pub(crate) fn cell(text: &str) -> Cell<'_> {
    if text.is_empty() { Cell::Missing } else { Cell::Text(text.as_bytes()) }
}

/// A bundle trained on 2,000 of these rows with `seed` mixed into the labels.
pub(crate) fn bundle(kind: ModelKind, seed: u64) -> Bundle {
    bundle_of(SCHEMA, kind, seed)
}

/// The same for another schema with the same columns.
pub(crate) fn bundle_of(schema: &str, kind: ModelKind, seed: u64) -> Bundle {
    let schema = Schema::parse(schema, "ads").unwrap();
    let rows: Vec<Vec<String>> = (0..2000).map(row).collect();
    let labels: Vec<f32> = (0..2000_u64)
        .map(|row| f32::from(u8::from(rows[row as usize][0] == "1" || (row + seed).is_multiple_of(13))))
        .collect();
    let (encoder, codes) = encode(&schema, &rows);
    let config = IndexerConfig {
        mode: Mode::Hash { bits: 12 },
        features: None,
        crosses: vec![vec!["site".into(), "slot".into()]],
    };
    let indexer = IndexerBuilder::new(&config, &encoder).unwrap().finish();
    let mut slots = Vec::new();
    indexer.index(&codes, &mut slots);
    let batch = Batch { slots: Slots::new(indexer.layout().width(), &slots), labels: &labels, weights: None };
    let model = match kind {
        ModelKind::BaseRate => {
            let mut learner = BaseRateLearner::default();
            learner.learn(&batch, 1.0, Threads::one());
            Model::BaseRate(learner.freeze())
        }
        ModelKind::Ftrl => {
            let mut learner = FtrlLearner::new(&Default::default(), indexer.layout().table_rows);
            learner.learn(&batch, 1.0, Threads::one());
            Model::Ftrl(learner.freeze())
        }
        ModelKind::Dcn => {
            let mut learner = EnsembleLearner::new(&network(seed), indexer.layout(), None, seed).unwrap();
            let width = indexer.layout().width();
            for (slots, labels) in slots.chunks(100 * width).zip(labels.chunks(100)) {
                let batch = Batch { slots: Slots::new(width, slots), labels, weights: None };
                learner.learn(&batch, 1.0, Threads::one());
            }
            Model::Dcn(Arc::new(learner.freeze()))
        }
    };
    let method = if kind == ModelKind::Ftrl { Method::Isotonic } else { Method::Platt };
    let logits: Vec<f32> = (0..2000).map(|row| (row % 17) as f32 / 4.0 - 3.0).collect();
    let clicks: Vec<u8> = labels.iter().map(|label| *label as u8).collect();
    let (calibrator, calibration) = calibration::fit(&[method], &logits, &clicks, 0.5).unwrap();
    let profile = Profile {
        rows: 2000,
        clicks: clicks.iter().map(|click| u64::from(*click)).sum(),
        passes: 1,
        progressive_log_loss: 0.6,
        table_rows: indexer.layout().table_rows as u64,
        calibration,
        score_quantiles: vec![0.1, 0.9],
        scoring: None,
        tiers: Default::default(),
    };
    let provenance = Provenance {
        pctr: "0".into(),
        seed,
        data: Fingerprint::of(b"rows"),
        settings: serde_json::json!({}),
        isa: "scalar".into(),
        precision: None,
    };
    let metrics = [("valid_log_loss".to_owned(), 0.6)].into_iter().collect();
    let tiers = tiers(&encoder, &codes, &labels, kind);
    Bundle::new(Parts { schema, encoder, indexer, model, calibrator, tiers }, provenance, profile, metrics)
}

/// The rungs below: networks have a companion.
fn tiers(encoder: &Encoder, codes: &[u32], labels: &[f32], kind: ModelKind) -> Tiers {
    let clicks = labels.iter().filter(|label| **label == 1.0).count() as u64;
    let mut tiers = Tiers::of_rate(clicks, labels.len() as u64);
    if kind == ModelKind::Dcn {
        let crosses = vec![vec!["slot".into(), "tags".into()]];
        let config = IndexerConfig { mode: Mode::Hash { bits: 10 }, features: None, crosses };
        let indexer = IndexerBuilder::new(&config, encoder).unwrap().finish();
        let mut slots = Vec::new();
        indexer.index(codes, &mut slots);
        let mut learner = FtrlLearner::new(&Default::default(), indexer.layout().table_rows);
        let batch = Batch { slots: Slots::new(indexer.layout().width(), &slots), labels, weights: None };
        learner.learn(&batch, 1.0, Threads::one());
        let calibrator = Calibrator { log_kept_negatives: -0.25, map: Map::Identity };
        tiers.cheap = Some(Arc::new(CheapTier { indexer, model: learner.freeze(), calibrator }));
    }
    tiers
}

/// A small network: parallel with full cross layers for odd seeds, every second of which scores in 8 bits; for even ones stacked,
/// with mixtures of low rank, batch normalization and a linear part.
fn network(seed: u64) -> DcnConfig {
    let raw =
        RawDcn { embedding_dim: 4, cross_layers: 2, deep: vec![24, 17], learning_rate: 0.01, ..RawDcn::default() };
    let raw = match seed.is_multiple_of(2) {
        false if seed % 4 == 3 => RawDcn { scoring_precision: ScoringRule::Int8, ..raw },
        false => raw,
        true => RawDcn {
            structure: Structure::Stacked,
            cross_rank: 3,
            cross_experts: 2,
            batch_norm: true,
            wide: WideRule::Ftrl,
            ..raw
        },
    };
    DcnConfig::try_from(raw).unwrap()
}

fn encode(schema: &Schema, rows: &[Vec<String>]) -> (Encoder, Vec<u32>) {
    let cells =
        |row: &'_ [String]| -> Vec<Cell<'static>> { row.iter().map(|text| cell(text.clone().leak())).collect() };
    let mut builder = EncoderBuilder::new(schema);
    rows.iter().for_each(|row| builder.observe(&cells(row)));
    let encoder = builder.finish();
    let mut codes = vec![0; rows.len() * encoder.width()];
    for (row, codes) in rows.iter().zip(codes.chunks_exact_mut(encoder.width())) {
        encoder.encode(&cells(row), codes).unwrap();
    }
    (encoder, codes)
}

/// Writes a bundle below `folder` and returns its place.
pub(crate) fn written(folder: &Path, bundle: &Bundle) -> PathBuf {
    let path = folder.join(&bundle.manifest.model);
    bundle.write(&path).unwrap();
    path
}
