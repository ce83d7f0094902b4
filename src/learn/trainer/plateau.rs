//! Losses on the validation rows, look by look → go on, lower the rate, or stop.

/// Decides from one look at the validation rows to the next.
pub(super) struct Plateau {
    /// What the learning rate is multiplied by.
    pub(super) rate: f32,
    best: f64,
    looks_since_best: u32,
    looks_since_drop: u32,
    patience: u32,
    plateau_patience: u32,
    factor: f32,
}

/// What a look decides.
pub(super) enum Verdict {
    GoOn,
    Stop,
}

impl Plateau {
    pub(super) fn new(patience: u32, plateau_patience: u32, factor: f32) -> Self {
        let best = f64::INFINITY;
        Plateau { rate: 1.0, best, looks_since_best: 0, looks_since_drop: 0, patience, plateau_patience, factor }
    }

    /// Takes the loss of one look.
    pub(super) fn look(&mut self, loss: f64) -> Verdict {
        if loss < self.best {
            (self.best, self.looks_since_best, self.looks_since_drop) = (loss, 0, 0);
            return Verdict::GoOn;
        }
        self.looks_since_best += 1;
        self.looks_since_drop += 1;
        if self.plateau_patience > 0 && self.looks_since_drop >= self.plateau_patience {
            self.rate *= self.factor;
            self.looks_since_drop = 0;
        }
        match self.patience > 0 && self.looks_since_best >= self.patience {
            true => Verdict::Stop,
            false => Verdict::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_drops_and_then_training_stops() {
        let mut plateau = Plateau::new(4, 2, 0.5);
        let rates: Vec<(f32, bool)> = [0.5, 0.4, 0.41, 0.42, 0.43, 0.44]
            .into_iter()
            .map(|loss| {
                let stop = matches!(plateau.look(loss), Verdict::Stop);
                (plateau.rate, stop)
            })
            .collect();
        assert_eq!(rates, [(1.0, false), (1.0, false), (1.0, false), (0.5, false), (0.5, false), (0.25, true)]);
    }

    #[test]
    fn without_patience_nothing_stops() {
        let mut plateau = Plateau::new(0, 0, 0.5);
        assert!((0..50).all(|look| matches!(plateau.look(f64::from(look)), Verdict::GoOn)));
        assert_eq!(plateau.rate, 1.0);
    }
}
