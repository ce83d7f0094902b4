//! Flat settings as a user writes them (`--set alpha=0.05`, a recipe's `[models.params]`) → everything training needs,
//! defaults filled in for the rows at hand.
//!
//! Keys of features, training and model stand side by side, so that nobody has to know which part of the code owns
//! which. An unknown key is an error that names the nearest one. Defaults marked *auto* depend on the number of training
//! rows and are resolved here, in one place; what they became is written into every record.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::dataset::{Piece, View};
use crate::config::from_table;
use crate::error::{Error, Result, nearest};
use crate::model::bundle::ModelKind;
use crate::model::calibration::Method;
use crate::model::dcn::{DcnConfig, Decay, RawDcn, Schedule};
use crate::model::features::{IndexerConfig, Mode};
use crate::model::ftrl::FtrlConfig;
use crate::model::schema::Schema;

/// Everything that decides a training run but data and seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Kind of the model.
    pub kind: ModelKind,
    /// What the model sees of a row.
    pub features: IndexerConfig,
    /// How it is trained.
    pub training: Training,
    /// The model's own settings.
    pub model: ModelSettings,
}

/// The model's own settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ModelSettings {
    /// Nothing to set.
    BaseRate {},
    /// FTRL-Proximal.
    Ftrl(FtrlConfig),
    /// Deep & cross network.
    Dcn(Box<DcnConfig>),
}

/// How a model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Passes over the training rows, at least 1.
    pub passes: u32,
    /// Rows in a batch, 1 to 2²⁰. FTRL learns row by row whatever it is.
    pub batch_rows: usize,
    /// Shuffle rows with the seed, each pass differently; otherwise in the order of the data.
    pub shuffle: bool,
    /// Share of the rows without a click to keep, above 0 up to 1; undone exactly by the calibrator.
    pub kept_negatives: f64,
    /// Calibration methods to choose from.
    pub calibration: Vec<Method>,
    /// Looks at the validation rows in each pass, 1 to 1000.
    pub checks_per_pass: u32,
    /// Stop after this many looks without a better validation log loss; 0 never stops. The best look's model is kept.
    pub patience: u32,
    /// Looks without a better loss after which the learning rate is multiplied by `plateau_factor`; 0 for never.
    pub plateau_patience: u32,
    /// See `plateau_patience`; 0 to 1.
    pub plateau_factor: f32,
    /// Learning rate over the steps; `ftrl` has rates of its own for each slot and ignores it.
    pub schedule: Schedule,
}

/// Keys of features, as written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawFeatures {
    mode: Option<RawMode>,
    bits: Option<u8>,
    min_count: Option<u32>,
    features: Option<Vec<String>>,
    crosses: Option<RawCrosses>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawMode {
    Hash,
    Vocabulary,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum RawCrosses {
    Named(String),
    Listed(Vec<Vec<String>>),
}

/// Keys of training, as written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTraining {
    passes: Option<u32>,
    batch_rows: Option<usize>,
    shuffle: Option<bool>,
    kept_negatives: Option<f64>,
    calibration: Option<Vec<Method>>,
    checks_per_pass: Option<u32>,
    patience: Option<u32>,
    plateau_patience: Option<u32>,
    plateau_factor: Option<f32>,
    warm_up_steps: Option<u64>,
    decay: Option<Decay>,
    floor: Option<f32>,
}

/// How much there is to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Training rows.
    pub rows: usize,
    /// Clicks among them.
    pub clicks: usize,
}

/// What defaults go by: not rows but the rarer of clicks and non-clicks says how much can be learned (measured:
/// `docs/learning.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Below 30,000: a few passes pay, and a network must be held back.
    Small,
    /// Below 150,000.
    Medium,
    /// One pass.
    Large,
}

