//! Numbers of a comparison → pictures: one small function each, from records to SVG text.

mod curves;
mod exhibits;
mod frame;
mod leaderboard;
mod slices;
mod training;

pub(super) use curves::{gain, lift, precision_recall, reliability, reliability_in, roc, scores};
pub(super) use exhibits::drawing;
pub(super) use leaderboard::{differences, frontier};
pub(super) use slices::{Value, forest, over_time};
pub(super) use training::{learns, training};

use crate::learn::experiment::compare::summary::ModelSummary;
use crate::learn::experiment::record::RunRecord;
use crate::metrics::calibration::ReliabilityBin;

/// Class of the color of the model at this place of the leaderboard.
pub(super) fn series_class(at: usize) -> String {
    frame::series(at)
}

/// A model in a picture: name, its place among the models (which decides its color), and the run that is drawn.
pub(super) struct Series<'a> {
    name: &'a str,
    at: usize,
    run: &'a RunRecord,
    before: &'a [ReliabilityBin],
}

/// The first seed of each model, on the last fold, for pictures that show one run a model.
pub(super) fn first_runs(models: &[ModelSummary]) -> Vec<Series<'_>> {
    models.iter().enumerate().filter_map(|(at, model)| Series::of(at, model)).collect()
}

impl<'a> Series<'a> {
    fn of(at: usize, model: &'a ModelSummary) -> Option<Self> {
        let run = model.runs_by_seed().next()?.last()?;
        Some(Series { name: &model.name, at, run: &run.record, before: &model.reliability_before })
    }
}

/// A number with at most `digits` digits after the point.
fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.replace('-', "−") }
}

/// A number of rows as `20k` or `1.5M`.
fn counted(rows: f64) -> String {
    match rows {
        rows if rows >= 1e6 => format!("{}M", trimmed(rows / 1e6, 2)),
        rows if rows >= 1e3 => format!("{}k", trimmed(rows / 1e3, 1)),
        rows => trimmed(rows, 0),
    }
}

fn shortened(name: &str, most: usize) -> String {
    match name.chars().count() > most {
        true => name.chars().take(most - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}
