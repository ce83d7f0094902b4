//! A dataset → training, validation and test rows, by time or by chance.
//!
//! By time, training rows come before validation rows and these before test rows, as they will in use. With a time column
//! the cuts lie between two different times, so that rows of one second (or of one hour, in Avazu) are never on both sides;
//! each cut is the one nearest to the size asked for, and rows need not be sorted. Without a time column the schema must
//! say that rows stand in time order; the sizes are then exact.
//!
//! By chance, each row (or each group, with `together`) draws its part from its own number and the seed; sizes are met
//! on average. A row or group draws the same whatever the other sizes are, so that changing `train` leaves `test` as it is.
//!
//! Rolling folds repeat a split by time: each fold's three parts lie `test` rows later than those of the fold before it, so that
//! the folds' test parts follow each other without overlap and every model is judged as often on rows it could not know.
//!
//! ```text
//! fold 1   train train train valid test
//! fold 2   train train train train valid test         growing window: all rows before
//! fold 2         train train train valid test         sliding window: as many as in the first fold
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, View};
use crate::error::{Error, Result};

/// How a dataset is split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// By `time` (the default) or by `chance`.
    pub by: By,
    /// Training rows: a share of all rows (`0.8`), or a number of rows (`56000`).
    pub train: Amount,
    /// Validation rows, which decide calibration and early stopping; 0 for none.
    pub valid: Amount,
    /// Test rows, which decide nothing; 0 for none.
    pub test: Amount,
    /// Seed of a split by chance.
    pub seed: u64,
    /// In a split by chance, keep the rows of one group (request or user) together.
    pub together: bool,
    /// Rolling folds of a split by time, 1 to 100; the sizes above are those of the first one.
    pub folds: usize,
    /// Which rows later folds learn from.
    pub window: Window,
}

/// Which rows a later fold learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// All rows before its validation rows.
    Growing,
    /// As many as the first fold, the latest ones.
    Sliding,
}

/// What decides the part a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Earlier rows train, later rows test.
    Time,
    /// A seeded draw.
    Chance,
}

/// A share of all rows, or a number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// This many rows.
    Rows(u64),
    /// This share of all rows, 0 to 1.
    Share(f64),
}

impl Default for SplitConfig {
    fn default() -> Self {
        let [train, valid, test] = [0.8, 0.1, 0.1].map(Amount::Share);
        SplitConfig { by: By::Time, train, valid, test, seed: 0, together: false, folds: 1, window: Window::Growing }
    }
}

/// The three parts of a dataset; a part that was asked to be empty is.
#[derive(Debug, Clone)]
pub struct Split<'a> {
    /// Rows to learn from.
    pub train: View<'a>,
    /// Rows that decide calibration and early stopping.
    pub valid: View<'a>,
    /// Rows that decide nothing.
    pub test: View<'a>,
}

