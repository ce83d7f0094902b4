//! A seed → who and what exists: users, sites and apps, advertisers with their campaigns and ads.
//!
//! Interests, places and campaigns live in one small space of topics. Eight topics are the two ends of [`TOPIC_AXES`]
//! axes, so that who likes football is drawn to a sports campaign and away from the topic at the other end. That product
//! has rank four: a network can learn it from few clicks, a linear model only pair by pair.

use super::super::draw::{Draw, Popularity, Stream};

/// One of a few ways to reach the web. Device, operating system and browser always fit together.
pub(super) struct Device {
    pub(super) name: &'static str,
    pub(super) os: &'static str,
    pub(super) class: Class,
    /// Indices into [`BROWSERS`], the most common first.
    browsers: [usize; 3],
    /// Indices into [`SIZES`].
    pub(super) sizes: [usize; 4],
    effect: f32,
}

/// What a screen is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Phone = 0,
    Tablet = 1,
    Desktop = 2,
}

pub(super) const DEVICES: [Device; 7] = [
    device("android-phone", "android", Class::Phone, [2, 4, 5], [0, 1, 2, 3], 0.10),
    device("iphone", "ios", Class::Phone, [3, 3, 2], [0, 1, 2, 3], 0.20),
    device("windows-pc", "windows", Class::Desktop, [2, 6, 5], [1, 4, 5, 6], -0.25),
    device("mac", "macos", Class::Desktop, [3, 2, 5], [1, 4, 5, 6], -0.15),
    device("ipad", "ipados", Class::Tablet, [3, 3, 2], [1, 4, 7, 6], 0.30),
    device("android-tablet", "android", Class::Tablet, [2, 4, 2], [1, 4, 7, 6], 0.15),
    device("linux-pc", "linux", Class::Desktop, [5, 2, 5], [1, 4, 5, 6], -0.35),
];
const DEVICE_SHARES: [f64; 7] = [0.34, 0.23, 0.22, 0.08, 0.06, 0.04, 0.03];

const fn device(
    name: &'static str,
    os: &'static str,
    class: Class,
    browsers: [usize; 3],
    sizes: [usize; 4],
    effect: f32,
) -> Device {
    Device { name, os, class, browsers, sizes, effect }
}

/// The first is a missing cell; apps bring the second.
pub(super) const BROWSERS: [&str; 7] = ["", "webview", "chrome", "safari", "samsung-internet", "firefox", "edge"];
pub(super) const WEBVIEW: usize = 1;
const BROWSER_EFFECTS: [f32; 7] = [-0.1, 0.05, 0.0, 0.05, 0.1, -0.15, 0.1];

/// The first is a missing cell.
pub(super) const CONNECTIONS: [&str; 6] = ["", "wifi", "5g", "4g", "3g", "ethernet"];
const CONNECTION_EFFECTS: [f32; 6] = [0.0, 0.1, 0.1, -0.05, -0.3, 0.0];

pub(super) const SIZES: [&str; 8] =
    ["320x50", "300x250", "320x480", "320x100", "728x90", "160x600", "300x600", "768x1024"];
const SIZE_EFFECTS: [f32; 8] = [-0.25, 0.1, 0.3, -0.1, -0.15, -0.2, 0.2, 0.25];

/// Eight topics of five tags.
pub(in crate::learn::generate) const TAGS: [&str; 40] = [
    "football",
    "running",
    "cycling",
    "tennis",
    "fitness", //
    "beaches",
    "hiking",
    "cities",
    "flights",
    "camping", //
    "cooking",
    "baking",
    "coffee",
    "wine",
    "vegan", //
    "phones",
    "laptops",
    "gaming",
    "photography",
    "gadgets", //
    "movies",
    "music",
    "books",
    "theater",
    "art", //
    "stocks",
    "savings",
    "insurance",
    "property",
    "pensions", //
    "shoes",
    "dresses",
    "watches",
    "makeup",
    "streetwear", //
    "gardening",
    "furniture",
    "renovation",
    "pets",
    "decoration",
];
const TAGS_OF_A_TOPIC: usize = 5;
pub(super) const TOPICS: usize = 8;
pub(super) const TOPIC_AXES: usize = 4;
/// A place in the space of topics.
pub(super) type Topic = [f32; TOPIC_AXES];

