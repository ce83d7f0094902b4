//! Typed ranges → points drawn at random → with successive halving, the few that are worth all rows.
//!
//! Random search (Bergstra and Bengio 2012, "Random search for hyper-parameter optimization") draws each setting from its own
//! range. Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
//! optimization") spends little on most of them: all points learn from a small share of the training rows (the latest ones,
//! which are most like those to come) or in few passes, the best of each `keep_one_of` go on with that many times more, and
//! only the last few learn from everything. All losses are of validation rows; test rows are not even predicted below the full
//! budget.

use indexmap::IndexMap;
use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::grid::MOST_POINTS;
use crate::error::{Error, Result};

/// How points come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Every combination of lists of values, each with everything.
    Grid,
    /// Drawn from ranges, each with everything.
    Random,
    /// Drawn from ranges, most with little.
    Halving,
}

/// What successive halving is thrifty with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// The latest share of the training rows.
    #[default]
    Rows,
    /// Passes over all training rows.
    Passes,
}

/// `[models.search]`: ranges of settings, and how they are searched.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// `random` or `halving`.
    pub strategy: Strategy,
    /// Points drawn, 2 to [`MOST_POINTS`]; equal ones count once.
    pub trials: usize,
    /// Seed of the draws.
    #[serde(default = "one")]
    pub seed: u64,
    /// Halving: what is given out little by little.
    #[serde(default)]
    pub by: Resource,
    /// Halving: one of this many points goes on, 2 to 10.
    #[serde(default = "three")]
    pub keep_one_of: usize,
    /// Halving: least share of rows or passes, above 0, below 1.
    #[serde(default = "a_hundredth")]
    pub least_share: f64,
    /// What is drawn, by setting.
    pub space: IndexMap<String, Range>,
}

/// What a setting is drawn from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// A number between two, all equally likely.
    Uniform([f64; 2]),
    /// A number between two above 0, all orders of magnitude equally likely.
    LogUniform([f64; 2]),
    /// A whole number between two, both included.
    Int([i64; 2]),
    /// One of these.
    Choice(Vec<Value>),
}

/// Successive halving, planned for a number of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Halving {
    /// What is given out little by little.
    pub by: Resource,
    /// Least first; the last one has everything.
    pub rungs: Vec<Rung>,
}

/// Points that are tried with the same share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// Share of the training rows or passes, above 0 up to 1.
    pub share: f64,
    /// Points tried.
    pub points: usize,
}

/// `search/NAME.json`: every point that was tried for a model, and why one was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchRecord {
    /// Name of the model.
    pub model: String,
    /// How points came about.
    pub strategy: Strategy,
    /// Settings that differ between points.
    pub keys: Vec<String>,
    /// What halving was thrifty with; `None` where every point had everything.
    pub by: Option<Resource>,
    /// Least first; the last one had everything.
    pub rungs: Vec<RungRecord>,
    /// Number of the chosen point, from 0.
    pub chosen: usize,
}

/// Points tried with one share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RungRecord {
    /// Share of the training rows or passes.
    pub share: f64,
    /// Best first.
    pub trials: Vec<TrialSummary>,
}

/// One point on one rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialSummary {
    /// Number of the point, from 0.
    pub point: usize,
    /// Its values, as `alpha = 0.1, l1 = 1.0`.
    pub values: String,
    /// Mean validation log loss over the trial seeds, nats; `None` where it was no number.
    pub valid_log_loss: Option<f64>,
    /// Whether it went on to the next rung; on the last one, whether it was chosen.
    pub kept: bool,
}

fn one() -> u64 {
    1
}

fn three() -> usize {
    3
}

fn a_hundredth() -> f64 {
    0.01
}

impl SearchConfig {
    /// Draws the points, each with the fixed `params` around it. `place` is named in errors.
    ///
    /// # Errors
    /// Config when a range is empty or contradictory, or a key is also fixed.
    pub fn draw(&self, params: &Table, place: &str) -> Result<Vec<Table>> {
        self.check(params, place)?;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let mut points: Vec<Table> = Vec::new();
        // A space of few values is exhausted before that many draws.
        const DRAWS_A_POINT: usize = 20;
        for _ in 0..self.trials * DRAWS_A_POINT {
            let mut point = params.clone();
            for (key, range) in &self.space {
                point.insert(key.clone(), range.draw(&mut random));
            }
            if !points.contains(&point) {
                points.push(point);
            }
            if points.len() == self.trials {
                break;
            }
        }
        Ok(points)
    }