impl SplitConfig {
    /// Splits a dataset into one fold, whatever `folds` says. `place` (a recipe, a flag) is named in errors.
    ///
    /// # Errors
    /// Those of [`SplitConfig::folds`].
    pub fn split<'a>(&self, dataset: &'a Dataset, place: &str) -> Result<Split<'a>> {
        let mut folds = SplitConfig { folds: 1, ..self.clone() }.folds(dataset, place)?;
        Ok(folds.remove(0))
    }

    /// Splits a dataset into its rolling folds, earliest first. `place` (a recipe, a flag) is named in errors.
    ///
    /// # Errors
    /// Config when sizes are impossible or the dataset has no time or group to split by; Data when a part would be empty.
    pub fn folds<'a>(&self, dataset: &'a Dataset, place: &str) -> Result<Vec<Split<'a>>> {
        let sizes = self.sizes(dataset.rows(), place)?;
        let wrong = |key: &str, message: &str| Error::config(place, key, message);
        let parts: Vec<[Vec<Range<usize>>; 3]> = match self.by {
            By::Chance if self.folds > 1 => {
                return Err(wrong("split.folds", "rolling folds follow time: expected split.by = \"time\""));
            }
            By::Chance if self.together && !dataset.has_group() => {
                return Err(wrong("split.together", "the schema has no field of kind \"group\""));
            }
            By::Chance => vec![by_chance(dataset, sizes, self.seed, self.together)],
            By::Time if dataset.has_time() => {
                let counts = count_times(dataset);
                (0..self.folds).map(|fold| by_time(dataset, &counts, self.cuts(sizes, fold, dataset.rows()))).collect()
            }
            By::Time if dataset.schema().rows_in_time_order => {
                (0..self.folds).map(|fold| by_order(self.cuts(sizes, fold, dataset.rows()))).collect()
            }
            By::Time => {
                let message = "the schema has no field of kind \"time\" and does not say rows_in_time_order = true; \
                               add one of them, or ask for split.by = \"chance\"";
                return Err(wrong("split.by", message));
            }
        };
        // Times and groups have been read of all rows.
        dataset.release(0..dataset.rows());
        let mut folds = Vec::with_capacity(parts.len());
        for (fold, parts) in parts.into_iter().enumerate() {
            let [train, valid, test] = parts.map(|ranges| View::new(dataset, ranges));
            for (name, view, asked) in
                [("train", &train, sizes[0]), ("valid", &valid, sizes[1]), ("test", &test, sizes[2])]
            {
                if view.rows() == 0 && asked > 0 {
                    let of_fold = if self.folds > 1 { format!(" of fold {}", fold + 1) } else { String::new() };
                    let message =
                        format!("the {name} part{of_fold} asks for {asked} of {} rows and got none", dataset.rows());
                    return Err(Error::data(dataset.folder().display().to_string(), message));
                }
            }
            folds.push(Split { train, valid, test });
        }
        Ok(folds)
    }

    /// Where, in rows by time, the parts of a fold begin and the last one ends.
    fn cuts(&self, [train, valid, test]: [usize; 3], fold: usize, rows: usize) -> [usize; 4] {
        let moved = fold * test;
        let start = if self.window == Window::Sliding { moved } else { 0 };
        // Shares are rounded, so the last fold may end a row late.
        [start, moved + train, moved + train + valid, moved + train + valid + test].map(|cut| cut.min(rows))
    }

    /// Rows asked for in each part.
    fn sizes(&self, rows: usize, place: &str) -> Result<[usize; 3]> {
        let amounts = [("split.train", self.train), ("split.valid", self.valid), ("split.test", self.test)];
        let mut share = 0.0;
        let mut whole = 0;
        let mut sizes = [0; 3];
        for (size, (key, amount)) in sizes.iter_mut().zip(amounts) {
            *size = match amount {
                Amount::Rows(count) => {
                    let count = usize::try_from(count).unwrap_or(usize::MAX);
                    whole = usize::saturating_add(whole, count);
                    count
                }
                Amount::Share(part) if (0.0..=1.0).contains(&part) => {
                    // Cuts are rounded, not sizes, so that shares that add up to 1 use every row.
                    let before = cut(share, rows);
                    share += part;
                    cut(share, rows).saturating_sub(before)
                }
                Amount::Share(part) => {
                    let message = format!("expected a share from 0 to 1 or a whole number of rows, got {part}");
                    return Err(Error::config(place, key, message));
                }
            };
        }
        if sizes[0] == 0 {
            let message = format!("expected at least one training row, got none of {rows}");
            return Err(Error::config(place, "split.train", message));
        }
        if !(1..=100).contains(&self.folds) {
            let message = format!("expected 1 to 100 folds, got {}", self.folds);
            return Err(Error::config(place, "split.folds", message));
        }
        if self.folds > 1 && sizes[2] == 0 {
            return Err(Error::config(place, "split.test", "expected test rows, which folds move by, got none"));
        }
        match self.test {
            Amount::Share(part) => share += part * (self.folds - 1) as f64,
            Amount::Rows(_) => whole = whole.saturating_add(sizes[2].saturating_mul(self.folds - 1)),
        }
        if share > 1.0 + 1e-9 || cut(share, rows).saturating_add(whole) > rows {
            let of_folds = match self.folds {
                1 => String::new(),
                folds => format!(" of {folds} folds, each {} test rows later,", sizes[2]),
            };
            let message = format!("the parts{of_folds} ask for more than all {rows} rows");
            return Err(Error::config(place, "split", message));
        }
        Ok(sizes)
    }
}

fn cut(share: f64, rows: usize) -> usize {
    (share * rows as f64).round() as usize
}

fn by_order(cuts: [usize; 4]) -> [Vec<Range<usize>>; 3] {
    [0, 1, 2].map(|part| std::iter::once(cuts[part]..cuts[part + 1]).collect())
}

/// How many rows have each time.
fn count_times(dataset: &Dataset) -> BTreeMap<i64, usize> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for piece in dataset.pieces(0..dataset.rows()) {
        for run in piece.times.unwrap_or_default().chunk_by(|a, b| a == b) {
            *counts.entry(run[0]).or_default() += run.len();
        }
    }
    counts
}

/// Cuts between times, and collects the runs of each part.
fn by_time(dataset: &Dataset, counts: &BTreeMap<i64, usize>, cuts: [usize; 4]) -> [Vec<Range<usize>>; 3] {
    let start = if cuts[0] == 0 { i64::MIN } else { first_time_after(counts, cuts[0]) };
    let ends = [1, 2, 3].map(|cut| first_time_after(counts, cuts[cut]));
    runs(dataset, |row| {
        let time = dataset.time(row).unwrap_or_default();
        if time < start {
            return None;
        }
        ends.iter().position(|end| time < *end)
    })
}

