//! The difference of two models and its interval → what may be said about them.
//!
//! The interval covers the choice of test rows and, where a model has several seeds, that of seeds; it holds together with those
//! of all other pairs ([`crate::metrics::differences`]).
//!
//! How much more would show a difference `d` as large as the one seen, at a power of 80 %: the squared standard error must come
//! down to `(d / (reach + 0.84))²`. More rows lower its part from rows, more seeds that from seeds. If rows can do it alone, rows
//! are asked for; if not, each part has to come down to a half of it. More seeds also know their own noise better, so that the
//! interval of few seeds, which reaches far, is no measure of how many are needed: there `reach` is that of many.

use serde::{Deserialize, Serialize};

use super::summary::ModelSummary;
use crate::metrics::bootstrap::Interval;
use crate::metrics::differences::Difference;
use crate::metrics::resampled::Metric;

/// What may be said about two models, of which A has the better metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The interval leaves zero out.
    Better,
    /// The interval holds zero, and the difference seen is below the margin that matters.
    NotDistinguishable,
    /// The interval holds zero, but a difference as large as the one seen would matter.
    NeedsMore {
        /// About how many more test rows would show it, at a power of 80 %.
        more_rows: u64,
        /// About how many more seeds of each model, where rows alone cannot.
        more_seeds: u64,
    },
}

/// A model against another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// What is compared.
    pub metric: Metric,
    /// The one with the better metric.
    pub better: String,
    /// The other one.
    pub worse: String,
    /// By how much the metric of `better` is better; its estimate is not negative.
    pub difference: Interval,
    /// Adjusted for all pairs of the comparison.
    pub p_value: f64,
    /// Standard error from the choice of test rows.
    pub rows_error: f64,
    /// Standard error from the choice of seeds.
    pub seeds_error: f64,
    /// Those of the two with one seed, whose noise the interval does not cover.
    pub one_seed: Vec<String>,
    /// What may be said.
    pub verdict: Verdict,
}

/// What decides a verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// What is compared.
    pub metric: Metric,
    /// Smallest difference that matters, in its unit.
    pub margin: f64,
    /// Test rows.
    pub rows: u64,
}

/// Most rows or seeds a verdict asks for: beyond, no number is given.
const MOST_ROWS: f64 = 1e12;
const MOST_SEEDS: f64 = 1e4;
/// Quantile of the normal distribution that a power of 80 % asks for.
const POWER_80: f64 = 0.841_621;

impl Judge {
    /// Judges two models by `difference`, the metric of `a` minus that of `b`.
    pub fn pair(&self, a: &ModelSummary, b: &ModelSummary, difference: Difference) -> Pair {
        let seeds = a.seeds.len().max(b.seeds.len());
        let one_seed = [a, b].into_iter().filter(|model| model.seed_noise_unknown()).map(|model| model.name.clone());
        self.named_pair(&a.name, &b.name, difference, seeds, one_seed.collect())
    }

    fn named_pair(&self, a: &str, b: &str, difference: Difference, seeds: usize, one_seed: Vec<String>) -> Pair {
        // How much better A is than B; turned round where that is below zero.
        let a_less_b = if self.metric.more_is_better() { difference.interval } else { mirrored(difference.interval) };
        let (better, worse, interval) = match a_less_b.estimate < 0.0 {
            true => (b, a, mirrored(a_less_b)),
            false => (a, b, a_less_b),
        };
        Pair {
            metric: self.metric,
            better: better.into(),
            worse: worse.into(),
            difference: interval,
            p_value: difference.p_value,
            rows_error: difference.rows_error,
            seeds_error: difference.seeds_error,
            one_seed,
            verdict: self.verdict(interval, &difference, seeds),
        }
    }

