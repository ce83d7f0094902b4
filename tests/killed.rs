//! Commands killed at any moment → what was there before, or the whole new thing, and a next run that cleans up.

mod workspace;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use workspace::Workspace;

/// Starts a command and kills it (as `kill -9` does) after each of these times, starting anew; `check` looks after each.
fn kill_at(workspace: &Workspace, arguments: &[&str], milliseconds: &[u64], mut check: impl FnMut(bool)) {
    for time in milliseconds {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("pctr"))
            .args(arguments)
            .current_dir(workspace.path("."))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        std::thread::sleep(Duration::from_millis(*time));
        // An error means it has ended by itself.
        let killed = child.kill().is_ok();
        let status = child.wait().expect("a child can be waited for");
        check(killed && !status.success());
    }
}

const MOMENTS: [u64; 8] = [1, 5, 15, 30, 60, 100, 160, 250];

fn no_partials(workspace: &Workspace) {
    let left: Vec<String> = workspace.names().into_iter().filter(|name| name.contains("partial")).collect();
    assert!(left.is_empty(), "a finished run cleans up what killed ones left: {left:?}");
}

#[test]
fn prepare() {
    let workspace = Workspace::with_demo(60_000);
    let command = ["prepare", "-q", "train.csv", "--schema", "demo", "-o", "rows"];
    let mut killed_before = 0;
    kill_at(&workspace, &command, &MOMENTS, |killed| {
        killed_before += usize::from(killed);
        if workspace.path("rows").exists() {
            workspace.ok(&[
                "train",
                "-q",
                "--model",
                "base-rate",
                "--schema",
                "demo",
                "--train",
                "rows",
                "-o",
                "model",
            ]);
            std::fs::remove_dir_all(workspace.path("rows")).unwrap();
        }
    });
    assert!(killed_before > 0, "no run was killed: the log is too small for this test");
    workspace.ok(&command);
    workspace.ok(&["train", "-q", "--model", "base-rate", "--schema", "demo", "--train", "rows", "-o", "model"]);
    no_partials(&workspace);
}

#[test]
fn training_over_an_older_bundle() {
    let workspace = Workspace::with_demo(60_000);
    workspace.ok(&["prepare", "-q", "train.csv", "--schema", "demo", "-o", "rows"]);
    workspace.ok(&["train", "-q", "--model", "base-rate", "--schema", "demo", "--train", "rows", "-o", "bundle"]);
    let command = ["train", "-q", "--model", "ftrl", "--schema", "demo", "--train", "rows", "-o", "bundle"];
    let mut killed_before = 0;
    kill_at(&workspace, &command, &MOMENTS, |killed| {
        killed_before += usize::from(killed);
        workspace.ok(&["evaluate", "bundle", "rows"]);
    });
    assert!(killed_before > 0, "no run was killed: the log is too small for this test");
    workspace.ok(&command);
    assert!(workspace.read("bundle/manifest.json").contains("\"kind\": \"ftrl\""));
    no_partials(&workspace);
}

#[test]
fn publishing() {
    let workspace = Workspace::with_demo(60_000);
    workspace.ok(&["train", "-q", "--model", "ftrl", "--schema", "demo", "--train", "train.csv", "-o", "bundle"]);
    let command = ["models", "publish", "--registry", "registry", "bundle"];
    kill_at(&workspace, &command, &[1, 3, 6, 10, 15, 22, 30, 45], |_| {
        let list = workspace.run(&["models", "list", "--registry", "registry", "--json"]);
        assert!(list.code == 0 || !workspace.path("registry/registry.json").exists(), "{}", list.stderr);
    });
    workspace.ok(&command);
    let list = workspace.ok(&["models", "list", "--registry", "registry", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).expect("a list is JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
}

const RECIPE: &str = r#"
name = "killed"
seeds = [1, 2]

[data]
schema = "demo"
files = ["train.csv"]

[split]
train = 0.4
valid = 0.1
test = 0.2
folds = 2

[[models]]
name = "base"
kind = "base-rate"

[[models]]
name = "lr"
kind = "ftrl"
params = { bits = 16 }
search = { strategy = "halving", trials = 4, keep_one_of = 2, least_share = 0.2, space = { alpha = { log_uniform = [0.01, 0.5] } } }

[[models]]
name = "dcn"
kind = "dcn"
params = { passes = 1, deep = [16], cross_layers = 1 }

[bootstrap]
rounds = 100
"#;

/// What depends on machine and moment: times in reports (which are made of records), and one file a run.
const MOMENTARY: [&str; 4] = ["machine.json", "report.html", "report.md", "report.json"];

/// Columns of results.csv that are times.
const TIMES: [&str; 4] = ["train_seconds", "rows_per_second", "p99_micros_1", "p99_micros_100"];

/// Every other file below a folder, with its bytes; results.csv without its times.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(at: &Path, root: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).expect("a folder of results").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                collect(&path, root, files);
            } else if !MOMENTARY.contains(&name.as_str()) {
                let mut bytes = std::fs::read(&path).expect("a file of results");
                if name == "results.csv" {
                    bytes = without_times(&String::from_utf8(bytes).expect("text")).into_bytes();
                }
                files.insert(path.strip_prefix(root).expect("below").display().to_string(), bytes);
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files);
    files
}

fn without_times(csv: &str) -> String {
    // Descriptions of points may hold commas, in quotes.
    let cells = |line: &str| {
        let mut quoted = false;
        let parts = line.split(|letter: char| {
            quoted ^= letter == '"';
            letter == ',' && !quoted
        });
        parts.map(str::to_owned).collect::<Vec<String>>()
    };
    let header = cells(csv.lines().next().unwrap_or_default());
    assert!(TIMES.iter().all(|time| header.iter().any(|name| name == time)), "{header:?}");
    let keep = |line: &str| {
        let kept = cells(line).into_iter().zip(&header).filter(|(_, name)| !TIMES.contains(&name.as_str()));
        kept.map(|(cell, _)| cell).collect::<Vec<_>>().join(",")
    };
    csv.lines().map(keep).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_experiment_killed_again_and_again_ends_in_the_same_bytes() {
    let workspace = Workspace::with_demo(24_000);
    workspace.write("recipe.toml", RECIPE);
    let command = |parallel: &'static str| {
        ["experiment", "-q", "recipe.toml", "--out", "out", "--threads", "2", "--parallel", parallel]
    };
    workspace.ok(&command("1"));
    std::fs::rename(workspace.path("out"), workspace.path("through")).expect("a folder can be renamed");
    let expected = results(&workspace.path("through"));
    assert!(expected.len() > 40, "{:?}", expected.keys());

    let mut killed = 0;
    for parallel in ["1", "3"] {
        // What is finished is kept each time, so that later moments are reached; a run takes most of a second.
        kill_at(&workspace, &command(parallel), &[100, 300, 600, 900, 1300, 1700, 2200, 2700], |was_killed| {
            killed += usize::from(was_killed);
        });
        workspace.ok(&command(parallel));
        let got = results(&workspace.path("out"));
        assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "no file more or less");
        for (name, bytes) in &expected {
            assert!(got[name] == *bytes, "{name} differs with {parallel} at a time");
        }
        std::fs::remove_dir_all(workspace.path("out")).expect("the folder is there");
    }
    assert!(killed >= 4, "only {killed} were killed: the log is too small for this test");
}
