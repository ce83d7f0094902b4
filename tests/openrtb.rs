//! Bidding by OpenRTB: prices that follow from the probabilities `/v1/score` answers, every block and floor, every required
//! attribute missing in turn, and the example files of the documentation.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bundles::bundle;
use pctr::model::bundle::ModelKind;
use pctr::model::schema::Schema;
use pctr::predict::http::{Limits, Shared, app};
use pctr::predict::openrtb::{Ads, Bidder, Mapping, NoBidAnswer, OpenRtbSettings, Rates};
use pctr::predict::{Fields, Live, LiveModel};
use serde_json::{Value, json};
use tower::ServiceExt;

const MAPPING: &str = r#"
version = 1
[fields]
site = { path = "site.domain", or = ["app.bundle"], derive = "lower" }
slot = { chosen = "size" }
age = { path = "user.yob", values = { 1990 = "30" } }
bid_floor = "imp.bidfloor"
tags = "user.data.*.segment.*.id"
"#;

const ADS: &str = r#"
version = 1
[[ads]]
id = "plain"
sizes = ["300x250", "320x50"]
value = 0.50
crid = "c1"
cid = "camp"
adm = "<img src='https://x.example/${AUCTION_PRICE}'>"
nurl = "https://x.example/win?p=${AUCTION_PRICE}"
features = { note = "not read" }
[[ads]]
id = "rich"
sizes = ["300x250"]
value = 4.00
currency = "EUR"
adomain = ["Shop.example"]
cat = ["IAB3-2"]
attr = [7]
bundle = "com.shop"
secure = false
deals = ["deal-1"]
floor = 0.01
"#;

fn settings() -> OpenRtbSettings {
    let rates = BTreeMap::from([("EUR".to_owned(), 1.25), ("JPY".to_owned(), 0.01)]);
    OpenRtbSettings { rates, seat: Some("seat-9".into()), first_price_share: 0.8, ..OpenRtbSettings::default() }
}

fn service(settings: OpenRtbSettings) -> Router {
    let rates = Rates::new(&settings.currency, &settings.rates).unwrap();
    let ads = Ads::parse(ADS, "ads.toml", false, &rates).unwrap();
    let bidder = Bidder::new(Mapping::parse(MAPPING, "mapping.toml").unwrap(), ads, rates, settings);
    let live = Arc::new(Live::new(LiveModel::new(bundle(ModelKind::Ftrl, 1)).unwrap()));
    app(Shared::bidding(live, Limits { batch: 3, ..Limits::default() }, bidder))
}

async fn post(service: &Router, path: &str, body: String) -> (StatusCode, HeaderMap, Value) {
    let request = Request::post(path).header("x-budget-us", "60000000").body(Body::from(body)).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    (head.status, head.headers, value)
}

async fn bid(service: &Router, request: &Value) -> (StatusCode, HeaderMap, Value) {
    post(service, "/v1/openrtb", request.to_string()).await
}

/// A request that both ads may fill.
fn request() -> Value {
    json!({
        "id": "auction", "at": 2, "imp": [{"id": "i1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.25}],
        "site": {"domain": "NEWS"},
        "user": {"yob": 1990, "data": [{"segment": [{"id": "sport"}, {"id": "cars"}]}]},
    })
}

/// The request with `value` at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut request = request();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (request.pointer_mut(parent).unwrap(), key.parse::<usize>()) {
        (Value::Array(list), Ok(item)) => list[item] = value,
        (object, _) => object[key] = value,
    }
    request
}

/// Ad and price of the one bid.
async fn best(service: &Router, request: &Value) -> (String, f64) {
    let (status, _, answer) = bid(service, request).await;
    assert_eq!(status, StatusCode::OK, "{request}: {answer}");
    let bids = answer["seatbid"][0]["bid"].as_array().unwrap();
    assert_eq!(bids.len(), 1);
    (bids[0]["adid"].as_str().unwrap().to_owned(), bids[0]["price"].as_f64().unwrap())
}

