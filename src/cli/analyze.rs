//! `pctr analyze`: runs or bundles and their rows → which fields matter, what collisions cost, where models disagree.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::ProgressBar;

use super::progress::{self, Unit};
use super::{Context, pool, print};
use crate::error::{Error, Result};
use crate::learn::analysis::{Ablate, AnalysisConfig, Experiment, Progress, Subject, analyze, parts_of_run};
use crate::learn::dataset::{Dataset, View};
use crate::learn::experiment::record::RECORD_FILE;
use crate::learn::report::exhibit::{ANALYSIS, Entry, Exhibit, Sheet};
use crate::learn::split::{Amount, Split, SplitConfig};
use crate::metrics::bootstrap::Bootstrap;
use crate::model::Threads;

/// Look into finished models: which fields matter, what collisions cost, what more rows would bring, where models disagree.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_LONG_HELP)]
pub(crate) struct AnalyzeArgs {
    /// Folders of runs (of one split) or of bundles.
    #[arg(required = true, value_name = "RUN|BUNDLE")]
    models: Vec<PathBuf>,
    /// Prepared rows: those of the runs, or labeled rows that no bundle was trained on. Without it, data/all of the experiment
    /// that the first run belongs to.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Prepared rows that the models learned from, where they stand apart; the last tenth decides calibration.
    #[arg(long, value_name = "DIR")]
    train: Option<PathBuf>,
    /// Folder whose analysis/ takes what was found; without it, the first model's.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Permute each field within blocks of time.
    #[arg(long)]
    importance: bool,
    /// Test rows that are permuted, at most.
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// Permutations of each field.
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// A group of fields to permute or leave out together, e.g. --group ad=C3,C4. Repeat for more.
    #[arg(long, value_name = "NAME=FIELDS")]
    group: Vec<String>,
    /// Train without these fields or groups, one after the other: names with commas between, all, or groups.
    #[arg(long, value_name = "FIELDS")]
    ablate: Option<String>,
    /// Train on shares of the training rows.
    #[arg(long)]
    learning_curve: bool,
    /// Count values that share a slot.
    #[arg(long)]
    collisions: bool,
    /// Train again with a slot for every value, to see what collisions cost.
    #[arg(long)]
    collision_cost: bool,
    /// Rows to show on which two models disagree most.
    #[arg(long, value_name = "N")]
    disagreements: Option<usize>,
    /// Loss against the time since training.
    #[arg(long)]
    age: bool,
    /// Resamples of the intervals.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    rounds: usize,
    /// Consecutive rows that are resampled together; 0 takes the groups of the schema, or 100 rows where it has none.
    #[arg(long, default_value_t = 0, value_name = "N")]
    block_rows: usize,
    /// Seed of permutations and resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
    /// Threads; 0 takes one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

const AFTER_LONG_HELP: &str = "\
Without a question, all that need no training are asked: importance, disagreements, age, and collisions where the training rows are known.

Examples:
  pctr analyze runs/example/runs/lr-1 runs/example/runs/dcn-1 --out runs/example
  pctr analyze model --data later --importance --group user=age,gender
  pctr analyze runs/example/runs/lr-1 --ablate all --learning-curve --collision-cost";

impl AnalyzeArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if !(10..=1_000_000).contains(&self.rounds) {
            let message = format!("expected 10 to 1000000, got {}", self.rounds);
            return Err(Error::config("analyze", "--rounds", message));
        }
        let subjects = self.models.iter().map(|folder| Subject::open(folder)).collect::<Result<Vec<_>>>()?;
        let data = Dataset::open(&self.data()?)?;
        let apart = self.train.as_deref().map(Dataset::open).transpose()?;
        let split = self.parts(&data, apart.as_ref())?;
        let config = self.config(split.train.rows() > 0)?;
        let pool = pool(self.threads)?;
        let mut bar = ProgressBar::hidden();
        let mut shown = String::new();
        let mut begun = std::time::Instant::now();
        let mut on_progress = |at: Progress<'_>| {
            if shown != at.what {
                bar.finish_and_clear();
                bar = progress::bar(context, at.what, Unit::Rows, Some(at.total_rows));
                (shown, begun) = (at.what.to_owned(), std::time::Instant::now());
            }
            bar.set_length(at.total_rows);
            bar.set_position(at.rows);
            if at.rows == at.total_rows && at.rows > 0 {
                let seconds = begun.elapsed().as_secs_f64();
                let speed = at.rows as f64 / seconds.max(1e-9);
                bar.finish_and_clear();
                context.note(format_args!("{:<32} {} rows in {seconds:.1} s, {speed:.0} rows/s", at.what, at.rows));
            }
        };
        let experiment = Experiment {
            folder: self.out.as_deref().unwrap_or(&self.models[0]),
            config: &config,
            bootstrap: Bootstrap { resamples: self.rounds, confidence: 0.95, seed: self.seed },
            block_rows: self.block_rows,
            subjects,
            train: split.train,
            valid: split.valid,
            test: split.test,
        };
        let found = analyze(&experiment, Threads::of(&pool), &mut on_progress, &context.interrupt);
        bar.finish_and_clear();
        let found = found?;
        if self.json {
            let json = serde_json::to_string_pretty(&found).map_err(|error| Error::Bug(error.to_string()))?;
            return print(&format!("{json}\n"));
        }
        let folder = experiment.folder.join(ANALYSIS);
        print(&format!("{}{}\n", found.iter().map(text).collect::<String>(), folder.display()))
    }

    /// Where the rows are.
    fn data(&self) -> Result<PathBuf> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let of_experiment = self.models[0].join("../../data/all");
        match self.models[0].join(RECORD_FILE).is_file() && of_experiment.is_dir() {
            true => Ok(of_experiment),
            false => {
                let message = "expected a folder of prepared rows, because the first model is no run beside its data";
                Err(Error::config("analyze", "--data", message))
            }
        }
    }

    /// Which rows trained, decided and tested.
    fn parts<'a>(&self, data: &'a Dataset, apart: Option<&'a Dataset>) -> Result<Split<'a>> {
        let of_runs = match self.models[0].join(RECORD_FILE).is_file() {
            true => parts_of_run(&self.models[0], data)?,
            false => {
                let none = || View::new(data, Vec::new());
                Split { train: none(), valid: none(), test: data.view() }
            }
        };
        let Some(apart) = apart else { return Ok(of_runs) };
        let [nine, one, none] = [0.9, 0.1, 0.0].map(Amount::Share);
        let last_tenth = SplitConfig { train: nine, valid: one, test: none, ..SplitConfig::default() };
        Ok(Split { test: of_runs.test, ..last_tenth.split(apart, "--train")? })
    }

    /// What is asked; all that need no training where nothing is.
    fn config(&self, trained: bool) -> Result<AnalysisConfig> {
        let asked = self.importance || self.learning_curve || self.collisions || self.collision_cost || self.age;
        let default = !asked && self.ablate.is_none() && self.disagreements.is_none();
        let plain = AnalysisConfig::default();
        let group = |given: &String| {
            let wrong = || Error::config("analyze", "--group", format!("expected NAME=FIELD,FIELD, got {given:?}"));
            let (name, fields) = given.split_once('=').ok_or_else(wrong)?;
            Ok((name.to_owned(), fields.split(',').map(str::to_owned).collect()))
        };
        Ok(AnalysisConfig {
            models: Vec::new(),
            importance: self.importance || default,
            rows: self.rows.unwrap_or(plain.rows),
            repeats: self.repeats.unwrap_or(plain.repeats),
            groups: self.group.iter().map(group).collect::<Result<_>>()?,
            ablate: match self.ablate.as_deref() {
                None => plain.ablate,
                Some(word @ ("all" | "groups")) => Ablate::Word(word.to_owned()),
                Some(names) => Ablate::Named(names.split(',').map(str::to_owned).collect()),
            },
            learning_curve: self.learning_curve,
            collisions: self.collisions || self.collision_cost || (default && trained),
            collision_cost: self.collision_cost,
            disagreements: self.disagreements.unwrap_or(if default { plain.disagreements } else { 0 }),
            age: self.age || default,
            seed: self.seed,
            ..plain
        })
    }
}

