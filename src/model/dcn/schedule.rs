//! Step → multiplier of the learning rate: warm-up, then constant, linear or cosine decay. Pure; the trainer counts steps.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A learning-rate schedule. Unknown keys are errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, try_from = "RawSchedule")]
pub struct Schedule {
    /// Steps over which the rate rises linearly to 1, the last of them at 1; 0 means none. Default 0.
    pub warm_up_steps: u64,
    /// What follows the warm-up. Default `constant`.
    pub decay: Decay,
    /// Multiplier that a decay ends at; 0 to 1. Default 0.
    pub floor: f32,
}

/// What follows the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Stay at 1.
    #[default]
    Constant,
    /// A straight line down to the floor.
    Linear,
    /// Half a cosine down to the floor (Loshchilov & Hutter 2017, without restarts).
    Cosine,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule { warm_up_steps: 0, decay: Decay::Constant, floor: 0.0 }
    }
}

impl Schedule {
    /// Multiplier for `step` (from 0) of `total` steps.
    ///
    /// A decay spans the steps after the warm-up: it starts at 1 and would reach the floor at step `total`, so that the
    /// last step still learns. Steps past `total` stay at the floor.
    pub fn rate(&self, step: u64, total: u64) -> f32 {
        if step < self.warm_up_steps {
            return ((step + 1) as f64 / self.warm_up_steps as f64) as f32;
        }
        let span = total.saturating_sub(self.warm_up_steps).max(1);
        let progress = ((step - self.warm_up_steps) as f64 / span as f64).min(1.0);
        let falling = match self.decay {
            Decay::Constant => return 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        let floor = f64::from(self.floor);
        (floor + (1.0 - floor) * falling) as f32
    }
}

/// [`Schedule`] before its bounds are checked.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSchedule {
    warm_up_steps: u64,
    decay: Decay,
    floor: f32,
}

impl Default for RawSchedule {
    fn default() -> Self {
        let Schedule { warm_up_steps, decay, floor } = Schedule::default();
        RawSchedule { warm_up_steps, decay, floor }
    }
}

impl TryFrom<RawSchedule> for Schedule {
    type Error = Error;

    fn try_from(raw: RawSchedule) -> Result<Self> {
        if !(0.0..=1.0).contains(&raw.floor) {
            return Err(Error::config("schedule", "floor", format!("expected 0 to 1, got {}", raw.floor)));
        }
        Ok(Schedule { warm_up_steps: raw.warm_up_steps, decay: raw.decay, floor: raw.floor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_rises_to_one_and_decays_reach_the_floor() {
        let linear = Schedule { warm_up_steps: 4, decay: Decay::Linear, floor: 0.1 };
        let rates: Vec<f32> = (0..16).map(|step| linear.rate(step, 14)).collect();
        assert_eq!(rates[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!((rates[9] - 0.55).abs() < 1e-6, "half way between 1 and 0.1: {}", rates[9]);
        assert!(rates[13] > 0.1 && rates[14] == 0.1 && rates[15] == 0.1, "{rates:?}");
        assert!(rates[4..].is_sorted_by(|a, b| a >= b));
        let cosine = Schedule { decay: Decay::Cosine, ..Schedule::default() };
        assert_eq!(cosine.rate(0, 100), 1.0);
        assert!((cosine.rate(50, 100) - 0.5).abs() < 1e-6 && cosine.rate(25, 100) > 0.75);
        assert_eq!(cosine.rate(100, 100), 0.0);
    }

    #[test]
    fn constant_is_one_and_no_steps_are_no_trouble() {
        assert_eq!(Schedule::default().rate(7, 0), 1.0);
        assert_eq!(Schedule { decay: Decay::Linear, ..Schedule::default() }.rate(0, 0), 1.0);
    }

    #[test]
    fn a_bad_schedule_names_its_key() {
        let unknown = toml::from_str::<Schedule>("warm_up = 3").unwrap_err().to_string();
        assert!(unknown.contains("warm_up_steps"), "{unknown}");
        let floor = toml::from_str::<Schedule>("floor = 2.0").unwrap_err().to_string();
        assert!(floor.contains("schedule: floor: expected 0 to 1, got 2"), "{floor}");
    }
}
