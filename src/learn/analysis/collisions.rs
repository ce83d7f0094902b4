//! A model's table and its training rows → which values share a slot, and what that costs.
//!
//! In hash mode a slot belongs to whatever value hashes to it: of its own field or of any other. Codes of 32 bits are counted
//! exactly; that two values share a code already (n / 2³² of them, 0.02 % at a million) cannot be seen here. In vocabulary mode nothing
//! collides, but values seen fewer than `min_count` times share their field's out-of-vocabulary slot, and that is counted.
//!
//! The cost is measured, not estimated: the model is trained again with the same seed and a slot for every value (vocabulary mode
//! with a count of 1), and the difference of log loss is paired by test row. A network starts from other random embeddings then,
//! so its cost contains the noise of one seed; that of a linear model does not. Of a field, the difference on the test rows whose
//! slot is shared in that field says where the cost falls; rows may collide in several fields, so these do not add up.

use serde::{Deserialize, Serialize};

use super::retrain::Retrainer;
use super::rows::Judge;
use super::{Looking, Subject};
use crate::error::Result;
use crate::metrics::bootstrap::Estimate;
use crate::model::EMPTY_SLOT;
use crate::model::features::{CodeCounts, Indexer, IndexerBuilder, IndexerConfig, Mode};

/// Rows indexed at a time.
const BATCH_ROWS: usize = 4_096;

/// The table of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collisions {
    /// The model.
    pub model: String,
    /// How codes become slots.
    pub mode: Mode,
    /// Slots of the table.
    pub table_slots: u64,
    /// Different values in the training rows, all fields and crosses together.
    pub values: u64,
    /// Slots that some value has.
    pub slots: u64,
    /// Fields and crosses, in the model's order.
    pub fields: Vec<FieldCollisions>,
    /// What all of it costs, where that was measured.
    pub cost: Option<CollisionCost>,
}

/// One field, or a cross (`a*b`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldCollisions {
    /// Its name.
    pub name: String,
    /// Different values in the training rows.
    pub values: u64,
    /// Slots they have.
    pub slots: u64,
    /// Share of the values whose slot another value of the same field has too.
    pub shared_within: f64,
    /// Share of the values whose slot any other value has too.
    pub shared_with_any: f64,
    /// Share of the values' occurrences in the training rows at a slot that any other value has too.
    pub shared_rows: f64,
    /// Log loss minus that without collisions, nats, on the test rows with such a slot in this field.
    pub cost_on_shared_rows: Option<Estimate>,
}

/// What sharing slots costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollisionCost {
    /// Mean log loss on the test rows as the model is, nats.
    pub log_loss: f64,
    /// Trained again with a slot for every value.
    pub log_loss_without: f64,
    /// The first minus the second; above 0 is what collisions cost.
    pub difference: Estimate,
}

/// Counts, and with `cost` trains again.
///
/// # Errors
/// Those of training; interrupted.
pub(super) fn collisions(
    subject: &Subject,
    cost: bool,
    retrainer: &mut Retrainer<'_>,
    judge: &Judge<'_>,
    looking: &mut Looking<'_, '_>,
) -> Result<Collisions> {
    let train = retrainer.train.clone();
    let encoder = train.dataset().encoder();
    let features = IndexerConfig { mode: Mode::Vocabulary { min_count: 1 }, ..subject.settings.features.clone() };
    let mut counting = IndexerBuilder::new(&features, encoder)?;
    looking.begin(&format!("collisions {}", subject.name), train.rows() as u64);
    for piece in train.pieces() {
        looking.interrupt.check()?;
        counting.count(piece.codes, looking.threads);
        looking.step(piece.rows.len() as u64);
    }
    let owners = Owners::count(&subject.bundle.indexer, counting.counted());
    let mut of_table = owners.table(subject);
    let without = Mode::Vocabulary { min_count: 1 };
    if cost && subject.settings.features.mode != without {
        let rows = train.clone();
        let mut settings = subject.settings.clone();
        let with = retrainer.probabilities(&subject.name, &settings, subject.seed, &rows, looking)?;
        settings.features.mode = without;
        let what = format!("{} without collisions", subject.name);
        let alone = retrainer.probabilities(&what, &settings, subject.seed, &rows, looking)?;
        let (with, alone) = (judge.losses(&with), judge.losses(&alone));
        let mean = |of: &[f64]| judge.mean(|row| of[row], |_| true).map_or(f64::NAN, |of| of.value);
        let difference = judge.mean(|row| with[row] - alone[row], |_| true);
        of_table.cost = difference.map(|difference| CollisionCost {
            log_loss: mean(&with),
            log_loss_without: mean(&alone),
            difference,
        });
        let shared = owners.shared_rows(retrainer, &subject.bundle.indexer);
        for (field, shared) in of_table.fields.iter_mut().zip(shared) {
            field.cost_on_shared_rows = judge.mean(|row| with[row] - alone[row], |row| shared[row]);
        }
    }
    Ok(of_table)
}

