//! The body of `POST /v1/score` ↔ fields and probabilities.
//!
//! Values keep the text they came with: `5`, `"5"` and the cell `5` of a log give the same code, and `5.0` another, as in a
//! log. A list for a bag becomes the cell a log would have, with the separator between. So a row gets the same codes here
//! and in a file.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::refusal::{Refusal, RefusalKind};
use crate::error::nearest;
use crate::model::row::Cell;
use crate::predict::LiveModel;
use crate::predict::fields::{Column, Reader};
use crate::predict::scorer::{Refused, Scored};

/// A request that fits the model's schema.
#[derive(Debug)]
pub(super) struct Request<'a> {
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
    /// Parses a body of at most `most` candidates.
    pub(super) fn parse(body: &'a [u8], model: &LiveModel, most: usize) -> Result<Request<'a>, Refusal> {
        let body = std::str::from_utf8(body).map_err(|error| {
            Refusal::new(
                RefusalKind::InvalidJson,
                format!("expected UTF-8, got another byte at {}", error.valid_up_to()),
            )
        })?;
        let body: &RawValue = serde_json::from_str(body)
            .map_err(|error| Refusal::new(RefusalKind::InvalidJson, format!("the body is no JSON: {error}")))?;

        let (mut context, mut candidates) = (None, None);
        each_field(body, "the body", |key, value| {
            let place = match &*key {
                "context" => &mut context,
                "candidates" => &mut candidates,
                key => {
                    let hint = nearest(key, ["context", "candidates"]);
                    let message = format!("the body: expected context and candidates, got {key:?}{hint}");
                    return Err(Refusal::of_field(RefusalKind::UnknownField, key, message));
                }
            };
            match place.replace(value) {
                None => Ok(()),
                Some(_) => Err(twice("the body", &key)),
            }
        })?;

        let mut reader = FieldReader { model, seen: vec![0; model.fields.count()], object: 0 };
        let mut request = Request { context: Vec::new(), candidates: Vec::new(), fields: Vec::new() };
        if let Some(context) = context {
            reader.next_object();
            each_field(context, "context", |key, value| reader.read("context", &key, value, &mut request.context))?;
        }
        let candidates = match candidates {
            Some(list) => items(list, most)?,
            None => {
                return Err(Refusal::of_field(
                    RefusalKind::NoCandidates,
                    "candidates",
                    "the body: candidates is missing",
                ));
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
    pub(super) fn context(&self) -> impl Iterator<Item = (usize, Cell<'_>)> {
        self.context.iter().map(Field::cell)
    }

    /// Each candidate's own cells, by column.
    pub(super) fn candidates(&self) -> impl ExactSizeIterator<Item = impl Iterator<Item = (usize, Cell<'_>)>> {
        (0..self.candidates.len()).map(|candidate| self.own(candidate).iter().map(Field::cell))
    }

    /// What to answer when the scorer refuses a cell: names the column, not the feature, and where it stands.
    pub(super) fn refusal(&self, Refused { candidate, error }: Refused, model: &LiveModel) -> Refusal {
        let schema = &model.bundle.schema;
        let column = schema.features.iter().find(|feature| feature.name == error.field).map(|feature| feature.column);
        let field = column.map_or(error.field.as_str(), |column| schema.columns[column].as_str());
        let own = self.own(candidate).iter().any(|field| Some(field.column) == column);
        let place = if own { Place(candidate).to_string() } else { "context".into() };
        let message = format!("{place}: {field}: expected {}, got {}", error.expected, error.got);
        Refusal::of_field(RefusalKind::InvalidNumber, field, message)
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

/// A JSON string's content, borrowed unless it has escapes.
fn string(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    let quoted = value.get();
    match quoted.contains('\\') {
        false => Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1])),
        true => serde_json::from_str(quoted).map(Cow::Owned),
    }
}

fn not_a_string(place: &impl fmt::Display, field: &str, error: &serde_json::Error) -> Refusal {
    Refusal::of_field(RefusalKind::InvalidJson, field, format!("{place}: {field}: {error} of the string"))
}

fn twice(place: impl fmt::Display, field: &str) -> Refusal {
    let message = format!("{place}: {field} stands there twice");
    Refusal::of_field(RefusalKind::DuplicateField, field, message)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonType {
    Null,
    Bool,
    Number,
    String,
    List,
    Object,
}

impl JsonType {
    fn of(value: &RawValue) -> JsonType {
        match value.get().as_bytes().first() {
            Some(b'"') => JsonType::String,
            Some(b'{') => JsonType::Object,
            Some(b'[') => JsonType::List,
            Some(b't' | b'f') => JsonType::Bool,
            Some(b'n') => JsonType::Null,
            _ => JsonType::Number,
        }
    }
}

/// A value as a message shows it.
fn shown(value: &RawValue) -> String {
    const SHOWN: usize = 40;
    let text = value.get();
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

/// Calls `take` for each key and value of an object.
fn each_field<'a>(
    object: &'a RawValue,
    place: impl fmt::Display,
    take: impl FnMut(Cow<'a, str>, &'a RawValue) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    struct Each<'r, Take> {
        take: Take,
        refusal: &'r mut Option<Refusal>,
    }

    impl<'de, Take: FnMut(Cow<'de, str>, &'de RawValue) -> Result<(), Refusal>> Visitor<'de> for Each<'_, Take> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<Map: MapAccess<'de>>(mut self, mut map: Map) -> Result<(), Map::Error> {
            while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                if let Err(refusal) = (self.take)(key, value) {
                    *self.refusal = Some(refusal);
                    return Err(serde::de::Error::custom("refused"));
                }
            }
            Ok(())
        }
    }

    if JsonType::of(object) != JsonType::Object {
        let message = format!("{place}: expected an object, got {}", shown(object));
        return Err(Refusal::new(RefusalKind::WrongType, message));
    }
    let mut refusal = None;
    let mut parser = serde_json::Deserializer::from_str(object.get());
    let read = parser.deserialize_map(Each { take, refusal: &mut refusal });
    match (refusal, read) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(error)) => Err(Refusal::new(RefusalKind::InvalidJson, format!("{place}: {error}"))),
        (None, Ok(())) => Ok(()),
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The items of the list of candidates. Beyond `most` they are counted but not kept.
fn items(list: &RawValue, most: usize) -> Result<Vec<&RawValue>, Refusal> {
    struct Items(usize);

    impl<'de> Visitor<'de> for Items {
        type Value = (Vec<&'de RawValue>, usize);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<Seq: SeqAccess<'de>>(self, mut seq: Seq) -> Result<Self::Value, Seq::Error> {
            let mut kept = Vec::new();
            while kept.len() < self.0 {
                match seq.next_element()? {
                    Some(item) => kept.push(item),
                    None => return Ok((kept, 0)),
                }
            }
            let mut beyond = 0;
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
                beyond += 1;
            }
            Ok((kept, beyond))
        }
    }

    if JsonType::of(list) != JsonType::List {
        let message = format!("candidates: expected a list of objects, got {}", shown(list));
        return Err(Refusal::of_field(RefusalKind::WrongType, "candidates", message));
    }
    match serde_json::Deserializer::from_str(list.get()).deserialize_seq(Items(most)) {
        Ok((kept, 0)) => Ok(kept),
        Ok((kept, beyond)) => {
            let message = format!("candidates: expected at most {most}, got {}", kept.len() + beyond);
            Err(Refusal::of_field(RefusalKind::TooManyCandidates, "candidates", message))
        }
        Err(error) => Err(Refusal::new(RefusalKind::InvalidJson, format!("candidates: {error}"))),
    }
}

/// The answer's body. `micros` counts from `started` to here.
pub(super) fn answer(
    model: &str,
    request: &Request<'_>,
    scored: &[Scored],
    started: Instant,
) -> Result<Vec<u8>, Refusal> {
    #[derive(Serialize)]
    struct Answer<'a, Candidates: Serialize> {
        model: &'a str,
        candidates: Candidates,
        micros: u64,
    }

    #[derive(Serialize)]
    struct Candidate<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        probability: f64,
        tier: &'static str,
    }

    let candidates: Vec<Candidate<'_>> = (request.candidates.iter().zip(scored))
        .map(|(candidate, scored)| Candidate {
            id: candidate.id,
            probability: scored.probability,
            tier: scored.tier.name(),
        })
        .collect();
    let micros = started.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
    serde_json::to_vec(&Answer { model, candidates, micros })
        .map_err(|error| Refusal::new(RefusalKind::Internal, format!("the answer cannot be written: {error}")))
}
