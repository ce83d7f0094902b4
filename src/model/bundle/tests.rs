use std::fs;
use std::path::Path;

use super::*;
use crate::error::Kind;
use crate::kernels::Table;
use crate::model::calibration::{Choice, Map, Method};
use crate::model::features::hash::Fingerprint;
use crate::model::features::{EncoderBuilder, IndexerBuilder, IndexerConfig, Mode};
use crate::model::row::Cell;
use crate::model::{Batch, Learn, Threads};

const SCHEMA: &str = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\na = { kind = \"categorical\" }\n\
                      n = { kind = \"numeric\", bins = { quantile = 4 } }\n";

/// A bundle of a small linear model, and the codes it was trained on.
fn trained(mode: Mode) -> (Bundle, Vec<u32>) {
    let schema = Schema::parse(SCHEMA, "t").unwrap();
    let rows: Vec<[Cell<'_>; 3]> = (0..64)
        .map(|row| [Cell::Missing, Cell::Text([&b"x"[..], b"y", b"z"][row % 3]), Cell::Number((row * 7 % 64) as f64)])
        .collect();
    let mut builder = EncoderBuilder::new(&schema);
    rows.iter().for_each(|row| builder.observe(row));
    let encoder = builder.finish();
    let mut codes = vec![0; rows.len() * encoder.width()];
    for (row, codes) in rows.iter().zip(codes.chunks_exact_mut(encoder.width())) {
        encoder.encode(row, codes).unwrap();
    }
    let config = IndexerConfig { mode, features: None, crosses: vec![vec!["a".into(), "n".into()]] };
    let mut builder = IndexerBuilder::new(&config, &encoder).unwrap();
    if builder.counts() {
        builder.count(&codes, Threads::one());
    }
    let full = builder.finish();
    let mut learner = crate::model::ftrl::FtrlLearner::new(&Default::default(), full.layout().table_rows);
    let labels: Vec<f32> = (0..64).map(|row| f32::from(row % 3 == 0)).collect();
    let mut slots = Vec::new();
    full.index(&codes, &mut slots);
    let slots = Slots::new(full.layout().width(), &slots);
    learner.learn(&Batch { slots, labels: &labels, weights: None }, 1.0, Threads::one());
    let model = Model::Ftrl(learner.freeze());
    let calibrator = Calibrator { log_kept_negatives: -0.5, map: Map::Identity };
    let provenance = Provenance {
        pctr: "0".into(),
        seed: 1,
        data: Fingerprint::of(b"data"),
        settings: serde_json::json!({"alpha": 0.1}),
        isa: "scalar".into(),
        precision: None,
    };
    let profile = Profile {
        rows: 64,
        clicks: 22,
        passes: 1,
        progressive_log_loss: 0.6,
        table_rows: full.layout().table_rows as u64,
        calibration: Choice { method: Method::Identity, rows: 0, losses: vec![] },
        score_quantiles: vec![0.1, 0.2],
        scoring: None,
        tiers: Default::default(),
    };
    let mut tiers = Tiers::of_rate(22, 64);
    let cheap = IndexerConfig { mode, features: Some(vec!["a".into()]), crosses: vec![] };
    let mut builder = IndexerBuilder::new(&cheap, &encoder).unwrap();
    if builder.counts() {
        builder.count(&codes, Threads::one());
    }
    let indexer = builder.finish();
    let weights: Vec<f32> = (0..indexer.layout().table_rows).map(|slot| (slot % 7) as f32 / 8.0).collect();
    let model_of_cheap = FtrlModel { weights: Table::beside_requests(bytemuck::cast_slice(&weights)), bias: -1.5 };
    tiers.cheap = Some(Arc::new(CheapTier { indexer, model: model_of_cheap, calibrator: Calibrator::identity() }));
    (
        Bundle::new(
            Parts { schema, encoder, indexer: full, model, calibrator, tiers },
            provenance,
            profile,
            Default::default(),
        ),
        codes,
    )
}

fn scores(bundle: &Bundle, codes: &[u32]) -> Vec<f64> {
    let mut probabilities = Vec::new();
    bundle.score(codes, &mut ScoreScratch::default(), &mut probabilities);
    probabilities
}

#[test]
fn what_is_written_is_read() {
    for mode in [Mode::Hash { bits: 12 }, Mode::Vocabulary { min_count: 2 }] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let (bundle, codes) = trained(mode);
        bundle.write(&path).unwrap();
        let read = Bundle::open(&path).unwrap();
        assert_eq!(read.manifest, bundle.manifest);
        assert_eq!((&read.schema, &read.encoder, &read.indexer), (&bundle.schema, &bundle.encoder, &bundle.indexer));
        assert_eq!(read.tiers, bundle.tiers);
        assert_eq!(scores(&read, &codes), scores(&bundle, &codes));
        for tier in Tier::ALL {
            let of = |bundle: &Bundle| {
                let mut probabilities = Vec::new();
                bundle.score_tier(tier, &codes, &mut ScoreScratch::default(), &mut probabilities);
                probabilities
            };
            assert_eq!(of(&read), of(&bundle), "{tier}");
            assert_eq!(of(&read) == scores(&bundle, &codes), tier == Tier::Full);
        }
        for (row, expected) in codes.chunks(2).zip(scores(&bundle, &codes)) {
            assert_eq!(scores(&read, row), [expected], "a row alone");
        }
    }
}

/// Changes one file of a good bundle and returns what opening it answers.
fn spoiled(file: &str, change: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    trained(Mode::Vocabulary { min_count: 1 }).0.write(&path).unwrap();
    change(&path.join(file));
    let error = Bundle::open(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Bundle, "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    error.to_string()
}

#[test]
fn corruption_is_refused_by_name() {
    for file in ["encoder.bin", "weights.safetensors", "tiers.bin", "cheap.safetensors"] {
        let flip = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            fs::write(path, bytes).unwrap();
        };
        assert!(spoiled(file, flip).contains("corrupted"));
        let cut = |path: &Path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        };
        assert!(spoiled(file, cut).contains("is cut"));
        assert!(spoiled(file, |path| fs::remove_file(path).unwrap()).contains(file));
    }
    assert!(spoiled("manifest.json", |path| fs::remove_file(path).unwrap()).contains("holds no manifest.json"));
    assert!(spoiled("manifest.json", |path| fs::write(path, "{").unwrap()).contains("cannot be read"));
    assert!(spoiled("manifest.json", |path| fs::write(path, "{\"magic\": 1}").unwrap()).contains("no bundle"));
    let edit = |from: &'static str, to: &'static str| {
        move |path: &Path| fs::write(path, fs::read_to_string(path).unwrap().replace(from, to)).unwrap()
    };
    assert!(spoiled("manifest.json", edit("\"format\": 2", "\"format\": 3")).contains("expected format 1 to 2, got 3"));
    assert!(spoiled("manifest.json", edit("\"hash_version\": 1", "\"hash_version\": 9")).contains("hash version 9"));
    assert!(
        spoiled("manifest.json", edit("\"kind\": \"ftrl\"", "\"kind\": \"base-rate\""))
            .contains("its content is that of")
    );
    assert!(spoiled("manifest.json", edit("cheap.safetensors", "../cheap.safetensors")).contains("outside"));
    assert!(
        spoiled("manifest.json", edit("\"model\": \"ftrl-", "\"model\": \"ftrl-0")).contains("its content is that of")
    );
}

#[test]
fn same_content_same_bytes() {
    let read = |folder: &Path| {
        ["manifest.json", "encoder.bin", "weights.safetensors", "tiers.bin", "cheap.safetensors"]
            .map(|file| fs::read(folder.join(file)).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    trained(Mode::Hash { bits: 10 }).0.write(&a).unwrap();
    trained(Mode::Hash { bits: 10 }).0.write(&b).unwrap();
    assert_eq!(read(&a), read(&b));
}
