//! How fast each kernel is: products as a share of the machine's peak, element-wise kernels in and out of cache beside a copy.
//!
//! The peak is measured first, in the same run (`fma_burst`), because clock rates drift. After each product a line on
//! standard error gives its best share. `PCTR_ISA=avx2 cargo bench --bench kernels` measures another instruction set.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pctr::kernels::{
    AdamStep, EMPTY_SLOT, FLOPS_PER_BURST_ITERATION, Finish, FtrlRates, FtrlScratch, FtrlTask, GemmScratch, Matrix,
    MatrixMut, PackedMatrix, Precision, adagrad_rowwise, adam, add_bias_relu, axpy, batch_norm_moments, column_sums,
    cross_forward, dot, dropout, fma_burst, ftrl_learn, gather_rows, gemm, gemm_packed, isa, linear_logits,
    log_loss_with_logits,
};

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = products, few_rows, elements, tables
}
criterion_main!(kernels);

/// Rows, K and columns of the layers of a deep model with 39 embeddings of 16: 624 inputs, 400 hidden units.
const LAYERS: [(usize, usize, usize); 4] = [(4096, 624, 624), (4096, 624, 400), (64, 624, 624), (1000, 333, 77)];

/// Training: forward (X·W), gradient of the input (dY·Wᵀ), gradient of the weights (Xᵀ·dY). The peak is that of `f32`: a
/// processor with bf16 instructions exceeds it.
fn products(criterion: &mut Criterion) {
    let peak = peak();
    let mut group = criterion.benchmark_group(format!("gemm/{}", isa()));
    for (rows, inputs, outputs) in LAYERS {
        let (x, w, dy) = (numbers(rows * inputs), numbers(inputs * outputs), numbers(rows * outputs));
        let (x, w) = (Matrix::new(&x, rows, inputs), Matrix::new(&w, inputs, outputs));
        let dy = Matrix::new(&dy, rows, outputs);
        for (name, a, b) in [("forward", x, w), ("input gradient", dy, w.t()), ("weight gradient", x.t(), dy)] {
            let (rows, inner, columns) = (a.rows(), a.columns(), b.columns());
            let (mut c, mut scratch) = (vec![0.0; rows * columns], GemmScratch::new());
            for precision in [Precision::F32, Precision::Bf16] {
                let id = format!("{} {name} {rows}×{inner}×{columns}", precision.name());
                share_of_peak(&mut group, &id, 2 * rows * inner * columns, peak, || {
                    let c = MatrixMut::new(&mut c, rows, columns);
                    gemm(c, a, b, false, precision, Finish::None, &mut scratch);
                });
            }
        }
    }
    group.finish();
}

/// Serving: a few candidates through packed weights.
fn few_rows(criterion: &mut Criterion) {
    let peak = peak();
    let mut group = criterion.benchmark_group(format!("gemm_packed/{}", isa()));
    for width in [312, 624] {
        let weights = numbers(width * width);
        let packed = PackedMatrix::pack(Matrix::new(&weights, width, width), Precision::F32);
        for rows in [1, 2, 4, 8, 16, 33, 100] {
            let (x, mut c, mut scratch) = (numbers(rows * width), vec![0.0; rows * width], GemmScratch::new());
            let x = Matrix::new(&x, rows, width);
            share_of_peak(&mut group, &format!("{rows}×{width}×{width}"), 2 * rows * width * width, peak, || {
                gemm_packed(MatrixMut::new(&mut c, rows, width), x, &packed, false, Finish::None, &mut scratch);
            });
        }
    }
    group.finish();
}

/// Kernels that read and write each value once: 8 Ki values stay in the first cache, 16 Mi in none.
fn elements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("elements/{}", isa()));
    const WIDTH: usize = 128;
    for length in [8 << 10, 16 << 20] {
        let [x, v, g] = [numbers(length), numbers(length), numbers(length)];
        let [mut y, mut m, mut second] = [numbers(length), numbers(length), vec![0.5; length]];
        let bias = numbers(WIDTH);
        let labels: Vec<f32> = v.iter().map(|&v| f32::from(u8::from(v > 0.0))).collect();
        let step = AdamStep::new(1e-9, 0.9, 0.999, 1e-8, 10);
        group.throughput(Throughput::Elements(length as u64));
        let mut bench = |name: &str, work: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::new(name, length), |bencher| bencher.iter(&mut *work));
        };
        // What memory allows: no kernel that reads one array and writes another can be faster.
        bench("copy", &mut || {
            y.copy_from_slice(&x);
            black_box(&mut y);
        });
        bench("dot", &mut || {
            black_box(dot(&x, &v));
        });
        bench("axpy", &mut || axpy(1e-9, &x, &mut y));
        bench("add_bias_relu", &mut || add_bias_relu(MatrixMut::new(&mut y, length / WIDTH, WIDTH), &bias));
        bench("cross_forward", &mut || cross_forward(&mut y, &x, &v, &bias, &g));
        bench("column_sums", &mut || column_sums(Matrix::new(&x, length / WIDTH, WIDTH), &mut y[..WIDTH], false));
        let (mut mean, mut squares) = ([0.0; WIDTH], [0.0; WIDTH]);
        bench("batch_norm_moments", &mut || batch_norm_moments(&x, &mut mean, &mut squares));
        bench("dropout", &mut || dropout(&mut y, 0.999, 7, 11));
        bench("adam", &mut || adam(&mut y, &mut m, &mut second, &g, &step));
        bench("adagrad_rowwise of 16", &mut || {
            let mut accumulator = 1.0;
            for (y, g) in y.chunks_exact_mut(16).zip(g.chunks_exact(16)) {
                adagrad_rowwise(y, g, &mut accumulator, 1e-9, 1e-8);
            }
        });
        bench("log_loss_with_logits", &mut || {
            black_box(log_loss_with_logits(&x, &labels, &[], &mut m));
        });
    }
    group.finish();
}

