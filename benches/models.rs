//! How fast models learn and score, in rows a second on one thread.
//!
//! DCN v2 has the size of the peers' table in the design notes: 39 fields × 16, three full 624 × 624 cross layers, a tower of
//! 400-400-400, 2²⁰ slots. Beside each step stand its matrix products alone, so that the difference is what everything
//! else costs. `cargo bench --bench models`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pctr::kernels::{Finish, GemmScratch, Matrix, MatrixMut, Precision, gemm};
use pctr::model::dcn::{DcnConfig, DcnLearner, DcnScratch, EmbeddingRule, RawDcn};
use pctr::model::{Batch, Layout, Learn, Predict, Slots, Span, Threads};
use std::time::Duration;

criterion_group! {
    name = models;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    targets = dcn_learns, dcn_scores
}
criterion_main!(models);

const FIELDS: usize = 39;
const TABLE: usize = 1 << 20;
const CROSS_LAYERS: usize = 3;
const TOWER: [usize; 3] = [400, 400, 400];

fn dcn_learns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dcn learns");
    for rows in [512, 4096] {
        group.throughput(Throughput::Elements(rows as u64));
        for rule in [EmbeddingRule::LazyAdam, EmbeddingRule::Adam, EmbeddingRule::Adagrad] {
            let mut learner = learner(rule);
            // Several batches, so that rows of the table miss steps and caches do not hold what a real run would not find there.
            let batches: Vec<_> = (0..8).map(|seed| draw(rows, seed)).collect();
            let mut batches = batches.iter().cycle();
            group.bench_function(BenchmarkId::new(format!("{rule:?}"), rows), |bencher| {
                bencher.iter(|| {
                    let (slots, labels) = batches.next().expect("a cycle does not end");
                    let batch = Batch { slots: Slots::new(FIELDS, slots), labels, weights: None };
                    learner.learn(&batch, 1.0, Threads::one())
                });
            });
        }
        group.bench_function(BenchmarkId::new("products alone", rows), |bencher| {
            let mut products = Products::new(rows);
            bencher.iter(|| products.step());
        });
    }
    group.finish();
}

fn dcn_scores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dcn scores");
    let (model, mut scratch) = (learner(EmbeddingRule::Adagrad).freeze(), DcnScratch::default());
    for rows in [1, 100, 4096] {
        group.throughput(Throughput::Elements(rows as u64));
        let ((slots, _), mut logits) = (draw(rows, 1), vec![0.0; rows]);
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter(|| model.predict(Slots::new(FIELDS, &slots), &mut scratch, &mut logits));
        });
    }
    group.finish();
}

/// The products of one step: each layer forward, to its inputs and to its weights.
struct Products {
    rows: usize,
    x: Vec<f32>,
    y: Vec<f32>,
    weight: Vec<f32>,
    scratch: GemmScratch,
}

impl Products {
    fn new(rows: usize) -> Self {
        let width = FIELDS * 16;
        let numbers = |length| (0..length).map(|i| (i % 7) as f32 - 3.0).collect();
        let (x, y, weight) = (numbers(rows * width), numbers(rows * width), numbers(width * width));
        Products { rows, x, y, weight, scratch: GemmScratch::new() }
    }

    fn step(&mut self) {
        let width = FIELDS * 16;
        let cross = std::iter::repeat_n((width, width), CROSS_LAYERS);
        let tower = TOWER.iter().scan(width, |inputs, &outputs| Some((std::mem::replace(inputs, outputs), outputs)));
        for (inputs, outputs) in cross.chain(tower) {
            let rows = self.rows;
            let weight = &mut self.weight[..inputs * outputs];
            let (x, y) = (&mut self.x[..rows * inputs], &mut self.y[..rows * outputs]);
            let scratch = &mut self.scratch;
            let inputs_view = Matrix::new(x, rows, inputs);
            gemm(
                MatrixMut::new(y, rows, outputs),
                inputs_view,
                Matrix::new(weight, inputs, outputs),
                false,
                Precision::F32,
                Finish::None,
                scratch,
            );
            let outputs_view = Matrix::new(y, rows, outputs);
            gemm(
                MatrixMut::new(weight, inputs, outputs),
                inputs_view.t(),
                outputs_view,
                false,
                Precision::F32,
                Finish::None,
                scratch,
            );
            gemm(
                MatrixMut::new(x, rows, inputs),
                outputs_view,
                Matrix::new(weight, inputs, outputs).t(),
                false,
                Precision::F32,
                Finish::None,
                scratch,
            );
            // Values must not grow from step to step.
            weight.fill(0.01);
            x.fill(0.1);
        }
    }
}

fn learner(rule: EmbeddingRule) -> DcnLearner {
    let raw = RawDcn {
        embedding_dim: 16,
        cross_layers: CROSS_LAYERS,
        deep: TOWER.to_vec(),
        embedding_optimizer: rule,
        ..RawDcn::default()
    };
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
