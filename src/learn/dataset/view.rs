//! A selection of a dataset's rows → batches, in order or shuffled by a seed.
//!
//! Shuffling cuts the selection into chunks of [`CHUNK_ROWS`] rows, shuffles the chunks, and then shuffles the rows within
//! windows of [`WINDOW_CHUNKS`] chunks. Up to 131,072 rows are thus shuffled in full; beyond, memory stays bounded: a window is copied
//! out of the mapped files, so that what is held does not depend on how its chunks lie there. The order depends on seed, pass and
//! selection only.

use std::ops::Range;

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{BLOCK_ROWS, Dataset, Piece};
use crate::kernels::prefetch;

/// Rows that stay together when chunks are shuffled.
const CHUNK_ROWS: usize = 1 << 14;
/// Chunks whose rows are shuffled together.
const WINDOW_CHUNKS: usize = 8;

/// Rows between the one whose codes are asked for and the one that is copied.
const ROWS_AHEAD: usize = 8;

/// An ordered selection of rows: ranges of a dataset, ascending, without overlap.
#[derive(Debug, Clone)]
pub struct View<'a> {
    dataset: &'a Dataset,
    ranges: Vec<Range<usize>>,
    /// Position in the view of each range's first row.
    starts: Vec<usize>,
    rows: usize,
}

/// In which order a view's rows are batched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they stand in the dataset.
    InOrder,
    /// Shuffled; each pass differently.
    Shuffled {
        /// Any number.
        seed: u64,
        /// Number of the pass, from 0.
        pass: u64,
    },
}

/// One batch of rows, reused from batch to batch.
#[derive(Debug, Clone, Default)]
pub struct BatchBuffer {
    /// Which rows of the dataset.
    pub rows: Vec<usize>,
    /// `rows × width` codes, row by row.
    pub codes: Vec<u32>,
    /// 1 for a click, 0 for none.
    pub labels: Vec<f32>,
    /// Weights in the loss; empty when the schema has no weight.
    pub weights: Vec<f32>,
}

impl BatchBuffer {
    /// Weights as models take them.
    pub fn weights(&self) -> Option<&[f32]> {
        (!self.weights.is_empty()).then_some(&self.weights)
    }

    /// Forgets all rows.
    fn clear(&mut self) {
        self.rows.clear();
        self.codes.clear();
        self.labels.clear();
        self.weights.clear();
    }

    /// Adds rows as they stand.
    fn append(&mut self, piece: &Piece<'_>) {
        self.rows.extend(piece.rows.clone());
        self.codes.extend_from_slice(piece.codes);
        self.labels.extend(piece.labels.iter().map(|label| f32::from(*label)));
        self.weights.extend_from_slice(piece.weights.unwrap_or_default());
    }

    /// Adds the rows of `window` at these places of it, in this order.
    fn gather(&mut self, window: &BatchBuffer, places: &[usize], width: usize) {
        let codes_at = |place: usize| &window.codes[place * width..(place + 1) * width];
        for (at, place) in places.iter().enumerate() {
            if let Some(ahead) = places.get(at + ROWS_AHEAD) {
                let ahead = codes_at(*ahead);
                (0..ahead.len()).step_by(16).for_each(|code| prefetch(ahead, code));
            }
            self.rows.push(window.rows[*place]);
            self.codes.extend_from_slice(codes_at(*place));
            self.labels.push(window.labels[*place]);
        }
        if !window.weights.is_empty() {
            self.weights.extend(places.iter().map(|place| window.weights[*place]));
        }
    }
}

impl<'a> View<'a> {
    /// All rows.
    pub fn all(dataset: &'a Dataset) -> Self {
        View::new(dataset, std::iter::once(0..dataset.rows()).collect())
    }

    /// The rows of `ranges`; empty ranges are dropped.
    ///
    /// # Panics
    /// When ranges overlap, descend or end beyond the last row.
    pub fn new(dataset: &'a Dataset, mut ranges: Vec<Range<usize>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        let ascending = ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
        let within = ranges.last().is_none_or(|range| range.end <= dataset.rows());
        assert!(ascending && within, "ranges of a view ascend within its dataset");
        let mut rows = 0;
        let starts = ranges.iter().map(|range| {
            let start = rows;
            rows += range.len();
            start
        });
        let starts = starts.collect();
        View { dataset, ranges, starts, rows }
    }

