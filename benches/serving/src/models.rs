//! Generated rows → the models that are served, made once and kept in the work folder.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pctr::registry::Registry;

use crate::service::pctr;

/// Seeds of the rows of the models that take over from each other.
pub const SEEDS: [u32; 3] = [1, 2, 4];
/// Rows that requests are made of.
pub const REQUEST_ROWS: usize = 4096;

/// The work folder.
pub struct Models {
    folder: PathBuf,
}

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Hashed logistic regression, 2^22 slots.
    Linear,
    /// Deep & cross network: 39 fields of 16, three full cross layers, a tower of 400, 400, 400; 2^20 slots.
    Network,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Linear => "lr",
            Kind::Network => "dcn",
        }
    }

    /// Training rows: the network is trained for its shape, not for its quality.
    fn rows(self) -> &'static str {
        match self {
            Kind::Linear => "60000",
            Kind::Network => "12000",
        }
    }

    fn settings(self) -> &'static [&'static str] {
        match self {
            Kind::Linear => &["passes=1", "bits=22", "alpha=0.1", "crosses=none"],
            Kind::Network => &[
                "mode=hash",
                "bits=20",
                "crosses=none",
                "passes=1",
                "members=1",
                "structure=parallel",
                "embedding_dim=16",
                "cross_layers=3",
                "cross_rank=0",
                "deep=[400,400,400]",
                "dropout=0",
                "wide=none",
            ],
        }
    }
}

impl Models {
    pub fn in_folder(folder: &Path) -> Result<Models, Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        Ok(Models { folder: folder.to_path_buf() })
    }

    /// Place of a bundle; `seed` is that of its training rows.
    pub fn bundle(&self, kind: Kind, seed: u32) -> Result<PathBuf, Box<dyn Error>> {
        let out = self.folder.join(format!("{}-{seed}", kind.name()));
        if !out.exists() {
            let log = self.log(kind.rows(), seed)?;
            let model = if kind == Kind::Linear { "ftrl" } else { "dcn" };
            let mut command = Command::new(pctr()?);
            command.args(["--quiet", "train", "--model", model, "--schema", "criteo", "--threads", "2", "--train"]);
            command.arg(log).arg("--out").arg(&out);
            kind.settings().iter().for_each(|setting| _ = command.args(["--set", setting]));
            run(&mut command)?;
        }
        Ok(out)
    }

    /// A registry with three bundles published, and their names: a service keeps the model before, so that the third one in turn
    /// must be opened.
    pub fn registry(&self, kind: Kind) -> Result<(Registry, Vec<String>), Box<dyn Error>> {
        let folder = self.folder.join(format!("registry-{}", kind.name()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let registry = Registry::create(&folder)?;
        let mut names = Vec::new();
        for seed in SEEDS {
            names.push(registry.publish(&self.bundle(kind, seed)?)?.model);
        }
        Ok((registry, names))
    }

    /// Cells of the rows that requests are made of, without the label.
    pub fn rows(&self) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
        let text = fs::read_to_string(self.log("20000", 3)?)?;
        let rows = text.lines().take(REQUEST_ROWS);
        Ok(rows.map(|line| line.split('\t').skip(1).map(str::to_owned).collect()).collect())
    }

    fn log(&self, rows: &str, seed: u32) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.folder.join(format!("rows-{rows}-{seed}.tsv"));
        if !path.exists() {
            let seed = seed.to_string();
            let mut command = Command::new(pctr()?);
            command.args(["--quiet", "generate", "--shape", "criteo", "--rows", rows, "--seed", &seed, "--out"]);
            run(command.arg(&path))?;
        }
        Ok(path)
    }
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended: {status}").into()) }
}
