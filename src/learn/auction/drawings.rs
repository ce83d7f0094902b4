//! What an auction came to → pictures of it: what each model earned, and when it spent its money.

use super::report::{AuctionReport, Outcome, Scenario};
use crate::learn::report::exhibit::{Drawing, DrawnPoint, DrawnSeries, Extent, Form, Place};

impl AuctionReport {
    /// Surplus of every model, one color a way to spend; and, with a budget, money spent along the log, one line a model and way.
    pub fn drawings(&self) -> Vec<Drawing> {
        let mut drawings = vec![self.surplus()];
        drawings.extend(self.budget.map(|budget| self.spending(budget)));
        drawings
    }

    fn surplus(&self) -> Drawing {
        let point = |outcome: &Outcome| DrawnPoint {
            x: Place::Category(outcome.name.clone()),
            y: outcome.surplus.value,
            low: outcome.surplus.low,
            high: outcome.surplus.high,
        };
        let series = |scenario: &Scenario| DrawnSeries {
            name: scenario.spending.name().to_owned(),
            points: scenario.outcomes.iter().map(point).collect(),
        };
        Drawing {
            title: "Surplus".into(),
            caption: "Value of the clicks minus cost. Whiskers are intervals over blocks of rows; what is hard for all models is in \
                      all of them, so look at differences in the table."
                .into(),
            form: Form::Bars,
            x: Extent { label: format!("surplus, {}", self.currency), log: false },
            y: Extent { label: "model".into(), log: false },
            series: self.scenarios.iter().map(series).collect(),
        }
    }

    fn spending(&self, budget: f64) -> Drawing {
        let series = |scenario: &Scenario, outcome: &Outcome| {
            let points = outcome.spent.len() as f64;
            let spent = std::iter::once(0.0).chain(outcome.spent.iter().copied()).enumerate();
            let point = |(at, y): (usize, f64)| DrawnPoint {
                x: Place::Number(100.0 * at as f64 / points),
                y,
                low: None,
                high: None,
            };
            DrawnSeries {
                name: format!("{}, {}", outcome.name, scenario.spending.name()),
                points: spent.map(point).collect(),
            }
        };
        let limited = self.scenarios.iter().filter(|scenario| scenario.spending.name() != "no budget");
        let all = limited.flat_map(|scenario| scenario.outcomes.iter().map(move |outcome| series(scenario, outcome)));
        Drawing {
            title: "Money spent along the log".into(),
            caption: format!(
                "Of a budget of {budget} {}. Pacing spends it evenly over the rows on offer.",
                self.currency
            ),
            form: Form::Lines,
            x: Extent { label: "rows on offer so far, %".into(), log: false },
            y: Extent { label: format!("spent, {}", self.currency), log: false },
            series: all.collect(),
        }
    }
}
