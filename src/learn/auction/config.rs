//! `[auction]` of a recipe → what the bids of its models would have come to, once they are there.
//!
//! Without a `log`, the recipe's own one carries the prices, and its test rows are replayed by the predictions of the runs. With one, it
//! is another log of the same schema that no model was trained on, and the bundles score it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Auction, AuctionReport, Bidding, BlockBy, Candidate, PriceSchema, PricedLog, Stage, Task};
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::experiment::BUNDLE;
use crate::learn::source::{BadRows, Input, MAX_BAD_ROWS};
use crate::metrics::bootstrap::Bootstrap;
use crate::model::Threads;
use crate::model::schema::Schema;

/// How the models of a recipe bid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuctionConfig {
    /// A log with prices that no model was trained on; without it, the recipe's own log, of which the test rows are replayed.
    pub log: Option<PathBuf>,
    /// A preset (`demo`) or a TOML file that says what the prices of the log mean.
    pub prices: String,
    /// Settings of that file, as `key=value`.
    #[serde(default)]
    pub set: Vec<String>,
    /// What a click is worth, in the currency of the prices.
    pub value_per_click: f64,
    /// Money for the whole log: also replays spending until it is gone, and pacing it.
    pub budget: Option<f64>,
    /// What a winner pays: `second` (what the bid had to reach) or `first` (the bid).
    #[serde(default = "second")]
    pub auction: Auction,
    /// Share of the value that is bid in a first-price auction, above 0 up to 1.
    #[serde(default = "full")]
    pub shading: f64,
    /// Rows that are resampled together: `auto`, `hour`, `group`, or a number of rows as text.
    #[serde(default = "auto")]
    pub blocks: String,
}

fn second() -> Auction {
    Auction::Second
}

fn full() -> f64 {
    1.0
}

fn auto() -> String {
    "auto".into()
}

/// Where the models of a recipe bid.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Schema of the logs.
    pub schema: &'a Schema,
    /// Relative paths start here.
    pub folder: &'a Path,
    /// The recipe's own log, where it is one file that is split or tested on.
    pub own_log: Option<&'a Path>,
    /// Name of the recipe in errors.
    pub recipe: &'a str,
}

impl AuctionConfig {
    /// Refuses what cannot be replayed, before anything is trained: settings out of bounds, a log without the columns of its
    /// prices.
    ///
    /// # Errors
    /// Config, naming the setting; io and data when the log cannot be read or lacks a column.
    pub fn check(&self, place: Place<'_>) -> Result<()> {
        let (input, prices) = (self.input(place)?, self.price_schema(place)?);
        self.task(place, &input, &prices, &[], Bootstrap { resamples: 1_000, confidence: 0.95, seed: 1 })?
            .check_settings()?;
        PricedLog::check(&input, place.schema, &prices)
    }

    /// Replays the bids of `runs`: the name of each model and the folder of one of its runs. The first is what the others are
    /// compared with.
    ///
    /// # Errors
    /// Those of [`AuctionConfig::check`] and [`Task::run`].
    pub fn run(
        &self,
        place: Place<'_>,
        runs: &[(&str, PathBuf)],
        bootstrap: Bootstrap,
        threads: Threads<'_>,
        progress: &mut (dyn FnMut(Stage<'_>) + Send),
        interrupt: &Interrupt,
    ) -> Result<AuctionReport> {
        let (input, prices) = (self.input(place)?, self.price_schema(place)?);
        let candidate = |(name, folder): &(&str, PathBuf)| match &self.log {
            None => Candidate::of((*name).to_owned(), folder),
            Some(_) => Candidate::of((*name).to_owned(), &folder.join(BUNDLE)),
        };
        let candidates = runs.iter().map(candidate).collect::<Result<Vec<Candidate>>>()?;
        let task = self.task(place, &input, &prices, &candidates, bootstrap)?;
        task.run(&mut BadRows::new(MAX_BAD_ROWS)?, threads, progress, interrupt)
    }

    fn input(&self, place: Place<'_>) -> Result<Input> {
        match (&self.log, place.own_log) {
            (Some(log), _) => Ok(Input::new(place.folder.join(log))),
            (None, Some(own)) => Ok(Input::new(place.folder.join(own))),
            (None, None) => {
                let message =
                    "expected a log with prices, because the recipe has no single log of its own that is tested on";
                Err(Error::config(place.recipe, "auction.log", message))
            }
        }
    }

    fn price_schema(&self, place: Place<'_>) -> Result<PriceSchema> {
        PriceSchema::resolve(&self.prices, &self.set, |path| {
            let path = place.folder.join(path);
            std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))
        })
    }

    fn task<'t>(
        &self,
        place: Place<'t>,
        input: &'t Input,
        prices: &'t PriceSchema,
        candidates: &'t [Candidate],
        bootstrap: Bootstrap,
    ) -> Result<Task<'t>> {
        let Self { value_per_click, budget, auction, shading, .. } = *self;
        Ok(Task {
            input,
            schema: place.schema,
            prices,
            candidates,
            truth: None,
            bidding: Bidding { auction, value_per_click, shading },
            budget,
            blocks: self.blocks.parse::<BlockBy>()?,
            bootstrap,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "version = 1\nname = \"small\"\n[fields]\nclick = { kind = \"label\" }\nat = { kind = \"time\" }\n\
                          site = { kind = \"categorical\" }\n";
    const PRICES: &str = "version = 1\nname = \"small\"\ncurrency = \"EUR\"\nunit = \"cpm\"\nmarket_price = \"paid\"\n";

    #[test]
    fn mistakes_are_told_before_anything_is_trained() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("prices.toml"), PRICES).unwrap();
        std::fs::write(folder.path().join("log.csv"), "click,at,site,paid\n1,10,a,2\n0,20,b,1\n").unwrap();
        std::fs::write(folder.path().join("unpriced.csv"), "click,at,site\n1,10,a\n").unwrap();
        let schema = Schema::parse(SCHEMA, "small.toml").unwrap();
        let check = |text: &str, own_log: Option<&str>| {
            let config: AuctionConfig =
                crate::config::from_toml(text, "recipe.toml").map_err(|error| error.to_string())?;
            let own_log = own_log.map(Path::new);
            let place = Place { schema: &schema, folder: folder.path(), own_log, recipe: "recipe.toml" };
            config.check(place).map_err(|error| error.to_string())
        };
        const GOOD: &str = "prices = \"prices.toml\"\nvalue_per_click = 10\nbudget = 5.0\n";
        assert_eq!(check(GOOD, Some("log.csv")), Ok(()));
        assert_eq!(check(&format!("{GOOD}log = \"log.csv\"\nblocks = \"20\""), None), Ok(()));
        for (from, to, own, says) in [
            ("", "", Some("unpriced.csv"), "unpriced.csv:1: the header lacks the column \"paid\""),
            ("", "", Some("no.csv"), "no.csv"),
            ("", "", None, "auction.log: expected a log with prices"),
            ("value_per_click = 10", "value_per_click = 0", Some("log.csv"), "value_per_click"),
            ("budget", "budgt", Some("log.csv"), "did you mean \"budget\"?"),
            ("budget = 5.0", "blocks = \"group\"", Some("log.csv"), "no field of kind \"group\""),
            ("prices.toml", "demos", Some("log.csv"), "did you mean \"demo\"?"),
        ] {
            let error = check(&GOOD.replacen(from, to, 1), own).unwrap_err();
            assert!(error.contains(says), "{to}: {error}");
        }
    }
}
