//! The report of a small experiment, read as text.

use super::*;
use crate::learn::Interrupt;
use crate::learn::experiment::{Recipe, run, tests as experiments};
use crate::model::Threads;

fn comparison() -> (tempfile::TempDir, Comparison) {
    let folder = tempfile::tempdir().unwrap();
    experiments::write_inputs(folder.path(), 4_000);
    let recipe = experiments::RECIPE.replace("linear model", "<linear> & \"model\"");
    let recipe = Recipe::parse(
        &recipe.replace("question = \"", "question = '").replace("rate?\"", "rate?'"),
        &[],
        "r",
        folder.path(),
    );
    let options = experiments::options(folder.path());
    let comparison = run(&recipe.unwrap(), &options, Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
    (folder, comparison)
}

/// Every tag that is opened is closed, in order; void elements aside.
fn check_tags(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let [style, script] = ["style", "script"].map(|name| inside(html, name));
    for (at, _) in html.match_indices('<') {
        if style.contains(&at) || script.contains(&at) {
            continue;
        }
        let rest = &html[at + 1..];
        let name: &str = rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '/').next().unwrap();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "…{}", &html[at.saturating_sub(200)..at]),
            None if name == "meta" || rest.starts_with('!') || rest.split('>').next().unwrap().ends_with('/') => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

/// What stands inside the one element of this name.
fn inside(html: &str, name: &str) -> std::ops::Range<usize> {
    let open = html.find(&format!("<{name}>")).unwrap() + name.len() + 2;
    open..html.find(&format!("</{name}>")).unwrap()
}

#[test]
fn the_page_is_whole_and_needs_no_network() {
    let (_folder, comparison) = comparison();
    let page = html(&comparison).unwrap();
    check_tags(&page);
    for forbidden in ["http://", "https://", "//cdn", "<link", "<img", "@import", "url(", "src=", "fetch("] {
        assert!(!page.contains(forbidden), "{forbidden} stands in the page");
    }
    let script = inside(&page, "script");
    for forbidden in ["NaN", ">inf"] {
        assert!(!page[..script.start].contains(forbidden), "{forbidden} stands in the page");
    }
    for model in &comparison.models {
        assert!(page.matches(&model.name).count() >= 4, "{}", model.name);
    }
    assert!(page.contains("&lt;linear&gt; &amp;"), "text is escaped");
    let titles: Vec<&str> = page.split("<h3>").skip(1).filter_map(|rest| rest.split("</h3>").next()).collect();
    let expected = [
        "Distance from the best model",
        "Reliability",
        "Cost and quality",
        "ROC",
        "Precision and recall",
        "Lift",
        "Gain",
        "Reliability before calibration",
        "Scores",
        "Where they differ",
        "Loss over time",
        "Difference over time",
        "Calibration over time",
        "Training",
    ];
    // Slices are named by field and value.
    let (of_slices, titles): (Vec<&str>, Vec<&str>) = titles.into_iter().partition(|title| title.contains(": "));
    assert_eq!(titles, expected);
    assert_eq!(page.matches("<svg ").count(), expected.len() + of_slices.len());
    assert_eq!(of_slices.len(), comparison.slice_reliability.len());
    let of = |field: &str| of_slices.iter().filter(|title| title.starts_with(field)).count();
    assert!((1..=3).contains(&of("site: ")) && (1..=3).contains(&of("ad: ")), "{of_slices:?}");
    assert!(
        page.find(&html_escaped(&comparison.verdict)).unwrap() < page.find("<table").unwrap(),
        "the verdict comes first"
    );
    for text in
        ["prefers-color-scheme: dark", "alpha = 0.1", "Process peak MB", "a sample of 2000 of 2400 rows", "GAUC"]
    {
        assert!(page.contains(text), "{text}");
    }
    for text in
        ["By site", "By score band", "lr: 2 points tried", "Went on", "PSI by chance", "CPU-hours", "SD of seeds"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

fn html_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn markdown_and_csv_say_the_same() {
    let (folder, comparison) = comparison();
    let files = write_all(&comparison, &folder.path().join("out")).unwrap();
    let text = std::fs::read_to_string(&files.markdown).unwrap();
    assert!(text.starts_with("# small\n") && text.contains(&format!("**{}**", comparison.verdict)));
    for section in [
        "Leaderboard",
        "Differences",
        "Cost",
        "Calibration",
        "Slices",
        "Time",
        "Training",
        "Every run",
        "Data",
        "Reproduce",
    ] {
        assert!(text.contains(&format!("\n## {section}\n")), "{section}");
    }
    let loss = format!("{:.5} ±", comparison.models.iter().find(|model| model.name == "lr").unwrap().log_loss.mean);
    assert!(text.contains(&loss), "{loss}");
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.ends_with('|')));

    let results = std::fs::read_to_string(folder.path().join("out/results.csv")).unwrap();
    let lines: Vec<&str> = results.lines().collect();
    assert_eq!(lines.len(), 1 + comparison.models.iter().map(|model| model.runs.len()).sum::<usize>());
    let columns = lines[0].split(',').count();
    assert!(lines.iter().all(|line| line.split(',').count() == columns), "{results}");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&files.json).unwrap()).unwrap();
    assert_eq!((&json["winner"]["model"], &json["format"]), (&"lr".into(), &1.into()));
    assert!(json["curves"][0]["roc"].is_array() && json["sliced"][0]["slices"][0]["models"][0]["pcoc"].is_object());
    let slice = &json["slice_reliability"][0];
    assert!(slice["by"] == "field" && slice["models"][1]["before"][0]["ctr_low"].is_f64(), "{slice}");
    assert!(text.contains("reliability before and after calibration, largest slices:"));
    assert_eq!(json["card"]["features"].as_array().map(Vec::len), Some(3));

    let refused = write(&comparison, &folder.path().join("report.pdf")).unwrap_err();
    assert!(refused.to_string().contains(".html"), "{refused}");
}

