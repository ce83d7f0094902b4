//! The kinds of models a recipe may name: pctr's own, and the reference models of the `baselines` crate.
//!
//! Own kinds end as a bundle and can be published; references are judged beside them and stay here.

use baselines::{Baseline, BaselineError, RawLinfaLogistic, RawSmartcoreBoost, RawSmartcoreForest};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::from_table;
use crate::error::{Error, Result, nearest};
use crate::learn::settings::{Evidence, Settings};
use crate::model::bundle::ModelKind;
use crate::model::calibration::Method;
use crate::model::schema::Schema;

/// What a model of a recipe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kind {
    /// pctr's own.
    Own(ModelKind),
    /// Of another library.
    Reference(Reference),
}

/// Reference models; see the `baselines` crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// Dense logistic regression of linfa.
    LinfaLogistic,
    /// Random forest of smartcore.
    SmartcoreForest,
    /// Boosted trees of smartcore.
    SmartcoreBoost,
}

/// Settings of one run with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Resolved {
    /// Of an own kind.
    Own(Box<Settings>),
    /// Of a reference.
    Reference(ReferenceSettings),
}

/// Settings of a reference model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceSettings {
    /// Columns that codes are hashed into.
    pub dimensions: usize,
    /// Calibration methods to choose from.
    pub calibration: Vec<Method>,
    /// The model's own settings.
    pub model: Baseline,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 6] = [
        Kind::Own(ModelKind::BaseRate),
        Kind::Own(ModelKind::Ftrl),
        Kind::Own(ModelKind::Dcn),
        Kind::Reference(Reference::LinfaLogistic),
        Kind::Reference(Reference::SmartcoreForest),
        Kind::Reference(Reference::SmartcoreBoost),
    ];

    /// As recipes name it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Own(kind) => kind.name(),
            Kind::Reference(Reference::LinfaLogistic) => "linfa-logistic",
            Kind::Reference(Reference::SmartcoreForest) => "smartcore-forest",
            Kind::Reference(Reference::SmartcoreBoost) => "smartcore-boost",
        }
    }

    /// Whether it ends as a bundle, so that it can be published.
    pub fn publishable(self) -> bool {
        matches!(self, Kind::Own(_))
    }

    /// The kind of this name; `place` is named in errors.
    ///
    /// # Errors
    /// Config, with the nearest name.
    pub fn parse(name: &str, place: &str) -> Result<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name);
            let message = format!("expected one of {}, got {name:?}{}", names.join(", "), nearest(name, names));
            Error::config(place, "kind", message)
        })
    }

    /// Fills in defaults for the training rows at hand. `methods` are the recipe's calibration methods; own kinds may name others.
    /// `place` is named in errors.
    ///
    /// # Errors
    /// Config, naming the key, when one is unknown or out of bounds.
    pub fn resolve(
        self,
        params: &Table,
        methods: &[Method],
        schema: &Schema,
        evidence: Evidence,
        place: &str,
    ) -> Result<Resolved> {
        match self {
            Kind::Own(kind) => {
                let calibration_given = params.contains_key("calibration");
                let mut settings = Settings::resolve(kind, params, schema, evidence, place)?;
                if !calibration_given {
                    settings.training.calibration = methods.to_vec();
                }
                Ok(Resolved::Own(Box::new(settings)))
            }
            Kind::Reference(reference) => reference.resolve(params, methods, place).map(Resolved::Reference),
        }
    }
}

impl Reference {
    fn resolve(self, params: &Table, methods: &[Method], place: &str) -> Result<ReferenceSettings> {
        let mut params = params.clone();
        let dimensions = match params.remove("dimensions") {
            None if self == Reference::SmartcoreBoost => 64,
            None => 256,
            Some(Value::Integer(dimensions @ 2..=4096)) => dimensions as usize,
            Some(other) => {
                return Err(Error::config(place, "dimensions", format!("expected 2 to 4096 columns, got {other}")));
            }
        };
        let refused = |error: BaselineError| match &error {
            BaselineError::Setting { key, expected, got, .. } => {
                Error::config(place, *key, format!("expected {expected}, got {got}"))
            }
            _ => Error::config(place, "params", error.to_string()),
        };
        let model = match self {
            Reference::LinfaLogistic => {
                Baseline::LinfaLogistic(from_table::<RawLinfaLogistic>(params, place)?.try_into().map_err(refused)?)
            }
            Reference::SmartcoreForest => {
                Baseline::SmartcoreForest(from_table::<RawSmartcoreForest>(params, place)?.try_into().map_err(refused)?)
            }
            Reference::SmartcoreBoost => {
                Baseline::SmartcoreBoost(from_table::<RawSmartcoreBoost>(params, place)?.try_into().map_err(refused)?)
            }
        };
        model.row_limit(dimensions).map_err(refused)?;
        let mut calibration = methods.to_vec();
        if self == Reference::SmartcoreBoost {
            // Its scores are clipped, not probabilities: identity is no choice.
            calibration.retain(|method| *method != Method::Identity);
            if calibration.is_empty() {
                calibration.push(Method::Platt);
            }
        }
        Ok(ReferenceSettings { dimensions, calibration, model })
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Kind, String> {
        Kind::parse(&name, "record").map_err(|error| error.to_string())
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> String {
        kind.name().to_owned()
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
