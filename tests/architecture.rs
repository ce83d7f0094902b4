//! Source files → the rules of the house, held.
//!
//! Which module may use which, and what must be absent where. The rules and their reasons stand in `ARCHITECTURE.md`; this
//! test reads the sources as text, so that a rule breaks the build and not only a review.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path under `src/` and its code without comments and unit tests.
struct Source {
    path: String,
    code: String,
}

/// What must be absent, how it is recognized, and in which files.
type Rule<'a> = (&'a str, &'a [&'a str], &'a dyn Fn(&str) -> bool);

/// Modules that each module may use besides itself.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("error", &[]),
    ("kernels", &[]),
    ("metrics", &["error"]),
    ("config", &["error"]),
    ("durable", &["error"]),
    ("model", &["kernels", "metrics", "error", "config", "durable"]),
    ("registry", &["model", "kernels", "metrics", "error", "config", "durable"]),
    ("learn", &["registry", "model", "kernels", "metrics", "error", "config", "durable"]),
    ("predict", &["registry", "model", "kernels", "metrics", "error", "config", "durable"]),
    ("cli", &["learn", "predict", "registry", "model", "kernels", "metrics", "error", "config", "durable"]),
];

#[test]
fn modules_use_only_the_floors_below() {
    let mut wrong = Vec::new();
    for source in sources() {
        let room = room(&source.path);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            assert!(["lib", "main"].contains(&room.as_str()), "{}: src/{room} is no room of the house", source.path);
            continue;
        };
        for used in uses(&source.code) {
            let known = MAY_USE.iter().any(|(name, _)| *name == used);
            if known && used != room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses crate::{used}", source.path));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{room} may not be used from there:\n{}",
        wrong.join("\n"),
        room = "a floor above or beside"
    );
}

#[test]
fn what_must_be_absent_is_absent() {
    let ground: &dyn Fn(&str) -> bool =
        &|path| ["kernels/", "metrics/", "model/", "config.rs", "error.rs"].iter().any(|room| path.starts_with(room));
    let below_four: &dyn Fn(&str) -> bool = &|path| !path.starts_with("predict/") && !path.starts_with("cli/");
    let everywhere_but = |rooms: &'static [&'static str]| -> Box<dyn Fn(&str) -> bool> {
        Box::new(move |path: &str| !rooms.iter().any(|room| path.starts_with(room)))
    };
    let kernels = everywhere_but(&["kernels/"]);
    let hashing = everywhere_but(&["model/features/"]);
    let http = everywhere_but(&["predict/http/"]);
    let codec = everywhere_but(&["model/codec.rs"]);
    let printing = everywhere_but(&["cli/", "main.rs"]);
    let report: &dyn Fn(&str) -> bool = &|path| path.starts_with("learn/report");
    let unfiled: &dyn Fn(&str) -> bool =
        &|path| ground(path) && !path.starts_with("model/bundle/") && path != "kernels/mapped.rs";
    let rules: [Rule<'_>; 11] = [
        ("unsafe code outside kernels", &["unsafe "], &kernels),
        ("clocks on the ground", &["Instant::now", "SystemTime", "jiff::"], ground),
        ("files on the ground (a bundle reads and writes itself)", &["std::fs", "File::", "fs::read"], unfiled),
        ("sockets on the ground", &["std::net", "TcpStream", "UdpSocket"], ground),
        ("threads of the ground's own", &["thread::spawn", "thread::scope", "ThreadPoolBuilder"], ground),
        ("hashing outside model::features", &["xxhash_rust", "DefaultHasher"], &hashing),
        ("async below predict", &["async fn", "async move", ".await", "tokio::"], below_four),
        ("axum outside predict::http", &["axum::"], &http),
        ("bincode outside its module", &["bincode::"], &codec),
        ("printing outside the command line", &["println!", "eprintln!"], &printing),
        (
            "a report that opens a model or data",
            &["Bundle::open", "Dataset::open", "learn::dataset", "super::dataset"],
            report,
        ),
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        for (rule, patterns, applies) in &rules {
            for pattern in patterns.iter().filter(|pattern| applies(&source.path) && source.code.contains(**pattern)) {
                wrong.push(format!("{}: {rule}: {pattern:?}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "what must be absent stands there:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let makers = ["File::create", "fs::write(", "OpenOptions", "fs::rename"];
    // The reset of the peak of memory is no file. The ledger of the registry is appended to, one line a write, and so is the request log, whole lines a write; prepared data
    // fill a `PartialFolder` part by part.
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|source| {
            source.path != "durable.rs"
                && !source.path.starts_with("registry/")
                && ![
                    "learn/dataset/writer.rs",
                    "learn/prepare/mod.rs",
                    "learn/experiment/run/environment.rs",
                    "predict/log/files.rs",
                ]
                .contains(&source.path.as_str())
        })
        .filter(|source| makers.iter().any(|maker| source.code.contains(maker)))
        .map(|source| source.path)
        .collect();
    assert!(wrong.is_empty(), "these write files without crate::durable: {wrong:?}");
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    let mut wrong = Vec::new();
    for (path, text) in files() {
        if !text.starts_with("//!") && !path.ends_with("tests.rs") && !path.contains("/tests/") {
            wrong.push(format!("{path} does not open with //!"));
        }
        let lines = text.lines().count();
        if lines > 600 {
            wrong.push(format!("{path} has {lines} lines, expected at most 600"));
        }
        for name in ["utils", "helpers", "manager", "common"] {
            if Path::new(&path)
                .iter()
                .any(|part| part.to_str().is_some_and(|part| part.trim_end_matches(".rs") == name))
            {
                wrong.push(format!("{path}: {name} says nothing about what is inside"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_top_level_is_the_one_asked_for() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "src",
        "baselines",
        "experiments",
        "benches",
        "data",
        "docs",
        "tests",
        "target",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(root).expect("the package has a folder").flatten() {
        let name = entry.file_name().into_string().expect("names here are UTF-8");
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}

/// The first folder or file of a path under `src/`, without extension.
fn room(path: &str) -> String {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Names after `crate::` in code, groups opened: `crate::{config, error::Error}` names both.
fn uses(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 1;
                let mut name = String::new();
                for letter in group.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => names.push(std::mem::take(&mut name)),
                        _ if depth == 1 => name.push(letter),
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
                names.push(name);
            }
            None => names.push(rest.to_owned()),
        }
    }
    let identifier = |name: String| -> String {
        name.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    names.into_iter().map(identifier).collect()
}

fn sources() -> Vec<Source> {
    files()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| Source { path, code: code(&text) })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// A file without comments, and without what follows the unit tests' `#[cfg(test)] mod`.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let line = |line: &str| match line.trim_start().starts_with("//") {
        true => String::new(),
        false => line.split(" // ").next().unwrap_or_default().to_owned(),
    };
    text[..end].lines().map(line).collect::<Vec<_>>().join("\n")
}

/// All files under `src/`: path below it, and text.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("sources can be listed").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("it lies under src").display().to_string();
        (name, fs::read_to_string(&path).expect("sources are text"))
    };
    found.into_iter().map(read).collect()
}
