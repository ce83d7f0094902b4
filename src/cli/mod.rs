//! The command line: one file a verb. Results go to standard output, progress and logs to standard error.

mod analyze;
mod auction;
mod compare;
mod evaluate;
mod experiment;
mod generate;
mod inspect;
mod machine;
mod models;
mod prepare;
mod progress;
mod quickstart;
mod replay;
mod rows;
mod runs;
mod score;
mod serve;
mod train;

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use self::progress::AboveBars;
use crate::error::{Error, Result};
use crate::kernels::Isa;
use crate::learn::Interrupt;
use crate::model::schema::Schema;
use crate::predict::http::LogFormat;

/// Ad click-through-rate prediction: click logs in, calibrated click probabilities behind a bid endpoint out.
#[derive(Debug, Parser)]
#[command(name = "pctr", version, max_term_width = 120, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// No progress and no notes on standard error; errors are still told.
    #[arg(long, short, global = true)]
    quiet: bool,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 2 usage or config, 3 data, 4 input/output, 5 bundle refused, 70 our bug, 130 interrupted.
Start with: pctr quickstart";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write an ad log with known true click probabilities.
    Generate(generate::GenerateArgs),
    /// Look at a log field by field, and what the encoder would do with it.
    Inspect(inspect::InspectArgs),
    /// Encode logs once, for many trainings.
    Prepare(prepare::PrepareArgs),
    /// Train a model and write it as a bundle.
    Train(train::TrainArgs),
    /// Write one calibrated probability for each row of a log.
    Score(score::ScoreArgs),
    /// Judge a bundle on labeled rows.
    Evaluate(evaluate::EvaluateArgs),
    /// Run the models of a recipe, compare them and write a report.
    Experiment(experiment::ExperimentArgs),
    /// Compare finished runs on the same rows and write a report.
    Compare(compare::CompareArgs),
    /// Look into finished models: which fields matter, what collisions cost, where models disagree.
    Analyze(analyze::AnalyzeArgs),
    /// Replay a log with prices: what each model's bids would have won, spent and earned.
    Auction(auction::AuctionArgs),
    /// List, show, publish, promote and roll back models of a registry.
    Models(models::ModelsArgs),
    /// Answer click probabilities over HTTP.
    Serve(serve::ServeArgs),
    /// Score the requests of a service's log again and compare every bit of the answers.
    Replay(replay::ReplayArgs),
    /// The whole arc on a generated log: from clicks to a running scoring API.
    Quickstart(quickstart::QuickstartArgs),
    /// Say what this machine offers and how fast it is.
    Machine(machine::MachineArgs),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// What every verb may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    /// Set by Ctrl-C.
    pub(crate) interrupt: Interrupt,
    /// Whether to keep standard error silent.
    pub(crate) quiet: bool,
}

impl Context {
    /// Tells people something on standard error, unless they asked for quiet.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            let _ = AboveBars.write_all(format!("{text}\n").as_bytes());
        }
    }
}

/// Carries out one command.
///
/// # Errors
/// Whatever went wrong; its kind is the exit code.
pub fn run(cli: Cli) -> Result<()> {
    let context = Context { quiet: cli.quiet, ..Context::default() };
    // What the service logs, and how, is a setting of its own.
    let served = match &cli.verb {
        Verb::Serve(args) => Some(args.settle()?),
        _ => None,
    };
    let format = served.as_ref().map_or(LogFormat::Text, |settled| settled.settings.logs.format);
    start_logs(cli.quiet, format);
    Isa::from_environment().map_err(|error| Error::config("PCTR_ISA", "instruction set", error.to_string()))?;
    // The service listens for signals itself, to finish the requests it has.
    if !matches!(cli.verb, Verb::Serve(_)) {
        listen_for_interrupts(&context.interrupt)?;
    }
    match cli.verb {
        Verb::Generate(args) => args.run(&context),
        Verb::Inspect(args) => args.run(&context),
        Verb::Prepare(args) => args.run(&context),
        Verb::Train(args) => args.run(&context),
        Verb::Score(args) => args.run(&context),
        Verb::Evaluate(args) => args.run(&context),
        Verb::Experiment(args) => args.run(&context),
        Verb::Compare(args) => args.run(&context),
        Verb::Analyze(args) => args.run(&context),
        Verb::Auction(args) => args.run(&context),
        Verb::Models(args) => models::run(&args),
        Verb::Serve(args) => serve::run(&args, &served.expect("it was settled above")),
        Verb::Replay(args) => args.run(&context),
        Verb::Quickstart(args) => args.run(&context),
        Verb::Machine(args) => args.run(&context),
        Verb::Completions { shell } => {
            // Made in memory: a reader that has gone away is no reason to panic.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pctr", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// The first Ctrl-C asks for a clean end, the second one ends at once.
fn listen_for_interrupts(interrupt: &Interrupt) -> Result<()> {
    let interrupt = interrupt.clone();
    ctrlc::set_handler(move || match interrupt.check() {
        Ok(()) => interrupt.set(),
        Err(_) => std::process::exit(i32::from(crate::error::Kind::Interrupted.exit_code())),
    })
    .map_err(|error| Error::Bug(format!("cannot listen for Ctrl-C: {error}")))
}

/// Tells an error on standard error.
pub fn report(error: &Error) {
    let _ = writeln!(std::io::stderr(), "pctr: {error}");
}

/// Logs go to standard error; `PCTR_LOG` chooses what is logged, as in `PCTR_LOG=debug` or `PCTR_LOG=pctr::predict=debug`.
fn start_logs(quiet: bool, format: LogFormat) {
    let default = if quiet { LevelFilter::ERROR } else { LevelFilter::INFO };
    let asked = std::env::var("PCTR_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let layer = tracing_subscriber::fmt::layer().with_writer(|| AboveBars);
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(default));
    let registry = tracing_subscriber::registry();
    let _ = match format {
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::stderr().is_terminal()).with_filter(filter)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_filter(filter)).try_init(),
    };
}

/// A schema by preset name or file.
pub(crate) fn schema(name_or_path: &str) -> Result<Schema> {
    Schema::resolve(name_or_path, |path| std::fs::read_to_string(path).map_err(Error::io(Path::new(path), "read")))
}

/// A pool of `threads` threads; 0 takes one for each core.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::config("--threads", threads.to_string(), error.to_string()))
}

/// Writes a result to standard output. A reader that has gone away is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io(Path::new("standard output"), "write")(error))
        }
        _ => Ok(()),
    }
}
