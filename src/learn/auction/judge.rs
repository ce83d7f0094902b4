//! A market and bidders → figures with intervals.
//!
//! Each model is replayed once in every way to spend; what is left of it are sums by block. Intervals are made of those,
//! `blocks × resamples` work for a figure, whatever the number of rows. Models are worked off on several threads, each
//! model on one, so that the bits do not depend on how many there are.

use super::recalibration::cross_fitted;
use super::replay::{Bidding, Market, Replay, Spending, Tally, replay};
use super::report::{Outcome, Overbid, Quality, Scenario};
use super::{Stage, Task};
use crate::error::Result;
use crate::learn::Interrupt;
use crate::metrics::bootstrap::{BlockSums, Blocks, Bootstrap, Estimate};
use crate::metrics::losses::CLIP;
use crate::model::Threads;

/// Replays every bidder's probabilities in every way to spend, and resamples what came of it.
///
/// # Errors
/// Interrupted.
pub(super) fn judge(
    market: &Market,
    bidders: &[Bidder<'_>],
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

/// A model's name, and its probability of each row of the market.
pub(super) type Bidder<'a> = (&'a str, Vec<f64>);

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
        let spent = |spending| replay(market, probabilities, calibrated.as_deref(), bidding, spending);
        Sums {
            quality,
            replays: spendings.iter().map(|spending| spent(*spending)).collect(),
            calibrated: calibrated
                .as_ref()
                .map(|calibrated| replay(market, calibrated, None, bidding, Spending::Unlimited)),
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
        spent: (replayed.spent.iter())
            .scan(0.0, |sum, part| {
                *sum += part;
                Some(*sum)
            })
            .collect(),
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
    Some(Estimate::new(value, interval))
}

fn ratio(above: f64, below: f64) -> Option<f64> {
    (below > 0.0).then(|| above / below)
}
