//! Slices of the test rows → the loss over time, and a forest of differences.

use super::frame::{Axis, Frame, Scale, escape, series};
use super::{counted, shortened, trimmed};
use crate::learn::experiment::compare::sliced::{ModelInSlice, Slice, Sliced, SlicedBy};
use crate::learn::experiment::compare::summary::ModelSummary;

/// What is drawn of a model over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::learn::report) enum Value {
    /// Mean log loss.
    LogLoss,
    /// Log loss minus that of the best model, with its interval.
    MinusBest,
    /// Predicted clicks over clicks, with its interval.
    Pcoc,
}

/// Models whose intervals over time can be told apart; of more, none are drawn.
const MOST_WHISKERS: usize = 4;

/// A value of every model over time, rows or age. `None` with fewer than two slices that have a place.
pub(in crate::learn::report) fn over_time(models: &[ModelSummary], sliced: &Sliced, value: Value) -> Option<String> {
    let of = |model: &ModelInSlice| match value {
        Value::LogLoss => Some((model.log_loss.value, None, None)),
        Value::MinusBest => model.minus_best.map(|minus| (minus.value, minus.low, minus.high)),
        Value::Pcoc => model.pcoc.map(|pcoc| (pcoc.value, pcoc.low, pcoc.high)),
    };
    let placed: Vec<(f64, &Slice)> = sliced.slices.iter().filter_map(|slice| Some((slice.from?, slice))).collect();
    let (first, last) = (placed.first()?.0, placed.last()?.0);
    let mut values: Vec<f64> =
        placed.iter().flat_map(|(_, slice)| &slice.models).filter_map(of).map(|(value, ..)| value).collect();
    values.sort_unstable_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    if last <= first {
        return None;
    }
    let base = match value {
        Value::LogLoss => (least, most),
        Value::MinusBest => (least.min(0.0), most.max(0.0)),
        Value::Pcoc => (least.min(1.0), most.max(1.0)),
    };
    let margin = (0.12 * (base.1 - base.0)).max(1e-5);
    let timed = sliced.by == SlicedBy::Time && first >= 86_400.0 * 365.0;
    let x = Axis {
        label: match (&sliced.by, timed) {
            (SlicedBy::Age, _) => "age of the model: time since its last training row".into(),
            (_, true) => "time of the test row (UTC)".into(),
            (..) => "test rows".into(),
        },
        scale: if timed || sliced.by == SlicedBy::Age { Scale::Time } else { Scale::Linear },
        low: first,
        high: last,
        format: match (&sliced.by, timed) {
            (SlicedBy::Age, _) => age,
            (_, true) if last - first > 6.0 * 86_400.0 => day,
            (_, true) => hour,
            (..) => counted,
        },
    };
    let y = Axis {
        label: match value {
            Value::LogLoss => "log loss, nats (lower is better)",
            Value::MinusBest => "log loss minus the best, nats",
            Value::Pcoc => "predicted clicks over clicks",
        }
        .into(),
        scale: Scale::Linear,
        low: base.0 - margin,
        high: base.1 + margin,
        format: |value| trimmed(value, 4),
    };
    let mut frame = Frame::new(x, y, 320.0);
    match value {
        Value::LogLoss => {}
        Value::MinusBest => frame.line([(first, 0.0), (last, 0.0)], "ideal"),
        Value::Pcoc => frame.line([(first, 1.0), (last, 1.0)], "ideal"),
    }
    for (at, model) in models.iter().enumerate() {
        let color = series(at);
        let points: Vec<_> =
            placed.iter().filter_map(|(x, slice)| of(&slice.models[at]).map(|of| (*x, slice, of))).collect();
        frame.begin(at);
        for (x, _, (_, low, high)) in &points {
            if let (Some(low), Some(high)) = (low, high)
                && models.len() <= MOST_WHISKERS
            {
                frame.line([(*x, *low), (*x, *high)], &format!("whisker {color}"));
            }
        }
        frame.line(points.iter().map(|(x, _, (y, ..))| (*x, *y)), &format!("line {color}"));
        for (x, slice, (y, ..)) in &points {
            frame.dot(*x, *y, &format!("fill {color}"), &format!("{}, {}: {y:.5}", model.name, slice.name));
        }
        frame.end();
    }
    Some(frame.finish(match value {
        Value::LogLoss => "Log loss of every model over time",
        Value::MinusBest => "Log loss minus that of the best model over time, with intervals",
        Value::Pcoc => "Predicted clicks over clicks of every model over time, with intervals",
    }))
}

