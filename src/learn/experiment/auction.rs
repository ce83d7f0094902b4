//! `[auction]` of a recipe and finished runs → `auction.json`: what each model's bids on the test rows would have won, spent
//! and earned.
//!
//! One run of each model bids: the one that would be shipped, on the last fold. The recipe's first model is what the others are
//! compared with. Prices are read once before any training, so that a missing column is not found an hour later.

use std::path::{Path, PathBuf};

use super::predictions::TEST_FILE;
use super::recipe::{AuctionConfig, Recipe};
use super::record::to_json;
use crate::durable::write_bytes;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::auction::{Candidate, PriceSchema, PricedLog, Source, Task};
use crate::learn::source::{BadRows, Input, MAX_BAD_ROWS};
use crate::model::Threads;
use crate::model::schema::Schema;

/// What the models' bids came to, in an experiment's folder ([`crate::learn::auction::AuctionReport`]).
pub const AUCTION_FILE: &str = "auction.json";

/// Refuses an auction that cannot be replayed, before anything is trained.
///
/// # Errors
/// Config and data when a setting, a price file or a column does not fit; interrupted.
pub(super) fn check(config: &AuctionConfig, recipe: &Recipe, schema: &Schema, interrupt: &Interrupt) -> Result<()> {
    let prices = prices(config, recipe)?;
    for model in &recipe.models {
        prices.refuse_leaks(&model.name, schema)?;
    }
    let input = input(config, recipe)?;
    let runs: Vec<(String, PathBuf)> =
        recipe.models.iter().map(|model| (model.name.clone(), PathBuf::from(&model.name))).collect();
    task(config, recipe, schema, &prices, &input, &candidates(&runs))?.check()?;
    let mut bad = BadRows::new(recipe.data.max_bad_rows.unwrap_or(MAX_BAD_ROWS))?;
    PricedLog::read(&input, schema, &prices, &mut bad, &mut |_| {}, interrupt).map(|_| ())
}

/// Replays the test rows for one run of each model (its name and folder) and writes [`AUCTION_FILE`] into `out`.
///
/// # Errors
/// Those of [`Task::run`]; io when the place cannot be written.
pub(super) fn replay(
    config: &AuctionConfig,
    recipe: &Recipe,
    schema: &Schema,
    out: &Path,
    runs: &[(String, PathBuf)],
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<()> {
    let (prices, input) = (prices(config, recipe)?, input(config, recipe)?);
    let candidates = candidates(runs);
    let task = task(config, recipe, schema, &prices, &input, &candidates)?;
    let mut bad = BadRows::new(recipe.data.max_bad_rows.unwrap_or(MAX_BAD_ROWS))?;
    let report = task.run(&mut bad, threads, &mut |_| {}, interrupt)?;
    write_bytes(&out.join(AUCTION_FILE), to_json(&report).as_bytes())
}

fn task<'t>(
    config: &AuctionConfig,
    recipe: &Recipe,
    schema: &'t Schema,
    prices: &'t PriceSchema,
    input: &'t Input,
    candidates: &'t [Candidate],
) -> Result<Task<'t>> {
    let truth = recipe.data.truth.first().filter(|_| config.expected_clicks);
    Ok(Task {
        input,
        schema,
        prices,
        candidates,
        truth: truth.map(|path| recipe.path(path)),
        bidding: config.bidding(),
        budget: config.budget,
        blocks: config.blocks(&recipe.place)?,
        bootstrap: recipe.bootstrap.settings(),
    })
}

fn candidates(runs: &[(String, PathBuf)]) -> Vec<Candidate> {
    let of = |(name, folder): &(String, PathBuf)| Candidate {
        name: name.clone(),
        source: Source::Table(folder.join(TEST_FILE)),
    };
    runs.iter().map(of).collect()
}

fn prices(config: &AuctionConfig, recipe: &Recipe) -> Result<PriceSchema> {
    config.prices(|path| {
        let path = recipe.path(Path::new(path));
        std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))
    })
}

fn input(config: &AuctionConfig, recipe: &Recipe) -> Result<Input> {
    match config.log(&recipe.data) {
        Some(log) => Ok(Input::new(recipe.path(log))),
        None => Err(Error::Bug("a recipe with an auction was checked to have a log".into())),
    }
}
