//! `pctr evaluate`: a bundle and labeled rows → how good its probabilities are; or the same for anybody's predictions.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};

use super::rows::{self, Opening};
use super::{Context, pool, print};
use crate::error::{Error, Result};
use crate::learn::evaluate::evaluate_view;
use crate::learn::predictions::Labeled;
use crate::learn::source::MAX_BAD_ROWS;
use crate::metrics::{self, Evaluation};
use crate::model::Threads;
use crate::model::bundle::Bundle;

/// Judge a bundle on labeled rows.
#[derive(Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    /// Folder of the bundle; its schema says how the log is read.
    #[arg(required_unless_present = "predictions")]
    bundle: Option<PathBuf>,
    /// Labeled rows: a log (plain, gzip, zstd, Parquet) or a folder made by pctr prepare.
    #[arg(required_unless_present = "predictions")]
    file: Option<PathBuf>,
    /// Judge what another program predicted instead: a comma-separated file with the header label,p.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "file"])]
    predictions: Option<PathBuf>,
    /// Print every metric, the reliability table and the ROC curve as JSON.
    #[arg(long)]
    json: bool,
    /// Threads; 0 takes one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Share of bad rows that is borne, 0 to 1.
    #[arg(long, default_value_t = MAX_BAD_ROWS)]
    max_bad_rows: f64,
}

impl EvaluateArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let (evaluation, title) = match (&self.predictions, &self.bundle, &self.file) {
            (Some(predictions), ..) => {
                let Labeled { labels, probabilities } = Labeled::read(predictions)?;
                (metrics::evaluate(&labels, &probabilities, None, None), rows::shown(predictions))
            }
            (None, Some(bundle), Some(file)) => {
                let bundle = Bundle::open(bundle)?;
                let title = format!("{} on {}", bundle.manifest.model, rows::shown(file));
                (self.judge(context, &bundle, file)?, title)
            }
            _ => return Err(Error::Bug("the command line let neither a bundle nor predictions pass".into())),
        };
        let evaluation =
            evaluation.ok_or_else(|| Error::data(title.clone(), "expected rows of some weight, got none"))?;
        if self.json {
            let json = serde_json::to_string_pretty(&evaluation).map_err(|error| Error::Bug(error.to_string()))?;
            return print(&format!("{json}\n"));
        }
        print(&format!("{title}\n{}\n", table(&evaluation)))
    }

    fn judge(&self, context: &Context, bundle: &Bundle, file: &Path) -> Result<Option<Evaluation>> {
        let pool = pool(self.threads)?;
        let threads = Threads::of(&pool);
        let (schema, encoder) = (&bundle.schema, Some(&bundle.encoder));
        let opening = Opening { schema, encoder, max_bad_rows: self.max_bad_rows, threads };
        let rows = rows::open(context, file, &opening)?;
        evaluate_view(bundle, &rows.dataset.view(), threads, &context.interrupt)
    }
}

/// The metrics as a table of name and value.
fn table(evaluation: &Evaluation) -> Table {
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.5}"));
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["metric", "value", ""]);
    let mut row = |name: &str, value: String, note: &str| {
        table.add_row([name, &value, note]);
    };
    row("rows", evaluation.rows.to_string(), "");
    row("CTR", number(Some(evaluation.ctr)), "clicks / impressions");
    row("log loss", number(Some(evaluation.log_loss)), "nats; lower is better");
    row("normalized entropy", number(evaluation.normalized_entropy), "below 1 beats the base rate");
    row("AUC", number(evaluation.auc), "exact, ties counted half");
    row("PR-AUC", number(evaluation.pr_auc), "average precision");
    row("Brier", number(Some(evaluation.brier)), "lower is better");
    row("PCOC", number(evaluation.pcoc), "mean probability / CTR; 1 is calibrated");
    row("ECE", number(Some(evaluation.ece)), "20 bins of equal mass");
    if let Some(best) = &evaluation.best_f1 {
        row("best F1", number(Some(best.f1)), &format!("at threshold {:.5}", best.threshold));
    }
    if let Some(grouped) = &evaluation.grouped_auc {
        let note = format!(
            "{} groups; {:.0} % of rows in groups of one class",
            grouped.groups_used,
            100.0 * grouped.share_skipped
        );
        row("grouped AUC", number(grouped.auc), &note);
    }
    if let Some(grouped) = &evaluation.grouped_ndcg {
        row("NDCG@10", number(grouped.ndcg), "by group");
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
