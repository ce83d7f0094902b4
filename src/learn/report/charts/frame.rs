//! The frame of a chart: numbers → places, axes with ticks and units, and a few shapes, as plain SVG text.
//!
//! Colors are classes (`s0` to `s7`, styled by the page for light and dark), so that a chart carries none of its own. Series
//! beyond the eighth share colors and differ by dashes.

use std::fmt::Write;

/// Width of every chart in its own units; the page scales it.
pub(super) const WIDTH: f64 = 480.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;
/// Colors before dashes begin.
const COLORS: usize = 8;

/// How numbers become places along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; numbers must be above 0.
    Log,
    /// By their log-odds; numbers must be inside (0, 1).
    LogOdds,
    /// Evenly, seconds, with ticks at whole minutes, hours or days.
    Time,
}

/// One axis.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// What it shows, with its unit.
    pub(super) label: String,
    pub(super) scale: Scale,
    pub(super) low: f64,
    pub(super) high: f64,
    /// How its ticks are written.
    pub(super) format: fn(f64) -> String,
}

/// A chart being drawn.
pub(super) struct Frame {
    x: Axis,
    y: Axis,
    height: f64,
    left: f64,
    body: String,
}

impl Axis {
    /// Share of the axis, 0 to 1, at which `value` lies; outside values go to the ends.
    fn share(&self, value: f64) -> f64 {
        let place = |value: f64| match self.scale {
            Scale::Linear | Scale::Time => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).ln(),
            Scale::LogOdds => {
                let p = value.clamp(1e-15, 1.0 - 1e-15);
                (p / (1.0 - p)).ln()
            }
        };
        let (low, high) = (place(self.low), place(self.high));
        let share = if high > low { (place(value) - low) / (high - low) } else { 0.5 };
        share.clamp(0.0, 1.0)
    }

    /// Round numbers inside the axis, about `most` at most.
    fn ticks(&self, most: usize) -> Vec<f64> {
        match self.scale {
            Scale::Linear => linear_ticks(self.low, self.high, most),
            Scale::Log => log_ticks(self.low, self.high, most),
            Scale::LogOdds => log_odds_ticks(self.low, self.high, most),
            Scale::Time => time_ticks(self.low, self.high, most),
        }
    }
}

fn time_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    const MINUTES: [f64; 14] =
        [1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 360.0, 720.0, 1440.0, 2880.0, 10080.0, 20160.0, 40320.0, 131_040.0];
    let within = |step: f64| -> Vec<f64> {
        let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
        (first..=last).take(1000).map(|at| at as f64 * step).collect()
    };
    let few = MINUTES.iter().map(|minutes| within(minutes * 60.0)).find(|ticks| ticks.len() <= most);
    few.filter(|ticks| !ticks.is_empty()).unwrap_or_else(|| linear_ticks(low, high, most))
}

fn linear_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let rough = (high - low) / most as f64;
    if !(rough > 0.0 && rough.is_finite()) {
        return vec![low];
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|at| at as f64 * step).collect()
}

fn log_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let within = |steps: &[f64]| -> Vec<f64> {
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| (low * 0.999..=high * 1.001).contains(tick)).collect()
    };
    let choices = [&[1.0, 2.0, 3.0, 5.0, 7.0][..], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
    let fitting = choices.iter().map(|steps| within(steps)).find(|ticks| ticks.len() <= most);
    fitting.unwrap_or_else(|| within(&[1.0]).into_iter().step_by(2).collect())
}

fn log_odds_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    const FEW: [f64; 9] = [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999];
    const MANY: [f64; 17] =
        [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.997, 0.999, 0.9997, 0.9999];
    let within = |ticks: &[f64]| ticks.iter().copied().filter(|tick| (low..=high).contains(tick)).collect::<Vec<_>>();
    let many = within(&MANY);
    if many.len() <= most + 2 { many } else { within(&FEW) }
}

