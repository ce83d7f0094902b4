//! How fast models learn and score, in rows a second, and where the time of a training step goes.
//!
//! DCN v2 has the size of the peers' table in the design notes: 39 fields × 16, three full 624 × 624 cross layers, a tower of
//! 400-400-400, 2²⁰ slots: 10.4 MFLOP a row, forward and backward. Each step is timed on its own and its fastest repetition
//! counts, for a machine has neighbors; the peak is measured between the steps of the same run. A stage's time is that of its
//! fastest occurrence. `cargo bench --bench models [-- learn | score]`

#![allow(clippy::print_stdout, reason = "a bench reports")]

use pctr::kernels::{FLOPS_PER_BURST_ITERATION, Precision, fma_burst, isa};
use pctr::model::dcn::{DcnConfig, DcnLearner, DcnScratch, EmbeddingRule, LearningPrecision, RawDcn, Stage};
use pctr::model::{Batch, Layout, Learn, Predict, Slots, Span, Threads};
use std::sync::Mutex;
use std::time::Instant;

const FIELDS: usize = 39;
const WIDTH: usize = FIELDS * 16;
const TABLE: usize = 1 << 20;
const CROSS_LAYERS: usize = 3;
const TOWER: [usize; 3] = [400, 400, 400];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    println!("instruction set {}, fastest precision {}", isa(), Precision::fastest().name());
    if wants("learn") {
        learn();
    }
    if wants("score") {
        score();
    }
}

/// Steps on one thread with their stages, on two threads beside it, and the other rules and layers.
fn learn() {
    let lazy = raw(EmbeddingRule::LazyAdam);
    for rows in [4096, 512] {
        let steps = if rows > 1000 { 12 } else { 60 };
        let one = run(&lazy, rows, 1, steps);
        println!("\nDCN step, {rows} rows, lazy Adam, one thread: {}", one.line());
        one.print_stages();
        let two = run(&lazy, rows, 2, steps);
        println!("  two threads: {}; {:.3} × one thread", two.line(), one.seconds / two.seconds);
    }
    println!("\nother settings, 4096 rows, one thread");
    let others = [
        ("dense Adam", raw(EmbeddingRule::Adam)),
        ("row-wise Adagrad", raw(EmbeddingRule::Adagrad)),
        ("dropout 0.1", RawDcn { dropout: 0.1, ..lazy.clone() }),
        ("batch normalization", RawDcn { batch_norm: true, ..lazy.clone() }),
        ("bf16", RawDcn { precision: LearningPrecision::Bf16, ..lazy }),
    ];
    for (name, raw) in others {
        println!("  {name}: {}", run(&raw, 4096, 1, 8).line());
    }
}

/// Batch scoring on one thread.
fn score() {
    let (model, mut scratch) = (learner(raw(EmbeddingRule::Adagrad)).freeze(), DcnScratch::default());
    println!("\nDCN scoring, one thread");
    for rows in [1, 100, 4096] {
        let ((slots, _), mut logits) = (draw(rows, 1), vec![0.0; rows]);
        let (mut seconds, mut peak) = (f64::INFINITY, 0.0_f64);
        for _ in 0..(8192 / rows).clamp(8, 2000) {
            peak = peak.max(measured_peak(20_000));
            let started = Instant::now();
            model.predict(Slots::new(FIELDS, &slots), &mut scratch, &mut logits);
            seconds = seconds.min(started.elapsed().as_secs_f64());
        }
        let flop = rows as f64 * flop_a_row() / 3.0;
        println!("  {rows} rows: {}", Timing { rows, threads: 1, seconds, flop, peak, stages: Vec::new() }.line());
    }
}

/// The fastest of some steps.
struct Timing {
    rows: usize,
    threads: usize,
    seconds: f64,
    /// Floating-point operations of its matrix products.
    flop: f64,
    /// Floating-point operations a second that one thread can do.
    peak: f64,
    /// Seconds of each stage, on one thread.
    stages: Vec<(Stage, f64)>,
}

impl Timing {
    fn line(&self) -> String {
        let rate = self.flop / self.seconds;
        format!(
            "{:.1} ms, {:.0} rows/s, {:.1} GFLOP/s, {:.1} % of the peak of {:.1}",
            self.seconds * 1e3,
            self.rows as f64 / self.seconds,
            rate / 1e9,
            100.0 * rate / (self.peak * self.threads as f64),
            self.peak * self.threads as f64 / 1e9,
        )
    }

