//! The fields of a context or a candidate → cells by column.

use std::ops::Range;

use super::document::{Document, Span};
use super::names::{Key, Kind};
use super::reader::{Mistake, Reader, twice};
use super::request::{Field, Place};
use crate::predict::LiveModel;
use crate::predict::fields::{Column, ID, Reader as TakenBy};
use crate::predict::http::Unknown;
use crate::predict::http::refusal::{Refusal, RefusalKind};
use crate::predict::json::shown;

impl<'r> Reader<'r> {
    /// Reads an object of fields: where they are noted, and its id as given.
    pub(super) fn fields(&mut self, place: Place) -> Result<(Range<usize>, Span), Mistake> {
        let kind = if let Place::Candidate(_) = place { Kind::Candidate } else { Kind::Context };
        let first = self.said.fields.len();
        let mut id = Span::default();
        self.names.begin();
        let mut last = self.names.start();
        let mut more = self.enter_object(place)?;
        // A copy that stays in registers for as long as all is as guessed.
        let mut document = self.document;
        while more {
            document.peek();
            let guessed = self.names.guesses(kind, last).find(|guess| passes(self.model, &mut document, *guess));
            let key = match guessed {
                Some(key) => Some(key),
                None => self.aside(&mut document, |reader| reader.search(kind, last, place))?,
            };
            match key {
                None => self.aside(&mut document, |reader| Ok(_ = reader.document.skip()?))?,
                Some(key) if key == self.names.id() => {
                    self.note(key, place)?;
                    last = key;
                    id = self.aside(&mut document, |reader| reader.identifier(place))?;
                }
                Some(key) => {
                    self.note(key, place)?;
                    last = key;
                    document.peek();
                    let value = match document.plain() {
                        Some(value) => value,
                        None => self.aside(&mut document, |reader| reader.value(place, key))?,
                    };
                    self.put(key, value);
                }
            }
            more = document.another(b'}')?;
        }
        self.document = document;
        Ok((first..self.said.fields.len(), id))
    }

    /// Lets `work` go on where `document` is, and `document` where it ends.
    #[inline]
    fn aside<Found>(
        &mut self,
        document: &mut Document<'r>,
        work: impl FnOnce(&mut Self) -> Result<Found, Mistake>,
    ) -> Result<Found, Mistake> {
        self.document = *document;
        let found = work(self)?;
        *document = self.document;
        Ok(found)
    }

    /// Notes a key of an object.
    #[inline]
    fn note(&mut self, key: Key, place: Place) -> Result<(), Mistake> {
        if self.names.note(key) {
            return Ok(());
        }
        Err(twice(place, if key == self.names.id() { ID } else { &self.model.fields.column(key).name }))
    }

    /// A key that was not guessed behind `last`, and its colon; `None` for one to be passed over.
    #[inline(never)]
    fn search(&mut self, kind: Kind, last: Key, place: Place) -> Result<Option<Key>, Mistake> {
        let name = self.name(place)?;
        self.document.colon()?;
        let name = self.bytes(name);
        let found = match kind {
            Kind::Candidate if name == ID.as_bytes() => Some(self.names.id()),
            Kind::Candidate | Kind::Context => self.model.fields.position(name),
        };
        if let Some(key) = found {
            self.names.learn(kind, last, key);
        } else if self.rules.unknown == Unknown::Refuse {
            let (name, schema) = (String::from_utf8_lossy(name), &self.model.bundle.schema);
            let hint = self.model.fields.hint(&name, schema);
            let message = format!("{place}: schema {} has no field {name:?}{hint}", schema.name);
            return Err(Refusal::of_field(RefusalKind::UnknownField, &name, message).into());
        }
        Ok(found)
    }

    /// Notes a value of a column, if anything reads it.
    #[inline]
    fn put(&mut self, position: Key, value: Span) {
        if self.model.fields.column(position).reader != TakenBy::Nothing {
            self.said.fields.push(Field { column: position as u32, value });
        }
    }

