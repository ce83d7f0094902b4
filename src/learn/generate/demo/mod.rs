//! A seed → the log of an ad exchange, as `data/schemas/demo.toml` describes it.
//!
//! ```text
//! world ─▶ auction: requests in time order, one to four impressions each ─▶ taste: true logit ─▶ click ─▶ line
//!             ▲                                                                                   │
//!             └───────────── counters of user and ad: impressions at once, clicks after their delay ┘
//! ```
//!
//! A priced log says behind each row what the best other bid was. Prices have a stream of their own, so that everything
//! before them is the same with and without.

use super::Block;
use super::arithmetic::{exp, ln};
use super::draw::{Draw, Stream, scramble};
use super::text::Text;
use super::truth::{Outcome, Scale};

mod auction;
mod taste;
mod world;

use auction::{Auction, Impression};
pub(super) use world::TAGS;
use world::{BROWSERS, CONNECTIONS, DEVICES, PLACES, SITES, SIZES, World};

/// The first line: the columns of `data/schemas/demo.toml`.
const HEADER: &str = "request_id,timestamp,click,click_delay,user_id,device,os,browser,region,connection,\
    interests,site,app,publisher,position,size,ad,campaign,advertiser,hour,weekday,user_impressions,user_clicks,\
    ad_impressions,ad_clicks,bid_floor";

const CTR: f64 = 0.03;
const LOGIT_DEVIATION: f64 = 1.2;
/// One day.
const PILOT_ROWS: usize = 40_000;

/// Generator of the demo log.
pub(super) struct Demo {
    world: World,
    auction: Auction,
    scale: Scale,
    /// Draws the prices of a priced log.
    prices: Option<Draw>,
}

impl Demo {
    pub(super) fn new(seed: u64, priced: bool) -> Self {
        let world = World::new(seed);
        // Nobody clicks in the pilot; counters grow as if all came for the first time.
        let mut pilot = Auction::new(&world, Stream::AuctionPilot);
        let logits: Vec<f32> = (0..PILOT_ROWS).map(|_| taste::logit(&world, &pilot.next_impression(&world))).collect();
        let scale = Scale::fit(&logits, LOGIT_DEVIATION, CTR);
        let auction = Auction::new(&world, Stream::Auction);
        Demo { world, auction, scale, prices: priced.then(|| Draw::new(seed, Stream::Price, 0)) }
    }

    /// Writes the first line.
    pub(super) fn header(&self, text: &mut Text) {
        text.bytes(HEADER.as_bytes());
        text.bytes(if self.prices.is_some() { b",market_price\n" } else { b"\n" });
    }

    /// Appends the next `rows` rows to `block`.
    pub(super) fn fill(&mut self, rows: usize, block: &mut Block) {
        for _ in 0..rows {
            let impression = self.auction.next_impression(&self.world);
            let outcome = Outcome::draw(self.scale.logit(taste::logit(&self.world, &impression)), impression.chance);
            let delay = outcome.click.then(|| self.auction.click(&impression));
            write(&self.world, &impression, delay, &mut block.text);
            if let Some(prices) = &mut self.prices {
                block.text.byte(b',');
                block.text.hundredths(u64::from(market_price(&impression, &outcome, prices)));
            }
            block.text.byte(b'\n');
            block.outcomes.push(outcome);
        }
    }
}

/// Appends one line without its end; `delay` is the seconds to the click, if there was one.
fn write(world: &World, impression: &Impression, delay: Option<u32>, text: &mut Text) {
    let request = &impression.request;
    let user = &request.user;
    let device = &DEVICES[user.device];
    let request_id = scramble(request.number ^ world.seed.rotate_left(32));
    text.hex((request_id >> 32) as u32);
    text.hex(request_id as u32);
    text.byte(b',');
    text.number(request.timestamp);
    text.bytes(if delay.is_some() { b",1," } else { b",0," });
    if let Some(delay) = delay {
        text.number(u64::from(delay));
    }
    text.bytes(b",u");
    // An odd factor modulo 2³²: ids never collide, and their order does not tell who is popular.
    text.hex((user.number as u32).wrapping_mul(0x9e37_79b1));
    for word in [device.name, device.os, BROWSERS[request.browser]] {
        text.byte(b',');
        text.bytes(word.as_bytes());
    }
    text.byte(b',');
    if user.region > 0 {
        text.byte(b'r');
        text.padded(user.region as u64, 2);
    }
    text.byte(b',');
    text.bytes(CONNECTIONS[request.connection].as_bytes());
    let mut tags = user.interests;
    let mut separator = b',';
    while tags != 0 {
        text.byte(separator);
        text.bytes(TAGS[tags.trailing_zeros() as usize].as_bytes());
        tags &= tags - 1;
        separator = b'|';
    }
    debug_assert!(request.place < PLACES);
    if request.place < SITES {
        text.bytes(b",site-");
        text.number(request.place as u64);
        text.bytes(b",,pub-");
    } else {
        text.bytes(b",,app-");
        text.number((request.place - SITES) as u64);
        text.bytes(b",pub-");
    }
    text.number(u64::from(request.publisher));
    text.byte(b',');
    text.number(impression.position as u64 + 1);
    text.byte(b',');
    text.bytes(SIZES[impression.size].as_bytes());
    for (name, number) in [
        (&b",ad-"[..], impression.ad),
        (b",camp-", impression.campaign as u64),
        (b",adv-", u64::from(impression.advertiser)),
        (b",", request.hour as u64),
    ] {
        text.bytes(name);
        text.number(number);
    }
    text.byte(b',');
    text.bytes(["mon", "tue", "wed", "thu", "fri", "sat", "sun"][request.weekday].as_bytes());
    for count in [
        request.user_past.impressions,
        request.user_past.clicks,
        impression.ad_past.impressions,
        impression.ad_past.clicks,
    ] {
        text.byte(b',');
        text.number(u64::from(count));
    }
    text.byte(b',');
    text.hundredths(u64::from(impression.bid_floor));
}

/// Cents for a thousand impressions that a bid must reach: the best bid of others, who know something of what a click is
/// worth here, or the floor.
fn market_price(impression: &Impression, outcome: &Outcome, draw: &mut Draw) -> u32 {
    let known = ln(f64::from(outcome.billionths) / (1e9 * CTR));
    let others = 100.0 * exp(0.7 + 0.5 * known + 0.6 * f64::from(draw.normal()));
    (others as u32).max(impression.bid_floor).min(10_000)
}
