//! Numbers of a comparison → pictures: one small function each, from records to SVG text.

mod frame;

use frame::{Axis, Frame, Scale, escape, percent, series};

use crate::learn::experiment::compare::summary::ModelSummary;
use crate::learn::experiment::kind::Kind;
use crate::learn::experiment::record::{RunRecord, ScoreBar};
use crate::learn::trainer::CurvePoint;
use crate::metrics::resampled::Metric;
use crate::model::bundle::ModelKind;

/// Class of the color of the model at this place of the leaderboard.
pub(super) fn series_class(at: usize) -> String {
    series(at)
}

/// A model in a picture: name, its place among the models (which decides its color), and the run that is drawn.
pub(super) struct Series<'a> {
    name: &'a str,
    at: usize,
    run: &'a RunRecord,
}

/// The first seed of each model, for pictures that show one run a model.
pub(super) fn first_runs(models: &[ModelSummary]) -> Vec<Series<'_>> {
    models
        .iter()
        .enumerate()
        .filter_map(|(at, model)| model.runs.first().map(|run| Series { name: &model.name, at, run: &run.record }))
        .collect()
}

/// Differences of `metric` from the best model with their intervals, best first. Models far behind the next best would press
/// the others together, so the axis leaves them out: they end in an arrow with their number.
pub(super) fn differences(models: &[ModelSummary], metric: Metric) -> String {
    const ROW: f64 = 30.0;
    /// How many times as far as the nearest model the axis reaches.
    const STRAGGLER: f64 = 12.0;
    let all = || models.iter().filter_map(|model| model.versus_best.as_ref());
    let highs = || all().map(|pair| pair.difference.high).filter(|high| *high > 0.0);
    let reach = STRAGGLER * highs().fold(f64::INFINITY, f64::min);
    let high = highs().filter(|high| *high <= reach).fold(0.0, f64::max);
    let low = all().map(|pair| pair.difference.low).fold(0.0, f64::min);
    let span = (high - low).max(1e-6);
    let axis = Axis {
        label: match metric {
            Metric::LogLoss => "log loss above the best, nats (left is better)",
            Metric::NormalizedEntropy => "normalized entropy above the best (left is better)",
            Metric::Auc => "AUC below the best (left is better)",
            Metric::Pcoc => "PCOC against the best",
        },
        scale: Scale::Linear,
        low: low - 0.04 * span,
        high: high + 0.06 * span,
        format: |value| trimmed(value, 5),
    };
    let limit = axis.high;
    let mut frame = Frame::of_rows(axis, 132.0, ROW * models.len() as f64 + 60.0);
    let (zero, bottom) = (frame.x_at(0.0), frame.bottom());
    let top = frame.top();
    frame.push(format_args!("<path class=\"zero\" d=\"M{zero:.1} {top}V{bottom:.1}\"/>"));
    for (at, model) in models.iter().enumerate() {
        let y = top + ROW * (at as f64 + 0.5);
        let (color, name) = (series(at), escape(&shortened(&model.name, 18)));
        frame.push(format_args!("<text x=\"126\" y=\"{:.1}\" class=\"end\">{name}</text>", y + 4.0));
        let (estimate, low, high) = match &model.versus_best {
            Some(pair) => (pair.difference.estimate, pair.difference.low, pair.difference.high),
            None => (model.distance_from_best(metric) - models[0].distance_from_best(metric), f64::NAN, f64::NAN),
        };
        let hover = match low.is_finite() {
            true => format!("{}: {estimate:+.5} [{low:.5}, {high:.5}]", model.name),
            false => format!("{}: {:.5} nats", model.name, model.log_loss.mean),
        };
        let hover = escape(&hover);
        if estimate > limit {
            let x = frame.x_at(limit);
            frame.push(format_args!(
                "<path class=\"bar {color}\" d=\"M{:.1} {y:.1}H{x:.1}m-6 -4l6 4l-6 4\"><title>{hover}</title></path>",
                x - 24.0
            ));
            frame.push(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{estimate:+.4}</text>",
                x - 30.0,
                y + 4.0
            ));
            continue;
        }
        if low.is_finite() {
            let (from, to) = (frame.x_at(low), frame.x_at(high));
            frame.push(format_args!(
                "<path class=\"bar {color}\" d=\"M{from:.1} {y:.1}H{to:.1}m0 -5v10M{from:.1} {:.1}v10\"/>",
                y - 5.0
            ));
        }
        let x = frame.x_at(estimate);
        frame.push(format_args!(
            "<circle class=\"fill {color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{hover}</title></circle>"
        ));
    }
    frame.finish("Differences in test log loss from the best model, with intervals")
}

