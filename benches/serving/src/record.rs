//! Figures → a table on standard output, and lines of a record that is kept.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::driver::Outcome;

/// One line of the record. What does not apply is empty.
#[derive(Debug, Clone, Default)]
pub struct Figure {
    pub scenario: &'static str,
    pub model: String,
    pub candidates: usize,
    pub what: String,
    /// Requests a second that were asked for; none in a closed loop.
    pub asked_rate: Option<f64>,
    pub answered: u64,
    pub rate: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
    pub max_us: Option<f64>,
    pub value: Option<f64>,
}

/// All figures of a run.
#[derive(Default)]
pub struct Record {
    figures: Vec<Figure>,
}

const HEADER: &str =
    "scenario,model,candidates,what,asked_per_second,answered,per_second,p50_us,p99_us,p999_us,max_us,value";

impl Figure {
    /// Of the answers with `status`.
    pub fn of(
        scenario: &'static str,
        model: &str,
        candidates: usize,
        what: &str,
        outcome: &Outcome,
        status: u16,
    ) -> Figure {
        let micros = |quantile| Some(outcome.micros(status, quantile));
        Figure {
            scenario,
            model: model.to_owned(),
            candidates,
            what: what.to_owned(),
            answered: outcome.count(status),
            rate: Some(outcome.rate(status)),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            max_us: micros(1.0),
            ..Figure::default()
        }
    }

    /// A ratio or a count.
    pub fn value(scenario: &'static str, model: &str, candidates: usize, what: &str, value: f64) -> Figure {
        let (model, what) = (model.to_owned(), what.to_owned());
        Figure { scenario, model, candidates, what, value: Some(value), ..Figure::default() }
    }
}

impl Record {
    /// Shows a figure and keeps it.
    pub fn add(&mut self, figure: Figure) {
        let Figure { scenario, model, candidates, what, .. } = &figure;
        let number = |name: &str, value: Option<f64>, unit: &str| {
            value.map_or(String::new(), |value| format!("  {name}{}{unit}", short(value)))
        };
        println!(
            "{scenario:<10} {model:<4} {candidates:>4}  {what:<44}{}{}{}{}{}{}",
            number("", figure.rate, "/s"),
            number("p50 ", figure.p50_us, " µs"),
            number("p99 ", figure.p99_us, " µs"),
            number("p99.9 ", figure.p999_us, " µs"),
            number("max ", figure.max_us, " µs"),
            number("", figure.value, ""),
        );
        self.figures.push(figure);
    }

    /// Writes all figures to `folder/<date>-serving.csv`, in place of those of the same scenarios there.
    pub fn write(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let date = jiff::Timestamp::now().to_string();
        let path = folder.join(format!("{}-serving.csv", &date[..10]));
        let before = fs::read_to_string(&path).unwrap_or_default();
        let again = |line: &&str| self.figures.iter().any(|figure| line.split(',').next() == Some(figure.scenario));
        let mut text = format!("{HEADER}\n");
        before.lines().skip(1).filter(|line| !again(line)).for_each(|line| text += &format!("{line}\n"));
        for figure in &self.figures {
            let Figure { scenario, model, candidates, what, answered, .. } = figure;
            let number = |value: Option<f64>| value.map_or(String::new(), short);
            let numbers =
                [figure.rate, figure.p50_us, figure.p99_us, figure.p999_us, figure.max_us, figure.value].map(number);
            let asked = number(figure.asked_rate);
            text += &format!("{scenario},{model},{candidates},{what},{asked},{answered},{}\n", numbers.join(","));
        }
        fs::create_dir_all(folder)?;
        Ok(fs::write(path, text)?)
    }
}

/// Four digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
