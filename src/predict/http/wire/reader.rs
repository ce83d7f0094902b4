//! Bodies of `POST /v1/score` and `POST /v1/score/batch` → requests that fit the model's schema, or why there is none.
//!
//! A body is gone through once, from its first byte to its last, and its fields are noted by column as they come. When something does
//! not fit, or the body breaks off, what was noted before is forgotten.

use super::document::{Broken, Document, Span};
use super::names::Names;
use super::request::{Candidate, Parts, Place, Request, Said};
use crate::error::nearest;
use crate::predict::LiveModel;
use crate::predict::http::Unknown;
use crate::predict::http::refusal::{Refusal, RefusalKind};
use crate::predict::json::shown;

/// How requests are read.
#[derive(Debug, Clone, Copy)]
pub(in crate::predict::http) struct Rules {
    /// Most candidates of a request.
    pub(in crate::predict::http) candidates: usize,
    /// Most requests of a batch.
    pub(in crate::predict::http) batch: usize,
    /// What to do with unknown fields.
    pub(in crate::predict::http) unknown: Unknown,
}

/// Buffers of whoever reads bodies, one after another, whatever models they are for.
#[derive(Debug, Default)]
pub(in crate::predict::http) struct Buffers {
    said: Said,
    names: Names,
    /// Of a batch.
    requests: Vec<Result<Parts, Refusal>>,
}

/// Reads the one request of a body.
pub(in crate::predict::http) fn read<'r>(
    body: &'r [u8],
    model: &LiveModel,
    rules: Rules,
    buffers: &'r mut Buffers,
) -> Result<Request<'r>, Refusal> {
    let text = utf8(body)?;
    let parts = Reader::new(text, model, rules, buffers).single().map_err(|mistake| mistake.refusal(text))?;
    Ok(Request::new(text, &buffers.said, &parts))
}

/// Reads the requests of a body, each of which may be refused for itself.
pub(in crate::predict::http) fn read_batch<'r>(
    body: &'r [u8],
    model: &LiveModel,
    rules: Rules,
    buffers: &'r mut Buffers,
) -> Result<impl Iterator<Item = Result<Request<'r>, &'r Refusal>>, Refusal> {
    let text = utf8(body)?;
    Reader::new(text, model, rules, buffers).batch().map_err(|mistake| mistake.refusal(text))?;
    let Buffers { said, requests, .. } = &*buffers;
    Ok(requests.iter().map(move |parts| parts.as_ref().map(|parts| Request::new(text, said, parts))))
}

/// Why reading ends.
#[derive(Debug)]
pub(super) enum Mistake {
    /// The body is no JSON.
    Broken(Broken),
    /// The body, or a request of a batch, is not what it should be.
    Refused(Box<Refusal>),
}

impl From<Broken> for Mistake {
    fn from(broken: Broken) -> Mistake {
        Mistake::Broken(broken)
    }
}

impl From<Refusal> for Mistake {
    fn from(refusal: Refusal) -> Mistake {
        Mistake::Refused(Box::new(refusal))
    }
}

impl Mistake {
    fn refusal(self, text: &str) -> Refusal {
        match self {
            Mistake::Broken(broken) => {
                let message = format!("the body is no JSON: {}", broken.placed(text));
                Refusal::new(RefusalKind::InvalidJson, message)
            }
            Mistake::Refused(refusal) => *refusal,
        }
    }
}

/// A list of objects: its key, how long it may be, and as what others are refused.
struct List {
    key: &'static str,
    most: usize,
    empty: RefusalKind,
    too_long: RefusalKind,
}

impl List {
    fn refused(&self, kind: RefusalKind, message: String) -> Mistake {
        Refusal::of_field(kind, self.key, message).into()
    }

    fn missing(&self, place: Place) -> Mistake {
        self.refused(self.empty, format!("{place}: {} is missing", self.key))
    }
}

/// A body that is being read.
pub(super) struct Reader<'r> {
    pub(super) document: Document<'r>,
    pub(super) model: &'r LiveModel,
    pub(super) rules: Rules,
    pub(super) said: &'r mut Said,
    pub(super) names: &'r mut Names,
    requests: &'r mut Vec<Result<Parts, Refusal>>,
}

