//! `[openrtb]` of `serve.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::settings;

/// How a request without a bid is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoBidAnswer {
    /// 204 without a body; the reason stands in the header `x-pctr-no-bid`.
    #[default]
    Empty,
    /// 200 with `{"id", "nbr"}`.
    Body,
}

settings! {
    /// Bidding by OpenRTB 2.6.
    pub struct OpenRtbSettings {
        /// Mapping file: which JSON paths of a bid request become which fields. Without it there is no `POST /v1/openrtb`.
        pub mapping: Option<PathBuf> = None,
        /// Ads file (TOML, or JSON lines): which ads are candidates.
        pub ads: Option<PathBuf> = None,
        /// Our seat at the exchange.
        pub seat: Option<String> = None,
        /// Currency (ISO 4217) in which `rates` are told, and of ads that name none.
        pub currency: String = "USD".into(),
        /// What one unit of another currency is worth in `currency`, as in `{ EUR = 1.08 }`.
        pub rates: BTreeMap<String, f64> = BTreeMap::new(),
        /// Share of an impression's worth that is bid where the winner pays its bid (`at` = 1), above 0 to 1.
        pub first_price_share: f64 = 1.0,
        /// How a request without a bid is answered: `empty` (204) or `body` (200 with `nbr`).
        pub no_bid: NoBidAnswer = NoBidAnswer::Empty,
        /// Tell probability, tier, fingerprint and model in `bid.ext.pctr` and `ext.pctr`. Turn it off where an exchange reads
        /// the answer.
        pub explain: bool = true,
    }
}
