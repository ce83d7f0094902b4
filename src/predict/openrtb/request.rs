//! A body → what the protocol says of an auction, with every attribute checked that the specification requires.
//!
//! Attributes that neither the protocol nor a mapping needs are passed over unread: exchanges send much that is theirs.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::predict::json::Text;

/// What is wrong with a bid request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It is no JSON, or no UTF-8.
    Json,
    /// A required attribute is missing.
    Missing,
    /// An attribute is of another type.
    WrongType,
    /// An attribute stands twice in one object.
    Duplicate,
    /// A value means nothing.
    Value,
    /// There are more impressions than the service takes.
    TooMany,
}

/// A bid request that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub problem: Problem,
    /// Where, as in `imp[0].video.mimes`; empty for the whole.
    pub path: String,
    /// What was expected and what was found.
    pub message: String,
}

impl Malformed {
    pub(super) fn new(problem: Problem, path: impl Into<String>, message: impl Into<String>) -> Malformed {
        Malformed { problem, path: path.into(), message: message.into() }
    }
}

/// The parts of a BidRequest (section 3.2.1) that decide about bids.
#[derive(Debug, Deserialize)]
pub struct BidRequest<'a> {
    /// Identity of the auction.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// What is offered, at least one.
    #[serde(borrow)]
    pub imp: Vec<Imp<'a>>,
    /// Auction type: 1 first price, 2 second price plus.
    pub at: Option<u32>,
    /// Milliseconds that the exchange waits.
    pub tmax: Option<f64>,
    /// Allowed currencies.
    #[serde(borrow)]
    pub cur: Option<Vec<Text<'a>>>,
    /// Buyer seats that may bid.
    #[serde(borrow)]
    pub wseat: Option<Vec<Text<'a>>>,
    /// Buyer seats that may not.
    #[serde(borrow)]
    pub bseat: Option<Vec<Text<'a>>>,
    /// Blocked categories.
    #[serde(borrow)]
    pub bcat: Option<Vec<Text<'a>>>,
    /// Allowed categories.
    #[serde(borrow)]
    pub acat: Option<Vec<Text<'a>>>,
    /// Taxonomy of both; 1 where it is not told.
    pub cattax: Option<u32>,
    /// Blocked advertiser domains.
    #[serde(borrow)]
    pub badv: Option<Vec<Text<'a>>>,
    /// Blocked apps.
    #[serde(borrow)]
    pub bapp: Option<Vec<Text<'a>>>,
    site: Option<IgnoredAny>,
    app: Option<IgnoredAny>,
    dooh: Option<IgnoredAny>,
    #[serde(borrow, rename = "source")]
    _source: Option<Source<'a>>,
    #[serde(borrow)]
    device: Option<Device<'a>>,
}

/// An impression offered (3.2.4).
#[derive(Debug, Deserialize)]
pub struct Imp<'a> {
    /// Identity within the request.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// As a banner.
    pub banner: Option<Banner>,
    #[serde(borrow)]
    video: Option<Mimes<'a>>,
    #[serde(borrow)]
    audio: Option<Mimes<'a>>,
    #[serde(borrow)]
    native: Option<Native<'a>>,
    #[serde(borrow, rename = "metric")]
    _metric: Option<Vec<Metric<'a>>>,
    #[serde(borrow)]
    qty: Option<Qty<'a>>,
    /// Deals.
    #[serde(borrow)]
    pub pmp: Option<Pmp<'a>>,
    /// Least price, CPM.
    pub bidfloor: Option<f64>,
    /// Its currency; USD where it is not told.
    #[serde(borrow)]
    pub bidfloorcur: Option<Text<'a>>,
    /// 1 when markup must be loaded over HTTPS.
    pub secure: Option<u32>,
}

/// A banner (3.2.6).
#[derive(Debug, Deserialize)]
pub struct Banner {
    /// Sizes allowed.
    pub format: Option<Vec<Format>>,
    /// Exact width, in device-independent pixels, where no format is given.
    pub w: Option<u32>,
    /// Exact height.
    pub h: Option<u32>,
    /// Blocked creative attributes.
    pub battr: Option<Vec<u32>>,
}

/// A size (3.2.10).
#[derive(Debug, Deserialize)]
pub struct Format {
    /// Width in device-independent pixels.
    pub w: Option<u32>,
    /// Height.
    pub h: Option<u32>,
}

/// A private marketplace (3.2.11).
#[derive(Debug, Deserialize)]
pub struct Pmp<'a> {
    /// 1 when only the deals may be bid on.
    pub private_auction: Option<u32>,
    /// The deals.
    #[serde(borrow)]
    pub deals: Option<Vec<Deal<'a>>>,
}

