//! What an auction came to → a table of money for each way to spend it.

use super::minus;
use crate::learn::auction::{AuctionReport, Estimate, Outcome};
use crate::learn::report::content::Table;

/// One table for each scenario.
pub(in crate::learn::report) fn auction(report: &AuctionReport) -> Vec<Table> {
    let first = report.models.first().map(|model| model.name.clone()).unwrap_or_default();
    let columns = [
        ("Model", String::new()),
        ("Impressions", "won".into()),
        ("Clicks", "of the impressions won".into()),
        ("Cost", "money paid".into()),
        ("Win rate", "impressions won over rows replayed".into()),
        ("CPM", "cost of 1,000 impressions".into()),
        ("eCPC", "cost of a click".into()),
        ("Surplus", "value of the clicks minus cost".into()),
        ("Against the first", format!("surplus minus that of {first}, on the same resamples")),
        (
            "Lost by over-bidding",
            "money paid for what calibrated bids would not have bought, less what its clicks are worth".into(),
        ),
    ];
    let of = |outcome: &Outcome| {
        let plain = |digits: usize| move |estimate: Estimate| money(estimate.value, digits);
        vec![
            outcome.name.clone(),
            plain(0)(outcome.impressions),
            plain(0)(outcome.clicks),
            plain(2)(outcome.cost),
            format!("{:.1} %", outcome.win_rate.value * 100.0),
            outcome.cpm.map_or("–".into(), plain(3)),
            outcome.ecpc.map_or("–".into(), plain(3)),
            bounded(outcome.surplus),
            outcome.surplus_difference.map_or("–".into(), bounded),
            outcome.overbid.map_or("–".into(), |overbid| bounded(overbid.loss)),
        ]
    };
    let tables = report.scenarios.iter().map(|scenario| Table {
        caption: format!("Auction, {}; money in {}", scenario.spending.name(), report.currency),
        columns: columns.clone().map(|(name, meaning)| (name.to_owned(), meaning)).to_vec(),
        rows: scenario.outcomes.iter().map(of).collect(),
        marked: None,
    });
    tables.collect()
}

fn bounded(estimate: Estimate) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => {
            format!("{} [{}, {}]", money(estimate.value, 2), money(low, 2), money(high, 2))
        }
        _ => money(estimate.value, 2),
    }
}

fn money(value: f64, digits: usize) -> String {
    minus(&format!("{value:.digits$}"))
}
