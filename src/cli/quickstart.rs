//! `pctr quickstart`: the whole arc on a generated log, from clicks to a running scoring API.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::progress::{self, Unit};
use super::{Context, experiment, print};
use crate::durable;
use crate::error::{Error, Result};
use crate::learn::experiment::{BUNDLE, Comparison, Recipe, RunOptions};
use crate::learn::generate::{Shape, generate};
use crate::learn::report;
use crate::predict::http::{ServeOptions, Source, serve, spawn};
use crate::registry::{PRODUCTION, Registry, SchemaChange};

/// Generate a log, train and compare five models, publish the winner and score a request over HTTP.
#[derive(Debug, clap::Args)]
pub(crate) struct QuickstartArgs {
    /// Folder for log, runs, report and registry.
    #[arg(long, value_name = "DIR", default_value = "quickstart")]
    out: PathBuf,
    /// Rows to generate, at least 20000. About 3 minutes for the default on 2 cores.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(20_000..))]
    rows: u64,
    /// Keep the service up until Ctrl-C.
    #[arg(long)]
    serve: bool,
    /// Address of the service with --serve.
    #[arg(long, default_value = "127.0.0.1:8080", requires = "serve")]
    listen: std::net::SocketAddr,
}

const RECIPE: &str = include_str!("quickstart.toml");
const SEED: u64 = 1;

/// Columns that belong to the ad; the others are the request's.
const OF_THE_AD: [&str; 8] =
    ["ad", "campaign", "advertiser", "size", "position", "ad_impressions", "ad_clicks", "bid_floor"];
/// Columns that a bidder does not know or need not send.
const NOT_SENT: [&str; 3] = ["click", "click_delay", "request_id"];

impl QuickstartArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let started = Instant::now();
        let log = self.out.join("demo.csv");
        let step = |number: usize, what: &str| context.note(format_args!("[{number}/5] {what}"));

        step(1, &format!("generating {} rows of an auction log with known truth", self.rows));
        self.generate(context, &log)?;

        step(2, "training and comparing five models, two seeds each");
        let recipe_path = self.out.join("recipe.toml");
        durable::write_bytes(&recipe_path, RECIPE.as_bytes())?;
        let recipe = Recipe::read(&recipe_path, &[])?;
        let out = self.out.join("out");
        let command = format!("pctr experiment {}", recipe_path.display());
        let options = RunOptions { out: out.clone(), resume: true, command };
        let comparison = experiment::run(context, &recipe, &options)?;

        step(3, "writing the report");
        let files = report::write_all(&comparison, &out)?;

        step(4, "publishing the winner");
        let registry = self.out.join("registry");
        let model = publish(&comparison, &registry)?;

        step(5, "scoring a request over HTTP");
        let request = sample_request(&log)?;
        let request_path = self.out.join("request.json");
        durable::write_bytes(&request_path, pretty(&request)?.as_bytes())?;
        let source = Source::Registry { folder: registry.clone(), stage: PRODUCTION.into() };
        let mut options = ServeOptions::new(source);
        options.listen = if self.serve { self.listen } else { ([127, 0, 0, 1], 0).into() };
        // As the user called it, so that the lines work as they stand.
        let program = std::env::args().next().unwrap_or_else(|| "pctr".into());
        let tell = |address: std::net::SocketAddr| -> Result<()> {
            let answer = ask(address, &request)?;
            print(&format!(
                "{}\n{}\n\n{model} answered {}\n\nReport     {}\nServe      {program} serve --registry {}\n\
                 Ask        curl -s http://127.0.0.1:8080/v1/score -d @{}\n\nDone in {:.0} s.\n",
                experiment::summary(&comparison),
                truth_line(&comparison),
                serde_json::to_string(&answer["candidates"]).unwrap_or_default(),
                files.html.display(),
                registry.display(),
                request_path.display(),
                started.elapsed().as_secs_f64(),
            ))
        };
        if self.serve {
            return serve(&options, |handle| {
                tell(handle.local_addr())?;
                context.note(format_args!("serving on http://{} until Ctrl-C", handle.local_addr()));
                Ok(())
            });
        }
        let handle = spawn(&options)?;
        let told = tell(handle.local_addr());
        handle.shutdown();
        handle.join()?;
        told
    }

    fn generate(&self, context: &Context, log: &Path) -> Result<()> {
        let bar = progress::bar(context, "generate", Unit::Rows, Some(self.rows));
        durable::write_file(log, |rows| {
            durable::write_file(&self.out.join("demo.truth.csv"), |truth| {
                generate(Shape::Demo, self.rows, SEED, rows, Some(truth), &mut |at| {
                    bar.set_position(at);
                    match context.interrupt.check() {
                        Ok(()) => std::ops::ControlFlow::Continue(()),
                        Err(_) => std::ops::ControlFlow::Break(()),
                    }
                })?;
                Ok(())
            })
        })?;
        bar.finish_and_clear();
        Ok(())
    }
}

