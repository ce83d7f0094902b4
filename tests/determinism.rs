//! The same seed gives the same bytes, at any number of threads; another seed gives others.

mod workspace;

use workspace::Workspace;

const FILES: [&str; 3] = ["manifest.json", "encoder.bin", "weights.safetensors"];

fn bundle(workspace: &Workspace, name: &str) -> Vec<Vec<u8>> {
    FILES.map(|file| std::fs::read(workspace.path(name).join(file)).expect("a bundle has its files")).into()
}

fn train(workspace: &Workspace, model: &str, name: &str, seed: &str, threads: &str, settings: &[&str]) -> Vec<Vec<u8>> {
    let mut command = vec!["train", "-q", "--model", model, "--schema", "demo", "--train", "rows", "-o", name];
    command.extend(["--seed", seed, "--threads", threads]);
    settings.iter().for_each(|setting| command.extend(["--set", setting]));
    workspace.ok(&command);
    bundle(workspace, name)
}

#[test]
fn threads_change_no_bit() {
    let workspace = Workspace::with_demo(30_000);
    workspace.ok(&["prepare", "-q", "train.csv", "--schema", "demo", "-o", "rows"]);
    let stacked = ["structure=stacked", "cross_rank=8", "cross_experts=2", "members=2", "batch_norm=true", "passes=2"];
    let full = ["cross_rank=0", "deep=[48,33]", "wide=ftrl", "embedding_optimizer=adagrad", "passes=1"];
    let vocabulary = ["min_count=2", "kept_negatives=0.3"];
    let cases: [(&str, &[&str]); 5] =
        [("base-rate", &[]), ("ftrl", &[]), ("ftrl", &vocabulary), ("dcn", &stacked), ("dcn", &full)];
    for (model, settings) in cases {
        let one = train(&workspace, model, "one", "3", "1", settings);
        let two = train(&workspace, model, "two", "3", "2", settings);
        let three = train(&workspace, model, "three", "3", "3", settings);
        assert!(one == two && one == three, "{model} {settings:?}: bundles of 1, 2 and 3 threads differ");
        if model == "dcn" {
            let other = train(&workspace, model, "other", "4", "1", settings);
            assert!(one != other, "another seed draws other weights");
        }
    }
}

/// Models that can learn while a log is read do; what comes out is what prepared rows give.
#[test]
fn a_log_teaches_what_its_prepared_rows_do() {
    let workspace = Workspace::with_demo(40_000);
    workspace.ok(&["generate", "--shape", "demo", "--rows", "3000", "--seed", "8", "-o", "valid.csv"]);
    // Some bad rows, which are left out and must not shift the others.
    let mut log = workspace.read("train.csv");
    for bad in ["x\n", "\n", ",,,\n"] {
        let at = log.match_indices('\n').nth(20_000).map_or(0, |(newline, _)| newline + 1);
        log.insert_str(at, bad);
    }
    workspace.write("train.csv", &log);
    workspace.ok(&["prepare", "-q", "train.csv", "--schema", "demo", "-o", "rows"]);
    let online = ["bits=16", "passes=1", "alpha=0.1"];
    let thinned = ["bits=16", "passes=1", "alpha=0.1", "kept_negatives=0.5", "batch_rows=1000"];
    let cases: [(&str, &[&str]); 4] = [("ftrl", &online), ("ftrl", &thinned), ("base-rate", &[]), ("ftrl", &[])];
    for (model, settings) in cases {
        let train = |[rows, threads, name]: [&'static str; 3]| {
            let mut command = vec!["train", "-q", "--model", model, "--schema", "demo", "--train", rows];
            command.extend(["--valid", "valid.csv", "--threads", threads, "-o", name, "--record", "record.json"]);
            settings.iter().for_each(|setting| command.extend(["--set", setting]));
            command
        };
        let curve = || {
            let record: serde_json::Value = serde_json::from_str(&workspace.read("record.json")).unwrap();
            record["training"]["curve"].clone()
        };
        workspace.ok(&train(["rows", "1", "prepared"]));
        let expected = (bundle(&workspace, "prepared"), curve());
        for threads in ["1", "2", "3"] {
            workspace.ok(&train(["train.csv", threads, "straight"]));
            let got = (bundle(&workspace, "straight"), curve());
            assert!(got == expected, "{model} {settings:?}: {threads} threads give something else than prepared rows");
        }
        workspace.command(&train(["-", "2", "piped"])).write_stdin(log.clone()).assert().success();
        assert!((bundle(&workspace, "piped"), curve()) == expected, "{model} {settings:?}: standard input");
    }
}

#[test]
fn scores_do_not_depend_on_threads_or_container() {
    let workspace = Workspace::with_demo(20_000);
    workspace.ok(&[
        "train",
        "-q",
        "--model",
        "dcn",
        "--schema",
        "demo",
        "--train",
        "train.csv",
        "--set",
        "passes=1",
        "-o",
        "m",
    ]);
    for threads in ["1", "2", "5"] {
        workspace.ok(&["score", "-q", "m", "train.csv", "--threads", threads, "-o", &format!("p{threads}.csv")]);
    }
    let packed = zstd::encode_all(workspace.read("train.csv").as_bytes(), 1).unwrap();
    workspace.write("train.csv.zst", packed);
    workspace.ok(&["score", "-q", "m", "train.csv.zst", "-o", "packed.csv"]);
    let one = workspace.read("p1.csv");
    assert_eq!(one.lines().count(), 20_001);
    for other in ["p2.csv", "p5.csv", "packed.csv"] {
        assert!(workspace.read(other) == one, "{other} differs");
    }
}
