//! Every scenario, short: the harness still drives the service, all answers of the exact one are right, and a record is written.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::Command;

#[test]
fn every_scenario_runs_and_is_recorded() {
    let folder = std::env::temp_dir().join(format!("serving-smoke-{}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_serving-bench"))
        .args(["smoke", "--seconds", "0.2", "--work"])
        .arg(folder.join("work"))
        .arg("--record")
        .arg(folder.join("record"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record = std::fs::read_dir(folder.join("record")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(record).unwrap();
    let columns = text.lines().next().unwrap().split(',').count();
    assert!(text.lines().all(|line| line.split(',').count() == columns), "{text}");
    for scenario in ["steady", "in-process", "throughput", "burst", "overload", "slow", "swaps", "exact"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{scenario},"))), "{scenario}: {text}");
    }
    let value = |what: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with("exact,") && line.contains(&format!(",{what},"))).unwrap();
        line.rsplit(',').next().unwrap().parse().unwrap()
    };
    assert_eq!((value("wrong or mixed"), value("of no known model"), value("lost")), (0.0, 0.0, 0.0));
    assert_eq!(value("sent"), 20_000.0);
    std::fs::remove_dir_all(folder).unwrap();
}
