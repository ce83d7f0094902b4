//! Evaluations and score counts of runs → reliability, ROC, precision and recall, gain, lift, histograms.

use super::frame::{Axis, Frame, Scale, percent, series};
use super::{Series, trimmed};
use crate::learn::experiment::compare::reliability::SliceReliability;
use crate::learn::experiment::record::{RunRecord, ScoreBar};
use crate::metrics::calibration::ReliabilityBin;
use crate::metrics::ranking::RocPoint;

/// Reliability of every model after or before calibration.
pub(in crate::learn::report) fn reliability(models: &[Series<'_>], calibrated: bool) -> String {
    let line = |model: &Series<'_>| Promise {
        name: model.name.to_owned(),
        series: model.at,
        color: series(model.at),
        dot: "fill",
        bins: if calibrated { &model.run.test.reliability[..] } else { model.before }.to_vec(),
    };
    promises(&models.iter().map(line).collect::<Vec<_>>())
}

/// Reliability of the models that lead in one slice, after calibration and, dashed, before it; the names of the lines and their
/// classes.
pub(in crate::learn::report) fn reliability_in(slice: &SliceReliability) -> (String, Vec<(String, String)>) {
    let mut lines: Vec<Promise> = Vec::new();
    for (at, model) in slice.models.iter().enumerate() {
        let color = series(at);
        let mut add = |name: String, color: String, dot: &'static str, bins: &[ReliabilityBin]| {
            if !bins.is_empty() {
                lines.push(Promise { name, series: lines.len(), color, dot, bins: bins.to_vec() });
            }
        };
        add(model.model.clone(), color.clone(), "fill", &model.after);
        add(format!("{} before calibration", model.model), format!("{color} dashed"), "hollow", &model.before);
    }
    let svg = promises(&lines);
    (svg, lines.into_iter().map(|line| (line.name, line.color)).collect())
}

/// What was promised and what happened, as one line of a picture.
struct Promise {
    name: String,
    /// Its number in the legend.
    series: usize,
    /// Class of its color.
    color: String,
    /// Class of its dots.
    dot: &'static str,
    bins: Vec<ReliabilityBin>,
}

/// Observed click rate against predicted probability in bins of equal mass, both on a logarithmic axis.
fn promises(lines: &[Promise]) -> String {
    let bins = || lines.iter().flat_map(|line| &line.bins);
    let least = |values: &mut dyn Iterator<Item = f64>| values.filter(|p| *p > 0.0).fold(1.0, f64::min);
    let low = least(&mut bins().flat_map(|bin| [bin.mean_probability, bin.ctr])).max(1e-6) * 0.7;
    let high = bins().map(|bin| bin.mean_probability.max(bin.ctr)).fold(0.0, f64::max) * 1.3;
    let (low, high) = (low.min(0.5), high.clamp(low * 2.0, 1.0));
    let axis = |label: &str| Axis { label: label.into(), scale: Scale::Log, low, high, format: percent };
    let mut frame = Frame::new(axis("predicted click probability"), axis("observed click rate"), 360.0);
    frame.line([(low, low), (high, high)], "ideal");
    for Promise { name, series, color, dot, bins } in lines {
        frame.begin(*series);
        for bin in bins {
            let (from, to) = (bin.ctr_low.max(low), bin.ctr_high);
            frame.line([(bin.mean_probability, from), (bin.mean_probability, to)], &format!("whisker {color}"));
        }
        let line = bins.iter().map(|bin| (bin.mean_probability, bin.ctr.max(low)));
        frame.line(line, &format!("line {color}"));
        for bin in bins {
            let hover = format!(
                "{name}: predicted {}, observed {} in {} rows",
                percent(bin.mean_probability),
                percent(bin.ctr),
                bin.rows
            );
            frame.dot(bin.mean_probability, bin.ctr.max(low), &format!("{dot} {color}"), &hover);
        }
        frame.end();
    }
    frame.finish(
        "Reliability: observed click rate against predicted probability, in bins of equal mass with 95 % intervals",
    )
}

