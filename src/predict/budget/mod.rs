//! How long a request may take, what scoring costs, and what to do with the time there is.
//!
//! ```text
//! clock, deadline ─▶ Budget ─▶ time left ─┐
//! what earlier requests took ─▶ Costs ────┴─▶ Ladder ─▶ next step: so many candidates, by this tier
//! ```
//!
//! Time is an argument: a budget carries the clock it was given, so that tests give one of their own.

mod costs;
mod ladder;

use std::time::{Duration, Instant};

pub use costs::Costs;
pub use ladder::{Ladder, Step};

/// A moment to be done by, and the clock that says how far it is.
#[derive(Clone, Copy)]
pub struct Budget<'clock> {
    limit: Option<(Instant, &'clock dyn Fn() -> Instant)>,
}

impl Budget<'static> {
    /// As long as it takes: every candidate gets the best tier. No clock is read.
    pub fn unlimited() -> Self {
        Budget { limit: None }
    }
}

impl<'clock> Budget<'clock> {
    /// Until `deadline`, on `clock`.
    pub fn until(deadline: Instant, clock: &'clock dyn Fn() -> Instant) -> Self {
        Budget { limit: Some((deadline, clock)) }
    }

    /// Whether there is no limit.
    pub fn is_unlimited(&self) -> bool {
        self.limit.is_none()
    }

    /// The time on its clock; `None` without a limit.
    pub fn now(&self) -> Option<Instant> {
        self.limit.map(|(_, clock)| clock())
    }

    /// What is left at a moment, 0 once it is over; `None` without a limit.
    pub fn left_at(&self, now: Option<Instant>) -> Option<Duration> {
        Some(self.limit?.0.saturating_duration_since(now?))
    }

    /// What is left, 0 once it is over; `None` without a limit.
    pub fn left(&self) -> Option<Duration> {
        self.left_at(self.now())
    }
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("deadline", &self.limit.map(|(deadline, _)| deadline)).finish_non_exhaustive()
    }
}
