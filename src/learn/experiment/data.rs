//! The logs of a recipe → prepared rows, split, with the truth beside them where it is known.
//!
//! Prepared data are kept in the experiment's folder and used again when the files (by content) and the schema are the
//! same. Validation and test files that stand apart are encoded with the encoder of the training files.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::duplicates;
use super::recipe::{ModelRecipe, Recipe};
use super::record::{DataRecord, PartRecord};
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::dataset::{Dataset, Manifest, View};
use crate::learn::prepare::{PrepareOptions, PrepareProgress, prepare};
use crate::learn::source::Input;
use crate::learn::split::{Amount, By, Split, SplitConfig};
use crate::model::Threads;
use crate::model::features::Encoder;
use crate::model::features::hash::Fingerprint;
use crate::model::schema::Schema;

/// Opened rows of an experiment.
#[derive(Debug)]
pub struct ExperimentData {
    sets: Sets,
    truth: Option<Vec<f64>>,
}

#[derive(Debug)]
enum Sets {
    /// One set that is split.
    One(Box<Dataset>),
    /// Sets that stand apart; `valid` may be missing.
    Apart { train: Box<Dataset>, valid: Option<Box<Dataset>>, test: Box<Dataset> },
}

/// Opens or prepares the rows of a recipe; `folder` keeps what is prepared.
///
/// # Errors
/// Those of [`prepare`]; data when a truth file does not fit its rows.
pub fn open(
    recipe: &Recipe,
    folder: &Path,
    threads: Threads<'_>,
    progress: &mut (dyn FnMut(PrepareProgress) + Send),
    interrupt: &Interrupt,
) -> Result<ExperimentData> {
    let data = &recipe.data;
    // Validation and test rows of the same log must not teach the encoder where its bins are.
    let train_comes_first = |schema: &Schema| recipe.split.by == By::Time && schema.rows_in_time_order;
    let options = |encoder: Option<Encoder>, learn_from: Option<Amount>| PrepareOptions {
        encoder,
        learn_from,
        max_bad_rows: data.max_bad_rows.unwrap_or(PrepareOptions::default().max_bad_rows),
        scratch: false,
    };
    let schema = recipe.schema()?;
    let sets = match (&data.prepared, &schema) {
        (Some(prepared), _) => Sets::One(Box::new(Dataset::open(&recipe.path(prepared))?)),
        (None, Some(schema)) => {
            let mut cached = |files: &[PathBuf], name: &str, encoder: Option<Encoder>, learn_from: Option<Amount>| {
                let inputs: Vec<Input> = files.iter().map(|file| Input::new(recipe.path(file))).collect();
                let target = folder.join(name);
                if let Some(kept) = kept(&inputs, schema, &target, encoder.as_ref(), learn_from)? {
                    return Ok(kept);
                }
                prepare(&inputs, schema, &target, options(encoder, learn_from), threads, progress, interrupt)?;
                Dataset::open(&target)
            };
            match data.files.is_empty() {
                false => {
                    let learn_from = train_comes_first(schema).then_some(recipe.split.train);
                    Sets::One(Box::new(cached(&data.files, "all", None, learn_from)?))
                }
                true => {
                    let train = cached(&data.train, "train", None, None)?;
                    let encoder = || Some(train.encoder().clone());
                    let valid = match data.valid.is_empty() {
                        true => None,
                        false => Some(cached(&data.valid, "valid", encoder(), None)?),
                    };
                    let test = cached(&data.test, "test", encoder(), None)?;
                    let parts = [("train", Some(&train)), ("valid", valid.as_ref()), ("test", Some(&test))];
                    let parts: Vec<(&str, &Dataset)> =
                        parts.into_iter().filter_map(|(key, set)| Some((key, set?))).collect();
                    check_files(&parts, &recipe.place)?;
                    Sets::Apart { train: Box::new(train), valid: valid.map(Box::new), test: Box::new(test) }
                }
            }
        }
        (None, None) => return Err(Error::config(&recipe.place, "data.schema", "expected a preset or a .toml file")),
    };
    let with_truth = match &sets {
        Sets::One(all) => all,
        Sets::Apart { test, .. } => test,
    };
    let truth = match data.truth.is_empty() {
        true => None,
        false => {
            let files: Vec<PathBuf> = data.truth.iter().map(|file| recipe.path(file)).collect();
            Some(read_truth(&files, with_truth, interrupt)?)
        }
    };
    Ok(ExperimentData { sets, truth })
}