    /// Rungs for `points` points; `None` when every point gets everything.
    pub fn halving(&self, points: usize) -> Option<Halving> {
        if self.strategy != Strategy::Halving {
            return None;
        }
        let keep = self.keep_one_of;
        // Each rung has `keep` times the share of the one before it and a `keep`th of its points, the last one everything.
        let mut share = 1.0;
        let mut left = points;
        while left > 1 && share / keep as f64 >= self.least_share {
            left = left.div_ceil(keep);
            share /= keep as f64;
        }
        let mut rungs = Vec::new();
        let mut tried = points;
        while share < 1.0 - 1e-9 {
            rungs.push(Rung { share, points: tried });
            tried = tried.div_ceil(keep);
            share *= keep as f64;
        }
        rungs.push(Rung { share: 1.0, points: tried });
        Some(Halving { by: self.by, rungs })
    }

    fn check(&self, params: &Table, place: &str) -> Result<()> {
        let wrong = |key: &str, message: String| Err(Error::config(place, format!("search.{key}"), message));
        if self.strategy == Strategy::Grid {
            return wrong(
                "strategy",
                "expected random or halving; a grid is written as grid = { key = [values] }".into(),
            );
        }
        if !(2..=MOST_POINTS).contains(&self.trials) {
            return wrong("trials", format!("expected 2 to {MOST_POINTS}, got {}", self.trials));
        }
        if !(2..=10).contains(&self.keep_one_of) {
            return wrong("keep_one_of", format!("expected 2 to 10, got {}", self.keep_one_of));
        }
        if !(self.least_share > 0.0 && self.least_share < 1.0) {
            return wrong("least_share", format!("expected a share above 0 and below 1, got {}", self.least_share));
        }
        if self.space.is_empty() {
            return wrong("space", "expected at least one setting with its range, got none".into());
        }
        for (key, range) in &self.space {
            let name = format!("space.{key}");
            if params.contains_key(key) {
                return wrong(&name, "the key stands in params too: leave it in one of them".into());
            }
            if let Err(message) = range.check() {
                return wrong(&name, message);
            }
        }
        Ok(())
    }
}

impl Range {
    fn check(&self) -> Result<(), String> {
        match self {
            Range::Uniform([low, high]) if !(low < high && low.is_finite() && high.is_finite()) => {
                Err(format!("uniform: expected a lower and a higher number, got [{low}, {high}]"))
            }
            Range::LogUniform([low, high]) if !(*low > 0.0 && low < high && high.is_finite()) => {
                Err(format!("log_uniform: expected two numbers above 0, the lower one first, got [{low}, {high}]"))
            }
            Range::Int([low, high]) if low >= high || high.checked_sub(*low).is_none() => {
                Err(format!("int: expected a lower and a higher whole number, got [{low}, {high}]"))
            }
            Range::Choice(values) if values.is_empty() => Err("choice: expected at least one value, got none".into()),
            _ => Ok(()),
        }
    }

    fn draw(&self, random: &mut Xoshiro256PlusPlus) -> Value {
        let draw = random.next_u64();
        let unit = (draw >> 11) as f64 / (1_u64 << 53) as f64;
        match self {
            Range::Uniform([low, high]) => Value::Float(four_digits(low + unit * (high - low)).clamp(*low, *high)),
            Range::LogUniform([low, high]) => {
                Value::Float(four_digits((low.ln() + unit * (high.ln() - low.ln())).exp()).clamp(*low, *high))
            }
            Range::Int([low, high]) => Value::Integer(low + (unit * (high - low + 1) as f64) as i64),
            Range::Choice(values) => values[(unit * values.len() as f64) as usize].clone(),
        }
    }
}