/// A deal (3.2.12).
#[derive(Debug, Deserialize)]
pub struct Deal<'a> {
    /// Its identity.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Least price, CPM; the price itself where `at` is 3.
    pub bidfloor: Option<f64>,
    /// Its currency; USD where it is not told.
    #[serde(borrow)]
    pub bidfloorcur: Option<Text<'a>>,
    /// Auction type in place of the request's.
    pub at: Option<u32>,
    /// Buyer seats that may bid.
    #[serde(borrow)]
    pub wseat: Option<Vec<Text<'a>>>,
    /// Advertiser domains that may bid.
    #[serde(borrow)]
    pub wadomain: Option<Vec<Text<'a>>>,
}

/// What video and audio must have (3.2.7, 3.2.8).
#[derive(Debug, Deserialize)]
struct Mimes<'a> {
    #[serde(borrow, rename = "mimes")]
    _mimes: Vec<Text<'a>>,
}

/// 3.2.9
#[derive(Debug, Deserialize)]
struct Native<'a> {
    #[serde(borrow, rename = "request")]
    _request: Text<'a>,
}

/// 3.2.5
#[derive(Debug, Deserialize)]
struct Metric<'a> {
    #[serde(borrow, rename = "type")]
    _kind: Text<'a>,
    #[serde(rename = "value")]
    _value: f64,
}

/// 3.2.31
#[derive(Debug, Deserialize)]
struct Qty<'a> {
    #[serde(rename = "multiplier")]
    _multiplier: f64,
    sourcetype: Option<u32>,
    #[serde(borrow)]
    vendor: Option<Text<'a>>,
}

/// 3.2.2
#[derive(Debug, Deserialize)]
struct Source<'a> {
    #[serde(borrow, rename = "schain")]
    _schain: Option<SupplyChain<'a>>,
}

/// 3.2.25
#[derive(Debug, Deserialize)]
struct SupplyChain<'a> {
    #[serde(rename = "complete")]
    _complete: u32,
    #[serde(borrow, rename = "nodes")]
    _nodes: Vec<SupplyChainNode<'a>>,
    #[serde(borrow, rename = "ver")]
    _ver: Text<'a>,
}

/// 3.2.26
#[derive(Debug, Deserialize)]
struct SupplyChainNode<'a> {
    #[serde(borrow, rename = "asi")]
    _asi: Text<'a>,
    #[serde(borrow, rename = "sid")]
    _sid: Text<'a>,
}

/// 3.2.18
#[derive(Debug, Deserialize)]
struct Device<'a> {
    #[serde(borrow, rename = "sua")]
    _sua: Option<UserAgent<'a>>,
    geo: Option<Geo>,
}

/// 3.2.19
#[derive(Debug, Deserialize)]
struct Geo {
    utcoffset: Option<f64>,
}

/// 3.2.29
#[derive(Debug, Deserialize)]
struct UserAgent<'a> {
    #[serde(borrow, rename = "browsers")]
    _browsers: Option<Vec<BrandVersion<'a>>>,
    #[serde(borrow, rename = "platform")]
    _platform: Option<BrandVersion<'a>>,
}

/// 3.2.30
#[derive(Debug, Deserialize)]
struct BrandVersion<'a> {
    #[serde(borrow, rename = "brand")]
    _brand: Text<'a>,
}

impl<'a> BidRequest<'a> {
    /// Reads a body of at most `most` impressions.
    ///
    /// # Errors
    /// With the path of what is wrong.
    pub fn parse(body: &'a [u8], most: usize) -> Result<BidRequest<'a>, Malformed> {
        let text = std::str::from_utf8(body).map_err(|error| {
            Malformed::new(Problem::Json, "", format!("expected UTF-8, got another byte at {}", error.valid_up_to()))
        })?;
        let request: BidRequest<'a> = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
        request.check(most)?;
        Ok(request)
    }

    /// Minutes that the user's clock is ahead of UTC; 0 where it is not told.
    pub(super) fn utc_offset_minutes(&self) -> i64 {
        let offset = self.device.as_ref().and_then(|device| device.geo.as_ref()).and_then(|geo| geo.utcoffset);
        offset.filter(|offset| offset.abs() <= 24.0 * 60.0).map_or(0, |offset| offset as i64)
    }

    fn check(&self, most: usize) -> Result<(), Malformed> {
        let wrong = |path: String, message: &str| Err(Malformed::new(Problem::Value, path, message));
        if self.imp.is_empty() {
            return wrong("imp".into(), "expected at least one impression, got an empty list");
        }
        if self.imp.len() > most {
            let message = format!("expected at most {most} impressions, got {}", self.imp.len());
            return Err(Malformed::new(Problem::TooMany, "imp", message));
        }
        if [&self.site, &self.app, &self.dooh].into_iter().flatten().count() > 1 {
            return wrong("site".into(), "expected at most one of site, app and dooh");
        }
        if self.tmax.is_some_and(|tmax| tmax < 0.0) {
            return wrong("tmax".into(), "expected milliseconds of at least 0");
        }
        let mut ids = HashSet::new();
        for (place, imp) in self.imp.iter().enumerate() {
            if !ids.insert(&*imp.id) {
                return wrong(format!("imp[{place}].id"), "expected another id than the impressions before it");
            }
            if imp.bidfloor.is_some_and(|floor| floor < 0.0) {
                return wrong(format!("imp[{place}].bidfloor"), "expected a price of at least 0");
            }
            if imp.qty.as_ref().is_some_and(|qty| qty.sourcetype == Some(1) && qty.vendor.is_none()) {
                let message = "it is missing, and sourcetype is 1";
                return Err(Malformed::new(Problem::Missing, format!("imp[{place}].qty.vendor"), message));
            }
            let deals = imp.pmp.iter().flat_map(|pmp| pmp.deals.iter().flatten());
            if let Some(deal) = deals.clone().position(|deal| deal.bidfloor.is_some_and(|floor| floor < 0.0)) {
                return wrong(format!("imp[{place}].pmp.deals[{deal}].bidfloor"), "expected a price of at least 0");
            }
        }
        Ok(())
    }
}

impl Imp<'_> {
    /// Whether it is offered as something that this bidder has no ads for.
    pub(super) fn is_other_media(&self) -> bool {
        self.banner.is_none() && (self.video.is_some() || self.audio.is_some() || self.native.is_some())
    }
}

