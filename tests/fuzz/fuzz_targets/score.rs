//! Any body to `/v1/score` and `/v1/score/batch`.
#![no_main]

#[path = "../../bundles/mod.rs"]
mod bundles;
#[path = "../service.rs"]
mod service;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pctr::model::bundle::ModelKind;
use pctr::predict::http::{Limits, Shared};
use pctr::predict::{Live, LiveModel};
use service::Service;

thread_local! {
    static SERVICE: Service = {
        let model = LiveModel::new(bundles::bundle(ModelKind::Ftrl, 1)).expect("it answers");
        Service::new(Shared::new(Arc::new(Live::new(model)), Limits { candidates: 20, batch: 5, ..Limits::default() }))
    };
}

fuzz_target!(|body: &[u8]| {
    SERVICE.with(|service| {
        service.ask("/v1/score", body);
        service.ask("/v1/score/batch", body);
    });
});