    /// A value of a column, whatever it is: the cell a log would have.
    #[inline(never)]
    fn value(&mut self, place: Place, position: Key) -> Result<Span, Mistake> {
        let column = self.model.fields.column(position);
        let expected = match (self.document.peek(), column.reader) {
            (_, TakenBy::Nothing) => return Ok(self.document.skip().map(|_| Span::default())?),
            (Some(b'"'), _) => return self.string(place, &column.name),
            (Some(b'n'), _) => return Ok(self.document.scalar().map(|_| Span::default())?),
            (Some(b'['), TakenBy::Bag { separator }) => return self.bag(place, column, separator),
            (Some(b'['), TakenBy::Single) => "one value",
            (Some(b'{'), TakenBy::Bag { .. }) => "a string, a number or a list",
            (Some(b'{'), TakenBy::Single) => "a string, a number, true, false or null",
            _ => return Ok(self.document.scalar()?),
        };
        Err(self.wrong(place, &column.name, expected))
    }

    /// A list, as a log writes it.
    fn bag(&mut self, place: Place, column: &Column, separator: u8) -> Result<Span, Mistake> {
        let (start, length) = (self.document.at(), self.said.unescaped.len());
        let mut more = self.document.enter(b']');
        while more {
            if self.said.unescaped.len() > length {
                self.said.unescaped.push(separator);
            }
            let before = self.said.unescaped.len();
            let value = match self.document.peek() {
                Some(b'"') => self.string(place, &column.name)?,
                Some(b'-' | b'0'..=b'9') => self.document.scalar()?,
                _ => {
                    self.document.back_to(start);
                    return Err(self.wrong(place, &column.name, "a list of strings and numbers"));
                }
            };
            // With escapes it stands there already.
            if self.said.unescaped.len() == before {
                self.said.unescaped.extend_from_slice(value.of(self.document.text(), &[]));
            }
            let value = &self.said.unescaped[before..];
            if value.contains(&separator) {
                let (name, separator, value) = (&column.name, char::from(separator), String::from_utf8_lossy(value));
                let message = format!("{place}: {name}: expected values without {separator:?}, got {value:?}");
                return Err(Refusal::of_field(RefusalKind::WrongType, name, message).into());
            }
            more = self.document.another(b']')?;
        }
        Ok(Span::unescaped(&self.document, &self.said.unescaped, length))
    }

    /// A candidate's id: a string or a number; null is none. A log may have a column of this name; then the id is its cell too.
    fn identifier(&mut self, place: Place) -> Result<Span, Mistake> {
        let first = self.document.peek();
        let start = self.document.at();
        let id = match first {
            Some(b'"') => self.string(place, ID).map(|_| self.document.since(start))?,
            Some(b't' | b'f' | b'[' | b'{') => return Err(self.wrong(place, ID, "a string or a number")),
            Some(b'n') => self.document.scalar().map(|_| Span::default())?,
            _ => {
                let number = self.document.scalar()?;
                if !is_finite(number.of(self.document.text(), &[])) {
                    self.document.back_to(start);
                    // Given back in an answer, it would keep most clients from reading any of it.
                    return Err(self.wrong(place, ID, "a string or a number of at most 1.8e308"));
                }
                number
            }
        };
        if let Some(column) = self.model.fields.id() {
            self.document.back_to(start);
            let value = self.value(place, column)?;
            self.put(column, value);
        }
        Ok(id)
    }

    fn string(&mut self, place: Place, name: &str) -> Result<Span, Mistake> {
        self.document.string(&mut self.said.unescaped).map_err(|broken| match broken.is_in_text() {
            true => {
                let message = format!("{place}: {name}: {}", broken.in_text());
                Refusal::of_field(RefusalKind::InvalidJson, name, message).into()
            }
            false => broken.into(),
        })
    }

    /// Why the next value is not what `name` takes.
    #[cold]
    fn wrong(&mut self, place: Place, name: &str, expected: &str) -> Mistake {
        match self.document.skip() {
            Ok(got) => {
                let message = format!("{place}: {name}: expected {expected}, got {}", shown(got));
                Refusal::of_field(RefusalKind::WrongType, name, message).into()
            }
            Err(broken) => broken.into(),
        }
    }
}

/// Whether a number of JSON is one as computers have them.
fn is_finite(number: &[u8]) -> bool {
    const SURELY: usize = 300;
    let is_plain = number.len() <= SURELY && !number.iter().any(|byte| matches!(byte, b'e' | b'E'));
    is_plain || std::str::from_utf8(number).is_ok_and(|text| text.parse().is_ok_and(f64::is_finite))
}

/// Steps over the key of a column, or of an id, if it comes next.
#[inline]
fn passes(model: &LiveModel, document: &mut Document<'_>, position: Key) -> bool {
    model.fields.key(position).is_some_and(|key| document.passes_key(key))
}
