//! Schema text → checked schema.

use indexmap::IndexMap;
use serde::Deserialize;

use super::{Bins, Feature, FeatureKind, Schema, TextFormat, TimeFormat};
use crate::config;
use crate::error::{Error, Result};

/// A schema file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSchema {
    version: u32,
    name: String,
    #[serde(default)]
    rows_in_time_order: bool,
    #[serde(default)]
    text: RawText,
    fields: IndexMap<String, RawField>,
    #[serde(default)]
    crosses: Vec<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawText {
    delimiter: String,
    header: bool,
}

impl Default for RawText {
    fn default() -> Self {
        RawText { delimiter: ",".into(), header: true }
    }
}

/// One field as written; keys that do not fit its kind are errors.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum RawField {
    Categorical {
        column: Option<String>,
        characters: Option<[usize; 2]>,
    },
    Numeric {
        column: Option<String>,
        #[serde(default = "log_square")]
        bins: RawBins,
    },
    Bag {
        column: Option<String>,
        #[serde(default = "bar")]
        separator: String,
        #[serde(default = "eight")]
        max_values: usize,
    },
    Label {},
    Weight {},
    Time {
        #[serde(default = "seconds")]
        format: TimeFormat,
    },
    Group {},
    Ignore {},
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawBins {
    Named(String),
    Counted(RawQuantile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuantile {
    quantile: u16,
}

fn log_square() -> RawBins {
    RawBins::Named("log_square".into())
}
fn bar() -> String {
    "|".into()
}
fn eight() -> usize {
    8
}
fn seconds() -> TimeFormat {
    TimeFormat::Seconds
}

pub(super) fn parse(text: &str, place: &str) -> Result<Schema> {
    let raw: RawSchema = config::from_toml(text, place)?;
    let wrong = |key: &str, message: String| Error::config(place, key, message);
    if raw.version != 1 {
        return Err(wrong("version", format!("expected 1, got {}", raw.version)));
    }
    let one_byte = |key: &str, text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | b'"') => Ok(*byte),
        _ => Err(wrong(key, format!("expected one ASCII character, got {text:?}"))),
    };

    // A field without `column` is a column of the file; one with `column` reads another field's column again.
    let columns: Vec<String> = raw.fields.iter().filter(|(_, f)| own_column(f)).map(|(name, _)| name.clone()).collect();
    let mut schema = Schema {
        name: raw.name,
        text: TextFormat { delimiter: one_byte("text.delimiter", &raw.text.delimiter)?, header: raw.text.header },
        rows_in_time_order: raw.rows_in_time_order,
        columns,
        features: Vec::new(),
        crosses: Vec::new(),
        label: usize::MAX,
        weight: None,
        time: None,
        group: None,
        source: text.to_owned(),
    };
    for (name, field) in raw.fields {
        let key = format!("fields.{name}");
        let position = |column: &Option<String>| {
            let column = column.as_deref().unwrap_or(&name);
            schema.columns.iter().position(|known| known == column).ok_or_else(|| {
                let hint = crate::error::nearest(column, schema.columns.iter().map(String::as_str));
                wrong(&format!("{key}.column"), format!("no field declares the column {column:?}{hint}"))
            })
        };
        let own = position(&None);
        let once = |taken: bool, what: &str| match taken {
            true => Err(wrong(&key, format!("expected at most one {what} field, got a second"))),
            false => Ok(()),
        };
        let (column, kind) = match field {
            RawField::Categorical { column, characters } => {
                if characters.is_some_and(|[start, end]| start >= end) {
                    return Err(wrong(&format!("{key}.characters"), "expected [start, end) with start < end".into()));
                }
                (position(&column)?, FeatureKind::Categorical { characters: characters.map(|[start, end]| start..end) })
            }
            RawField::Numeric { column, bins } => {
                let bins = match bins {
                    RawBins::Named(name) if name == "log_square" => Bins::LogSquare,
                    RawBins::Named(name) if name == "quantile" => Bins::Quantile(None),
                    RawBins::Counted(RawQuantile { quantile: count @ 2..=1024 }) => Bins::Quantile(Some(count)),
                    RawBins::Counted(RawQuantile { quantile }) => {
                        let message = format!("expected 2 to 1024 quantile bins, got {quantile}");
                        return Err(wrong(&format!("{key}.bins"), message));
                    }
                    RawBins::Named(name) => {
                        let hint = crate::error::nearest(&name, ["log_square", "quantile"]);
                        let message =
                            format!("expected \"log_square\", \"quantile\" or {{ quantile = 16 }}, got {name:?}{hint}");
                        return Err(wrong(&format!("{key}.bins"), message));
                    }
                };
                (position(&column)?, FeatureKind::Numeric { bins })
            }
            RawField::Bag { column, separator, max_values } => {
                if !(1..=256).contains(&max_values) {
                    return Err(wrong(&format!("{key}.max_values"), format!("expected 1 to 256, got {max_values}")));
                }
                let separator = one_byte(&format!("{key}.separator"), &separator)?;
                (position(&column)?, FeatureKind::Bag { separator, max_values })
            }
            RawField::Label {} => {
                once(schema.label != usize::MAX, "label")?;
                schema.label = own?;
                continue;
            }
            RawField::Weight {} => {
                once(schema.weight.is_some(), "weight")?;
                schema.weight = Some(own?);
                continue;
            }
            RawField::Time { format } => {
                once(schema.time.is_some(), "time")?;
                schema.time = Some((own?, format));
                continue;
            }
            RawField::Group {} => {
                once(schema.group.is_some(), "group")?;
                schema.group = Some(own?);
                continue;
            }
            RawField::Ignore {} => continue,
        };
        schema.features.push(Feature { name, column, kind });
    }
    if schema.label == usize::MAX {
        return Err(wrong("fields", "expected one field of kind \"label\", got none".into()));
    }
    if schema.features.is_empty() {
        return Err(wrong("fields", "expected at least one categorical, numeric or bag field, got none".into()));
    }
    for cross in &raw.crosses {
        if !(2..=4).contains(&cross.len()) {
            return Err(wrong("crosses", format!("expected 2 to 4 features in a cross, got {}", cross.len())));
        }
        let cross =
            cross.iter().map(|name| schema.feature(&format!("{place}: crosses"), name)).collect::<Result<_>>()?;
        schema.crosses.push(cross);
    }
    Ok(schema)
}

fn own_column(field: &RawField) -> bool {
    match field {
        RawField::Categorical { column, .. } | RawField::Numeric { column, .. } | RawField::Bag { column, .. } => {
            column.is_none()
        }
        _ => true,
    }
}
