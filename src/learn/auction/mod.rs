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
mod log;
mod market;
mod prices;
mod recalibration;
mod replay;
mod report;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use candidates::{Candidate, Source};
pub use log::{Logged, PricedLog};
pub use market::{BlockBy, ENOUGH_BLOCKS};
pub use prices::{PriceSchema, PriceUnit};
pub use recalibration::{FOLDS, LEAST_OF_EACH, cross_fitted};
pub use replay::{Auction, Bidding, GAIN, MOST_OF_AIM, Market, PACING_STEPS, Replay, Spending, Tally, replay};
pub use report::{AuctionReport, Clicks, Estimate, Outcome, Overbid, Quality, Resampling, RowCounts, Scenario};

use super::Interrupt;
use super::source::{BadRows, Input, Progress};
use crate::error::{Error, Result};
use crate::metrics::bootstrap::{BlockSums, Blocks, Bootstrap};
use crate::metrics::losses::CLIP;
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
    /// Refuses what cannot be replayed, before anything is read.
    ///
    /// # Errors
    /// Config, naming the setting.
    pub fn check(&self) -> Result<()> {
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
        self.blocks.check(self.schema)?;
        self.prices.reading(self.schema).map(|_| ())
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
        progress: &mut dyn FnMut(Stage<'_>),
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
        let bidders: Vec<(&str, Vec<f64>)> = self
            .candidates
            .iter()
            .zip(probabilities)
            .map(|(candidate, all)| (candidate.name.as_str(), selected.rows.iter().map(|row| all[*row]).collect()))
            .collect();
        let judged = judge(&selected.market, &bidders, self, threads, progress, interrupt)?;
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
            models: judged.0,
            scenarios: judged.1,
        })
    }

    /// Ways to spend money that are replayed.
    fn spendings(&self) -> Vec<Spending> {
        let limited = self.budget.map(|budget| [Spending::UntilGone(budget), Spending::Paced(budget)]);
        std::iter::once(Spending::Unlimited).chain(limited.into_iter().flatten()).collect()
    }
}

/// Block sums of one model, before anything is resampled.
struct Sums {
    /// Log loss, predicted clicks.
    quality: Vec<[f64; 2]>,
    /// One a way to spend.
    replays: Vec<Replay>,
    /// What calibrated bids would buy without a budget.
    calibrated: Option<Replay>,
}

/// Block sums that do not depend on the model.
struct Offer {
    rows: Vec<f64>,
    clicks: Vec<f64>,
}

