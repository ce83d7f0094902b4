//! Keys of objects: which one comes next, and which one has been there.
//!
//! A client writes its fields in one order, and leaves some out. So the key behind a field is guessed to be the one that stood there
//! before, or one of the next behind that; a guess costs one comparison, which is a small part of a search. Contexts and candidates have
//! an order each.

/// Keys that are guessed before one is searched for.
const GUESSES: usize = 8;

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

    /// The keys that may come behind `key`, likely ones first: the one that did, the one behind that, and so on, as far as they are
    /// known.
    #[inline]
    pub(super) fn guesses(&self, kind: Kind, key: Key) -> impl Iterator<Item = Key> {
        let (behind, start) = (&self.behind[kind as usize], self.start());
        std::iter::successors(Some(behind[key]), |guess| Some(behind[*guess]))
            .take(GUESSES)
            .take_while(move |guess| *guess != start)
    }

    /// Learns that `next` came behind `key`, which was no guess.
    pub(super) fn learn(&mut self, kind: Kind, key: Key, next: Key) {
        self.behind[kind as usize][key] = next;
    }

    /// Notes a key; whether it is there for the first time in its object.
    #[inline]
    pub(super) fn note(&mut self, key: Key) -> bool {
        std::mem::replace(&mut self.seen[key], self.objects) != self.objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_learned_and_doubles_found() {
        let mut names = Names::default();
        names.of(4);
        let guesses = |names: &Names, kind, key| names.guesses(kind, key).collect::<Vec<_>>();
        let (start, id) = (names.start(), names.id());
        assert_eq!(guesses(&names, Kind::Candidate, start), [0; 0]);
        for (key, next) in [(start, 2), (2, id), (id, 0)] {
            names.learn(Kind::Candidate, key, next);
        }
        // Whoever leaves out a field is found behind it.
        assert_eq!(guesses(&names, Kind::Candidate, start), [2, id, 0]);
        assert_eq!(guesses(&names, Kind::Candidate, 2), [id, 0]);
        assert_eq!(guesses(&names, Kind::Context, start), [0; 0]);
        // An order may go round.
        names.learn(Kind::Candidate, 0, 2);
        assert_eq!(guesses(&names, Kind::Candidate, id), [0, 2, id].repeat(GUESSES)[..GUESSES]);

        names.begin();
        assert!(names.note(2) && names.note(id) && !names.note(2));
        names.begin();
        assert!(names.note(2));
        names.of(6);
        assert_eq!(guesses(&names, Kind::Candidate, id), [0; 0], "another model, nothing known");
        assert!(names.note(2));
    }
}