/// An exhibit as people read it on a terminal.
fn text(exhibit: &Exhibit) -> String {
    let title = format!("{}\n{}\n", exhibit.title, "─".repeat(exhibit.title.chars().count()));
    let words = exhibit.text.iter().map(|text| format!("{text}\n"));
    let tables = exhibit.tables.iter().map(|sheet| format!("\n{}\n{}\n", sheet.caption, table(sheet)));
    title + &words.chain(tables).collect::<String>() + "\n"
}

fn table(sheet: &Sheet) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(sheet.columns.iter().map(|column| column.name.as_str()));
    for row in &sheet.rows {
        table.add_row(row.iter().map(|entry| match entry {
            Entry::None => "–".to_owned(),
            Entry::Number(number) => digits(*number),
            Entry::Text(text) => text.clone(),
            Entry::Interval { value, low, high } => {
                let places = places(low.abs().max(high.abs()), 2);
                format!("{value:.places$} [{low:.places$}, {high:.places$}]")
            }
        }));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        let numbers =
            sheet.rows.iter().any(|row| matches!(row.get(at), Some(Entry::Number(_) | Entry::Interval { .. })));
        if numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Whole numbers as they are, others with four digits that say something.
fn digits(number: f64) -> String {
    if number == number.trunc() && number.abs() < 1e15 {
        return format!("{number}");
    }
    let places = places(number, 3);
    format!("{number:.places$}")
}

/// Decimal places that show `more` digits behind the first one that is not zero; at most nine.
fn places(number: f64, more: i32) -> usize {
    (more - number.abs().max(1e-9).log10().floor() as i32).clamp(0, 9) as usize
}
