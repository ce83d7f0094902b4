//! What a request takes from its bytes to those of its answer, in process and on one thread, beside the same HTTP stack with a constant
//! answer: the difference is reading, scoring and writing.
//!
//! A request takes neighboring rows of a log. Of the columns that features read, the first three quarters are the context's and the
//! others the candidates' own. Missing cells are left out.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use pctr::model::bundle::Bundle;
use pctr::model::dcn::ScoringPrecision;
use pctr::predict::Live;
use pctr::predict::budget::Budget;
use pctr::predict::http::{Limits, Shared, app};
use pctr::predict::scorer::{Scratch, warm};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::requests::{Log, in_precision};

/// Different requests of each size.
const BODIES: usize = 64;

/// Times that each request is answered.
const ROUNDS: usize = 60;

/// Prints nanoseconds of requests of several sizes: bytes to bytes, the same with a constant answer, and scoring alone.
pub(crate) fn table(bundle: &Bundle, log: &Log) {
    let model = in_precision(bundle, ScoringPrecision::F32);
    warm(&model, &Instant::now);
    let scored = in_precision(bundle, ScoringPrecision::F32);
    warm(&scored, &Instant::now);
    let service = app(Shared::new(Arc::new(Live::new(model)), Limits::default()));
    let constant = Router::new().route("/v1/score", post(constant));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let columns = Columns::new(bundle);
    let mut scratch = Scratch::default();
    let mut out = String::from("kind,candidates,bytes,service_ns,constant_ns,difference_ns,scoring_ns\n");
    for candidates in [1, 10, 100] {
        let bodies: Vec<Bytes> = (0..BODIES.min(log.requests(candidates)))
            .map(|request| Bytes::from(columns.body(log.rows(request, candidates))))
            .collect();
        let mut least = [vec![u128::MAX; bodies.len()], vec![u128::MAX; bodies.len()], vec![u128::MAX; bodies.len()]];
        for _ in 0..ROUNDS {
            for (at, body) in bodies.iter().enumerate() {
                for (router, least) in [&service, &constant].into_iter().zip(&mut least) {
                    let took = runtime.block_on(answer(router, body.clone()));
                    least[at] = least[at].min(took);
                }
                let began = Instant::now();
                std::hint::black_box(log.score(&scored, at, candidates, &Budget::unlimited(), &mut scratch));
                least[2][at] = least[2][at].min(began.elapsed().as_nanos());
            }
        }
        let mean = |of: &Vec<u128>| of.iter().sum::<u128>() / of.len() as u128;
        let [service, constant, scoring] = least.each_ref().map(mean);
        let bytes = bodies.iter().map(Bytes::len).sum::<usize>() / bodies.len();
        let (kind, difference) = (bundle.manifest.kind, service.saturating_sub(constant));
        out += &format!("{kind},{candidates},{bytes},{service},{constant},{difference},{scoring}\n");
    }
    std::io::Write::write_all(&mut std::io::stdout(), out.as_bytes()).expect("standard output");
}

async fn answer(router: &Router, body: Bytes) -> u128 {
    let request = Request::post("/v1/score").header("x-budget-us", "60000000").body(Body::from(body));
    let request = request.expect("a request");
    let router = router.clone();
    let began = Instant::now();
    let response = router.oneshot(request).await.expect("routers do not fail");
    assert_eq!(response.status(), StatusCode::OK);
    let answer = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("an answer");
    let took = began.elapsed().as_nanos();
    std::hint::black_box(answer);
    took
}

async fn constant(body: Bytes) -> axum::response::Response {
    const ANSWER: &str = r#"{"model":"ftrl-3c336fb179ef","candidates":[{"probability":0.020412345678901234,"tier":"full","fingerprint":"0123456789abcdef"}],"micros":12}"#;
    std::hint::black_box(body);
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], ANSWER).into_response()
}

/// Columns that features read: those of the context and those of the candidates.
struct Columns<'a> {
    names: &'a [String],
    context: Vec<usize>,
    own: Vec<usize>,
}

impl<'a> Columns<'a> {
    fn new(bundle: &'a Bundle) -> Self {
        let mut context: Vec<usize> = bundle.schema.features.iter().map(|feature| feature.column).collect();
        context.dedup();
        let own = context.split_off(context.len() - context.len() / 4);
        Columns { names: &bundle.schema.columns, context, own }
    }

    /// A score request of some rows of the log.
    fn body(&self, rows: &[Vec<Vec<u8>>]) -> String {
        let object = |row: &[Vec<u8>], columns: &[usize]| -> Map<String, Value> {
            let cells = columns.iter().map(|column| (&self.names[*column], &row[*column]));
            let cells = cells.filter(|(_, cell)| !cell.is_empty());
            cells.map(|(name, cell)| (name.clone(), json!(String::from_utf8_lossy(cell)))).collect()
        };
        let candidates: Vec<Value> = rows.iter().map(|row| Value::Object(object(row, &self.own))).collect();
        json!({ "context": object(&rows[0], &self.context), "candidates": candidates }).to_string()
    }
}
