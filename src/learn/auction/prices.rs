//! A price file → what the prices of a log mean: which columns, which currency, for how many impressions.
//!
//! It stands apart from the log's schema on purpose. A schema says what a model may see; the price to beat is known only
//! after the auction, and a model that sees it is worthless in use.

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config;
use crate::error::{Error, Result, nearest};
use crate::model::schema::{Bins, Feature, FeatureKind, Schema};

/// Price files that come with `pctr`.
const PRESETS: [(&str, &str); 1] = [("demo", include_str!("../../../data/schemas/demo.prices.toml"))];

/// A checked price file. At least one of `market_price` and `floor` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceSchema {
    /// Name, as `--prices` takes it for a preset.
    pub name: String,
    /// Currency as reports show it, e.g. `USD`.
    pub currency: String,
    /// For how many impressions a price is.
    pub unit: PriceUnit,
    /// Column of the best other bid: what a bid must reach to win.
    pub market_price: Option<String>,
    /// Column of the bid floor, which must be reached too.
    pub floor: Option<String>,
    /// Column that is 1 where the logging bidder won, so that the click is known; without it every row is an impression.
    pub won: Option<String>,
}

/// For how many impressions a price is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// For 1,000.
    Cpm,
    /// For one.
    Impression,
}

impl PriceUnit {
    /// A price as the log writes it → currency for one impression.
    pub fn for_one(self, price: f64) -> f64 {
        match self {
            PriceUnit::Cpm => price / 1000.0,
            PriceUnit::Impression => price,
        }
    }
}

/// A price file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrices {
    version: u32,
    name: String,
    currency: String,
    unit: PriceUnit,
    market_price: Option<String>,
    floor: Option<String>,
    won: Option<String>,
}

impl PriceSchema {
    /// A preset by name, or the text of a price file by path, with `settings` (`key=value`) on top; `read` reads files.
    ///
    /// # Errors
    /// Config when the name is unknown, or a key is unknown, missing or contradictory.
    pub fn resolve(
        name_or_path: &str,
        settings: &[String],
        read: impl FnOnce(&str) -> Result<String>,
    ) -> Result<PriceSchema> {
        if let Some((name, text)) = PRESETS.iter().find(|(name, _)| *name == name_or_path) {
            return PriceSchema::parse(text, settings, name);
        }
        if !name_or_path.ends_with(".toml") {
            let hint = nearest(name_or_path, PRESETS.map(|(name, _)| name));
            let message = format!("expected a preset (demo) or a .toml file{hint}");
            return Err(Error::config("--prices", name_or_path, message));
        }
        PriceSchema::parse(&read(name_or_path)?, settings, name_or_path)
    }

    /// Parses a price file with `settings` on top; `place` is named in errors.
    ///
    /// # Errors
    /// Config, naming the key.
    pub fn parse(text: &str, settings: &[String], place: &str) -> Result<PriceSchema> {
        // Without settings the text itself is parsed, so that errors name the line.
        let raw: RawPrices = match settings.is_empty() {
            true => config::from_toml(text, place)?,
            false => {
                let mut table: Table = config::table(text, place)?;
                config::apply_settings(&mut table, settings)?;
                config::from_table(table, place)?
            }
        };
        let wrong = |key: &str, message: String| Err(Error::config(place, key, message));
        let RawPrices { version, name, currency, unit, market_price, floor, won } = raw;
        if version != 1 {
            return wrong("version", format!("expected 1, got {version}"));
        }
        if market_price.is_none() && floor.is_none() {
            return wrong(
                "market_price",
                "expected a column for market_price, for floor, or for both, got none".into(),
            );
        }
        if currency.trim().is_empty() {
            return wrong("currency", "expected a name such as USD, got nothing".into());
        }
        Ok(PriceSchema { name, currency, unit, market_price, floor, won })
    }

    /// A schema that reads what a replay needs of a log of `schema`: label, time, group and prices, no features.
    ///
    /// Price columns that `schema` does not name are looked for by the names in the header (or of Parquet).
    ///
    /// # Errors
    /// Config when rows have weights, or `schema` has neither a header nor the column.
    pub(super) fn reading(&self, schema: &Schema) -> Result<(Schema, PriceColumns)> {
        if let Some(weight) = schema.weight {
            let message = format!(
                "expected rows that are one impression each; those of schema {} have a weight ({})",
                schema.name, schema.columns[weight]
            );
            return Err(Error::config("auction", "weight", message));
        }
        let mut reading = Schema { features: Vec::new(), crosses: Vec::new(), ..schema.clone() };
        let mut column = |key: &str, name: &Option<String>| -> Result<Option<usize>> {
            let Some(name) = name else { return Ok(None) };
            let known = reading.column(name);
            if known.is_none() && !schema.text.header {
                let hint = nearest(name, schema.columns.iter().map(String::as_str));
                let message = format!(
                    "schema {} reads files without a header and has no column {name:?}{hint}; declare it there as \
                     {{ kind = \"ignore\" }}",
                    schema.name
                );
                return Err(Error::config(format!("prices {}", self.name), key, message));
            }
            let position = known.unwrap_or_else(|| {
                reading.columns.push(name.clone());
                reading.columns.len() - 1
            });
            // A reader looks for the columns of features.
            let kind = FeatureKind::Numeric { bins: Bins::LogSquare };
            reading.features.push(Feature { name: name.clone(), column: position, kind });
            Ok(Some(position))
        };
        let columns = PriceColumns {
            market_price: column("market_price", &self.market_price)?,
            floor: column("floor", &self.floor)?,
            won: column("won", &self.won)?,
        };
        Ok((reading, columns))
    }