    fn print_stages(&self) {
        let mut rest = self.seconds;
        for &(stage, seconds) in &self.stages {
            let share = 100.0 * seconds / self.seconds;
            let flop = self.rows as f64 * flop_of(stage);
            let speed = match flop > 0.0 {
                true => {
                    format!("{:8.1} GFLOP/s {:5.1} % of peak", flop / seconds / 1e9, 100.0 * flop / seconds / self.peak)
                }
                false => String::new(),
            };
            let name = format!("{stage:?}");
            let rows = self.rows as f64 / seconds / 1e6;
            println!("  {name:<16} {:8.2} ms {share:5.1} % {rows:10.2} M rows/s {speed}", seconds * 1e3);
            rest -= if stage.is_product() { seconds } else { 0.0 };
        }
        println!("  not matrix products: {:.1} ms, {:.1} %", rest * 1e3, 100.0 * rest / self.seconds);
    }
}

/// Floating-point operations a row of the products in a stage.
fn flop_of(stage: Stage) -> f64 {
    let cross = (CROSS_LAYERS * WIDTH * WIDTH) as f64;
    let inputs = std::iter::once(&WIDTH).chain(&TOWER);
    let tower = inputs.zip(&TOWER).map(|(inputs, outputs)| (inputs * outputs) as f64).sum::<f64>();
    2.0 * match stage {
        Stage::CrossForward | Stage::CrossInputs => cross,
        Stage::TowerForward | Stage::TowerInputs => tower,
        Stage::WeightGradients => cross + tower,
        _ => 0.0,
    }
}

fn flop_a_row() -> f64 {
    Stage::ALL.into_iter().map(flop_of).sum()
}

/// Steps of a learner, timed one by one, with the peak measured before each.
fn run(raw: &RawDcn, rows: usize, threads: usize, steps: usize) -> Timing {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads for a bench");
    let lent = Threads::of(&pool);
    let mut learner = learner(raw.clone());
    // Several batches, so that rows of the table miss steps and caches do not hold what a real run would not find there.
    let batches: Vec<_> = (0..8).map(|seed| draw(rows, seed)).collect();
    let mut fastest = [f64::INFINITY; Stage::ALL.len()];
    let (mut seconds, mut peak) = (f64::INFINITY, 0.0_f64);
    for (slots, labels) in batches.iter().cycle().take(steps) {
        peak = peak.max(measured_peak(500_000));
        let clock = Mutex::new(StageClock::default());
        let watch = |stage: Stage| {
            if threads == 1 {
                clock.lock().expect("one thread").begin(Some(stage));
            }
        };
        let batch = Batch { slots: Slots::new(FIELDS, slots), labels, weights: None };
        let started = Instant::now();
        learner.learn_watched(&batch, 1.0, lent, &watch);
        seconds = seconds.min(started.elapsed().as_secs_f64());
        let mut clock = clock.into_inner().expect("one thread");
        clock.begin(None);
        fastest.iter_mut().zip(clock.seconds).for_each(|(fastest, seconds)| *fastest = fastest.min(seconds));
    }
    let stages = Stage::ALL.into_iter().zip(fastest).filter(|(_, seconds)| *seconds > 0.0).collect();
    Timing { rows, threads, seconds, flop: rows as f64 * flop_a_row(), peak, stages }
}

/// Adds up the time between calls, stage by stage.
#[derive(Default)]
struct StageClock {
    running: Option<(Stage, Instant)>,
    seconds: [f64; Stage::ALL.len()],
}

impl StageClock {
    fn begin(&mut self, stage: Option<Stage>) {
        let now = Instant::now();
        if let Some((stage, since)) = self.running {
            self.seconds[stage as usize] += now.duration_since(since).as_secs_f64();
        }
        self.running = stage.map(|stage| (stage, now));
    }
}

/// Floating-point operations a second in registers.
fn measured_peak(iterations: u64) -> f64 {
    let started = Instant::now();
    std::hint::black_box(fma_burst(iterations));
    (iterations * FLOPS_PER_BURST_ITERATION) as f64 / started.elapsed().as_secs_f64()
}

fn raw(embedding_optimizer: EmbeddingRule) -> RawDcn {
    RawDcn {
        embedding_dim: 16,
        cross_layers: CROSS_LAYERS,
        deep: TOWER.to_vec(),
        embedding_optimizer,
        precision: LearningPrecision::F32,
        ..RawDcn::default()
    }
}

fn learner(raw: RawDcn) -> DcnLearner {
    let spans = (0..FIELDS).map(|field| Span { name: format!("field {field}"), start: field, len: 1 });
    let layout = Layout { spans: spans.collect(), table_rows: TABLE };
    DcnLearner::new(DcnConfig::try_from(raw).expect("in bounds"), layout, 1).expect("39 fields")
}

/// Slots with heavy-tailed frequencies, as ids have: half of the places fall on a few hundred slots.
fn draw(rows: usize, seed: u64) -> (Vec<u32>, Vec<f32>) {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    let slots = (0..rows * FIELDS).map(|_| ((TABLE as f64).powf(unit()) as u32).min(TABLE as u32 - 1)).collect();
    let labels = (0..rows).map(|_| f32::from(u8::from(unit() < 0.25))).collect();
    (slots, labels)
}
