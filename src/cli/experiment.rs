//! `pctr experiment`: a recipe → runs, a comparison and a report.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::ProgressBar;

use super::progress::{self, Unit};
use super::{Context, pool, print};
use crate::error::{Error, Result};
use crate::learn::experiment::compare::verdict::thousands;
use crate::learn::experiment::plan::Plan;
use crate::learn::experiment::{self, Comparison, Event, Recipe, RunOptions};
use crate::learn::report;
use crate::model::Threads;

/// Run the models of a recipe, compare them and write a report.
#[derive(Debug, clap::Args)]
#[command(after_long_help = RECIPE_HELP)]
pub(crate) struct ExperimentArgs {
    /// The recipe, a TOML file; experiments/example.toml explains every key.
    recipe: PathBuf,
    /// Folder of runs and report; without it, out/ beside the recipe.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Change a key of the recipe, e.g. --set seeds=[1,2] or --set models.1.params.alpha=0.05.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Go on in a folder of another recipe, keeping the runs whose data and settings are the same. The same recipe always goes
    /// on where it was.
    #[arg(long)]
    resume: bool,
    /// Prepare the rows, print what would be run, and train nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the plan or the comparison as JSON.
    #[arg(long)]
    json: bool,
}

const RECIPE_HELP: &str = "\
Runs that are finished are kept: stop with Ctrl-C at any time and give the same command again.
Written to the folder: report.html, report.md, results.csv, comparison.json, and runs/NAME-SEED/ with run.json,
test.parquet, valid.parquet and, for models that can be published, bundle/.";

impl ExperimentArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let recipe = Recipe::read(&self.recipe, &self.set)?;
        let out = self.out.clone().unwrap_or_else(|| recipe.folder.join("out"));
        let options = RunOptions { out: out.clone(), resume: self.resume, command: self.command(&out) };
        let mut shown = Shown { context, bar: ProgressBar::hidden(), of: 0 };
        if self.dry_run {
            let pool = pool(recipe.threads)?;
            let threads = Threads::of(&pool);
            let mut on_event = |event: Event<'_>| shown.show(event);
            let plan = experiment::plan(&recipe, &options, threads, &mut on_event, &context.interrupt)?;
            shown.bar.finish_and_clear();
            return print(&if self.json { json(&plan)? } else { plan_text(&plan) });
        }
        let comparison = run(context, &recipe, &options)?;
        let files = report::write_all(&comparison, &out)?;
        match self.json {
            true => print(&json(&comparison)?),
            false => print(&format!("{}\n{}\n", summary(&comparison), files.html.display())),
        }
    }

    /// The command that does the same again.
    fn command(&self, out: &Path) -> String {
        let quoted = |text: String| match text.contains(|letter: char| " '\"[]{}$*?&;()<>|".contains(letter)) {
            true => format!("'{}'", text.replace('\'', "'\\''")),
            false => text,
        };
        let mut words = vec!["pctr".to_owned(), "experiment".into(), self.recipe.display().to_string()];
        words.extend(["--out".to_owned(), out.display().to_string()]);
        words.extend(self.set.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
        words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// Runs a recipe with progress on standard error.
///
/// # Errors
/// Those of [`experiment::run`].
pub(crate) fn run(context: &Context, recipe: &Recipe, options: &RunOptions) -> Result<Comparison> {
    let pool = pool(recipe.threads)?;
    let mut shown = Shown { context, bar: ProgressBar::hidden(), of: 0 };
    let threads = Threads::of(&pool);
    let comparison = experiment::run(recipe, options, threads, &mut |event| shown.show(event), &context.interrupt)?;
    shown.bar.finish_and_clear();
    Ok(comparison)
}

/// Verdict, winner and leaderboard for a terminal.
pub(crate) fn summary(comparison: &Comparison) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let truth = comparison.truth_log_loss.is_some();
    let mut header = vec!["model", "test log loss", "AUC", "PCOC", "rows/s", "p99 µs (100 rows)"];
    if truth {
        header.insert(2, "excess");
    }
    table.set_header(header);
    for model in &comparison.models {
        let spread = |spread: Option<&experiment::compare::summary::Spread>, digits: usize| match spread {
            None => "–".to_owned(),
            Some(spread) => match spread.sd {
                Some(sd) => format!("{:.digits$} ± {sd:.digits$}", spread.mean),
                None => format!("{:.digits$}", spread.mean),
            },
        };
        let won = comparison.winner.as_ref().is_some_and(|winner| winner.model == model.name);
        let mut cells = vec![
            format!("{}{}", model.name, if won { " *" } else { "" }),
            spread(Some(&model.log_loss), 5),
            spread(model.auc.as_ref(), 4),
            spread(model.pcoc.as_ref(), 3),
            thousands(model.rows_per_second.mean.round() as u64),
            format!("{:.0}", model.p99_micros_100),
        ];
        if truth {
            cells.insert(2, spread(model.excess_log_loss.as_ref(), 5));
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n{}\n{}\n", comparison.verdict, comparison.reason)
}

fn plan_text(plan: &Plan) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["model", "kind", "grid points", "seeds", "runs", "memory a run, MB (about)"]);
    for model in &plan.models {
        let memory = format!("{:.0}", model.memory_bytes as f64 / 1e6);
        let (points, seeds, runs) = (model.points.len(), model.seeds, model.runs);
        let numbers = [points, seeds, runs].map(|number| number.to_string());
        table.add_row([&[model.name.clone(), model.kind.to_string()][..], &numbers, &[memory]].concat());
    }
    let part = |name: &str, part: experiment::record::PartRecord| format!("{name} {} rows", thousands(part.rows));
    let parts = [part("train", plan.data.train), part("valid", plan.data.valid), part("test", plan.data.test)];
    format!("{table}\n{} runs; {}\n", plan.runs, parts.join(", "))
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Bug(error.to_string()))?;
    Ok(text + "\n")
}

