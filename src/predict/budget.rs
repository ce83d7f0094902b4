//! How long a request may take.
//!
//! Time is an argument: a budget carries the clock it was given, so that tests give one of their own.

use std::time::{Duration, Instant};

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

    /// What is left, 0 once it is over; `None` without a limit.
    pub fn left(&self) -> Option<Duration> {
        self.limit.map(|(deadline, clock)| deadline.saturating_duration_since(clock()))
    }
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("deadline", &self.limit.map(|(deadline, _)| deadline)).finish_non_exhaustive()
    }
}
