//! A log with prices and models → what each model's bids would have won, spent and earned.
//!
//! ```text
//! log, price file ─▶ log ────────────┐
//! bundles, runs, files ─▶ candidates ┴▶ market (rows that can be replayed, in time order, in blocks)
//!                                          ├─▶ recalibration (cross-fitted) ─┐
//!                                          └─▶ replay: no budget, budget, budget paced ─▶ sums by block ─▶ report
//! ```
//!
//! `surplus = value of a click × clicks − cost`. What over-bid money is, and what a replay can and cannot say, stands in
//! `docs/auction.md`.
//!
//! Intervals resample blocks (percentile bootstrap, [`crate::metrics::bootstrap`]); differences between models are taken
//! inside each resample, so what is hard for both drops out. Without a budget, rows do not depend on each other and that is
//! all. With one, what was bought in each block is held as replayed: the interval covers which hours and clicks came, not
//! that another order of hours would have moved the end of the budget or the multipliers.

mod candidates;
mod config;
mod drawings;
mod judge;
mod log;
mod market;
mod prices;
mod recalibration;
mod replay;
mod report;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use crate::metrics::bootstrap::Estimate;
pub use candidates::{Candidate, Source};
pub use config::{AuctionConfig, Place};
pub use log::{Logged, PricedLog};
pub use market::{BlockBy, ENOUGH_BLOCKS};
pub use prices::{PriceSchema, PriceUnit};
pub use recalibration::{FOLDS, LEAST_OF_EACH, cross_fitted};
pub use replay::{
    Auction, Bidding, GAIN, MOST_OF_AIM, Market, PACING_STEPS, Replay, SPEND_POINTS, Spending, Tally, replay,
};
pub use report::{AuctionReport, Clicks, Outcome, Overbid, Quality, Resampling, RowCounts, Scenario};

use super::Interrupt;
use super::source::{BadRows, Input, Progress};
use crate::error::{Error, Result};
use crate::metrics::bootstrap::Bootstrap;
use crate::model::Threads;
use crate::model::schema::Schema;

/// What to replay.
#[derive(Debug)]
pub struct Task<'a> {
    /// The log.
    pub input: &'a Input,
    /// How it is read: label, time and group.
    pub schema: &'a Schema,
    /// What its prices mean.
    pub prices: &'a PriceSchema,
    /// Models that bid; the first is what the others are compared with.
    pub candidates: &'a [Candidate],
    /// True probabilities (header `p`, one a row): expected clicks take the place of logged ones.
    pub truth: Option<PathBuf>,
    /// How probabilities become bids.
    pub bidding: Bidding,
    /// Money for the whole log, currency.
    pub budget: Option<f64>,
    /// Which rows are resampled together.
    pub blocks: BlockBy,
    /// Resamples, coverage, seed.
    pub bootstrap: Bootstrap,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub enum Stage<'a> {
    /// The log's prices are read.
    Reading(Progress),
    /// A bundle scores the log.
    Scoring(&'a str, Progress),
    /// Bids are replayed and resampled: pieces of work done, and in all.
    Replaying(usize, usize),
}

