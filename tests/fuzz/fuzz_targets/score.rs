//! Any body to `/v1/score` and `/v1/score/batch`.
#![no_main]

#[path = "../../bundles/mod.rs"]
mod bundles;
#[path = "../scoring.rs"]
mod scoring;
#[path = "../service.rs"]
mod service;

thread_local! {
    static SERVICE: service::Service = scoring::service();
}

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    SERVICE.with(|service| scoring::check(service, body));
});
