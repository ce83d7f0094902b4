//! Time left and estimated costs → which candidates get which tier next.
//!
//! ```text
//! enough for the model on all ─▶ full, full, … ─▶ done
//! not enough ─▶ cheap on all the others ─▶ best by cheap first: full, full, … ─▶ done
//! not enough for that ─▶ cheap while time lasts ─▶ done; whoever got nothing has the base rate
//! ```
//!
//! The ladder decides before work starts and again after each step, from what is left then. It knows no clock and no model.

use std::time::Duration;

use super::Costs;
use crate::model::bundle::Tier;

/// Fewest candidates that are worth a step of the model: its weights are read once a step.
const FULL_STEP: usize = 16;
/// Fewest for a step of the cheap tier.
const CHEAP_STEP: usize = 64;

/// Time left over what a step is thought to take, from which on there is time to spare whatever happens.
const EASE: u32 = 16;

/// A pause of the thread says nothing of the next step.
const MOST_SLOWNESS: f64 = 4.0;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next so many candidates, in the order given, get the full tier.
    Full(usize),
    /// The next so many candidates without a tier get the cheap one.
    Cheap(usize),
    /// So many of the best by the cheap tier that have not had the full one get it.
    Best(usize),
    /// Nothing.
    Done,
}

/// Where a request stands.
#[derive(Debug)]
pub struct Ladder<'a> {
    costs: &'a Costs,
    has_cheap: bool,
    candidates: usize,
    full: usize,
    cheap: usize,
    best: usize,
    /// Whether there is too little time for the full tier on all.
    short: bool,
    /// What was left before the last step, and what the step was thought to take.
    before: Option<(Duration, Duration)>,
    /// How many times what it was thought to take the last step took, at least 1: this request's share of a busy machine.
    slowness: f64,
}

impl<'a> Ladder<'a> {
    /// At its start, for a request with so many candidates.
    pub fn new(costs: &'a Costs, has_cheap: bool, candidates: usize) -> Self {
        Ladder { costs, has_cheap, candidates, full: 0, cheap: 0, best: 0, short: false, before: None, slowness: 1.0 }
    }

    /// The next step with this time left (`None`: as long as it takes); it counts as done.
    pub fn next(&mut self, left: Option<Duration>) -> Step {
        if self.full + self.best == self.candidates {
            return Step::Done;
        }
        if let (Some((before, thought)), Some(left)) = (self.before, left) {
            let took = before.saturating_sub(left).as_secs_f64();
            self.slowness = (took / thought.as_secs_f64().max(1e-9)).clamp(1.0, MOST_SLOWNESS);
        }
        let step = self.choose(left);
        self.before = left.zip(match step {
            Step::Full(count) | Step::Best(count) => Some(self.costs.estimate(Tier::Full, count)),
            Step::Cheap(count) => Some(self.costs.estimate(Tier::Cheap, count)),
            Step::Done => None,
        });
        self.before = self.before.filter(|(_, thought)| !thought.is_zero());
        match step {
            Step::Full(count) => self.full += count,
            Step::Cheap(count) => self.cheap += count,
            Step::Best(count) => self.best += count,
            Step::Done => {}
        }
        step
    }

    /// Whether all candidates had the full tier in steps that were thought to take little of the time left: nothing depends on what
    /// the last step took but later estimates.
    pub fn ended_at_ease(&self) -> bool {
        let at_ease = |(left, thought): (Duration, Duration)| thought * EASE <= left;
        self.full == self.candidates && self.before.is_some_and(at_ease)
    }

    fn choose(&mut self, left: Option<Duration>) -> Step {
        let rest = self.candidates - self.full - self.cheap;
        let Some(left) = left else {
            return if rest > 0 { Step::Full(rest) } else { Step::Done };
        };
        if !self.short && rest > 0 {
            if self.fits(Tier::Full, rest, left, FULL_STEP) == Some(rest) {
                return Step::Full(self.watched(rest, left));
            }
            self.short = true;
        }
        if !self.has_cheap {
            return match self.fits(Tier::Full, rest, left, FULL_STEP) {
                Some(count) => Step::Full(self.watched(count, left)),
                None => self.done(rest),
            };
        }
        if rest > 0 {
            return match self.fits(Tier::Cheap, rest, left, CHEAP_STEP) {
                Some(count) => Step::Cheap(count),
                None => self.done(rest),
            };
        }
        let rest = self.cheap - self.best;
        match self.fits(Tier::Full, rest, left, FULL_STEP) {
            Some(count) => Step::Best(self.watched(count, left)),
            None => self.done(rest),
        }
    }

    /// How many of `rest` candidates a tier manages in the time left: all, or half of them again and again down to `least`.
    fn fits(&self, tier: Tier, rest: usize, left: Duration, least: usize) -> Option<usize> {
        let mut count = rest;
        while count > 0 && !left.is_zero() {
            if self.will_take(tier, count) <= left {
                return Some(count);
            }
            if count <= least {
                return None;
            }
            count = (count / 2).max(least);
        }
        None
    }

