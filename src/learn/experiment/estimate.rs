//! Settings and rows → about how much memory a run takes, before it starts, and about how long.
//!
//! Memory is counted: parameters with what their optimizer keeps, the frozen copy of a look at the validation rows and the best
//! one so far, predictions of the judged rows with what their metrics sort, buffers of batches. It is an upper bound in its
//! largest part, the tables; mapped rows are left out, because the system takes them back when it needs the memory. Time is
//! measured: a short training on few rows and one on four times as many say what a row takes and what takes the same with any
//! number of rows. Early stopping makes a run shorter than that.

use std::time::Instant;

use super::kind::Resolved;
use super::record::DataRecord;
use super::run::Lesson;
use crate::error::Result;
use crate::learn::Interrupt;
use crate::learn::inspect::DistinctCodes;
use crate::learn::settings::{ModelSettings, Settings};
use crate::learn::split::Split;
use crate::model::Threads;
use crate::model::dcn::{EmbeddingRule, RawDcn, WideRule};
use crate::model::features::Mode;

/// Codes of the largest training part, which tables of vocabularies grow with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes {
    /// In one row.
    pub(super) width: usize,
    /// Different ones.
    pub(super) distinct: u64,
}

impl Codes {
    /// Counts the codes of a split's training rows; reads them only when `settings` need it.
    ///
    /// # Errors
    /// Interrupted.
    pub(super) fn count<'s>(
        split: &Split<'_>,
        mut settings: impl Iterator<Item = &'s Resolved>,
        interrupt: &Interrupt,
    ) -> Result<Codes> {
        let width = split.train.dataset().width();
        let vocabulary = |settings: &Resolved| match settings {
            Resolved::Own(own) => matches!(own.features.mode, Mode::Vocabulary { .. }),
            Resolved::Reference(_) => false,
        };
        let mut codes = DistinctCodes::default();
        if settings.any(vocabulary) {
            for piece in split.train.pieces() {
                interrupt.check()?;
                piece.codes.iter().for_each(|code| codes.add(*code));
            }
        }
        Ok(Codes { width, distinct: codes.count().count })
    }
}

/// About how many bytes a run takes, mapped rows not counted.
pub(super) fn memory(settings: &Resolved, data: &DataRecord, codes: Codes) -> u64 {
    // Code, logs and buffers of the process, a share of which each run brings.
    const BASE: u64 = 16 << 20;
    // Row, label, probability before and after, logit, weight, time and group, and 24 bytes to sort it for its metrics.
    const JUDGED_ROW: u64 = 72;
    let judged = (data.valid.rows + data.test.rows) * JUDGED_ROW;
    BASE + judged
        + match settings {
            Resolved::Reference(settings) => {
                let limit = settings.model.row_limit(settings.dimensions).unwrap_or(0) as u64;
                // The matrix in f32, and the library's own copy in f64.
                data.train.rows.min(limit) * settings.dimensions as u64 * (4 + 8)
            }
            Resolved::Own(settings) => of_own(settings, data.train.rows, codes),
        }
}

fn of_own(settings: &Settings, rows: u64, codes: Codes) -> u64 {
    let crosses = settings.features.crosses.len() as u64;
    let width = codes.width as u64 + crosses;
    // A cross has at most a value a row; a code or cross kept by a vocabulary also stands in its hash table.
    let (slots, table) = match settings.features.mode {
        Mode::Hash { bits } => (1_u64 << bits, 0),
        Mode::Vocabulary { min_count } => {
            let counted = codes.distinct + crosses * rows;
            let kept = counted.min(rows * width / u64::from(min_count.max(1)));
            (kept + width, counted * 24)
        }
    };
    let batches = settings.training.batch_rows as u64 * width * 8 * 4
        + if settings.training.shuffle { rows.min(131_072) * 8 } else { 0 };
    let model = match &settings.model {
        ModelSettings::BaseRate {} => 0,
        // The pair z and n, the weights of the look at hand and of the best one.
        ModelSettings::Ftrl(_) => slots * (8 + 4 + 4 + 4),
        ModelSettings::Dcn(config) => {
            of_network(config.settings(), slots, rows, width, settings.training.batch_rows as u64)
        }
    };
    table + batches + model
}

