//! Settings: defaults hold, every bound names its key, and nothing is lost on the way through a file.

use super::super::{DcnConfig, DcnLearner, RawDcn, WideRule};
use super::layout;
use crate::error::Kind;
use crate::kernels::Precision;

#[test]
fn defaults_hold_and_survive_a_file() {
    let config: DcnConfig = toml::from_str("").unwrap();
    assert_eq!(config, DcnConfig::default());
    assert_eq!(DcnConfig::try_from(RawDcn::default()).unwrap(), config);
    assert_eq!(toml::from_str::<DcnConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    assert_eq!(serde_json::from_str::<DcnConfig>(&serde_json::to_string(&config).unwrap()).unwrap(), config);
}

#[test]
fn learning_rates_follow_the_rule() {
    let rates = |text: &str| {
        let config: DcnConfig = toml::from_str(text).unwrap();
        (config.embedding_learning_rate(), config.wide_learning_rate())
    };
    assert_eq!(rates("learning_rate = 0.5\nwide = \"adam\""), (0.5, 0.01));
    assert_eq!(rates("embedding_optimizer = \"adagrad\"\nwide = \"ftrl\""), (0.05, 0.05));
    assert_eq!(rates("embedding_learning_rate = 0.25\nwide_learning_rate = 0.125"), (0.25, 0.125));
}

#[test]
fn precision_is_what_the_processor_does_best_unless_it_is_set() {
    let precision = |text: &str| toml::from_str::<DcnConfig>(text).unwrap().precision();
    assert_eq!(precision(""), Precision::fastest());
    assert_eq!(precision("precision = \"auto\""), Precision::fastest());
    assert_eq!(precision("precision = \"f32\""), Precision::F32);
    assert_eq!(precision("precision = \"bf16\""), Precision::Bf16);
}

#[test]
fn every_bound_names_its_key() {
    let cases = [
        ("embedding_dim = 0", "embedding_dim: expected 1 to 256, got 0"),
        ("cross_layers = 17", "cross_layers: expected 0 to 16, got 17"),
        ("cross_rank = 2000", "cross_rank: expected 0 to 1024, got 2000"),
        ("cross_experts = 0", "cross_experts: expected 1 to 64, got 0"),
        ("deep = [400, 0]", "deep: expected 1 to 8192, got 0"),
        ("dropout = 1.0", "dropout: expected from 0 to below 1, got 1"),
        ("cross_dropout = 2.0", "cross_dropout: expected from 0 to below 1, got 2"),
        ("embedding_dropout = -0.1", "embedding_dropout: expected from 0 to below 1, got -0.1"),
        ("wide_learning_rate = 0.0", "wide_learning_rate: expected above 0 to 10, got 0"),
        ("wide_beta = -1.0", "wide_beta: expected 0 to 1000, got -1"),
        ("wide_l1 = nan", "wide_l1: expected 0 to 1000000, got NaN"),
        ("wide_l2 = inf", "wide_l2: expected 0 to 1000000, got inf"),
        ("learning_rate = nan", "learning_rate: expected above 0 to 1, got NaN"),
        ("beta1 = 1.0", "beta1: expected from 0 to below 1, got 1"),
        ("beta2 = 1.0", "beta2: expected from 0 to below 1, got 1"),
        ("epsilon = 0.0", "epsilon: expected above 0 to 1, got 0"),
        ("weight_decay = -1.0", "weight_decay: expected 0 to 100, got -1"),
        ("embedding_learning_rate = 11.0", "embedding_learning_rate: expected above 0 to 10, got 11"),
        ("l2_embedding = -1.0", "l2_embedding: expected 0 to 10000, got -1"),
        ("embedding_scale = -1.0", "embedding_scale: expected 0 to 10, got -1"),
        (
            "embedding_optimizer = \"lazy_adam\"\nl2_embedding = 1000.0",
            "l2_embedding: expected learning rate × l2_embedding below 1, got 1: one step would wipe out every weight",
        ),
        ("wide = \"adagrad\"\nwide_l2 = 20.0", "wide_l2: expected learning rate × wide_l2 below 1, got 1"),
        ("embeding_dim = 8", "unknown field `embeding_dim`, expected one of `members`, `embedding_dim`"),
        ("structure = \"deep\"", "unknown variant `deep`, expected `stacked` or `parallel`"),
    ];
    for (text, expected) in cases {
        let error = toml::from_str::<DcnConfig>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_layout_without_anything_to_embed_is_refused() {
    let config = DcnConfig::try_from(RawDcn { wide: WideRule::Adam, ..RawDcn::default() }).unwrap();
    let error = DcnLearner::new(config.clone(), layout(&[("a*b", 1)], 4), 1).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("at least one field to embed"), "{error}");
    assert!(DcnLearner::new(DcnConfig::default(), layout(&[("a*b", 1)], 4), 1).is_ok());
    assert!(DcnLearner::new(config, layout(&[("a", 1)], usize::MAX), 1).is_err());
}