/// Users who return; visitors without a lasting id have numbers from here on.
pub(super) const USERS: u64 = 150_000;
pub(super) const SITES: usize = 3_000;
const APPS: usize = 1_200;
/// Sites, then apps. The topic of a place, campaign or advertiser is its number modulo [`TOPICS`].
pub(super) const PLACES: usize = SITES + APPS;
const PUBLISHERS: usize = 600;
const ADVERTISERS: usize = 152;
pub(super) const CAMPAIGNS: usize = 504;
/// Ads that a campaign shows at the same time.
pub(super) const ADS_OF_A_CAMPAIGN: usize = 10;
const REGIONS: usize = 40;
pub(super) const POSITIONS: usize = 4;

/// Everything that stays as it is while the log runs.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) places: Vec<Place>,
    pub(super) campaigns: Vec<Campaign>,
    pub(super) users: Popularity,
    pub(super) sites: Popularity,
    pub(super) apps: Popularity,
    pub(super) campaign_popularity: Popularity,
    pub(super) ad_popularity: Popularity,
    regions: Popularity,
    region_effects: Vec<f32>,
    size_position_effects: [[f32; POSITIONS]; SIZES.len()],
    tags: [Topic; TAGS.len()],
}

/// A site or an app.
pub(super) struct Place {
    pub(super) publisher: u32,
    /// How good its slots are, a standard normal number; bid floors show it.
    pub(super) quality: f32,
    /// Of the place and its publisher together.
    pub(super) effect: f32,
    pub(super) topic: Topic,
}

/// A campaign of one advertiser.
pub(super) struct Campaign {
    pub(super) advertiser: u32,
    /// Of the campaign and its advertiser together.
    pub(super) effect: f32,
    pub(super) topic: Topic,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, Stream::World, 0);
        let tags = std::array::from_fn(|tag| near(topic(tag / TAGS_OF_A_TOPIC), 0.2, &mut draw));
        let publishers: Vec<f32> = (0..PUBLISHERS).map(|_| 0.2 * draw.normal()).collect();
        let publisher_popularity = Popularity::zipf(PUBLISHERS as u32, 0.8);
        let places = (0..PLACES)
            .map(|place| {
                let publisher = publisher_popularity.draw(&mut draw);
                let quality = draw.normal();
                let effect = 0.35 * quality + publishers[publisher as usize];
                Place { publisher, quality, effect, topic: near(topic(place % TOPICS), 0.25, &mut draw) }
            })
            .collect();
        let advertisers: Vec<(f32, Topic)> = (0..ADVERTISERS)
            .map(|advertiser| (0.25 * draw.normal(), near(topic(advertiser % TOPICS), 0.2, &mut draw)))
            .collect();
        let campaigns = (0..CAMPAIGNS)
            .map(|campaign| {
                let advertiser = draw.below(ADVERTISERS / TOPICS) * TOPICS + campaign % TOPICS;
                let (effect, topic) = advertisers[advertiser];
                Campaign {
                    advertiser: advertiser as u32,
                    effect: effect + 0.3 * draw.normal(),
                    topic: near(topic, 0.2, &mut draw),
                }
            })
            .collect();
        World {
            seed,
            places,
            campaigns,
            users: Popularity::zipf(USERS as u32, 0.8),
            sites: Popularity::zipf(SITES as u32, 1.0),
            apps: Popularity::zipf(APPS as u32, 1.0),
            campaign_popularity: Popularity::zipf(CAMPAIGNS as u32, 1.1),
            ad_popularity: Popularity::zipf(ADS_OF_A_CAMPAIGN as u32, 0.8),
            regions: Popularity::zipf(REGIONS as u32, 0.9),
            region_effects: (0..=REGIONS).map(|_| 0.12 * draw.normal()).collect(),
            size_position_effects: std::array::from_fn(|_| std::array::from_fn(|_| 0.2 * draw.normal())),
            tags,
        }
    }

    /// The sum of the effects of where an impression is seen and with what.
    pub(super) fn effect_of_context(
        &self,
        user: &User,
        browser: usize,
        connection: usize,
        size: usize,
        position: usize,
    ) -> f32 {
        DEVICES[user.device].effect
            + BROWSER_EFFECTS[browser]
            + CONNECTION_EFFECTS[connection]
            + self.region_effects[user.region]
            + SIZE_EFFECTS[size]
            + self.size_position_effects[size][position]
    }
}

