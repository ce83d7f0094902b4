//! One impression → its raw logit: what makes people click in this world.
//!
//! ```text
//!   user + place + campaign + ad + context + position + hour        what a linear model sees
//! + attention(position) · ⟨interests, campaign⟩                     interests × campaign, of rank four
//! + ⟨place, campaign⟩                                               site × campaign, of rank four
//! + ad by device, hour by device, size by position                  crosses without a hidden structure
//! + what was shown and clicked before                               counters
//! ```

use super::super::arithmetic::ln;
use super::auction::Impression;
use super::world::{DEVICES, POSITIONS, Topic, World};

const POSITION_EFFECTS: [f32; POSITIONS] = [0.3, 0.0, -0.3, -0.5];
/// A good match counts for more where the eye looks first.
const ATTENTION: [f32; POSITIONS] = [1.25, 1.0, 0.8, 0.6];
const INTERESTS_BY_CAMPAIGN: f32 = 1.7;
const PLACE_BY_CAMPAIGN: f32 = 0.9;

/// By hour (UTC), for phones, tablets and desktops: people click in the evening, and at their desks before noon.
const HOUR_EFFECTS: [[f32; 24]; 3] = [
    [
        0.10, 0.05, 0.00, -0.10, -0.15, -0.10, 0.05, 0.10, -0.05, -0.20, -0.25, -0.25, -0.05, -0.15, -0.25, -0.20,
        -0.10, 0.05, 0.20, 0.35, 0.45, 0.45, 0.35, 0.20,
    ],
    [
        0.15, 0.05, -0.10, -0.20, -0.20, -0.15, -0.05, 0.05, 0.00, -0.15, -0.20, -0.20, -0.10, -0.15, -0.20, -0.15,
        -0.05, 0.10, 0.25, 0.45, 0.55, 0.50, 0.40, 0.25,
    ],
    [
        -0.30, -0.35, -0.40, -0.40, -0.40, -0.30, -0.15, 0.05, 0.25, 0.35, 0.40, 0.35, 0.20, 0.20, 0.25, 0.20, 0.10,
        0.00, -0.05, 0.00, 0.00, -0.05, -0.15, -0.25,
    ],
];
const WEEKDAY_EFFECTS: [f32; 7] = [-0.06, -0.05, -0.04, -0.02, 0.02, 0.12, 0.08];

/// The logit before scaling.
pub(super) fn logit(world: &World, impression: &Impression) -> f32 {
    let request = &impression.request;
    let (user, place) = (&request.user, &world.places[request.place]);
    let campaign = &world.campaigns[impression.campaign];
    let class = DEVICES[user.device].class as usize;
    let position = impression.position;
    let mains = user.effect
        + place.effect
        + campaign.effect
        + impression.ad_effect
        + world.effect_of_context(user, request.browser, request.connection, impression.size, position)
        + POSITION_EFFECTS[position]
        + HOUR_EFFECTS[class][request.hour]
        + WEEKDAY_EFFECTS[request.weekday];
    let interest = ATTENTION[position] * INTERESTS_BY_CAMPAIGN * dot(&user.taste, &campaign.topic);
    let context = PLACE_BY_CAMPAIGN * dot(&place.topic, &campaign.topic);
    let counters = 0.20 * logarithm(request.user_past.clicks, 20)
        - 0.08 * logarithm(request.user_past.impressions, 500)
        - 0.06 * logarithm(impression.ad_past.impressions, 5_000);
    mains + interest + context + counters
}

/// ln(1 + count), with the count capped so that a long log stays as it began.
fn logarithm(count: u32, cap: u32) -> f32 {
    ln(1.0 + f64::from(count.min(cap))) as f32
}

fn dot(a: &Topic, b: &Topic) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
