//! TOML text → checked settings, with errors that name the key and the nearest one that exists.
//!
//! Each module owns its own struct; here is only what all of them share: parsing, `--set key=value`, and the hash that
//! identifies a setting, and settings put together from a file, the environment and flags ([`Layout`]). No file is opened here.

mod documented;
mod layers;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub(crate) use documented::settings;
pub use documented::{Documented, Key, Section, value_of};
pub use layers::{Layout, Settled};

use crate::error::{Error, Result, nearest};

/// Parses TOML into `T`; `place` (a file or a flag) is named in errors.
///
/// # Errors
/// Config, with line, key and the nearest known key.
pub fn from_toml<T: DeserializeOwned>(text: &str, place: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(|| place.to_owned(), |line| format!("{place}:{line}"));
        explain(&place, error.message())
    })
}

/// Turns a table into `T`; `place` is named in errors.
///
/// # Errors
/// Config, with key and the nearest known key.
pub fn from_table<T: DeserializeOwned>(table: Table, place: &str) -> Result<T> {
    Value::Table(table).try_into().map_err(|error: toml::de::Error| explain(place, error.message()))
}

/// Parses `text` as a table, without checking what is in it.
///
/// # Errors
/// Config, with the line, when the text is no TOML.
pub fn table(text: &str, place: &str) -> Result<Table> {
    from_toml(text, place)
}

/// Applies `key=value` settings in order; keys may be dotted paths (`split.test=0.2`), `models.0.seed` reaches into lists,
/// and values are TOML values or, when they are none, plain strings.
///
/// # Errors
/// Config when a setting has no `=` or its path runs through something that is no table.
pub fn apply_settings(table: &mut Table, settings: &[String]) -> Result<()> {
    for setting in settings {
        let (path, text) = setting
            .split_once('=')
            .ok_or_else(|| Error::config("--set", setting, "expected key=value, e.g. --set alpha=0.1"))?;
        let value = parse_value(text.trim());
        let mut keys: Vec<&str> = path.trim().split('.').collect();
        let last = keys.pop().filter(|key| !key.is_empty());
        let last = last.ok_or_else(|| Error::config("--set", setting, "expected a key before the ="))?;
        let no_table = || Error::config("--set", setting, "the path leads through a value that is no table");
        let mut place: &mut Table = table;
        let mut rest = keys.into_iter().peekable();
        while let Some(key) = rest.next() {
            place = match place.entry(key).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(inner) => inner,
                Value::Array(list) => {
                    let index = rest.next().and_then(|index| index.parse::<usize>().ok()).ok_or_else(no_table)?;
                    list.get_mut(index).and_then(Value::as_table_mut).ok_or_else(no_table)?
                }
                _ => return Err(no_table()),
            };
        }
        place.insert(last.to_owned(), value);
    }
    Ok(())
}

/// A text as a TOML value or, when it is none, a plain string.
pub(crate) fn parse_value(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A parser's message → an error that names the key and the nearest known one.
fn explain(place: &str, message: &str) -> Error {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown") => {
            Error::config(place, *unknown, format!("{message}{}", nearest(unknown, known.iter().copied())))
        }
        Some((key, _)) => Error::config(place, *key, message.trim_end()),
        None => Error::config(place, "value", message.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        learning_rate: f64,
        #[serde(default)]
        inner: Option<Box<Sample>>,
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let message = from_toml::<Sample>("learning_rat = 1.0", "r.toml").unwrap_err().to_string();
        assert!(message.contains("did you mean \"learning_rate\"?") && message.contains("r.toml:1"), "{message}");
    }

    #[test]
    fn settings_reach_inside() {
        let mut table = table("learning_rate = 1.0", "r.toml").unwrap();
        apply_settings(&mut table, &["inner.learning_rate=0.5".into(), "learning_rate=2.5".into()]).unwrap();
        let sample: Sample = from_table(table, "r.toml").unwrap();
        assert_eq!((sample.learning_rate, sample.inner.unwrap().learning_rate), (2.5, 0.5));
    }

    #[test]
    fn settings_without_value_are_refused() {
        let message = apply_settings(&mut Table::new(), &["alpha".into()]).unwrap_err().to_string();
        assert!(message.contains("key=value"), "{message}");
    }
}