/// Impressions of 39 slots against a table in cache (2¹² slots) and one far outside (2²⁴).
fn tables(criterion: &mut Criterion) {
    const FIELDS: usize = 39;
    const IMPRESSIONS: usize = 1000;
    let mut group = criterion.benchmark_group(format!("tables/{}", isa()));
    group.throughput(Throughput::Elements(IMPRESSIONS as u64));
    for bits in [12, 24] {
        let table = 1usize << bits;
        let slots: Vec<u32> = numbers(FIELDS * IMPRESSIONS)
            .iter()
            .enumerate()
            .map(
                |(at, x)| {
                    if at % 50 == 0 { EMPTY_SLOT } else { (x.to_bits().wrapping_mul(0x9e37_79b1)) >> (32 - bits) }
                },
            )
            .collect();
        let mut pairs = vec![[0.3f32, 2.0]; table];
        pairs.push([0.0; 2]);
        let weights = vec![0.1f32; table];
        let rates = FtrlRates { alpha: 0.05, beta: 1.0, l1: 0.1, l2: 0.1 };
        let labels: Vec<f32> = numbers(IMPRESSIONS).iter().map(|x| f32::from(u8::from(*x > 0.5))).collect();
        let (mut bias, mut scratch, mut logits) = ([0.0; 2], FtrlScratch::default(), vec![0.0; IMPRESSIONS]);
        group.bench_function(BenchmarkId::new("ftrl_learn", format!("2^{bits}")), |bencher| {
            bencher.iter(|| {
                let (pairs, bias) = (&mut pairs[..], &mut bias);
                let task = FtrlTask { pairs, bias, slots: &slots, labels: &labels, weights: &[], rates };
                ftrl_learn(task, &mut scratch, &mut logits);
            });
        });
        group.bench_function(BenchmarkId::new("linear_logits", format!("2^{bits}")), |bencher| {
            bencher.iter(|| linear_logits(&weights, 0.1, &slots, &mut logits));
        });
        let mut rows = vec![0.0; FIELDS * 16];
        group.bench_function(BenchmarkId::new("gather_rows of 16", format!("2^{bits}")), |bencher| {
            bencher.iter(|| {
                for slots in slots.chunks_exact(FIELDS) {
                    // The table is as large as above; its rows are 16 times fewer.
                    let folded: [u32; FIELDS] = std::array::from_fn(|at| slots[at] >> 4);
                    let folded = folded.map(|slot| slot & ((table >> 4) as u32 - 1));
                    gather_rows(&weights, 16, &folded, &mut rows);
                }
            });
        });
    }
    group.finish();
}

/// Measures `work`, and says its best share of the peak.
fn share_of_peak(group: &mut BenchmarkGroup<'_, WallTime>, id: &str, flops: usize, peak: f64, mut work: impl FnMut()) {
    let mut best = f64::INFINITY;
    group.throughput(Throughput::Elements(flops as u64));
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            (0..iterations).for_each(|_| work());
            let elapsed = start.elapsed();
            best = best.min(elapsed.as_secs_f64() / iterations as f64);
            elapsed
        });
    });
    if best.is_finite() {
        let rate = flops as f64 / best;
        eprintln!("{id}: {:.1} GFLOP/s, {:.1} % of the peak", rate / 1e9, 100.0 * rate / peak);
    }
}

/// Operations a second of one core, the best of many short bursts.
fn peak() -> f64 {
    const ITERATIONS: u64 = 200_000;
    let burst = |_| {
        let start = Instant::now();
        black_box(fma_burst(black_box(ITERATIONS)));
        (ITERATIONS * FLOPS_PER_BURST_ITERATION) as f64 / start.elapsed().as_secs_f64()
    };
    let peak = (0..100).map(burst).fold(0.0, f64::max);
    eprintln!("peak of one core with {}: {:.1} GFLOP/s", isa(), peak / 1e9);
    peak
}

/// Numbers from −1 to 1.
fn numbers(length: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..length).map(next).collect()
}