/// The position of a topic: one end of an axis.
fn topic(number: usize) -> Topic {
    let mut position = [0.0; TOPIC_AXES];
    position[number % TOPIC_AXES] = if number < TOPIC_AXES { 1.0 } else { -1.0 };
    position
}

/// A position around `center`.
fn near(center: Topic, deviation: f32, draw: &mut Draw) -> Topic {
    center.map(|coordinate| coordinate + deviation * draw.normal())
}

/// Someone who sees ads.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    pub(super) number: u64,
    pub(super) device: usize,
    /// Index into [`BROWSERS`], when not in an app.
    pub(super) browser: usize,
    /// 1 to [`REGIONS`]; 0 is a missing cell.
    pub(super) region: usize,
    /// Topic of most of the interests.
    pub(super) topic: usize,
    /// A bit for each of [`TAGS`]: one to six.
    pub(super) interests: u64,
    /// Mean position of the interests.
    pub(super) taste: Topic,
    pub(super) effect: f32,
}

impl User {
    /// The user with this number. Nothing about users is stored but their counters.
    pub(super) fn new(world: &World, number: u64) -> Self {
        let mut draw = Draw::new(world.seed, Stream::User, number);
        let device = draw.pick_by(&DEVICE_SHARES);
        let browser = if draw.chance(0.03) { 0 } else { DEVICES[device].browsers[draw.pick_by(&[0.6, 0.25, 0.15])] };
        let region = if draw.chance(0.02) { 0 } else { world.regions.draw(&mut draw) as usize + 1 };
        let topic = draw.below(TOPICS);
        let mut interests = 0u64;
        for _ in 0..=draw.below(6) {
            let of_topic = draw.chance(0.85);
            let tag =
                if of_topic { topic * TAGS_OF_A_TOPIC + draw.below(TAGS_OF_A_TOPIC) } else { draw.below(TAGS.len()) };
            interests |= 1 << tag;
        }
        let mut taste = [0.0; TOPIC_AXES];
        let mut rest = interests;
        while rest != 0 {
            let tag = &world.tags[rest.trailing_zeros() as usize];
            taste.iter_mut().zip(tag).for_each(|(sum, coordinate)| *sum += coordinate);
            rest &= rest - 1;
        }
        let taste = taste.map(|sum| sum / interests.count_ones() as f32);
        User { number, device, browser, region, topic, interests, taste, effect: 0.25 * draw.normal() }
    }

    /// How this user is connected right now: an index into [`CONNECTIONS`].
    pub(super) fn connection(&self, draw: &mut Draw) -> usize {
        let shares = match DEVICES[self.device].class {
            Class::Phone => [0.04, 0.46, 0.25, 0.22, 0.03, 0.0],
            Class::Tablet => [0.04, 0.86, 0.04, 0.06, 0.0, 0.0],
            Class::Desktop => [0.04, 0.56, 0.0, 0.0, 0.0, 0.4],
        };
        draw.pick_by(&shares)
    }
}
