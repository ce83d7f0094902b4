//! Resampled metrics of several models → intervals of all their differences that hold together.
//!
//! A model is a way to train, of which each seed gives one run. Its metric is the mean over its `n` runs, and a difference of
//! two models is uncertain for two reasons:
//!
//! * **test rows**: other rows would have given other metrics. The variance of the difference over the resamples, `V_rows`.
//! * **seeds**: other seeds would have given other runs. With `s²` the variance of the metric over a model's runs, and `v` the
//!   part of it that the choice of test rows explains (the variance over seeds of what a resample adds to each run), a
//!   seed's own variance is `max(0, s² − v)`; without the subtraction `v` would be counted in both. `V_seeds` of a model is
//!   that over `n`. With one seed it is not known and taken as zero, and the interval is one of two *runs*.
//!
//! The standard error is `√(V_rows + V_seeds(A) + V_seeds(B))`, with the degrees of freedom of Satterthwaite (1946) and Welch
//! (1947), in which few seeds and few blocks both count.
//!
//! Many pairs: an interval that is right for one pair at a time misses for some pair far more often, above all for the pair
//! that was looked at because it leads. Here the largest studentized error over *all* pairs is kept below its quantile
//! ("max-t", Romano and Wolf 2005; with all pairs, so that a leader may be chosen by looking, as with Tukey 1953). One number
//! `critical` then serves all intervals and the adjusted p-values, so that an interval leaves zero out exactly when its
//! p-value is below one minus the confidence. Holm's steps were not taken because they have no intervals that say the same.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval, quantile};
use super::distributions::{normal_quantile, normal_two_sided, student_reach, student_two_sided};

/// One metric of one run: on all rows, and on each resample.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDraws {
    /// On all rows.
    pub estimate: f64,
    /// On each resample; `None` where it does not exist there.
    pub draws: Vec<Option<f64>>,
}

/// One metric of one model: the mean over its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDraws {
    estimate: f64,
    /// Less their mean, and widened for the number of blocks.
    errors: Vec<f64>,
    seeds: SeedNoise,
}

/// What the seeds add to the uncertainty of a model's mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct SeedNoise {
    /// Variance of the mean over seeds.
    variance: f64,
    /// Square of the estimate it rests on over its degrees of freedom, for Welch and Satterthwaite.
    doubt: f64,
}

/// All models of a comparison, and how far intervals of their differences reach together.
#[derive(Debug, Clone)]
pub struct Differences {
    models: Vec<ModelDraws>,
    /// Largest studentized error over all pairs in each resample, ascending.
    largest: Vec<f64>,
    critical: f64,
    blocks: usize,
}

/// One metric of model A minus that of model B.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The difference and its interval, which holds together with those of all other pairs.
    pub interval: Interval,
    /// Adjusted for all pairs: chance that any pair of equal models shows an error as large. 1 when both are the same.
    pub p_value: f64,
    /// Standard error from the choice of test rows.
    pub rows_error: f64,
    /// Standard error from the choice of seeds; 0 where it is not known (one seed) or not seen.
    pub seeds_error: f64,
    /// Half the interval over the standard error: the quantile that the number of pairs and the degrees of freedom ask for.
    pub reach: f64,
    /// The same with many degrees of freedom.
    pub least_reach: f64,
}

impl ModelDraws {
    /// The mean over the runs of one model, drawn on the same resamples of `blocks` blocks. Resamples on which some run has
    /// no value are left out; these are the same for all models, as it is the rows that lack a class. `None` without runs,
    /// with fewer than two blocks, or when more than half of the resamples were left out.
    ///
    /// # Panics
    /// When runs do not have the same number of resamples.
    pub fn of_runs(runs: &[RunDraws], blocks: usize) -> Option<Self> {
        let resamples = runs.first()?.draws.len();
        assert!(runs.iter().all(|run| run.draws.len() == resamples), "the same resamples for every run");
        let kept: Vec<usize> = (0..resamples).filter(|at| runs.iter().all(|run| run.draws[*at].is_some())).collect();
        if blocks < 2 || kept.len() < resamples.div_ceil(2).max(2) {
            return None;
        }
        // A bootstrap of few blocks is too narrow by √((b − 1) / b), as a variance that divides by n is.
        let widen = (blocks as f64 / (blocks - 1) as f64).sqrt();
        let errors: Vec<Vec<f64>> = runs
            .iter()
            .map(|run| {
                let draws = || kept.iter().filter_map(|at| run.draws[*at]);
                let mean = draws().sum::<f64>() / kept.len() as f64;
                draws().map(|draw| widen * (draw - mean)).collect()
            })
            .collect();
        let estimates: Vec<f64> = runs.iter().map(|run| run.estimate).collect();
        let count = runs.len() as f64;
        Some(Self {
            estimate: estimates.iter().sum::<f64>() / count,
            seeds: SeedNoise::of(&estimates, &errors),
            errors: (0..kept.len()).map(|at| errors.iter().map(|run| run[at]).sum::<f64>() / count).collect(),
        })
    }

    /// Mean over the runs, on all rows.
    pub fn estimate(&self) -> f64 {
        self.estimate
    }
}

