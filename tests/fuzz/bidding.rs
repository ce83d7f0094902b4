//! Any body at `/v1/openrtb`: refused as such, or answered the same however it is written down.

use std::sync::Arc;

use axum::http::StatusCode;
use pctr::model::bundle::ModelKind;
use pctr::predict::http::{Limits, Shared};
use pctr::predict::openrtb::{Ads, Bidder, Mapping, OpenRtbSettings, Rates};
use pctr::predict::{Live, LiveModel};

use crate::bundles;
use crate::service::{Answered, Service, is_json, relaid};

const MAPPING: &str = r#"
version = 1
[fields]
site = { path = "site.page", or = ["app.bundle", "site"], derive = "host" }
slot = { path = "imp.banner", derive = "size" }
age = { path = "user.yob", values = { 1990 = "30" }, otherwise = "0", default = "1" }
bid_floor = "imp.bidfloor"
tags = "user.data.*.segment.*.id"
"#;

const ADS: &str = r#"
version = 1
[[ads]]
id = "a"
sizes = ["300x250", "320x50"]
value = 0.5
deals = ["d"]
cat = ["IAB1-2"]
adomain = ["a.example"]
attr = [1]
bundle = "com.a"
secure = false
[[ads]]
id = "b"
sizes = ["300x250"]
value = 1.0
currency = "EUR"
features = { tags = ["x", "y"], site = "z" }
"#;

/// A service that bids for two ads.
pub(crate) fn service() -> Service {
    let settings = OpenRtbSettings { seat: Some("s".into()), ..OpenRtbSettings::default() };
    let rates = Rates::new("USD", &[("EUR".to_owned(), 1.1)].into_iter().collect()).expect("they are rates");
    let ads = Ads::parse(ADS, "ads", false, &rates).expect("they are ads");
    let bidder = Bidder::new(Mapping::parse(MAPPING, "mapping").expect("it is a mapping"), ads, rates, settings);
    let model = LiveModel::new(bundles::bundle(ModelKind::Ftrl, 1)).expect("it answers");
    Service::new(Shared::bidding(Arc::new(Live::new(model)), Limits { batch: 4, ..Limits::default() }, bidder))
}

/// Asks, and compares: what is no JSON is refused; white space means nothing; a price is a price.
pub(crate) fn check(service: &Service, body: &[u8]) -> Answered {
    let answer = service.ask("/v1/openrtb", body);
    match is_json(body) {
        None => assert_eq!(answer.status, StatusCode::BAD_REQUEST),
        Some(text) => {
            for between in ["", " \n"] {
                let again = service.ask("/v1/openrtb", relaid(text, between).as_bytes());
                assert_eq!(again.status, answer.status, "{} {}", again.body, answer.body);
                assert_eq!(again.body["seatbid"], answer.body["seatbid"]);
                assert_eq!(again.body["error"]["kind"], answer.body["error"]["kind"]);
            }
        }
    }
    for bid in answer.body["seatbid"][0]["bid"].as_array().into_iter().flatten() {
        assert!(bid["price"].as_f64().is_some_and(|price| price > 0.0 && price.is_finite()), "{bid}");
    }
    answer
}