    /// Refuses a model that sees the price to beat or who won.
    ///
    /// # Errors
    /// Config, naming the feature.
    pub fn refuse_leaks(&self, model: &str, schema: &Schema) -> Result<()> {
        let leaks = |column: &str| [&self.market_price, &self.won].iter().any(|leak| leak.as_deref() == Some(column));
        match schema.features.iter().find(|feature| leaks(&schema.columns[feature.column])) {
            None => Ok(()),
            Some(feature) => {
                let message = format!(
                    "{model} was trained with it as a feature, and no bidder knows it before the auction; make it \
                     {{ kind = \"ignore\" }} in schema {} and train again",
                    schema.name
                );
                Err(Error::config("auction", feature.name.clone(), message))
            }
        }
    }
}

/// Where prices stand in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PriceColumns {
    pub(super) market_price: Option<usize>,
    pub(super) floor: Option<usize>,
    pub(super) won: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const TEXT: &str =
        "version = 1\nname = \"x\"\ncurrency = \"EUR\"\nunit = \"impression\"\nmarket_price = \"paid\"\n";

    fn message(text: &str, settings: &[&str]) -> String {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let error = PriceSchema::parse(text, &settings, "p.toml").unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        error.to_string()
    }

    #[test]
    fn presets_parse_and_settings_act_on_them() {
        let prices = PriceSchema::resolve("demo", &[], |_| unreachable!()).unwrap();
        assert_eq!((prices.unit, prices.market_price.as_deref()), (PriceUnit::Cpm, Some("market_price")));
        let settings = ["won=bought".to_owned(), "currency=EUR".to_owned()];
        let prices = PriceSchema::resolve("demo", &settings, |_| unreachable!()).unwrap();
        assert_eq!((prices.won.as_deref(), prices.currency.as_str()), (Some("bought"), "EUR"));
        assert_eq!(PriceUnit::Cpm.for_one(2.5), 0.0025);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(message(&TEXT.replace("market_price", "markt_price"), &[]).contains("did you mean \"market_price\"?"));
        assert!(message(&TEXT.replace("impression", "cpc"), &[]).contains("cpc"));
        assert!(
            message(&TEXT.replace("market_price = \"paid\"\n", ""), &[]).contains("expected a column for market_price")
        );
        assert!(message(TEXT, &["version=2"]).contains("expected 1, got 2"));
        assert!(message(TEXT, &["currency= "]).contains("currency"));
        let unknown = PriceSchema::resolve("dmo", &[], |_| unreachable!()).unwrap_err().to_string();
        assert!(unknown.contains("did you mean \"demo\"?"), "{unknown}");
    }

    #[test]
    fn a_schema_for_reading_finds_columns_it_was_never_told_of() {
        let demo = Schema::resolve("demo", |_| unreachable!()).unwrap();
        let prices = PriceSchema::resolve("demo", &[], |_| unreachable!()).unwrap();
        let (reading, columns) = prices.reading(&demo).unwrap();
        assert_eq!(columns.market_price, Some(demo.columns.len()));
        assert_eq!(columns.floor, demo.column("bid_floor"));
        assert_eq!((reading.label, reading.time, reading.features.len()), (demo.label, demo.time, 2));
        let criteo = Schema::resolve("criteo", |_| unreachable!()).unwrap();
        let error = prices.reading(&criteo).unwrap_err().to_string();
        assert!(error.contains("market_price") && error.contains("without a header"), "{error}");
    }

    #[test]
    fn a_model_that_sees_the_price_is_refused() {
        let text = "version = 1\nname = \"x\"\n[fields]\ny = { kind = \"label\" }\npaid = { kind = \"numeric\" }\n";
        let schema = Schema::parse(text, "x").unwrap();
        let prices = PriceSchema::parse(TEXT, &[], "p.toml").unwrap();
        let error = prices.refuse_leaks("model-a", &schema).unwrap_err().to_string();
        assert!(error.contains("paid") && error.contains("model-a"), "{error}");
        let floor_only = PriceSchema { market_price: None, floor: Some("paid".into()), ..prices };
        assert!(floor_only.refuse_leaks("model-a", &schema).is_ok());
    }
}
