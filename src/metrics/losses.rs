//! Predictions → mean losses: log loss, normalized entropy, Brier score.
//!
//! `y` is the label, `p` the probability, `w` the weight.

use super::{Prediction, Predictions};

/// Probabilities are clipped to `[CLIP, 1 − CLIP]` inside the log loss, so that one certain mistake costs 36 nats and not
/// infinity. It is the machine epsilon of f64, as in scikit-learn.
pub const CLIP: f64 = f64::EPSILON;

/// Mean log loss in nats, `−Σ w (y ln p + (1−y) ln(1−p)) / Σ w`, with `p` clipped by [`CLIP`].
/// `None` when the total weight is zero.
pub fn log_loss(predictions: &Predictions) -> Option<f64> {
    predictions.mean(row_log_loss)
}

/// Log loss of each row in nats, unweighted; what [`super::bootstrap`] takes.
pub fn row_log_losses(predictions: &Predictions) -> Vec<f64> {
    predictions.iter().map(row_log_loss).collect()
}

/// Mean squared error `Σ w (p−y)² / Σ w` (Brier 1950). `None` when the total weight is zero.
pub fn brier(predictions: &Predictions) -> Option<f64> {
    predictions.mean(|row| (row.probability - f64::from(u8::from(row.click))).powi(2))
}

/// Log loss over the entropy of the base rate (He et al. 2014, "Practical Lessons from Predicting Clicks on Ads at
/// Facebook", eq. 1). Comparable across sets of different CTR; 1 is as good as knowing the CTR only.
/// `None` when `ctr` is 0 or 1, where the entropy is zero.
pub fn normalized_entropy(log_loss: f64, ctr: f64) -> Option<f64> {
    let entropy = entropy(ctr);
    (entropy > 0.0).then(|| log_loss / entropy)
}

/// Entropy in nats of a coin that shows a click with probability `ctr`; 0 outside (0,1).
pub fn entropy(ctr: f64) -> f64 {
    if 0.0 < ctr && ctr < 1.0 { -(ctr * ctr.ln() + (1.0 - ctr) * (-ctr).ln_1p()) } else { 0.0 }
}

/// Log loss of one row in nats, unweighted.
pub(super) fn row_log_loss(row: Prediction) -> f64 {
    let p = row.probability.clamp(CLIP, 1.0 - CLIP);
    // ln_1p keeps the digits of a small p, and most clicks are rare.
    if row.click { -p.ln() } else { -(-p).ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_certain_mistake_is_finite() {
        let loss = log_loss(&Predictions::new(&[1, 0], &[0.0, 1.0], None)).unwrap();
        assert!((loss - 36.043_653_389_117_15).abs() < 1e-9, "{loss}");
    }

    #[test]
    fn the_base_rate_has_normalized_entropy_one() {
        let labels = [1, 0, 0, 0];
        let loss = log_loss(&Predictions::new(&labels, &[0.25; 4], None)).unwrap();
        assert!((normalized_entropy(loss, 0.25).unwrap() - 1.0).abs() < 1e-15);
        assert_eq!(normalized_entropy(0.1, 0.0), None);
        assert_eq!(normalized_entropy(0.1, 1.0), None);
    }

    proptest! {
        #[test]
        fn losses_are_bounded_below_and_rows_add_up(
            rows in prop::collection::vec((0u8..2, 0.0f64..=1.0, 0.01f32..10.0), 1..100)
        ) {
            let labels: Vec<u8> = rows.iter().map(|row| row.0).collect();
            let probabilities: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let weights: Vec<f32> = rows.iter().map(|row| row.2).collect();
            let predictions = Predictions::new(&labels, &probabilities, Some(&weights));
            let mean = log_loss(&predictions).unwrap();
            prop_assert!(mean >= 0.0);
            prop_assert!((0.0..=1.0).contains(&brier(&predictions).unwrap()));
            let (mut sum, mut total) = (0.0, 0.0);
            for (loss, weight) in row_log_losses(&predictions).iter().zip(&weights) {
                sum += loss * f64::from(*weight);
                total += f64::from(*weight);
            }
            prop_assert!((mean - sum / total).abs() <= 1e-12 * mean.max(1.0));
        }

        #[test]
        fn no_constant_beats_the_base_rate(clicks in 1usize..50, rest in 1usize..50, p in 0.001f64..0.999) {
            let labels: Vec<u8> = (0..clicks + rest).map(|row| u8::from(row < clicks)).collect();
            let constant = vec![p; labels.len()];
            let loss = log_loss(&Predictions::new(&labels, &constant, None)).unwrap();
            prop_assert!(loss >= entropy(clicks as f64 / labels.len() as f64) - 1e-12);
        }
    }
}