fn judge(
    market: &Market,
    bidders: &[(&str, Vec<f64>)],
    task: &Task<'_>,
    threads: Threads<'_>,
    progress: &mut dyn FnMut(Stage<'_>),
    interrupt: &Interrupt,
) -> Result<(Vec<Quality>, Vec<Scenario>)> {
    let spendings = task.spendings();
    let work = bidders.len() * (2 + spendings.len());
    let mut done = 0;
    let mut step = |pieces: usize| {
        done += pieces;
        progress(Stage::Replaying(done, work));
    };
    let mut sums = Vec::with_capacity(bidders.len());
    for together in bidders.chunks(threads.count()) {
        interrupt.check()?;
        sums.extend(threads.map(together.iter().collect(), |(_, probabilities)| {
            Sums::of(market, probabilities, &task.bidding, &spendings)
        }));
        step(together.len());
    }
    let mut offer = Offer { rows: vec![0.0; market.blocks], clicks: vec![0.0; market.blocks] };
    for (block, clicks) in market.block.iter().zip(&market.clicks) {
        offer.rows[*block as usize] += 1.0;
        offer.clicks[*block as usize] += clicks;
    }

    let names: Vec<&str> = bidders.iter().map(|(name, _)| *name).collect();
    let every: Vec<usize> = (0..names.len()).collect();
    let mut models = Vec::with_capacity(names.len());
    for together in every.chunks(threads.count()) {
        interrupt.check()?;
        models.extend(
            threads.map(together.to_vec(), |model| quality(names[model], model, &sums, &offer, task.bootstrap)),
        );
        step(together.len());
    }
    let mut scenarios = Vec::with_capacity(spendings.len());
    for (way, spending) in spendings.iter().enumerate() {
        let mut outcomes = Vec::with_capacity(names.len());
        for together in every.chunks(threads.count()) {
            interrupt.check()?;
            outcomes.extend(threads.map(together.to_vec(), |model| {
                outcome(names[model], model, way, &sums, &offer, &task.bidding, task.bootstrap)
            }));
            step(together.len());
        }
        scenarios.push(Scenario { spending: *spending, outcomes });
    }
    Ok((models, scenarios))
}

impl Sums {
    fn of(market: &Market, probabilities: &[f64], bidding: &Bidding, spendings: &[Spending]) -> Sums {
        let mut quality = vec![[0.0; 2]; market.blocks];
        for ((block, clicks), probability) in market.block.iter().zip(&market.clicks).zip(probabilities) {
            let p = probability.clamp(CLIP, 1.0 - CLIP);
            let of = &mut quality[*block as usize];
            of[0] -= clicks * p.ln() + (1.0 - clicks) * (-p).ln_1p();
            of[1] += probability;
        }
        let calibrated = cross_fitted(market, probabilities);
        let replay = |spending| replay(market, probabilities, calibrated.as_deref(), bidding, spending);
        Sums {
            quality,
            replays: spendings.iter().map(|spending| replay(*spending)).collect(),
            calibrated: calibrated
                .as_ref()
                .map(|calibrated| self::replay(market, calibrated, None, bidding, Spending::Unlimited)),
        }
    }
}

fn quality(name: &str, model: usize, sums: &[Sums], offer: &Offer, bootstrap: Bootstrap) -> Quality {
    let rows: f64 = offer.rows.iter().sum();
    let clicks: f64 = offer.clicks.iter().sum();
    let total = |position: usize| sums[model].quality.iter().map(|block| block[position]).sum::<f64>();
    let difference = |block: usize| [sums[model].quality[block][0] - sums[0].quality[block][0], offer.rows[block]];
    Quality {
        name: name.to_owned(),
        log_loss: total(0) / rows,
        pcoc: (clicks > 0.0).then(|| total(1) / clicks),
        log_loss_difference: (model > 0)
            .then(|| estimate(offer.rows.len(), bootstrap, difference, |[loss, rows]| ratio(*loss, *rows)))
            .flatten(),
    }
}

fn outcome(
    name: &str,
    model: usize,
    way: usize,
    sums: &[Sums],
    offer: &Offer,
    bidding: &Bidding,
    bootstrap: Bootstrap,
) -> Outcome {
    let replayed = &sums[model].replays[way];
    let bought = &replayed.blocks;
    let surplus_of = |bought: &Tally| bidding.value_per_click * bought.clicks - bought.cost;
    let sum = |quantity: &dyn Fn(usize) -> f64| {
        estimate(bought.len(), bootstrap, |block| [quantity(block)], |[sum]| Some(*sum)).expect("a sum always exists")
    };
    let share = |above: &dyn Fn(usize) -> f64, below: &dyn Fn(usize) -> f64| {
        estimate(bought.len(), bootstrap, |block| [above(block), below(block)], |[above, below]| ratio(*above, *below))
    };
    let calibrated = sums[model].calibrated.as_ref();
    let overbid_loss =
        |block: usize| bought[block].overbid_cost - bidding.value_per_click * bought[block].overbid_clicks;
    Outcome {
        name: name.to_owned(),
        impressions: sum(&|block| bought[block].impressions),
        clicks: sum(&|block| bought[block].clicks),
        cost: sum(&|block| bought[block].cost),
        win_rate: share(&|block| bought[block].impressions, &|block| offer.rows[block]).expect("a market has rows"),
        cpm: share(&|block| 1000.0 * bought[block].cost, &|block| bought[block].impressions),
        ecpc: share(&|block| bought[block].cost, &|block| bought[block].clicks),
        surplus: sum(&|block| surplus_of(&bought[block])),
        surplus_difference: (model > 0).then(|| {
            let first = &sums[0].replays[way].blocks;
            sum(&|block| surplus_of(&bought[block]) - surplus_of(&first[block]))
        }),
        overbid: calibrated.map(|_| Overbid {
            impressions: replayed.total().overbid_impressions,
            cost: sum(&|block| bought[block].overbid_cost),
            loss: sum(&overbid_loss),
        }),
        recalibration_gain: calibrated
            .filter(|_| way == 0)
            .map(|calibrated| sum(&|block| surplus_of(&calibrated.blocks[block]) - surplus_of(&bought[block]))),
        ended_at: replayed.ended.map(|row| row as f64 / offer.rows.iter().sum::<f64>()),
        multiplier: replayed.multiplier,
    }
}

/// A statistic of block sums and its interval; `None` when it does not exist on all rows.
fn estimate<const SUMS: usize>(
    blocks: usize,
    bootstrap: Bootstrap,
    quantities: impl Fn(usize) -> [f64; SUMS],
    statistic: impl Fn(&[f64; SUMS]) -> Option<f64>,
) -> Option<Estimate> {
    let mut sums = [0.0; SUMS];
    for block in 0..blocks {
        sums.iter_mut().zip(quantities(block)).for_each(|(sum, part)| *sum += part);
    }
    let value = statistic(&sums)?;
    let interval = BlockSums::collect(blocks, Blocks::Rows(1), quantities).interval(bootstrap, statistic);
    Some(Estimate { value, low: interval.map(|of| of.low), high: interval.map(|of| of.high) })
}

fn ratio(above: f64, below: f64) -> Option<f64> {
    (below > 0.0).then(|| above / below)
}
