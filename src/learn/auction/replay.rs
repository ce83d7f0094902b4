//! Bids against prices → what would have been bought, by blocks of rows.
//!
//! ```text
//! bid  bᵢ = λ · s · v · pᵢ          v value of a click, s shading (1 in a second-price auction), λ ≤ 1 pacing (1 without)
//! won      bᵢ ≥ cᵢ                   cᵢ what a bid must reach
//! paid     cᵢ (second price)  or  bᵢ (first price)
//! ```
//!
//! Rows are taken in time order. The first impression that the rest of the budget cannot pay ends the campaign, so the
//! budget is never exceeded, and without pacing a greater budget buys all that a smaller one does, and then more.
//!
//! **Pacing** is the integral part of the feedback controller of Zhang, Rong, Wang, Zhu and Wang ("Feedback control of
//! real-time display advertising", WSDM 2016): bids are multiplied by λ = exp(φ), and φ is moved after each of
//! [`PACING_STEPS`] equal runs of rows by [`GAIN`] times the relative error of what was spent in it. Here the aim of a step is
//! the rest of the budget times the step's share of the rows left, φ never exceeds 0 (nobody bids above value), and a
//! step that has spent [`MOST_OF_AIM`] times its aim bids no more. It knows how many impressions are still to come, as a
//! bidder knows from yesterday, and nothing else of the future.

use serde::{Deserialize, Serialize};

/// Equal runs of rows between two moves of the bid multiplier; fewer in a small log.
pub const PACING_STEPS: usize = 500;
/// Rows that a step has at least: what fewer spend says little.
const LEAST_STEP_ROWS: usize = 20;
/// How much of the relative error moves the logarithm of the multiplier.
pub const GAIN: f64 = 0.2;
/// A step that has spent this many times its aim bids no more; the error of a step is thus within −1 and about 1.
pub const MOST_OF_AIM: f64 = 2.0;

/// Runs of rows whose spending is told.
pub const SPEND_POINTS: usize = 50;

/// What a winner pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auction {
    /// What the bid had to reach.
    Second,
    /// The bid.
    First,
}

/// How a probability becomes a bid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bidding {
    /// What a winner pays.
    pub auction: Auction,
    /// Currency for a click, above 0.
    pub value_per_click: f64,
    /// Share of the value that is bid, in (0, 1].
    pub shading: f64,
}

impl Bidding {
    /// Currency for one impression.
    #[inline]
    pub fn bid(&self, probability: f64) -> f64 {
        self.shading * self.value_per_click * probability
    }

    #[inline]
    fn payment(&self, bid: f64, price: f64) -> f64 {
        match self.auction {
            Auction::Second => price,
            Auction::First => bid,
        }
    }
}

/// How money is spent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spending {
    /// Without a budget: rows do not depend on each other.
    Unlimited,
    /// Full bids until this much is spent.
    UntilGone(f64),
    /// Bids scaled so that this much lasts to the end.
    Paced(f64),
}

/// Rows that can be replayed, in time order; all columns of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Market {
    /// What a bid must reach, currency for one impression.
    pub price: Vec<f64>,
    /// Clicks that the impression brings: 0 or 1 as logged, or the true probability.
    pub clicks: Vec<f64>,
    /// Whether it was clicked, where the log knows.
    pub clicked: Vec<Option<bool>>,
    /// Number of the block each row is resampled with, from 0 in the order of first rows.
    pub block: Vec<u32>,
    /// Number of blocks.
    pub blocks: usize,
}

impl Market {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.price.len()
    }
}

/// What was bought of one block, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Impressions won.
    pub impressions: f64,
    /// Their clicks.
    pub clicks: f64,
    /// What was paid, currency.
    pub cost: f64,
    /// Impressions won that a calibrated bid would not have won.
    pub overbid_impressions: f64,
    /// Their clicks.
    pub overbid_clicks: f64,
    /// What was paid for them, currency.
    pub overbid_cost: f64,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Tally) {
        self.impressions += other.impressions;
        self.clicks += other.clicks;
        self.cost += other.cost;
        self.overbid_impressions += other.overbid_impressions;
        self.overbid_clicks += other.overbid_clicks;
        self.overbid_cost += other.overbid_cost;
    }
}

/// What was bought.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// By block.
    pub blocks: Vec<Tally>,
    /// Money spent in each of [`SPEND_POINTS`] equal runs of rows, currency.
    pub spent: Vec<f64>,
    /// Row at which the budget could pay no more.
    pub ended: Option<usize>,
    /// Bid multiplier after the last row; 1 without pacing.
    pub multiplier: f64,
}

impl Replay {
    /// Sum over blocks.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.blocks.iter().for_each(|block| total.add(block));
        total
    }
}

/// Replays one model's probabilities. With `calibrated` probabilities of the same rows, impressions that they would not have
/// bought, `bid(calibrated) < price`, are counted as over-bid.
///
/// # Panics
/// When lengths differ.
pub fn replay(
    market: &Market,
    probabilities: &[f64],
    calibrated: Option<&[f64]>,
    bidding: &Bidding,
    spending: Spending,
) -> Replay {
    assert_eq!(market.rows(), probabilities.len(), "one probability for each row");
    assert!(calibrated.is_none_or(|calibrated| calibrated.len() == probabilities.len()), "as many calibrated ones");
    let rows = market.rows();
    let mut blocks = vec![Tally::default(); market.blocks];
    let mut spent_by = vec![0.0; SPEND_POINTS];
    let mut buy = |row: usize, paid: f64| {
        spent_by[row * SPEND_POINTS / rows] += paid;
        let bought = &mut blocks[market.block[row] as usize];
        bought.impressions += 1.0;
        bought.clicks += market.clicks[row];
        bought.cost += paid;
        if calibrated.is_some_and(|calibrated| bidding.bid(calibrated[row]) < market.price[row]) {
            bought.overbid_impressions += 1.0;
            bought.overbid_clicks += market.clicks[row];
            bought.overbid_cost += paid;
        }
    };
    let (mut left, steps) = match spending {
        Spending::Unlimited => (f64::INFINITY, 1),
        Spending::UntilGone(budget) => (budget, 1),
        Spending::Paced(budget) => (budget, (rows / LEAST_STEP_ROWS).clamp(1, PACING_STEPS)),
    };
    let paced = matches!(spending, Spending::Paced(_));
    let mut log_multiplier = 0.0_f64;
    let mut ended = None;
    'campaign: for step in 0..steps {
        let (first, end) = (step * rows / steps, (step + 1) * rows / steps);
        let aim = left * (end - first) as f64 / (rows - first).max(1) as f64;
        let most = if paced { MOST_OF_AIM * aim } else { f64::INFINITY };
        let multiplier = log_multiplier.exp();
        let mut spent = 0.0;
        let on_offer = probabilities.iter().zip(&market.price).enumerate();
        for (row, (&probability, &price)) in on_offer.take(end).skip(first) {
            let bid = multiplier * bidding.bid(probability);
            if bid < price {
                continue;
            }
            let paid = bidding.payment(bid, price);
            if paid > left {
                ended = Some(row);
                break 'campaign;
            }
            left -= paid;
            spent += paid;
            buy(row, paid);
            if spent >= most {
                break;
            }
        }
        if paced && aim > 0.0 {
            // One dear impression may overshoot the most by far; it says no more than that this was too much.
            let error = 1.0 - (spent / aim).min(MOST_OF_AIM);
            log_multiplier = (log_multiplier + GAIN * error).min(0.0);
        }
    }
    Replay { blocks, spent: spent_by, ended, multiplier: log_multiplier.exp() }
}