#[test]
fn the_same_records_give_the_same_report() {
    let (folder, comparison) = comparison();
    let again =
        crate::learn::experiment::compare(&[folder.path().join("out")], Threads::one(), &Interrupt::default()).unwrap();
    assert_eq!(html(&again).unwrap(), html(&comparison).unwrap());
    assert_eq!(markdown(&again), markdown(&comparison));
}

/// One model with one seed and no validation rows is still a report.
#[test]
fn the_least_experiment() {
    let folder = tempfile::tempdir().unwrap();
    experiments::write_inputs(folder.path(), 400);
    let text = "name = \"one\"\n[data]\nschema = \"schema.toml\"\nfiles = [\"log.csv\"]\n[split]\ntrain = 0.8\nvalid = 0\n\
                test = 0.2\n[[models]]\nname = \"base\"\nkind = \"base-rate\"\n";
    let recipe = Recipe::parse(text, &[], "r", folder.path()).unwrap();
    let options = experiments::options(folder.path());
    let comparison = run(&recipe, &options, Threads::one(), &mut |_| {}, &Interrupt::default()).unwrap();
    check_tags(&html(&comparison).unwrap());
    assert!(comparison.verdict.contains("stands alone"), "{}", comparison.verdict);
    assert!(comparison.reason.contains("no other model"), "{}", comparison.reason);
}

/// Exhibits and an auction in the experiment's folder become sections.
#[test]
fn what_lies_beside_the_runs_is_shown() {
    let (folder, _) = comparison();
    let out = folder.path().join("out");
    std::fs::create_dir_all(out.join("analysis")).unwrap();
    let exhibit = serde_json::json!({
        "format": 1, "kind": "importance", "title": "Importance <by permutation>", "text": ["What is lost."],
        "charts": [
            { "title": "Loss", "form": "bars", "x": { "label": "nats" }, "y": { "label": "feature" }, "series": [
                { "name": "lr", "points": [{ "x": "site", "y": 0.05, "low": 0.04, "high": 0.06 }, { "x": "ad", "y": 0.01 }] }] },
            { "title": "Curve", "form": "lines", "x": { "label": "rows", "log": true }, "y": { "label": "nats" }, "series": [
                { "name": "lr", "points": [{ "x": 100, "y": 0.5 }, { "x": 10000, "y": 0.4, "low": 0.39, "high": 0.41 }] }] },
        ],
        "tables": [{ "caption": "By feature", "columns": [{ "name": "Feature" }, { "name": "Loss", "meaning": "nats" }],
            "rows": [["site", { "value": 0.05, "low": 0.04, "high": 0.06 }], ["ad", null]] }],
        "facts": { "seeds": 1 },
    });
    std::fs::write(out.join("analysis/10-importance.json"), exhibit.to_string()).unwrap();
    let again = || crate::learn::experiment::compare(std::slice::from_ref(&out), Threads::one(), &Interrupt::default());
    let page = html(&again().unwrap()).unwrap();
    check_tags(&page);
    assert!(page.contains("Importance &lt;by permutation&gt;") && page.contains("0.05000 [0.04000, 0.06000]"));
    assert!(page.contains("id=\"importance--by-permutation-\"") && page.contains(">site</text>"));
    std::fs::write(out.join("analysis/10-importance.json"), "{}").unwrap();
    let error = again().unwrap_err().to_string();
    assert!(error.contains("10-importance.json") && error.contains("exhibit"), "{error}");
}
