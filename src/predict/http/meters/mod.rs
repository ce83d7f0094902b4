//! What the service counts: as Prometheus reads it, and as the live page shows it.
//!
//! What every request counts is kept in [`shards`] of its own; what happens now and then goes through the recorder of the metrics
//! crate. The recorder is this service's own, not the process's: two services in one process do not mix.

mod seconds;
mod shards;

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use serde::Serialize;

use super::RefusalKind;
use crate::model::bundle::Manifest;
use crate::predict::log::LogCounts;
use crate::predict::openrtb::NoBid;
use crate::predict::scorer::{Scored, Tier};
pub(super) use seconds::Second;
use seconds::Seconds;
use shards::{Counts, LATENCY, PROBABILITY, Shards};

pub(super) struct Meters {
    shards: Shards,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    connections: Gauge,
    errors: Vec<(RefusalKind, Counter, AtomicU64)>,
    bids: Counter,
    no_bids: Vec<(NoBid, Counter)>,
    swaps: Counter,
    refused_models: Counter,
    seconds: Mutex<Seconds>,
    /// What had been counted when the model in use took over.
    at_swap: Mutex<Counts>,
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// What the live page shows of the counters.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// Since the service began.
    requests: u64,
    candidates: [u64; 3],
    refused: u64,
    shed: u64,
    /// Quantiles of latency over the seconds shown, in microseconds.
    seconds: Vec<Second>,
    /// Probabilities given by the model in use: ends of buckets and counts.
    probabilities: Vec<Bucket>,
    mean_probability: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Bucket {
    below: f64,
    count: u64,
}

impl Meters {
    pub(super) fn new() -> Meters {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counter = |name: &'static str, about: &'static str| {
            recorder.describe_counter(name.into(), None, about.into());
            recorder.register_counter(&Key::from_static_name(name), &METADATA)
        };
        let swaps = counter("pctr_model_swaps_total", "Models put in use while serving.");
        let refused_models =
            counter("pctr_model_refusals_total", "Models of the registry that could not be put in use.");
        recorder.describe_gauge("pctr_connections".into(), None, "Open connections of clients.".into());
        let connections = recorder.register_gauge(&Key::from_static_name("pctr_connections"), &METADATA);
        recorder.describe_counter("pctr_errors_total".into(), None, "Requests refused, by kind.".into());
        let error = |kind: RefusalKind| {
            let key = Key::from_parts("pctr_errors_total", vec![Label::new("kind", kind.name())]);
            // The recorder's counter cannot be read.
            (kind, recorder.register_counter(&key, &METADATA), AtomicU64::new(0))
        };
        let errors = RefusalKind::ALL.map(error).into();
        let bids = counter("pctr_bid_responses_total", "Bid requests answered with bids.");
        recorder.describe_counter("pctr_no_bids_total".into(), None, "Bid requests without a bid, by reason.".into());
        let no_bid = |reason: NoBid| {
            let key = Key::from_parts("pctr_no_bids_total", vec![Label::new("reason", reason.name())]);
            (reason, recorder.register_counter(&key, &METADATA))
        };
        let no_bids = NoBid::ALL.map(no_bid).into();
        recorder.describe_gauge("pctr_model_info".into(), None, "1 for the model in use, 0 for earlier ones.".into());
        let handle = recorder.handle();
        let shards = Shards::new();
        let (seconds, at_swap) = (Mutex::new(Seconds::new()), Mutex::new(shards.read()));
        Meters { shards, recorder, handle, connections, errors, bids, no_bids, swaps, refused_models, seconds, at_swap }
    }

    pub(super) fn answered(&self, scored: &[Scored], took: Duration, late: bool) {
        self.shards.answered(scored, took, late);
    }

    pub(super) fn waited(&self, waited: Duration) {
        self.shards.waited(waited);
    }

    pub(super) fn bid(&self) {
        self.bids.increment(1);
    }

    pub(super) fn no_bid(&self, reason: NoBid) {
        if let Some((_, counter)) = self.no_bids.iter().find(|(known, _)| *known == reason) {
            counter.increment(1);
        }
    }

    /// Open connections now.
    pub(super) fn connections(&self) -> &Gauge {
        &self.connections
    }