async fn reason(service: &Router, request: &Value) -> String {
    let (status, headers, answer) = bid(service, request).await;
    assert_eq!((status, &answer), (StatusCode::NO_CONTENT, &Value::Null), "{request}");
    headers["x-pctr-no-bid"].to_str().unwrap().to_owned()
}

/// The probability that `/v1/score` answers for the row that the mapping makes.
async fn probability(service: &Router, site: &str, slot: &str, floor: &str) -> f64 {
    let body = json!({
        "context": {"site": site, "slot": slot, "age": "30", "tags": ["sport", "cars"], "bid_floor": floor},
        "candidates": [{}],
    });
    let (status, _, answer) = post(service, "/v1/score", body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["candidates"][0]["probability"].as_f64().unwrap()
}

fn down(price: f64) -> f64 {
    (price * 1e6).floor() / 1e6
}

#[tokio::test]
async fn the_price_is_what_the_scored_probability_is_worth() {
    let service = service(settings());
    let p = probability(&service, "news", "300x250", "0.25").await;
    let (status, headers, answer) = bid(&service, &request()).await;
    assert_eq!((status, headers["x-openrtb-version"].to_str().unwrap()), (StatusCode::OK, "2.6"));
    let bid = &answer["seatbid"][0]["bid"][0];
    assert_eq!(bid["price"], json!(down(p * 4.0 * 1.25 * 1000.0)), "EUR 4 a click, second price: {answer}");
    assert_eq!(bid["ext"]["pctr"]["probability"], json!(p));
    assert_eq!(bid["ext"]["pctr"]["tier"], "full");
    assert_eq!(bid["ext"]["pctr"]["fingerprint"].as_str().unwrap().len(), 16);
    assert!(answer["ext"]["pctr"]["model"].as_str().unwrap().starts_with("ftrl-"));
    let rest = json!({"id": bid["id"], "impid": bid["impid"], "adid": bid["adid"], "w": bid["w"], "h": bid["h"],
        "adomain": bid["adomain"], "cat": bid["cat"], "attr": bid["attr"], "bundle": bid["bundle"]});
    let expected = json!({"id": "auction-i1", "impid": "i1", "adid": "rich", "w": 300, "h": 250,
        "adomain": ["shop.example"], "cat": ["IAB3-2"], "attr": [7], "bundle": "com.shop"});
    assert_eq!(rest, expected);
    assert_eq!(
        (&answer["id"], &answer["cur"], &answer["seatbid"][0]["seat"]),
        (&json!("auction"), &json!("USD"), &json!("seat-9"))
    );

    // Macros are left as they are.
    let (_, _, answer) = self::bid(&service, &with("/badv", json!(["shop.example"]))).await;
    let bid = &answer["seatbid"][0]["bid"][0];
    assert_eq!(bid["price"], json!(down(p * 0.5 * 1000.0)));
    assert_eq!(bid["adm"], "<img src='https://x.example/${AUCTION_PRICE}'>");
    assert_eq!(
        (&bid["nurl"], &bid["crid"], &bid["cid"]),
        (&json!("https://x.example/win?p=${AUCTION_PRICE}"), &json!("c1"), &json!("camp"))
    );

    // What says how it came about can be left out.
    let silent = self::service(OpenRtbSettings { explain: false, ..settings() });
    let (_, _, answer) = self::bid(&silent, &request()).await;
    assert!(answer["ext"].is_null() && answer["seatbid"][0]["bid"][0]["ext"].is_null(), "{answer}");
}

#[tokio::test]
async fn auction_type_and_currency_decide_the_price() {
    let service = service(settings());
    let p = probability(&service, "news", "300x250", "0.25").await;
    let price = |worth: f64| ("rich".to_owned(), down(worth));
    assert_eq!(best(&service, &with("/at", json!(1))).await, price(p * 4.0 * 1.25 * 1000.0 * 0.8));
    assert_eq!(best(&service, &with("/at", json!(501))).await, price(p * 4.0 * 1.25 * 1000.0 * 0.8));
    assert_eq!(best(&service, &with("/cur", json!(["GBP", "EUR"]))).await, price(p * 4.0 * 1000.0));
    let (_, yen) = best(&service, &with("/cur", json!(["JPY"]))).await;
    assert!((yen / (p * 4.0 * 1000.0 * 125.0) - 1.0).abs() < 1e-9, "{yen}");
    assert_eq!(reason(&service, &with("/cur", json!(["GBP"]))).await, "currency");

    // Floors in their own currency: a hair below and above what the impression is worth, in EUR.
    let worth = probability(&service, "news", "300x250", "").await * 4.0 * 1000.0;
    let floored = |floor: f64| {
        let mut request = with("/imp/0/bidfloorcur", json!("EUR"));
        // The floor is a field of the row too; as a string of the protocol's ext it would not be.
        request["imp"][0]["bidfloor"] = json!(floor);
        request
    };
    assert_eq!(reason(&service, &floored(worth * 1e3)).await, "floor");
    let unknown = with("/imp/0/bidfloorcur", json!("GBP"));
    assert_eq!(reason(&service, &unknown).await, "floor", "a floor of unknown worth cannot be kept");
}

#[tokio::test]
async fn blocks_and_sizes_are_kept() {
    let service = service(settings());
    for (pointer, value) in [
        ("/badv", json!(["example", "SHOP.example"])),
        ("/bcat", json!(["IAB1", "IAB3"])),
        ("/acat", json!(["IAB1"])),
        ("/bapp", json!(["com.shop"])),
        ("/imp/0/banner/battr", json!([1, 7])),
        ("/imp/0/secure", json!(1)),
        ("/imp/0/banner", json!({"format": [{"w": 320, "h": 50}]})),
    ] {
        let (ad, _) = best(&service, &with(pointer, value.clone())).await;
        assert_eq!(ad, "plain", "{pointer} {value}");
    }
    let other_taxonomy = {
        let mut request = with("/bcat", json!(["1"]));
        request["cattax"] = json!(7);
        request
    };
    assert_eq!(best(&service, &other_taxonomy).await.0, "plain");
    for (pointer, value, expected) in [
        ("/imp/0/banner", json!({"w": 1, "h": 1}), "size"),
        ("/imp/0/banner", json!({}), "size"),
        ("/imp/0", json!({"id": "i1"}), "size"),
        ("/imp/0", json!({"id": "i1", "video": {"mimes": ["video/mp4"]}}), "media"),
        ("/imp/0/pmp", json!({"private_auction": 1, "deals": [{"id": "other"}]}), "deal"),
        ("/wseat", json!(["seat-1"]), "seat"),
        ("/bseat", json!(["seat-9"]), "seat"),
        ("/imp/0/bidfloor", json!(1e6), "floor"),
    ] {
        assert_eq!(reason(&service, &with(pointer, value.clone())).await, expected, "{pointer} {value}");
    }
    assert_eq!(best(&service, &with("/wseat", json!(["seat-1", "seat-9"]))).await.0, "rich");
    // The format decides, in its order, when there is one.
    let both = with("/imp/0/banner", json!({"w": 1, "h": 1, "format": [{"w": 320, "h": 50}, {"w": 300, "h": 250}]}));
    assert_eq!(best(&service, &both).await.0, "rich");
}

#[tokio::test]
async fn deals_have_terms_of_their_own() {
    let service = service(settings());
    let deal = |deal: Value, private: u32| with("/imp/0/pmp", json!({"private_auction": private, "deals": [deal]}));
    let (_, _, answer) = bid(&service, &deal(json!({"id": "deal-1", "bidfloor": 0.5, "at": 3}), 1)).await;
    let offered = &answer["seatbid"][0]["bid"][0];
    assert_eq!(
        (&offered["dealid"], &offered["price"], &offered["adid"]),
        (&json!("deal-1"), &json!(0.5), &json!("rich"))
    );
    assert_eq!(reason(&service, &deal(json!({"id": "deal-1", "bidfloor": 1e6}), 1)).await, "floor");
    assert_eq!(reason(&service, &deal(json!({"id": "deal-1", "wseat": ["x"]}), 1)).await, "deal");
    assert_eq!(reason(&service, &deal(json!({"id": "deal-1", "wadomain": ["x.example"]}), 1)).await, "deal");
    // A deal that takes nobody leaves the open auction.
    let (_, _, answer) = bid(&service, &deal(json!({"id": "other"}), 0)).await;
    assert!(answer["seatbid"][0]["bid"][0]["dealid"].is_null(), "{answer}");
}

#[tokio::test]
async fn no_bid_may_say_why_in_its_body() {
    let service = service(OpenRtbSettings { no_bid: NoBidAnswer::Body, ..settings() });
    let (status, headers, answer) = bid(&service, &with("/imp/0/bidfloor", json!(1e6))).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"id": "auction", "nbr": 511})));
    assert_eq!(headers["x-pctr-no-bid"], "floor");
    // The time that the exchange waits, less the margin, is the budget.
    let late = Request::post("/v1/openrtb").body(Body::from(with("/tmax", json!(20)).to_string())).unwrap();
    let response = service.clone().oneshot(late).await.unwrap();
    assert_eq!(response.headers()["x-pctr-no-bid"], "time");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["nbr"], 15);
}