impl View<'_> {
    /// How much there is to learn from these rows.
    pub fn evidence(&self) -> Evidence {
        let clicks = |piece: Piece<'_>| piece.labels.iter().map(|label| usize::from(*label)).sum::<usize>();
        Evidence { rows: self.rows(), clicks: self.pieces().map(clicks).sum() }
    }
}

impl Evidence {
    /// Of each `Size`, for those who must know what settings come to before they know the rows.
    pub const SMALL: Evidence = Evidence { rows: 1, clicks: 0 };
    /// See [`Evidence::SMALL`].
    pub const MEDIUM: Evidence = Evidence { rows: 400_000, clicks: 100_000 };
    /// See [`Evidence::SMALL`].
    pub const LARGE: Evidence = Evidence { rows: 1 << 40, clicks: 1 << 39 };

    /// This share of it.
    pub fn scaled(self, share: f64) -> Evidence {
        let part = |count: usize| (share * count as f64) as usize;
        Evidence { rows: part(self.rows), clicks: part(self.clicks) }
    }

    fn size(self) -> Size {
        match self.clicks.min(self.rows - self.clicks) {
            0..30_000 => Size::Small,
            30_000..150_000 => Size::Medium,
            _ => Size::Large,
        }
    }
}

impl Settings {
    /// Whether the model needs to know nothing of rows to come: it meets them once, in their order, and any value has a slot at
    /// once. Its rate must not depend on their number either, which is so for the models that count as such.
    pub fn learns_online(&self) -> bool {
        let Training { passes, shuffle, checks_per_pass, .. } = self.training;
        let kind = matches!(self.model, ModelSettings::BaseRate {} | ModelSettings::Ftrl(_));
        kind && passes == 1 && !shuffle && checks_per_pass == 1 && matches!(self.features.mode, Mode::Hash { .. })
    }

    /// Resolves the flat `table` for a kind of model, a schema and the training rows at hand. `place` is named in errors.
    ///
    /// # Errors
    /// Config, naming the key, when one is unknown or out of bounds.
    pub fn resolve(
        kind: ModelKind,
        table: &Table,
        schema: &Schema,
        evidence: Evidence,
        place: &str,
    ) -> Result<Settings> {
        let [features, training, model] = divide(kind, table, place)?;
        let features = resolve_features(kind, from_table(features, place)?, schema, evidence, place)?;
        let training = resolve_training(kind, from_table(training, place)?, evidence.size(), place)?;
        let model = match kind {
            ModelKind::BaseRate => ModelSettings::BaseRate {},
            ModelKind::Ftrl => {
                let alpha_given = model.contains_key("alpha");
                let mut config: FtrlConfig = from_table(model, place)?;
                if !alpha_given {
                    config.alpha = match training.passes {
                        1 => 0.1,
                        2 => 0.06,
                        _ => 0.05,
                    };
                }
                ModelSettings::Ftrl(config.check(place)?)
            }
            ModelKind::Dcn => {
                let mut table = dcn_defaults(evidence.size());
                table.extend(model);
                ModelSettings::Dcn(Box::new(from_table(table, place)?))
            }
        };
        Ok(Settings { kind, features, training, model })
    }

    /// Settings as a bundle's provenance and a run's record keep them; `place` is named in errors.
    ///
    /// # Errors
    /// Data when they are of another version.
    pub fn of_record(record: &serde_json::Value, place: &str) -> Result<Settings> {
        #[derive(Deserialize)]
        struct Kept {
            kind: ModelKind,
            features: IndexerConfig,
            training: Training,
            model: serde_json::Value,
        }
        let wrong = |error| Error::data(place, format!("its settings cannot be read: {error}"));
        let Kept { kind, features, training, model } = Kept::deserialize(record).map_err(wrong)?;
        let model = match kind {
            ModelKind::BaseRate => ModelSettings::BaseRate {},
            ModelKind::Ftrl => ModelSettings::Ftrl(FtrlConfig::deserialize(model).map_err(wrong)?),
            ModelKind::Dcn => ModelSettings::Dcn(Box::new(DcnConfig::deserialize(model).map_err(wrong)?)),
        };
        Ok(Settings { kind, features, training, model })
    }
}

