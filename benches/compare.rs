//! How long `pctr compare` takes, and how much memory: 10 models × 5 seeds × 200,000 test rows, 1,000 resamples.
//!
//! The run folders are made here: one real experiment on a generated log gives rows, slices and a record to copy, and every
//! other model predicts the truth with an error of its own. `pctr compare` then runs as a user runs it, in a process of its
//! own; its peak is `VmHWM`.
//!
//! ```sh
//! cargo bench --bench compare
//! cargo bench --bench compare -- --rounds 5 --csv benches/record/MACHINE/DATE-compare.csv
//! cargo bench --bench compare -- --models 3 --rows 20000 --folder /tmp/runs    # keeps the folders and the report
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use pctr::learn::experiment::predictions::{PredictionTable, TEST_FILE};
use pctr::learn::experiment::record::score_bars;
use pctr::learn::experiment::{EXPERIMENT_FILE, ExperimentRecord, RUNS, RunRecord};
use pctr::metrics;
use pctr::model::features::hash::{Fingerprint, uniform};

type Failure = Box<dyn std::error::Error>;

/// Times `pctr compare`.
#[derive(Debug, Parser)]
struct Options {
    /// Models.
    #[arg(long, default_value_t = 10)]
    models: u64,
    /// Seeds of each.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Test rows.
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// Times it runs; the least is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Also write the measurement here.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Keep the run folders here; a temporary folder by default.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let scratch = tempfile::tempdir()?;
    let folder = options.folder.clone().unwrap_or_else(|| scratch.path().to_path_buf());
    let out = folder.join("out");
    if !out.join(EXPERIMENT_FILE).is_file() {
        make_runs(&options, &folder)?;
    }
    let report = folder.join("report.html");
    let mut least = (Duration::MAX, 0);
    for _ in 0..options.rounds.max(1) {
        let measured =
            watched(Command::new(env!("CARGO_BIN_EXE_pctr")).arg("compare").arg(&out).arg("-o").arg(&report))?;
        eprintln!("{:.2} s, peak {:.0} MB", measured.0.as_secs_f64(), measured.1 as f64 / 1e6);
        least = (least.0.min(measured.0), least.1.max(measured.1));
    }
    let [html, json] =
        ["html", "json"].map(|ending| fs::metadata(report.with_extension(ending)).map(|file| file.len()));
    let line = format!(
        "compare,{},{},{},1000,{:.3},{:.0},{:.3},{:.3}",
        options.models,
        options.seeds,
        options.rows,
        least.0.as_secs_f64(),
        least.1 as f64 / 1e6,
        html? as f64 / 1e6,
        json? as f64 / 1e6
    );
    let header = "what,models,seeds,test_rows,resamples,seconds,peak_mb,html_mb,json_mb";
    eprintln!("{header}\n{line}");
    if let Some(path) = &options.csv {
        fs::write(path, format!("{header},command\n{line},cargo bench --bench compare\n"))?;
    }
    Ok(())
}

/// One real experiment, and copies of its run with other predictions.
fn make_runs(options: &Options, folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let pctr = || Command::new(env!("CARGO_BIN_EXE_pctr"));
    let (log, truth, recipe) = (folder.join("log.csv"), folder.join("truth.csv"), folder.join("recipe.toml"));
    let all = options.rows * 5;
    let mut generate = pctr();
    generate.args(["generate", "--shape", "demo", "--rows", &all.to_string()]);
    succeed(generate.arg("--truth").arg(&truth).arg("-o").arg(&log))?;
    let mut text = String::from("name = \"compare-bench\"\n[data]\nschema = \"demo\"\n");
    writeln!(text, "files = [{:?}]\ntruth = [{:?}]", log, truth)?;
    writeln!(text, "[split]\ntrain = {}\nvalid = {}\ntest = {}", 3 * options.rows, options.rows, options.rows)?;
    writeln!(text, "[[models]]\nname = \"base-rate\"\nkind = \"base-rate\"")?;
    fs::write(&recipe, text)?;
    let out = folder.join("out");
    succeed(pctr().arg("experiment").arg(&recipe).arg("--out").arg(&out))?;

    let template = out.join(RUNS).join("base-rate-1");
    let (record, table) = (RunRecord::read(&template)?, PredictionTable::read(&template.join(TEST_FILE))?);
    let truth = table.truth.clone().ok_or("the template has no truth")?;
    let mut names = vec!["base-rate-1".to_owned()];
    for model in 1..options.models {
        for seed in 1..=options.seeds {
            let salt = 1000 * model + seed;
            let error = |row: usize, salt: u64| (0..4).map(|at| uniform(salt + 7 * at, row as u64) - 0.5).sum::<f64>();
            let score = |row: usize, p: f64| {
                // What a model gets wrong whatever the seed, what a seed adds, and a little too high.
                let off =
                    0.2 * model as f64 * error(row, 1_000_000 * model) + 0.1 * error(row, salt) + 0.02 * model as f64;
                1.0 / (1.0 + (1.0 - p) / p * (-off).exp())
            };
            let mut table = table.clone();
            table.probabilities = truth.iter().enumerate().map(|(row, p)| score(row, *p)).collect();
            table.uncalibrated = Some(table.probabilities.iter().map(|p| p.powf(0.9)).collect());
            let mut record = record.clone();
            (record.model, record.seed) = (format!("model-{model}"), seed);
            record.kind = serde_json::from_value("ftrl".into())?;
            record.settings = serde_json::json!({ "model": model });
            record.identity = Fingerprint::of(format!("{model} {seed}").as_bytes());
            record.scoring.hundred.p99_micros = 3.0 * 2_f64.powi(10 - model as i32);
            record.test = metrics::evaluate(&table.labels, &table.probabilities, None, table.groups.as_deref())
                .ok_or("there are test rows")?;
            record.test_scores = score_bars(&table.labels, &table.probabilities);
            let name = record.folder_name();
            let run = out.join(RUNS).join(&name);
            fs::create_dir_all(&run)?;
            table.write(&run.join(TEST_FILE))?;
            record.write(&run)?;
            names.push(name);
        }
    }
    let mut experiment = ExperimentRecord::read(&out)?.ok_or("there is an experiment")?;
    experiment.runs = Some(names);
    fs::write(out.join(EXPERIMENT_FILE), serde_json::to_string_pretty(&experiment)?)?;
    Ok(())
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Wall time of a command and the greatest resident memory seen of it, in bytes.
fn watched(command: &mut Command) -> Result<(Duration, u64), Failure> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kibibytes = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = peak.max(kibibytes.and_then(|kibibytes| kibibytes.trim().parse().ok()).unwrap_or(0) * 1024);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let took = begun.elapsed();
    if ended.success() { Ok((took, peak)) } else { Err(format!("{command:?} ended with {ended}").into()) }
}