/// Shrunken differences of the model at place `at` from the best one, a line for each slice, with intervals. `None` without any.
pub(in crate::learn::report) fn forest(models: &[ModelSummary], slicings: &[&Sliced], at: usize) -> Option<String> {
    /// Most lines.
    const LINES: usize = 18;
    const ROW: f64 = 22.0;
    let mut lines: Vec<(String, u64, f64, f64, f64)> = Vec::new();
    for sliced in slicings {
        for slice in &sliced.slices {
            if let Some(shrunk) = slice.models.get(at).and_then(|model| model.shrunk_minus_best)
                && let (Some(low), Some(high)) = (shrunk.low, shrunk.high)
            {
                lines.push((format!("{}: {}", sliced.by.title(), slice.name), slice.rows, shrunk.value, low, high));
            }
        }
    }
    // The ones farthest from no difference in their own errors, then in the order of their size.
    lines.sort_by(|a, b| {
        let sure = |line: &(String, u64, f64, f64, f64)| line.2.abs() / (line.4 - line.3).max(1e-12);
        sure(b).total_cmp(&sure(a))
    });
    lines.truncate(LINES);
    lines.sort_by(|a, b| a.2.total_cmp(&b.2));
    let ends = lines.iter().fold((0.0_f64, 0.0_f64), |(low, high), line| (low.min(line.3), high.max(line.4)));
    if lines.is_empty() {
        return None;
    }
    let margin = (0.05 * (ends.1 - ends.0)).max(1e-6);
    let axis = Axis {
        label: format!("log loss minus that of {}, nats", shortened(&models[0].name, 18)),
        scale: Scale::Linear,
        low: ends.0 - margin,
        high: ends.1 + margin,
        format: |value| trimmed(value, 4),
    };
    let mut frame = Frame::of_rows(axis, 242.0, ROW * lines.len() as f64 + 60.0);
    let (zero, top, bottom) = (frame.x_at(0.0), frame.top(), frame.bottom());
    frame.push(format_args!("<path class=\"zero\" d=\"M{zero:.1} {top}V{bottom:.1}\"/>"));
    let color = series(at);
    for (place, (name, rows, value, low, high)) in lines.iter().enumerate() {
        let y = top + ROW * (place as f64 + 0.5);
        let (from, to, x) = (frame.x_at(*low), frame.x_at(*high), frame.x_at(*value));
        let hover = escape(&format!("{name}: {value:+.5} [{low:+.5}, {high:+.5}], {rows} rows"));
        let name = escape(&shortened(name, 34));
        frame.push(format_args!("<text x=\"236\" y=\"{:.1}\" class=\"end\">{name}</text>", y + 4.0));
        frame.push(format_args!("<path class=\"bar {color}\" d=\"M{from:.1} {y:.1}H{to:.1}\"/>"));
        frame.push(format_args!(
            "<circle class=\"fill {color} pt\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{hover}</title></circle>"
        ));
    }
    Some(frame.finish(&format!(
        "Where {} differs from {}: shrunken differences of log loss by slice, with intervals",
        models[at].name, models[0].name
    )))
}

fn day(seconds: f64) -> String {
    stamp(seconds, "%b %d")
}

fn hour(seconds: f64) -> String {
    stamp(seconds, "%d, %H:%M")
}

fn stamp(seconds: f64, format: &str) -> String {
    let stamp = jiff::Timestamp::from_second(seconds as i64).ok();
    stamp.map_or_else(|| counted(seconds), |stamp| stamp.strftime(format).to_string())
}

fn age(seconds: f64) -> String {
    match seconds.abs() {
        size if size >= 172_800.0 => format!("{} d", trimmed(seconds / 86_400.0, 1)),
        size if size >= 3_600.0 => format!("{} h", trimmed(seconds / 3_600.0, 1)),
        _ => format!("{} min", trimmed(seconds / 60.0, 1)),
    }
}
