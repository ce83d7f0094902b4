//! Clocks around kernels → rates: the peak, products as a share of it, and what memory allows.
//!
//! Each rate is the best of many short bursts, because anything else that runs can only make one slower. With several
//! threads each has data of its own, and all start together.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::Rate;
use crate::kernels::{self, Finish, GemmScratch, Matrix, MatrixMut, Precision};

/// Rows, inner size and columns of the product: a piece of a batch through a layer of 39 embeddings of 16.
const PRODUCT: (usize, usize, usize) = (512, 624, 624);
/// Bytes of text, and of a copy: more than any cache holds.
const TEXT_BYTES: usize = 64 << 20;
/// Slots of the table, 8 bytes each: 32 MiB, as the linear model's z and n at 2²² slots.
const TABLE_SLOTS: usize = 1 << 22;

/// How products of each precision are computed here.
pub(super) fn paths() -> IndexMap<&'static str, &'static str> {
    let bf16 = match kernels::isa().multiplies_bf16() {
        true => "avx512_bf16",
        false => "no instruction for it: rounded factors at the speed of f32",
    };
    IndexMap::from([("f32", kernels::isa().name()), ("bf16", bf16)])
}

/// Rates by name:
///
/// * `f32_peak`: fused multiply-adds in registers; `f32_product`, `bf16_product`: a product of a training step;
/// * `copy`: memory to memory, each byte counted once; `byte_loop`: text cut into cells by a plain loop;
/// * `table_updates`: reads and writes at random places of a table.
pub(super) fn measure(cores: usize) -> IndexMap<&'static str, Rate> {
    let peak = rate("GFLOP/s", cores, kernels::FLOPS_PER_BURST_ITERATION as f64 * 4096.0 / 1e9, || {
        || {
            black_box(kernels::fma_burst(black_box(4096)));
        }
    });
    let share = |product: Rate| Rate { share_of_peak: Some(product.one_thread / peak.one_thread), ..product };
    IndexMap::from([
        ("f32_peak", peak),
        ("f32_product", share(product(cores, Precision::F32))),
        ("bf16_product", share(product(cores, Precision::Bf16))),
        ("copy", copy(cores)),
        ("byte_loop", byte_loop(cores)),
        ("table_updates", table_updates(cores)),
    ])
}

fn product(cores: usize, precision: Precision) -> Rate {
    let (m, k, n) = PRODUCT;
    rate("GFLOP/s", cores, (2 * m * k * n) as f64 / 1e9, || {
        let numbers = |length, cycle| (0..length).map(|i| (i % cycle) as f32 * 0.1).collect::<Vec<f32>>();
        let (a, b) = (numbers(m * k, 17), numbers(k * n, 13));
        let (mut c, mut scratch) = (vec![0.0; m * n], GemmScratch::new());
        move || {
            let (a, b) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            kernels::gemm(MatrixMut::new(&mut c, m, n), a, b, false, precision, Finish::None, &mut scratch);
        }
    })
}

fn copy(cores: usize) -> Rate {
    rate("GB/s", cores, TEXT_BYTES as f64 / 1e9, || {
        let (from, mut to) = (vec![1_u8; TEXT_BYTES], vec![0_u8; TEXT_BYTES]);
        move || {
            to.copy_from_slice(&from);
            black_box(&mut to);
        }
    })
}

/// What a loop over every byte of a log can do: find where cells end, and nothing else.
fn byte_loop(cores: usize) -> Rate {
    rate("GB/s", cores, TEXT_BYTES as f64 / 1e9, || {
        let row = b"1\t1\t-2\t\t26\t4\t12\t\t8\t1\t\t68fd1e64\t80e26c9b\tfb936136\t7b4723c4\t25c83c98\t7e0ccccf\n";
        let text: Vec<u8> = row.iter().copied().cycle().take(TEXT_BYTES).collect();
        move || {
            let (mut start, mut longest) = (0, 0);
            for (at, byte) in text.iter().enumerate() {
                if *byte == b'\t' || *byte == b'\n' {
                    longest = longest.max(at - start);
                    start = at + 1;
                }
            }
            black_box(longest);
        }
    })
}

fn table_updates(cores: usize) -> Rate {
    const UPDATES: usize = 1 << 16;
    rate("million/s", cores, UPDATES as f64 / 1e6, || {
        let mut table = vec![[0.0_f32; 2]; TABLE_SLOTS];
        let mut state = 1_u32;
        move || {
            for _ in 0..UPDATES {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let slot = &mut table[state as usize >> (32 - TABLE_SLOTS.ilog2())];
                *slot = [slot[0] + 1.0, slot[1] + 1.0];
            }
            black_box(&mut table);
        }
    })
}

/// On one thread and on all cores: work of one call over the time of one call, `start` making a caller for each thread.
fn rate<W: FnMut()>(unit: &'static str, cores: usize, work: f64, start: impl Fn() -> W + Sync) -> Rate {
    let on = |threads: usize| work * threads as f64 / seconds_of_call(threads, &start);
    Rate { unit, one_thread: on(1), all_threads: (cores > 1).then(|| on(cores)), share_of_peak: None }
}

/// Seconds of one call while `threads` threads call; the best of several bursts.
fn seconds_of_call<W: FnMut()>(threads: usize, start: &(impl Fn() -> W + Sync)) -> f64 {
    const BURST: Duration = Duration::from_millis(4);
    const BURSTS: usize = 30;
    let calls = {
        let mut call = start();
        // The first call meets cold caches and pages that are not there yet.
        call();
        let mut calls = 1_u32;
        loop {
            let started = Instant::now();
            (0..calls).for_each(|_| call());
            if started.elapsed() >= BURST {
                break calls;
            }
            calls *= 2;
        }
    };
    let barrier = Barrier::new(threads);
    let bursts = || {
        let mut call = start();
        call();
        let burst = |_| {
            barrier.wait();
            let started = Instant::now();
            (0..calls).for_each(|_| call());
            barrier.wait();
            started.elapsed().as_secs_f64() / f64::from(calls)
        };
        (0..BURSTS).map(burst).fold(f64::INFINITY, f64::min)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(bursts)).collect();
        let mine = bursts();
        others.into_iter().map(|other| other.join().expect("a kernel does not panic")).fold(mine, f64::max)
    })
}
