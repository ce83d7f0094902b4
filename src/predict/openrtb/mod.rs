//! An OpenRTB 2.6 bid request → bids: price = pCTR × what a click is worth. No HTTP here.
//!
//! ```text
//! BidRequest ─▶ request    what the protocol says, checked
//!            ─▶ mapping    JSON paths → fields of the schema      (mapping.toml)
//!            ─▶ eligible   which ads may fill which impression    (ads.toml)
//!            ─▶ scorer     probability of a click on each
//!            ─▶ money      probability → CPM in the auction's currency, against the floor
//!            ─▶ response   the best of each impression as a bid
//! ```
//!
//! The specification is IAB Tech Lab, "OpenRTB 2.6"; names of objects and attributes are its names.

mod ads;
mod auction;
mod eligible;
mod extract;
mod mapping;
mod money;
mod request;
mod response;
mod settings;

pub use ads::{Ad, Ads, Size};
pub use auction::{Auction, Bidder, Impression};
pub use eligible::NoBid;
pub use mapping::Mapping;
pub use money::Rates;
pub use request::{BidRequest, Malformed, Problem};
pub use response::{Explained, no_bid, response};
pub use settings::{NoBidAnswer, OpenRtbSettings};
