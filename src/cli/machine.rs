//! `pctr machine`: which kernels this machine gets, and how fast they are.

use std::hint::black_box;
use std::time::Instant;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{Context, print};
use crate::error::{Error, Result};
use crate::kernels::{self, Isa};

/// Say what this machine offers and how fast it is.
#[derive(Debug, clap::Args)]
pub(crate) struct MachineArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the machine offers.
#[derive(Debug, Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    isa: &'static str,
    best_isa: &'static str,
    fma_peak_gflops: f64,
    gemm_gflops: f64,
    gemm_share_of_peak: f64,
}

impl MachineArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let machine = measure();
        if machine.isa != machine.best_isa {
            context
                .note(format_args!("{} is used although {} is there: unset PCTR_ISA", machine.isa, machine.best_isa));
        }
        if self.json {
            let json = serde_json::to_string_pretty(&machine).map_err(|error| Error::Bug(error.to_string()))?;
            return print(&format!("{json}\n"));
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.add_row(["processor".to_owned(), format!("{}, {} cores", machine.cpu, machine.cores)]);
        table.add_row(["instruction set".to_owned(), machine.isa.to_owned()]);
        table.add_row(["peak, f32, one core".to_owned(), format!("{:.0} GFLOP/s", machine.fma_peak_gflops)]);
        let share = 100.0 * machine.gemm_share_of_peak;
        let product = format!("{:.0} GFLOP/s ({share:.0} % of peak)", machine.gemm_gflops);
        table.add_row(["product 512×624 · 624×624".to_owned(), product]);
        print(&format!("{table}\n"))
    }
}

fn measure() -> Machine {
    let isa = kernels::isa();
    let fma_peak_gflops = gflops(kernels::FLOPS_PER_BURST_ITERATION as f64, |iterations| {
        black_box(kernels::fma_burst(black_box(iterations)));
    });
    let (m, n, k) = (512, 624, 624);
    let a: Vec<f32> = (0..m * k).map(|i| (i % 17) as f32 * 0.1).collect();
    let b: Vec<f32> = (0..k * n).map(|i| (i % 13) as f32 * 0.1).collect();
    let mut c = vec![0.0; m * n];
    let mut scratch = kernels::GemmScratch::default();
    let gemm_gflops = gflops((2 * m * n * k) as f64, |iterations| {
        for _ in 0..iterations {
            let c = kernels::MatrixMut::new(&mut c, m, n);
            kernels::gemm(
                c,
                kernels::Matrix::new(&a, m, k),
                kernels::Matrix::new(&b, k, n),
                false,
                kernels::Precision::F32,
                kernels::Finish::None,
                &mut scratch,
            );
        }
    });
    Machine {
        cpu: cpu_name(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        isa: isa.name(),
        best_isa: Isa::best().name(),
        fma_peak_gflops,
        gemm_gflops,
        gemm_share_of_peak: gemm_gflops / fma_peak_gflops,
    }
}

/// Best of several bursts of about 50 ms each.
fn gflops(flops_per_iteration: f64, mut burst: impl FnMut(u64)) -> f64 {
    let mut iterations = 1;
    loop {
        let start = Instant::now();
        burst(iterations);
        if start.elapsed().as_millis() >= 50 || iterations > 1 << 40 {
            break;
        }
        iterations *= 2;
    }
    let timed = (0..5).map(|_| {
        let start = Instant::now();
        burst(iterations);
        flops_per_iteration * iterations as f64 / start.elapsed().as_secs_f64() / 1e9
    });
    timed.fold(0.0, f64::max)
}

fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