/// Publishes the winner's bundle and promotes it.
fn publish(comparison: &Comparison, registry: &Path) -> Result<String> {
    let winner = comparison.winner.as_ref().ok_or_else(|| Error::data("quickstart", comparison.reason.clone()))?;
    let registry = Registry::create(registry)?;
    let published = registry.publish(&winner.run.join(BUNDLE))?;
    registry.promote(&published.model, PRODUCTION, SchemaChange::Allow)?;
    Ok(published.model)
}

/// A request as a bidder would send it: the user and place of the log's last impression, and four ads of its last rows.
fn sample_request(log: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(log).map_err(Error::io(log, "read"))?;
    let header: Vec<&str> = text.lines().next().unwrap_or_default().split(',').collect();
    let mut rows = text.lines().rev().map(|line| line.split(',').collect::<Vec<&str>>());
    let fields = |row: &[&str], of_the_ad: bool| -> Map<String, Value> {
        let cells = header.iter().zip(row).filter(|(name, cell)| {
            !cell.is_empty() && !NOT_SENT.contains(name) && OF_THE_AD.contains(name) == of_the_ad
        });
        cells.map(|(name, cell)| ((*name).to_owned(), json!(cell))).collect()
    };
    let last = rows.next().ok_or_else(|| Error::data(log.display().to_string(), "expected rows, got none"))?;
    let mut ads: Vec<Map<String, Value>> = Vec::new();
    for row in std::iter::once(last.clone()).chain(rows) {
        let mut ad = fields(&row, true);
        if ads.iter().all(|known| known["ad"] != ad["ad"]) {
            ad.insert("id".into(), ad["ad"].clone());
            ads.push(ad);
        }
        if ads.len() == 4 {
            break;
        }
    }
    Ok(json!({"context": fields(&last, false), "candidates": ads}))
}

/// Sends a request as any client would.
fn ask(address: std::net::SocketAddr, request: &Value) -> Result<Value> {
    let url = format!("http://{address}/v1/score");
    let failed = |error: ureq::Error| Error::Bug(format!("{url} answered: {error}"));
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().into();
    let mut response = agent.post(&url).send_json(request).map_err(failed)?;
    response.body_mut().read_json().map_err(failed)
}

/// How much of what can be learned the best model has learned.
fn truth_line(comparison: &Comparison) -> String {
    let constant = comparison.models.iter().find(|model| model.name == "base-rate").map(|model| model.log_loss.mean);
    match (comparison.truth_log_loss, constant, comparison.models.first()) {
        (Some(truth), Some(constant), Some(best)) => format!(
            "Of what can be known beyond the base rate ({:.5} nats a row), {} has learned {:.0} %.",
            constant - truth,
            best.name,
            100.0 * (constant - best.log_loss.mean) / (constant - truth)
        ),
        _ => String::new(),
    }
}

fn pretty(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::Bug(error.to_string()))
}
