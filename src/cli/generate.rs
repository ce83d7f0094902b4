//! `pctr generate`: an ad log with known truth.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::progress::{self, Unit};
use super::{Context, print};
use crate::durable;
use crate::error::{Error, Result};
use crate::learn::generate::{Shape, Summary, generate};

/// Write an ad log with known true click probabilities.
#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// demo: an auction log (comma-separated, header, CTR about 3 %); demo-priced: the same rows with a market price
    /// behind each; criteo: the 40 columns of the Criteo logs.
    #[arg(long)]
    shape: Shape,
    /// Rows to write.
    #[arg(long)]
    rows: u64,
    /// Seed: the same seed writes the same bytes, and a longer log starts with the shorter one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write the true click probability of each row here (header p).
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Where to write the rows; - for standard output.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

impl GenerateArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let bar = progress::bar(context, "generate", Unit::Rows, Some(self.rows));
        let mut on_progress = |rows| {
            bar.set_position(rows);
            match context.interrupt.check() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let mut summary = Summary::default();
        let mut write = |out: &mut dyn Write| -> Result<()> {
            summary = match &self.truth {
                None => generate(self.shape, self.rows, self.seed, out, None, &mut on_progress)?,
                Some(path) => {
                    let mut of_truth = Summary::default();
                    durable::write_file(path, |truth| {
                        of_truth = generate(self.shape, self.rows, self.seed, out, Some(truth), &mut on_progress)?;
                        Ok(())
                    })?;
                    of_truth
                }
            };
            Ok(())
        };
        let to_stdout = self.out.as_os_str() == "-";
        match to_stdout {
            true => write(&mut std::io::stdout().lock())?,
            false => durable::write_file(&self.out, |file| write(file))?,
        }
        bar.finish_and_clear();
        match self.json && !to_stdout {
            true => {
                let json = serde_json::to_string(&summary).map_err(|error| Error::Bug(error.to_string()))?;
                print(&format!("{json}\n"))
            }
            false => {
                context.note(format_args!(
                    "{} rows, {} clicks (CTR {:.4}); no model can expect a log loss below {:.5}",
                    summary.rows,
                    summary.clicks,
                    summary.clicks as f64 / summary.rows.max(1) as f64,
                    summary.entropy,
                ));
                Ok(())
            }
        }
    }
}