/// Observed click rate against predicted probability in bins of equal mass, both on a logarithmic axis.
pub(super) fn reliability(models: &[Series<'_>]) -> String {
    let bins = || models.iter().flat_map(|model| &model.run.test.reliability);
    let least = |values: &mut dyn Iterator<Item = f64>| values.filter(|p| *p > 0.0).fold(1.0, f64::min);
    let low = least(&mut bins().flat_map(|bin| [bin.mean_probability, bin.ctr])).max(1e-6) * 0.7;
    let high = bins().map(|bin| bin.mean_probability.max(bin.ctr)).fold(0.0, f64::max) * 1.3;
    let (low, high) = (low.min(0.5), high.clamp(low * 2.0, 1.0));
    let axis = |label| Axis { label, scale: Scale::Log, low, high, format: percent };
    let mut frame = Frame::new(axis("predicted click probability"), axis("observed click rate"), 360.0);
    frame.line([(low, low), (high, high)], "ideal");
    for model in models {
        let color = series(model.at);
        let table = &model.run.test.reliability;
        for bin in table {
            let (from, to) = (bin.ctr_low.max(low), bin.ctr_high);
            frame.line([(bin.mean_probability, from), (bin.mean_probability, to)], &format!("whisker {color}"));
        }
        let line = table.iter().map(|bin| (bin.mean_probability, bin.ctr.max(low)));
        frame.line(line, &format!("line {color}"));
        for bin in table {
            let hover = format!(
                "{}: predicted {}, observed {} in {} rows",
                model.name,
                percent(bin.mean_probability),
                percent(bin.ctr),
                bin.rows
            );
            frame.dot(bin.mean_probability, bin.ctr.max(low), &format!("fill {color}"), &hover);
        }
    }
    frame.finish(
        "Reliability: observed click rate against predicted probability, in bins of equal mass with 95 % intervals",
    )
}

/// ROC curves.
pub(super) fn roc(models: &[Series<'_>]) -> String {
    let axis = |label| Axis { label, scale: Scale::Linear, low: 0.0, high: 1.0, format: |value| trimmed(value, 1) };
    let mut frame = Frame::new(
        axis("false positive rate (share of rows without click)"),
        axis("true positive rate (share of clicks)"),
        360.0,
    );
    frame.line([(0.0, 0.0), (1.0, 1.0)], "ideal");
    for model in models {
        let points = model.run.test.roc.iter().map(|point| (point.false_positive_rate, point.true_positive_rate));
        frame.line(points, &format!("line {}", series(model.at)));
    }
    frame.finish("ROC curves on the test rows")
}

/// Progressive log loss (line) and validation log loss (dots) along training. `None` when no model has a curve.
pub(super) fn training(models: &[Series<'_>]) -> Option<String> {
    let learners: Vec<(&Series<'_>, Vec<CurvePoint>)> = models
        .iter()
        .filter(|model| learns(model.run))
        .map(|model| (model, smoothed(&model.run.training.curve)))
        .collect();
    let points = || learners.iter().flat_map(|(_, curve)| curve);
    let mut losses: Vec<f64> =
        points().flat_map(|point| [Some(point.progressive_log_loss), point.valid_log_loss]).flatten().collect();
    losses.retain(|loss| loss.is_finite());
    losses.sort_unstable_by(f64::total_cmp);
    // The first rows are predicted by an empty model: the axis leaves the largest losses out.
    let quantile = |share: f64| losses.get((losses.len().saturating_sub(1) as f64 * share) as usize).copied();
    let (low, high) = (quantile(0.0)?, quantile(0.97)?);
    let margin = ((high - low) * 0.06).max(1e-4);
    let rows = points().map(|point| point.rows).max()?;
    let x = Axis { label: "rows learned from", scale: Scale::Linear, low: 0.0, high: rows as f64, format: counted };
    let y = Axis {
        label: "log loss, nats",
        scale: Scale::Linear,
        low: low - margin,
        high: high + margin,
        format: |value| trimmed(value, 4),
    };
    let mut frame = Frame::new(x, y, 320.0);
    for (model, curve) in &learners {
        let color = series(model.at);
        frame.line(curve.iter().map(|point| (point.rows as f64, point.progressive_log_loss)), &format!("line {color}"));
        for point in &model.run.training.curve {
            if let Some(loss) = point.valid_log_loss {
                let hover = format!("{}: validation log loss {loss:.5} after {} rows", model.name, point.rows);
                frame.dot(point.rows as f64, loss, &format!("fill {color}"), &hover);
            }
        }
    }
    Some(frame.finish("Training curves: progressive log loss as lines, validation log loss as dots"))
}

/// Whether a run has a training curve worth drawing.
pub(super) fn learns(run: &RunRecord) -> bool {
    run.kind != Kind::Own(ModelKind::BaseRate) && run.training.curve.len() > 1
}

/// Neighboring points of a curve averaged by their rows, so that it has at most [`CURVE_POINTS`].
fn smoothed(curve: &[CurvePoint]) -> Vec<CurvePoint> {
    let together = curve.len().div_ceil(CURVE_POINTS);
    let mut before = 0;
    let average = |points: &[CurvePoint]| {
        let (mut loss, mut rows) = (0.0, 0.0);
        for point in points {
            let weight = point.rows.saturating_sub(before) as f64;
            before = point.rows;
            loss += weight * point.progressive_log_loss;
            rows += weight;
        }
        let valid_log_loss = points.iter().rev().find_map(|point| point.valid_log_loss);
        CurvePoint { rows: before, progressive_log_loss: loss / f64::max(rows, 1.0), valid_log_loss }
    };
    curve.chunks(together.max(1)).map(average).collect()
}

/// Most points of a training curve in a picture.
const CURVE_POINTS: usize = 60;

/// Scores of one run on the test rows, clicks and other rows as shares of their own, on the log-odds axis.
pub(super) fn scores(run: &RunRecord) -> Option<String> {
    let bars = &run.test_scores;
    let (clicks, others) = bars.iter().fold((0, 0), |(clicks, others), bar| (clicks + bar.clicks, others + bar.others));
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let highest = bars.iter().map(|bar| share(bar.clicks, clicks).max(share(bar.others, others))).fold(0.0, f64::max);
    let (first, last) = (bars.first()?, bars.last()?);
    let x = Axis {
        label: "predicted click probability",
        scale: Scale::LogOdds,
        low: first.low,
        high: last.high,
        format: percent,
    };
    let y = Axis { label: "share of rows", scale: Scale::Linear, low: 0.0, high: highest * 1.08, format: percent };
    let mut frame = Frame::new(x, y, 320.0);
    for (class, count, of) in [("area s0", false, others), ("area s1", true, clicks)] {
        let value = |bar: &ScoreBar| match count {
            true => share(bar.clicks, of),
            false => share(bar.others, of),
        };
        let steps = bars.iter().flat_map(|bar| [(bar.low, value(bar)), (bar.high, value(bar))]);
        let outline = std::iter::once((first.low, 0.0)).chain(steps).chain([(last.high, 0.0)]);
        frame.line(outline, class);
    }
    Some(frame.finish("Scores on the test rows: rows with a click and rows without"))
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