    /// The dataset the rows belong to.
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of the dataset it is made of, ascending.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// The rows at these positions of the view, e.g. its last tenth.
    ///
    /// # Panics
    /// When `positions` ends beyond the last row.
    pub fn slice(&self, positions: Range<usize>) -> View<'a> {
        View::new(self.dataset, self.runs(positions).collect())
    }

    /// Rows in order, as few pieces as possible. The memory of blocks is given back as the iterator moves on.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'a>> + '_ {
        let mut behind = Behind::new(self);
        self.ranges.iter().flat_map(|range| self.dataset.pieces(range.clone())).inspect(move |piece| {
            behind.release_before(piece.rows.start);
        })
    }

    /// The rows at these positions of the view, in order, as few pieces as possible.
    ///
    /// # Panics
    /// When `positions` ends beyond the last row.
    pub fn pieces_at(&self, positions: Range<usize>) -> impl Iterator<Item = Piece<'a>> + '_ {
        self.runs(positions).flat_map(|range| self.dataset.pieces(range))
    }

    /// Labels in order: 1 for a click, 0 for none.
    pub fn labels(&self) -> Vec<u8> {
        self.column(|piece| Some(piece.labels)).expect("every row has a label")
    }

    /// Weights in order, if the schema has a weight.
    pub fn weights(&self) -> Option<Vec<f32>> {
        self.column(|piece| piece.weights)
    }

    /// Seconds since 1970 in order, if the schema has a time.
    pub fn times(&self) -> Option<Vec<i64>> {
        self.column(|piece| piece.times)
    }

    /// Groups in order, if the schema has a group.
    pub fn groups(&self) -> Option<Vec<u64>> {
        self.column(|piece| piece.groups)
    }

    fn column<T: Copy + 'a>(&self, column: impl Fn(&Piece<'a>) -> Option<&'a [T]>) -> Option<Vec<T>> {
        let mut values = Vec::with_capacity(self.rows);
        for piece in self.pieces() {
            values.extend_from_slice(column(&piece)?);
        }
        Some(values)
    }

    /// Batches of `batch_rows` rows; the last one may be smaller.
    ///
    /// # Panics
    /// When `batch_rows` is 0.
    pub fn batches(&self, batch_rows: usize, order: Order) -> Batches<'_> {
        assert!(batch_rows > 0, "a batch has at least one row");
        let mut chunks: Vec<usize> = (0..self.rows.div_ceil(CHUNK_ROWS)).collect();
        let random = match order {
            Order::InOrder => None,
            Order::Shuffled { seed, pass } => {
                let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
                // Seeds of passes come from the seed's own stream, so that pass 1 of seed 1 is no pass of seed 2.
                let salt = random.next_u64();
                let mut random = Xoshiro256PlusPlus::seed_from_u64(salt.wrapping_add(pass));
                shuffle(&mut chunks, &mut random);
                Some(random)
            }
        };
        Batches {
            view: self,
            batch_rows,
            random,
            chunks,
            next_chunk: 0,
            window: BatchBuffer::default(),
            places: Vec::new(),
            at: 0,
        }
    }

    /// Ranges of dataset rows at `positions` of the view.
    fn runs(&self, positions: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        assert!(positions.end <= self.rows, "position {} of {}", positions.end, self.rows);
        let first = self.starts.partition_point(|start| *start <= positions.start).saturating_sub(1);
        let ranges = self.ranges.iter().zip(&self.starts).skip(first);
        ranges.map_while(move |(range, start)| {
            let from = positions.start.max(*start);
            let to = positions.end.min(start + range.len());
            (from < to).then(|| range.start + from - start..range.start + to - start)
        })
    }
}

/// Gives back the memory of blocks that a pass in order has left behind, the last ones when it is dropped.
#[derive(Debug)]
pub struct Behind<'a> {
    dataset: &'a Dataset,
    kept: Range<usize>,
}

impl<'a> Behind<'a> {
    /// A pass over `view` that has not begun.
    pub fn new(view: &View<'a>) -> Self {
        let start = view.ranges.first().map_or(0, |range| range.start);
        let end = view.ranges.last().map_or(0, |range| range.end);
        Behind { dataset: view.dataset, kept: start..end }
    }

    /// The pass has come to `row` of the dataset.
    pub fn release_before(&mut self, row: usize) {
        let done = row / BLOCK_ROWS * BLOCK_ROWS;
        if done > self.kept.start {
            self.dataset.release(self.kept.start..done);
            self.kept.start = done;
        }
    }
}

impl Drop for Behind<'_> {
    fn drop(&mut self) {
        self.dataset.release(self.kept.clone());
    }
}

/// A pass over a view, batch by batch.
#[derive(Debug)]
pub struct Batches<'v> {
    view: &'v View<'v>,
    batch_rows: usize,
    random: Option<Xoshiro256PlusPlus>,
    chunks: Vec<usize>,
    next_chunk: usize,
    /// Rows of the chunks that are shuffled together.
    window: BatchBuffer,
    /// Their places in the window, in the order of the pass, and how many were taken.
    places: Vec<usize>,
    at: usize,
}

impl Batches<'_> {
    /// Fills `batch` with the next rows; `false` after the last one.
    pub fn next(&mut self, batch: &mut BatchBuffer) -> bool {
        batch.clear();
        while batch.rows.len() < self.batch_rows {
            if self.at == self.places.len() && !self.next_window() {
                break;
            }
            let end = self.places.len().min(self.at + self.batch_rows - batch.rows.len());
            batch.gather(&self.window, &self.places[self.at..end], self.view.dataset.width());
            self.at = end;
        }
        !batch.rows.is_empty()
    }

    /// Copies the next chunks out of the mapping, chunk by chunk, so that what was read can be given back at once.
    fn next_window(&mut self) -> bool {
        self.window.clear();
        let end = (self.next_chunk + WINDOW_CHUNKS).min(self.chunks.len());
        for chunk in &self.chunks[self.next_chunk..end] {
            let first = chunk * CHUNK_ROWS;
            let positions = first..(first + CHUNK_ROWS).min(self.view.rows);
            for piece in self.view.pieces_at(positions) {
                self.window.append(&piece);
                self.view.dataset.release(piece.rows);
            }
        }
        self.next_chunk = end;
        self.at = 0;
        self.places.clear();
        self.places.extend(0..self.window.rows.len());
        if let Some(random) = &mut self.random {
            shuffle(&mut self.places, random);
        }
        !self.places.is_empty()
    }
}

/// Fisher and Yates' shuffle; the index is a multiply and shift, biased by less than 2⁻⁴⁰ for any list that fits memory.
fn shuffle(values: &mut [usize], random: &mut Xoshiro256PlusPlus) {
    for last in (1..values.len()).rev() {
        let other = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        values.swap(last, other as usize);
    }
}
