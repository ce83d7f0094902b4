//! Raw outputs → probabilities inside of (0, 1).

/// The range probabilities of a tree model are clipped to.
///
/// A mean of leaves can be exactly 0, and a squared-error score can be below it. Neither is evidence for "never": a leaf of
/// 50 rows at a click rate of 1 % has no click six times in ten. A fixed tiny floor would turn such rows into logits of -14
/// and bend every calibration line fitted on logits. So the floor is a twentieth of the click rate of the fit (3 logits
/// below a small rate), and the ceiling leaves a twentieth of the rate of no click.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProbabilityRange {
    floor: f64,
    ceiling: f64,
}

impl ProbabilityRange {
    /// Around a click rate inside of (0, 1).
    pub(crate) fn around(click_rate: f64) -> Self {
        const SHARE: f64 = 0.05;
        Self { floor: click_rate * SHARE, ceiling: 1.0 - (1.0 - click_rate) * SHARE }
    }

    pub(crate) fn clip(self, raw: f64) -> f64 {
        raw.clamp(self.floor, self.ceiling)
    }
}

/// The logistic function, kept off 0 and 1, which f64 reaches at logits of about -745 and 37.
pub(crate) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit.clamp(-30.0, 30.0)).exp())
}

/// Share of clicks among labels, of which there is at least one.
pub(crate) fn click_rate(labels: &[u8]) -> f64 {
    labels.iter().map(|&label| u64::from(label)).sum::<u64>() as f64 / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clipped_score_is_neither_certain_nor_an_outlier() {
        let logit = |p: f64| (p / (1.0 - p)).ln();
        for rate in [0.001, 0.02, 0.5] {
            let range = ProbabilityRange::around(rate);
            for raw in [-5.0, 0.0] {
                let below = logit(rate) - logit(range.clip(raw));
                assert!((2.9..4.0).contains(&below), "{raw} at {rate}: {below} logits below");
            }
            assert_eq!(range.clip(rate), rate);
            assert!((range.clip(7.0) - (0.95 + 0.05 * rate)).abs() < 1e-12);
        }
    }

    #[test]
    fn the_sigmoid_never_reaches_its_ends() {
        for logit in [-1e300, -800.0, 0.0, 40.0, 1e300] {
            let p = sigmoid(logit);
            assert!(p > 0.0 && p < 1.0, "{logit}: {p}");
        }
        assert_eq!(sigmoid(0.0), 0.5);
    }
}