/// The time that about `rows` rows lie before: the cut between two times nearest to it.
fn first_time_after(counts: &BTreeMap<i64, usize>, rows: usize) -> i64 {
    let mut before = 0;
    for (time, count) in counts {
        if before + count > rows && rows - before <= before + count - rows {
            return *time;
        }
        before += count;
        if before >= rows {
            return time.saturating_add(1);
        }
    }
    i64::MAX
}

fn by_chance(dataset: &Dataset, sizes: [usize; 3], seed: u64, together: bool) -> [Vec<Range<usize>>; 3] {
    let rows = dataset.rows().max(1) as f64;
    let [train, valid, test] = sizes.map(|size| size as f64 / rows);
    let salt = Xoshiro256PlusPlus::seed_from_u64(seed).next_u64();
    runs(dataset, |row| {
        let unit = if together { dataset.group(row).unwrap_or_default() } else { row as u64 };
        let draw = Xoshiro256PlusPlus::seed_from_u64(salt ^ unit).next_u64();
        // Test rows are drawn from the top and validation rows below them, so that `train` moves neither.
        let draw = (draw >> 11) as f64 / (1_u64 << 53) as f64;
        let from_top = 1.0 - draw;
        if from_top <= test {
            Some(2)
        } else if from_top <= test + valid {
            Some(1)
        } else {
            (draw < train).then_some(0)
        }
    })
}