    fn verdict(&self, interval: Interval, difference: &Difference, seeds: usize) -> Verdict {
        if interval.low > 0.0 {
            return Verdict::Better;
        }
        if interval.estimate < self.margin || interval.estimate <= 0.0 {
            return Verdict::NotDistinguishable;
        }
        let (of_rows, of_seeds) = (difference.rows_error.powi(2), difference.seeds_error.powi(2));
        let needed = |reach: f64| (interval.estimate / (reach + POWER_80)).powi(2);
        let (rows, seeds) = (self.rows as f64, seeds as f64);
        let now = needed(difference.reach);
        let (more_rows, more_seeds) = match of_seeds <= 0.5 * now {
            true => (rows * (of_rows / (now - of_seeds) - 1.0), 0.0),
            false => {
                let half = 0.5 * needed(difference.least_reach);
                // One at least, where only their small number makes the interval wide.
                (rows * (of_rows / half - 1.0), (seeds * (of_seeds / half - 1.0)).max(1.0))
            }
        };
        match more_rows < MOST_ROWS && more_seeds < MOST_SEEDS {
            true => Verdict::NeedsMore {
                more_rows: two_digits(more_rows.max(if more_seeds > 0.0 { 0.0 } else { 1.0 })),
                more_seeds: more_seeds.ceil() as u64,
            },
            false => Verdict::NotDistinguishable,
        }
    }
}

impl Pair {
    /// The verdict as a sentence.
    pub fn sentence(&self) -> String {
        let Pair { better, worse, difference: Interval { estimate, low, high, .. }, .. } = self;
        let unit = if self.metric == Metric::LogLoss { "nats of log loss" } else { self.metric.name() };
        let numbers = format!("{estimate:.5} {unit} [{low:.5}, {high:.5}]");
        let verdict = match &self.verdict {
            Verdict::Better => format!("{better} is better than {worse} by {numbers}."),
            Verdict::NotDistinguishable => {
                format!("{better} and {worse} are not distinguishable: the difference is {numbers}.")
            }
            Verdict::NeedsMore { more_rows, more_seeds } => format!(
                "{better} and {worse} are not distinguishable on these rows: the difference is {numbers}; about {} are needed \
                 to tell them apart.",
                needs(*more_rows, *more_seeds)
            ),
        };
        match self.one_seed.as_slice() {
            [] => verdict,
            [one] => format!("{verdict} This covers the choice of test rows, not that of seeds: {one} has only one."),
            _ => format!("{verdict} This covers the choice of test rows, not that of seeds: each has only one."),
        }
    }
}

/// `12,000 more test rows and 3 more seeds of each`.
pub fn needs(more_rows: u64, more_seeds: u64) -> String {
    let seeds = format!("{} more {} of each", thousands(more_seeds), if more_seeds == 1 { "seed" } else { "seeds" });
    let rows = format!("{} more test rows", thousands(more_rows));
    match (more_rows, more_seeds) {
        (_, 0) => rows,
        (0, _) => seeds,
        _ => format!("{rows} and {seeds}"),
    }
}

/// The interval of the difference the other way round.
fn mirrored(interval: Interval) -> Interval {
    let Interval { estimate, low, high, blocks } = interval;
    Interval { estimate: -estimate, low: -high, high: -low, blocks }
}

