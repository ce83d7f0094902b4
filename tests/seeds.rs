//! The committed seeds of the fuzz targets, through the targets' own checks: what a fuzzer once found stays fixed, and the seeds
//! reach what they are there to reach.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "fuzz/bidding.rs"]
mod bidding;
mod bundles;
#[path = "fuzz/manifest.rs"]
mod manifest;
#[path = "fuzz/scoring.rs"]
mod scoring;
#[path = "fuzz/service.rs"]
mod service;

use std::collections::BTreeSet;
use std::path::Path;

use service::{Answered, is_json, nesting, relaid};

/// All seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Status, and kind of the error or of one in a batch.
fn reached(answer: &Answered) -> Vec<String> {
    let kind = |of: &serde_json::Value| of["error"]["kind"].as_str().map(str::to_owned);
    let inside = answer.body["answers"].as_array().into_iter().flatten().filter_map(kind);
    std::iter::once(answer.status.as_u16().to_string()).chain(kind(&answer.body)).chain(inside).collect()
}

fn assert_reached(reached: &BTreeSet<String>, wanted: &[&str]) {
    let missing: Vec<_> = wanted.iter().filter(|wanted| !reached.contains(**wanted)).collect();
    assert!(missing.is_empty(), "no seed reaches {missing:?}, only {reached:?}");
}

#[test]
fn seeds_of_scores() {
    let service = scoring::service();
    let answers = seeds("score").into_iter().flat_map(|body| scoring::check(&service, &body));
    let reached: BTreeSet<String> = answers.flat_map(|answer| reached(&answer)).collect();
    let kinds = [
        "200",
        "400",
        "invalid_json",
        "wrong_type",
        "unknown_field",
        "duplicate_field",
        "invalid_number",
        "no_candidates",
        "too_many_candidates",
        "no_requests",
        "batch_too_long",
    ];
    assert_reached(&reached, &kinds);
}

#[test]
fn seeds_of_bid_requests() {
    let service = bidding::service();
    let reached: BTreeSet<String> =
        seeds("openrtb").into_iter().flat_map(|body| reached(&bidding::check(&service, &body))).collect();
    let kinds = [
        "200",
        "204",
        "400",
        "invalid_json",
        "wrong_type",
        "missing_field",
        "duplicate_field",
        "invalid_value",
        "batch_too_long",
    ];
    assert_reached(&reached, &kinds);
}

#[test]
fn seeds_of_manifests() {
    let folder = manifest::Folder::new();
    let outcomes: Vec<_> = seeds("manifest").iter().flat_map(|text| folder.check(text)).collect();
    assert!(outcomes.iter().any(Result::is_ok), "one is the bundle's own");
    for reason in
        ["cannot be read", "does not say", "expected format", "calls it", "is cut", "is corrupted", "does not list"]
    {
        assert!(
            outcomes.iter().any(|told| told.as_ref().is_err_and(|told| told.contains(reason))),
            "no seed is refused because it {reason}"
        );
    }
}

#[test]
fn white_space_changes_where_it_may() {
    let json = r#"{"a \" [ b": [1, {"c": "\\"}, "{ } ,"]}"#;
    assert_eq!(relaid(json, ""), r#"{"a \" [ b":[1,{"c":"\\"},"{ } ,"]}"#);
    assert!(is_json(relaid(json, " \n").as_bytes()).is_some());
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(read(&relaid(json, "\t ")), read(json));
    assert_eq!((nesting(json), nesting("[[1], {}, [[]]]")), (4, 3));
    assert_eq!((is_json(b"{\"a\": \xff}"), is_json(b"{} {}")), (None, None));
}
