//! `POST /v1/openrtb`: a bid request in, a bid response or nothing out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, StatusCode, header};

use super::intake::Arrived;
use super::observer::Known;
use super::refusal::{Refusal, RefusalKind};
use super::scoring::with_scratch;
use super::{Answer, Shared, json};
use crate::predict::openrtb::{
    BidRequest, Bidder, Explained, Impression, Malformed, NoBid, NoBidAnswer, Problem, no_bid, response,
};
use crate::predict::scorer::{Scored, score};
use crate::predict::{Budget, LiveModel};

/// Says the version of the protocol (OpenRTB 2.6, 2.5).
const VERSION: (&str, &str) = ("x-openrtb-version", "2.6");

pub(super) fn answer_bid(shared: &Shared, arrived: &Arrived<'_>) -> Result<Answer, Refusal> {
    let bidder = shared.bidder.as_ref().ok_or_else(|| {
        let message = "this service does not bid; set openrtb.mapping and openrtb.ads";
        Refusal::new(RefusalKind::NotFound, message)
    })?;
    let limits = &shared.options.limits;
    let request = BidRequest::parse(arrived.body, limits.batch).map_err(refusal)?;
    let Some(allowed) = allowed(shared, arrived, request.tmax) else {
        return Ok(no_bid_answer(shared, bidder, &request, NoBid::Time));
    };
    let model = shared.live.model();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let mut auction = bidder.auction(&request, arrived.body, &model, now, limits.candidates).map_err(refusal)?;
    let mut all = Vec::with_capacity(auction.impressions.len());
    for impression in &auction.impressions {
        all.push(scored(shared, &model, impression, arrived, allowed, &request.id)?);
    }
    let settings = bidder.settings();
    let micros = arrived.at.elapsed().as_micros() as u64;
    let explained = settings.explain.then_some(Explained { model: model.name(), micros });
    match response(&request, &mut auction, &all, settings.seat.as_deref(), explained) {
        Some(body) => {
            shared.meters.bid();
            Ok(with_version(json(StatusCode::OK, body)))
        }
        None => Ok(no_bid_answer(shared, bidder, &request, auction.reason)),
    }
}

/// What the request may take from its arrival: what its header says, or its `tmax` less the margin, or the default. `None`
/// when the exchange waits no longer than the margin.
fn allowed(shared: &Shared, arrived: &Arrived<'_>, tmax: Option<f64>) -> Option<Duration> {
    let budget = &shared.options.budget;
    let Some(tmax) = tmax.filter(|tmax| *tmax > 0.0).filter(|_| arrived.asked.is_none()) else {
        return Some(arrived.budget(Duration::from_micros(budget.default_us)));
    };
    let left = tmax - budget.tmax_margin_ms as f64;
    (left > 0.0).then(|| Duration::from_secs_f64((left / 1000.0).min(super::settings::MOST_BUDGET.as_secs_f64())))
}

fn scored(
    shared: &Shared,
    model: &Arc<LiveModel>,
    impression: &Impression<'_>,
    arrived: &Arrived<'_>,
    allowed: Duration,
    id: &str,
) -> Result<Vec<Scored>, Refusal> {
    with_scratch(|scratch| {
        let budget = Budget::until(arrived.at + allowed, &Instant::now);
        let scored = score(model, impression.context(), impression.candidates(), &budget, scratch);
        let scored = scored.map_err(|refused| {
            let error = refused.error;
            let message = format!("{}: expected {}, got {}", error.field, error.expected, error.got);
            Refusal::of_field(RefusalKind::InvalidNumber, &error.field, message)
        })?;
        let known = Known { model, scored, took: arrived.at.elapsed(), allowed, id: Some(id) };
        shared.answered(&known, impression.context(), impression.candidates());
        Ok(scored.to_vec())
    })
}

fn no_bid_answer(shared: &Shared, bidder: &Bidder, request: &BidRequest<'_>, reason: NoBid) -> Answer {
    shared.meters.no_bid(reason);
    let mut response = match bidder.settings().no_bid {
        NoBidAnswer::Empty => {
            let mut empty = Answer::default();
            *empty.status_mut() = StatusCode::NO_CONTENT;
            empty
        }
        NoBidAnswer::Body => json(StatusCode::OK, no_bid(request, reason)),
    };
    response.headers_mut().insert("x-pctr-no-bid", HeaderValue::from_static(reason.name()));
    with_version(response)
}

fn with_version(mut response: Answer) -> Answer {
    response.headers_mut().insert(VERSION.0, HeaderValue::from_static(VERSION.1));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refusal(malformed: Malformed) -> Refusal {
    let Malformed { problem, path, message } = malformed;
    let kind = match problem {
        Problem::Json => RefusalKind::InvalidJson,
        Problem::Missing => RefusalKind::MissingField,
        Problem::WrongType => RefusalKind::WrongType,
        Problem::Duplicate => RefusalKind::DuplicateField,
        Problem::Value => RefusalKind::InvalidValue,
        Problem::TooMany => RefusalKind::BatchTooLong,
    };
    match path.is_empty() {
        true => Refusal::new(kind, message),
        false => Refusal::of_field(kind, &path, format!("{path}: {message}")),
    }
}
