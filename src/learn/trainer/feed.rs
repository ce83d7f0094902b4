//! Training rows → batches of slots, read ahead by a thread of their own when more than one is lent.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::Task;
use crate::error::Result;
use crate::learn::dataset::{BatchBuffer, Order};
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

    /// Drops all but a share of the rows without a click, by a draw that depends on seed and row alone.
    fn keep_negatives(&mut self, share: f64, seed: u64, width: usize) {
        let BatchBuffer { rows, codes, labels, weights } = &mut self.buffer;
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
}

/// Runs one pass, batch by batch; `true` when `work` asked to stop. With more than one thread lent, one reads ahead.
pub(super) fn feed(
    task: &Task<'_>,
    indexer: &Indexer,
    order: Order,
    threads: Threads<'_>,
    work: &mut dyn FnMut(&IndexedBatch) -> Result<Flow>,
) -> Result<bool> {
    let settings = &task.settings.training;
    let mut batches = task.train.batches(settings.batch_rows, order);
    let width = task.train.dataset().width();
    let mut next = move |batch: &mut IndexedBatch| {
        if !batches.next(&mut batch.buffer) {
            return false;
        }
        batch.read_rows = batch.buffer.labels.len() as u64;
        if settings.kept_negatives < 1.0 {
            batch.keep_negatives(settings.kept_negatives, task.seed, width);
        }
        indexer.index(&batch.buffer.codes, &mut batch.slots);
        true
    };
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
