//! `pctr analyze`: runs of an experiment and bundles on other rows; and clear refusals.

mod workspace;

use serde_json::Value;
use workspace::Workspace;

const RECIPE: &str = r#"
name = "small"

[data]
schema = "demo"
files = ["train.csv"]

[[models]]
name = "base"
kind = "base-rate"

[[models]]
name = "lr"
kind = "ftrl"
params = { bits = 14, passes = 1 }

[[models]]
name = "other"
kind = "ftrl"
params = { bits = 16, passes = 1, crosses = "none" }

[bootstrap]
rounds = 100
"#;

fn kinds(text: &str) -> Vec<String> {
    let found: Value = serde_json::from_str(text).expect("results are JSON");
    let kind = |exhibit: &Value| exhibit["kind"].as_str().expect("a kind").to_owned();
    found.as_array().expect("a list").iter().map(kind).collect()
}

#[test]
fn runs_know_their_rows() {
    let workspace = Workspace::with_demo(20_000);
    workspace.write("recipe.toml", RECIPE);
    workspace.ok(&["experiment", "-q", "recipe.toml", "--out", "out"]);
    let runs: &[&str] = &["analyze", "-q", "out/runs/lr-1", "out/runs/other-1", "--rounds", "100", "-o", "looked"];
    let shown = workspace.ok(&[runs, &["--json"]].concat());
    assert_eq!(kinds(&shown), ["importance", "collisions", "disagreements", "age"], "what needs no training");
    let text = workspace.ok(&[runs, &["--ablate", "site,hour", "--learning-curve", "--disagreements", "2"]].concat());
    for words in
        ["Training without a field", "site", "twice the rows", "looked/analysis", "Where lr and other disagree"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let files = std::fs::read_dir(workspace.path("looked/analysis")).expect("exhibits");
    let mut files: Vec<_> = files.flatten().map(|file| file.file_name()).collect();
    files.sort();
    assert_eq!(files, ["20-ablation.json", "30-learning-curve.json", "50-disagreements.json", "retrained"]);

    // The same run on other rows of the same number is refused.
    workspace.ok(&["generate", "-q", "--shape", "demo", "--rows", "20000", "--seed", "8", "-o", "other.csv"]);
    workspace.ok(&["prepare", "-q", "other.csv", "--schema", "demo", "-o", "other"]);
    let message = workspace.fails(3, &["analyze", "-q", "out/runs/lr-1", "--data", "other"]);
    assert!(message.contains("were made for other rows"), "{message}");
}

#[test]
fn bundles_are_looked_into_on_any_rows() {
    let workspace = Workspace::with_demo(12_000);
    workspace.ok(&["prepare", "-q", "train.csv", "--schema", "demo", "-o", "rows"]);
    workspace
        .ok(&["train", "-q", "--model", "ftrl", "--schema", "demo", "--train", "rows", "--set", "bits=14", "-o", "m"]);
    let found = workspace.ok(&["analyze", "-q", "m", "--data", "rows", "--rounds", "50", "--json"]);
    assert_eq!(kinds(&found), ["importance", "age"], "collisions need the training rows, disagreements two models");
    let again = workspace.ok(&["analyze", "-q", "m", "--data", "rows", "--rounds", "50", "--json", "--threads", "3"]);
    assert_eq!(found, again);
    let counted = workspace.ok(&["analyze", "-q", "m", "--data", "rows", "--train", "rows", "--collisions", "--json"]);
    assert_eq!(kinds(&counted), ["collisions"]);

    let refused = |code: i32, more: &[&str], says: &str| {
        let message = workspace.fails(code, &[&["analyze", "-q", "m"], more].concat());
        assert!(message.contains(says), "{message}");
    };
    refused(2, &[], "--data");
    refused(2, &["--data", "rows", "--collisions"], "need the training rows");
    refused(2, &["--data", "rows", "--ablate", "sites"], "did you mean \"site\"?");
    refused(2, &["--data", "rows", "--group", "user"], "--group: expected NAME=FIELD");
    refused(2, &["--data", "rows", "--rounds", "1"], "--rounds");
    refused(2, &["--data", "rows", "--importance", "--repeats", "0"], "analysis.repeats");
    refused(3, &["--data", "m"], "is no manifest of prepared data");
}
