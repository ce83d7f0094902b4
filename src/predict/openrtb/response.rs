//! Bids → a BidResponse (OpenRTB 2.6, 4.2.1).

use std::collections::BTreeMap;

use serde::Serialize;

use super::ads::Ad;
use super::auction::{Auction, Bid};
use super::eligible::NoBid;
use super::request::BidRequest;
use crate::predict::json::Hex;
use crate::predict::scorer::Scored;

/// What an answer tells about itself, where it may.
#[derive(Debug, Clone, Copy)]
pub struct Explained<'a> {
    /// The model.
    pub model: &'a str,
    /// Microseconds from the request's arrival.
    pub micros: u64,
}

/// The answer of an auction whose impressions were scored, in their order; `None` for no bid, for the auction's reason.
pub fn response(
    request: &BidRequest<'_>,
    auction: &mut Auction<'_>,
    scored: &[Vec<Scored>],
    seat: Option<&str>,
    explained: Option<Explained<'_>>,
) -> Option<Vec<u8>> {
    let bids = auction.bids(scored);
    if bids.is_empty() {
        return None;
    }
    let bid: Vec<WireBid<'_>> = bids.iter().map(|bid| WireBid::new(&request.id, bid, explained.is_some())).collect();
    let response = Response {
        id: &request.id,
        seatbid: Some([SeatBid { bid, seat }]),
        cur: Some(auction.currency),
        nbr: None,
        ext: explained.map(|Explained { model, micros }| ext(Whole { model, micros })),
    };
    serde_json::to_vec(&response).ok()
}

/// The answer that says why there is no bid.
pub fn no_bid(request: &BidRequest<'_>, reason: NoBid) -> Vec<u8> {
    let response = Response::<()> { id: &request.id, seatbid: None, cur: None, nbr: Some(reason.code()), ext: None };
    serde_json::to_vec(&response).expect("strings and numbers can be written as JSON")
}

#[derive(Serialize)]
struct Response<'a, Ext: Serialize> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seatbid: Option<[SeatBid<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cur: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbr: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<Ext>,
}

#[derive(Serialize)]
struct SeatBid<'a> {
    bid: Vec<WireBid<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seat: Option<&'a str>,
}

#[derive(Serialize)]
struct WireBid<'a> {
    id: String,
    impid: &'a str,
    price: f64,
    adid: &'a str,
    w: u32,
    h: u32,
    #[serde(flatten)]
    texts: BTreeMap<&'static str, &'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    adomain: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cat: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attr: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<BTreeMap<&'static str, OfBid>>,
}

/// `ext.pctr` of a bid.
#[derive(Serialize)]
struct OfBid {
    probability: f64,
    tier: &'static str,
    fingerprint: Hex,
}

/// `ext.pctr` of the answer.
#[derive(Serialize)]
struct Whole<'a> {
    model: &'a str,
    micros: u64,
}

fn ext<Told>(told: Told) -> BTreeMap<&'static str, Told> {
    BTreeMap::from([("pctr", told)])
}

impl<'a> WireBid<'a> {
    fn new(request: &str, bid: &Bid<'a>, explained: bool) -> WireBid<'a> {
        let Ad { cid, crid, bundle, adm, nurl, burl, lurl, iurl, .. } = bid.ad;
        let texts = [
            ("cid", cid),
            ("crid", crid),
            ("bundle", bundle),
            ("adm", adm),
            ("nurl", nurl),
            ("burl", burl),
            ("lurl", lurl),
            ("iurl", iurl),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
        let scored = &bid.scored;
        let about = || OfBid {
            probability: scored.probability,
            tier: scored.tier.name(),
            fingerprint: Hex(scored.fingerprint),
        };
        WireBid {
            id: format!("{request}-{}", &*bid.imp.id),
            impid: &bid.imp.id,
            price: bid.price,
            adid: &bid.ad.id,
            w: bid.size.w,
            h: bid.size.h,
            texts: texts.chain(bid.deal.map(|deal| ("dealid", deal))).collect(),
            adomain: &bid.ad.adomain,
            cat: &bid.ad.cat,
            attr: &bid.ad.attr,
            ext: explained.then(|| ext(about())),
        }
    }
}
