//! What readers of JSON share: texts that are borrowed unless they have escapes, and values that keep the text they came with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

/// A string or a key, borrowed unless it has escapes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A key as objects have it, to be recognized at once: quotes and colon around a name that needs no escape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    text: String,
    /// Its first bytes, with zeros for those that it lacks.
    first: u128,
    /// Ones for the bytes that it has.
    mask: u128,
}

impl Key {
    /// Of a name; `None` when it needs an escape.
    pub fn new(name: &str) -> Option<Key> {
        if name.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            return None;
        }
        let text = format!("\"{name}\":");
        let mut first = [0; size_of::<u128>()];
        let mut mask = first;
        for ((first, mask), byte) in first.iter_mut().zip(&mut mask).zip(text.bytes()) {
            (*first, *mask) = (byte, u8::MAX);
        }
        Some(Key { text, first: u128::from_le_bytes(first), mask: u128::from_le_bytes(mask) })
    }

    /// Bytes of it.
    #[inline]
    pub fn length(&self) -> usize {
        self.text.len()
    }

    /// Whether a text begins with it. A text of less than 16 bytes never does.
    #[inline]
    pub fn begins(&self, text: &[u8]) -> bool {
        let Some((first, rest)) = text.split_first_chunk() else { return false };
        u128::from_le_bytes(*first) & self.mask == self.first
            && (self.text.len() <= first.len() || rest.starts_with(&self.text.as_bytes()[first.len()..]))
    }
}

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// A list.
    List,
    /// An object.
    Object,
}

impl JsonType {
    /// The type of a value that was read.
    pub fn of(value: &RawValue) -> JsonType {
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

/// A JSON string's content, borrowed unless it has escapes.
///
/// # Errors
/// When an escape is broken.
pub fn string(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    let quoted = value.get();
    match quoted.contains('\\') {
        false => Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1])),
        true => serde_json::from_str(quoted).map(Cow::Owned),
    }
}

/// A value's own text as a message shows it.
pub fn shown(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

/// A fingerprint of 64 bits, written as a string of 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex(pub u64);

impl Hex {
    /// The digits, the most significant first.
    #[inline]
    pub fn digits(self) -> [u8; 16] {
        let mut digits = [0; 16];
        digits[..8].copy_from_slice(&eight_digits((self.0 >> 32) as u32));
        digits[8..].copy_from_slice(&eight_digits(self.0 as u32));
        digits
    }
}

impl serde::Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.digits()).expect("digits are ASCII"))
    }
}

/// All digits at once: each four bits spread to a byte, and the bytes above 9 moved on to the letters.
#[inline]
fn eight_digits(number: u32) -> [u8; 8] {
    let mut fours = u64::from(number);
    fours = (fours | fours << 16) & 0x0000_ffff_0000_ffff;
    fours = (fours | fours << 8) & 0x00ff_00ff_00ff_00ff;
    fours = (fours | fours << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (fours + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (fours + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_begin_what_they_stand_before() {
        for name in ["", "a", "slot", "a_name_of_13b", "a_name_of_14_b", "a_name_of_more_than_sixteen_bytes", "größe"]
        {
            let key = Key::new(name).unwrap();
            let text = format!("{}: \"a value of some bytes\"", serde_json::to_string(name).unwrap());
            assert!(key.begins(text.as_bytes()), "{text}");
            assert_eq!(key.length(), name.len() + 3);
            for at in 0..key.length() {
                let mut other = text.clone().into_bytes();
                other[at] ^= 1;
                assert!(!key.begins(&other), "{text} with another byte {at}");
            }
        }
        assert!(!Key::new("a").unwrap().begins(br#""a":1}"#), "too short to be looked at");
        assert_eq!(["a\"b", "a\\", "a\n"].map(Key::new), [None, None, None]);
    }

    #[test]
    fn fingerprints_have_sixteen_digits() {
        for number in [0, 9, 10, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0x9a9a_a9a9_f00f_0ff0, u64::MAX] {
            assert_eq!(Hex(number).digits(), *format!("{number:016x}").as_bytes());
            assert_eq!(serde_json::to_string(&Hex(number)).unwrap(), format!("\"{number:016x}\""));
        }
    }
}
