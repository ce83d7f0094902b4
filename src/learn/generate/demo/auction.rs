//! The world and a clock → impressions in time order, with counters that know the past only.
//!
//! Requests arrive at a fixed mean rate, so a longer log covers more days. An impression counts at once; a click counts
//! when it happens, after its delay, as a serving system would learn of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::arithmetic::exp;
use super::super::draw::{Draw, Stream};
use super::world::{
    ADS_OF_A_CAMPAIGN, CAMPAIGNS, Class, DEVICES, POSITIONS, Place, SITES, TOPICS, USERS, User, WEBVIEW, World,
};

/// Monday, 5 January 2026, 00:00 UTC, in Unix seconds.
const START: f64 = 1_767_571_200.0;
const DAY: f64 = 86_400.0;
const IMPRESSIONS_A_DAY: f64 = 12_000.0;
/// Shares of requests with one to four impressions, and their mean.
const IMPRESSIONS_OF_A_REQUEST: [f64; POSITIONS] = [0.45, 0.30, 0.15, 0.10];
const MEAN_IMPRESSIONS: f64 = 1.9;
/// Traffic by hour (UTC) and weekday (from Monday), around a mean of 1.
const HOUR_TRAFFIC: [f64; 24] = [
    0.45, 0.32, 0.25, 0.22, 0.25, 0.38, 0.62, 0.90, 1.05, 1.10, 1.12, 1.18, 1.28, 1.22, 1.15, 1.12, 1.15, 1.22, 1.35,
    1.55, 1.72, 1.70, 1.35, 0.85,
];
const WEEKDAY_TRAFFIC: [f64; 7] = [0.98, 0.97, 0.96, 0.98, 1.00, 1.08, 1.03];

/// Share of requests from visitors without a lasting id.
const PASSING_VISITORS: f64 = 0.1;
/// Shares of requests for a place of the user's topic, and of impressions bought for it.
const PLACES_BY_TASTE: f64 = 0.3;
const CAMPAIGNS_BY_TASTE: f64 = 0.25;
/// Mean life of an ad, days.
const AD_LIFE: f64 = 36.0;
/// Clicks later than this never arrive, seconds.
const LONGEST_DELAY: f64 = 2.0 * DAY;

/// How often something was shown and clicked so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) impressions: u32,
    pub(super) clicks: u32,
}

/// What one impression shares with the others of its request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) number: u64,
    /// Unix seconds.
    pub(super) timestamp: u64,
    pub(super) hour: usize,
    /// From Monday.
    pub(super) weekday: usize,
    pub(super) user: User,
    /// Before this request.
    pub(super) user_past: Past,
    pub(super) browser: usize,
    pub(super) connection: usize,
    pub(super) place: usize,
    pub(super) publisher: u32,
}

/// One ad shown in one slot.
#[derive(Debug, Clone)]
pub(super) struct Impression {
    pub(super) request: Request,
    /// From 0.
    pub(super) position: usize,
    pub(super) size: usize,
    pub(super) ad: u64,
    pub(super) campaign: usize,
    pub(super) advertiser: u32,
    pub(super) ad_effect: f32,
    /// Before this request.
    pub(super) ad_past: Past,
    /// US cents for a thousand impressions.
    pub(super) bid_floor: u32,
    /// Uniform bits that decide the click.
    pub(super) chance: u32,
    stand: usize,
}

/// An ad as long as it runs.
struct Ad {
    number: u64,
    /// Seconds since the start of the log.
    ends: f64,
    /// One for each class of device.
    effects: [f32; 3],
    past: Past,
}

impl Ad {
    fn new(world: &World, number: u64, begins: f64) -> Self {
        let mut draw = Draw::new(world.seed, Stream::Ad, number);
        let effect = 0.25 * draw.normal();
        Ad {
            number,
            ends: begins + AD_LIFE * DAY * draw.exponential(),
            effects: std::array::from_fn(|_| effect + 0.2 * draw.normal()),
            past: Past::default(),
        }
    }
}

/// A click that has not arrived yet; the earliest is the greatest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PendingClick {
    arrives: Reverse<u64>,
    user: u64,
    stand: usize,
    ad: u64,
}

/// The exchange while it runs. Memory: the counters of lasting users, the running ads, two days of pending clicks.
pub(super) struct Auction {
    draw: Draw,
    /// Seconds since the start of the log.
    now: f64,
    requests: u64,
    visitors: u64,
    users: Vec<Past>,
    /// Every campaign has [`ADS_OF_A_CAMPAIGN`] stands, on each of which ads follow one another.
    stands: Vec<Ad>,
    ads: u64,
    pending_clicks: BinaryHeap<PendingClick>,
    request: Request,
    /// Campaigns shown so far in this request, and how many there will be.
    shown: Vec<usize>,
    to_show: usize,
}

impl Auction {
    pub(super) fn new(world: &World, stream: Stream) -> Self {
        let stands: Vec<Ad> =
            (0..CAMPAIGNS * ADS_OF_A_CAMPAIGN).map(|number| Ad::new(world, number as u64, 0.0)).collect();
        let nothing = Request {
            number: 0,
            timestamp: 0,
            hour: 0,
            weekday: 0,
            user: User::new(world, 0),
            user_past: Past::default(),
            browser: 0,
            connection: 0,
            place: 0,
            publisher: 0,
        };
        Auction {
            draw: Draw::new(world.seed, stream, 0),
            now: 0.0,
            requests: 0,
            visitors: 0,
            users: vec![Past::default(); USERS as usize],
            ads: stands.len() as u64,
            stands,
            pending_clicks: BinaryHeap::new(),
            request: nothing,
            shown: Vec::with_capacity(POSITIONS),
            to_show: 0,
        }
    }