/// ROC curves.
pub(in crate::learn::report) fn roc(models: &[Series<'_>]) -> String {
    let mut frame = Frame::new(
        share_axis("false positive rate (share of rows without click)"),
        share_axis("true positive rate (share of clicks)"),
        360.0,
    );
    frame.line([(0.0, 0.0), (1.0, 1.0)], "ideal");
    for model in models {
        curve(&mut frame, model, |point| (point.false_positive_rate, point.true_positive_rate));
    }
    frame.finish("ROC curves on the test rows")
}

/// Precision against recall, from the ROC points and the click-through rate.
pub(in crate::learn::report) fn precision_recall(models: &[Series<'_>]) -> String {
    let most = models.iter().flat_map(|model| reached(model).skip(1).map(|(_, _, precision)| precision));
    let most = most.fold(0.0, f64::max).clamp(1e-6, 1.0);
    let y = Axis {
        label: "precision (click rate of rows called clicks)".into(),
        scale: Scale::Linear,
        low: 0.0,
        high: (most * 1.08).min(1.0),
        format: percent,
    };
    let mut frame = Frame::new(share_axis("recall (share of clicks)"), y, 360.0);
    if let Some(first) = models.first() {
        frame.line([(0.0, first.run.test.ctr), (1.0, first.run.test.ctr)], "ideal");
    }
    for model in models {
        frame.begin(model.at);
        let points = reached(model).skip(1).map(|(_, recall, precision)| (recall, precision));
        frame.line(points, &format!("line {}", series(model.at)));
        frame.end();
    }
    frame.finish("Precision against recall on the test rows")
}

/// Share of clicks among the rows with the highest scores.
pub(in crate::learn::report) fn gain(models: &[Series<'_>]) -> String {
    let mut frame =
        Frame::new(share_axis("share of rows, highest scores first"), share_axis("share of clicks among them"), 320.0);
    frame.line([(0.0, 0.0), (1.0, 1.0)], "ideal");
    for model in models {
        frame.begin(model.at);
        frame.line(reached(model).map(|(rows, recall, _)| (rows, recall)), &format!("line {}", series(model.at)));
        frame.end();
    }
    frame.finish("Gain: share of clicks among the rows with the highest scores")
}

/// Click rate among the rows with the highest scores over that of all rows.
pub(in crate::learn::report) fn lift(models: &[Series<'_>]) -> String {
    /// Smallest share of rows drawn: fewer are too few for a rate.
    const LEAST: f64 = 0.005;
    let points = |model: &Series<'_>| -> Vec<(f64, f64)> {
        let ctr = model.run.test.ctr;
        reached(model).filter(|(rows, ..)| *rows >= LEAST).map(|(rows, _, precision)| (rows, precision / ctr)).collect()
    };
    let most = models.iter().flat_map(points).map(|(_, lift)| lift).fold(1.0, f64::max);
    let x = Axis {
        label: "share of rows, highest scores first".into(),
        scale: Scale::Log,
        low: LEAST,
        high: 1.0,
        format: percent,
    };
    let y = Axis {
        label: "click rate over that of all rows".into(),
        scale: Scale::Linear,
        low: 0.0,
        high: most * 1.08,
        format: |value| trimmed(value, 1),
    };
    let mut frame = Frame::new(x, y, 320.0);
    frame.line([(LEAST, 1.0), (1.0, 1.0)], "ideal");
    for model in models {
        frame.begin(model.at);
        frame.line(points(model), &format!("line {}", series(model.at)));
        frame.end();
    }
    frame.finish("Lift: click rate among the rows with the highest scores over that of all rows")
}

fn share_axis(label: &str) -> Axis {
    Axis { label: label.into(), scale: Scale::Linear, low: 0.0, high: 1.0, format: |value| trimmed(value, 1) }
}

fn curve(frame: &mut Frame, model: &Series<'_>, place: impl Fn(&RocPoint) -> (f64, f64)) {
    frame.begin(model.at);
    frame.line(model.run.test.roc.iter().map(place), &format!("line {}", series(model.at)));
    frame.end();
}

/// For every point of the ROC curve: share of rows at or above its threshold, recall, precision.
fn reached<'a>(model: &'a Series<'_>) -> impl Iterator<Item = (f64, f64, f64)> + use<'a> {
    let ctr = model.run.test.ctr;
    model.run.test.roc.iter().map(move |point| {
        let clicked = ctr * point.true_positive_rate;
        let rows = clicked + (1.0 - ctr) * point.false_positive_rate;
        (rows, point.true_positive_rate, if rows > 0.0 { clicked / rows } else { 1.0 })
    })
}

/// Scores of one run on the test rows, clicks and other rows as shares of their own, on the log-odds axis.
pub(in crate::learn::report) fn scores(run: &RunRecord) -> Option<String> {
    let bars = &run.test_scores;
    let (clicks, others) = bars.iter().fold((0, 0), |(clicks, others), bar| (clicks + bar.clicks, others + bar.others));
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let highest = bars.iter().map(|bar| share(bar.clicks, clicks).max(share(bar.others, others))).fold(0.0, f64::max);
    let (first, last) = (bars.first()?, bars.last()?);
    let x = Axis {
        label: "predicted click probability".into(),
        scale: Scale::LogOdds,
        low: first.low,
        high: last.high,
        format: percent,
    };
    let y =
        Axis { label: "share of rows".into(), scale: Scale::Linear, low: 0.0, high: highest * 1.08, format: percent };
    let mut frame = Frame::new(x, y, 320.0);
    for (at, count, of) in [(0, false, others), (1, true, clicks)] {
        let value = |bar: &ScoreBar| match count {
            true => share(bar.clicks, of),
            false => share(bar.others, of),
        };
        let steps = bars.iter().flat_map(|bar| [(bar.low, value(bar)), (bar.high, value(bar))]);
        let outline = std::iter::once((first.low, 0.0)).chain(steps).chain([(last.high, 0.0)]);
        frame.begin(at);
        frame.line(outline, &format!("area s{at}"));
        frame.end();
    }
    Some(frame.finish("Scores on the test rows: rows with a click and rows without"))
}
