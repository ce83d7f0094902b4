//! The service's answers: the contract of `POST /v1/score`, every way to be refused, and a running server that follows a
//! registry.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bundles::{bundle, written};
use pctr::error::Kind;
use pctr::model::bundle::ModelKind;
use pctr::predict::http::{Limits, ServeOptions, Shared, Source, app, spawn};
use pctr::predict::{Live, LiveModel};
use pctr::registry::{PRODUCTION, Registry, SchemaChange};
use serde_json::{Value, json};
use tower::ServiceExt;

fn service() -> Router {
    let live = Live::new(LiveModel::new(bundle(ModelKind::Ftrl, 1)).unwrap());
    app(Shared::new(Arc::new(live), Limits { candidates: 3, body_bytes: 2000, ..Limits::default() }))
}

async fn call(service: &Router, method: Method, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request =
        Request::builder().method(method).uri(path).header("x-budget-us", "60000000").body(body.into()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).unwrap().clone();
    assert_eq!(kind == "application/json", path != "/metrics", "{path}: {kind:?}");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn score(service: &Router, body: impl Into<Body>) -> (StatusCode, Value) {
    let (status, body) = call(service, Method::POST, "/v1/score", body).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Probabilities of a request that must be answered.
async fn probabilities(service: &Router, body: &str) -> Vec<f64> {
    let (status, answer) = score(service, body.to_owned()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["candidates"].as_array().unwrap().iter().map(|scored| scored["probability"].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn answers_come_in_order_with_ids_as_given() {
    let service = service();
    let body =
        r#"{"context": {"site": "news"}, "candidates": [{"id": "a\u00e9", "slot": "1"}, {"slot": 2}, {"id": 7.0}]}"#;
    let (status, text) = call(&service, Method::POST, "/v1/score", body).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&text).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&answer), ["candidates", "micros", "model"]);
    assert!(answer["model"].as_str().unwrap().starts_with("ftrl-"));
    assert!(answer["micros"].is_u64());
    let scored = answer["candidates"].as_array().unwrap();
    assert_eq!(scored.len(), 3);
    assert!(text.contains(r#"{"id":"a\u00e9","probability":"#) && text.contains(r#"{"id":7.0,"#), "{text}");
    assert_eq!(keys(&scored[1]), ["fingerprint", "probability", "tier"], "no id was given");
    for scored in scored {
        assert_eq!(scored["tier"], "full");
        let fingerprint = scored["fingerprint"].as_str().unwrap();
        assert!(fingerprint.len() == 16 && u64::from_str_radix(fingerprint, 16).is_ok(), "{fingerprint}");
        assert!((1e-9..1.0).contains(&scored["probability"].as_f64().unwrap()));
    }
}

#[tokio::test]
async fn values_mean_what_they_mean_in_a_log() {
    let service = service();
    // Each list holds requests of the same meaning.
    let same: [&[&str]; 6] = [
        &[
            r#"{"context": {"site": "news", "slot": "1"}, "candidates": [{}]}"#,
            r#"{"candidates": [{"site": "news", "slot": 1}]}"#,
            r#"{"context": {"site": "other", "slot": "1"}, "candidates": [{"site": "n\u0065ws"}]}"#,
            r#"{"candidates": [{"slot": 1, "site": "news", "age": null, "tags": []}], "context": {}}"#,
            r#"{"candidates": [{"slot": 1, "s\u0069te": "news", "age": "", "tags": ""}]}"#,
        ],
        &[
            r#"{"candidates": [{"age": 30, "bid_floor": "1.5"}]}"#,
            r#"{"candidates": [{"age": "30.0", "bid_floor": 1.5}]}"#,
            r#"{"context": {"age": "never used"}, "candidates": [{"age": 3e1, "bid_floor": 1.5}]}"#,
        ],
        &[
            r#"{"candidates": [{"tags": "a|b"}]}"#,
            r#"{"candidates": [{"tags": ["a", "b"]}]}"#,
            r#"{"candidates": [{"tags": ["", "a", "\u0062", ""]}]}"#,
        ],
        &[r#"{"candidates": [{"tags": [1, 2.50]}]}"#, r#"{"candidates": [{"tags": "1|2.50"}]}"#],
        &[r#"{"candidates": [{"site": true}]}"#, r#"{"candidates": [{"site": "true"}]}"#],
        // Columns that no feature reads have no effect, whatever they hold.
        &[
            r#"{"candidates": [{"site": "42"}]}"#,
            r#"{"context": {"click": 1, "note": [[]]}, "candidates": [{"site": 42, "when": "x", "request": {}}]}"#,
        ],
    ];
    let mut seen = Vec::new();
    for requests in same {
        let expected = probabilities(&service, requests[0]).await;
        for request in requests {
            assert_eq!(probabilities(&service, request).await, expected, "{request}");
        }
        seen.push(expected);
    }
    assert!(seen.windows(2).any(|pair| pair[0] != pair[1]), "the fields do have an effect: {seen:?}");
    let text = probabilities(&service, r#"{"candidates": [{"slot": "7"}, {"slot": "007"}]}"#).await;
    let number = probabilities(&service, r#"{"candidates": [{"slot": 7}]}"#).await;
    assert_eq!(text[0], number[0]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_kind_and_field() {
    let service = service();
    let long = format!(r#"{{"candidates": [{{"site": "{}"}}]}}"#, "x".repeat(3000));
    // Body, kind, field, and a part of the message.
    let cases: [(&[u8], &str, Option<&str>, &str); 39] = [
        (b"", "invalid_json", None, "no JSON"),
        (b"{", "invalid_json", None, "line 1"),
        (b"{\"candidates\": [{}]} x", "invalid_json", None, "trailing"),
        (b"{\"candidates\": [{\"site\": \"\xff\"}]}", "invalid_json", None, "UTF-8"),
        (b"{\"candidates\": [{\"site\": NaN}]}", "invalid_json", None, "line 1"),
        (br#"{"candidates": [{"site": "\ud800"}]}"#, "invalid_json", Some("site"), "candidates[0]: site"),
        (br#"{"candidates": [{"tags": ["\ud800"]}]}"#, "invalid_json", Some("tags"), "candidates[0]: tags"),
        (br#"{"candidates": [{"id": "\ud800"}]}"#, "invalid_json", Some("id"), "candidates[0]: id"),
        (br#"{"candidates": [{"\ud800": 1}]}"#, "invalid_json", None, "candidates[0]"),
        (b"[]", "wrong_type", None, "expected an object, got []"),
        (b"null", "wrong_type", None, "expected an object, got null"),
        (br#"{"context": [], "candidates": [{}]}"#, "wrong_type", None, "context: expected an object"),
        (br#"{"candidates": {}}"#, "wrong_type", Some("candidates"), "expected a list of objects, got {}"),
        (br#"{"candidates": [5]}"#, "wrong_type", None, "candidates[0]: expected an object, got 5"),
        (br#"{"candidates": [{}, {"site": {}}]}"#, "wrong_type", Some("site"), "candidates[1]: site"),
        (br#"{"candidates": [{"site": ["a"]}]}"#, "wrong_type", Some("site"), "expected one value"),
        (br#"{"candidates": [{"age": [1]}]}"#, "wrong_type", Some("age"), "expected one value"),
        (br#"{"candidates": [{"tags": {}}]}"#, "wrong_type", Some("tags"), "a list"),
        (br#"{"candidates": [{"tags": [null]}]}"#, "wrong_type", Some("tags"), "strings and numbers"),
        (br#"{"candidates": [{"tags": [["a"]]}]}"#, "wrong_type", Some("tags"), "strings and numbers"),
        (br#"{"candidates": [{"tags": ["a|b"]}]}"#, "wrong_type", Some("tags"), "without '|', got \"a|b\""),
        (br#"{"candidates": [{"id": true}]}"#, "wrong_type", Some("id"), "a string or a number"),
        (br#"{"candidates": [{"id": {}}]}"#, "wrong_type", Some("id"), "a string or a number"),
        (br#"{"candidates": [{"id": -1e999}]}"#, "wrong_type", Some("id"), "at most 1.8e308, got -1e999"),
        (br#"{"contxt": {}, "candidates": [{}]}"#, "unknown_field", Some("contxt"), "did you mean \"context\"?"),
        (br#"{"candidates": [{"sit": "a"}]}"#, "unknown_field", Some("sit"), "did you mean \"site\"?"),
        (br#"{"candidates": [{"section": "a"}]}"#, "unknown_field", Some("section"), "read from the field \"site\""),
        (br#"{"context": {"id": 1}, "candidates": [{}]}"#, "unknown_field", Some("id"), "context"),
        (br#"{"candidates": [{}], "candidates": [{}]}"#, "duplicate_field", Some("candidates"), "twice"),
        (br#"{"context": {"age": 1, "age": 1}, "candidates": [{}]}"#, "duplicate_field", Some("age"), "context"),
        (br#"{"candidates": [{"click": 1, "click": 1}]}"#, "duplicate_field", Some("click"), "candidates[0]"),
        (br#"{"candidates": [{"id": 1, "id": null}]}"#, "duplicate_field", Some("id"), "candidates[0]"),
        (
            br#"{"candidates": [{"age": "old"}]}"#,
            "invalid_number",
            Some("age"),
            "candidates[0]: age: expected a finite",
        ),
        (br#"{"candidates": [{}, {"bid_floor": 1e999}]}"#, "invalid_number", Some("bid_floor"), "candidates[1]"),
        (br#"{"context": {"age": "inf"}, "candidates": [{}]}"#, "invalid_number", Some("age"), "context: age"),
        (br#"{"context": {"age": true}, "candidates": [{}]}"#, "invalid_number", Some("age"), "got \"true\""),
        (br#"{"context": {}}"#, "no_candidates", Some("candidates"), "missing"),
        (br#"{"candidates": []}"#, "no_candidates", Some("candidates"), "empty"),
        (br#"{"candidates": [{}, {}, {}, {}, 5]}"#, "too_many_candidates", Some("candidates"), "at most 3, got 5"),
    ];
    for (body, kind, field, message) in cases {
        let (status, answer) = score(&service, body).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(status, StatusCode::BAD_REQUEST, "{shown}: {answer}");
        let error = &answer["error"];
        assert_eq!((&error["kind"], &error["field"]), (&json!(kind), &json!(field)), "{shown}: {answer}");
        assert!(error["message"].as_str().unwrap().contains(message), "{shown}: {answer} does not say {message}");
        assert_eq!(error.as_object().unwrap().len(), 3);
    }
    let (status, answer) = score(&service, long).await;
    assert_eq!((status, &answer["error"]["kind"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("body_too_large")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("2000 bytes"));
    let (status, answer) = call(&service, Method::GET, "/v1/scores", "").await;
    assert!(status == StatusCode::NOT_FOUND && answer.contains("\"not_found\""), "{answer}");
    let (status, answer) = call(&service, Method::GET, "/v1/score", "").await;
    assert!(status == StatusCode::METHOD_NOT_ALLOWED && answer.contains("\"method_not_allowed\""), "{answer}");

    let (_, metrics) = call(&service, Method::GET, "/metrics", "").await;
    for (kind, count) in [("invalid_json", 9), ("wrong_type", 15), ("invalid_number", 4), ("not_found", 1)] {
        assert!(metrics.contains(&format!("pctr_errors_total{{kind=\"{kind}\"}} {count}\n")), "{kind}: {metrics}");
    }
    assert!(metrics.contains("pctr_requests_total 0\n"), "{metrics}");
}

/// A request whose keys stand in another order for each seed, spelled with and without escapes and blanks, in the context or in the
/// candidate; some are the same twice, once in each.
fn shuffled(cells: &[(&str, &str)], seed: usize) -> String {
    let blank = [" ", "", "\n\t", "  "][seed % 4];
    let mut objects = [Vec::new(), Vec::new()];
    for place in 0..cells.len() {
        let (name, cell) = cells[(place * [1, 5][seed / 4 % 2] + seed) % cells.len()];
        let name = match (seed / 3 + place).is_multiple_of(5) {
            true => name.chars().map(|letter| format!("\\u{:04X}", u32::from(letter))).collect(),
            false => name.to_owned(),
        };
        let field = |cell: &str| format!("{blank}\"{name}\"{blank}:{blank}{cell}{blank}");
        let is_own = (seed >> (place % 5)) & 1 == 1;
        objects[usize::from(is_own)].push(field(cell));
        if is_own && (seed + place).is_multiple_of(3) {
            objects[0].push(field("\"something else\""));
        }
    }
    let [context, own] = objects.map(|fields| format!("{{{}}}", fields.join(",")));
    match seed.is_multiple_of(2) {
        true => format!(r#"{{"context":{context},"candidates":[{own}{blank}]}}{blank}"#),
        false => format!(r#"{blank}{{"candidates":[{blank}{own}],{blank}"context":{context}}}"#),
    }
}

#[tokio::test]
async fn keys_may_stand_in_any_order() {
    let service = service();
    let cells = [
        ("site", r#""a \"quoted\" site""#),
        ("slot", r#""007""#),
        ("tags", r#"["sp\u006frt", 7, "c"]"#),
        ("bid_floor", "1.50"),
        ("note", r#"[{"\ud800": [null, "}"]}]"#),
        ("age", "30"),
    ];
    let whole = |cells: &[(&str, &str)]| -> String {
        let fields: Vec<String> = cells.iter().map(|(name, cell)| format!("\"{name}\": {cell}")).collect();
        format!(r#"{{"candidates": [{{{}}}]}}"#, fields.join(", "))
    };
    let expected = probabilities(&service, &whole(&cells)).await[0];
    assert_ne!(expected, probabilities(&service, r#"{"candidates": [{}]}"#).await[0]);
    for seed in 0..200 {
        let body = shuffled(&cells, seed);
        assert_eq!(probabilities(&service, &body).await[0], expected, "{body}");
    }
}

#[tokio::test]
async fn a_batch_stands_or_breaks_as_a_whole() {
    let live = Live::new(LiveModel::new(bundle(ModelKind::Ftrl, 1)).unwrap());
    let service = app(Shared::new(Arc::new(live), Limits { candidates: 3, ..Limits::default() }));
    let good = r#"{"context": {"site": "news"}, "candidates": [{"id": "\ud83d\ude00", "slot": 1}, {"id": null}]}"#;
    // What is wrong with one request leaves the others as they are.
    let wrong = [
        (r#"{"candidates": [{"site": {"deep": [1, {"er": "}]"}]}}, {}]}"#, "wrong_type"),
        (r#"{"candidates": [{"site": "\ud800"}]}"#, "invalid_json"),
        (r#"{"candidates": [{"s": 1}, {"t": 2}]}"#, "unknown_field"),
        (r#"{"context": {"age": 1, "age": 2}, "candidates": [{}]}"#, "duplicate_field"),
        (r#"{"candidates": [{}, {}, {}, {}]}"#, "too_many_candidates"),
        (r#"{"candidates": [{"age": "old"}]}"#, "invalid_number"),
        (r#"{"candidates": []}"#, "no_candidates"),
        (r#"["candidates"]"#, "wrong_type"),
    ];
    let items: Vec<&str> = wrong.iter().flat_map(|(request, _)| [*request, good]).collect();
    let whole = format!(r#"{{"requests": [{}]}}"#, items.join(", "));
    let (status, text) = call(&service, Method::POST, "/v1/score/batch", whole.clone()).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    let answers = answer["answers"].as_array().unwrap();
    let (_, alone) = score(&service, good).await;
    assert_eq!(answers.len(), items.len());
    for (answers, (request, kind)) in answers.chunks(2).zip(wrong) {
        assert_eq!(answers[0]["error"]["kind"], kind, "{request}: {}", answers[0]);
        assert_eq!(answers[1]["candidates"], alone["candidates"], "behind {request}");
    }
    assert!(text.contains(r#"{"id":"\ud83d\ude00","probability":"#), "{text}");

    // Wherever the body breaks off, nothing of it is scored.
    let (_, before) = call(&service, Method::GET, "/metrics", "").await;
    let scored =
        |metrics: &str| metrics.lines().find(|line| line.starts_with("pctr_candidates_total")).map(str::to_owned);
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        let (status, answer) = call(&service, Method::POST, "/v1/score/batch", whole[..end].to_owned()).await;
        assert!(status == StatusCode::BAD_REQUEST && answer.contains("invalid_json"), "{}: {answer}", &whole[..end]);
    }
    for (body, kind) in [
        (format!("{whole}]"), "invalid_json"),
        (whole.replace("null", "nil"), "invalid_json"),
        (whole.replace("deep", "\\deep"), "invalid_json"),
        (whole.replacen("requests", "request", 1), "unknown_field"),
        (format!(r#"{{"requests": [{good}], "requests": []}}"#), "duplicate_field"),
        (format!(r#"{{"requests": {good}}}"#), "wrong_type"),
        ("{}".into(), "no_requests"),
        (r#"{"requests": []}"#.into(), "no_requests"),
        (format!(r#"{{"requests": [{}{good}]}}"#, format!("{good},").repeat(100)), "batch_too_long"),
    ] {
        let body: String = body;
        let (status, answer) = call(&service, Method::POST, "/v1/score/batch", body.clone()).await;
        assert!(status == StatusCode::BAD_REQUEST && answer.contains(&format!("\"{kind}\"")), "{body}: {answer}");
    }
    let (_, after) = call(&service, Method::GET, "/metrics", "").await;
    assert_eq!(scored(&before), scored(&after));
}

#[tokio::test]
async fn deep_nesting_is_refused_without_harm() {
    let live = Live::new(LiveModel::new(bundle(ModelKind::Ftrl, 1)).unwrap());
    let service = app(Shared::new(Arc::new(live), Limits::default()));
    let deep = format!(r#"{{"candidates": [{{"tags": {}{}}}]}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let (status, answer) = score(&service, deep).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{}", answer["error"]["kind"]);
}

#[tokio::test]
async fn the_service_tells_how_it_is() {
    let service = service();
    let (status, body) = call(&service, Method::GET, "/healthz", "").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"status":"alive"}"#));
    let (status, body) = call(&service, Method::GET, "/readyz", "").await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &ready["status"], &ready["schema"]), (StatusCode::OK, &json!("ready"), &json!("ads")));

    probabilities(&service, r#"{"candidates": [{}, {}]}"#).await;
    probabilities(&service, r#"{"candidates": [{}]}"#).await;
    let (_, metrics) = call(&service, Method::GET, "/metrics", "").await;
    let model = ready["model"].as_str().unwrap();
    for line in [
        "pctr_requests_total 2".to_owned(),
        "pctr_candidates_total 3".into(),
        "pctr_score_seconds_bucket{le=\"+Inf\"} 2".into(),
        "pctr_score_seconds_count 2".into(),
        "# TYPE pctr_score_seconds histogram".into(),
        format!("pctr_model_info{{model=\"{model}\",kind=\"ftrl\",schema=\"ads\"}} 1"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

/// Sends to a running server; the model's name in its answer.
fn model_over_the_wire(address: std::net::SocketAddr) -> String {
    let body = json!({ "context": { "site": "news" }, "candidates": [{ "id": 1 }] });
    let mut response = ureq::post(format!("http://{address}/v1/score")).send_json(&body).unwrap();
    let answer: Value = response.body_mut().read_json().unwrap();
    assert_eq!(answer["candidates"][0]["id"], 1);
    answer["model"].as_str().unwrap().to_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn options(source: Source) -> ServeOptions {
    let listen = ([127, 0, 0, 1], 0).into();
    ServeOptions { listen, threads: 1, poll_ms: 10, ..ServeOptions::new(source) }
}

#[test]
fn a_server_follows_its_registry() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::create(&folder.path().join("registry")).unwrap();
    let publish = |kind, seed| registry.publish(&written(folder.path(), &bundle(kind, seed))).unwrap();
    let promote = |model: &str| registry.promote(model, PRODUCTION, SchemaChange::Refuse).unwrap();
    let (a, b, c) = (publish(ModelKind::BaseRate, 1), publish(ModelKind::Ftrl, 1), publish(ModelKind::Ftrl, 2));

    let source = Source::Registry { folder: registry.folder().to_path_buf(), stage: PRODUCTION.into() };
    assert_eq!(spawn(&options(source.clone())).unwrap_err().kind(), Kind::Config, "nothing is promoted");
    promote(&a.model);
    let server = spawn(&options(source)).unwrap();
    let serves = || model_over_the_wire(server.local_addr());
    assert_eq!(serves(), a.model);
    promote(&b.model);
    wait_until("the promoted model takes over", || serves() == b.model);

    // A bundle that breaks behind the gate's back never takes over.
    let weights = c.path.join("weights.safetensors");
    let good = std::fs::read(&weights).unwrap();
    std::fs::remove_file(&weights).unwrap();
    std::fs::write(&weights, &good[1..]).unwrap();
    let stage = registry.folder().join("stages/production.json");
    let pointer = std::fs::read_to_string(&stage).unwrap();
    let change = registry.resolve(PRODUCTION).unwrap().change;
    let forged = pointer
        .replace(&format!("\"model\": \"{}\"", b.model), &format!("\"model\": \"{}\"", c.model))
        .replace(&format!("\"change\": {change}"), &format!("\"change\": {}", change + 1));
    std::fs::write(&stage, forged).unwrap();
    let metrics = || {
        let mut response = ureq::get(format!("http://{}/metrics", server.local_addr())).call().unwrap();
        response.body_mut().read_to_string().unwrap()
    };
    wait_until("the refusal is counted", || metrics().contains("pctr_model_refusals_total 1\n"));
    assert_eq!(serves(), b.model);
    // Repaired, it does.
    std::fs::write(&weights, &good).unwrap();
    wait_until("the repaired model takes over", || serves() == c.model);
    let metrics = metrics();
    assert!(metrics.contains("pctr_model_refusals_total 1\n"), "told once: {metrics}");
    assert!(metrics.contains(&format!("model=\"{}\",kind=\"ftrl\",schema=\"ads\"}} 0\n", b.model)), "{metrics}");

    let address = server.local_addr();
    server.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "the port is free again");
}

#[test]
fn a_request_that_began_is_answered_before_the_end() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let server = spawn(&options(Source::Bundle(written(folder.path(), &bundle(ModelKind::Ftrl, 1))))).unwrap();
    let body = r#"{"candidates": [{"id": "last"}]}"#;
    let mut connection = std::net::TcpStream::connect(server.local_addr()).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all((head + &body[..10]).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let end = std::thread::spawn(move || server.join());
    std::thread::sleep(Duration::from_millis(200));
    assert!(!end.is_finished(), "it waits for the request");
    connection.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""id":"last""#), "{answer}");
    end.join().unwrap().unwrap();
}

#[test]
fn servers_do_not_mix_and_taken_ports_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = [(ModelKind::BaseRate, 1), (ModelKind::Ftrl, 1)]
        .map(|(kind, seed)| written(folder.path(), &bundle(kind, seed)));
    let first = spawn(&options(Source::Bundle(a.clone()))).unwrap();
    let second = spawn(&options(Source::Bundle(b))).unwrap();
    assert!(model_over_the_wire(first.local_addr()).starts_with("base-rate-"));
    assert!(model_over_the_wire(second.local_addr()).starts_with("ftrl-"));
    let taken = ServeOptions { listen: first.local_addr(), ..options(Source::Bundle(a.clone())) };
    let error = spawn(&taken).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains(&first.local_addr().to_string()), "{error}");
    std::fs::remove_file(a.join("encoder.bin")).unwrap();
    assert_eq!(spawn(&options(Source::Bundle(a))).unwrap_err().kind(), Kind::Bundle);
    first.join().unwrap();
    assert!(model_over_the_wire(second.local_addr()).starts_with("ftrl-"));
    second.join().unwrap();
}
