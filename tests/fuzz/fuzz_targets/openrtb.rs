//! Any body to `/v1/openrtb`.
#![no_main]

#[path = "../../bundles/mod.rs"]
mod bundles;
#[path = "../service.rs"]
mod service;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pctr::model::bundle::ModelKind;
use pctr::predict::http::{Limits, Shared};
use pctr::predict::openrtb::{Ads, Bidder, Mapping, OpenRtbSettings, Rates};
use pctr::predict::{Live, LiveModel};
use service::Service;

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

thread_local! {
    static SERVICE: Service = {
        let settings = OpenRtbSettings { seat: Some("s".into()), ..OpenRtbSettings::default() };
        let rates = Rates::new("USD", &[("EUR".to_owned(), 1.1)].into_iter().collect()).expect("they are rates");
        let ads = Ads::parse(ADS, "ads", false, &rates).expect("they are ads");
        let bidder = Bidder::new(Mapping::parse(MAPPING, "mapping").expect("it is a mapping"), ads, rates, settings);
        let model = LiveModel::new(bundles::bundle(ModelKind::Ftrl, 1)).expect("it answers");
        Service::new(Shared::bidding(Arc::new(Live::new(model)), Limits { batch: 4, ..Limits::default() }, bidder))
    };
}

fuzz_target!(|body: &[u8]| SERVICE.with(|service| service.ask("/v1/openrtb", body)));
