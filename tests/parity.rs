//! The answer of the service and the score of a file are the same bits, for every kind of model.
//!
//! One side is a CSV file and what `pctr score` writes for it; the other is the same rows as
//! JSON requests to the service, cut into context and candidates in different ways and with values written in different
//! ways.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use pctr::learn::Interrupt;
use pctr::learn::score::score;
use pctr::learn::source::{BadRows, Input};
use pctr::model::Threads;
use pctr::model::bundle::{Bundle, ModelKind, Tier};
use pctr::model::schema::FeatureKind;
use pctr::predict::budget::Budget;
use pctr::predict::http::{Limits, Shared, app};
use pctr::predict::scorer::{Scratch, score as score_request};
use pctr::predict::{Live, LiveModel};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

/// Probabilities of `rows` as a file of them is scored by a tier.
fn scored_as_file(bundle: &Bundle, tier: Tier, rows: &[Vec<String>]) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    let quoted = |cells: &[String]| {
        let quote = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
        cells.iter().map(quote).collect::<Vec<_>>().join(",") + "\n"
    };
    let text: String =
        std::iter::once(bundle.schema.columns.as_slice()).chain(rows.iter().map(Vec::as_slice)).map(quoted).collect();
    std::fs::write(&path, text).unwrap();

    let mut scores = Vec::new();
    let mut bad = BadRows::new(0.0).unwrap();
    let (input, threads) = (Input::new(&path), Threads::one());
    score((bundle, tier), &input, &mut bad, threads, &mut scores, &mut |_| {}, &Interrupt::default()).unwrap();
    let scores = String::from_utf8(scores).unwrap();
    scores.strip_prefix("p\n").unwrap().lines().map(|probability| probability.parse().unwrap()).collect()
}

/// The value of a cell in one of the ways a client may write it.
fn written(bundle: &Bundle, column: usize, cell: &str, way: usize) -> Option<Value> {
    let separator = bundle.schema.features.iter().filter(|feature| feature.column == column).find_map(|feature| {
        match feature.kind {
            FeatureKind::Bag { separator, .. } => Some(char::from(separator)),
            _ => None,
        }
    });
    // A number whose text is JSON's own keeps it; `007` or ` 7 ` can only be strings.
    let number = serde_json::from_str::<&serde_json::value::RawValue>(cell).ok();
    let number = number.filter(|raw| raw.get() == cell && cell.parse::<f64>().is_ok()).map(|raw| {
        assert_eq!(serde_json::from_str::<serde_json::Number>(raw.get()).unwrap().as_f64(), cell.parse().ok());
        Value::String(format!("\u{0}{cell}"))
    });
    match (cell, way % 3) {
        ("", 0) => None,
        ("", 1) => Some(Value::Null),
        ("", _) if separator.is_some() => Some(json!([])),
        (_, 1) if separator.is_some() => Some(json!(cell.split(separator.unwrap()).collect::<Vec<_>>())),
        ("true", 1) => Some(Value::Bool(true)),
        (_, 1) if number.is_some() => number,
        _ => Some(json!(cell)),
    }
}

/// A request's text, with marked numbers written as they came.
fn text(request: &Value) -> String {
    let mut text = request.to_string();
    while let Some(start) = text.find("\"\\u0000") {
        let end = start + 1 + text[start + 1..].find('"').unwrap();
        text = format!("{}{}{}", &text[..start], &text[start + 7..end], &text[end + 1..]);
    }
    text
}

async fn answered(service: &axum::Router, body: String) -> Vec<f64> {
    let request = Request::post("/v1/score").header("x-budget-us", "60000000").body(Body::from(body.clone())).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}: {}", String::from_utf8_lossy(&bytes));
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    answer["candidates"].as_array().unwrap().iter().map(|scored| scored["probability"].as_f64().unwrap()).collect()
}

/// Rows cut into requests of `count` candidates: columns below `cut` of a request's first row are the context, and a
/// candidate names its own where they differ.
fn requests(bundle: &Bundle, rows: &[Vec<String>], count: usize, cut: usize, way: usize) -> Vec<String> {
    let columns = &bundle.schema.columns;
    let request = |rows: &[Vec<String>]| {
        let object = |row: &[String], wanted: &dyn Fn(usize) -> bool, emptied: &dyn Fn(usize) -> bool| {
            let mut object = Map::new();
            for (column, cell) in row.iter().enumerate().filter(|(column, _)| wanted(*column)) {
                match written(bundle, column, cell, way + column) {
                    Some(value) => drop(object.insert(columns[column].clone(), value)),
                    None if emptied(column) => drop(object.insert(columns[column].clone(), Value::Null)),
                    None => {}
                }
            }
            object
        };
        let context = object(&rows[0], &|column| column < cut, &|_| false);
        let candidate = |row: &Vec<String>| {
            let differs = |column: usize| column >= cut || row[column] != rows[0][column];
            Value::Object(object(row, &differs, &|column| column < cut))
        };
        text(&json!({ "context": context, "candidates": rows.iter().map(candidate).collect::<Vec<_>>() }))
    };
    rows.chunks(count).map(request).collect()
}

