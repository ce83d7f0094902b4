//! What an auction came to: the figures, in a shape that JSON, CSV, the terminal and a report can show.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::replay::{Bidding, Spending};
use crate::metrics::bootstrap::{Bootstrap, Estimate};

/// What the bids of models would have won, spent and earned. Money is in `currency`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuctionReport {
    /// Name of the log.
    pub log: String,
    /// Currency of all money.
    pub currency: String,
    /// How probabilities became bids.
    pub bidding: Bidding,
    /// Money for the whole log, if it was limited.
    pub budget: Option<f64>,
    /// What was counted as clicks.
    pub clicks: Clicks,
    /// How intervals were made.
    pub resampling: Resampling,
    /// Rows of the log.
    pub rows: RowCounts,
    /// How good the probabilities are, one a model. The first model is what the others are compared with.
    pub models: Vec<Quality>,
    /// Without a budget first.
    pub scenarios: Vec<Scenario>,
}

/// What is counted as clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clicks {
    /// Those of the log; only rows that were shown can be replayed.
    Logged,
    /// The true probability of each row, as generated logs know it.
    Expected,
}

/// How intervals were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resampling {
    /// What a block is, in words.
    pub by: String,
    /// Blocks that were resampled.
    pub blocks: usize,
    /// Resamples, coverage and seed.
    pub bootstrap: Bootstrap,
}

/// Rows of the log and why some were not replayed. Each row counts once; all but `logged_*` add up to `rows`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RowCounts {
    /// All.
    pub rows: u64,
    /// That hold nothing usable.
    pub bad: u64,
    /// Lost by the logging bidder, so that nobody knows whether they would have been clicked.
    pub lost: u64,
    /// Without a price to beat.
    pub no_price: u64,
    /// Without a probability of every model (or of the truth).
    pub not_predicted: u64,
    /// Replayed.
    pub replayed: u64,
    /// Clicks of the replayed rows.
    pub logged_clicks: f64,
    /// What all replayed rows would cost at their price, currency.
    pub logged_cost: f64,
}

/// How good one model's probabilities are on the replayed rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The model.
    pub name: String,
    /// Mean log loss in nats; against the true probabilities where clicks are expected ones.
    pub log_loss: f64,
    /// Predicted clicks over clicks.
    pub pcoc: Option<f64>,
    /// Log loss minus that of the first model, nats; below 0 is better.
    pub log_loss_difference: Option<Estimate>,
}

/// One way to spend money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// How money is spent.
    pub spending: Spending,
    /// One a model, in the order of [`AuctionReport::models`].
    pub outcomes: Vec<Outcome>,
}

/// What one model's bids come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The model.
    pub name: String,
    /// Impressions won.
    pub impressions: Estimate,
    /// Their clicks.
    pub clicks: Estimate,
    /// Money paid.
    pub cost: Estimate,
    /// Impressions won over rows replayed.
    pub win_rate: Estimate,
    /// Cost of 1,000 impressions won; `None` without one.
    pub cpm: Option<Estimate>,
    /// Cost of a click; `None` without one.
    pub ecpc: Option<Estimate>,
    /// Value of the clicks minus cost.
    pub surplus: Estimate,
    /// Surplus minus that of the first model, on the same resamples.
    pub surplus_difference: Option<Estimate>,
    /// Money paid for what calibrated bids would not have bought; `None` with too few clicks to calibrate.
    pub overbid: Option<Overbid>,
    /// Surplus of calibrated bids minus surplus; without a budget only.
    pub recalibration_gain: Option<Estimate>,
    /// Money spent after each fiftieth of the rows, currency.
    pub spent: Vec<f64>,
    /// Share of the rows after which the budget could pay no more; `None` when it lasted.
    pub ended_at: Option<f64>,
    /// Bid multiplier at the end; 1 without pacing.
    pub multiplier: f64,
}

/// What miscalibration bought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overbid {
    /// Impressions won that a calibrated bid would not have won.
    pub impressions: f64,
    /// Money paid for them.
    pub cost: Estimate,
    /// That money minus the value of their clicks: what they lost.
    pub loss: Estimate,
}

