//! A bid request → the values that a mapping asks for, in one pass that skips everything else unread.
//!
//! The paths are put together as a tree of keys; the reader goes down only where the tree goes, and keeps what it finds as
//! the text that stood there.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::mapping::{Clock, Derive, Mapping, Path, Source, Step};
use super::request::{Malformed, Problem};
use crate::predict::json::{JsonType, Text, string};

/// The tree of a mapping's paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Paths {
    request: Node,
    /// Relative to each impression.
    impression: Node,
    /// Number of paths.
    count: usize,
    /// For each field of the mapping, the numbers of its paths.
    pub(super) of_field: Vec<Vec<usize>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Node {
    keys: Vec<(String, Node)>,
    items: Vec<(usize, Node)>,
    every: Option<Box<Node>>,
    /// Numbers of the paths that end here.
    ends: Vec<usize>,
}

/// What was found: for each path, the values in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Found<'a>(Vec<Vec<&'a RawValue>>);

impl Paths {
    pub(super) fn new(mapping: &Mapping) -> Paths {
        let mut paths = Paths::default();
        for rule in mapping.fields.values() {
            let Source::Paths(of_rule, _) = &rule.source else {
                paths.of_field.push(Vec::new());
                continue;
            };
            let numbers = of_rule.iter().map(|path| paths.add(path)).collect();
            paths.of_field.push(numbers);
        }
        paths
    }

    fn add(&mut self, path: &Path) -> usize {
        let mut node = if path.of_impression { &mut self.impression } else { &mut self.request };
        for step in &path.steps {
            node = match step {
                Step::Key(key) => child(&mut node.keys, key.clone()),
                Step::Item(item) => child(&mut node.items, *item),
                Step::Every => node.every.get_or_insert_default(),
            };
        }
        node.ends.push(self.count);
        self.count += 1;
        self.count - 1
    }

    /// What stands in a body: of the request, and of each of its `impressions`.
    ///
    /// # Errors
    /// When a key on the way stands twice in one object.
    pub(super) fn find<'a>(&self, body: &'a str, impressions: usize) -> Result<(Found<'a>, Vec<Found<'a>>), Malformed> {
        let mut of_request = Found(vec![Vec::new(); self.count]);
        let mut of_impressions = vec![Found(vec![Vec::new(); self.count]); impressions];
        let (mut reader, top) = (
            serde_json::Deserializer::from_str(body),
            Top { paths: self, of_request: &mut of_request, of_impressions: &mut of_impressions },
        );
        match reader.deserialize_map(top) {
            Ok(()) => Ok((of_request, of_impressions)),
            Err(error) => Err(Malformed::new(Problem::Duplicate, "", error.to_string())),
        }
    }
}

fn child<Name: PartialEq>(children: &mut Vec<(Name, Node)>, name: Name) -> &mut Node {
    let place = children.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        children.push((name, Node::default()));
        children.len() - 1
    });
    &mut children[place].1
}

impl<'a> Found<'a> {
    /// The values of the first of these paths under which something other than null is.
    pub(super) fn first(&self, paths: &[usize], otherwise: &Found<'a>) -> Vec<&'a RawValue> {
        let something = |found: &Found<'a>, path: usize| -> Vec<&'a RawValue> {
            let values = found.0[path].iter().copied();
            values.filter(|value| JsonType::of(value) != JsonType::Null).collect()
        };
        let each = paths.iter().map(|path| {
            let own = something(self, *path);
            if own.is_empty() { something(otherwise, *path) } else { own }
        });
        each.into_iter().find(|values| !values.is_empty()).unwrap_or_default()
    }
}

/// The whole body: its impressions are gone through one by one.
struct Top<'t, 'f, 'a> {
    paths: &'t Paths,
    of_request: &'f mut Found<'a>,
    of_impressions: &'f mut [Found<'a>],
}

impl<'de> Visitor<'de> for Top<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bid request")
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<(), Map::Error> {
        let mut seen = vec![false; self.paths.request.keys.len()];
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            if key == "imp" {
                map.next_value_seed(Impressions { node: &self.paths.impression, found: self.of_impressions })?;
                continue;
            }
            one_key(&self.paths.request, &key, &mut map, self.of_request, &mut seen)?;
        }
        Ok(())
    }
}

