//! What [`Document`] reads and refuses, beside serde_json.

use proptest::prelude::*;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;
use crate::predict::json::{JsonType, string};

/// A document with its values as they stand there, and its strings without escapes.
#[derive(Debug, PartialEq)]
enum Tree {
    Plain(String),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

fn ours(text: &str) -> Result<Tree, Broken> {
    fn text_of(document: &mut Document<'_>, unescaped: &mut Vec<u8>) -> Result<String, Broken> {
        let span = document.string(unescaped)?;
        Ok(String::from_utf8(span.of(document.text(), unescaped).to_vec()).unwrap())
    }

    fn value(document: &mut Document<'_>, unescaped: &mut Vec<u8>) -> Result<Tree, Broken> {
        match document.peek() {
            Some(b'"') => text_of(document, unescaped).map(Tree::Text),
            Some(b'[') => {
                let mut items = Vec::new();
                let mut more = document.enter(b']');
                while more {
                    items.push(value(document, unescaped)?);
                    more = document.another(b']')?;
                }
                Ok(Tree::List(items))
            }
            Some(b'{') => {
                let mut items = Vec::new();
                let mut more = document.enter(b'}');
                while more {
                    let key = text_of(document, unescaped)?;
                    document.colon()?;
                    items.push((key, value(document, unescaped)?));
                    more = document.another(b'}')?;
                }
                Ok(Tree::Object(items))
            }
            _ => {
                let span = document.scalar()?;
                Ok(Tree::Plain(String::from_utf8(span.of(document.text(), &[]).to_vec()).unwrap()))
            }
        }
    }

    let mut document = Document::new(text);
    // Strings of another document may stand in the buffer.
    let tree = value(&mut document, &mut b"before".to_vec())?;
    document.end()?;
    Ok(tree)
}

fn theirs(text: &str) -> Result<Tree, serde_json::Error> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<Self::Value, Map::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect()
        }
    }

    let raw: &RawValue = serde_json::from_str(text)?;
    Ok(match JsonType::of(raw) {
        JsonType::String => Tree::Text(string(raw)?.into_owned()),
        JsonType::List => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get())?;
            Tree::List(items.into_iter().map(|item| theirs(item.get())).collect::<Result<_, _>>()?)
        }
        JsonType::Object => {
            let items = serde_json::Deserializer::from_str(raw.get()).deserialize_map(Pairs)?;
            let items = items.into_iter().map(|(key, value)| Ok((key, theirs(value.get())?)));
            Tree::Object(items.collect::<Result<_, serde_json::Error>>()?)
        }
        JsonType::Null | JsonType::Bool | JsonType::Number => Tree::Plain(raw.get().to_owned()),
    })
}

fn assert_same(text: &str) {
    assert_eq!(ours(text).ok(), theirs(text).ok(), "{text:?}: {:?}", ours(text).err().map(|why| why.placed(text)));
    let mut document = Document::new(text);
    let skipped = document.skip().and_then(|skipped| document.end().map(|()| skipped));
    let raw: Option<&RawValue> = serde_json::from_str(text).ok();
    assert_eq!(skipped.ok(), raw.map(RawValue::get), "{text:?} as a whole");
}

/// Pieces that documents are made of, or broken with.
const PIECES: [&str; 36] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\u00E9",
    "\\n",
    "\\/",
    "\\x",
    "0",
    "00",
    "-",
    "+",
    "1",
    ".",
    "e",
    "E-7",
    "1.5e300",
    "true",
    "false",
    "null",
    "nul",
    " ",
    "\n",
    "\u{1}",
    "\u{7f}",
    "\u{feff}",
    "\u{a0}",
    "é😀",
];

fn documents() -> impl Strategy<Value = String> {
    let blank = || "[ \n\t\r]{0,2}";
    let text = prop_oneof![
        "[ -~é😀\n\u{0}\u{7f}]{0,24}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[a-zé😀\"\\\\]{0,9}".prop_map(|text| {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            format!("\"{}\"", units.collect::<String>())
        }),
    ];
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?";
    let plain = prop_oneof![Just("true".to_owned()), Just("false".to_owned()), Just("null".to_owned()), number];
    let leaf = (blank(), prop_oneof![text.clone(), plain], blank())
        .prop_map(|(before, value, after)| format!("{before}{value}{after}"));
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let pair = (blank(), text.clone(), blank(), inner.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            (blank(), proptest::collection::vec(inner, 0..5), blank())
                .prop_map(|(before, items, after)| format!("{before}[{}{before}]{after}", items.join(","))),
            (blank(), proptest::collection::vec(pair, 0..5), blank())
                .prop_map(|(before, pairs, after)| format!("{before}{{{}{after}}}{after}", pairs.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn documents_are_read_as_by_serde_json(text in documents()) {
        prop_assert!(ours(&text).is_ok(), "{}", text);
        assert_same(&text);
    }

    #[test]
    fn broken_documents_are_refused_as_by_serde_json(
        text in documents(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..3_usize, 0..=PIECES.len()), 1..4),
    ) {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, taken, piece) in changes {
            let place = place.index(letters.len() + 1);
            let end = (place + taken).min(letters.len());
            letters.splice(place..end, PIECES.get(piece).copied().unwrap_or_default().chars());
        }
        assert_same(&letters.into_iter().collect::<String>());
    }

    #[test]
    fn any_pieces_are_taken_or_refused_as_by_serde_json(pieces in proptest::collection::vec(0..PIECES.len(), 0..9)) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        assert_same(&text);
        assert_same(&format!("\"{text}\""));
        assert_same(&format!("[{text}]"));
    }
}

#[test]
fn plain_text_ends_where_its_first_mark_stands() {
    for length in 0..20 {
        for place in 0..length {
            for byte in 0..=127_u8 {
                let mut bytes = vec![b'x'; length];
                bytes[place] = byte;
                let mut document = Document::new(std::str::from_utf8(&bytes).unwrap());
                document.pass_plain();
                let is_end = byte < b' ' || byte == b'"' || byte == b'\\';
                assert_eq!(document.at(), if is_end { place } else { length }, "byte {byte} at {place} of {length}");
            }
        }
    }
}

#[test]
fn values_may_be_as_deep_as_the_limit() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\": ", "}]")] {
        let deep = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let most = DEEPEST as usize / open.matches(['[', '{']).count();
        let text = deep(most);
        assert_eq!(Document::new(&text).skip(), Ok(text.as_str()));
        let text = deep(most + 1);
        let why = Document::new(&text).skip().unwrap_err().placed(&text);
        assert!(why.contains("no more than 128 lists and objects"), "{why}");
    }
}

#[test]
fn what_is_broken_is_placed() {
    for (text, why) in [
        ("{\n  \"a\" 1}", "expected a colon at line 2 column 7"),
        ("", "expected a value at line 1 column 1"),
        ("[1,\n]", "expected a value at line 2 column 1"),
        ("[1 2]", "expected a comma or ] at line 1 column 4"),
        ("\"a", "expected the end of a string at line 1 column 3"),
        ("1 x", "expected the end of the document, got trailing characters at line 1 column 3"),
    ] {
        assert_eq!(ours(text).unwrap_err().placed(text), why);
    }
}
