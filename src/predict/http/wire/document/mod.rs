//! The bytes of a JSON document → its values, one after another, each byte looked at once.
//!
//! Whoever knows what should stand in a document walks through it: looks at the next byte, steps into objects and lists, takes
//! strings, and skips what is of no use. Nothing is built on the way: a value is a [`Span`] of the document, and only strings with
//! escapes are written anew, into a buffer behind it.
//!
//! What is read and what is refused is what serde_json reads and refuses (RFC 8259, strictly), which property tests hold; only that
//! skipped values may be [`DEEPEST`] lists and objects deep. It is apart from serde_json because a document there has to be gone
//! through again for each part of which the own text is kept (`docs/speed.md`).

use crate::predict::json::Key;

/// Lists and objects that a skipped value may have inside one another.
pub(super) const DEEPEST: u32 = u128::BITS;

/// What half a character lacks.
const PAIRS: &str = "surrogates in pairs";

/// A JSON document, read up to a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    text: &'a str,
    at: usize,
}

/// Bytes of a document, or, counted on behind its end, of its unescaped strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, length: (end - start) as u32 }
    }

    /// All that was added to `unescaped` since it had `length` bytes.
    pub(super) fn unescaped(document: &Document<'_>, unescaped: &[u8], length: usize) -> Span {
        Span::new(document.text.len() + length, document.text.len() + unescaped.len())
    }

    /// Whether there is no byte.
    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// The bytes.
    #[inline]
    pub(super) fn of<'a>(self, text: &'a str, unescaped: &'a [u8]) -> &'a [u8] {
        let (start, length) = (self.start as usize, self.length as usize);
        match start.checked_sub(text.len()) {
            None => &text.as_bytes()[start..start + length],
            Some(start) => &unescaped[start..start + length],
        }
    }
}

/// Where a document is no JSON, and what should stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    at: usize,
    expected: &'static str,
}

impl Broken {
    /// Whether only a string has no meaning: the document may be JSON all the same.
    pub(super) fn is_in_text(self) -> bool {
        self.expected == PAIRS
    }

    /// The same without a place.
    pub(super) fn in_text(self) -> String {
        format!("expected {} in the string", self.expected)
    }

    /// The same with line and column in the document, both from 1.
    pub(super) fn placed(self, text: &str) -> String {
        let before = &text.as_bytes()[..self.at.min(text.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        format!("expected {} at line {line} column {column}", self.expected)
    }
}

impl<'a> Document<'a> {
    /// A document of at most 2 GiB, to be read from its first byte.
    pub(super) fn new(text: &'a str) -> Document<'a> {
        debug_assert!(text.len() <= i32::MAX as usize, "spans count to 4 GiB, of which the strings may be half");
        Document { text, at: 0 }
    }

    /// All of it.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// How much of it was read, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// All that was read since then.
    pub(super) fn since(&self, at: usize) -> Span {
        Span::new(at, self.at)
    }

    /// Reads on from a place where it was before.
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The next byte that is not blank, where the document is then.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Steps over these bytes if they come next.
    #[inline]
    pub(super) fn passes(&mut self, bytes: &[u8]) -> bool {
        let passes = self.text.as_bytes()[self.at..].starts_with(bytes);
        self.at += if passes { bytes.len() } else { 0 };
        passes
    }

    /// Steps over a key and its colon if it comes next.
    #[inline]
    pub(super) fn passes_key(&mut self, key: &Key) -> bool {
        let passes = key.begins(&self.text.as_bytes()[self.at..]);
        self.at += if passes { key.length() } else { 0 };
        passes
    }

    /// What nearly every value is: a string without escapes, or a natural number. When another value comes next, or hardly any bytes
    /// are left to look at, nothing is read.
    #[inline]
    pub(super) fn plain(&mut self) -> Option<Span> {
        let bytes = self.text.as_bytes();
        let first = *bytes.get(self.at)?;
        if first == b'"' {
            let start = self.at + 1;
            let mut end = start;
            loop {
                let marks = ends_of_plain(u64::from_le_bytes(*bytes[end..].first_chunk()?));
                if marks != 0 {
                    end += (marks.trailing_zeros() / 8) as usize;
                    break;
                }
                end += size_of::<u64>();
            }
            if bytes[end] != b'"' {
                return None;
            }
            self.at = end + 1;
            return Some(Span::new(start, end));
        }
        if !(b'1'..=b'9').contains(&first) {
            return None;
        }
        let mut end = self.at + 1;
        while bytes.get(end)?.is_ascii_digit() {
            end += 1;
        }
        if matches!(bytes[end], b'.' | b'e' | b'E') {
            return None;
        }
        let start = std::mem::replace(&mut self.at, end);
        Some(Span::new(start, end))
    }

    /// Steps into the object or list that begins here and ends with `close`; whether anything is in it.
    #[inline]
    pub(super) fn enter(&mut self, close: u8) -> bool {
        self.at += 1;
        let empty = self.peek() == Some(close);
        self.at += usize::from(empty);
        !empty
    }

    /// Steps behind a value in an object or list that ends with `close`; whether there is another one.
    #[inline]
    pub(super) fn another(&mut self, close: u8) -> Result<bool, Broken> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.broken(if close == b'}' { "a comma or }" } else { "a comma or ]" })),
        }
    }

