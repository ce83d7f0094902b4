//! One log, read by several threads: pieces are cut in order, worked on in any order, and taken in order.
//!
//! Each thread does all three. It cuts the next piece under a lock (reading, unpacking and fingerprinting happen there), hands its
//! rows to a taker of its own, and lays the taker down. Whoever lays down the one that is next takes it, and all that follow it,
//! while the others go on; so nobody waits for a write. The number of pieces between cutting and taking is bounded, and with it
//! memory. What is taken, counted and refused does not depend on threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::bad_rows::{BadRows, BlockCount};
use super::rows::{Rows, TakeRows};
use super::stream::{self, Piece, Stream};
use super::text::Scratch;
use super::{Input, Progress, Reading};
use crate::error::{Error, Result};
use crate::learn::dataset::InputRecord;
use crate::model::Threads;

/// Pieces between cutting and taking, for each thread.
const AHEAD: u64 = 24;

/// Reads all rows of one log by `threads`: each block of rows goes to a taker that `make` made (or an earlier one), and full
/// takers come to `take` in the order of the log, which empties them.
///
/// Bad rows are counted in `bad`, as [`super::read_rows`] does. `block` is the usual size of a block, in bytes.
///
/// # Errors
/// Those of [`super::read_rows`] and of `take`, the first in the order of the log.
#[allow(clippy::too_many_arguments, reason = "a log, how it is read, and who takes what")]
pub fn read_blocks<T: TakeRows + Send>(
    input: &Input,
    reading: Reading<'_>,
    block: usize,
    bad: &mut BadRows,
    threads: Threads<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
    make: &(dyn Fn() -> T + Sync),
    take: &mut (dyn FnMut(&mut T) -> Result<()> + Send),
) -> Result<InputRecord> {
    let (shape, stream) = stream::open(input, reading, block)?;
    let belt = Belt {
        places: Mutex::new(Places {
            cut: 0,
            next: 0,
            taking: false,
            stopped: None,
            laid: BTreeMap::new(),
            spare: Vec::new(),
        }),
        changed: Condvar::new(),
        end: Mutex::new(End { input, line: stream.first_line(), bad, progress, take }),
        most: AHEAD * threads.count() as u64,
    };
    let stream = Mutex::new(Cutting { stream, ended: false });
    threads.for_each((0..threads.count()).collect(), |_| {
        let _guard = StopOnPanic(&belt);
        let mut scratch = Scratch::default();
        let mut space = Vec::new();
        while let Some((number, piece)) = belt.cut(&stream, std::mem::take(&mut space)) {
            let mut taker = belt.spare().unwrap_or_else(make);
            let laid = match piece {
                Err(failure) => Laid { failure: Some(failure), ..Laid::empty(taker) },
                Ok(mut piece) => {
                    let mut rows = Rows::new(&mut taker);
                    let lines = piece.rows(&shape, reading, input.name(), &mut scratch, &mut rows);
                    let count = rows.count;
                    taker.end();
                    let bytes_read = piece.bytes_read();
                    space = piece.into_space();
                    let lines = lines.and_then(|flow| {
                        reading.interrupt.check()?;
                        flow.continue_value().ok_or_else(|| Error::Bug("a block was not read to its end".into()))
                    });
                    Laid { taker, count, lines, bytes_read, failure: None }
                }
            };
            belt.lay(number, laid);
        }
    });
    if let Some(error) = lock(&belt.places).stopped.take() {
        return Err(error);
    }
    drop(belt);
    Ok(stream.into_inner().unwrap_or_else(PoisonError::into_inner).stream.record())
}

/// Where pieces are cut.
struct Cutting {
    stream: Stream,
    ended: bool,
}

/// Where pieces wait for their turn.
struct Belt<'a, T> {
    places: Mutex<Places<T>>,
    changed: Condvar,
    end: Mutex<End<'a, T>>,
    /// Most pieces between cutting and taking.
    most: u64,
}

struct Places<T> {
    /// Pieces cut so far.
    cut: u64,
    /// Number of the piece that is taken next.
    next: u64,
    /// Whether a thread is taking.
    taking: bool,
    stopped: Option<Error>,
    laid: BTreeMap<u64, Laid<T>>,
    spare: Vec<T>,
}

/// A piece that was worked on.
struct Laid<T> {
    taker: T,
    count: BlockCount,
    /// Its lines, or why it could not be worked on.
    lines: Result<u64>,
    bytes_read: u64,
    /// Why it could not be cut.
    failure: Option<super::open::Failure>,
}

impl<T> Laid<T> {
    fn empty(taker: T) -> Self {
        Laid { taker, count: BlockCount::default(), lines: Ok(0), bytes_read: 0, failure: None }
    }
}

/// Where pieces are taken, one after the other.
struct End<'a, T> {
    input: &'a Input,
    line: u64,
    bad: &'a mut BadRows,
    progress: &'a mut (dyn FnMut(Progress) + Send),
    take: &'a mut (dyn FnMut(&mut T) -> Result<()> + Send),
}

impl<T> Belt<'_, T> {
    /// The next piece and its number, once there is room; `None` at the end or when reading has stopped.
    fn cut(&self, stream: &Mutex<Cutting>, space: Vec<u8>) -> Option<(u64, Result<Piece, super::open::Failure>)> {
        let mut places = lock(&self.places);
        while places.stopped.is_none() && places.cut - places.next >= self.most {
            places = self.changed.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
        if places.stopped.is_some() {
            return None;
        }
        drop(places);
        let mut cutting = lock(stream);
        if cutting.ended {
            return None;
        }
        let piece = cutting.stream.next(space);
        cutting.ended = !matches!(piece, Ok(Some(_)));
        let piece = piece.transpose()?;
        let mut places = lock(&self.places);
        places.cut += 1;
        Some((places.cut - 1, piece))
    }

    fn spare(&self) -> Option<T> {
        lock(&self.places).spare.pop()
    }

    /// Lays a piece down, and takes all pieces whose turn it is, unless another thread does.
    fn lay(&self, number: u64, laid: Laid<T>) {
        let mut places = lock(&self.places);
        places.laid.insert(number, laid);
        if places.taking {
            return;
        }
        places.taking = true;
        loop {
            let next = places.next;
            let Some(laid) = places.laid.remove(&next).filter(|_| places.stopped.is_none()) else { break };
            drop(places);
            let taken = lock(&self.end).take(laid);
            places = lock(&self.places);
            places.next += 1;
            match taken {
                Ok(taker) => places.spare.push(taker),
                Err(error) => places.stopped = Some(error),
            }
            self.changed.notify_all();
        }
        places.taking = false;
    }
}

impl<T> End<'_, T> {
    /// Counts and takes one piece; gives its taker back.
    fn take(&mut self, mut laid: Laid<T>) -> Result<T> {
        if let Some(failure) = laid.failure {
            return Err(failure.at(self.input.name(), self.line));
        }
        self.bad.add(self.input.name(), self.line, &laid.count)?;
        self.line += laid.lines?;
        (self.take)(&mut laid.taker)?;
        (self.progress)(Progress { bytes: laid.bytes_read, rows: self.bad.rows() });
        Ok(laid.taker)
    }
}

/// Stops the other threads when one panics, so that none waits for a piece that will never come.
struct StopOnPanic<'a, 'b, T>(&'a Belt<'b, T>);

impl<T> Drop for StopOnPanic<'_, '_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.places).stopped = Some(Error::Bug("a thread panicked".into()));
            self.0.changed.notify_all();
        }
    }
}

/// A panic of another thread is told by that thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