    /// The next impression of the log, counted already.
    pub(super) fn next_impression(&mut self, world: &World) -> Impression {
        if self.shown.len() == self.to_show {
            self.next_request(world);
        }
        let campaign = self.pick_campaign(world);
        let stand = campaign * ADS_OF_A_CAMPAIGN + world.ad_popularity.draw(&mut self.draw) as usize;
        if self.stands[stand].ends < self.now {
            self.stands[stand] = Ad::new(world, self.ads, self.now);
            self.ads += 1;
        }
        let position = self.shown.len();
        self.shown.push(campaign);
        let user = &self.request.user;
        if let Some(past) = self.users.get_mut(user.number as usize) {
            past.impressions = past.impressions.saturating_add(1);
        }
        let ad = &mut self.stands[stand];
        let ad_past = ad.past;
        ad.past.impressions = ad.past.impressions.saturating_add(1);
        Impression {
            position,
            size: self.draw.pick(&DEVICES[user.device].sizes),
            ad: ad.number,
            campaign,
            advertiser: world.campaigns[campaign].advertiser,
            ad_effect: ad.effects[DEVICES[user.device].class as usize],
            ad_past,
            bid_floor: bid_floor(&world.places[self.request.place], position, &mut self.draw),
            chance: self.draw.bits() as u32,
            stand,
            request: self.request.clone(),
        }
    }

    /// Notes a click on `impression` and returns its delay in whole seconds, at least 1.
    ///
    /// Most clicks come within a minute, some after minutes, few after hours: a mixture of three exponentials.
    pub(super) fn click(&mut self, impression: &Impression) -> u32 {
        const SHARES: [f64; 3] = [0.70, 0.25, 0.05];
        const MEANS: [f64; 3] = [15.0, 240.0, 10_800.0];
        let mean = MEANS[self.draw.pick_by(&SHARES)];
        let delay = (1.0 + mean * self.draw.exponential()).min(LONGEST_DELAY) as u32;
        self.pending_clicks.push(PendingClick {
            arrives: Reverse(impression.request.timestamp + u64::from(delay)),
            user: impression.request.user.number,
            stand: impression.stand,
            ad: impression.ad,
        });
        delay
    }

    fn next_request(&mut self, world: &World) {
        self.now += self.draw.exponential() * MEAN_IMPRESSIONS * DAY / IMPRESSIONS_A_DAY / traffic(self.now);
        let (hour, weekday) = hour_and_weekday(self.now);
        let timestamp = (START + self.now) as u64;
        self.count_clicks(timestamp);
        let draw = &mut self.draw;
        let number = if draw.chance(PASSING_VISITORS) {
            self.visitors += 1;
            USERS + self.visitors - 1
        } else {
            u64::from(world.users.draw(draw))
        };
        let user = User::new(world, number);
        let in_app = match DEVICES[user.device].class {
            Class::Phone => draw.chance(0.6),
            Class::Tablet => draw.chance(0.45),
            Class::Desktop => false,
        };
        let mut place = if in_app { world.apps.draw(draw) } else { world.sites.draw(draw) } as usize;
        if draw.chance(PLACES_BY_TASTE) {
            place = place / TOPICS * TOPICS + user.topic;
        }
        if in_app {
            place += SITES;
        }
        self.request = Request {
            number: self.requests,
            timestamp,
            hour,
            weekday,
            user,
            user_past: self.users.get(number as usize).copied().unwrap_or_default(),
            browser: if in_app { WEBVIEW } else { user.browser },
            connection: user.connection(draw),
            place,
            publisher: world.places[place].publisher,
        };
        self.requests += 1;
        self.shown.clear();
        self.to_show = draw.pick_by(&IMPRESSIONS_OF_A_REQUEST) + 1;
    }

    /// A campaign that is not in this request yet.
    fn pick_campaign(&mut self, world: &World) -> usize {
        loop {
            let mut campaign = world.campaign_popularity.draw(&mut self.draw) as usize;
            if self.draw.chance(CAMPAIGNS_BY_TASTE) {
                campaign = campaign / TOPICS * TOPICS + self.request.user.topic;
            }
            if !self.shown.contains(&campaign) {
                return campaign;
            }
        }
    }

    /// Counts the clicks that arrived before `timestamp`.
    fn count_clicks(&mut self, timestamp: u64) {
        while let Some(click) = self.pending_clicks.peek()
            && click.arrives.0 < timestamp
        {
            if let Some(past) = self.users.get_mut(click.user as usize) {
                past.clicks += 1;
            }
            let ad = &mut self.stands[click.stand];
            if ad.number == click.ad {
                ad.past.clicks += 1;
            }
            self.pending_clicks.pop();
        }
    }
}

fn traffic(now: f64) -> f64 {
    let (hour, weekday) = hour_and_weekday(now);
    HOUR_TRAFFIC[hour] * WEEKDAY_TRAFFIC[weekday]
}

fn hour_and_weekday(now: f64) -> (usize, usize) {
    let seconds = now as u64;
    ((seconds / 3600 % 24) as usize, (seconds / 86_400 % 7) as usize)
}

/// Cents for a thousand impressions: higher at good places and in first positions.
fn bid_floor(place: &Place, position: usize, draw: &mut Draw) -> u32 {
    let logarithm = 0.2 + 0.5 * place.quality - 0.2 * position as f32 + 0.3 * draw.normal();
    ((100.0 * exp(f64::from(logarithm))) as u32).clamp(1, 5_000)
}
