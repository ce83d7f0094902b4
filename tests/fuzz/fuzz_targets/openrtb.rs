//! Any body to `/v1/openrtb`.
#![no_main]

#[path = "../bidding.rs"]
mod bidding;
#[path = "../../bundles/mod.rs"]
mod bundles;
#[path = "../service.rs"]
mod service;

thread_local! {
    static SERVICE: service::Service = bidding::service();
}

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    SERVICE.with(|service| bidding::check(service, body));
});