/// Neighboring rows of the same part, part by part.
fn runs(dataset: &Dataset, part: impl Fn(usize) -> Option<usize>) -> [Vec<Range<usize>>; 3] {
    let mut parts: [Vec<Range<usize>>; 3] = Default::default();
    for row in 0..dataset.rows() {
        let Some(part) = part(row) else { continue };
        match parts[part].last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => parts[part].push(row..row + 1),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::dataset::tests::{SCHEMA, write};

    const NO_TIME: &str =
        "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\na = { kind = \"categorical\" }\n";

    fn dataset(schema: &str, rows: usize, time: impl Fn(usize) -> i64) -> (tempfile::TempDir, Dataset) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), schema, rows, time);
        let dataset = Dataset::open(folder.path()).unwrap();
        (folder, dataset)
    }

    fn sizes(split: &Split<'_>) -> [usize; 3] {
        [split.train.rows(), split.valid.rows(), split.test.rows()]
    }

    fn config(text: &str) -> SplitConfig {
        crate::config::from_toml(text, "recipe.toml").unwrap()
    }

    #[test]
    fn row_order_is_exact() {
        let schema = NO_TIME.replace("[fields]", "rows_in_time_order = true\n[fields]");
        let (_folder, data) = dataset(&schema, 1001, |_| 0);
        let split = config("train = 0.7\nvalid = 0.1\ntest = 0.2").split(&data, "r").unwrap();
        assert_eq!(sizes(&split), [701, 100, 200]);
        assert_eq!(split.test.ranges().first(), Some(&(801..1001)));
        let split = config("train = 500\nvalid = 0\ntest = 100").split(&data, "r").unwrap();
        assert_eq!(split.train.ranges().first(), Some(&(0..500)));
        assert_eq!(split.test.ranges().first(), Some(&(500..600)));
        assert_eq!(split.valid.rows(), 0);
    }

    #[test]
    fn times_are_never_torn() {
        let (_folder, data) = dataset(SCHEMA, 1000, |row| (row as i64 * 7919) % 1000 / 30);
        let split = config("train = 0.7\nvalid = 0.1\ntest = 0.2").split(&data, "r").unwrap();
        let times = |view: &View<'_>| view.times().unwrap();
        let (train, valid, test) = (times(&split.train), times(&split.valid), times(&split.test));
        assert_eq!(train.len() + valid.len() + test.len(), 1000);
        assert!(train.iter().max() < valid.iter().min() && valid.iter().max() < test.iter().min());
        assert!(train.len().abs_diff(700) <= 15 && test.len().abs_diff(200) <= 30, "{:?}", sizes(&split));
    }

    #[test]
    fn folds_roll_without_a_test_row_twice() {
        let (_folder, data) = dataset(SCHEMA, 1000, |row| (row as i64 * 7919) % 1000 / 7);
        for window in ["growing", "sliding"] {
            let text = format!("train = 0.4\nvalid = 0.1\ntest = 0.15\nfolds = 3\nwindow = {window:?}");
            let folds = config(&text).folds(&data, "r").unwrap();
            assert_eq!(folds.len(), 3);
            let times = |view: &View<'_>| view.times().unwrap();
            for fold in &folds {
                let (train, valid, test) = (times(&fold.train), times(&fold.valid), times(&fold.test));
                assert!(train.iter().max() < valid.iter().min() && valid.iter().max() < test.iter().min());
                assert!(test.len().abs_diff(150) <= 14, "{}", test.len());
            }
            let tested: usize = folds.iter().map(|fold| fold.test.rows()).sum();
            let mut rows: Vec<usize> =
                folds.iter().flat_map(|fold| fold.test.ranges().iter().cloned().flatten()).collect();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), tested, "test parts do not overlap");
            let learned: Vec<usize> = folds.iter().map(|fold| fold.train.rows()).collect();
            match window {
                "growing" => assert!(learned[2] > learned[1] + 100 && learned[1] > learned[0] + 100, "{learned:?}"),
                _ => assert!(learned.iter().all(|rows| rows.abs_diff(400) <= 14), "{learned:?}"),
            }
            let one = config(&text).split(&data, "r").unwrap();
            assert_eq!(one.test.ranges(), folds[0].test.ranges(), "sizes are those of the first fold");
        }
    }

    #[test]
    fn folds_of_rows_in_order_are_exact() {
        let schema = NO_TIME.replace("[fields]", "rows_in_time_order = true\n[fields]");
        let (_folder, data) = dataset(&schema, 1000, |_| 0);
        let folds = config("train = 500\nvalid = 100\ntest = 100\nfolds = 4").folds(&data, "r").unwrap();
        assert_eq!(folds.iter().map(|fold| fold.train.rows()).collect::<Vec<_>>(), [500, 600, 700, 800]);
        assert_eq!(folds[3].test.ranges(), std::slice::from_ref(&(900..1000)));
        let error = |text: &str| config(text).folds(&data, "recipe.toml").unwrap_err().to_string();
        let many = error("train = 500\nvalid = 100\ntest = 100\nfolds = 5");
        assert!(many.contains("of 5 folds, each 100 test rows later, ask for more than all 1000 rows"), "{many}");
        assert!(error("by = \"chance\"\nfolds = 2\ntrain = 0.5").contains("rolling folds follow time"));
        assert!(error("folds = 0").contains("split.folds: expected 1 to 100"), "{}", error("folds = 0"));
    }

    #[test]
    fn one_time_is_no_split() {
        let (_folder, data) = dataset(SCHEMA, 100, |_| 5);
        let error = SplitConfig::default().split(&data, "r").unwrap_err().to_string();
        assert!(error.contains("valid part asks for 10 of 100 rows"), "{error}");
    }

    #[test]
    fn chance_is_seeded_and_keeps_groups() {
        let (_folder, data) = dataset(SCHEMA, 20_000, |row| row as i64);
        let chance = config("by = \"chance\"\ntrain = 0.7\nvalid = 0.1\ntest = 0.2\nseed = 3");
        let split = chance.split(&data, "r").unwrap();
        let [train, valid, test] = sizes(&split);
        assert_eq!(train + valid + test, 20_000);
        assert!(train.abs_diff(14_000) < 300 && valid.abs_diff(2_000) < 200 && test.abs_diff(4_000) < 250);
        let less = SplitConfig { train: Amount::Share(0.3), ..chance.clone() }.split(&data, "r").unwrap();
        assert_eq!(less.test.ranges(), split.test.ranges(), "test rows stay test rows");
        let other = SplitConfig { seed: 4, ..chance.clone() }.split(&data, "r").unwrap();
        assert_ne!(other.test.ranges(), split.test.ranges());

        let together = SplitConfig { together: true, ..chance }.split(&data, "r").unwrap();
        let groups = |view: &View<'_>| view.groups().unwrap().into_iter().collect::<std::collections::BTreeSet<u64>>();
        assert!(groups(&together.train).is_disjoint(&groups(&together.test)));
        assert!(together.test.rows().abs_diff(4_000) < 400);
    }

    #[test]
    fn impossible_splits_say_why() {
        let (_folder, data) = dataset(NO_TIME, 100, |_| 0);
        let error = |text: &str| config(text).split(&data, "recipe.toml").unwrap_err().to_string();
        assert!(error("").contains("rows_in_time_order"), "{}", error(""));
        for text in
            ["train = 0.9\nvalid = 0.1\ntest = 0.1", "train = 90\nvalid = 20", "train = 0.95\nvalid = 10\ntest = 0.0"]
        {
            assert!(error(text).contains("more than all 100 rows"), "{text}: {}", error(text));
        }
        assert!(error("train = 1.5").contains("split.train"), "{}", error("train = 1.5"));
        assert!(error("train = 0").contains("at least one training row"), "{}", error("train = 0"));
        let together = error("by = \"chance\"\ntogether = true");
        assert!(together.contains("split.together"), "{together}");
    }
}
