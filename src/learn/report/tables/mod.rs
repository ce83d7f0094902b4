//! A comparison → the tables of its report, as text cells.

mod auction;
mod data;
mod differences;
mod exhibits;
mod models;
mod slices;

pub(super) use auction::auction;
pub(super) use data::{data, features, reproduce};
pub(super) use differences::{pairs, variances};
pub(super) use exhibits::sheet;
pub(super) use models::{calibration, cost, leaderboard, runs, tried};
pub(super) use slices::{largest, over_time, reliability, slicing};

use super::content::Table;
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::summary::{ModelSummary, Spread};
use crate::learn::experiment::compare::verdict::thousands;
use crate::learn::experiment::record::RunRecord;

type Cell<T> = Box<dyn Fn(&T) -> String>;

/// A column: short name, meaning, cell.
struct Column<T>(&'static str, &'static str, Cell<T>);

fn column<T>(name: &'static str, meaning: &'static str, cell: impl Fn(&T) -> String + 'static) -> Column<T> {
    Column(name, meaning, Box::new(cell))
}

fn table<T>(caption: &str, columns: Vec<Column<T>>, items: &[T]) -> Table {
    Table {
        caption: caption.into(),
        rows: items.iter().map(|item| columns.iter().map(|column| (column.2)(item)).collect()).collect(),
        columns: columns.iter().map(|column| (column.0.into(), column.1.into())).collect(),
        marked: None,
    }
}

fn runs_of(model: &ModelSummary) -> impl Iterator<Item = &RunRecord> {
    model.runs.iter().map(|run| &run.record)
}

fn marked(comparison: &Comparison) -> Option<usize> {
    let winner = comparison.winner.as_ref()?;
    comparison.models.iter().position(|model| model.name == winner.model)
}

fn spread(spread: &Spread, digits: usize) -> String {
    match spread.sd {
        Some(sd) => format!("{:.digits$} ± {sd:.digits$}", spread.mean),
        None => format!("{:.digits$}", spread.mean),
    }
}

fn optional(value: &Option<Spread>, digits: usize) -> String {
    value.as_ref().map_or("–".into(), |value| spread(value, digits))
}

fn signed(value: f64) -> String {
    minus(&format!("{value:+.5}"))
}

/// Three digits that matter.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value.round() as u64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// `[low, high]` with signs.
fn signed_interval(low: f64, high: f64) -> String {
    format!("[{}, {}]", signed(low), signed(high))
}

/// With the sign that is as wide as a digit.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// A share as a percentage with one digit; smaller ones with more.
fn share(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".into(),
        percent if percent < 0.1 => format!("{percent:.3} %"),
        percent if percent < 1.0 => format!("{percent:.2} %"),
        percent => format!("{percent:.1} %"),
    }
}