/// Which values have which slot.
struct Owners {
    /// How many values, of any field, each slot of the table has.
    of_slot: Vec<u32>,
    /// By field: the slot of each of its values and how often it occurs in the training rows.
    fields: Vec<(String, Vec<(u32, u32)>)>,
}

impl Owners {
    fn count<'c>(indexer: &Indexer, counted: impl Iterator<Item = (&'c str, &'c CodeCounts)>) -> Owners {
        let mut of_slot = vec![0_u32; indexer.layout().table_rows];
        let fields = counted
            .enumerate()
            .map(|(field, (name, counts))| {
                let mut values: Vec<(u32, u32)> =
                    counts.iter().map(|(code, count)| (indexer.slot_of(field, code), count)).collect();
                // In the order of slots, so that nothing depends on the order of counting.
                values.sort_unstable();
                values.iter().for_each(|(slot, _)| of_slot[*slot as usize] += 1);
                (name.to_owned(), values)
            })
            .collect();
        Owners { of_slot, fields }
    }

    fn table(&self, subject: &Subject) -> Collisions {
        let field = |(name, values): &(String, Vec<(u32, u32)>)| {
            let alone = |of: &&[(u32, u32)]| of.len() == 1;
            let by_slot = || values.chunk_by(|a, b| a.0 == b.0);
            let shared = |slot: u32| self.of_slot[slot as usize] > 1;
            let (all, occurrences) = (values.len() as f64, values.iter().map(|value| f64::from(value.1)).sum::<f64>());
            let with_any = values.iter().filter(|value| shared(value.0));
            FieldCollisions {
                name: name.clone(),
                values: values.len() as u64,
                slots: by_slot().count() as u64,
                shared_within: 1.0 - by_slot().filter(alone).count() as f64 / all.max(1.0),
                shared_with_any: with_any.clone().count() as f64 / all.max(1.0),
                shared_rows: with_any.map(|value| f64::from(value.1)).sum::<f64>() / occurrences.max(1.0),
                cost_on_shared_rows: None,
            }
        };
        Collisions {
            model: subject.name.clone(),
            mode: subject.settings.features.mode,
            table_slots: subject.bundle.indexer.layout().table_rows as u64,
            values: self.fields.iter().map(|field| field.1.len() as u64).sum(),
            slots: self.of_slot.iter().filter(|values| **values > 0).count() as u64,
            fields: self.fields.iter().map(field).collect(),
            cost: None,
        }
    }

    /// By field: whether each test row has a slot in it that several values have.
    fn shared_rows(&self, retrainer: &Retrainer<'_>, indexer: &Indexer) -> Vec<Vec<bool>> {
        let spans = &indexer.layout().spans;
        let mut shared: Vec<Vec<bool>> = spans.iter().map(|_| Vec::new()).collect();
        let mut slots = Vec::new();
        for piece in retrainer.test().pieces() {
            for codes in piece.codes.chunks(BATCH_ROWS * indexer.codes_width()) {
                indexer.index(codes, &mut slots);
                for row in slots.chunks_exact(indexer.layout().width()) {
                    for (span, shared) in spans.iter().zip(&mut shared) {
                        let several = |slot: &u32| *slot != EMPTY_SLOT && self.of_slot[*slot as usize] > 1;
                        shared.push(row[span.range()].iter().any(several));
                    }
                }
            }
        }
        shared
    }
}