#[tokio::test]
async fn several_impressions_are_each_bid_on() {
    let service = service(settings());
    let mut request = request();
    let imp = request["imp"][0].clone();
    for (id, banner) in [("i2", json!({"w": 320, "h": 50})), ("i3", json!({"w": 1, "h": 1}))] {
        let mut imp = imp.clone();
        imp["id"] = json!(id);
        imp["banner"] = banner;
        request["imp"].as_array_mut().unwrap().push(imp);
    }
    let (_, _, answer) = bid(&service, &request).await;
    let bids = answer["seatbid"][0]["bid"].as_array().unwrap();
    let pairs: Vec<(&str, &str)> =
        bids.iter().map(|bid| (bid["impid"].as_str().unwrap(), bid["adid"].as_str().unwrap())).collect();
    assert_eq!(pairs, [("i1", "rich"), ("i2", "plain")]);
    let mut fourth = imp.clone();
    fourth["id"] = json!("i4");
    request["imp"].as_array_mut().unwrap().push(fourth);
    let (status, _, answer) = bid(&service, &request).await;
    assert_eq!((status, &answer["error"]["kind"]), (StatusCode::BAD_REQUEST, &json!("batch_too_long")));
}

/// A request that has every required attribute of the specification.
fn complete() -> Value {
    json!({
        "id": "a",
        "imp": [{
            "id": "1", "banner": {"w": 300, "h": 250},
            "video": {"mimes": ["video/mp4"]}, "audio": {"mimes": ["audio/mp4"]}, "native": {"request": "{}"},
            "metric": [{"type": "viewability", "value": 0.7}],
            "pmp": {"deals": [{"id": "deal-1"}]},
            "qty": {"multiplier": 1.5, "sourcetype": 1, "vendor": "measure.example"},
        }],
        "source": {"schain": {"complete": 1, "ver": "1.0", "nodes": [{"asi": "x.example", "sid": "5"}]}},
        "device": {"sua": {"browsers": [{"brand": "Chrome"}], "platform": {"brand": "Windows"}}},
    })
}