impl Frame {
    /// A frame with grid, ticks and labels.
    pub(super) fn new(x: Axis, y: Axis, height: f64) -> Frame {
        let mut frame = Frame { x, y, height, left: LEFT, body: String::new() };
        for tick in frame.x.ticks(6) {
            let (at, bottom) = (frame.x_at(tick), frame.bottom());
            let text = (frame.x.format)(tick);
            frame.push(format_args!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom:.1}\"/>"));
            frame.tick_x(at, &text);
        }
        for tick in frame.y.ticks(6) {
            let (at, left, right) = (frame.y_at(tick), frame.left, WIDTH - RIGHT);
            let text = (frame.y.format)(tick);
            frame.push(format_args!("<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>"));
            frame.push(format_args!("<text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{text}</text>", left - 6.0, at + 4.0));
        }
        let middle = (TOP + frame.bottom()) / 2.0;
        let label = escape(&frame.y.label);
        frame.push(format_args!(
            "<text transform=\"translate(13 {middle:.1}) rotate(-90)\" class=\"middle label\">{label}</text>"
        ));
        frame.label_x();
        frame
    }

    /// A frame whose rows are named things: no vertical axis, `left` units for the names.
    pub(super) fn of_rows(x: Axis, left: f64, height: f64) -> Frame {
        let y = Axis { label: String::new(), scale: Scale::Linear, low: 0.0, high: 1.0, format: |_| String::new() };
        let mut frame = Frame { x, y, height, left, body: String::new() };
        for tick in frame.x.ticks(5) {
            let (at, bottom) = (frame.x_at(tick), frame.bottom());
            let text = (frame.x.format)(tick);
            frame.push(format_args!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom:.1}\"/>"));
            frame.tick_x(at, &text);
        }
        frame.label_x();
        frame
    }

    /// The number under a tick; one at the right end stays inside.
    fn tick_x(&mut self, at: f64, text: &str) {
        let y = self.bottom() + 16.0;
        let half = 3.6 * text.chars().count() as f64;
        match at + half > WIDTH {
            true => self.push(format_args!("<text x=\"{WIDTH}\" y=\"{y:.1}\" class=\"end\">{text}</text>")),
            false => self.push(format_args!("<text x=\"{at:.1}\" y=\"{y:.1}\" class=\"middle\">{text}</text>")),
        }
    }

    fn label_x(&mut self) {
        let (middle, bottom, label) = ((self.left + WIDTH - RIGHT) / 2.0, self.height - 6.0, escape(&self.x.label));
        self.push(format_args!("<text x=\"{middle:.1}\" y=\"{bottom:.1}\" class=\"middle label\">{label}</text>"));
    }

    /// Where a number lies from the left.
    pub(super) fn x_at(&self, value: f64) -> f64 {
        self.left + self.x.share(value) * (WIDTH - RIGHT - self.left)
    }

    /// Where a number lies from the top.
    pub(super) fn y_at(&self, value: f64) -> f64 {
        self.bottom() - self.y.share(value) * (self.bottom() - TOP)
    }

    /// Lower end of the plot.
    pub(super) fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// Upper end of the plot.
    pub(super) fn top(&self) -> f64 {
        TOP
    }

    /// Adds SVG text.
    pub(super) fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.body.write_fmt(text).expect("writing to a string cannot fail");
        self.body.push('\n');
    }

    /// What follows up to [`Frame::end`] belongs to a series, by its number, and is shown and hidden with it.
    pub(super) fn begin(&mut self, series: usize) {
        self.push(format_args!("<g data-s=\"{series}\">"));
    }

    /// Ends what [`Frame::begin`] began.
    pub(super) fn end(&mut self) {
        self.push(format_args!("</g>"));
    }

    /// A line through points given as numbers.
    pub(super) fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, class: &str) {
        let mut path = String::new();
        for (at, (x, y)) in points.into_iter().enumerate() {
            let letter = if at == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", self.x_at(x), self.y_at(y));
        }
        if !path.is_empty() {
            self.push(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }

    /// A dot at a pair of numbers, with a text shown on hover.
    pub(super) fn dot(&mut self, x: f64, y: f64, class: &str, hover: &str) {
        let (x, y, hover) = (self.x_at(x), self.y_at(y), escape(hover));
        self.push(format_args!(
            "<circle class=\"{class} pt\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{hover}</title></circle>"
        ));
    }

    /// The finished chart; `description` is read to those who cannot see it.
    pub(super) fn finish(self, description: &str) -> String {
        let (height, description) = (self.height, escape(description));
        format!(
            "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{description}\">\n{}</svg>",
            self.body
        )
    }
}

/// Class of a series' color, with dashes from the ninth on.
pub(super) fn series(at: usize) -> String {
    match at / COLORS {
        0 => format!("s{at}"),
        _ => format!("s{} dashed", at % COLORS),
    }
}

/// Text that may stand in markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A share as a percentage, with as many digits as it needs.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent {
        p if p >= 10.0 => 0,
        p if p >= 1.0 => 1,
        p if p >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{percent:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(linear_ticks(0.0, 1.0, 6).len(), 6);
        assert_eq!(linear_ticks(0.4431, 0.4479, 6), [0.444, 0.445, 0.446, 0.447]);
        assert_eq!(linear_ticks(1.0, 1.0, 6), [1.0]);
        let near =
            |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a / b - 1.0).abs() < 1e-9);
        assert!(near(&log_ticks(0.01, 1.0, 8), &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]));
        assert!(near(&log_ticks(0.012, 0.03, 6), &[0.02, 0.03]));
        assert!(log_ticks(1e-9, 1.0, 6).len() <= 6);
        let hours = [1_700_002_800.0, 1_700_006_400.0, 1_700_010_000.0];
        assert_eq!(time_ticks(1_700_000_000.0, 1_700_010_000.0, 4), hours);
        assert_eq!(log_odds_ticks(0.02, 0.95, 6), [0.03, 0.1, 0.25, 0.5, 0.75, 0.9]);
        assert_eq!(log_odds_ticks(0.0001, 0.9, 6), [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9]);
    }

    #[test]
    fn places_stay_inside_the_frame() {
        let axis = |scale| Axis { label: "x".into(), scale, low: 0.01, high: 1.0, format: percent };
        let odds = Axis { low: 0.1, high: 0.9, ..axis(Scale::LogOdds) };
        assert!((odds.share(0.5) - 0.5).abs() < 1e-9 && odds.share(1.0) == 1.0);
        let frame = Frame::new(axis(Scale::Log), axis(Scale::Linear), 300.0);
        for value in [0.0, 1e-300, 0.01, 0.3, 1.0, 1e9] {
            assert!((LEFT..=WIDTH - RIGHT).contains(&frame.x_at(value)) && (TOP..=300.0).contains(&frame.y_at(value)));
        }
        assert!((frame.x_at(0.1) - (LEFT + WIDTH - RIGHT) / 2.0).abs() < 1e-9, "half of two decades");
        let svg = frame.finish("a <picture>");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>") && svg.contains("a &lt;picture&gt;"));
    }

    #[test]
    fn percentages_are_short() {
        assert_eq!(
            [0.5, 0.01, 0.025, 0.002, 0.0005, 0.0].map(percent),
            ["50 %", "1 %", "2.5 %", "0.2 %", "0.05 %", "0 %"]
        );
        assert_eq!((series(1), series(9)), ("s1".to_owned(), "s1 dashed".to_owned()));
    }
}
