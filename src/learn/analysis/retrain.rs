//! Settings, a seed and training rows → probabilities of the test rows, trained once and kept.
//!
//! Ablations and learning curves train dozens of times. Each result is a table of predictions in a folder of its own, named by the
//! fingerprint of everything that decides it; so what was stopped goes on, and a base model is trained once for all questions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Experiment, Looking};
use crate::error::{Error, Result};
use crate::learn::dataset::View;
use crate::learn::evaluate;
use crate::learn::experiment::predictions::PredictionTable;
use crate::learn::settings::Settings;
use crate::learn::trainer::{self, Task, train};
use crate::model::features::hash::Fingerprint;

/// Trains on demand.
#[derive(Debug)]
pub struct Retrainer<'a> {
    folder: PathBuf,
    pub(super) train: View<'a>,
    valid: View<'a>,
    test: View<'a>,
    known: BTreeMap<String, Vec<f64>>,
}

impl<'a> Retrainer<'a> {
    /// Keeps results in `folder`, which is made when there is something to `keep`.
    ///
    /// # Errors
    /// Io when the folder cannot be made.
    pub(super) fn new(folder: PathBuf, experiment: &Experiment<'a>, keep: bool) -> Result<Retrainer<'a>> {
        if keep {
            std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
        }
        let Experiment { train, valid, test, .. } = experiment;
        Ok(Retrainer { folder, train: train.clone(), valid: valid.clone(), test: test.clone(), known: BTreeMap::new() })
    }

    /// Probabilities of the test rows that a training on all training rows gave already.
    ///
    /// # Errors
    /// Bug when settings cannot be written.
    pub(super) fn know(&mut self, settings: &Settings, seed: u64, probabilities: &[f64]) -> Result<()> {
        let identity = self.identity(settings, seed, &self.train)?;
        self.known.insert(identity, probabilities.to_vec());
        Ok(())
    }

    /// Calibrated probabilities of the test rows by a model trained with `settings` and `seed` on `rows`. `what` is told while it
    /// learns.
    ///
    /// # Errors
    /// Those of training; io; interrupted.
    pub(super) fn probabilities(
        &mut self,
        what: &str,
        settings: &Settings,
        seed: u64,
        rows: &View<'a>,
        looking: &mut Looking<'_, '_>,
    ) -> Result<Vec<f64>> {
        let identity = self.identity(settings, seed, rows)?;
        if let Some(known) = self.known.get(&identity) {
            return Ok(known.clone());
        }
        let path = self.folder.join(format!("{identity}.parquet"));
        let test_rows: Vec<u64> = self.test.ranges().iter().cloned().flatten().map(|row| row as u64).collect();
        // A table that cannot be read, or is of other rows, is made again.
        let kept = PredictionTable::read(&path).ok().filter(|table| table.rows == test_rows);
        if let Some(kept) = kept {
            return Ok(kept.probabilities);
        }
        let task = Task { train: rows.clone(), valid: self.valid.clone(), settings: settings.clone(), seed };
        looking.begin(what, 0);
        let (threads, interrupt) = (looking.threads, looking.interrupt);
        let mut at = |at: trainer::Progress| {
            (looking.rows, looking.total_rows) = (at.rows, at.total_rows);
            looking.step(0);
        };
        let trained = train(&task, threads, &mut at, interrupt)?;
        let probabilities = evaluate::probabilities(&trained.bundle, &self.test, threads, interrupt)?;
        let table = PredictionTable {
            rows: test_rows,
            labels: self.test.labels(),
            probabilities: probabilities.clone(),
            ..PredictionTable::default()
        };
        table.write(&path)?;
        self.known.insert(identity, probabilities.clone());
        Ok(probabilities)
    }

    /// The rows that predictions are for.
    pub(super) fn test(&self) -> &View<'a> {
        &self.test
    }

    fn identity(&self, settings: &Settings, seed: u64, rows: &View<'_>) -> Result<String> {
        let set = |view: &View<'_>| (view.dataset().fingerprint(), format!("{:?}", view.ranges()));
        let parts = (env!("CARGO_PKG_VERSION"), set(rows), set(&self.valid), set(&self.test), settings, seed);
        let text = serde_json::to_string(&parts).map_err(|error| Error::Bug(error.to_string()))?;
        Ok(Fingerprint::of(text.as_bytes()).to_string())
    }
}
