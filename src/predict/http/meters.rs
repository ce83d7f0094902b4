//! What the service counts, as Prometheus reads it.
//!
//! The recorder is this service's own, not the process's, and every meter is looked up once: counting is one atomic
//! addition, and two services in one process do not mix.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::RefusalKind;
use crate::model::bundle::Manifest;
use crate::predict::scorer::{Scored, Tier};

/// Upper edges of the latency histogram, in seconds.
const LATENCY_EDGES: [f64; 14] =
    [20e-6, 50e-6, 100e-6, 200e-6, 300e-6, 500e-6, 1e-3, 2e-3, 3e-3, 5e-3, 10e-3, 30e-3, 100e-3, 1.0];

pub(super) struct Meters {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    requests: Counter,
    candidates: Counter,
    tiers: Vec<(Tier, Counter)>,
    late: Counter,
    seconds: Histogram,
    queue_seconds: Histogram,
    connections: Gauge,
    errors: Vec<(RefusalKind, Counter)>,
    swaps: Counter,
    refused_models: Counter,
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Meters {
    pub(super) fn new() -> Meters {
        let builder = PrometheusBuilder::new().set_buckets(&LATENCY_EDGES).expect("the edges are not empty");
        let recorder = builder.build_recorder();
        let counter = |name: &'static str, about: &'static str| {
            recorder.describe_counter(name.into(), None, about.into());
            recorder.register_counter(&Key::from_static_name(name), &METADATA)
        };
        let requests = counter("pctr_requests_total", "Score requests answered with probabilities.");
        let candidates = counter("pctr_candidates_total", "Candidates scored.");
        let late = counter("pctr_late_total", "Answers that took longer than their request's budget.");
        let swaps = counter("pctr_model_swaps_total", "Models put in use while serving.");
        let refused_models =
            counter("pctr_model_refusals_total", "Models of the registry that could not be put in use.");
        recorder.describe_histogram(
            "pctr_score_seconds".into(),
            None,
            "From the whole request's arrival to its answer, in seconds.".into(),
        );
        let seconds = recorder.register_histogram(&Key::from_static_name("pctr_score_seconds"), &METADATA);
        recorder.describe_histogram(
            "pctr_queue_seconds".into(),
            None,
            "Wait for a place to be scored in, of the requests that got one, in seconds.".into(),
        );
        let queue_seconds = recorder.register_histogram(&Key::from_static_name("pctr_queue_seconds"), &METADATA);
        recorder.describe_gauge("pctr_connections".into(), None, "Open connections of clients.".into());
        let connections = recorder.register_gauge(&Key::from_static_name("pctr_connections"), &METADATA);
        recorder.describe_counter("pctr_tier_candidates_total".into(), None, "Candidates scored, by tier.".into());
        let tier = |tier: Tier| {
            let key = Key::from_parts("pctr_tier_candidates_total", vec![Label::new("tier", tier.name())]);
            (tier, recorder.register_counter(&key, &METADATA))
        };
        let tiers = Tier::ALL.map(tier).into();
        recorder.describe_counter("pctr_errors_total".into(), None, "Requests refused, by kind.".into());
        let error = |kind: RefusalKind| {
            let key = Key::from_parts("pctr_errors_total", vec![Label::new("kind", kind.name())]);
            (kind, recorder.register_counter(&key, &METADATA))
        };
        let errors = RefusalKind::ALL.map(error).into();
        recorder.describe_gauge("pctr_model_info".into(), None, "1 for the model in use, 0 for earlier ones.".into());
        let handle = recorder.handle();
        Meters {
            recorder,
            handle,
            requests,
            candidates,
            tiers,
            late,
            seconds,
            queue_seconds,
            connections,
            errors,
            swaps,
            refused_models,
        }
    }

    pub(super) fn answered(&self, scored: &[Scored], took: Duration, late: bool) {
        self.requests.increment(1);
        self.candidates.increment(scored.len() as u64);
        for (tier, counter) in &self.tiers {
            let count = scored.iter().filter(|scored| scored.tier == *tier).count();
            counter.increment(count as u64);
        }
        if late {
            self.late.increment(1);
        }
        self.seconds.record(took.as_secs_f64());
    }

    pub(super) fn waited(&self, waited: Duration) {
        self.queue_seconds.record(waited.as_secs_f64());
    }

    /// Open connections now.
    pub(super) fn connections(&self) -> &Gauge {
        &self.connections
    }

    pub(super) fn refused(&self, kind: RefusalKind) {
        if let Some((_, counter)) = self.errors.iter().find(|(known, _)| *known == kind) {
            counter.increment(1);
        }
    }

    pub(super) fn refused_model(&self) {
        self.refused_models.increment(1);
    }

    pub(super) fn swapped(&self, from: &Manifest, to: &Manifest) {
        self.swaps.increment(1);
        self.info(from).set(0.0);
        self.serves(to);
    }

    pub(super) fn serves(&self, manifest: &Manifest) {
        self.info(manifest).set(1.0);
    }

    /// Folds recorded latencies into the histogram; without it memory grows until the next look at the metrics.
    pub(super) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    pub(super) fn render(&self) -> String {
        self.handle.render()
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
