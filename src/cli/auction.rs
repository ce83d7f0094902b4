//! `pctr auction`: a log with prices and models → what each model's bids would have won, spent and earned.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};

use super::progress::{self, Unit};
use super::{Context, pool, print, rows, schema};
use crate::durable;
use crate::error::{Error, Result};
use crate::learn::auction::{
    Auction, AuctionReport, Bidding, BlockBy, Candidate, Clicks, ENOUGH_BLOCKS, PriceSchema, Source, Stage, Task,
};
use crate::learn::source::{BadRows, Input, MAX_BAD_ROWS};
use crate::metrics::bootstrap::{Bootstrap, Estimate};
use crate::model::Threads;

/// Replay a log with prices: what each model's bids would have won, spent and earned.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_LONG_HELP)]
pub(crate) struct AuctionArgs {
    /// Log with prices (plain, gzip, zstd, Parquet), of rows that no model was trained on.
    file: PathBuf,
    /// A bundle, a run of an experiment, or predictions as pctr score and runs write them; the first is what the others are
    /// compared with. Repeat for more.
    #[arg(long, short, value_name = "[NAME=]PATH", required = true)]
    model: Vec<String>,
    /// A preset (demo) or a TOML file that says what the prices of the log mean.
    #[arg(long, value_name = "NAME|FILE")]
    prices: String,
    /// A setting of the price file, e.g. --set won=is_won.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Schema of the log: a preset (criteo, avazu, demo) or a file; without it, that of the first bundle.
    #[arg(long)]
    schema: Option<String>,
    /// What a click is worth, in the currency of the prices.
    #[arg(long, value_name = "MONEY")]
    value_per_click: f64,
    /// Money for the whole log: also replays spending until it is gone, and pacing it.
    #[arg(long, value_name = "MONEY")]
    budget: Option<f64>,
    /// What a winner pays: second (what the bid had to reach) or first (the bid).
    #[arg(long, value_parser = auction_type, default_value = "second")]
    auction: Auction,
    /// Share of the value that is bid in a first-price auction, above 0 up to 1.
    #[arg(long, default_value_t = 1.0)]
    shading: f64,
    /// True click probabilities (header p, one a row, as pctr generate --truth writes them): counts expected clicks, and
    /// replays rows that the logging bidder lost.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Rows that are resampled together: auto, hour, group, or a number of rows.
    #[arg(long, default_value = "auto")]
    blocks: BlockBy,
    /// Resamples of the bootstrap.
    #[arg(long, default_value_t = 1000)]
    rounds: usize,
    /// Coverage of intervals.
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// Seed of the resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// Also write the results here: a .json or .csv file. Repeat for both.
    #[arg(short, long, value_name = "FILE")]
    out: Vec<PathBuf>,
    /// Threads; 0 takes one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Share of bad rows that is borne, 0 to 1.
    #[arg(long, default_value_t = MAX_BAD_ROWS)]
    max_bad_rows: f64,
}

const AFTER_LONG_HELP: &str = "\
A model bids value-per-click times its probability and wins where that reaches the price. Only rows whose price is known \
can be replayed, and without --truth only those whose click is known, because the logging bidder won them: a model that \
would bid higher on lost rows gets nothing for it here.

over-bid     money paid for impressions that the same model, calibrated on these rows (isotonic, cross-fitted), would not buy
lost by it   that money minus the value of the clicks it brought

Example, with generated prices:
  pctr generate --shape demo-priced --rows 200000 --seed 2 -o later.csv
  pctr auction later.csv --prices demo --model model-a --model model-b --value-per-click 0.10 --budget 50";

impl AuctionArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        // Mistakes in arguments are told before the log is read.
        let read = |path: &str| std::fs::read_to_string(path).map_err(Error::io(Path::new(path), "read"));
        let prices = PriceSchema::resolve(&self.prices, &self.set, read)?;
        let formats = self.out.iter().map(|path| format_of(path)).collect::<Result<Vec<Format>>>()?;
        let candidates = self.model.iter().map(|given| Candidate::open(given)).collect::<Result<Vec<_>>>()?;
        let of_bundle = candidates.iter().find_map(|candidate| match &candidate.source {
            Source::Bundle(bundle) => Some(bundle.schema.clone()),
            Source::Table(_) | Source::Text(_) => None,
        });
        let schema = match (&self.schema, of_bundle) {
            (Some(name), _) => schema(name)?,
            (None, Some(schema)) => schema,
            (None, None) => {
                let message = "expected a preset or a file, because no model is a bundle that knows its schema";
                return Err(Error::config("auction", "--schema", message));
            }
        };
        let input = Input::new(&self.file);
        if input.is_stdin() && candidates.iter().any(|candidate| matches!(candidate.source, Source::Bundle(_))) {
            let message =
                "bundles read the log again, and standard input can be read only once; write it to a file first";
            return Err(Error::config("standard input", "FILE", message));
        }
        let task = Task {
            input: &input,
            schema: &schema,
            prices: &prices,
            candidates: &candidates,
            truth: self.truth.clone(),
            bidding: Bidding { auction: self.auction, value_per_click: self.value_per_click, shading: self.shading },
            budget: self.budget,
            blocks: self.blocks,
            bootstrap: Bootstrap { resamples: self.rounds, confidence: self.confidence, seed: self.seed },
        };
        task.check()?;
        let mut bad = BadRows::new(self.max_bad_rows)?;
        let pool = pool(self.threads)?;
        let report = run_with_bar(context, &task, &mut bad, Threads::of(&pool))?;
        rows::note_bad_rows(context, bad.record());

        let json = serde_json::to_string_pretty(&report).map_err(|error| Error::Bug(error.to_string()))?;
        for (path, format) in self.out.iter().zip(formats) {
            match format {
                Format::Json => durable::write_bytes(path, format!("{json}\n").as_bytes())?,
                Format::Csv => durable::write_bytes(path, report.csv().as_bytes())?,
            }
        }
        match self.json {
            true => print(&format!("{json}\n")),
            false => print(&text(&report)),
        }
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy)]
enum Format {
    Json,
    Csv,
}

