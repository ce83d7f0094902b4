//! A score request → fields by column.
//!
//! Values keep the text they came with: `5`, `"5"` and the cell `5` of a log give the same code, and `5.0` another, as in a
//! log. A list for a bag becomes the cell a log would have, with the separator between. So a row gets the same codes here
//! and in a file.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::objects::{each_field, items};
use crate::error::nearest;
use crate::model::row::Cell;
use crate::predict::LiveModel;
use crate::predict::fields::{Column, Reader};
use crate::predict::http::Unknown;
use crate::predict::http::refusal::{Refusal, RefusalKind};
use crate::predict::json::{JsonType, shown, string};
use crate::predict::scorer::Refused;

/// How requests are read.
#[derive(Debug, Clone, Copy)]
pub(in crate::predict::http) struct Rules {
    /// Most candidates.
    pub(in crate::predict::http) candidates: usize,
    /// What to do with unknown fields.
    pub(in crate::predict::http) unknown: Unknown,
}

/// A request that fits the model's schema.
#[derive(Debug)]
pub(in crate::predict::http) struct Request<'a> {
    context: Vec<Field<'a>>,
    candidates: Vec<Candidate<'a>>,
    /// Fields of all candidates, one after another.
    fields: Vec<Field<'a>>,
}

#[derive(Debug)]
struct Candidate<'a> {
    /// As given.
    id: Option<&'a RawValue>,
    /// Where its fields end.
    end: usize,
}

/// A value for a column.
#[derive(Debug)]
struct Field<'a> {
    column: usize,
    /// `None` for a missing value.
    text: Option<Cow<'a, str>>,
}

impl Field<'_> {
    fn cell(&self) -> (usize, Cell<'_>) {
        (self.column, self.text.as_ref().map_or(Cell::Missing, |text| Cell::Text(text.as_bytes())))
    }
}

impl<'a> Request<'a> {
    /// Reads an object; `place` names it in errors.
    pub(in crate::predict::http) fn read(
        object: &'a RawValue,
        place: &'static str,
        model: &LiveModel,
        rules: Rules,
    ) -> Result<Request<'a>, Refusal> {
        let (mut context, mut candidates) = (None, None);
        each_field(object, place, |key, value| {
            let known = match &*key {
                "context" => &mut context,
                "candidates" => &mut candidates,
                _ if rules.unknown == Unknown::Ignore => return Ok(()),
                key => {
                    let hint = nearest(key, ["context", "candidates"]);
                    let message = format!("{place}: expected context and candidates, got {key:?}{hint}");
                    return Err(Refusal::of_field(RefusalKind::UnknownField, key, message));
                }
            };
            match known.replace(value) {
                None => Ok(()),
                Some(_) => Err(twice(place, &key)),
            }
        })?;

        let mut reader = FieldReader { model, unknown: rules.unknown, seen: vec![0; model.fields.count()], object: 0 };
        let mut request = Request { context: Vec::new(), candidates: Vec::new(), fields: Vec::new() };
        if let Some(context) = context {
            reader.next_object();
            each_field(context, "context", |key, value| reader.read("context", &key, value, &mut request.context))?;
        }
        let candidates = match candidates {
            Some(list) => items("candidates", list, rules.candidates, RefusalKind::TooManyCandidates)?,
            None => {
                let message = format!("{place}: candidates is missing");
                return Err(Refusal::of_field(RefusalKind::NoCandidates, "candidates", message));
            }
        };
        if candidates.is_empty() {
            let message = "candidates: expected at least one, got an empty list";
            return Err(Refusal::of_field(RefusalKind::NoCandidates, "candidates", message));
        }
        for (position, candidate) in candidates.into_iter().enumerate() {
            let place = Place(position);
            let mut id = None;
            let mut id_seen = false;
            reader.next_object();
            each_field(candidate, place, |key, value| {
                if key == "id" {
                    if std::mem::replace(&mut id_seen, true) {
                        return Err(twice(place, "id"));
                    }
                    id = identifier(place, value)?;
                    // A log may have a column of this name; then the id is its cell too.
                    if model.fields.position("id").is_none() {
                        return Ok(());
                    }
                }
                reader.read(place, &key, value, &mut request.fields)
            })?;
            request.candidates.push(Candidate { id, end: request.fields.len() });
        }
        Ok(request)
    }

    /// The context's cells, by column.
    pub(in crate::predict::http) fn context(&self) -> impl Iterator<Item = (usize, Cell<'_>)> {
        self.context.iter().map(Field::cell)
    }

    /// Each candidate's own cells, by column.
    pub(in crate::predict::http) fn candidates(
        &self,
    ) -> impl ExactSizeIterator<Item = impl Iterator<Item = (usize, Cell<'_>)>> {
        (0..self.candidates.len()).map(|candidate| self.own(candidate).iter().map(Field::cell))
    }

    /// What to answer when the scorer refuses a cell: names the column, not the feature, and where it stands.
    pub(in crate::predict::http) fn refusal(
        &self,
        Refused { candidate, error }: Refused,
        model: &LiveModel,
    ) -> Refusal {
        let schema = &model.bundle.schema;
        let column = schema.features.iter().find(|feature| feature.name == error.field).map(|feature| feature.column);
        let field = column.map_or(error.field.as_str(), |column| schema.columns[column].as_str());
        let own = self.own(candidate).iter().any(|field| Some(field.column) == column);
        let place = if own { Place(candidate).to_string() } else { "context".into() };
        let message = format!("{place}: {field}: expected {}, got {}", error.expected, error.got);
        Refusal::of_field(RefusalKind::InvalidNumber, field, message)
    }

    /// The candidates' ids, as given.
    pub(in crate::predict::http) fn ids(&self) -> impl ExactSizeIterator<Item = Option<&'a RawValue>> {
        self.candidates.iter().map(|candidate| candidate.id)
    }

    fn own(&self, candidate: usize) -> &[Field<'a>] {
        let start = candidate.checked_sub(1).map_or(0, |before| self.candidates[before].end);
        &self.fields[start..self.candidates[candidate].end]
    }
}