const REQUIRED: [&str; 17] = [
    "id",
    "imp",
    "imp[0].id",
    "imp[0].video.mimes",
    "imp[0].audio.mimes",
    "imp[0].native.request",
    "imp[0].metric[0].type",
    "imp[0].metric[0].value",
    "imp[0].pmp.deals[0].id",
    "imp[0].qty.multiplier",
    "imp[0].qty.vendor",
    "source.schain.complete",
    "source.schain.ver",
    "source.schain.nodes",
    "source.schain.nodes[0].asi",
    "source.schain.nodes[0].sid",
    "device.sua.browsers[0].brand",
];

#[tokio::test]
async fn every_required_attribute_is_asked_for() {
    let service = service(settings());
    let (status, _, answer) = bid(&service, &complete()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    for path in REQUIRED {
        let pointer = format!("/{}", path.replace('[', "/").replace(']', "").replace('.', "/"));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut request = complete();
        request.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        let (status, _, answer) = bid(&service, &request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        assert_eq!(
            (&answer["error"]["kind"], &answer["error"]["field"]),
            (&json!("missing_field"), &json!(path)),
            "{answer}"
        );
        // The same of another type.
        let mut request = complete();
        *request.pointer_mut(&pointer).unwrap() = json!({"not": "this"});
        let (status, _, answer) = bid(&service, &request).await;
        assert_eq!(
            (status, &answer["error"]["kind"]),
            (StatusCode::BAD_REQUEST, &json!("wrong_type")),
            "{path}: {answer}"
        );
        assert_eq!(answer["error"]["field"], json!(path), "{answer}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_bid_requests_are_refused() {
    let service = service(settings());
    let deep =
        format!(r#"{{"id": "a", "imp": [{{"id": "1"}}], "ext": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let (status, _, _) = post(&service, "/v1/openrtb", deep).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "nobody reads what is nested there");
    let deep = format!(
        r#"{{"id": "a", "imp": [{{"id": "1"}}], "site": {{"domain": {}{}}}}}"#,
        "[".repeat(1000),
        "]".repeat(1000)
    );
    let (status, _, _) = post(&service, "/v1/openrtb", deep).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "a list is no domain");
    for (body, kind) in [
        ("", "invalid_json"),
        ("{\"id\": \"a\"", "invalid_json"),
        (r#"{"id": "a", "imp": [{"id": "1", "bidfloor": NaN}]}"#, "invalid_json"),
        (r#"{"id": "a", "imp": [{"id": "1", "bidfloor": 1e400}]}"#, "invalid_json"),
        (r#"{"id": "a", "imp": [{"id": "1"}], "imp": []}"#, "duplicate_field"),
        (r#"{"id": "a", "imp": [{"id": "1"}], "site": {"domain": "a", "domain": "b"}}"#, "duplicate_field"),
        (r#"{"id": "a", "imp": [{"id": "1"}], "tmax": -1}"#, "invalid_value"),
        (r#"{"id": "a", "imp": []}"#, "invalid_value"),
        ("[]", "wrong_type"),
    ] {
        let (status, _, answer) = post(&service, "/v1/openrtb", body.to_owned()).await;
        assert_eq!((status, &answer["error"]["kind"]), (StatusCode::BAD_REQUEST, &json!(kind)), "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_service_without_ads_says_so() {
    let live = Arc::new(Live::new(LiveModel::new(bundle(ModelKind::Ftrl, 1)).unwrap()));
    let (status, _, answer) = bid(&app(Shared::new(live, Limits::default())), &request()).await;
    assert_eq!((status, &answer["error"]["kind"]), (StatusCode::NOT_FOUND, &json!("not_found")));
}

#[test]
fn the_examples_of_the_documentation_fit_the_demo_schema() {
    let read = |file: &str| std::fs::read_to_string(format!("docs/openrtb/{file}")).unwrap();
    let schema = Schema::resolve("demo", |_| unreachable!("a preset")).unwrap();
    let fields = Fields::new(&schema);
    let mapping: toml::Table = read("mapping.toml").parse().unwrap();
    Mapping::parse(&read("mapping.toml"), "mapping.toml").unwrap();
    let rates = Rates::new("USD", &BTreeMap::new()).unwrap();
    let ads = Ads::parse(&read("ads.toml"), "ads.toml", false, &rates).unwrap();
    let of_ads = ads.ads.iter().flat_map(|ad| ad.features.keys());
    for name in mapping["fields"].as_table().unwrap().keys().chain(of_ads) {
        assert!(fields.position(name).is_some(), "{name} is no column of the demo schema");
    }
    let request = read("request.json");
    pctr::predict::openrtb::BidRequest::parse(request.as_bytes(), 10).unwrap();
}
