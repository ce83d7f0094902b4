//! Commands killed at any moment → what was there before, or the whole new thing, and a next run that cleans up.

mod workspace;

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