impl Spending {
    /// Name in tables and files.
    pub fn name(&self) -> &'static str {
        match self {
            Spending::Unlimited => "no budget",
            Spending::UntilGone(_) => "budget",
            Spending::Paced(_) => "budget, paced",
        }
    }
}

impl AuctionReport {
    /// What each other model is worth against the first one, a sentence each, by scenario.
    pub fn verdicts(&self) -> Vec<String> {
        let Some(first) = self.models.first() else { return Vec::new() };
        let mut verdicts = Vec::new();
        for scenario in &self.scenarios {
            for (quality, outcome) in self.models.iter().zip(&scenario.outcomes) {
                let Some(difference) = outcome.surplus_difference else { continue };
                let interval = match (difference.low, difference.high) {
                    (Some(low), Some(high)) => format!(" [{low:+.2}, {high:+.2}]"),
                    _ => String::new(),
                };
                let loss = quality.log_loss_difference.map_or(0.0, |difference| difference.value);
                let money = format!("{:+.2} {}{interval}", difference.value, self.currency);
                let worth = match (difference.differs(), difference.value > 0.0) {
                    (true, true) => format!("earns more than {}: {money}", first.name),
                    (true, false) => format!("earns less than {}: {money}", first.name),
                    (false, _) => format!("earns what {} does, as far as these rows tell: {money}", first.name),
                };
                verdicts.push(format!(
                    "{}: {} {worth}, over {} impressions on offer and at a log-loss difference of {loss:+.5} nats.",
                    scenario.spending.name(),
                    outcome.name,
                    self.rows.replayed
                ));
            }
        }
        verdicts
    }

    /// One line for each scenario and model, with a header; an empty cell says that there is no such number.
    pub fn csv(&self) -> String {
        let mut text = String::from("scenario,model,currency");
        for name in MEASURES {
            let _ = write!(text, ",{name},{name}_low,{name}_high");
        }
        text.push_str(",overbid_impressions,ended_at,multiplier,log_loss,pcoc\n");
        for scenario in &self.scenarios {
            for (quality, outcome) in self.models.iter().zip(&scenario.outcomes) {
                let name = |name: &str| match name.contains([',', '"', '\n']) {
                    true => format!("\"{}\"", name.replace('"', "\"\"")),
                    false => name.to_owned(),
                };
                let _ =
                    write!(text, "{},{},{}", name(scenario.spending.name()), name(&outcome.name), name(&self.currency));
                for estimate in outcome.measures(quality) {
                    let [value, low, high] =
                        estimate.map_or([None; 3], |of| [Some(of.value), of.low, of.high]).map(cell);
                    let _ = write!(text, ",{value},{low},{high}");
                }
                let _ = writeln!(
                    text,
                    ",{},{},{},{},{}",
                    cell(outcome.overbid.map(|overbid| overbid.impressions)),
                    cell(outcome.ended_at),
                    outcome.multiplier,
                    quality.log_loss,
                    cell(quality.pcoc)
                );
            }
        }
        text
    }
}

/// Columns of the CSV that have an interval, in order.
const MEASURES: [&str; 12] = [
    "impressions",
    "clicks",
    "cost",
    "win_rate",
    "cpm",
    "ecpc",
    "surplus",
    "surplus_difference",
    "overbid_cost",
    "overbid_loss",
    "recalibration_gain",
    "log_loss_difference",
];

impl Outcome {
    /// In the order of [`MEASURES`].
    fn measures(&self, quality: &Quality) -> [Option<Estimate>; MEASURES.len()] {
        [
            Some(self.impressions),
            Some(self.clicks),
            Some(self.cost),
            Some(self.win_rate),
            self.cpm,
            self.ecpc,
            Some(self.surplus),
            self.surplus_difference,
            self.overbid.map(|overbid| overbid.cost),
            self.overbid.map(|overbid| overbid.loss),
            self.recalibration_gain,
            quality.log_loss_difference,
        ]
    }
}

fn cell(number: Option<f64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}
