//! `pctr experiment`: a recipe → runs, a comparison and a report.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::runs::{Shown, duration};
use super::{Context, pool, print};
use crate::error::{Error, Result};
use crate::learn::experiment::compare::verdict::thousands;
use crate::learn::experiment::plan::Plan;
use crate::learn::experiment::{self, Comparison, Recipe, RunOptions};
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
    /// Prepare the rows, print what would be run and about how long and how much memory it takes, and train nothing (but a few
    /// rows with each model, to see how fast it is).
    #[arg(long)]
    dry_run: bool,
    /// Threads for all runs together, in place of the recipe's; 0 takes one for each core. No result depends on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Most runs at a time, in place of the recipe's; 0 takes as many as there are threads. No result depends on it.
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
    /// Most megabytes of all runs at a time, by their estimates, in place of the recipe's; 0 takes four fifths of what is free.
    #[arg(long, value_name = "MB")]
    memory_mb: Option<u64>,
    /// Also write the runs in MLflow's file layout into this folder, for mlflow ui --backend-store-uri DIR.
    #[arg(long, value_name = "DIR")]
    mlflow: Option<PathBuf>,
    /// Print the plan or the comparison as JSON.
    #[arg(long)]
    json: bool,
}

const RECIPE_HELP: &str = "\
Runs that are finished are kept: stop with Ctrl-C at any time and give the same command again.
Written to the folder: report.html, report.md, report.json, results.csv, and runs/NAME-SEED/ with run.json,
machine.json, test.parquet, valid.parquet and, for models that can be published, bundle/.";

impl ExperimentArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let mut recipe = Recipe::read(&self.recipe, &self.set)?;
        let machine = &mut recipe.machine;
        machine.threads = self.threads.unwrap_or(machine.threads);
        machine.parallel = self.parallel.unwrap_or(machine.parallel);
        machine.memory_mb = self.memory_mb.unwrap_or(machine.memory_mb);
        let out = self.out.clone().unwrap_or_else(|| recipe.folder.join("out"));
        let options = RunOptions { out: out.clone(), resume: self.resume, command: self.command(&out) };
        if self.dry_run {
            let pool = pool(recipe.machine.threads)?;
            let mut shown = Shown::new(context);
            let mut on_event = |event: experiment::Event<'_>| shown.show(event);
            let plan = experiment::plan(&recipe, &options, Threads::of(&pool), &mut on_event, &context.interrupt)?;
            shown.clear();
            return print(&if self.json { json(&plan)? } else { plan_text(&plan) });
        }
        let comparison = run(context, &recipe, &options)?;
        let files = report::write_all(&comparison, &out)?;
        if let Some(folder) = &self.mlflow {
            experiment::mlflow::export(&comparison, folder)?;
        }
        match self.json {
            true => print(&report::json(&comparison)?),
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
    let pool = pool(recipe.machine.threads)?;
    let mut shown = Shown::new(context);
    let threads = Threads::of(&pool);
    let comparison = experiment::run(recipe, options, threads, &mut |event| shown.show(event), &context.interrupt);
    shown.clear();
    comparison
}

/// Verdict, winner and leaderboard for a terminal.
pub(crate) fn summary(comparison: &Comparison) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let truth = comparison.truth_log_loss.is_some();
    let mut header = vec!["model", "test log loss", "AUC", "PCOC", "rows/s", "p99 µs\n100 rows"];
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
    table.set_header(["model", "kind", "points", "seeds", "runs", "trials", "there", "MB a run", "time a run"]);
    for model in &plan.models {
        let numbers =
            [model.points.len(), model.seeds, model.runs, model.trials, model.kept].map(|number| number.to_string());
        let memory = format!("{:.0}", model.memory_bytes as f64 / 1e6);
        let time = model.seconds.map_or_else(|| "–".to_owned(), duration);
        table.add_row([&[model.name.clone(), model.kind.to_string()][..], &numbers, &[memory, time]].concat());
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    for (number, fold) in plan.folds.iter().enumerate() {
        let name = if plan.folds.len() > 1 { format!("fold {}: ", number + 1) } else { String::new() };
        let [train, valid, test] = [fold.train, fold.valid, fold.test].map(|part| thousands(part.rows));
        text.push_str(&format!("{name}train {train}, valid {valid}, test {test} rows\n"));
    }
    let runs: usize = plan.models.iter().map(|model| model.runs).sum();
    let trials = match plan.runs - runs {
        0 => String::new(),
        trials => format!(" and {trials} trials with less data"),
    };
    let kept = if plan.kept > 0 { format!(", {} there already", plan.kept) } else { String::new() };
    let limit = plan.memory_limit_bytes.map_or(String::new(), |limit| format!(" of {:.0} allowed", limit as f64 / 1e6));
    text.push_str(&format!(
        "{runs} runs{trials}{kept}; {} at a time on {} threads, about {:.0} MB together{limit}, about {} in all.\n\
         Memory is an upper bound without mapped rows; time is without early stopping.\n",
        plan.parallel,
        plan.threads,
        plan.memory_bytes as f64 / 1e6,
        plan.seconds.map_or_else(|| "an unknown time".to_owned(), duration),
    ));
    text
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Bug(error.to_string()))?;
    Ok(text + "\n")
}