impl SeedNoise {
    fn of(estimates: &[f64], errors: &[Vec<f64>]) -> Self {
        if estimates.len() < 2 {
            return Self::default();
        }
        let count = estimates.len() as f64;
        let observed = variance(estimates);
        let resamples = errors[0].len();
        let mut column = vec![0.0; estimates.len()];
        let mut explained = 0.0;
        for at in 0..resamples {
            column.iter_mut().zip(errors).for_each(|(value, run)| *value = run[at]);
            explained += variance(&column) / resamples as f64;
        }
        match observed > explained {
            true => {
                Self { variance: (observed - explained) / count, doubt: (observed / count).powi(2) / (count - 1.0) }
            }
            false => Self::default(),
        }
    }
}

impl Differences {
    /// Studentizes all pairs. `None` without models.
    ///
    /// # Panics
    /// When models were not drawn on the same resamples, or there are fewer than two blocks.
    pub fn new(models: Vec<ModelDraws>, blocks: usize, bootstrap: Bootstrap) -> Option<Self> {
        let resamples = models.first()?.errors.len();
        assert!(models.iter().all(|model| model.errors.len() == resamples), "the same resamples for every model");
        assert!(blocks > 1, "one block does not vary");
        let mut of_all = Self { models, largest: vec![0.0; resamples], critical: 0.0, blocks };
        // Errors of seeds stand beside those of rows, on a stream that no resample uses.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(bootstrap.seed);
        random.long_jump();
        let errors: Vec<Vec<f64>> = (of_all.models.iter())
            .map(|model| {
                let sd = model.seeds.variance.sqrt();
                model.errors.iter().map(|error| error + sd * normal(random.next_u64())).collect()
            })
            .collect();
        for a in 0..errors.len() {
            for b in a + 1..errors.len() {
                let error = of_all.errors(a, b).total();
                if error > 0.0 {
                    for (at, largest) in of_all.largest.iter_mut().enumerate() {
                        *largest = largest.max((errors[a][at] - errors[b][at]).abs() / error);
                    }
                }
            }
        }
        of_all.largest.sort_unstable_by(f64::total_cmp);
        // Never closer than for one pair whose errors are normal.
        let of_one = normal_quantile(0.5 + 0.5 * bootstrap.confidence);
        of_all.critical = quantile(&of_all.largest, bootstrap.confidence).max(of_one);
        Some(of_all)
    }

    /// Model `a` minus model `b`, by their places.
    ///
    /// # Panics
    /// When there is no such model.
    pub fn between(&self, a: usize, b: usize) -> Difference {
        let estimate = self.models[a].estimate - self.models[b].estimate;
        let errors = self.errors(a, b);
        let total = errors.total();
        let degrees = errors.degrees(self.blocks);
        let reach = student_reach(normal_two_sided(self.critical), degrees);
        let interval =
            Interval { estimate, low: estimate - reach * total, high: estimate + reach * total, blocks: self.blocks };
        let p_value = match total > 0.0 {
            true => self.adjusted(student_two_sided((estimate / total).abs(), degrees)),
            false if estimate == 0.0 => 1.0,
            false => 0.0,
        };
        let (rows_error, seeds_error) = (errors.rows.sqrt(), errors.seeds.sqrt());
        Difference { interval, p_value, rows_error, seeds_error, reach, least_reach: self.critical }
    }

    /// How far studentized errors reach together, for a normal error: 1.96 for one pair at 95 %, more for more pairs.
    pub fn critical(&self) -> f64 {
        self.critical
    }

    /// The p-value of one pair → that of the largest of all pairs.
    fn adjusted(&self, p_value: f64) -> f64 {
        let as_normal = -normal_quantile(0.5 * p_value);
        let beyond = self.largest.len() - self.largest.partition_point(|largest| *largest < as_normal);
        ((beyond + 1) as f64 / (self.largest.len() + 1) as f64).clamp(p_value, 1.0)
    }

    fn errors(&self, a: usize, b: usize) -> PairErrors {
        let (a, b) = (&self.models[a], &self.models[b]);
        let squares = a.errors.iter().zip(&b.errors).map(|(a, b)| (a - b).powi(2));
        PairErrors {
            rows: squares.sum::<f64>() / (a.errors.len() - 1) as f64,
            seeds: a.seeds.variance + b.seeds.variance,
            doubt: a.seeds.doubt + b.seeds.doubt,
        }
    }
}

/// Variances of the difference of two models.
struct PairErrors {
    rows: f64,
    seeds: f64,
    doubt: f64,
}

impl PairErrors {
    fn total(&self) -> f64 {
        (self.rows + self.seeds).sqrt()
    }

    /// Degrees of freedom (Welch 1947, Satterthwaite 1946).
    fn degrees(&self, blocks: usize) -> f64 {
        let of_rows = (blocks - 1) as f64;
        let doubt = self.rows * self.rows / of_rows + self.doubt;
        if doubt > 0.0 { (self.rows + self.seeds).powi(2) / doubt } else { of_rows }
    }
}

/// A standard normal variable from 64 random bits.
fn normal(random: u64) -> f64 {
    // The middle of one of 2^53 intervals of (0,1), so that neither end is drawn.
    normal_quantile(((random >> 11) as f64 + 0.5) / (1u64 << 53) as f64)
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)
}
