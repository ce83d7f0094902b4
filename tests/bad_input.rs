//! Bad input → a message a person can act on, the right exit code, no panic, and nothing half-written.

mod workspace;

use std::io::Write;

use workspace::Workspace;

const SCHEMA: &str = "version = 1\nname = \"small\"\nrows_in_time_order = true\n[fields]\nclick = { kind = \"label\" }\n\
                      site = { kind = \"categorical\" }\nprice = { kind = \"numeric\" }\n";

/// A workspace with `small.toml` and a good log `good.csv` of 400 rows.
fn small() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("small.toml", SCHEMA);
    workspace.write("good.csv", log(|_| None));
    workspace
}

/// 400 rows, some of which are replaced.
fn log(replace: impl Fn(usize) -> Option<String>) -> String {
    let row = |row: usize| {
        replace(row).unwrap_or_else(|| format!("{},s{},{}", u8::from(row.is_multiple_of(4)), row % 7, row % 10))
    };
    let rows: Vec<String> = (0..400).map(row).collect();
    format!("click,site,price\n{}\n", rows.join("\n"))
}

fn train_on(file: &str) -> [&str; 9] {
    ["train", "--model", "ftrl", "--schema", "small.toml", "--train", file, "-o", "bundle"]
}

/// Every command that reads a log must refuse `file` with `code` and say `expected`.
fn refused(workspace: &Workspace, file: &str, code: i32, expected: &[&str]) {
    workspace.ok(&[
        "train",
        "-q",
        "--model",
        "base-rate",
        "--schema",
        "small.toml",
        "--train",
        "good.csv",
        "-o",
        "model",
    ]);
    let before = workspace.names();
    let prepare = ["prepare", file, "--schema", "small.toml", "-o", "rows"];
    let score = ["score", "model", file, "-o", "preds.csv"];
    let evaluate = ["evaluate", "model", file];
    let commands: [&[&str]; 4] = [&prepare, &train_on(file), &score, &evaluate];
    for command in commands {
        // Scoring needs no labels, so a wrong label is no reason to refuse.
        if command[0] == "score" && expected.iter().any(|text| text.contains("label")) {
            continue;
        }
        let message = workspace.fails(code, command);
        for text in expected.iter().chain([&file]) {
            assert!(message.contains(text), "{command:?} should say {text:?}: {message}");
        }
        assert_eq!(workspace.names(), before, "{command:?} left something behind");
    }
}

#[test]
fn ragged_rows() {
    let workspace = small();
    workspace.write("ragged.csv", log(|row| (row % 3 == 0).then(|| "1,s1".into())));
    refused(&workspace, "ragged.csv", 3, &["expected 3 columns, got 2", "ragged.csv:2"]);
}

#[test]
fn wrong_column_count_in_a_file_without_header() {
    let workspace = small();
    workspace.write("small.toml", SCHEMA.replace("[fields]", "[text]\nheader = false\n[fields]"));
    workspace.write("good.csv", log(|_| None).split_once('\n').unwrap().1);
    workspace.write("wide.csv", "1,s1,2,3\n".repeat(300));
    refused(&workspace, "wide.csv", 3, &["expected 3 columns, got 4"]);
}

#[test]
fn a_header_that_lacks_a_column() {
    let workspace = small();
    workspace.write("other.csv", log(|_| None).replace("click,site,price", "click,site,prize"));
    refused(&workspace, "other.csv", 3, &["price", "prize"]);
}

#[test]
fn numbers_that_are_none() {
    for nonsense in ["cheap", "NaN", "inf", "1e999", "1,5"] {
        let workspace = small();
        let cell = if nonsense.contains(',') { format!("\"{nonsense}\"") } else { nonsense.to_owned() };
        workspace.write("text.csv", log(|row| (row % 5 == 0).then(|| format!("1,s1,{cell}"))));
        refused(&workspace, "text.csv", 3, &["price", "expected a finite number", nonsense]);
    }
}

#[test]
fn labels_that_are_none() {
    for label in ["2", "yes", "", "0.5", "-1", "nan"] {
        let workspace = small();
        workspace.write("labels.csv", log(|row| (row % 5 == 0).then(|| format!("{label},s1,1"))));
        refused(&workspace, "labels.csv", 3, &["click", "expected label 0 or 1"]);
    }
}

#[test]
fn empty_files() {
    for (content, expected) in [("", "empty"), ("click,site,price\n", "expected rows, got none")] {
        let workspace = small();
        workspace.write("empty.csv", content);
        refused(&workspace, "empty.csv", 3, &[expected]);
    }
}

#[test]
fn one_class_cannot_be_learned() {
    for (label, expected) in [(0, "expected clicks"), (1, "got only clicks")] {
        let workspace = small();
        workspace.write("one.csv", log(|row| Some(format!("{label},s{},1", row % 3))));
        let message = workspace.fails(3, &train_on("one.csv"));
        assert!(message.contains(expected), "{message}");
        assert!(!workspace.path("bundle").exists());
    }
}

#[test]
fn compressed_files_cut_short() {
    let rows = log(|_| None).into_bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&rows).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&rows[..], 3).unwrap();
    for (name, bytes) in [("cut.csv.gz", &gzip), ("cut.csv.zst", &zstd)] {
        let workspace = small();
        workspace.write(name, &bytes[..bytes.len() - 20]);
        refused(&workspace, name, 3, &["cut"]);
        // The same file whole is fine.
        workspace.write(name, bytes);
        workspace.ok(&train_on(name));
    }
}

