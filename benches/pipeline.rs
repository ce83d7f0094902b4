//! How fast rows go through each stage, from text to probabilities, and how time and memory grow with the rows.
//!
//! ```text
//! text ─▶ parse ─▶ encode ─▶ prepared ─▶ slots ─▶ FTRL, DCN ─▶ evaluate, score
//! ```
//!
//! Beside the stages stand two yardsticks taken in the same run: a copy of the text in memory, and a plain loop that cuts
//! it into cells. Every stage runs in a process of its own, so that its memory is its own: the peak is of anonymous
//! pages, which leaves mapped files out (they are the system's to drop).
//!
//! ```sh
//! cargo bench --bench pipeline                                   # 100,000 and 1,000,000 rows
//! cargo bench --bench pipeline -- --rows 1000000,10000000 --csv record.csv
//! cargo bench --bench pipeline -- --only parse,encode --rounds 9
//! ```

#[path = "pipeline/memory.rs"]
mod memory;
#[path = "pipeline/stages.rs"]
mod stages;
#[path = "pipeline/table.rs"]
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use pctr::learn::generate::{Shape, generate};
use pctr::model::Threads;
use serde::{Deserialize, Serialize};

use stages::{Place, STAGES, Stage};

type Failure = Box<dyn std::error::Error>;

/// Times every stage of the pipeline.
#[derive(Debug, Parser)]
struct Options {
    /// Rows of the generated logs, rising.
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    rows: Vec<u64>,
    /// Times that each stage runs; the median is shown. Beyond a million rows once is enough.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Names of the stages to run; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also write the measurements here.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Keep logs and prepared rows here; a temporary folder by default.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Used by the bench itself: run one stage here and print what was measured.
    #[arg(long, hide = true, requires = "folder")]
    stage: Option<String>,
    /// Threads of that stage.
    #[arg(long, hide = true, default_value_t = 1)]
    threads: usize,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One stage on one log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) stage: String,
    pub(crate) threads: usize,
    /// Rows worked on in one round.
    pub(crate) rows: u64,
    /// Bytes of text read in one round; `None` for stages that read prepared rows.
    pub(crate) text_bytes: Option<u64>,
    /// Seconds of each round.
    pub(crate) seconds: Vec<f64>,
    /// Most anonymous memory held at a time, in bytes; `None` where the system does not say.
    pub(crate) peak_bytes: Option<u64>,
}

impl Measurement {
    pub(crate) fn median_seconds(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.median_seconds()
    }

    pub(crate) fn text_gb_per_second(&self) -> Option<f64> {
        self.text_bytes.map(|bytes| bytes as f64 / self.median_seconds() / 1e9)
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if let (Some(name), Some(folder)) = (&options.stage, &options.folder) {
        let stage = stage_named(name)?;
        let measured = measure(stage, &Place::new(folder), options.threads, options.rounds)?;
        return Ok(std::io::Write::write_all(&mut std::io::stdout(), serde_json::to_string(&measured)?.as_bytes())?);
    }
    for name in &options.only {
        stage_named(name)?;
    }
    let scratch = tempfile::tempdir()?;
    let folder = options.folder.clone().unwrap_or_else(|| scratch.path().to_path_buf());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = Vec::new();
    for rows in &options.rows {
        let place = folder.join(rows.to_string());
        write_log(&Place::new(&place), *rows)?;
        let rounds = if *rows > 1_000_000 { 1 } else { options.rounds };
        for stage in STAGES {
            // Later stages need what earlier ones leave on disk, so a stage that was not asked for still runs once.
            let asked = options.only.is_empty() || options.only.iter().any(|name| name == stage.name);
            if !asked && !stage.leaves_something {
                continue;
            }
            for threads in if stage.threaded && cores > 1 { vec![1, cores] } else { vec![1] } {
                let measured = in_own_process(stage, &place, threads, if asked { rounds } else { 1 })?;
                eprintln!("{rows} rows: {}, {threads} threads: {:.3} s", stage.name, measured.median_seconds());
                if asked {
                    all.push((*rows, measured));
                }
            }
        }
    }
    std::io::Write::write_all(&mut std::io::stdout(), table::text(&all).as_bytes())?;
    if let Some(path) = &options.csv {
        std::fs::write(path, table::csv(&all))?;
    }
    Ok(())
}

fn stage_named(name: &str) -> Result<&'static Stage, Failure> {
    STAGES.iter().find(|stage| stage.name == name).ok_or_else(|| {
        let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        format!("expected a stage of {}, got {name:?}", names.join(", ")).into()
    })
}

fn write_log(place: &Place, rows: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(&place.folder)?;
    let mut file = std::fs::File::create(place.log())?;
    generate(Shape::Criteo, rows, 1, &mut file, None, &mut |_| std::ops::ControlFlow::Continue(()))?;
    Ok(())
}

fn in_own_process(stage: &Stage, place: &Path, threads: usize, rounds: usize) -> Result<Measurement, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--stage", stage.name, "--threads", &threads.to_string(), "--rounds", &rounds.to_string()]);
    let output = command.arg("--folder").arg(place).stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{} on {threads} threads: {}", stage.name, output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn measure(stage: &Stage, place: &Place, threads: usize, rounds: usize) -> Result<Measurement, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let watch = memory::Watch::start();
    let mut rows = 0;
    let mut seconds = Vec::new();
    for _ in 0..rounds {
        let work = (stage.run)(place, Threads::of(&pool))?;
        rows = work.rows;
        seconds.push(work.seconds);
    }
    let text_bytes = match stage.reads_text {
        true => Some(place.log_bytes()?),
        false => None,
    };
    let peak_bytes = watch.finish();
    Ok(Measurement { stage: stage.name.into(), threads, rows, text_bytes, seconds, peak_bytes })
}
