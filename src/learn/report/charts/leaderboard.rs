//! Models → how far they are from the best, and what they cost beside what they lose.

use super::frame::{Axis, Frame, Scale, escape, series};
use super::{shortened, trimmed};
use crate::learn::experiment::compare::summary::ModelSummary;
use crate::metrics::resampled::Metric;

/// Differences of `metric` from the best model with their intervals, best first. Models far behind the next best would press
/// the others together, so the axis leaves them out: they end in an arrow with their number.
pub(in crate::learn::report) fn differences(models: &[ModelSummary], metric: Metric) -> String {
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
        }
        .into(),
        scale: Scale::Linear,
        low: low - 0.04 * span,
        high: high + 0.06 * span,
        format: |value| trimmed(value, 5),
    };
    let limit = axis.high;
    let mut frame = Frame::of_rows(axis, 138.0, ROW * models.len() as f64 + 60.0);
    let (zero, bottom) = (frame.x_at(0.0), frame.bottom());
    let top = frame.top();
    frame.push(format_args!("<path class=\"zero\" d=\"M{zero:.1} {top}V{bottom:.1}\"/>"));
    for (at, model) in models.iter().enumerate() {
        let y = top + ROW * (at as f64 + 0.5);
        let (color, name) = (series(at), escape(&shortened(&model.name, 16)));
        frame.push(format_args!("<text x=\"132\" y=\"{:.1}\" class=\"end\">{name}</text>", y + 4.0));
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
                "<path class=\"bar {color} pt\" d=\"M{:.1} {y:.1}H{x:.1}m-6 -4l6 4l-6 4\"><title>{hover}</title></path>",
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
            "<circle class=\"fill {color} pt\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{hover}</title></circle>"
        ));
    }
    frame.finish("Differences in test log loss from the best model, with intervals")
}

/// Log loss against the 99th percentile of scoring time, with intervals of the difference from the best model, and the line of
/// models that no other one beats in both.
pub(in crate::learn::report) fn frontier(models: &[ModelSummary], rows: usize) -> String {
    /// How many times as far from the best as the nearest model a model may be to stay on the axis.
    const STRAGGLER: f64 = 40.0;
    let time = |model: &ModelSummary| if rows == 1 { model.p99_micros_1 } else { model.p99_micros_100 }.max(0.01);
    let best = models.iter().map(|model| model.log_loss.mean).fold(f64::INFINITY, f64::min);
    let distances = || models.iter().map(|model| model.log_loss.mean - best);
    let nearest = distances().filter(|distance| *distance > 0.0).fold(f64::INFINITY, f64::min);
    let reach = distances().filter(|distance| *distance <= STRAGGLER * nearest).fold(0.0, f64::max);
    let span = if reach > 0.0 { reach } else { 1e-3 };
    let (least, most) = models.iter().map(time).fold((f64::INFINITY, 0.0_f64), |(a, b), t| (a.min(t), b.max(t)));
    let x = Axis {
        label: format!("99th percentile to score {rows} rows, µs (left is faster)"),
        scale: Scale::Log,
        low: least / 1.8,
        high: most * 1.8,
        format: |value| if value < 1000.0 { trimmed(value, 1) } else { format!("{}k", trimmed(value / 1e3, 1)) },
    };
    let y = Axis {
        label: "log loss, nats (lower is better)".into(),
        scale: Scale::Linear,
        low: best - 0.15 * span,
        high: best + 1.15 * span,
        format: |value| trimmed(value, 4),
    };
    let limit = y.high;
    let mut frame = Frame::new(x, y, 360.0);
    // From the fastest on, each model that loses less than all faster ones.
    let mut order: Vec<&ModelSummary> = models.iter().filter(|model| model.publishable()).collect();
    order.sort_by(|a, b| time(a).total_cmp(&time(b)).then(a.log_loss.mean.total_cmp(&b.log_loss.mean)));
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for model in order {
        let loss = model.log_loss.mean.min(limit);
        match steps.last() {
            Some((_, before)) if *before <= loss => {}
            Some((_, before)) => steps.extend([(time(model), *before), (time(model), loss)]),
            None => steps.push((time(model), loss)),
        }
    }
    frame.line(steps, "ideal");
    for (at, model) in models.iter().enumerate() {
        let (color, loss) = (series(at), model.log_loss.mean);
        frame.begin(at);
        if let Some(pair) = &model.versus_best
            && pair.metric == Metric::LogLoss
            && loss <= limit
        {
            let half = 0.5 * (pair.difference.high - pair.difference.low);
            frame.line([(time(model), loss - half), (time(model), loss + half)], &format!("whisker {color}"));
        }
        let beyond = if loss > limit { ", beyond the axis" } else { "" };
        let hover = format!("{}: log loss {loss:.5} nats, p99 {} µs{beyond}", model.name, trimmed(time(model), 1));
        let shape = if model.publishable() { "fill" } else { "hollow" };
        frame.dot(time(model), loss.min(limit), &format!("{shape} {color} large"), &hover);
        frame.end();
    }
    frame.finish(&format!(
        "Log loss against the 99th percentile to score {rows} rows, and the models that none beats in both"
    ))
}
