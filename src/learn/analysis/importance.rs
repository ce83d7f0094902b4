//! A bundle and test rows → how much worse it predicts when a field is permuted.
//!
//! Permuting a field breaks its tie with the click and with all other fields, and keeps its distribution (Breiman 2001,
//! "Random forests", section 10). Rows change places only within a block of time (an hour, `Targets::time_blocks`): across
//! blocks, values would meet times at which they never occurred, and a field that only tells the time would look important.
//! So what is measured is what a field says *at a given time*. Crosses are made from permuted codes and move with them.
//!
//! ```text
//! d_i = mean over repeats of (loss of row i, permuted) − (loss of row i)      importance = Σ w_i d_i / Σ w_i
//! ```
//!
//! Intervals resample blocks of rows. Each row drew its own partner, so the noise of the permutations is part of `d_i` and inside
//! the interval. Fields that say the same replace each other: two copies of a strong field both look weak, their group does not.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use super::config::AnalysisConfig;
use super::rows::{Field, HeldRows, Judge};
use super::{Looking, Unit};
use crate::error::Result;
use crate::metrics::bootstrap::{Estimate, Interval, RankedRows, Resamples, ascending};
use crate::metrics::losses;
use crate::model::bundle::{Bundle, ScoreScratch};

/// Rows scored at a time.
const BATCH_ROWS: usize = 2_048;

/// What each field is worth to one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The model.
    pub model: String,
    /// Test rows that were permuted.
    pub rows: u64,
    /// Permutations of each field.
    pub repeats: usize,
    /// Blocks of time within which rows changed places.
    pub time_blocks: usize,
    /// Mean log loss of these rows as they are, nats.
    pub log_loss: f64,
    /// Their AUC; `None` with one class.
    pub auc: Option<f64>,
    /// Fields, the most important first.
    pub fields: Vec<UnitImportance>,
    /// Groups of fields, the most important first.
    pub groups: Vec<UnitImportance>,
}

/// What one field, or fields permuted together, are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitImportance {
    /// Field or group.
    pub name: String,
    /// The fields.
    pub fields: Vec<String>,
    /// Whether the model sees any of them.
    pub used: bool,
    /// Log loss permuted minus log loss as it is, nats; above 0 says that the model needs it.
    pub loss_increase: Estimate,
    /// AUC as it is minus AUC permuted; `None` with one class.
    pub auc_drop: Option<Estimate>,
    /// Standard deviation of the loss increase from one permutation to the next; `None` with one repeat.
    pub sd_over_repeats: Option<f64>,
}

/// Permutes each unit of fields. Progress counts scored rows; the same bits at any number of threads.
///
/// # Errors
/// Interrupted.
pub(super) fn importance(
    name: &str,
    bundle: &Bundle,
    rows: &HeldRows,
    units: &[Unit],
    config: &AnalysisConfig,
    looking: &mut Looking<'_, '_>,
) -> Result<Importance> {
    let judge = Judge::new(&rows.targets, looking.block_rows, looking.bootstrap);
    let time_blocks = rows.targets.time_blocks();
    let resamples = (judge.blocks.blocks() > 1).then(|| Resamples::draw(judge.blocks.blocks(), looking.bootstrap));
    let permuting = Permuting { bundle, rows, judge: &judge, resamples: resamples.as_ref(), time_blocks: &time_blocks };
    let plain = permuting.score(&[], None);
    let as_it_is = permuting.scored(&plain);

    // Each permutation has its own stream of the generator, so that units can be worked off in any order.
    let mut stream = Xoshiro256PlusPlus::seed_from_u64(config.seed);
    let mut jobs = Vec::with_capacity(units.len());
    for unit in units {
        let streams: Vec<Xoshiro256PlusPlus> = (0..config.repeats)
            .map(|_| {
                let own = stream.clone();
                stream.jump();
                own
            })
            .collect();
        jobs.push((unit, streams));
    }
    let a_unit = (rows.rows() * config.repeats) as u64;
    looking.begin(&format!("importance {name}"), a_unit * units.len() as u64);
    let mut of_units = Vec::with_capacity(units.len());
    for together in jobs.chunks(looking.threads.count()) {
        looking.interrupt.check()?;
        let found = looking.threads.map(together.iter().collect(), |(unit, streams): &(&Unit, Vec<_>)| {
            permuting.unit(unit, streams, &as_it_is)
        });
        of_units.extend(found);
        looking.step(a_unit * together.len() as u64);
    }
    let by_loss = |a: &UnitImportance, b: &UnitImportance| b.loss_increase.value.total_cmp(&a.loss_increase.value);
    let (mut fields, mut groups): (Vec<_>, Vec<_>) = of_units.into_iter().zip(units).partition(|(_, unit)| !unit.group);
    fields.sort_by(|a, b| by_loss(&a.0, &b.0));
    groups.sort_by(|a, b| by_loss(&a.0, &b.0));
    Ok(Importance {
        model: name.to_owned(),
        rows: rows.rows() as u64,
        repeats: config.repeats,
        time_blocks: time_blocks.len(),
        log_loss: losses::log_loss(&judge.predictions(&plain)).unwrap_or(f64::NAN),
        auc: as_it_is.auc,
        fields: fields.into_iter().map(|of| of.0).collect(),
        groups: groups.into_iter().map(|of| of.0).collect(),
    })
}

