//! `pctr machine`: which kernels this machine gets, how fast they are, and what keeps it from being faster.

mod gauges;
mod warnings;

use comfy_table::{CellAlignment, Table, presets};
use indexmap::IndexMap;
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

/// What the machine offers. Rates by name, see [`gauges`].
#[derive(Debug, Serialize)]
struct Machine {
    cpu: String,
    /// Cores that this process may use.
    cores: usize,
    /// Cores that the system has, if it says.
    cores_of_system: Option<usize>,
    isa: &'static str,
    best_isa: &'static str,
    /// How products of each precision are computed.
    paths: IndexMap<&'static str, &'static str>,
    rates: IndexMap<&'static str, Rate>,
    warnings: Vec<String>,
}

/// How fast something is.
#[derive(Debug, Clone, Copy, Serialize)]
struct Rate {
    unit: &'static str,
    one_thread: f64,
    /// All cores at once, each on data of its own; `None` where there is one core.
    all_threads: Option<f64>,
    /// Share of the peak of the same precision, one thread; for products.
    share_of_peak: Option<f64>,
}

impl MachineArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let machine = look();
        for warning in &machine.warnings {
            context.note(format_args!("warning: {warning}"));
        }
        if self.json {
            let json = serde_json::to_string_pretty(&machine).map_err(|error| Error::Bug(error.to_string()))?;
            return print(&format!("{json}\n"));
        }
        print(&format!("{}\n{}\n", kernels_table(&machine), rates_table(&machine)))
    }
}

fn look() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rates = gauges::measure(cores);
    Machine {
        cpu: cpu_name(),
        cores,
        cores_of_system: warnings::cores_of_system(),
        isa: kernels::isa().name(),
        best_isa: Isa::best().name(),
        paths: gauges::paths(),
        warnings: warnings::of(cores, &rates),
        rates,
    }
}

fn kernels_table(machine: &Machine) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.add_row(["processor".to_owned(), format!("{}, {} cores", machine.cpu, machine.cores)]);
    table.add_row(["instruction set", machine.isa]);
    for (precision, path) in &machine.paths {
        table.add_row([format!("{precision} products"), (*path).to_owned()]);
    }
    table
}

fn rates_table(machine: &Machine) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "speed".to_owned(),
        "one thread".to_owned(),
        format!("{} threads", machine.cores),
        "unit".to_owned(),
        "of peak".to_owned(),
    ]);
    for column in [1, 2, 4] {
        table.column_mut(column).expect("five columns").set_cell_alignment(CellAlignment::Right);
    }
    for (name, rate) in &machine.rates {
        let digits = if rate.one_thread < 100.0 { 2 } else { 0 };
        table.add_row([
            name.replace('_', " "),
            format!("{:.digits$}", rate.one_thread),
            rate.all_threads.map_or("–".into(), |rate| format!("{rate:.digits$}")),
            rate.unit.to_owned(),
            rate.share_of_peak.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share)),
        ]);
    }
    table
}

fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