    pub(super) fn refused(&self, kind: RefusalKind) {
        if let Some((_, counter, count)) = self.errors.iter().find(|(known, ..)| *known == kind) {
            counter.increment(1);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn refused_model(&self) {
        self.refused_models.increment(1);
    }

    pub(super) fn swapped(&self, from: &Manifest, to: &Manifest) {
        self.swaps.increment(1);
        self.info(from).set(0.0);
        self.serves(to);
        if let Ok(mut at_swap) = self.at_swap.lock() {
            *at_swap = self.shards.read();
        }
    }

    pub(super) fn serves(&self, manifest: &Manifest) {
        self.info(manifest).set(1.0);
    }

    /// Notes the second that ends at `now`.
    pub(super) fn tick(&self, now: Instant) {
        self.handle.run_upkeep();
        if let Ok(mut seconds) = self.seconds.lock() {
            let (refused, shed) = self.refusals();
            seconds.note(now, || self.shards.read(), refused, shed);
        }
    }

    /// For the live page.
    pub(super) fn shown(&self, now: Instant) -> Shown {
        let counts = self.shards.read();
        let of_model = self.at_swap.lock().map_or_else(|_| counts.clone(), |at_swap| counts.since(&at_swap));
        let (refused, shed) = self.refusals();
        let given: u64 = of_model.probability.iter().sum();
        let bucket = |(at, count): (usize, &u64)| Bucket { below: PROBABILITY.upper(at).min(1.0), count: *count };
        Shown {
            requests: counts.requests,
            candidates: counts.candidates,
            refused,
            shed,
            seconds: self.seconds.lock().map_or_else(|_| Vec::new(), |seconds| seconds.read(now)),
            probabilities: of_model.probability.iter().enumerate().map(bucket).collect(),
            mean_probability: (given > 0).then(|| of_model.probability_sum / given as f64),
        }
    }

    /// The text that Prometheus reads.
    pub(super) fn render(&self, log: Option<LogCounts>) -> String {
        let mut text = self.handle.render();
        let counts = self.shards.read();
        let mut head = |name: &str, about: &str, kind: &str, lines: &str| {
            let _ = write!(text, "# HELP {name} {about}\n# TYPE {name} {kind}\n{lines}\n");
        };
        let counter = |name: &str, count: u64| format!("{name} {count}\n");
        head(
            "pctr_requests_total",
            "Score requests answered with probabilities.",
            "counter",
            &counter("pctr_requests_total", counts.requests),
        );
        let candidates = counts.candidates.iter().sum();
        head("pctr_candidates_total", "Candidates scored.", "counter", &counter("pctr_candidates_total", candidates));
        let tiers = Tier::ALL.iter().zip(counts.candidates);
        let tiers: String = tiers
            .map(|(tier, count)| counter(&format!("pctr_tier_candidates_total{{tier=\"{tier}\"}}"), count))
            .collect();
        head("pctr_tier_candidates_total", "Candidates scored, by tier of the budget ladder.", "counter", &tiers);
        head(
            "pctr_late_total",
            "Answers that took longer than their request's budget.",
            "counter",
            &counter("pctr_late_total", counts.late),
        );
        for (name, about, buckets, sum) in [
            (
                "pctr_score_seconds",
                "From the whole request's arrival to its answer, in seconds.",
                &counts.latency,
                counts.seconds,
            ),
            (
                "pctr_queue_seconds",
                "Wait for a place to be scored in, of the requests that got one, in seconds.",
                &counts.waited,
                counts.waited_seconds,
            ),
        ] {
            let edge = |power| (LATENCY.bucket_ending_at(power), 2f64.powi(power) * 1e-6);
            head(name, about, "histogram", &histogram(name, buckets, sum, edge, 4..=22));
        }
        let probability = histogram(
            "pctr_probability",
            &counts.probability,
            counts.probability_sum,
            |power| (PROBABILITY.bucket_ending_at(power), 2f64.powi(power)),
            -16..=-1,
        );
        head("pctr_probability", "Probabilities answered, one a candidate.", "histogram", &probability);
        if let Some(LogCounts { written, dropped, failed }) = log {
            let lines: String = [("written", written), ("dropped", dropped), ("failed", failed)]
                .map(|(name, count)| counter(&format!("pctr_request_log_total{{outcome=\"{name}\"}}"), count))
                .concat();
            let about = "Requests chosen for the request log: written, dropped from a full queue, lost to the disk.";
            head("pctr_request_log_total", about, "counter", &lines);
        }
        text
    }

    /// Requests refused for what they said, and for want of time.
    fn refusals(&self) -> (u64, u64) {
        let mut counts = (0, 0);
        for (kind, _, count) in &self.errors {
            let count = count.load(Ordering::Relaxed);
            let unavailable = matches!(kind.status().as_u16(), 429 | 503 | 504);
            *(if unavailable { &mut counts.1 } else { &mut counts.0 }) += count;
        }
        counts
    }

    fn info(&self, manifest: &Manifest) -> Gauge {
        let labels = vec![
            Label::new("model", manifest.model.clone()),
            Label::new("kind", manifest.kind.name()),
            Label::new("schema", manifest.schema.clone()),
        ];
        self.recorder.register_gauge(&Key::from_parts("pctr_model_info", labels), &METADATA)
    }
}

/// Lines of a histogram whose edges are powers of two; `edge` gives the bucket that ends there, and the edge as it is shown.
fn histogram(
    name: &str,
    counts: &[u64],
    sum: f64,
    edge: impl Fn(i32) -> (usize, f64),
    powers: std::ops::RangeInclusive<i32>,
) -> String {
    let mut text = String::new();
    for power in powers {
        let (bucket, edge) = edge(power);
        let below: u64 = counts[..=bucket].iter().sum();
        let _ = writeln!(text, "{name}_bucket{{le=\"{edge}\"}} {below}");
    }
    let count: u64 = counts.iter().sum();
    let _ = write!(text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n");
    text
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

/// Takes one of every so many.
#[derive(Debug)]
pub(super) struct Sampler {
    every: u64,
    seen: AtomicU64,
}

impl Sampler {
    /// One of `every`, beginning with the first; never for 0.
    pub(super) fn new(every: u64) -> Sampler {
        Sampler { every, seen: AtomicU64::new(0) }
    }

    /// Whether this one is taken.
    pub(super) fn take(&self) -> bool {
        self.every != 0 && self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every)
    }
}
