//! `/openapi.json` is true: it names the paths that there are, and real answers, good and bad, are what it says. So is the page of
//! all settings.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::collections::BTreeSet;

use bundles::{bundle, written};
use pctr::model::bundle::{ModelKind, Tier};
use pctr::predict::http::{Audience, OPENAPI, ROUTES, RefusalKind, ServeOptions, Source, spawn};
use pctr::predict::openrtb::NoBid;
use pctr::registry::{PRODUCTION, Registry, SchemaChange};
use serde_json::{Value, json};

const TOKEN: &str = "correct-horse-battery-staple";

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

#[test]
fn it_names_the_paths_and_words_of_the_code() {
    let document = document();
    let mut named = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            named.insert((method.to_uppercase(), path.clone(), !operation["security"].is_null()));
        }
    }
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path, who)| ((*method).to_owned(), (*path).to_owned(), *who == Audience::Admins))
        .collect();
    assert_eq!(named, routes);
    let words = |pointer: &str| -> Vec<&str> {
        document.pointer(pointer).unwrap().as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
    };
    assert_eq!(words("/components/schemas/Reason/properties/kind/enum"), RefusalKind::ALL.map(RefusalKind::name));
    assert_eq!(words("/components/schemas/Candidate/properties/tier/enum"), Tier::ALL.map(Tier::name));
    let reasons = "/paths/~1v1~1openrtb/post/responses/204/headers/x-pctr-no-bid/schema/enum";
    assert_eq!(words(reasons), NoBid::ALL.map(NoBid::name));
}

