//! Anybody's predictions are judged as a bundle's are, and how training went is told beside the bundle, not in it.

mod workspace;

use serde_json::Value;
use workspace::Workspace;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_bundle_and_a_file_of_its_predictions_get_the_same_verdict() {
    let workspace = Workspace::with_demo(4000);
    let train = ["train", "-q", "--model", "ftrl", "--schema", "demo", "--train", "train.csv", "-o"];
    workspace.ok(&[&train[..], &["model", "--record", "record.json", "--threads", "2"]].concat());
    let verdict = json(&workspace.ok(&["evaluate", "-q", "model", "train.csv", "--json"]));

    workspace.ok(&["score", "-q", "model", "train.csv", "-o", "scores.csv"]);
    let (log, scores) = (workspace.read("train.csv"), workspace.read("scores.csv"));
    let clicks = log.lines().map(|row| row.split(',').nth(2).expect("a label"));
    assert_eq!(clicks.clone().next(), Some("click"));
    let rows: String = clicks.zip(scores.lines()).skip(1).map(|(click, p)| format!("{click},{p}\n")).collect();
    workspace.write("predictions.csv", format!("label,p\n{rows}"));
    let of_file = json(&workspace.ok(&["evaluate", "-q", "--predictions", "predictions.csv", "--json"]));
    // The schema of the demo has groups, which a file of predictions does not.
    for metric in ["rows", "clicks", "log_loss", "auc", "pcoc", "ece", "brier"] {
        assert_eq!(of_file[metric], verdict[metric], "{metric}");
    }

    let record = json(&workspace.read("record.json"));
    assert_eq!((record["threads"].as_u64(), record["isa"].is_string()), (Some(2), true));
    assert!(record["training"]["rows"].as_u64() >= Some(3600) && record["training"]["seconds"].as_f64() > Some(0.0));
    let manifest = json(&workspace.read("model/manifest.json"));
    assert_eq!(record["model"], manifest["model"]);
}

#[test]
fn a_judge_wants_a_bundle_or_predictions() {
    let workspace = Workspace::new();
    workspace.write("predictions.csv", "label,p\n1,0.5\n0,nonsense\n");
    workspace.fails(2, &["evaluate"]);
    workspace.fails(2, &["evaluate", "model", "log.csv", "--predictions", "predictions.csv"]);
    workspace.fails(4, &["evaluate", "--predictions", "nowhere.csv"]);
    let told = workspace.fails(3, &["evaluate", "--predictions", "predictions.csv"]);
    assert!(told.contains("predictions.csv:3: p: expected a number from 0 to 1"), "{told}");
}

#[test]
fn a_machine_says_how_fast_it_is() {
    let machine = json(&Workspace::new().ok(&["machine", "--json", "-q"]));
    for (name, rate) in machine["rates"].as_object().expect("rates by name") {
        assert!(rate["one_thread"].as_f64() > Some(0.0), "{name}: {rate}");
    }
    let share = machine["rates"]["f32_product"]["share_of_peak"].as_f64().expect("a share");
    assert!(share > 0.05, "a product at {share} of the peak");
    assert!(machine["paths"]["bf16"].is_string());
}
