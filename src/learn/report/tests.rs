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
    let style = html.find("<style>").unwrap()..html.find("</style>").unwrap();
    for (at, _) in html.match_indices('<') {
        if style.contains(&at) && at != style.start {
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

#[test]
fn the_page_is_whole_and_needs_no_network() {
    let (_folder, comparison) = comparison();
    let page = html(&comparison).unwrap();
    check_tags(&page);
    for forbidden in
        ["http://", "https://", "//cdn", "<script", "<link", "<img", "@import", "url(", "src=", "NaN", ">inf"]
    {
        assert!(!page.contains(forbidden), "{forbidden} stands in the page");
    }
    for model in &comparison.models {
        assert!(page.matches(&model.name).count() >= 4, "{}", model.name);
    }
    assert!(page.contains("&lt;linear&gt; &amp;"), "text is escaped");
    assert_eq!(page.matches("<svg ").count(), 5, "differences, reliability, ROC, training, scores");
    assert!(
        page.find(&html_escaped(&comparison.verdict)).unwrap() < page.find("<table").unwrap(),
        "the verdict comes first"
    );
    for text in
        ["prefers-color-scheme: dark", "alpha = 0.1", "Process peak MB", "a sample of 2000 of 2400 rows", "GAUC"]
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
    for section in
        ["Leaderboard", "Differences", "Cost", "Calibration", "What was tried", "Every run", "Data", "Reproduce"]
    {
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
    let json = std::fs::read_to_string(folder.path().join("out/comparison.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["winner"]["model"], "lr");

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