#[test]
fn answers_are_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let registry = Registry::create(&folder.path().join("registry")).unwrap();
    let publish = |seed| registry.publish(&written(folder.path(), &bundle(ModelKind::Ftrl, seed))).unwrap().model;
    let (a, b) = (publish(1), publish(2));
    registry.promote(&a, PRODUCTION, SchemaChange::Refuse).unwrap();
    let source = Source::Registry { folder: registry.folder().to_path_buf(), stage: PRODUCTION.into() };
    let mut options = ServeOptions { listen: ([127, 0, 0, 1], 0).into(), threads: 1, ..ServeOptions::new(source) };
    options.admin.shared_listener = true;
    options.admin.token_file = file("token", TOKEN);
    options.openrtb.mapping = file("mapping.toml", "version = 1\n[fields]\nsite = \"site.domain\"\n");
    options.openrtb.ads =
        file("ads.toml", "version = 1\n[[ads]]\nid = \"x\"\nsizes = [\"1x1\"]\nvalue = 1\nadm = \"<a>\"\n");
    let server = spawn(&options).unwrap();
    let document = document();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let call = |method: &str, path: &str, token: bool, body: &str, expected: u16| {
        let url = format!("http://{}{path}", server.local_addr());
        let bearer = if token { format!("Bearer {TOKEN}") } else { String::new() };
        let mut response = match method {
            "GET" => agent.get(&url).header("authorization", &bearer).call().unwrap(),
            _ => {
                let post = agent.post(&url).header("authorization", &bearer).header("x-budget-us", "60000000");
                post.send(body).unwrap()
            }
        };
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().unwrap();
        assert_eq!(status, expected, "{method} {path} {body}: {text}");
        let operation = &document["paths"][path][method.to_lowercase()];
        let said = &operation["responses"][status.to_string()];
        assert!(said.is_object(), "{method} {path}: {status} is not in the document");
        let Some(content) = said["content"].as_object() else {
            assert_eq!(text, "", "{method} {path}");
            return;
        };
        let (kind, media) = content.iter().next().unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(kind.as_str()), "{method} {path}");
        if kind == "application/json" {
            let value: Value = serde_json::from_str(&text).unwrap();
            if let Err(wrong) = fits(&value, &media["schema"], &document) {
                panic!("{method} {path}: {wrong} in {text}");
            }
        }
    };
    let good = r#"{"context": {"site": "news"}, "candidates": [{"id": 5}, {"id": "x", "age": 30}, {}]}"#;
    let bid = |floor: f64| {
        json!({"id": "r", "imp": [{"id": "1", "bidfloor": floor, "banner": {"w": 1, "h": 1}}]}).to_string()
    };
    call("POST", "/v1/score", false, good, 200);
    call("POST", "/v1/score", false, "{", 400);
    call("POST", "/v1/score/batch", false, &format!(r#"{{"requests": [{good}, {{}}]}}"#), 200);
    call("POST", "/v1/score/batch", false, r#"{"requests": []}"#, 400);
    call("POST", "/v1/openrtb", false, &bid(0.0), 200);
    call("POST", "/v1/openrtb", false, &bid(1e9), 204);
    call("POST", "/v1/openrtb", false, "{}", 400);
    for path in ["/healthz", "/readyz", "/metrics", "/", "/v1/live", "/openapi.json", "/docs"] {
        call("GET", path, false, "", 200);
    }
    call("GET", "/v1/models", false, "", 401);
    call("GET", "/v1/models", true, "", 200);
    call("POST", "/v1/models/promote", false, "", 401);
    call("POST", "/v1/models/promote", true, "{}", 400);
    call("POST", "/v1/models/promote", true, r#"{"model": "nobody"}"#, 404);
    call("POST", "/v1/models/promote", true, &json!({ "model": b }).to_string(), 200);
    call("POST", "/v1/models/rollback", true, "", 200);
    call("POST", "/v1/models/rollback", true, "", 404);
    call("POST", "/v1/models/rollback", false, "", 401);
    server.join().unwrap();
}

/// Checks a value against a schema. Knows the words that the document uses and refuses others, so that none is passed over.
fn fits(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    let schema = schema.as_object().unwrap();
    if let Some(reference) = schema.get("$ref") {
        let pointer = reference.as_str().unwrap().trim_start_matches('#');
        return fits(value, document.pointer(pointer).expect("references lead somewhere"), document);
    }
    let wrong = |what: &str| Err(format!("{what}: {value}"));
    for (word, rule) in schema {
        match word.as_str() {
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("no such type: {other}"),
                };
                if !types.iter().any(is) {
                    return wrong("another type");
                }
            }
            "required" => {
                let missing = rule.as_array().unwrap().iter().find(|key| value.get(key.as_str().unwrap()).is_none());
                if let Some(key) = missing {
                    return wrong(&format!("{key} is missing"));
                }
            }
            "properties" => {
                for (key, schema) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(key) {
                        fits(inner, schema, document)?;
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let others = value.as_object().into_iter().flatten();
                for (key, inner) in others.filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key))) {
                    match rule {
                        Value::Bool(false) => return wrong(&format!("{key} is not known")),
                        rule => fits(inner, rule, document)?,
                    }
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| fits(item, rule, document))?,
            "enum" if !rule.as_array().unwrap().contains(value) => return wrong("not among the words"),
            "const" if rule != value => return wrong("another value"),
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|rule| fits(value, rule, document).is_ok());
                if fitting.count() != 1 {
                    return wrong("not one of");
                }
            }
            "minimum" if value.as_f64() < rule.as_f64() => return wrong("too small"),
            "exclusiveMinimum" if value.as_f64() <= rule.as_f64() => return wrong("too small"),
            "exclusiveMaximum" if value.as_f64() >= rule.as_f64() => return wrong("too large"),
            "minItems" if (value.as_array().unwrap().len() as u64) < rule.as_u64().unwrap() => return wrong("too few"),
            "pattern" => {
                assert_eq!(rule, "^[0-9a-f]{16}$", "the one pattern that is checked here");
                let text = value.as_str().unwrap();
                if text.len() != 16 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    return wrong("no fingerprint");
                }
            }
            "description" | "enum" | "const" | "minimum" | "exclusiveMinimum" | "exclusiveMaximum" | "minItems" => {}
            other => panic!("the document uses {other}, which is not checked"),
        }
    }
    Ok(())
}

/// `PCTR_UPDATE_DOCS=1 cargo test --test openapi` writes the page anew.
#[test]
fn the_page_of_settings_is_that_of_the_code() {
    let file = "docs/config.md";
    if std::env::var_os("PCTR_UPDATE_DOCS").is_some() {
        std::fs::write(file, ServeOptions::reference()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), ServeOptions::reference(), "{file} is out of date");
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let document = json!({});
    let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {"a": {"type": "integer", "minimum": 1}}});
    assert!(fits(&json!({"a": 1}), &schema, &document).is_ok());
    for wrong in [json!({}), json!({"a": 0}), json!({"a": "1"}), json!({"a": 1, "b": 2}), json!([])] {
        assert!(fits(&wrong, &schema, &document).is_err(), "{wrong}");
    }
}