/// Settings of a network for the evidence at hand; what is not named keeps its own default.
///
/// With little evidence a plain network loses to a linear model. What makes it win (`docs/learning.md` has the ablation): a
/// linear part beside it that knows every value, embeddings only for frequent values, and fields dropped at random.
fn dcn_defaults(size: Size) -> Table {
    const SMALL_NETWORK: &str = "embedding_dim = 8
cross_layers = 2
cross_rank = 32
cross_experts = 1
\
                                 deep = [128, 64]
learning_rate = 5e-3
embedding_min_count = 100
";
    const WIDE: &str = "wide = \"adagrad\"
embedding_scale = 0.1
";
    let rest = match size {
        Size::Small => [
            SMALL_NETWORK,
            "wide_learning_rate = 0.05
dropout = 0.5
embedding_dropout = 0.3
l2_embedding = 1e-4
",
        ],
        Size::Medium => [
            SMALL_NETWORK,
            "wide_learning_rate = 0.05
dropout = 0.2
embedding_dropout = 0.1
l2_embedding = 1e-5
",
        ],
        Size::Large => [
            "learning_rate = 3e-3
embedding_min_count = 10
",
            "wide_learning_rate = 0.1
l2_embedding = 1e-5
",
        ],
    };
    [WIDE, rest[0], rest[1]].concat().parse().expect("the defaults are TOML")
}

