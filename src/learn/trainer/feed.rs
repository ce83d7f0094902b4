//! Training rows → batches of slots, read ahead by a thread of their own when more than one is lent.
//!
//! Rows in order become slots straight from the mapped file. Shuffled rows are collected first.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::Task;
use crate::error::Result;
use crate::learn::dataset::{BatchBuffer, Batches, Behind, Order, Piece, View};
use crate::model::features::{Indexer, hash};
use crate::model::{Batch, Slots, Threads};

/// Whether a pass goes on.
pub(super) enum Flow {
    GoOn,
    Stop,
}

/// A batch with its slots. Buffers go round and are reused.
#[derive(Default)]
pub(super) struct IndexedBatch {
    /// Labels and weights; rows and codes only when they had to be collected.
    buffer: BatchBuffer,
    slots: Vec<u32>,
    /// Rows read for it, before negatives were dropped.
    pub(super) read_rows: u64,
}

impl IndexedBatch {
    /// As models take it.
    pub(super) fn view(&self, indexer: &Indexer) -> Batch<'_> {
        let slots = Slots::new(indexer.layout().width(), &self.slots);
        Batch { slots, labels: &self.buffer.labels, weights: self.buffer.weights() }
    }

    /// Forgets its rows.
    pub(super) fn clear(&mut self) {
        self.read_rows = 0;
        self.slots.clear();
        self.buffer.labels.clear();
        self.buffer.weights.clear();
    }

    /// Adds rows as they stand, without the negatives that are dropped.
    pub(super) fn append(&mut self, piece: &Piece<'_>, indexer: &Indexer, kept: KeptNegatives) {
        self.read_rows += piece.rows.len() as u64;
        let width = indexer.codes_width();
        let mut take = |rows: Range<usize>| {
            indexer.append(&piece.codes[rows.start * width..rows.end * width], &mut self.slots);
            self.buffer.labels.extend(piece.labels[rows.clone()].iter().map(|label| f32::from(*label)));
            self.buffer.weights.extend_from_slice(piece.weights.map_or(&[], |weights| &weights[rows]));
        };
        if kept.share >= 1.0 {
            return take(0..piece.rows.len());
        }
        for (at, row) in piece.rows.clone().enumerate() {
            if kept.keeps(row, piece.labels[at] == 1) {
                take(at..at + 1);
            }
        }
    }

    /// Sum of the weights of its rows.
    pub(super) fn weight(&self) -> f64 {
        let weights = self.buffer.weights();
        weights.map_or(self.buffer.labels.len() as f64, |weights| weights.iter().map(|w| f64::from(*w)).sum())
    }
}

/// The rows of one pass, batch by batch.
enum Source<'a> {
    /// As they stand in the file.
    InOrder { train: &'a View<'a>, batch_rows: usize, next: usize, behind: Behind<'a>, kept: KeptNegatives },
    /// Shuffled.
    Collected { batches: Batches<'a>, kept: KeptNegatives, width: usize },
}

impl<'a> Source<'a> {
    fn new(task: &'a Task<'a>, order: Order) -> Self {
        let settings = &task.settings.training;
        let kept = KeptNegatives { share: settings.kept_negatives, seed: task.seed };
        let (train, batch_rows) = (&task.train, settings.batch_rows);
        match order {
            Order::InOrder => Source::InOrder { train, batch_rows, next: 0, behind: Behind::new(train), kept },
            Order::Shuffled { .. } => {
                Source::Collected { batches: train.batches(batch_rows, order), kept, width: train.dataset().width() }
            }
        }
    }

    /// Fills the next batch; `false` after the last one.
    fn next(&mut self, indexer: &Indexer, batch: &mut IndexedBatch) -> bool {
        match self {
            Source::InOrder { train, batch_rows, next, behind, kept } => {
                let positions = *next..train.rows().min(*next + *batch_rows);
                *next = positions.end;
                batch.clear();
                for piece in train.pieces_at(positions) {
                    behind.release_before(piece.rows.start);
                    batch.append(&piece, indexer, *kept);
                }
                batch.read_rows > 0
            }
            Source::Collected { batches, kept, width } => {
                let IndexedBatch { buffer, slots, read_rows } = batch;
                if !batches.next(buffer) {
                    return false;
                }
                *read_rows = buffer.labels.len() as u64;
                if kept.share < 1.0 {
                    kept.thin(buffer, *width);
                }
                slots.clear();
                indexer.append(&buffer.codes, slots);
                true
            }
        }
    }
}

/// Which rows without a click are learned from: a share of them, by a draw that depends on seed and row alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeptNegatives {
    /// Above 0 up to 1.
    pub(super) share: f64,
    pub(super) seed: u64,
}

impl KeptNegatives {
    fn keeps(self, row: usize, click: bool) -> bool {
        click || hash::uniform(self.seed, row as u64) < self.share
    }

    /// Drops the others.
    fn thin(self, buffer: &mut BatchBuffer, width: usize) {
        let BatchBuffer { rows, codes, labels, weights } = buffer;
        let mut kept = 0;
        for row in 0..rows.len() {
            if !self.keeps(rows[row], labels[row] == 1.0) {
                continue;
            }
            rows[kept] = rows[row];
            labels[kept] = labels[row];
            codes.copy_within(row * width..(row + 1) * width, kept * width);
            if !weights.is_empty() {
                weights[kept] = weights[row];
            }
            kept += 1;
        }
        rows.truncate(kept);
        labels.truncate(kept);
        codes.truncate(kept * width);
        weights.truncate(kept);
    }
}

/// Runs one pass, batch by batch; `true` when `work` asked to stop. With more than one thread lent, one reads ahead.
pub(super) fn feed(
    task: &Task<'_>,
    indexer: &Indexer,
    order: Order,
    threads: Threads<'_>,
    work: &mut dyn FnMut(&IndexedBatch) -> Result<Flow>,
) -> Result<bool> {
    let mut source = Source::new(task, order);
    let mut next = move |batch: &mut IndexedBatch| source.next(indexer, batch);
    if threads.count() == 1 {
        let mut batch = IndexedBatch::default();
        while next(&mut batch) {
            if let Flow::Stop = work(&batch)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    const AHEAD: usize = 2;
    let (full, filled): (SyncSender<IndexedBatch>, Receiver<IndexedBatch>) = sync_channel(AHEAD);
    let (empty, returned) = sync_channel(AHEAD + 1);
    for _ in 0..=AHEAD {
        empty.send(IndexedBatch::default()).expect("both ends are here");
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Ends when there are no more rows, or when the other end has hung up.
            while let Ok(mut batch) = returned.recv() {
                if !next(&mut batch) || full.send(batch).is_err() {
                    break;
                }
            }
        });
        while let Ok(batch) = filled.recv() {
            let flow = work(&batch);
            let _ = empty.send(batch);
            match flow {
                Ok(Flow::GoOn) => {}
                Ok(Flow::Stop) => {
                    drop((filled, empty));
                    return Ok(true);
                }
                Err(error) => {
                    drop((filled, empty));
                    return Err(error);
                }
            }
        }
        Ok(false)
    })
}