impl Task<'_> {
    /// Refuses settings that cannot be replayed, whoever bids, before anything is read.
    ///
    /// # Errors
    /// Config, naming the setting.
    pub fn check_settings(&self) -> Result<()> {
        let wrong = |key: &str, message: String| Err(Error::config("auction", key, message));
        let Bidding { auction, value_per_click, shading } = self.bidding;
        let money = |amount: f64| amount > 0.0 && amount.is_finite();
        if !money(value_per_click) {
            return wrong("value_per_click", format!("expected an amount above 0, got {value_per_click}"));
        }
        if !(shading > 0.0 && shading <= 1.0) {
            return wrong("shading", format!("expected a share above 0 up to 1, got {shading}"));
        }
        if auction == Auction::Second && shading < 1.0 {
            return wrong(
                "shading",
                "in a second-price auction the best bid is the full value; shade in a first-price one".into(),
            );
        }
        if let Some(budget) = self.budget.filter(|budget| !money(*budget)) {
            return wrong("budget", format!("expected an amount above 0, got {budget}"));
        }
        let Bootstrap { resamples, confidence, .. } = self.bootstrap;
        if !(10..=1_000_000).contains(&resamples) {
            return wrong("rounds", format!("expected 10 to 1000000, got {resamples}"));
        }
        if !(0.5..=0.999).contains(&confidence) {
            return wrong("confidence", format!("expected 0.5 to 0.999, got {confidence}"));
        }
        self.blocks.check(self.schema)?;
        self.prices.reading(self.schema).map(|_| ())
    }

    /// [`Task::check_settings`], and refuses candidates that cannot bid.
    ///
    /// # Errors
    /// Config, naming the setting.
    pub fn check(&self) -> Result<()> {
        self.check_settings()?;
        let wrong = |key: &str, message: String| Err(Error::config("auction", key, message));
        if self.candidates.is_empty() {
            return wrong("model", "expected at least one model, got none".into());
        }
        for (position, candidate) in self.candidates.iter().enumerate() {
            if self.candidates[..position].iter().any(|other| other.name == candidate.name) {
                return wrong(
                    "model",
                    format!("expected each name once, got {:?} twice; give NAME=PATH", candidate.name),
                );
            }
            if let Source::Bundle(bundle) = &candidate.source {
                self.prices.refuse_leaks(&candidate.name, &bundle.schema)?;
            }
        }
        Ok(())
    }

    /// Replays every model. The same task gives the same bits at any number of threads. Bad rows are counted in `bad`.
    ///
    /// Memory: 25 bytes a row of the log, 8 for each model, and while a model is replayed about 60 for each thread.
    ///
    /// # Errors
    /// Those of [`Task::check`] and of reading logs and predictions; Data when no row can be replayed; Interrupted.
    pub fn run(
        &self,
        bad: &mut BadRows,
        threads: Threads<'_>,
        progress: &mut (dyn FnMut(Stage<'_>) + Send),
        interrupt: &Interrupt,
    ) -> Result<AuctionReport> {
        self.check()?;
        let log = PricedLog::read(
            self.input,
            self.schema,
            self.prices,
            bad,
            &mut |at| progress(Stage::Reading(at)),
            interrupt,
        )?;
        let truth = self.truth.as_ref().map(|path| candidates::read_text(path, log.rows())).transpose()?;
        let mut probabilities = Vec::with_capacity(self.candidates.len());
        for candidate in self.candidates {
            let mut at = |at: Progress| progress(Stage::Scoring(&candidate.name, at));
            probabilities.push(candidate.probabilities(self.input, &log, threads, &mut at, interrupt)?);
        }
        let selected =
            market::select(&log, self.schema, &probabilities, truth.as_deref(), self.blocks, self.input.name())?;
        drop((log, truth));
        // In the order of the market; one model after the other, so that both forms are held of one model only.
        let bidders: Vec<judge::Bidder<'_>> = self
            .candidates
            .iter()
            .zip(probabilities)
            .map(|(candidate, all)| (candidate.name.as_str(), selected.rows.iter().map(|row| all[*row]).collect()))
            .collect();
        let (models, scenarios) = judge::judge(&selected.market, &bidders, self, threads, progress, interrupt)?;
        Ok(AuctionReport {
            log: self.input.name().to_owned(),
            currency: self.prices.currency.clone(),
            bidding: self.bidding,
            budget: self.budget,
            clicks: if self.truth.is_some() { Clicks::Expected } else { Clicks::Logged },
            resampling: Resampling {
                by: selected.blocks_are,
                blocks: selected.market.blocks,
                bootstrap: self.bootstrap,
            },
            rows: selected.counts,
            models,
            scenarios,
        })
    }

    /// Ways to spend money that are replayed.
    fn spendings(&self) -> Vec<Spending> {
        let limited = self.budget.map(|budget| [Spending::UntilGone(budget), Spending::Paced(budget)]);
        std::iter::once(Spending::Unlimited).chain(limited.into_iter().flatten()).collect()
    }
}