#[test]
fn a_cell_of_ten_megabytes() {
    let workspace = small();
    let giant = "x".repeat(10 << 20);
    workspace.write("giant.csv", log(|row| (row == 17).then(|| format!("1,{giant},1"))));
    // One bad row of 400 is borne; it is told, and the good ones are kept.
    let answer = workspace.run(&train_on("giant.csv"));
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("giant.csv:19"), "{}", answer.stderr);
    assert!(answer.stderr.len() < 5_000, "the message does not repeat the cell");
    let predictions = "preds.csv";
    workspace.ok(&["score", "bundle", "giant.csv", "-o", predictions]);
    let lines: Vec<String> = workspace.read(predictions).lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), lines[0].as_str(), lines[18].as_str()), (401, "p", "NaN"));
    assert_eq!(lines.iter().filter(|line| *line == "NaN").count(), 1, "good rows are never lost");
}

#[test]
fn files_that_are_not_there_or_cannot_be_written() {
    let workspace = small();
    refused(&workspace, "missing.csv", 4, &["missing.csv"]);
    workspace.ok(&train_on("good.csv"));
    let outputs: [&[&str]; 4] = [
        &["score", "bundle", "good.csv", "-o", "/proc/preds.csv"],
        &["generate", "--shape", "demo", "--rows", "10", "-o", "good.csv/rows.csv"],
        &["prepare", "good.csv", "--schema", "small.toml", "-o", "/proc/rows"],
        &["train", "--model", "ftrl", "--schema", "small.toml", "--train", "good.csv", "-o", "good.csv/bundle"],
    ];
    for command in outputs {
        let message = workspace.fails(4, command);
        assert!(message.contains("cannot"), "{message}");
    }
    // A folder with other things in it is never replaced.
    std::fs::create_dir(workspace.path("home")).unwrap();
    workspace.write("home/thesis.txt", "years of work");
    let message = workspace.fails(2, &["prepare", "good.csv", "--schema", "small.toml", "-o", "home"]);
    assert!(message.contains("choose another place"), "{message}");
    assert_eq!(workspace.read("home/thesis.txt"), "years of work");
}

#[test]
fn schemas_that_do_not_hold_together() {
    let workspace = small();
    let wrong = [
        (SCHEMA.replace("click = { kind = \"label\" }\n", ""), "label"),
        (SCHEMA.replace("categorical", "categorial"), "did you mean \"categorical\"?"),
        (SCHEMA.replace("rows_in_time_order", "rows_in_order"), "rows_in_time_order"),
        (SCHEMA.replace("version = 1", "version = 3"), "expected 1, got 3"),
        ("version = ".into(), "wrong.toml:1"),
    ];
    for (schema, expected) in wrong {
        workspace.write("wrong.toml", schema);
        let message = workspace.fails(2, &["prepare", "good.csv", "--schema", "wrong.toml", "-o", "rows"]);
        assert!(message.contains(expected), "{message}");
    }
    let message = workspace.fails(2, &["prepare", "good.csv", "--schema", "critoe", "-o", "rows"]);
    assert!(message.contains("did you mean \"criteo\"?"), "{message}");
    workspace.fails(4, &["prepare", "good.csv", "--schema", "nowhere.toml", "-o", "rows"]);
}

#[test]
fn settings_that_do_not_exist_or_do_not_fit() {
    let workspace = small();
    let with = |setting: &'static str| [&train_on("good.csv")[..], &["--set", setting]].concat();
    for (setting, expected) in [
        ("alpah=0.1", "did you mean \"alpha\"?"),
        ("alpha=-1", "alpha: expected more than 0"),
        ("alpha", "key=value"),
        ("bits=99", "bits"),
        ("crosses=[[\"site\",\"prise\"]]", "did you mean \"price\"?"),
        ("calibration=[\"magic\"]", "magic"),
        ("kept_negatives=2", "kept_negatives"),
    ] {
        let message = workspace.fails(2, &with(setting));
        assert!(message.contains(expected), "{setting}: {message}");
    }
    workspace.fails(2, &["train", "--model", "ftlr", "--schema", "small.toml", "--train", "good.csv", "-o", "bundle"]);
    workspace.fails(2, &["no-such-verb"]);
}

#[test]
fn bundles_that_are_none() {
    let workspace = small();
    workspace.ok(&train_on("good.csv"));
    let weights = workspace.path("bundle/weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let message = workspace.fails(5, &["score", "bundle", "good.csv", "-o", "preds.csv"]);
    assert!(message.contains("weights.safetensors is corrupted"), "{message}");
    std::fs::create_dir(workspace.path("folder")).unwrap();
    workspace.fails(5, &["evaluate", "folder", "good.csv"]);
    workspace.fails(4, &["evaluate", "nowhere", "good.csv"]);
}

#[test]
fn a_few_bad_rows_are_borne_and_told() {
    let workspace = small();
    workspace.write("few.csv", log(|row| [9, 30].contains(&row).then(|| "1,s1,dear".into())));
    let answer = workspace.run(&train_on("few.csv"));
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("2 bad rows") && answer.stderr.contains("few.csv:11: price"), "{}", answer.stderr);
    let manifest: serde_json::Value = serde_json::from_str(&workspace.read("bundle/manifest.json")).unwrap();
    assert_eq!(manifest["profile"]["rows"], 358, "nine tenths of the 398 good rows");
    let strict = [&train_on("few.csv")[..], &["--max-bad-rows", "0"]].concat();
    workspace.fails(3, &strict);
}