    /// Steps over the colon behind a key.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), Broken> {
        match self.peek() {
            Some(b':') => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.broken("a colon")),
        }
    }

    /// Holds that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.broken("the end of the document, got trailing characters")),
        }
    }

    /// The string, or key, that should come next.
    #[inline]
    pub(super) fn string(&mut self, unescaped: &mut Vec<u8>) -> Result<Span, Broken> {
        self.quote()?;
        let start = self.at;
        self.pass_plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Span::new(start, self.at - 1));
        }
        self.unescape(start, unescaped)
    }

    /// The number, `true`, `false` or `null` that should come next, as it stands there.
    #[inline]
    pub(super) fn scalar(&mut self) -> Result<Span, Broken> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'-' | b'0'..=b'9') => self.pass_number()?,
            Some(b't') => self.pass_word("true")?,
            Some(b'f') => self.pass_word("false")?,
            Some(b'n') => self.pass_word("null")?,
            _ => return Err(self.broken("a value")),
        }
        Ok(Span::new(start, self.at))
    }

    /// The value that should come next, whatever it is, as it stands there.
    pub(super) fn skip(&mut self) -> Result<&'a str, Broken> {
        self.peek();
        let start = self.at;
        // A bit for each thing that is open, the innermost lowest: 1 for an object, 0 for a list.
        let (mut open, mut depth) = (0_u128, 0);
        'value: loop {
            match self.peek() {
                Some(b'"') => self.pass_string()?,
                Some(first @ (b'{' | b'[')) => {
                    let is_object = first == b'{';
                    if self.enter(closing(is_object)) {
                        if depth == DEEPEST {
                            return Err(self.broken("no more than 128 lists and objects inside one another"));
                        }
                        (open, depth) = (open << 1 | u128::from(is_object), depth + 1);
                        if is_object {
                            self.pass_key()?;
                        }
                        continue 'value;
                    }
                }
                _ => drop(self.scalar()?),
            }
            while depth > 0 {
                let is_object = open & 1 == 1;
                if self.another(closing(is_object))? {
                    if is_object {
                        self.pass_key()?;
                    }
                    continue 'value;
                }
                (open, depth) = (open >> 1, depth - 1);
            }
            return Ok(&self.text[start..self.at]);
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn broken(&self, expected: &'static str) -> Broken {
        Broken { at: self.at, expected }
    }

    #[inline]
    fn quote(&mut self) -> Result<(), Broken> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.broken("a string")),
        }
    }

    /// Steps to the next quote, backslash or control character, eight bytes at a time.
    #[inline]
    fn pass_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes[self.at..].first_chunk::<8>() {
            let marks = ends_of_plain(u64::from_le_bytes(*word));
            if marks != 0 {
                self.at += (marks.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while self.byte().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    /// The string that begins at `start` and has no escape before here.
    #[cold]
    fn unescape(&mut self, start: usize, unescaped: &mut Vec<u8>) -> Result<Span, Broken> {
        let length = unescaped.len();
        let mut plain = start;
        loop {
            unescaped.extend_from_slice(&self.text.as_bytes()[plain..self.at]);
            if self.end_or_escape()? {
                return Ok(Span::unescaped(self, unescaped, length));
            }
            let letter = self.escape()?;
            unescaped.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            plain = self.at;
            self.pass_plain();
        }
    }

    /// Steps over the quote that ends a string, or to what follows a backslash; whether the string ended.
    fn end_or_escape(&mut self) -> Result<bool, Broken> {
        match self.byte() {
            Some(byte @ (b'"' | b'\\')) => {
                self.at += 1;
                Ok(byte == b'"')
            }
            Some(_) => Err(self.broken("a string without control characters")),
            None => Err(self.broken("the end of a string")),
        }
    }

    /// What an escape stands for, from behind its backslash.
    fn escape(&mut self) -> Result<char, Broken> {
        let letter = match self.byte() {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.code_point();
            }
            _ => return Err(self.broken("an escape")),
        };
        self.at += 1;
        Ok(letter)
    }

    /// The character of one or two escapes in UTF-16, from behind the first `\u`.
    fn code_point(&mut self) -> Result<char, Broken> {
        let mut code = self.hexadecimal()?;
        if (0xd800..0xdc00).contains(&code) && self.passes(b"\\u") {
            let low = self.hexadecimal()?;
            // Anything else than the second half stays half a pair, which no character is.
            if (0xdc00..0xe000).contains(&low) {
                code = 0x1_0000 + ((code - 0xd800) << 10 | (low - 0xdc00));
            }
        }
        char::from_u32(code).ok_or_else(|| self.broken(PAIRS))
    }

    fn hexadecimal(&mut self) -> Result<u32, Broken> {
        let mut number = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            number = number << 4 | digit.ok_or_else(|| self.broken("four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(number)
    }

    /// Steps over a string whose content is of no use: surrogates need no partner there.
    fn pass_string(&mut self) -> Result<(), Broken> {
        self.quote()?;
        loop {
            self.pass_plain();
            if self.end_or_escape()? {
                return Ok(());
            }
            if self.passes(b"u") {
                self.hexadecimal()?;
            } else {
                self.escape()?;
            }
        }
    }

    fn pass_key(&mut self) -> Result<(), Broken> {
        self.pass_string()?;
        self.colon()
    }

    fn pass_word(&mut self, word: &'static str) -> Result<(), Broken> {
        if self.passes(word.as_bytes()) { Ok(()) } else { Err(self.broken("true, false, null or another value")) }
    }

    #[inline]
    fn pass_number(&mut self) -> Result<(), Broken> {
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            // Nothing may follow that makes it octal.
            Some(b'0') => self.at += 1,
            _ => self.pass_digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.pass_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.pass_digits()?;
        }
        Ok(())
    }

    /// Steps over one digit or more.
    #[inline]
    fn pass_digits(&mut self) -> Result<(), Broken> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.broken("a digit")) }
    }
}

fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// Marks the highest bit of each byte that ends plain text; exact up to the first mark from below (Mycroft's test of a word for zero
/// bytes, 1987).
#[inline]
fn ends_of_plain(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let equal = |byte: u8| {
        let differences = word ^ (ONES * u64::from(byte));
        differences.wrapping_sub(ONES) & !differences
    };
    let control = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
    (equal(b'"') | equal(b'\\') | control) & HIGHEST
}

#[cfg(test)]
mod tests;
