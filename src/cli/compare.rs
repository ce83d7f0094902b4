//! `pctr compare`: finished runs → a comparison and a report.

use std::path::PathBuf;

use super::experiment::summary;
use super::{Context, pool, print};
use crate::error::Result;
use crate::learn::experiment::compare;
use crate::learn::report;
use crate::model::Threads;

/// Compare finished runs on the same rows and write a report.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Folders of experiments or of single runs (with run.json); all must have the same data and split.
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// The report, a name that ends in .html; the same as Markdown and JSON is written beside it.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl CompareArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let pool = pool(0)?;
        let comparison = compare(&self.runs, Threads::of(&pool), &context.interrupt)?;
        let files = report::write(&comparison, &self.out)?;
        if self.json {
            return print(&report::json(&comparison)?);
        }
        print(&format!("{}\n{}\n", summary(&comparison), files.html.display()))
    }
}
