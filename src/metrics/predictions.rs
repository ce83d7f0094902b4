//! Three slices → one checked view, so that no metric below checks again.

/// One prediction set: what happened, what was predicted, and how much each row counts. Shape: `rows` each.
#[derive(Debug, Clone, Copy)]
pub struct Predictions<'a> {
    labels: &'a [u8],
    probabilities: &'a [f64],
    weights: Option<&'a [f32]>,
}

/// One row of [`Predictions`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Whether the impression was clicked.
    pub click: bool,
    /// Predicted click probability, in \[0,1\].
    pub probability: f64,
    /// How much the row counts; 1 when no weights were given.
    pub weight: f32,
}

impl<'a> Predictions<'a> {
    /// Takes `labels` of 0 or 1, `probabilities` in \[0,1\] and, if given, finite `weights` of at least 0.
    ///
    /// # Panics
    /// When the lengths differ or a value is outside these bounds (NaN is), naming the row. That is a bug of the caller:
    /// values that come from a file are checked where the file is read.
    pub fn new(labels: &'a [u8], probabilities: &'a [f64], weights: Option<&'a [f32]>) -> Self {
        assert_eq!(labels.len(), probabilities.len(), "one probability for each label");
        if let Some(row) = labels.iter().position(|&label| label > 1) {
            panic!("row {row}: label must be 0 or 1, got {}", labels[row]);
        }
        if let Some(row) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
            panic!("row {row}: probability must be in [0,1], got {}", probabilities[row]);
        }
        if let Some(weights) = weights {
            assert_eq!(labels.len(), weights.len(), "one weight for each label");
            if let Some(row) = weights.iter().position(|&w| !(w >= 0.0 && w.is_finite())) {
                panic!("row {row}: weight must be finite and at least 0, got {}", weights[row]);
            }
        }
        Self { labels, probabilities, weights }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Whether weights were given.
    pub fn has_weights(&self) -> bool {
        self.weights.is_some()
    }

    /// Row `row`.
    ///
    /// # Panics
    /// When `row` is not below [`Self::len`].
    pub fn row(&self, row: usize) -> Prediction {
        Prediction {
            click: self.labels[row] != 0,
            probability: self.probabilities[row],
            weight: self.weights.map_or(1.0, |weights| weights[row]),
        }
    }

    /// Rows in the order given.
    pub fn iter(&self) -> impl Iterator<Item = Prediction> + use<'a> {
        let view = *self;
        (0..view.len()).map(move |row| view.row(row))
    }

    /// The sums behind CTR, mean probability and PCOC. `None` when the total weight is zero.
    pub fn totals(&self) -> Option<Totals> {
        let mut totals = Totals::default();
        for row in self.iter() {
            totals.add(row);
        }
        (totals.weight > 0.0).then_some(totals)
    }

    /// `Σ wᵢ f(rowᵢ) / Σ wᵢ`. `None` when the total weight is zero.
    pub(super) fn mean(&self, value: impl Fn(Prediction) -> f64) -> Option<f64> {
        let (mut sum, mut weight) = (0.0, 0.0);
        for row in self.iter() {
            sum += f64::from(row.weight) * value(row);
            weight += f64::from(row.weight);
        }
        (weight > 0.0).then(|| sum / weight)
    }
}

/// Sums over a prediction set; the total weight is above zero when they come from [`Predictions::totals`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Rows, unweighted.
    pub rows: u64,
    /// Clicked rows, unweighted.
    pub clicks: u64,
    /// Sum of weights.
    pub weight: f64,
    /// Sum of the weights of clicked rows.
    pub clicked_weight: f64,
    /// Weighted sum of probabilities.
    pub probability: f64,
}

impl Totals {
    fn add(&mut self, row: Prediction) {
        let weight = f64::from(row.weight);
        self.rows += 1;
        self.weight += weight;
        self.probability += weight * row.probability;
        if row.click {
            self.clicks += 1;
            self.clicked_weight += weight;
        }
    }

    /// Click-through rate.
    pub fn ctr(&self) -> f64 {
        self.clicked_weight / self.weight
    }

    /// Mean predicted probability.
    pub fn mean_probability(&self) -> f64 {
        self.probability / self.weight
    }

    /// Predicted clicks over clicks (PCOC), mean probability over CTR. `None` without a click.
    pub fn pcoc(&self) -> Option<f64> {
        (self.clicked_weight > 0.0).then(|| self.probability / self.clicked_weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "row 1: probability must be in [0,1], got NaN")]
    fn nan_is_refused_by_row() {
        Predictions::new(&[0, 1], &[0.5, f64::NAN], None);
    }

    #[test]
    #[should_panic(expected = "row 0: label must be 0 or 1, got 2")]
    fn labels_are_zero_or_one() {
        Predictions::new(&[2], &[0.5], None);
    }

    #[test]
    #[should_panic(expected = "row 1: weight must be finite and at least 0, got -1")]
    fn weights_are_not_negative() {
        Predictions::new(&[0, 1], &[0.5, 0.5], Some(&[1.0, -1.0]));
    }

    #[test]
    #[should_panic(expected = "one probability for each label")]
    fn lengths_agree() {
        Predictions::new(&[0, 1], &[0.5], None);
    }
}
