//! The last minutes, second by second, for people who look at the live page.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::shards::{Counts, LATENCY};
use serde::Serialize;

/// Seconds kept.
const KEPT: usize = 180;
/// Moments are at least this far apart, whatever the keeper's pace is.
const APART: Duration = Duration::from_millis(950);

/// Counts at the ends of the last seconds.
#[derive(Debug)]
pub(super) struct Seconds {
    moments: VecDeque<Moment>,
}

#[derive(Debug)]
struct Moment {
    at: Instant,
    counts: Counts,
    refused: u64,
    shed: u64,
}

/// One second, or a little more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::predict::http) struct Second {
    /// Seconds from its end to now.
    ago: f64,
    /// Requests a second that were answered with probabilities.
    requests: f64,
    /// Requests a second that were refused for what they said.
    refused: f64,
    /// Requests a second that were refused for want of time.
    shed: f64,
    /// Quantiles of the time from a request's arrival to its answer, in microseconds; null without any.
    p50: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    /// Candidates a second by tier: full, cheap, base rate.
    candidates: [f64; 3],
}

impl Seconds {
    pub(super) fn new() -> Seconds {
        Seconds { moments: VecDeque::with_capacity(KEPT + 1) }
    }

    /// Notes what was counted until `at`, when the last moment is long enough ago.
    pub(super) fn note(&mut self, at: Instant, counts: impl FnOnce() -> Counts, refused: u64, shed: u64) {
        if self.moments.back().is_some_and(|last| at.duration_since(last.at) < APART) {
            return;
        }
        if self.moments.len() > KEPT {
            self.moments.pop_front();
        }
        self.moments.push_back(Moment { at, counts: counts(), refused, shed });
    }

    /// Oldest first.
    pub(super) fn read(&self, now: Instant) -> Vec<Second> {
        let pairs = self.moments.iter().zip(self.moments.iter().skip(1));
        pairs
            .map(|(from, to)| {
                let counts = to.counts.since(&from.counts);
                let seconds = to.at.duration_since(from.at).as_secs_f64();
                let quantile = |share| LATENCY.quantile(&counts.latency, share);
                Second {
                    ago: now.saturating_duration_since(to.at).as_secs_f64(),
                    requests: counts.requests as f64 / seconds,
                    refused: (to.refused - from.refused) as f64 / seconds,
                    shed: (to.shed - from.shed) as f64 / seconds,
                    p50: quantile(0.5),
                    p99: quantile(0.99),
                    p999: quantile(0.999),
                    candidates: counts.candidates.map(|count| count as f64 / seconds),
                }
            })
            .collect()
    }
}