/// Rounded up to two digits: a number of rows is an estimate and should look like one.
fn two_digits(rows: f64) -> u64 {
    if rows <= 0.0 {
        return 0;
    }
    let scale = 10_f64.powf((rows.log10().floor() - 1.0).max(0.0));
    ((rows / scale).ceil() * scale) as u64
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: f64 = 1.959_964;

    fn judged(estimate: f64, rows_error: f64, seeds_error: f64) -> Pair {
        judged_within(NORMAL, estimate, rows_error, seeds_error)
    }

    fn judged_within(reach: f64, estimate: f64, rows_error: f64, seeds_error: f64) -> Pair {
        let half = reach * rows_error.hypot(seeds_error);
        let interval = Interval { estimate: -estimate, low: -estimate - half, high: -estimate + half, blocks: 100 };
        let difference = Difference { interval, p_value: 0.5, rows_error, seeds_error, reach, least_reach: NORMAL };
        Judge { metric: Metric::LogLoss, margin: 0.0005, rows: 10_000 }.named_pair(
            "dcn",
            "lr",
            difference,
            4,
            Vec::new(),
        )
    }

    #[test]
    fn three_verdicts() {
        assert_eq!(judged(0.002, 0.0005, 0.0).verdict, Verdict::Better);
        assert_eq!(judged(0.0001, 0.0005, 0.0).verdict, Verdict::NotDistinguishable);
        assert_eq!(judged(0.0, 0.0, 0.0).verdict, Verdict::NotDistinguishable, "the same predictions");
        // A standard error of 0.001 and a difference of 0.001: (1.96 + 0.84)² = 7.85 times the rows.
        assert_eq!(judged(0.001, 0.001, 0.0).verdict, Verdict::NeedsMore { more_rows: 69_000, more_seeds: 0 });
    }

    #[test]
    fn rows_do_not_help_against_the_noise_of_seeds() {
        // The squared error has to come down to (0.001 / 2.8016)² = 1.274e-7, of which seeds take 0.25e-7.
        let Verdict::NeedsMore { more_rows, more_seeds } = judged(0.001, 0.001, 0.000_158).verdict else { panic!() };
        assert_eq!((more_rows, more_seeds), (88_000, 0));
        // All of it from seeds: 4 (1e-6 / 0.637e-7 − 1) more.
        let Verdict::NeedsMore { more_rows, more_seeds } = judged(0.001, 0.0001, 0.001).verdict else { panic!() };
        assert_eq!((more_rows, more_seeds), (0, 59));
        let both = judged(0.001, 0.001, 0.001);
        assert_eq!(both.verdict, Verdict::NeedsMore { more_rows: 150_000, more_seeds: 59 });
        assert!(
            both.sentence().contains("about 150,000 more test rows and 59 more seeds of each"),
            "{}",
            both.sentence()
        );
        assert_eq!((needs(0, 1), needs(20, 0)), ("1 more seed of each".to_owned(), "20 more test rows".to_owned()));
    }

    #[test]
    fn few_seeds_reach_far_and_do_not_ask_for_as_many_more() {
        // 4 (2.5e-7 / 0.637e-7 − 1) more, as if there were many; 8 standard errors would ask for 153.
        let Verdict::NeedsMore { more_rows, more_seeds } = judged_within(8.0, 0.001, 0.0001, 0.0005).verdict else {
            panic!()
        };
        assert_eq!((more_rows, more_seeds), (0, 12));
        // What many seeds of this noise would show needs one more at least.
        let Verdict::NeedsMore { more_seeds, .. } = judged_within(8.0, 0.001, 0.0001, 0.0002).verdict else { panic!() };
        assert_eq!(more_seeds, 1);
    }

    #[test]
    fn sentences_name_both_and_the_interval() {
        let mut pair = judged(0.002, 0.0005, 0.0);
        assert_eq!(pair.sentence(), "dcn is better than lr by 0.00200 nats of log loss [0.00102, 0.00298].");
        pair.one_seed = vec!["dcn".into()];
        assert!(pair.sentence().ends_with("not that of seeds: dcn has only one."), "{}", pair.sentence());
        let pair = judged(-0.001, 0.001, 0.0);
        assert_eq!((pair.better.as_str(), pair.difference.estimate), ("lr", 0.001));
        assert!(pair.sentence().contains("about 69,000 more test rows"), "{}", pair.sentence());
    }

    #[test]
    fn more_auc_is_better() {
        let interval = Interval { estimate: 0.01, low: 0.005, high: 0.015, blocks: 100 };
        let difference = Difference {
            interval,
            p_value: 0.001,
            rows_error: 0.0025,
            seeds_error: 0.0,
            reach: 1.96,
            least_reach: 1.96,
        };
        let judge = Judge { metric: Metric::Auc, margin: 0.001, rows: 10_000 };
        let pair = judge.named_pair("dcn", "lr", difference, 1, Vec::new());
        assert_eq!(pair.sentence(), "dcn is better than lr by 0.01000 AUC [0.00500, 0.01500].");
    }

    #[test]
    fn numbers_look_like_estimates() {
        assert_eq!((two_digits(68_400.0), two_digits(7.2), two_digits(101.0)), (69_000, 8, 110));
        assert_eq!((two_digits(0.0), two_digits(-3.0), two_digits(0.3)), (0, 0, 1));
        assert_eq!((thousands(1_234_567), thousands(12)), ("1,234,567".to_owned(), "12".to_owned()));
    }
}