#[tokio::test]
async fn the_service_answers_what_a_file_scores() {
    for (kind, seed) in bundles::MODELS {
        let bundle = bundles::bundle(kind, seed);
        let rows: Vec<Vec<String>> = (3000..3170).map(bundles::row).collect();
        let expected = scored_as_file(&bundle, Tier::Full, &rows);
        let different = expected.iter().map(|p| p.to_bits()).collect::<BTreeSet<_>>().len();
        assert_eq!(different > 5, kind != ModelKind::BaseRate, "{kind}: {different} probabilities");
        let width = bundle.schema.columns.len();
        let live = Arc::new(Live::new(LiveModel::new(bundle.clone()).unwrap()));
        let service = app(Shared::new(live, Limits::default()));
        for count in [1, 2, 17] {
            for cut in [0, 5, 8, width] {
                for way in 0..3 {
                    let mut answers = Vec::new();
                    for request in requests(&bundle, &rows, count, cut, way) {
                        answers.extend(answered(&service, request).await);
                    }
                    for (row, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                        assert_eq!(
                            answer.to_bits(),
                            expected.to_bits(),
                            "{kind} {seed}, {count} candidates, cut {cut}, way {way}, row {:?}",
                            rows[row]
                        );
                    }
                    assert_eq!(answers.len(), rows.len());
                }
            }
        }
    }
}

/// A clock that goes on by a step each time it is read.
fn ticking(step: Duration) -> impl Fn() -> Instant {
    let (started, reads) = (Instant::now(), Cell::new(0));
    move || {
        reads.set(reads.get() + 1);
        started + step * reads.get()
    }
}

#[test]
fn every_rung_of_the_ladder_answers_what_a_file_scores() {
    let rows: &[Vec<String>] = &(3000..3300).map(bundles::row).collect::<Vec<_>>();
    let micros = Duration::from_micros;
    for (kind, seed) in bundles::MODELS {
        let bundle = bundles::bundle(kind, seed);
        let tiers: Vec<Tier> = bundle.tiers().collect();
        assert_eq!(tiers.contains(&Tier::Cheap), kind == ModelKind::Dcn);
        let expected: Vec<(Tier, Vec<f64>)> =
            tiers.iter().map(|tier| (*tier, scored_as_file(&bundle, *tier, rows))).collect();
        let model = LiveModel::new(bundle).unwrap();
        let mut scratch = Scratch::default();
        let mut seen = BTreeSet::new();
        for cut in [0, 5, 8] {
            for budget in [0, 300, 1_000, 3_000, 100_000] {
                for count in [1, 2, 4, 8, 16, 32, 64, 128] {
                    model.scorer.costs().record(Tier::Full, count, micros(10 * count as u64));
                    model.scorer.costs().record(Tier::Cheap, count, micros(count as u64));
                }
                let clock = ticking(micros(150));
                let budget = Budget::until(clock() + micros(budget), &clock);
                let cells = |row: usize, columns: Range<usize>| {
                    columns.map(move |column| (column, bundles::cell(&rows[row][column])))
                };
                // Columns that change with each row of a request are the candidate's.
                let context: Vec<String> = rows[0].clone();
                let requested: Vec<Vec<String>> =
                    rows.iter().map(|row| [&context[..cut], &row[cut..]].concat()).collect();
                let expected: Vec<(Tier, Vec<f64>)> = match cut {
                    0 => expected.clone(),
                    _ => tiers.iter().map(|t| (*t, scored_as_file(&model.bundle, *t, &requested))).collect(),
                };
                let candidates = (0..rows.len()).map(|row| cells(row, cut..context.len()));
                let scored = score_request(&model, cells(0, 0..cut), candidates, &budget, &mut scratch).unwrap();
                for (row, scored) in scored.iter().enumerate() {
                    let (_, expected) = expected.iter().find(|(tier, _)| *tier == scored.tier).unwrap();
                    assert_eq!(
                        scored.probability.to_bits(),
                        expected[row].to_bits(),
                        "{kind} {seed}, {} tier, cut {cut}, row {row}",
                        scored.tier
                    );
                    seen.insert(scored.tier);
                }
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), tiers, "{kind} {seed}");
    }
}
