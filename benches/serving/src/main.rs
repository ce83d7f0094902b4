//! Load on a running `pctr serve`: starts the release binary on one processor, drives it over loopback from another for a bounded
//! time, prints ratios and keeps a record. See `benches/serving/README.md`.

mod constant;
mod driver;
mod models;
mod promotions;
mod record;
mod requests;
mod scenarios;
mod service;
mod witness;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use models::Models;
use scenarios::{Fwumious, Stage};
use service::{Part, pin};

#[derive(Parser)]
#[command(about, version, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    /// Seconds of one measurement
    #[arg(long, global = true, default_value_t = 10.0)]
    seconds: f64,
    /// Where generated rows and models are kept
    #[arg(long, global = true, default_value = "target/serving")]
    work: PathBuf,
    /// Folder of the record, as benches/record/MACHINE; without it figures are only printed
    #[arg(long, global = true)]
    record: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Scenario {
    /// Latencies for 1, 10, 100 and 300 candidates, linear model and network
    Steady,
    /// 100 candidates in process beside HTTP on one connection
    InProcess,
    /// Requests a second beside the same stack that answers a constant
    Throughput,
    /// Ten times the load for short times
    Burst,
    /// Twice what the service can do (a record takes --seconds 60)
    Overload,
    /// 500 slow clients beside a steady load
    Slow,
    /// Latencies while models take over beside latencies while none does
    Swaps,
    /// Every answer checked while models take over
    Exact {
        /// Requests
        #[arg(long, default_value_t = 1_000_000)]
        requests: u64,
    },
    /// Beside the daemon of Fwumious Wabbit
    Fwumious(Fwumious),
    /// All of them but the peer, short: does the harness still work?
    Smoke,
    /// The constant answer, for other scenarios
    #[command(hide = true)]
    Constant { address: SocketAddr },
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Scenario::Constant { address } = arguments.scenario {
        return Ok(constant::serve(address)?);
    }
    let mut stage = Stage::new(Models::in_folder(&arguments.work)?, Duration::from_secs_f64(arguments.seconds))?;
    pin(Part::Load);
    match &arguments.scenario {
        Scenario::Steady => stage.steady()?,
        Scenario::InProcess => stage.in_process()?,
        Scenario::Throughput => stage.throughput()?,
        Scenario::Burst => stage.burst()?,
        Scenario::Overload => stage.overload()?,
        Scenario::Slow => stage.slow()?,
        Scenario::Swaps => stage.swaps()?,
        Scenario::Exact { requests } => stage.exact(*requests)?,
        Scenario::Fwumious(daemon) => stage.fwumious(daemon)?,
        Scenario::Smoke => {
            stage.steady()?;
            stage.in_process()?;
            stage.throughput()?;
            stage.burst()?;
            stage.overload()?;
            stage.slow()?;
            stage.swaps()?;
            stage.exact(20_000)?;
        }
        Scenario::Constant { .. } => {}
    }
    match &arguments.record {
        Some(folder) => stage.record.write(folder),
        None => Ok(()),
    }
}
