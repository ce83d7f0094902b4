//! A model and some encoded rows → how long it takes to score one of them, and 100 together.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::learn::dataset::View;
use crate::learn::experiment::record::{Latency, Scoring};
use crate::model::bundle::{Bundle, ScoreScratch};

/// Codes of the first rows of a view, as many as timing takes.
pub(super) fn some_codes(view: &View<'_>) -> Vec<u32> {
    const ROWS: usize = 10_000;
    let codes = view.slice(0..view.rows().min(ROWS));
    codes.pieces().flat_map(|piece| piece.codes.iter().copied()).collect()
}

/// Times a bundle on rows of a view, on one thread.
///
/// # Errors
/// None of its own.
pub(in crate::learn::experiment) fn time_bundle(bundle: &Bundle, view: &View<'_>) -> Result<Scoring> {
    let width = view.dataset().width();
    let codes = some_codes(view);
    let (mut scratch, mut probabilities) = (ScoreScratch::default(), Vec::new());
    time_scoring(codes.len() / width, |rows| {
        probabilities.clear();
        bundle.score(&codes[rows.start * width..rows.end * width], &mut scratch, &mut probabilities);
        std::hint::black_box(&probabilities);
        Ok(())
    })
}

/// Times `score` on one and on 100 of `rows` rows, each call on other rows.
///
/// # Errors
/// Those of `score`.
pub(super) fn time_scoring(rows: usize, mut score: impl FnMut(Range<usize>) -> Result<()>) -> Result<Scoring> {
    const CALLS: usize = 2_000;
    const FEWEST_CALLS: usize = 100;
    const BUDGET: Duration = Duration::from_millis(300);
    let mut time = |together: usize| {
        let together = together.min(rows);
        let mut micros = Vec::with_capacity(CALLS);
        let begun = Instant::now();
        while micros.len() < CALLS && (micros.len() < FEWEST_CALLS || begun.elapsed() < BUDGET) {
            let first = (micros.len() * together) % (rows - together + 1);
            let call = Instant::now();
            score(first..first + together)?;
            micros.push(call.elapsed().as_secs_f64() * 1e6);
        }
        // The first calls warm caches and buffers.
        micros.drain(..FEWEST_CALLS / 5);
        micros.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| micros[((micros.len() - 1) as f64 * share).round() as usize];
        Ok::<_, Error>(Latency { p50_micros: quantile(0.5), p99_micros: quantile(0.99), calls: micros.len() as u64 })
    };
    Ok(Scoring { one: time(1)?, hundred: time(100)? })
}
