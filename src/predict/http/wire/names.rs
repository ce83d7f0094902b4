//! Keys of objects: which one comes next, and which one has been there.
//!
//! A client writes its fields in one order. So the key behind a field is guessed to be the one that stood behind it in the object
//! before, and a guess that holds costs one comparison instead of a search. Contexts and candidates have an order each.

/// A key: the position of a column, or one of two behind those.
pub(super) type Key = usize;

/// What kind of object keys stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request's context.
    Context,
    /// One of its candidates.
    Candidate,
}

/// What is known of keys, from object to object and from request to request.
#[derive(Debug, Default)]
pub(super) struct Names {
    columns: usize,
    /// For each kind of object, the key that came behind each key when it last stood in one.
    behind: [Vec<Key>; 2],
    /// For each key, the object that it last stood in.
    seen: Vec<u64>,
    /// Objects so far.
    objects: u64,
}

impl Names {
    /// Makes ready for objects of a model with this many columns. Guesses that were made for another model do no harm.
    pub(super) fn of(&mut self, columns: usize) {
        if self.seen.len() != columns + 2 {
            self.columns = columns;
            self.behind = [(); 2].map(|()| vec![columns + 1; columns + 2]);
            self.seen = vec![0; columns + 2];
        }
    }

    /// The key of a candidate's id.
    #[inline]
    pub(super) fn id(&self) -> Key {
        self.columns
    }

    /// What the first key of an object comes behind.
    #[inline]
    pub(super) fn start(&self) -> Key {
        self.columns + 1
    }

    /// A new object begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.objects += 1;
    }

    /// The key that may come behind `key`; none at all when it is that of the start.
    #[inline]
    pub(super) fn guess(&self, kind: Kind, key: Key) -> Key {
        self.behind[kind as usize][key]
    }

    /// Notes that `next` came behind `key`; whether it is there for the first time in its object.
    #[inline]
    pub(super) fn note(&mut self, kind: Kind, key: Key, next: Key) -> bool {
        self.behind[kind as usize][key] = next;
        std::mem::replace(&mut self.seen[next], self.objects) != self.objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_learned_and_doubles_found() {
        let mut names = Names::default();
        names.of(3);
        names.begin();
        assert_eq!(names.guess(Kind::Candidate, names.start()), names.start());
        assert!(names.note(Kind::Candidate, names.start(), 2) && names.note(Kind::Candidate, 2, names.id()));
        assert!(!names.note(Kind::Candidate, names.id(), 2));
        names.begin();
        assert!(names.note(Kind::Candidate, names.start(), 2));
        assert_eq!((names.guess(Kind::Candidate, names.start()), names.guess(Kind::Candidate, 2)), (2, 3));
        assert_eq!(names.guess(Kind::Context, 2), names.start());
        names.of(5);
        assert_eq!(names.guess(Kind::Candidate, 2), names.start(), "another model, nothing known");
        assert!(names.note(Kind::Candidate, names.start(), 2));
    }
}