/// What all units share.
struct Permuting<'a> {
    bundle: &'a Bundle,
    rows: &'a HeldRows,
    judge: &'a Judge<'a>,
    resamples: Option<&'a Resamples>,
    time_blocks: &'a [Vec<u32>],
}

/// Losses of rows and the AUC on all resamples.
struct Scored {
    losses: Vec<f64>,
    auc: Option<f64>,
    auc_draws: Vec<Option<f64>>,
}

impl Permuting<'_> {
    fn unit(&self, unit: &Unit, streams: &[Xoshiro256PlusPlus], as_it_is: &Scored) -> UnitImportance {
        let used = unit.fields.iter().any(|field| sees(self.bundle, &field.name));
        let repeats = streams.len() as f64;
        let mut increase = vec![0.0; self.rows.rows()];
        let mut increases = Vec::with_capacity(streams.len());
        let mut drop = as_it_is.auc;
        let mut drops: Vec<Option<f64>> = as_it_is.auc_draws.clone();
        for stream in streams {
            // What the model does not see changes no bit of its scores.
            let permuted = used.then(|| {
                let partners = self.partners(stream.clone());
                self.scored(&self.score(&unit.fields, Some(&partners)))
            });
            let permuted = permuted.as_ref().unwrap_or(as_it_is);
            let (mut sum, mut weights) = (0.0, 0.0);
            for (row, (increase, (after, before))) in
                increase.iter_mut().zip(permuted.losses.iter().zip(&as_it_is.losses)).enumerate()
            {
                *increase += (after - before) / repeats;
                sum += self.judge.weight(row) * (after - before);
                weights += self.judge.weight(row);
            }
            increases.push(sum / f64::max(weights, f64::MIN_POSITIVE));
            let less =
                |total: &mut Option<f64>, part: Option<f64>| *total = total.zip(part).map(|(a, b)| a - b / repeats);
            less(&mut drop, permuted.auc);
            drops.iter_mut().zip(&permuted.auc_draws).for_each(|(drop, part)| less(drop, *part));
        }
        let blocks = self.judge.blocks.blocks();
        let auc_interval = |drop: f64| {
            Interval::percentile(drop, drops.iter().copied().flatten().collect(), blocks, self.judge.bootstrap)
        };
        let nothing = Estimate { value: 0.0, low: None, high: None };
        UnitImportance {
            name: unit.name.clone(),
            fields: unit.fields.iter().map(|field| field.name.clone()).collect(),
            used,
            loss_increase: self.judge.mean(|row| increase[row], |_| true).unwrap_or(nothing),
            auc_drop: drop.map(|drop| Estimate::new(drop, auc_interval(drop))),
            sd_over_repeats: sd(&increases),
        }
    }

    /// From which row each row takes the values: a permutation within each block of time.
    fn partners(&self, mut random: Xoshiro256PlusPlus) -> Vec<u32> {
        let mut partner = vec![0; self.rows.rows()];
        for block in self.time_blocks {
            let mut shuffled = block.clone();
            for last in (1..shuffled.len()).rev() {
                let other = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
                shuffled.swap(last, other as usize);
            }
            block.iter().zip(shuffled).for_each(|(row, from)| partner[*row as usize] = from);
        }
        partner
    }

    /// Probabilities of all rows, with the codes of `fields` taken from each row's partner.
    fn score(&self, fields: &[Field], partners: Option<&[u32]>) -> Vec<f64> {
        let HeldRows { width, codes, .. } = self.rows;
        let (mut scratch, mut batch) = (ScoreScratch::default(), Vec::new());
        let mut probabilities = Vec::with_capacity(self.rows.rows());
        for (first, block) in (0..).step_by(BATCH_ROWS).zip(codes.chunks(BATCH_ROWS * width)) {
            let Some(partners) = partners else {
                self.bundle.score(block, &mut scratch, &mut probabilities);
                continue;
            };
            batch.clear();
            batch.extend_from_slice(block);
            for (row, partner) in batch.chunks_exact_mut(*width).zip(&partners[first..]) {
                let from = *partner as usize * width;
                for field in fields {
                    row[field.codes.clone()].copy_from_slice(&codes[from + field.codes.start..from + field.codes.end]);
                }
            }
            self.bundle.score(&batch, &mut scratch, &mut probabilities);
        }
        probabilities
    }

    fn scored(&self, probabilities: &[f64]) -> Scored {
        let predictions = self.judge.predictions(probabilities);
        let ranked = RankedRows::new(&predictions, &ascending(&predictions), &self.judge.blocks);
        let auc_draws = self.resamples.map(|resamples| ranked.resampled(resamples)).unwrap_or_default();
        Scored { losses: losses::row_log_losses(&predictions), auc: ranked.auc(), auc_draws }
    }
}

/// Whether a model sees a field, alone or in a cross.
pub(super) fn sees(bundle: &Bundle, field: &str) -> bool {
    let spans = &bundle.indexer.layout().spans;
    spans.iter().any(|span| span.name == field || span.name.split('*').any(|part| part == field))
}

fn sd(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt())
}
