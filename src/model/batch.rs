//! Blocks of rows as models see them: slots, labels, weights, and the threads a caller lends.

use std::ops::Range;

/// Stands where a row has fewer values than its layout has positions: a short bag, an absent cross.
pub use crate::kernels::EMPTY_SLOT;

/// The positions of one field in a row of slots: one for a plain field, several for a bag.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// Name of the field, or `a*b` for a cross.
    pub name: String,
    /// First position.
    pub start: usize,
    /// Number of positions, at least 1.
    pub len: usize,
}

impl Span {
    /// The positions as a range.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// How a row of slots is laid out, and how many slots there are.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// Fields in order; their ranges follow one another without gaps.
    pub spans: Vec<Span>,
    /// Number of slots: every slot of a row is below it, or [`EMPTY_SLOT`].
    pub table_rows: usize,
}

impl Layout {
    /// Positions in one row.
    pub fn width(&self) -> usize {
        self.spans.last().map_or(0, |span| span.start + span.len)
    }
}

/// Spans in which rows that belong together differ, such as those of a request's candidates; in all other spans they have
/// the same slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnSpans {
    positions: Vec<u32>,
    marks: Vec<bool>,
}

impl OwnSpans {
    /// Takes one mark for each span of a layout.
    pub fn fill(&mut self, marks: impl Iterator<Item = bool>) {
        self.marks.clear();
        self.marks.extend(marks);
        self.positions.clear();
        let own = self.marks.iter().enumerate().filter(|(_, own)| **own);
        self.positions.extend(own.map(|(position, _)| position as u32));
    }

    /// Their positions in the layout, ascending.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Whether the span at a position of the layout is one of them.
    pub fn contains(&self, position: usize) -> bool {
        self.marks[position]
    }
}

/// Slots of a block of rows, row by row: `rows × width` values, each below the table's size or [`EMPTY_SLOT`].
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    width: usize,
    values: &'a [u32],
}

impl<'a> Slots<'a> {
    /// Wraps `rows × width` slots.
    ///
    /// # Panics
    /// When `values` is not a whole number of rows.
    pub fn new(width: usize, values: &'a [u32]) -> Self {
        assert!(width > 0 && values.len().is_multiple_of(width), "{} slots are no rows of {width}", values.len());
        Slots { width, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// Positions in one row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All slots, row by row.
    pub fn values(&self) -> &'a [u32] {
        self.values
    }

    /// The slots of one row.
    pub fn row(&self, row: usize) -> &'a [u32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// A block of rows.
    pub fn range(&self, rows: Range<usize>) -> Slots<'a> {
        Slots { width: self.width, values: &self.values[rows.start * self.width..rows.end * self.width] }
    }
}

/// Labeled rows for one step.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// What the rows are.
    pub slots: Slots<'a>,
    /// 1 for a click, 0 for none; one for each row.
    pub labels: &'a [f32],
    /// Weight of each row in the loss; `None` means 1.
    pub weights: Option<&'a [f32]>,
}

/// Threads that the caller lends; the ground starts none of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Threads<'a> {
    pool: Option<&'a rayon::ThreadPool>,
}

impl<'a> Threads<'a> {
    /// The caller's own thread.
    pub fn one() -> Self {
        Threads { pool: None }
    }

    /// All threads of a pool.
    pub fn of(pool: &'a rayon::ThreadPool) -> Self {
        Threads { pool: (pool.current_num_threads() > 1).then_some(pool) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pool.map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Works off `pieces`, in any order and on any thread: results must not depend on either.
    pub fn for_each<T: Send>(&self, pieces: Vec<T>, work: impl Fn(T) + Sync) {
        match self.pool {
            None => pieces.into_iter().for_each(work),
            Some(pool) => pool.scope(|scope| {
                let work = &work;
                for piece in pieces {
                    scope.spawn(move |_| work(piece));
                }
            }),
        }
    }

    /// Turns each piece into a result; results come in the order of the pieces.
    pub fn map<T: Send, R: Send>(&self, pieces: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        use rayon::prelude::*;
        match self.pool {
            None => pieces.into_iter().map(work).collect(),
            Some(pool) => pool.install(|| pieces.into_par_iter().with_max_len(1).map(work).collect()),
        }
    }
}