/// A candidate, as messages name it.
#[derive(Clone, Copy)]
struct Place(usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "candidates[{}]", self.0)
    }
}

/// Reads fields of one object after another.
struct FieldReader<'m> {
    model: &'m LiveModel,
    unknown: Unknown,
    /// For each column, the last object it stood in.
    seen: Vec<usize>,
    object: usize,
}

impl FieldReader<'_> {
    fn next_object(&mut self) {
        self.object += 1;
    }

    fn read<'a>(
        &mut self,
        place: impl fmt::Display,
        name: &str,
        value: &'a RawValue,
        fields: &mut Vec<Field<'a>>,
    ) -> Result<(), Refusal> {
        let Some(position) = self.model.fields.position(name) else {
            if self.unknown == Unknown::Ignore {
                return Ok(());
            }
            let schema = &self.model.bundle.schema;
            let hint = self.model.fields.hint(name, schema);
            let message = format!("{place}: schema {} has no field {name:?}{hint}", schema.name);
            return Err(Refusal::of_field(RefusalKind::UnknownField, name, message));
        };
        if std::mem::replace(&mut self.seen[position], self.object) == self.object {
            return Err(twice(place, name));
        }
        let column = self.model.fields.column(position);
        if column.reader != Reader::Nothing {
            fields.push(Field { column: position, text: text(place, column, value)? });
        }
        Ok(())
    }
}

/// A value → the cell a log would have; `None` is a missing value.
fn text<'a>(place: impl fmt::Display, column: &Column, value: &'a RawValue) -> Result<Option<Cow<'a, str>>, Refusal> {
    let wrong = |expected: &str| {
        let message = format!("{place}: {}: expected {expected}, got {}", column.name, shown(value));
        Refusal::of_field(RefusalKind::WrongType, &column.name, message)
    };
    let text = match (JsonType::of(value), column.reader) {
        (JsonType::Null, _) => return Ok(None),
        (JsonType::String, _) => string(value).map_err(|error| not_a_string(&place, &column.name, &error))?,
        (JsonType::Number | JsonType::Bool, _) => Cow::Borrowed(value.get()),
        (JsonType::List, Reader::Bag { separator }) => {
            let mut joined = String::new();
            let values: Vec<&RawValue> =
                serde_json::from_str(value.get()).map_err(|_| wrong("a list of strings and numbers"))?;
            for value in values {
                let value = match JsonType::of(value) {
                    JsonType::String => string(value).map_err(|error| not_a_string(&place, &column.name, &error))?,
                    JsonType::Number => Cow::Borrowed(value.get()),
                    _ => return Err(wrong("a list of strings and numbers")),
                };
                if value.as_bytes().contains(&separator) {
                    let separator = char::from(separator);
                    let message =
                        format!("{place}: {}: expected values without {separator:?}, got {value:?}", column.name);
                    return Err(Refusal::of_field(RefusalKind::WrongType, &column.name, message));
                }
                if !joined.is_empty() {
                    joined.push(char::from(separator));
                }
                joined.push_str(&value);
            }
            Cow::Owned(joined)
        }
        (JsonType::List, _) => return Err(wrong("one value")),
        (JsonType::Object, Reader::Bag { .. }) => return Err(wrong("a string, a number or a list")),
        (JsonType::Object, _) => return Err(wrong("a string, a number, true, false or null")),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A candidate's id: a string or a number; null is none.
fn identifier(place: Place, value: &RawValue) -> Result<Option<&RawValue>, Refusal> {
    match JsonType::of(value) {
        JsonType::Null => Ok(None),
        JsonType::Number => Ok(Some(value)),
        JsonType::String => match string(value) {
            Ok(_) => Ok(Some(value)),
            Err(error) => Err(not_a_string(&place, "id", &error)),
        },
        JsonType::Bool | JsonType::List | JsonType::Object => {
            let message = format!("{place}: id: expected a string or a number, got {}", shown(value));
            Err(Refusal::of_field(RefusalKind::WrongType, "id", message))
        }
    }
}

fn not_a_string(place: &impl fmt::Display, field: &str, error: &serde_json::Error) -> Refusal {
    Refusal::of_field(RefusalKind::InvalidJson, field, format!("{place}: {field}: {error} of the string"))
}

fn twice(place: impl fmt::Display, field: &str) -> Refusal {
    let message = format!("{place}: {field} stands there twice");
    Refusal::of_field(RefusalKind::DuplicateField, field, message)
}