fn of_network(network: &RawDcn, slots: u64, rows: u64, width: u64, batch_rows: u64) -> u64 {
    let dimension = network.embedding_dim as u64;
    // What occurs often enough to have an embedding of its own.
    let embedded = slots.min(rows * width / u64::from(network.embedding_min_count.max(1)) + width);
    let moments = match network.embedding_optimizer {
        EmbeddingRule::Adam | EmbeddingRule::LazyAdam => 2 * dimension + 1,
        EmbeddingRule::Adagrad => 1,
    };
    let wide = match network.wide {
        WideRule::None => 0,
        WideRule::Adagrad => 2,
        WideRule::Adam | WideRule::Ftrl => 3,
    };
    let inputs = width * dimension;
    let mut tower = 0;
    let mut below = inputs;
    for layer in &network.deep {
        tower += below * *layer as u64;
        below = *layer as u64;
    }
    let cross = match network.cross_rank as u64 {
        0 => inputs * inputs,
        rank => network.cross_experts.max(1) as u64 * (2 * inputs * rank + rank * rank),
    };
    let dense = tower + network.cross_layers as u64 * cross;
    let activations =
        batch_rows * (inputs * (4 + 2 * network.cross_layers as u64) + 4 * network.deep.iter().sum::<usize>() as u64);
    // Learned numbers with what the optimizer keeps; frozen copies of the look at hand, of the best one and of that in 8 bits;
    // how often each slot occurs.
    let learner = embedded * (dimension + moments) + slots * (wide + 1) + dense * 4 + activations;
    let frozen = embedded * dimension + slots * 2 + dense * 2;
    network.members as u64 * (learner + 3 * frozen) * 4 + slots * 4
}

/// About how many seconds a run takes with these threads: learning, looks at the validation rows, judging, timing.
///
/// # Errors
/// Those of training; interrupted.
pub(super) fn seconds(
    model: &str,
    settings: &Resolved,
    split: &Split<'_>,
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<f64> {
    const FIRST_ROWS: usize = 2_048;
    const LONG_ENOUGH: f64 = 0.3;
    // Timing of scoring, and writing.
    const ENDING: f64 = 0.7;
    const JUDGED_ROWS: usize = 20_000;
    let (passes, looks, limit) = match settings {
        Resolved::Own(own) => {
            let training = &own.training;
            (f64::from(training.passes), f64::from(training.passes * training.checks_per_pass), split.train.rows())
        }
        Resolved::Reference(reference) => {
            (1.0, 1.0, reference.model.row_limit(reference.dimensions).unwrap_or(split.train.rows()))
        }
    };
    let mut one_pass = settings.clone();
    if let Resolved::Own(own) = &mut one_pass {
        own.training.passes = 1;
    }
    let all = split.train.rows().min(limit);
    let nothing = split.valid.slice(0..0);
    let mut measured: Vec<(f64, f64)> = Vec::new();
    let mut rows = FIRST_ROWS.min(all);
    let judged = loop {
        let lesson = Lesson {
            model,
            settings: &one_pass,
            train: split.train.slice(split.train.rows() - rows..split.train.rows()),
            valid: nothing.clone(),
            seed: 1,
            threads,
            interrupt,
        };
        let begun = Instant::now();
        // The first rows of a rare-click log may hold no click.
        let learned = match lesson.learn(&mut |_| {}) {
            Err(error) if error.kind() == crate::error::Kind::Data && rows < all => {
                rows = (rows * 4).min(all);
                continue;
            }
            learned => learned?,
        };
        let took = begun.elapsed().as_secs_f64();
        measured.push((rows as f64, took));
        if took > LONG_ENOUGH || rows == all {
            let sample = split.test.slice(0..split.test.rows().min(JUDGED_ROWS));
            let begun = Instant::now();
            learned.model.logits(&sample, threads, interrupt)?;
            break begun.elapsed().as_secs_f64() / sample.rows() as f64;
        }
        rows = (rows * 4).min(all);
    };
    let (fixed, of_row) = line(&measured);
    // Sorting and summing what metrics take.
    const JUDGING: f64 = 1e-6;
    let (valid, test) = (split.valid.rows() as f64, split.test.rows() as f64);
    Ok(fixed + of_row * all as f64 * passes + looks * valid * judged + (valid + test) * (judged + JUDGING) + ENDING)
}

/// Seconds whatever the rows, and for each row, through the last two measurements.
fn line(measured: &[(f64, f64)]) -> (f64, f64) {
    match measured {
        [.., (fewer, before), (rows, took)] if took > before && rows > fewer => {
            let of_row = (took - before) / (rows - fewer);
            ((took - of_row * rows).max(0.0), of_row)
        }
        [.., (rows, took)] => (0.0, took / rows),
        [] => (0.0, 0.0),
    }
}

/// Bytes that runs may take together: `asked` megabytes, or four fifths of what is free, where the system says it.
pub(super) fn memory_limit(asked_mb: u64) -> Option<u64> {
    if asked_mb > 0 {
        return Some(asked_mb * 1_000_000);
    }
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = kibibytes.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024 / 5 * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_through_the_last_two() {
        let (fixed, of_row) = line(&[(10.0, 9.0), (100.0, 1.0), (400.0, 2.5)]);
        assert!((of_row - 0.005).abs() < 1e-12 && (fixed - 0.5).abs() < 1e-12);
        assert_eq!(line(&[(100.0, 1.0)]), (0.0, 0.01));
        assert_eq!(line(&[(100.0, 1.0), (400.0, 0.8)]), (0.0, 0.002), "noise");
    }
}
