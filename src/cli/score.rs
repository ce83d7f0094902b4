//! `pctr score`: a bundle and a log → one probability a row.

use std::path::PathBuf;

use super::progress::{self, Unit};
use super::{Context, pool, rows};
use crate::durable;
use crate::error::Result;
use crate::learn::score::score;
use crate::learn::source::{BadRows, Input, MAX_BAD_ROWS};
use crate::model::Threads;
use crate::model::bundle::{Bundle, Tier};

/// Write one calibrated probability for each row of a log.
#[derive(Debug, clap::Args)]
pub(crate) struct ScoreArgs {
    /// Folder of the bundle; its schema says how the log is read.
    bundle: PathBuf,
    /// Log to score (plain, gzip, zstd, Parquet; - for standard input). Labels are not needed.
    file: PathBuf,
    /// Where to write: header p, then one probability a row in the order of the log, NaN for a row that cannot be used;
    /// - for standard output.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Which rung of the budget ladder scores: full (the model), cheap (its companion) or base-rate.
    #[arg(long, default_value = "full", value_parser = tier)]
    tier: Tier,
    /// Threads; 0 takes one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Share of bad rows that is borne, 0 to 1.
    #[arg(long, default_value_t = MAX_BAD_ROWS)]
    max_bad_rows: f64,
}

impl ScoreArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let bundle = Bundle::open(&self.bundle)?;
        let pool = pool(self.threads)?;
        let input = Input::new(&self.file);
        let mut bad = BadRows::new(self.max_bad_rows)?;
        let bar = progress::bar(context, "score", Unit::Bytes, input.bytes()?);
        let mut on_progress = |at: crate::learn::source::Progress| {
            bar.set_position(at.bytes);
            bar.set_message(format!("{} rows", at.rows));
        };
        let mut count = 0;
        let mut write = |out: &mut (dyn std::io::Write + Send)| {
            let threads = Threads::of(&pool);
            count = score((&bundle, self.tier), &input, &mut bad, threads, out, &mut on_progress, &context.interrupt)?;
            Ok(())
        };
        match self.out.as_os_str() == "-" {
            true => write(&mut std::io::stdout())?,
            false => durable::write_file(&self.out, |file| write(file))?,
        }
        bar.finish_and_clear();
        rows::note_bad_rows(context, bad.record());
        context.note(format_args!("{count} rows scored by {} ({})", bundle.manifest.model, self.tier));
        Ok(())
    }
}

fn tier(name: &str) -> Result<Tier, String> {
    Tier::ALL.into_iter().find(|tier| tier.name() == name).ok_or_else(|| {
        let hint = crate::error::nearest(name, Tier::ALL.map(Tier::name));
        format!("expected full, cheap or base-rate{hint}")
    })
}