impl<'r> Reader<'r> {
    fn new(text: &'r str, model: &'r LiveModel, rules: Rules, buffers: &'r mut Buffers) -> Reader<'r> {
        let Buffers { said, names, requests } = buffers;
        said.clear();
        requests.clear();
        names.of(model.fields.count());
        Reader { document: Document::new(text), model, rules, said, names, requests }
    }

    fn single(&mut self) -> Result<Parts, Mistake> {
        let parts = self.request(Place::Body)?;
        self.document.end()?;
        Ok(parts)
    }

    fn batch(&mut self) -> Result<(), Mistake> {
        let list = List {
            key: "requests",
            most: self.rules.batch,
            empty: RefusalKind::NoRequests,
            too_long: RefusalKind::BatchTooLong,
        };
        let mut seen = false;
        let mut more = self.enter_object(Place::Body)?;
        while more {
            let name = self.name(Place::Body)?;
            self.document.colon()?;
            match self.bytes(name) {
                b"requests" if seen => return Err(twice(Place::Body, list.key)),
                b"requests" => {
                    self.list(&list, |reader, _| reader.item())?;
                    seen = true;
                }
                name => {
                    self.unknown_key(Place::Body, name, &[list.key])?;
                    self.document.skip()?;
                }
            }
            more = self.document.another(b'}')?;
        }
        self.document.end()?;
        if seen { Ok(()) } else { Err(list.missing(Place::Body)) }
    }

    /// A request of a batch.
    fn item(&mut self) -> Result<(), Mistake> {
        let start = self.document.at();
        let parts = match self.request(Place::Request) {
            Ok(parts) => Ok(parts),
            Err(Mistake::Refused(refusal)) => {
                // The others stand as they are, if the rest of this one is JSON.
                self.document.back_to(start);
                self.document.skip()?;
                Err(*refusal)
            }
            Err(broken @ Mistake::Broken(_)) => return Err(broken),
        };
        self.requests.push(parts);
        Ok(())
    }

    fn request(&mut self, place: Place) -> Result<Parts, Mistake> {
        let list = List {
            key: "candidates",
            most: self.rules.candidates,
            empty: RefusalKind::NoCandidates,
            too_long: RefusalKind::TooManyCandidates,
        };
        let (mut context, mut candidates) = (None, None);
        let mut more = self.enter_object(place)?;
        while more {
            let name = self.name(place)?;
            self.document.colon()?;
            match self.bytes(name) {
                b"context" if context.is_some() => return Err(twice(place, "context")),
                b"candidates" if candidates.is_some() => return Err(twice(place, list.key)),
                b"context" => context = Some(self.fields(Place::Context)?.0),
                b"candidates" => {
                    let first = self.said.candidates.len();
                    self.list(&list, |reader, position| {
                        let (fields, id) = reader.fields(Place::Candidate(position))?;
                        reader.said.candidates.push(Candidate { id, fields });
                        Ok(())
                    })?;
                    candidates = Some(first..self.said.candidates.len());
                }
                name => {
                    self.unknown_key(place, name, &["context", list.key])?;
                    self.document.skip()?;
                }
            }
            more = self.document.another(b'}')?;
        }
        let candidates = candidates.ok_or_else(|| list.missing(place))?;
        Ok(Parts { context: context.unwrap_or(0..0), candidates })
    }

    /// Calls `take` for each item of a list, with its position. Those beyond the limit are counted, but not read.
    fn list(
        &mut self,
        list: &List,
        mut take: impl FnMut(&mut Self, usize) -> Result<(), Mistake>,
    ) -> Result<(), Mistake> {
        let &List { key, most, empty, too_long } = list;
        if self.document.peek() != Some(b'[') {
            let got = shown(self.document.skip()?);
            return Err(list.refused(RefusalKind::WrongType, format!("{key}: expected a list of objects, got {got}")));
        }
        let mut count = 0;
        let mut more = self.document.enter(b']');
        while more {
            if count < most {
                take(self, count)?;
            } else {
                self.document.skip()?;
            }
            count += 1;
            more = self.document.another(b']')?;
        }
        match count {
            0 => Err(list.refused(empty, format!("{key}: expected at least one, got an empty list"))),
            count if count > most => {
                Err(list.refused(too_long, format!("{key}: expected at most {most}, got {count}")))
            }
            _ => Ok(()),
        }
    }

    /// Steps into the object that should come next; whether anything is in it.
    pub(super) fn enter_object(&mut self, place: Place) -> Result<bool, Mistake> {
        if self.document.peek() == Some(b'{') {
            return Ok(self.document.enter(b'}'));
        }
        let got = shown(self.document.skip()?);
        Err(Refusal::new(RefusalKind::WrongType, format!("{place}: expected an object, got {got}")).into())
    }

    /// The key that should come next.
    pub(super) fn name(&mut self, place: Place) -> Result<Span, Mistake> {
        self.document.string(&mut self.said.unescaped).map_err(|broken| match broken.is_in_text() {
            true => Refusal::new(RefusalKind::InvalidJson, format!("{place}: a key: {}", broken.in_text())).into(),
            false => broken.into(),
        })
    }

    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        span.of(self.document.text(), &self.said.unescaped)
    }

    fn unknown_key(&self, place: Place, name: &[u8], known: &[&str]) -> Result<(), Mistake> {
        if self.rules.unknown == Unknown::Ignore {
            return Ok(());
        }
        let name = String::from_utf8_lossy(name);
        let (expected, hint) = (known.join(" and "), nearest(&name, known.iter().copied()));
        let message = format!("{place}: expected {expected}, got {name:?}{hint}");
        Err(Refusal::of_field(RefusalKind::UnknownField, &name, message).into())
    }
}

pub(super) fn twice(place: Place, field: &str) -> Mistake {
    let message = format!("{place}: {field} stands there twice");
    Refusal::of_field(RefusalKind::DuplicateField, field, message).into()
}

fn utf8(body: &[u8]) -> Result<&str, Refusal> {
    simdutf8::compat::from_utf8(body).map_err(|error| {
        let message = format!("expected UTF-8, got another byte at {}", error.valid_up_to());
        Refusal::new(RefusalKind::InvalidJson, message)
    })
}