fn format_of(path: &Path) -> Result<Format> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        _ => Err(Error::config("auction", "--out", format!("expected a .json or .csv file, got {}", path.display()))),
    }
}

fn auction_type(word: &str) -> Result<Auction, String> {
    match word {
        "second" => Ok(Auction::Second),
        "first" => Ok(Auction::First),
        _ => Err("expected second or first".into()),
    }
}

fn run_with_bar(context: &Context, task: &Task<'_>, bad: &mut BadRows, threads: Threads<'_>) -> Result<AuctionReport> {
    let bytes = task.input.bytes()?;
    let mut shown = String::new();
    let mut bar = progress::bar(context, "prices", Unit::Bytes, bytes);
    let mut on_progress = |stage: Stage<'_>| {
        let (what, unit, total, position) = match stage {
            Stage::Reading(at) => ("prices", Unit::Bytes, bytes, at.bytes),
            Stage::Scoring(model, at) => (model, Unit::Bytes, bytes, at.bytes),
            Stage::Replaying(done, of) => ("replay", Unit::Pieces, Some(of as u64), done as u64),
        };
        if shown != what {
            bar.finish_and_clear();
            bar = progress::bar(context, what, unit, total);
            shown = what.to_owned();
        }
        bar.set_position(position);
    };
    let report = task.run(bad, threads, &mut on_progress, &context.interrupt);
    bar.finish_and_clear();
    report
}

/// The report as people read it on a terminal.
fn text(report: &AuctionReport) -> String {
    let counts = &report.rows;
    let mut text = format!("{} of {} rows of {} replayed", counts.replayed, counts.rows, report.log);
    for (count, why) in [
        (counts.bad, "bad"),
        (counts.lost, "lost in the log, click unknown"),
        (counts.no_price, "without a price"),
        (counts.not_predicted, "without a probability of every model"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {count} {why}"));
        }
    }
    let clicks = match report.clicks {
        Clicks::Logged => "clicks",
        Clicks::Expected => "expected clicks",
    };
    let auction = match report.bidding.auction {
        Auction::Second => "second price".to_owned(),
        Auction::First => format!("first price, {} of the value bid", report.bidding.shading),
    };
    text.push_str(&format!(
        ".\nTogether they bring {:.0} {clicks} and cost {:.2} {} at their prices. A click is worth {} {}; {auction}.\n",
        counts.logged_clicks, counts.logged_cost, report.currency, report.bidding.value_per_click, report.currency
    ));
    for scenario in &report.scenarios {
        let title = match report.budget {
            Some(budget) if scenario.spending.name() != "no budget" => {
                format!("{}: {budget} {}", scenario.spending.name(), report.currency)
            }
            _ => scenario.spending.name().to_owned(),
        };
        text.push_str(&format!("\n{title}\n{}\n", table(report, scenario)));
    }
    for verdict in report.verdicts() {
        text.push_str(&format!("{verdict}\n"));
    }
    let resampling = &report.resampling;
    text.push_str(&format!(
        "Intervals: {:.0} %, {} resamples of {} blocks by {}{}.\n",
        100.0 * resampling.bootstrap.confidence,
        resampling.bootstrap.resamples,
        resampling.blocks,
        resampling.by,
        if resampling.blocks < ENOUGH_BLOCKS { "; too few blocks to trust them" } else { "" }
    ));
    text
}

fn table(report: &AuctionReport, scenario: &crate::learn::auction::Scenario) -> Table {
    let money = |of: Option<Estimate>, digits: usize| {
        of.map_or_else(|| "-".to_owned(), |of| format!("{:.digits$}{}", of.value, interval(&of, digits)))
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "model",
        "log loss",
        "PCOC",
        "impressions",
        "win rate",
        "clicks",
        "cost",
        "CPM",
        "eCPC",
        "surplus",
        "against the first",
        "over-bid",
        "lost by it",
    ]);
    for (quality, outcome) in report.models.iter().zip(&scenario.outcomes) {
        let mut cost = format!("{:.2}", outcome.cost.value);
        if let Some(ended) = outcome.ended_at {
            cost.push_str(&format!("\nspent at {:.0} %", 100.0 * ended));
        }
        table.add_row([
            outcome.name.clone(),
            format!("{:.5}", quality.log_loss),
            quality.pcoc.map_or_else(|| "-".into(), |pcoc| format!("{pcoc:.3}")),
            format!("{:.0}", outcome.impressions.value),
            format!("{:.1} %", 100.0 * outcome.win_rate.value),
            format!("{:.0}", outcome.clicks.value),
            cost,
            money(outcome.cpm.map(bare), 3),
            money(outcome.ecpc.map(bare), 4),
            money(Some(outcome.surplus), 2),
            money(outcome.surplus_difference, 2),
            money(outcome.overbid.map(|overbid| bare(overbid.cost)), 2),
            money(outcome.overbid.map(|overbid| overbid.loss), 2),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Without its interval, where a table has no room for it.
fn bare(of: Estimate) -> Estimate {
    Estimate { low: None, high: None, ..of }
}

fn interval(of: &Estimate, digits: usize) -> String {
    match (of.low, of.high) {
        (Some(low), Some(high)) => format!("\n[{low:.digits$}, {high:.digits$}]"),
        _ => String::new(),
    }
}