/// What the parser said → what is wrong where. Read again, with the path kept: this is not the path of good requests.
fn explain(text: &str, error: &serde_json::Error) -> Malformed {
    if matches!(error.classify(), Category::Syntax | Category::Eof | Category::Io) {
        return Malformed::new(Problem::Json, "", format!("the body is no JSON: {error}"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, BidRequest<'_>>(&mut reader) else {
        return Malformed::new(Problem::Json, "", error.to_string());
    };
    let mut path = error.path().to_string();
    if path == "." {
        path.clear();
    }
    let message = error.inner().to_string();
    let attribute = message.split('`').nth(1).unwrap_or_default();
    let joined = |attribute: &str| if path.is_empty() { attribute.to_owned() } else { format!("{path}.{attribute}") };
    if message.starts_with("missing field") {
        Malformed::new(Problem::Missing, joined(attribute), "it is required and missing")
    } else if message.starts_with("duplicate field") {
        Malformed::new(Problem::Duplicate, joined(attribute), "it stands there twice")
    } else if message.starts_with("invalid value") {
        Malformed::new(Problem::Value, path, message)
    } else {
        Malformed::new(Problem::WrongType, path, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malformed(body: &str) -> (Problem, String) {
        let malformed = BidRequest::parse(body.as_bytes(), 2).unwrap_err();
        (malformed.problem, malformed.path)
    }

    #[test]
    fn what_is_wrong_is_told_with_its_path() {
        for (body, problem, path) in [
            ("", Problem::Json, ""),
            ("[]", Problem::WrongType, ""),
            (r#"{"imp": [{"id": "1"}]}"#, Problem::Missing, "id"),
            (r#"{"id": "a"}"#, Problem::Missing, "imp"),
            (r#"{"id": "a", "imp": []}"#, Problem::Value, "imp"),
            (r#"{"id": "a", "imp": [{}]}"#, Problem::Missing, "imp[0].id"),
            (r#"{"id": "a", "imp": [{"id": "1"}, {"id": "1"}]}"#, Problem::Value, "imp[1].id"),
            (r#"{"id": "a", "imp": [{"id": "1"}, {"id": "2"}, {"id": "3"}]}"#, Problem::TooMany, "imp"),
            (r#"{"id": "a", "imp": [{"id": 1}]}"#, Problem::WrongType, "imp[0].id"),
            (r#"{"id": "a", "imp": [{"id": "1", "video": {}}]}"#, Problem::Missing, "imp[0].video.mimes"),
            (r#"{"id": "a", "imp": [{"id": "1", "bidfloor": -1}]}"#, Problem::Value, "imp[0].bidfloor"),
            (r#"{"id": "a", "imp": [{"id": "1", "bidfloor": 1e999}]}"#, Problem::Json, ""),
            (r#"{"id": "a", "imp": [{"id": "1", "bidfloor": "1"}]}"#, Problem::WrongType, "imp[0].bidfloor"),
            (r#"{"id": "a", "id": "b", "imp": [{"id": "1"}]}"#, Problem::Duplicate, "id"),
            (r#"{"id": "a", "at": -2, "imp": [{"id": "1"}]}"#, Problem::Value, "at"),
            (r#"{"id": "a", "site": {}, "app": {}, "imp": [{"id": "1"}]}"#, Problem::Value, "site"),
        ] {
            assert_eq!(malformed(body), (problem, path.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_is_not_needed_is_passed_over() {
        let body = r#"{"id": "a", "test": [[]], "ext": {"x": 1}, "imp": [{"id": "1", "metric": [{"type": "v", "value": 0.5}]}]}"#;
        let request = BidRequest::parse(body.as_bytes(), 1).unwrap();
        assert_eq!((&*request.id, request.imp.len()), ("a", 1));
    }
}