impl ExperimentData {
    /// The schema of the rows.
    pub fn schema(&self) -> &Schema {
        match &self.sets {
            Sets::One(all) => all.schema(),
            Sets::Apart { train, .. } => train.schema(),
        }
    }

    /// Training, validation and test rows of each fold, earliest first; there are always test rows. Without rolling folds, and
    /// where files stand apart, one fold.
    ///
    /// # Errors
    /// Those of [`SplitConfig::folds`]; config when no rows are left to test on, or test rows are not later than training rows.
    pub fn folds(&self, recipe: &Recipe) -> Result<Vec<Split<'_>>> {
        let folds = match &self.sets {
            Sets::One(all) => recipe.split.folds(all, &recipe.place)?,
            Sets::Apart { train, valid: Some(valid), test } => {
                vec![Split { train: train.view(), valid: valid.view(), test: test.view() }]
            }
            Sets::Apart { train, valid: None, test } => {
                let [nine, one, none] = [0.9, 0.1, 0.0].map(Amount::Share);
                let last_tenth = SplitConfig { train: nine, valid: one, test: none, ..SplitConfig::default() };
                vec![Split { test: test.view(), ..last_tenth.split(train, &recipe.place)? }]
            }
        };
        for split in &folds {
            if split.test.rows() == 0 {
                return Err(Error::config(&recipe.place, "split.test", "expected test rows to compare on, got none"));
            }
            if split.valid.rows() == 0 && recipe.models.iter().any(ModelRecipe::chooses) {
                let message = "a grid is chosen on validation rows, got none";
                return Err(Error::config(&recipe.place, "split.valid", message));
            }
            if matches!(self.sets, Sets::Apart { .. }) && !recipe.leakage.allow_time_overlap {
                check_order(split, &recipe.place)?;
            }
        }
        Ok(folds)
    }

    /// True probabilities of the test rows, in order.
    pub fn truth_of(&self, test: &View<'_>) -> Option<Vec<f64>> {
        let truth = self.truth.as_ref()?;
        Some(test.ranges().iter().flat_map(|range| truth[range.clone()].iter().copied()).collect())
    }

    /// What records say about the rows of a fold, after looking for test rows that were learned from.
    ///
    /// # Errors
    /// Config when there are too many of these; interrupted.
    pub fn record(&self, split: &Split<'_>, recipe: &Recipe, interrupt: &Interrupt) -> Result<DataRecord> {
        let found = duplicates::count(split, interrupt)?;
        duplicates::check(found, split.test.rows(), recipe.leakage.max_duplicates, &recipe.place)?;
        let sets: Vec<&Dataset> = match &self.sets {
            Sets::One(all) => vec![all.as_ref()],
            Sets::Apart { train, valid, test } => {
                [Some(train), valid.as_ref(), Some(test)].into_iter().flatten().map(|set| &**set).collect()
            }
        };
        let fingerprint = match sets[..] {
            [one] => one.fingerprint(),
            _ => {
                let all: Vec<String> = sets.iter().map(|set| set.fingerprint().to_string()).collect();
                Fingerprint::of(all.join(" ").as_bytes())
            }
        };
        let ranges = format!("{:?}", [split.train.ranges(), split.valid.ranges(), split.test.ranges()]);
        Ok(DataRecord {
            fingerprint,
            schema: self.schema().name.clone(),
            split: Fingerprint::of(ranges.as_bytes()),
            bad_rows: sets.iter().map(|set| set.manifest().bad_rows.count).sum(),
            grouped: sets[0].has_group(),
            duplicates: Some(found),
            train: part(&split.train),
            valid: part(&split.valid),
            test: part(&split.test),
        })
    }
}

/// Refuses parts of files that stand apart when they are not later than the rows that were learned from.
fn check_order(split: &Split<'_>, place: &str) -> Result<()> {
    let span = |view: &View<'_>| {
        let times = || view.pieces().filter_map(|piece| piece.times).flatten();
        times().min().copied().zip(times().max().copied())
    };
    let parts =
        [("train", "train", &split.train), ("valid", "validation", &split.valid), ("test", "test", &split.test)];
    let mut before: Option<(&str, i64)> = None;
    for (key, name, view) in parts {
        let Some((from, to)) = span(view) else { continue };
        if let Some((earlier, end)) = before.filter(|(_, end)| from <= *end) {
            let message = format!(
                "leakage by time: expected {name} rows after the last {earlier} row ({}), got one from {}. Split the logs by \
                 time; leakage.allow_time_overlap = true bears it",
                moment(end),
                moment(from)
            );
            return Err(Error::config(place, format!("data.{key}"), message));
        }
        before = Some((name, to));
    }
    Ok(())
}

fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Refuses a file, by content, in two parts of files that stand apart.
fn check_files(parts: &[(&str, &Dataset)], place: &str) -> Result<()> {
    for (at, (key, set)) in parts.iter().enumerate() {
        for input in &set.manifest().inputs {
            let same = |(earlier, other): &(&str, &Dataset)| {
                let twin = other.manifest().inputs.iter().find(|other| other.fingerprint == input.fingerprint)?;
                Some((earlier.to_string(), twin.path.clone()))
            };
            if let Some((earlier, twin)) = parts[..at].iter().find_map(same) {
                let message = format!("leakage: {} holds the same bytes as {twin} of data.{earlier}", input.path);
                return Err(Error::config(place, format!("data.{key}"), message));
            }
        }
    }
    Ok(())
}

fn part(view: &View<'_>) -> PartRecord {
    let times = || view.pieces().filter_map(|piece| piece.times);
    PartRecord {
        rows: view.rows() as u64,
        clicks: view.pieces().map(|piece| piece.labels.iter().map(|label| u64::from(*label)).sum::<u64>()).sum(),
        from: times().flatten().min().copied(),
        to: times().flatten().max().copied(),
    }
}

/// What is prepared at `target` already, when it was made from these files by this schema and encoder.
fn kept(
    inputs: &[Input],
    schema: &Schema,
    target: &Path,
    encoder: Option<&Encoder>,
    learn_from: Option<Amount>,
) -> Result<Option<Dataset>> {
    let Ok(manifest) = Manifest::read(target) else { return Ok(None) };
    let same_encoder = encoder.is_none_or(|encoder| encoder.fingerprint() == manifest.encoder_fingerprint)
        && manifest.learned_from == learn_from;
    if manifest.schema.fingerprint != schema.fingerprint() || manifest.inputs.len() != inputs.len() || !same_encoder {
        return Ok(None);
    }
    for (input, record) in inputs.iter().zip(&manifest.inputs) {
        if input.bytes()? != Some(record.bytes) || fingerprint(input.path())? != record.fingerprint {
            return Ok(None);
        }
    }
    // What cannot be opened is prepared again.
    Ok(Dataset::open(target).ok())
}

/// Identity of a file's bytes as stored.
fn fingerprint(path: &Path) -> Result<Fingerprint> {
    let mut file = std::fs::File::open(path).map_err(Error::io(path, "open"))?;
    let mut stream = Fingerprint::stream();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).map_err(Error::io(path, "read"))? {
            0 => return Ok(stream.finish()),
            bytes => stream.update(&block[..bytes]),
        }
    }
}

/// One true probability for each row of `rows`, from files with header `p`.
fn read_truth(files: &[PathBuf], rows: &Dataset, interrupt: &Interrupt) -> Result<Vec<f64>> {
    let mut truth = Vec::with_capacity(rows.rows());
    for path in files {
        interrupt.check()?;
        let file = std::fs::File::open(path).map_err(Error::io(path, "open"))?;
        let mut lines = BufReader::with_capacity(1 << 18, file).lines();
        let row_error = |line: usize, expected: &str, got: &str| Error::Row {
            file: path.display().to_string(),
            line: line as u64 + 1,
            field: "p".into(),
            expected: expected.into(),
            got: got.chars().take(40).collect(),
        };
        match lines.next().transpose().map_err(Error::io(path, "read"))? {
            Some(header) if header.trim() == "p" => {}
            header => return Err(row_error(0, "the header p", &header.unwrap_or_default())),
        }
        for (line, text) in lines.enumerate() {
            let text = text.map_err(Error::io(path, "read"))?;
            let p = text.trim().parse::<f64>().ok().filter(|p| (0.0..=1.0).contains(p));
            truth.push(p.ok_or_else(|| row_error(line + 1, "a probability", &text))?);
        }
    }
    if truth.len() != rows.rows() {
        let message = format!(
            "expected one true probability for each of {} prepared rows, got {} ({} bad rows were left out)",
            rows.rows(),
            truth.len(),
            rows.manifest().bad_rows.count
        );
        return Err(Error::data(files[0].display().to_string(), message));
    }
    Ok(truth)
}