struct Impressions<'t, 'f, 'a> {
    node: &'t Node,
    found: &'f mut [Found<'a>],
}

impl<'de> DeserializeSeed<'de> for Impressions<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Impressions<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of impressions")
    }

    fn visit_seq<Seq: SeqAccess<'de>>(self, mut list: Seq) -> Result<(), Seq::Error> {
        for found in self.found {
            if list.next_element_seed(Walk { node: self.node, found })?.is_none() {
                break;
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Goes down one node of the tree.
struct Walk<'t, 'f, 'a> {
    node: &'t Node,
    found: &'f mut Found<'a>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Walk { node, found } = self;
        if node.ends.is_empty() {
            return deserializer.deserialize_any(Walk { node, found });
        }
        let value = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
        for path in &node.ends {
            found.0[*path].push(value);
        }
        if node.keys.is_empty() && node.items.is_empty() && node.every.is_none() {
            return Ok(());
        }
        // Some paths end here and others go on.
        let on = serde_json::Deserializer::from_str(value.get()).deserialize_any(Walk { node, found });
        on.map_err(|error| D::Error::custom(error.to_string()))
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<(), Map::Error> {
        let mut seen = vec![false; self.node.keys.len()];
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            one_key(self.node, &key, &mut map, self.found, &mut seen)?;
        }
        Ok(())
    }

    fn visit_seq<Seq: SeqAccess<'de>>(self, mut list: Seq) -> Result<(), Seq::Error> {
        for place in 0.. {
            let item = self.node.items.iter().find(|(item, _)| *item == place).map(|(_, node)| node);
            let more = match (item, self.node.every.as_deref()) {
                (Some(item), Some(every)) => match list.next_element::<&RawValue>()? {
                    Some(value) => {
                        for node in [item, every] {
                            let mut reader = serde_json::Deserializer::from_str(value.get());
                            let walked = Walk { node, found: &mut *self.found }.deserialize(&mut reader);
                            walked.map_err(Seq::Error::custom)?;
                        }
                        true
                    }
                    None => false,
                },
                (Some(node), None) | (None, Some(node)) => {
                    list.next_element_seed(Walk { node, found: &mut *self.found })?.is_some()
                }
                (None, None) => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

fn one_key<'de, Map: MapAccess<'de>>(
    node: &Node,
    key: &str,
    map: &mut Map,
    found: &mut Found<'de>,
    seen: &mut [bool],
) -> Result<(), Map::Error> {
    match node.keys.iter().position(|(known, _)| known == key) {
        Some(place) if std::mem::replace(&mut seen[place], true) => {
            Err(Map::Error::custom(format!("{key} stands there twice")))
        }
        Some(place) => map.next_value_seed(Walk { node: &node.keys[place].1, found }),
        None => map.next_value::<IgnoredAny>().map(|_| ()),
    }
}

/// What is made of a value; `None` when it cannot be made.
pub(super) fn derived(value: &RawValue, derive: Derive) -> Option<Cow<'_, str>> {
    let scalar = || match JsonType::of(value) {
        JsonType::String => string(value).ok(),
        JsonType::Number | JsonType::Bool => Some(Cow::Borrowed(value.get())),
        JsonType::Null | JsonType::List | JsonType::Object => None,
    };
    let text = match derive {
        Derive::Text => scalar()?,
        Derive::Lower => Cow::Owned(scalar()?.to_lowercase()),
        Derive::Host => Cow::Owned(host(&scalar()?)?),
        Derive::Size => Cow::Owned(size(value)?),
        Derive::Hour => Cow::Owned(at(seconds(&scalar()?)?, Clock::Hour)),
        Derive::Weekday => Cow::Owned(at(seconds(&scalar()?)?, Clock::Weekday)),
        Derive::Count => Cow::Owned(serde_json::from_str::<Vec<IgnoredAny>>(value.get()).ok()?.len().to_string()),
        Derive::Present => Cow::Borrowed("1"),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// What a clock shows at a number of seconds since 1970.
pub(super) fn at(seconds: i64, clock: Clock) -> String {
    const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    match clock {
        Clock::Hour => (seconds.rem_euclid(86_400) / 3_600).to_string(),
        Clock::Weekday => DAYS[seconds.div_euclid(86_400).rem_euclid(7) as usize].to_owned(),
    }
}

/// Seconds of a time in seconds or, from the year 5138 on, milliseconds.
fn seconds(text: &str) -> Option<i64> {
    let time: f64 = text.trim().parse().ok().filter(|time: &f64| time.is_finite() && time.abs() < 1e15)?;
    Some(if time.abs() >= 1e11 { (time / 1000.0).floor() } else { time.floor() } as i64)
}

fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?.to_lowercase();
    Some(host.strip_prefix("www.").unwrap_or(&host).to_owned())
}

fn size(value: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Sized {
        w: Option<u32>,
        h: Option<u32>,
        #[serde(default)]
        format: Option<Vec<Sized>>,
    }

    let sized: Sized = serde_json::from_str(value.get()).ok()?;
    let (w, h) = match (sized.w, sized.h, sized.format.and_then(|formats| formats.into_iter().next())) {
        (Some(w), Some(h), _) => (w, h),
        (_, _, Some(first)) => (first.w?, first.h?),
        _ => return None,
    };
    Some(format!("{w}x{h}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"id": "r", "imp": [{"bidfloor": 0.50, "banner": {"w": 300, "h": 250, "pos": 1}}, {"bidfloor": 2}],
        "device": {"os": "iOS", "geo": {"country": "USA", "lat": 1.5}, "geo2": null},
        "user": {"data": [{"segment": [{"id": "a"}, {"id": "b"}]}, {"segment": []}, {"segment": [{"id": "c"}]}]},
        "site": {"page": "https://u:p@WWW.News.example:8080/x?y", "cat": ["IAB1", "IAB2"]}, "ext": {"t": 1413849600, "deep": [[[[]]]]}}"#;

    /// Texts found for each path, for the second impression.
    fn texts(paths: &[(&str, &str)]) -> Vec<Vec<String>> {
        let fields: String = paths
            .iter()
            .enumerate()
            .map(|(at, (path, derive))| format!("f{at} = {{ path = {path:?}, derive = {derive:?} }}\n"))
            .collect();
        let mapping = Mapping::parse(&format!("version = 1\n[fields]\n{fields}"), "m").unwrap();
        let tree = Paths::new(&mapping);
        let (request, impressions) = tree.find(BODY, 2).unwrap();
        let rule = |place: usize| match &mapping.fields[place].source {
            Source::Paths(_, derive) => *derive,
            _ => unreachable!("all are paths"),
        };
        (0..paths.len())
            .map(|place| {
                let found = impressions[0].first(&tree.of_field[place], &request);
                found.into_iter().filter_map(|value| derived(value, rule(place))).map(Cow::into_owned).collect()
            })
            .collect()
    }

    #[test]
    fn paths_find_what_stands_there() {
        let found = texts(&[
            ("device.os", "lower"),
            ("device.geo.country", "text"),
            ("device.geo", "present"),
            ("device.geo2.x", "text"),
            ("user.data.*.segment.*.id", "text"),
            ("user.data.2.segment.0.id", "text"),
            ("site.page", "host"),
            ("site.cat", "count"),
            ("imp.bidfloor", "text"),
            ("imp.banner", "size"),
            ("ext.t", "hour"),
            ("ext.t", "weekday"),
            ("device.os.x", "text"),
        ]);
        let expected: [&[&str]; 13] = [
            &["ios"],
            &["USA"],
            &["1"],
            &[],
            &["a", "b", "c"],
            &["c"],
            &["news.example"],
            &["2"],
            &["0.50"],
            &["300x250"],
            &["0"],
            &["tue"],
            &[],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_on_the_way_stand_once() {
        let mapping = Mapping::parse("version = 1\n[fields]\na = \"device.os\"", "m").unwrap();
        let tree = Paths::new(&mapping);
        assert!(tree.find(r#"{"device": {"os": 1, "os": 2}}"#, 0).is_err());
        assert!(tree.find(r#"{"device": {"x": 1, "x": 2}}"#, 0).is_ok(), "nobody reads it");
    }
}
