//! Probability and the worth of a click → a price, in the auction's currency.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The currency of floors and bids where a request does not say (OpenRTB 2.6, 3.2.4 and 4.2.1).
pub(super) const DEFAULT: &str = "USD";

/// Prices are told in millionths: finer is noise, and rounding down never bids more than an impression is worth.
const STEPS: f64 = 1e6;

/// What currencies are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    base: String,
    /// Units of `base` for one unit.
    rates: BTreeMap<String, f64>,
}

impl Rates {
    /// `rates` in units of `base`.
    ///
    /// # Errors
    /// Config when a currency is not three capital letters or a rate is not above 0.
    pub fn new(base: &str, rates: &BTreeMap<String, f64>) -> Result<Rates> {
        let mut all = rates.clone();
        all.insert(base.to_owned(), 1.0);
        for (currency, rate) in &all {
            if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_uppercase()) {
                let message = format!("expected three capital letters, as in USD, got {currency:?}");
                return Err(Error::config("serve", "openrtb.rates", message));
            }
            if !(rate.is_finite() && *rate > 0.0) {
                return Err(Error::config(
                    "serve",
                    "openrtb.rates",
                    format!("{currency}: expected above 0, got {rate}"),
                ));
            }
        }
        if let Some(rate) = rates.get(base).filter(|rate| **rate != 1.0) {
            let message = format!("{base} is the currency itself: expected 1, got {rate}");
            return Err(Error::config("serve", "openrtb.rates", message));
        }
        Ok(Rates { base: base.to_owned(), rates: all })
    }

    /// The currency that the others are told in.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether a currency's worth is known.
    pub fn knows(&self, currency: &str) -> bool {
        self.rates.contains_key(currency)
    }

    /// An amount in another currency; `None` when one of the two is not known.
    pub fn convert(&self, amount: f64, from: &str, to: &str) -> Option<f64> {
        if from == to {
            return Some(amount);
        }
        Some(amount * self.rates.get(from)? / self.rates.get(to)?)
    }
}

/// A price for one impression, all amounts CPM in one currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Offer {
    /// What a thousand such impressions are worth: pCTR × worth of a click × 1000.
    pub(super) worth: f64,
    /// Least price that is taken.
    pub(super) floor: f64,
    /// Auction type: 1 first price, 2 second price plus, 3 the floor is the price.
    pub(super) at: u32,
    /// Share of the worth that is bid where the winner pays its bid.
    pub(super) first_price_share: f64,
}

impl Offer {
    /// The bid; `None` below the floor. Where the winner pays the second price, bidding the worth is the best one can do
    /// (Vickrey 1961); elsewhere a bidder that wants to gain bids less. Types of the exchange's own (from 500) are taken as
    /// first price, the careful one.
    pub(super) fn price(&self) -> Option<f64> {
        let price = match self.at {
            2 => self.worth,
            3 if self.worth >= self.floor => return Some(self.floor).filter(|price| *price > 0.0),
            3 => return None,
            _ => self.worth * self.first_price_share,
        };
        let price = (price * STEPS).floor() / STEPS;
        Some(price).filter(|price| price.is_finite() && *price > 0.0 && *price >= self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_change_currency_and_back() {
        let rates = [("EUR".to_owned(), 1.25), ("JPY".to_owned(), 0.01)].into_iter().collect();
        let rates = Rates::new("USD", &rates).unwrap();
        assert_eq!(rates.convert(2.0, "EUR", "USD"), Some(2.5));
        assert_eq!(rates.convert(2.0, "EUR", "JPY"), Some(250.0));
        assert_eq!(rates.convert(2.0, "USD", "GBP"), None);
        assert_eq!(rates.convert(2.0, "GBP", "GBP"), Some(2.0));
        for (base, currency, rate) in
            [("usd", "EUR", 1.0), ("USD", "EUR", 0.0), ("USD", "EURO", 1.0), ("USD", "USD", 2.0)]
        {
            assert!(
                Rates::new(base, &[(currency.to_owned(), rate)].into_iter().collect()).is_err(),
                "{base} {currency}"
            );
        }
    }

    #[test]
    fn prices_follow_the_auction_and_keep_the_floor() {
        let offer = |at, worth, floor| Offer { worth, floor, at, first_price_share: 0.5 }.price();
        assert_eq!(offer(2, 3.0, 2.0), Some(3.0));
        assert_eq!(offer(1, 3.0, 2.0), None);
        assert_eq!(offer(1, 4.0, 2.0), Some(2.0));
        assert_eq!(offer(501, 4.0, 1.0), Some(2.0));
        assert_eq!(offer(3, 4.0, 2.0), Some(2.0));
        assert_eq!(offer(3, 1.0, 2.0), None);
        assert_eq!(offer(2, 1.0000019, 0.0), Some(1.000001));
        assert_eq!(offer(2, 1.0, 1.0), Some(1.0));
        assert_eq!(offer(2, f64::NAN, 0.0), None);
        assert_eq!(offer(2, 0.0, 0.0), None);
    }
}