    /// Ends; a tier that `rest` candidates went without for its cost is estimated a little lower from now on.
    fn done(&mut self, rest: usize) -> Step {
        if rest > 0 {
            self.costs.forget(Tier::Full, rest.min(FULL_STEP));
            if self.cheap + self.full < self.candidates {
                self.costs.forget(Tier::Cheap, rest.min(CHEAP_STEP));
            }
        }
        Step::Done
    }

    /// So many candidates by the model in one step where there is time to spare, otherwise with looks at the clock between.
    fn watched(&self, count: usize, left: Duration) -> usize {
        let takes = self.will_take(Tier::Full, count);
        if takes * 2 <= left && !takes.is_zero() { count } else { count.min(FULL_STEP) }
    }

    fn will_take(&self, tier: Tier, count: usize) -> Duration {
        let estimate = self.costs.estimate(tier, count);
        // Nearly always, and the product is slow.
        if self.slowness == 1.0 { estimate } else { estimate.mul_f64(self.slowness) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// Full takes 10 µs a candidate, cheap 0.5.
    fn costs() -> Costs {
        let costs = Costs::default();
        for _ in 0..200 {
            for count in [1, 2, 4, 8, 16, 32, 64, 128] {
                costs.record(Tier::Full, count, 10 * count as u32 * MICRO);
                costs.record(Tier::Cheap, count, count as u32 * MICRO / 2);
            }
        }
        costs
    }

    /// The steps of a request of `candidates` with `budget` when work takes what `full` and `cheap` say a candidate.
    fn climb(costs: &Costs, has_cheap: bool, candidates: usize, budget: Duration, full: u32, cheap: u32) -> Vec<Step> {
        let mut ladder = Ladder::new(costs, has_cheap, candidates);
        let (mut left, mut steps) = (budget, Vec::new());
        loop {
            let step = ladder.next(Some(left));
            let took = match step {
                Step::Full(count) | Step::Best(count) => count as u32 * full * MICRO,
                Step::Cheap(count) => count as u32 * cheap * MICRO / 2,
                Step::Done => return steps,
            };
            left = left.saturating_sub(took);
            steps.push(step);
            assert!(steps.len() <= candidates, "{steps:?}");
        }
    }

    #[test]
    fn time_to_spare_is_one_step() {
        let costs = costs();
        assert_eq!(climb(&costs, true, 100, 5_000 * MICRO, 10, 1), [Step::Full(100)]);
        let mut ladder = Ladder::new(&costs, true, 300);
        assert_eq!((ladder.next(None), ladder.next(None)), (Step::Full(300), Step::Done));
    }

    #[test]
    fn just_enough_is_watched() {
        let steps = climb(&costs(), true, 100, 1_010 * MICRO, 10, 1);
        assert_eq!(steps, [vec![Step::Full(16); 6], vec![Step::Full(4)]].concat());
    }

    #[test]
    fn too_little_means_cheap_first_then_the_best() {
        let steps = climb(&costs(), true, 100, 500 * MICRO, 10, 1);
        assert_eq!(steps[0], Step::Cheap(100));
        let best: usize = steps[1..].iter().map(|step| if let Step::Best(count) = step { *count } else { 99 }).sum();
        assert!((29..=45).contains(&best), "{steps:?}");
    }

    #[test]
    fn slower_than_thought_falls_back_midway() {
        let steps = climb(&costs(), true, 100, 1_010 * MICRO, 25, 1);
        assert_eq!(steps[..2], [Step::Full(16), Step::Cheap(84)], "{steps:?}");
        let took: u32 = steps
            .iter()
            .map(|step| match step {
                Step::Full(count) | Step::Best(count) => 25 * *count as u32,
                Step::Cheap(count) => *count as u32 / 2,
                Step::Done => 0,
            })
            .sum();
        assert!(took <= 1_010 + 25 * 16, "late by less than a step: {took}");
    }

    #[test]
    fn less_than_the_cheap_tier_needs_leaves_the_base_rate() {
        assert_eq!(climb(&costs(), true, 300, 60 * MICRO, 10, 1), [Step::Cheap(75)]);
        assert_eq!(climb(&costs(), true, 300, Duration::ZERO, 10, 1), []);
        assert_eq!(climb(&costs(), true, 0, 5_000 * MICRO, 10, 1), []);
    }

    #[test]
    fn without_a_cheap_tier_the_first_get_the_model() {
        let steps = climb(&costs(), false, 100, 500 * MICRO, 10, 1);
        assert!(steps.iter().all(|step| matches!(step, Step::Full(_))), "{steps:?}");
        assert!(climb(&costs(), false, 100, 20 * MICRO, 10, 1).is_empty());
    }

    #[test]
    fn what_became_too_dear_is_tried_again() {
        let costs = Costs::default();
        costs.record(Tier::Full, 16, 16_000 * MICRO);
        costs.record(Tier::Cheap, 16, 16 * MICRO);
        let tried = |_: &usize| {
            let mut ladder = Ladder::new(&costs, true, 16);
            let first = ladder.next(Some(2_000 * MICRO));
            first == Step::Full(16) || ladder.next(Some(1_900 * MICRO)) == Step::Best(16)
        };
        let tries = (0..1_000).find(tried);
        assert!(tries.is_some_and(|tries| tries > 10), "{tries:?}");
    }
}
