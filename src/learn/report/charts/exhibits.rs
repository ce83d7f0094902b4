//! A drawing of an exhibit → SVG text.

use super::frame::{Axis, Frame, Scale, escape, series};
use super::{counted, shortened, trimmed};
use crate::learn::report::exhibit::{Drawing, DrawnPoint, Extent, Form, Place};

/// Draws it; `None` when it has no points.
pub(in crate::learn::report) fn drawing(drawing: &Drawing) -> Option<String> {
    match drawing.form {
        Form::Bars => bars(drawing),
        Form::Lines | Form::Dots => points(drawing),
    }
}

fn bars(drawing: &Drawing) -> Option<String> {
    const ROW: f64 = 20.0;
    let name = |point: &DrawnPoint| match &point.x {
        Place::Category(name) => name.clone(),
        Place::Number(number) => trimmed(*number, 4),
    };
    let mut names: Vec<String> = Vec::new();
    for point in drawing.series.iter().flat_map(|series| &series.points) {
        if !names.contains(&name(point)) {
            names.push(name(point));
        }
    }
    let numbers = drawing.series.iter().flat_map(|series| &series.points);
    let numbers = numbers.flat_map(|point| [Some(point.y), point.low, point.high]).flatten();
    let axis = axis(&drawing.x, numbers, true)?;
    let height = ROW * names.len() as f64 * drawing.series.len().max(1) as f64;
    let mut frame = Frame::of_rows(axis, 160.0, height + 60.0);
    let (top, bottom) = (frame.top(), frame.bottom());
    if !drawing.x.log {
        let zero = frame.x_at(0.0);
        frame.push(format_args!("<path class=\"zero\" d=\"M{zero:.1} {top}V{bottom:.1}\"/>"));
    }
    let of_name = ROW * drawing.series.len() as f64;
    for (at, name) in names.iter().enumerate() {
        let y = top + of_name * (at as f64 + 0.5) + 4.0;
        let name = escape(&shortened(name, 20));
        frame.push(format_args!("<text x=\"154\" y=\"{y:.1}\" class=\"end\">{name}</text>"));
    }
    for (number, of_series) in drawing.series.iter().enumerate() {
        let color = series(number);
        frame.begin(number);
        for point in &of_series.points {
            let at = names.iter().position(|known| *known == name(point)).expect("every name was gathered");
            let y = top + of_name * at as f64 + ROW * (number as f64 + 0.5);
            if let (Some(low), Some(high)) = (point.low, point.high) {
                let (from, to) = (frame.x_at(low), frame.x_at(high));
                frame.push(format_args!("<path class=\"bar {color}\" d=\"M{from:.1} {y:.1}H{to:.1}\"/>"));
            }
            let (x, hover) = (frame.x_at(point.y), escape(&hover(&of_series.name, &name(point), point)));
            frame.push(format_args!(
                "<circle class=\"fill {color} pt\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{hover}</title></circle>"
            ));
        }
        frame.end();
    }
    Some(frame.finish(&drawing.title))
}

fn points(drawing: &Drawing) -> Option<String> {
    let place = |point: &DrawnPoint| match point.x {
        Place::Number(number) => Some(number),
        Place::Category(_) => None,
    };
    let all = || drawing.series.iter().flat_map(|series| &series.points);
    let x = axis(&drawing.x, all().filter_map(place), false)?;
    let y = axis(&drawing.y, all().flat_map(|point| [Some(point.y), point.low, point.high]).flatten(), false)?;
    let mut frame = Frame::new(x, y, 320.0);
    for (number, of_series) in drawing.series.iter().enumerate() {
        let color = series(number);
        let points: Vec<(f64, &DrawnPoint)> =
            of_series.points.iter().filter_map(|point| place(point).map(|x| (x, point))).collect();
        frame.begin(number);
        for (x, point) in &points {
            if let (Some(low), Some(high)) = (point.low, point.high) {
                frame.line([(*x, low), (*x, high)], &format!("whisker {color}"));
            }
        }
        if drawing.form == Form::Lines {
            frame.line(points.iter().map(|(x, point)| (*x, point.y)), &format!("line {color}"));
        }
        for (x, point) in points {
            frame.dot(x, point.y, &format!("fill {color}"), &hover(&of_series.name, &trimmed(x, 4), point));
        }
        frame.end();
    }
    Some(frame.finish(&drawing.title))
}

/// An axis that holds these numbers, with zero where it is `from_zero`.
fn axis(extent: &Extent, numbers: impl Iterator<Item = f64>, from_zero: bool) -> Option<Axis> {
    let usable = numbers.filter(|number| number.is_finite() && (!extent.log || *number > 0.0));
    let (low, high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| {
        (f64::min(low, number), f64::max(high, number))
    });
    if low > high {
        return None;
    }
    let (low, high) = match (extent.log, from_zero) {
        (true, _) => (low / 1.2, high * 1.2),
        (false, true) => (low.min(0.0), high.max(0.0)),
        (false, false) => (low, high),
    };
    let margin = if extent.log { 0.0 } else { (0.06 * (high - low)).max(1e-9) };
    let scale = if extent.log { Scale::Log } else { Scale::Linear };
    let large = high.abs().max(low.abs()) >= 1000.0;
    let format = if large { counted } else { |value: f64| trimmed(value, 5) };
    Some(Axis { label: extent.label.clone(), scale, low: low - margin, high: high + margin, format })
}

fn hover(series: &str, x: &str, point: &DrawnPoint) -> String {
    let interval = match (point.low, point.high) {
        (Some(low), Some(high)) => format!(" [{}, {}]", trimmed(low, 5), trimmed(high, 5)),
        _ => String::new(),
    };
    format!("{series}, {x}: {}{interval}", trimmed(point.y, 5))
}