/// Gives each key to the group that knows it.
fn divide(kind: ModelKind, table: &Table, place: &str) -> Result<[Table; 3]> {
    let keys = |value: serde_json::Result<serde_json::Value>| -> Vec<String> {
        let value = value.expect("settings serialize");
        value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    let model = match kind {
        ModelKind::BaseRate => Vec::new(),
        ModelKind::Ftrl => keys(serde_json::to_value(FtrlConfig::default())),
        ModelKind::Dcn => keys(serde_json::to_value(RawDcn::default())),
    };
    let known =
        [keys(serde_json::to_value(RawFeatures::default())), keys(serde_json::to_value(RawTraining::default())), model];
    let mut parts = [Table::new(), Table::new(), Table::new()];
    for (key, value) in table {
        let Some(group) = known.iter().position(|keys| keys.contains(key)) else {
            let hint = nearest(key, known.iter().flatten().map(String::as_str));
            return Err(Error::config(place, key, format!("a {kind} model has no such setting{hint}")));
        };
        parts[group].insert(key.clone(), value.clone());
    }
    Ok(parts)
}

fn resolve_features(
    kind: ModelKind,
    raw: RawFeatures,
    schema: &Schema,
    evidence: Evidence,
    place: &str,
) -> Result<IndexerConfig> {
    let rows = evidence.rows;
    let mode = match (raw.mode, raw.bits, raw.min_count) {
        (_, Some(_), Some(_)) | (Some(RawMode::Vocabulary), Some(_), _) => {
            return Err(Error::config(
                place,
                "bits",
                "bits belong to mode = \"hash\", min_count to mode = \"vocabulary\"",
            ));
        }
        (Some(RawMode::Hash), _, Some(_)) => {
            return Err(Error::config(place, "min_count", "min_count belongs to mode = \"vocabulary\""));
        }
        (Some(RawMode::Hash), bits, None) | (None, bits @ Some(_), None) => {
            Mode::Hash { bits: bits.unwrap_or(hash_bits(rows)) }
        }
        (Some(RawMode::Vocabulary), None, min_count) | (None, None, min_count @ Some(_)) => {
            Mode::Vocabulary { min_count: min_count.unwrap_or(1) }
        }
        (None, None, None) => match kind {
            ModelKind::BaseRate => Mode::Hash { bits: 8 },
            ModelKind::Ftrl => Mode::Hash { bits: hash_bits(rows) },
            ModelKind::Dcn => Mode::Vocabulary { min_count: if evidence.size() == Size::Large { 2 } else { 1 } },
        },
    };
    let of_schema = || {
        let names = |cross: &Vec<usize>| cross.iter().map(|at| schema.features[*at].name.clone()).collect();
        schema.crosses.iter().map(names).collect::<Vec<Vec<String>>>()
    };
    let crosses = match raw.crosses {
        Some(RawCrosses::Listed(crosses)) => crosses,
        Some(RawCrosses::Named(name)) if name == "schema" => of_schema(),
        Some(RawCrosses::Named(name)) if name == "none" => Vec::new(),
        Some(RawCrosses::Named(name)) => {
            let message = format!("expected \"schema\", \"none\" or a list of lists of features, got {name:?}");
            return Err(Error::config(place, "crosses", message));
        }
        None if kind == ModelKind::BaseRate => Vec::new(),
        // The linear model, or the linear part of the network; the network itself embeds none unless told to.
        None => of_schema(),
    };
    Ok(IndexerConfig { mode, features: raw.features, crosses })
}

/// Four slots for each row, 2¹⁸ to 2²⁴: few collisions at any size, and a table that stays in reach of the cache.
fn hash_bits(rows: usize) -> u8 {
    (usize::BITS - (rows.max(1) * 4 - 1).leading_zeros()).clamp(18, 24) as u8
}

fn resolve_training(kind: ModelKind, raw: RawTraining, size: Size, place: &str) -> Result<Training> {
    let training = Training {
        passes: raw.passes.unwrap_or(match (kind, size) {
            (ModelKind::BaseRate, _) | (_, Size::Large) => 1,
            (ModelKind::Ftrl, Size::Small) => 3,
            (ModelKind::Ftrl, Size::Medium) => 2,
            (ModelKind::Dcn, Size::Small) => 6,
            (ModelKind::Dcn, Size::Medium) => 3,
        }),
        batch_rows: raw.batch_rows.unwrap_or(match kind {
            ModelKind::BaseRate | ModelKind::Ftrl => 4096,
            ModelKind::Dcn => 512,
        }),
        shuffle: raw.shuffle.unwrap_or(kind == ModelKind::Dcn),
        kept_negatives: raw.kept_negatives.unwrap_or(1.0),
        calibration: raw.calibration.unwrap_or_else(|| Method::ALL.to_vec()),
        checks_per_pass: raw.checks_per_pass.unwrap_or(1),
        patience: raw.patience.unwrap_or(2),
        plateau_patience: raw.plateau_patience.unwrap_or(0),
        plateau_factor: raw.plateau_factor.unwrap_or(0.3),
        schedule: Schedule {
            warm_up_steps: raw.warm_up_steps.unwrap_or(0),
            decay: raw.decay.unwrap_or(if kind == ModelKind::Dcn { Decay::Linear } else { Decay::Constant }),
            floor: raw.floor.unwrap_or(0.0),
        },
    };
    let wrong = |key: &str, expected: &str, got: String| {
        Err(Error::config(place, key, format!("expected {expected}, got {got}")))
    };
    match &training {
        Training { passes: passes @ (0 | 1001..), .. } => wrong("passes", "1 to 1000", passes.to_string()),
        Training { batch_rows: rows @ (0 | 1_048_577..), .. } => wrong("batch_rows", "1 to 1048576", rows.to_string()),
        Training { kept_negatives: share, .. } if !(*share > 0.0 && *share <= 1.0) => {
            wrong("kept_negatives", "a share above 0 up to 1", share.to_string())
        }
        Training { checks_per_pass: checks @ (0 | 1001..), .. } => {
            wrong("checks_per_pass", "1 to 1000", checks.to_string())
        }
        Training { plateau_factor: factor, .. } if !(0.0..=1.0).contains(factor) => {
            wrong("plateau_factor", "0 to 1", factor.to_string())
        }
        Training { schedule: Schedule { floor, .. }, .. } if !(0.0..=1.0).contains(floor) => {
            wrong("floor", "0 to 1", floor.to_string())
        }
        Training { calibration, .. } if calibration.is_empty() => {
            wrong("calibration", "at least one of identity, platt, isotonic", "none".into())
        }
        _ => Ok(training),
    }
}

/// Parses `key=value` settings into the flat table [`Settings::resolve`] takes.
///
/// # Errors
/// Config when one has no `=`.
pub fn from_flags(settings: &[String]) -> Result<Table> {
    let mut table = Table::new();
    crate::config::apply_settings(&mut table, settings)?;
    // `--set crosses=none` needs no quotes: bare words are strings already; numbers written as floats stay floats.
    table.retain(|_, value| !matches!(value, Value::Table(inner) if inner.is_empty()));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::PRESETS;

    fn resolve(kind: ModelKind, flags: &[&str], rows: usize) -> Result<Settings> {
        let schema = Schema::parse(PRESETS[2].1, "demo").unwrap();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Settings::resolve(kind, &from_flags(&flags)?, &schema, Evidence { rows, clicks: rows / 4 }, "--set")
    }

    #[test]
    fn defaults_follow_the_rows() {
        let small = resolve(ModelKind::Ftrl, &[], 50_000).unwrap();
        let large = resolve(ModelKind::Ftrl, &[], 50_000_000).unwrap();
        assert_eq!((small.training.passes, large.training.passes), (3, 1));
        assert_eq!((small.features.mode, large.features.mode), (Mode::Hash { bits: 18 }, Mode::Hash { bits: 24 }));
        assert_eq!(small.model, ModelSettings::Ftrl(FtrlConfig { alpha: 0.05, ..FtrlConfig::default() }));
        assert_eq!(small.features.crosses.len(), 5, "the schema's crosses");
    }

    #[test]
    fn keys_of_all_groups_stand_side_by_side() {
        let flags = ["alpha=0.3", "passes=2", "min_count=5", "crosses=none", "calibration=[\"platt\"]"];
        let settings = resolve(ModelKind::Ftrl, &flags, 1000).unwrap();
        assert_eq!(settings.features.mode, Mode::Vocabulary { min_count: 5 });
        assert_eq!(settings.training.calibration, [Method::Platt]);
        assert!(settings.features.crosses.is_empty());
    }

    #[test]
    fn what_a_record_keeps_is_read_again() {
        for kind in [ModelKind::BaseRate, ModelKind::Ftrl, ModelKind::Dcn] {
            let settings = resolve(kind, &[], 500_000).unwrap();
            let record = serde_json::to_value(&settings).unwrap();
            assert_eq!(Settings::of_record(&record, "run.json").unwrap(), settings);
        }
        let message = Settings::of_record(&serde_json::json!({ "kind": "ftrl" }), "run.json").unwrap_err().to_string();
        assert!(message.contains("run.json") && message.contains("features"), "{message}");
    }

    #[test]
    fn mistakes_are_named() {
        let message = |kind, flags: &[&str]| resolve(kind, flags, 1000).unwrap_err().to_string();
        assert!(message(ModelKind::Ftrl, &["alhpa=1"]).contains("did you mean \"alpha\"?"));
        assert!(message(ModelKind::BaseRate, &["alpha=1"]).contains("a base-rate model has no such setting"));
        assert!(message(ModelKind::Ftrl, &["passes=0"]).contains("passes: expected 1 to 1000, got 0"));
        assert!(message(ModelKind::Ftrl, &["bits=20", "min_count=2"]).contains("mode"));
        assert!(message(ModelKind::Ftrl, &["kept_negatives=0"]).contains("kept_negatives"));
        assert!(message(ModelKind::Ftrl, &["crosses=all"]).contains("expected \"schema\""));
    }
}
