//! Training rows → batches of slots, read ahead by a thread of their own when more than one is lent.
//!
//! Rows in order become slots straight from the mapped file. Shuffled rows, and those of which some are dropped, are
//! collected first.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::Task;
use crate::error::Result;
use crate::learn::dataset::{BatchBuffer, Batches, Behind, Order, View};
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

    /// Sum of the weights of its rows.
    pub(super) fn weight(&self) -> f64 {
        let weights = self.buffer.weights();
        weights.map_or(self.buffer.labels.len() as f64, |weights| weights.iter().map(|w| f64::from(*w)).sum())
    }
}

/// The rows of one pass, batch by batch.
enum Source<'a> {
    /// As they stand in the file.
    InOrder { train: &'a View<'a>, batch_rows: usize, next: usize, behind: Behind<'a> },
    /// Shuffled, or with negatives dropped.
    Collected { batches: Batches<'a>, kept_negatives: f64, seed: u64, width: usize },
}

impl<'a> Source<'a> {
    fn new(task: &'a Task<'a>, order: Order) -> Self {
        let settings = &task.settings.training;
        match order {
            Order::InOrder if settings.kept_negatives >= 1.0 => {
                let (train, batch_rows) = (&task.train, settings.batch_rows);
                Source::InOrder { train, batch_rows, next: 0, behind: Behind::new(train) }
            }
            _ => Source::Collected {
                batches: task.train.batches(settings.batch_rows, order),
                kept_negatives: settings.kept_negatives,
                seed: task.seed,
                width: task.train.dataset().width(),
            },
        }
    }

    /// Fills the next batch; `false` after the last one.
    fn next(&mut self, indexer: &Indexer, batch: &mut IndexedBatch) -> bool {
        let IndexedBatch { buffer, slots, read_rows } = batch;
        match self {
            Source::InOrder { train, batch_rows, next, behind } => {
                let positions = *next..train.rows().min(*next + *batch_rows);
                *next = positions.end;
                *read_rows = positions.len() as u64;
                slots.clear();
                buffer.labels.clear();
                buffer.weights.clear();
                for piece in train.pieces_at(positions) {
                    behind.release_before(piece.rows.start);
                    indexer.append(piece.codes, slots);
                    buffer.labels.extend(piece.labels.iter().map(|label| f32::from(*label)));
                    buffer.weights.extend_from_slice(piece.weights.unwrap_or_default());
                }
                *read_rows > 0
            }
            Source::Collected { batches, kept_negatives, seed, width } => {
                if !batches.next(buffer) {
                    return false;
                }
                *read_rows = buffer.labels.len() as u64;
                if *kept_negatives < 1.0 {
                    keep_negatives(buffer, *kept_negatives, *seed, *width);
                }
                slots.clear();
                indexer.append(&buffer.codes, slots);
                true
            }
        }
    }
}

/// Drops all but a share of the rows without a click, by a draw that depends on seed and row alone.
fn keep_negatives(buffer: &mut BatchBuffer, share: f64, seed: u64, width: usize) {
    let BatchBuffer { rows, codes, labels, weights } = buffer;
    let mut kept = 0;
    for row in 0..rows.len() {
        if labels[row] == 0.0 && hash::uniform(seed, rows[row] as u64) >= share {
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
