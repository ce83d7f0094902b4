//! `[auction]`: what a recipe says to replay its test rows as auctions, so that a difference can be read in currency.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DataConfig;
use crate::error::{Error, Result};
use crate::learn::auction::{Auction, Bidding, BlockBy, PriceSchema};

/// How test rows are replayed; `docs/auction.md` says what that means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuctionConfig {
    /// Preset (`demo`) or a price file, which says which columns hold prices.
    pub prices: String,
    /// What a click is worth, in the currency of the prices.
    pub value_per_click: f64,
    /// Money for all test rows: also replays spending until it is gone, and pacing it.
    pub budget: Option<f64>,
    /// What a winner pays: `second` (the default) or `first`.
    #[serde(default = "second")]
    pub auction: Auction,
    /// Share of the value that is bid in a first-price auction.
    #[serde(default = "all")]
    pub shading: f64,
    /// Count expected clicks by `data.truth` in place of logged ones.
    #[serde(default)]
    pub expected_clicks: bool,
    /// Rows that are resampled together: `auto`, `hour`, `group`, or a number of rows.
    #[serde(default = "auto")]
    pub blocks: String,
    /// The log that holds the prices of the test rows; without it the one file of `data.files` or `data.test`.
    pub log: Option<PathBuf>,
}

fn second() -> Auction {
    Auction::Second
}

fn all() -> f64 {
    1.0
}

fn auto() -> String {
    "auto".into()
}

impl AuctionConfig {
    /// How probabilities become bids.
    pub fn bidding(&self) -> Bidding {
        Bidding { auction: self.auction, value_per_click: self.value_per_click, shading: self.shading }
    }

    /// Which rows are resampled together; `place` is named in errors.
    ///
    /// # Errors
    /// Config when it is none of the words and no number.
    pub fn blocks(&self, place: &str) -> Result<BlockBy> {
        let message = "expected auto, hour, group or a number of rows in quotes";
        self.blocks.parse().map_err(|_: Error| Error::config(place, "auction.blocks", format!("{message}, got {:?}", self.blocks)))
    }

    /// The log that holds prices; `None` when the recipe names several files.
    pub fn log<'a>(&'a self, data: &'a DataConfig) -> Option<&'a PathBuf> {
        let of_data = match (data.files.as_slice(), data.test.as_slice()) {
            ([file], []) | ([], [file]) => Some(file),
            _ => None,
        };
        self.log.as_ref().or(of_data)
    }

    /// The price file; relative paths are read by `read`.
    ///
    /// # Errors
    /// Those of [`PriceSchema::resolve`].
    pub fn prices(&self, read: impl FnOnce(&str) -> Result<String>) -> Result<PriceSchema> {
        PriceSchema::resolve(&self.prices, &[], read)
    }

    /// Checks what can be checked without reading anything.
    pub(super) fn check(&self, data: &DataConfig, place: &str) -> Result<()> {
        self.blocks(place)?;
        if self.log(data).is_none() {
            let message = "expected the log that holds the prices of the test rows: the recipe names several files, or \
                           prepared rows, which hold no prices";
            return Err(Error::config(place, "auction.log", message));
        }
        if self.expected_clicks && data.truth.len() != 1 {
            let message = "expected clicks need true probabilities: expected one file in data.truth";
            return Err(Error::config(place, "auction.expected_clicks", message));
        }
        Ok(())
    }
}
