//! JSON objects and lists, key by key and item by item, without copies and without losing a value's own text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::predict::http::refusal::{Refusal, RefusalKind};
use crate::predict::json::{JsonType, Text, shown};

/// Calls `take` for each key and value of an object.
pub(super) fn each_field<'a>(
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
            while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
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

/// A list under `key` → its items; more than `most` are refused as `too_many`: counted, but not kept.
pub(super) fn items<'a>(
    key: &str,
    list: &'a RawValue,
    most: usize,
    too_many: RefusalKind,
) -> Result<Vec<&'a RawValue>, Refusal> {
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
        let message = format!("{key}: expected a list of objects, got {}", shown(list));
        return Err(Refusal::of_field(RefusalKind::WrongType, key, message));
    }
    match serde_json::Deserializer::from_str(list.get()).deserialize_seq(Items(most)) {
        Ok((kept, 0)) => Ok(kept),
        Ok((kept, beyond)) => {
            let message = format!("{key}: expected at most {most}, got {}", kept.len() + beyond);
            Err(Refusal::of_field(too_many, key, message))
        }
        Err(error) => Err(Refusal::new(RefusalKind::InvalidJson, format!("{key}: {error}"))),
    }
}