/// Four significant digits: nothing depends on more, tables stay readable, and the last bits of a logarithm do not matter.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<SearchConfig> {
        crate::config::from_toml(text, "r.toml")
    }

    const SPACE: &str = "[space]\nalpha = { log_uniform = [0.001, 1] }\nl1 = { uniform = [0, 2] }\n\
                         passes = { int = [1, 3] }\ncrosses = { choice = [\"schema\", \"none\"] }\n";

    #[test]
    fn points_are_drawn_from_their_ranges_by_seed() {
        let text = format!("strategy = \"random\"\ntrials = 400\n{SPACE}");
        let params: Table = "bits = 18".parse().unwrap();
        let points = config(&text).unwrap().draw(&params, "m").unwrap();
        assert_eq!((points.len(), points.clone()), (400, config(&text).unwrap().draw(&params, "m").unwrap()));
        let floats = |key: &str| points.iter().map(|point| point[key].as_float().unwrap()).collect::<Vec<f64>>();
        let (alpha, l1) = (floats("alpha"), floats("l1"));
        assert!(
            alpha.iter().all(|alpha| (0.001..=1.0).contains(alpha)) && l1.iter().all(|l1| (0.0..=2.0).contains(l1))
        );
        // A third of the draws a decade; their middle is the middle of the orders of magnitude.
        let below = alpha.iter().filter(|alpha| **alpha < 0.01).count();
        assert!((100..170).contains(&below), "{below}");
        for passes in 1..=3 {
            let count = points.iter().filter(|point| point["passes"].as_integer() == Some(passes)).count();
            assert!((100..170).contains(&count), "{passes}: {count}");
        }
        assert!(points.iter().all(|point| point["bits"].as_integer() == Some(18)));
        let other = config(&text.replace("trials", "seed = 2\ntrials")).unwrap().draw(&params, "m").unwrap();
        assert_ne!(other[0], points[0]);
    }

    #[test]
    fn a_small_space_gives_each_point_once() {
        let text = "strategy = \"random\"\ntrials = 50\n[space]\npasses = { int = [1, 3] }\n";
        assert_eq!(config(text).unwrap().draw(&Table::new(), "m").unwrap().len(), 3);
    }

    #[test]
    fn rungs_give_the_best_more() {
        let halving = |more: &str, points: usize| {
            config(&format!("strategy = \"halving\"\ntrials = 27\n{more}\n{SPACE}"))
                .unwrap()
                .halving(points)
                .unwrap()
                .rungs
        };
        let rungs = halving("", 27);
        assert_eq!(rungs.iter().map(|rung| rung.points).collect::<Vec<_>>(), [27, 9, 3, 1]);
        assert!((rungs[0].share - 1.0 / 27.0).abs() < 1e-12 && rungs[3].share == 1.0);
        let rungs = halving("least_share = 0.2", 10);
        assert_eq!(
            rungs.iter().map(|rung| rung.points).collect::<Vec<_>>(),
            [10, 4],
            "the last rung chooses among four"
        );
        assert_eq!(halving("keep_one_of = 2", 5).iter().map(|rung| rung.points).collect::<Vec<_>>(), [5, 3, 2, 1]);
        assert_eq!(halving("", 1), [Rung { share: 1.0, points: 1 }]);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str, params: &str| match config(text) {
            Err(error) => error.to_string(),
            Ok(config) => config.draw(&params.parse().unwrap(), "r.toml: model m").unwrap_err().to_string(),
        };
        let random = |space: &str| format!("strategy = \"random\"\ntrials = 5\n[space]\n{space}");
        let cases = [
            (random("alpha = { loguniform = [1, 2] }"), "did you mean \"log_uniform\"?"),
            (
                random("alpha = { log_uniform = [0, 2] }"),
                "search.space.alpha: log_uniform: expected two numbers above 0",
            ),
            (random("alpha = { uniform = [2, 1] }"), "uniform: expected a lower and a higher number, got [2, 1]"),
            (random("passes = { int = [2, 2] }"), "int: expected a lower and a higher whole number"),
            (random("crosses = { choice = [] }"), "choice: expected at least one value"),
            (random("bits = { int = [10, 20] }"), "search.space.bits: the key stands in params too"),
            (random(""), "search.space: expected at least one setting"),
            (
                "strategy = \"random\"\ntrials = 1\n[space]\na = { int = [1, 2] }".into(),
                "search.trials: expected 2 to 1000",
            ),
            (
                "strategy = \"grid\"\ntrials = 2\n[space]\na = { int = [1, 2] }".into(),
                "search.strategy: expected random or halving",
            ),
            ("strategy = \"halving\"\ntrial = 2\n[space]\n".into(), "did you mean \"trials\"?"),
        ];
        for (text, expected) in cases {
            let message = error(&text, "bits = 18");
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
