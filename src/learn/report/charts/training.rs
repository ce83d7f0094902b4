//! Curves of training → a picture.

use super::frame::{Axis, Frame, Scale, series};
use super::{Series, counted, trimmed};
use crate::learn::experiment::kind::Kind;
use crate::learn::experiment::record::RunRecord;
use crate::learn::trainer::CurvePoint;
use crate::model::bundle::ModelKind;

/// Progressive log loss (line) and validation log loss (dots) along training. `None` when no model has a curve.
pub(in crate::learn::report) fn training(models: &[Series<'_>]) -> Option<String> {
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
    let x =
        Axis { label: "rows learned from".into(), scale: Scale::Linear, low: 0.0, high: rows as f64, format: counted };
    let y = Axis {
        label: "log loss, nats".into(),
        scale: Scale::Linear,
        low: low - margin,
        high: high + margin,
        format: |value| trimmed(value, 4),
    };
    let mut frame = Frame::new(x, y, 320.0);
    for (model, curve) in &learners {
        let color = series(model.at);
        frame.begin(model.at);
        frame.line(curve.iter().map(|point| (point.rows as f64, point.progressive_log_loss)), &format!("line {color}"));
        for point in &model.run.training.curve {
            if let Some(loss) = point.valid_log_loss {
                let hover = format!("{}: validation log loss {loss:.5} after {} rows", model.name, point.rows);
                frame.dot(point.rows as f64, loss, &format!("fill {color}"), &hover);
            }
        }
        frame.end();
    }
    Some(frame.finish("Training curves: progressive log loss as lines, validation log loss as dots"))
}

/// Whether a run has a training curve worth drawing.
pub(in crate::learn::report) fn learns(run: &RunRecord) -> bool {
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