/// Progress on standard error: a bar for what runs, a line for what is finished.
struct Shown<'a> {
    context: &'a Context,
    bar: ProgressBar,
    of: usize,
}

impl Shown<'_> {
    fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Preparing(at) => {
                if self.bar.is_hidden() || self.bar.prefix() != "preparing" || self.bar.is_finished() {
                    self.bar.finish_and_clear();
                    self.bar = progress::bar(self.context, "preparing", Unit::Bytes, at.total_bytes);
                }
                self.bar.set_position(at.bytes);
            }
            Event::Planned(plan) => {
                self.bar.finish_and_clear();
                self.of = plan.runs;
                self.context.note(format_args!(
                    "{} runs; {} training, {} validation, {} test rows",
                    plan.runs,
                    thousands(plan.data.train.rows),
                    thousands(plan.data.valid.rows),
                    thousands(plan.data.test.rows)
                ));
            }
            Event::Started { run, .. } => {
                self.bar.finish_and_clear();
                self.bar = progress::bar(self.context, run, Unit::Rows, Some(0));
            }
            Event::Training(at) => {
                self.bar.set_length(at.total_rows);
                self.bar.set_position(at.rows);
                let valid = at.valid_log_loss.map_or(String::new(), |loss| format!(", valid {loss:.5}"));
                self.bar.set_message(format!("log loss {:.5}{valid}", at.log_loss));
            }
            Event::Finished { record, kept } => {
                self.bar.finish_and_clear();
                let auc = record.test.auc.map_or(String::new(), |auc| format!(", AUC {auc:.4}"));
                let how = if kept { "kept".to_owned() } else { format!("{:.1} s", record.wall_seconds) };
                self.context.note(format_args!(
                    "{:<24} test log loss {:.5}{auc} ({how})",
                    record.folder_name(),
                    record.test.log_loss
                ));
            }
            Event::Comparing => self.context.note(format_args!("comparing {} runs", self.of)),
        }
    }
}
