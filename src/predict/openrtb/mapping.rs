//! `mapping.toml` → which values of a bid request become which fields of the schema.
//!
//! ```toml
//! version = 1
//! [fields]
//! site = "site.domain"                                   # a path
//! user = { path = "user.id", or = ["device.ifa"] }       # the first that is there
//! os = { path = "device.os", derive = "lower", default = "none" }
//! pos = { path = "imp.banner.pos", values = { 1 = "top", 3 = "bottom" }, otherwise = "other" }
//! interests = "user.data.*.segment.*.id"                 # all of them, for a bag
//! hour = { clock = "hour" }                              # of the user, now
//! size = { chosen = "size" }                             # of the candidate ad, as in 300x250
//! ```
//!
//! A path that begins with `imp` means the impression that is bid on. What is not there is missing, as in a log.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Deserialize;
use toml::{Table, Value};

use crate::config::{from_table, from_toml};
use crate::error::{Error, Result};

/// Where the fields of a row come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// By name of the schema's column, in the order of the file.
    pub(super) fields: IndexMap<String, Rule>,
}

/// Where one field comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) source: Source,
    /// From a found value to the field's, where the value is in here.
    pub(super) values: BTreeMap<String, String>,
    /// For found values that are not in `values`; `None` keeps them as they are.
    pub(super) otherwise: Option<String>,
    /// When nothing is found.
    pub(super) default: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// The first of these paths under which something is, and what is made of it.
    Paths(Vec<Path>, Derive),
    /// Time of day at the user.
    Clock(Clock),
    /// Something of the candidate.
    Chosen(Chosen),
}

/// A path into the request, or into the impression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) of_impression: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of an object.
    Key(String),
    /// An item of a list, from 0.
    Item(usize),
    /// All items of a list.
    Every,
}

/// What is made of a found value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Derive {
    /// Its text.
    #[default]
    Text,
    /// Its text in lower case.
    Lower,
    /// The host of a URL, in lower case, without `www.`.
    Host,
    /// `300x250` of an object with `w` and `h`, or of its first `format`.
    Size,
    /// Hour of the day, 0 to 23, of seconds or milliseconds since 1970, UTC.
    Hour,
    /// `mon` to `sun` of the same.
    Weekday,
    /// Number of items of a list.
    Count,
    /// `1`, whatever it is.
    Present,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Clock {
    /// 0 to 23.
    Hour,
    /// `mon` to `sun`.
    Weekday,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Chosen {
    /// `300x250`.
    Size,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMapping {
    version: u32,
    fields: IndexMap<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRule {
    path: Option<String>,
    or: Vec<String>,
    derive: Derive,
    clock: Option<Clock>,
    chosen: Option<Chosen>,
    values: Table,
    otherwise: Option<String>,
    default: Option<String>,
}

impl Mapping {
    /// Parses a mapping file; `place` is its name in errors.
    ///
    /// # Errors
    /// Config, with the field.
    pub fn parse(text: &str, place: &str) -> Result<Mapping> {
        let raw: RawMapping = from_toml(text, place)?;
        if raw.version != 1 {
            return Err(Error::config(place, "version", format!("expected 1, got {}", raw.version)));
        }
        let rule = |(name, value): (String, Value)| {
            let place = format!("{place}: fields.{name}");
            let raw = match value {
                Value::String(path) => RawRule { path: Some(path), ..RawRule::default() },
                Value::Table(table) => from_table(table, &place)?,
                other => {
                    let message = format!("expected a path or a table, got {other}");
                    return Err(Error::config(place, "value", message));
                }
            };
            Ok((name, raw.checked(&place)?))
        };
        Ok(Mapping { fields: raw.fields.into_iter().map(rule).collect::<Result<_>>()? })
    }
}

impl RawRule {
    fn checked(self, place: &str) -> Result<Rule> {
        let paths = || self.path.iter().chain(&self.or).map(|path| Path::parse(path, place)).collect::<Result<_>>();
        let source = match (&self.path, self.clock, self.chosen) {
            (Some(_), None, None) => Source::Paths(paths()?, self.derive),
            (None, Some(clock), None) if self.or.is_empty() => Source::Clock(clock),
            (None, None, Some(chosen)) if self.or.is_empty() => Source::Chosen(chosen),
            _ => return Err(Error::config(place, "path", "expected one of path, clock and chosen")),
        };
        let text = |(key, value): (String, Value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Integer(number) => Ok((key, number.to_string())),
            other => Err(Error::config(place, format!("values.{key}"), format!("expected a string, got {other}"))),
        };
        let values = self.values.into_iter().map(text).collect::<Result<_>>()?;
        Ok(Rule { source, values, otherwise: self.otherwise, default: self.default })
    }
}

impl Rule {
    /// What the field gets for a value that was found.
    pub(super) fn value<'a>(&'a self, found: std::borrow::Cow<'a, str>) -> std::borrow::Cow<'a, str> {
        if self.values.is_empty() {
            return found;
        }
        match (self.values.get(&*found), &self.otherwise) {
            (Some(value), _) => std::borrow::Cow::Borrowed(value),
            (None, Some(otherwise)) => std::borrow::Cow::Borrowed(otherwise),
            (None, None) => found,
        }
    }
}

impl Path {
    fn parse(text: &str, place: &str) -> Result<Path> {
        let step = |part: &str| match part {
            "*" => Step::Every,
            part if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                part.parse().map_or_else(|_| Step::Key(part.to_owned()), Step::Item)
            }
            part => Step::Key(part.to_owned()),
        };
        if text.is_empty() || text.split('.').any(str::is_empty) {
            let message = format!("expected names with single dots between, as in device.geo.country, got {text:?}");
            return Err(Error::config(place, "path", message));
        }
        let mut steps: Vec<Step> = text.split('.').map(step).collect();
        let of_impression = steps[0] == Step::Key("imp".into());
        if of_impression {
            steps.remove(0);
            if !matches!(steps.first(), Some(Step::Key(_))) {
                let message = "imp is the impression that is bid on: expected a key of it, as in imp.bidfloor";
                return Err(Error::config(place, "path", message));
            }
        }
        Ok(Path { of_impression, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_field_and_key() {
        for (text, told) in [
            ("version = 2\n[fields]", "version: expected 1"),
            ("version = 1\n[fields]\na = 5", "fields.a: value: expected a path or a table, got 5"),
            ("version = 1\n[fields]\na = \"x..y\"", "fields.a: path: expected names"),
            ("version = 1\n[fields]\na = \"imp.0.id\"", "the impression that is bid on"),
            ("version = 1\n[fields]\na = { paht = \"x\" }", "did you mean \"path\"?"),
            ("version = 1\n[fields]\na = { clock = \"hour\", path = \"x\" }", "one of path, clock and chosen"),
            ("version = 1\n[fields]\na = { path = \"x\", derive = \"uper\" }", "fields.a"),
        ] {
            let message = Mapping::parse(text, "m.toml").unwrap_err().to_string();
            assert!(message.contains(told), "{text}: {message}");
        }
    }
}
