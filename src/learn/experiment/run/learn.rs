//! Training rows and settings → a trained and calibrated model of any kind.

use std::time::Instant;

use baselines::{Fitted, sample_rows};

use super::timing::{some_codes, time_bundle, time_scoring};
use crate::error::{Error, Result};
use crate::learn::dataset::View;
use crate::learn::experiment::dense;
use crate::learn::experiment::kind::{ReferenceSettings, Resolved};
use crate::learn::experiment::record::{Scoring, TrainingSummary};
use crate::learn::settings::Settings;
use crate::learn::trainer::{Progress, Task, train};
use crate::learn::{Interrupt, evaluate};
use crate::model::Threads;
use crate::model::bundle::Bundle;
use crate::model::calibration::{self, Calibrator, Choice};

/// Rows and settings of one training.
pub(in crate::learn::experiment) struct Lesson<'a> {
    /// Name of the model, for errors.
    pub(in crate::learn::experiment) model: &'a str,
    pub(in crate::learn::experiment) settings: &'a Resolved,
    pub(in crate::learn::experiment) train: View<'a>,
    pub(in crate::learn::experiment) valid: View<'a>,
    pub(in crate::learn::experiment) seed: u64,
    pub(in crate::learn::experiment) threads: Threads<'a>,
    pub(in crate::learn::experiment) interrupt: &'a Interrupt,
}

/// A trained and calibrated model, with its logits on the validation rows.
pub(in crate::learn::experiment) struct Learned {
    pub(in crate::learn::experiment) model: Model,
    pub(in crate::learn::experiment) calibrator: Calibrator,
    pub(in crate::learn::experiment) choice: Choice,
    pub(in crate::learn::experiment) valid_logits: Vec<f32>,
    pub(in crate::learn::experiment) training: TrainingSummary,
    pub(in crate::learn::experiment) notes: Vec<String>,
}

/// What was trained.
pub(in crate::learn::experiment) enum Model {
    Own(Box<Bundle>),
    Reference { fitted: Box<Fitted>, dimensions: usize },
}

impl Lesson<'_> {
    /// Trains and calibrates.
    ///
    /// # Errors
    /// Those of training; interrupted.
    pub(in crate::learn::experiment) fn learn(&self, on_progress: &mut dyn FnMut(Progress)) -> Result<Learned> {
        match self.settings {
            Resolved::Own(settings) => self.own(settings, on_progress),
            Resolved::Reference(settings) => self.reference(settings),
        }
    }

    fn own(&self, settings: &Settings, on_progress: &mut dyn FnMut(Progress)) -> Result<Learned> {
        let (train_rows, valid) = (self.train.clone(), self.valid.clone());
        let task = Task { train: train_rows, valid, settings: settings.clone(), seed: self.seed };
        let trained = train(&task, self.threads, on_progress, self.interrupt)?;
        let (bundle, record) = (trained.bundle, trained.record);
        let training = TrainingSummary {
            rows: record.rows,
            rows_used: self.train.rows() as u64,
            seconds: record.seconds,
            rows_per_second: record.rows as f64 / record.seconds.max(1e-9),
            stopped_early: record.stopped_early,
            best_look: record.best_look,
            curve: record.curve,
        };
        Ok(Learned {
            calibrator: bundle.calibrator.clone(),
            choice: bundle.manifest.profile.calibration.clone(),
            valid_logits: evaluate::logits(&bundle, &self.valid, self.threads, self.interrupt)?,
            model: Model::Own(Box::new(bundle)),
            training,
            notes: Vec::new(),
        })
    }

    fn reference(&self, settings: &ReferenceSettings) -> Result<Learned> {
        let refused = |error: baselines::BaselineError| Error::data(format!("model {}", self.model), error.to_string());
        let (offered, dimensions) = (self.train.rows(), settings.dimensions);
        let limit = settings.model.row_limit(dimensions).map_err(refused)?;
        let sample = sample_rows(offered, limit, self.seed);
        let (rows, labels) = dense::of_positions(&self.train, &sample, dimensions)?;
        self.interrupt.check()?;
        let begun = Instant::now();
        let fitted = settings.model.fit(&rows, &labels, self.seed).map_err(refused)?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut report = fitted.report().clone();
        report.rows_offered = offered;

        let model = Model::Reference { fitted: Box::new(fitted), dimensions };
        let valid_logits = model.logits(&self.valid, self.threads, self.interrupt)?;
        let valid_labels = self.valid.labels();
        let (calibrator, choice) = calibration::fit(&settings.calibration, &valid_logits, &valid_labels, 1.0)?;
        let rows = report.rows_used as u64;
        let training = TrainingSummary {
            rows,
            rows_used: rows,
            seconds,
            rows_per_second: rows as f64 / seconds.max(1e-9),
            stopped_early: false,
            best_look: 0,
            curve: Vec::new(),
        };
        let notes = vec![format!("{report}, hashed with signs; one thread")];
        Ok(Learned { model, calibrator, choice, valid_logits, training, notes })
    }
}

impl Model {
    /// Logits before calibration, in the order of the rows.
    ///
    /// # Errors
    /// Interrupted.
    pub(in crate::learn::experiment) fn logits(
        &self,
        view: &View<'_>,
        threads: Threads<'_>,
        interrupt: &Interrupt,
    ) -> Result<Vec<f32>> {
        match self {
            Model::Own(bundle) => evaluate::logits(bundle, view, threads, interrupt),
            Model::Reference { fitted, dimensions } => reference_logits(fitted, view, *dimensions, interrupt),
        }
    }

    /// How fast it scores rows of `view`, from codes to calibrated probabilities.
    ///
    /// # Errors
    /// Bug when a library refuses rows that it took before.
    pub(super) fn time(&self, calibrator: &Calibrator, view: &View<'_>) -> Result<Scoring> {
        match self {
            Model::Own(bundle) => time_bundle(bundle, view),
            Model::Reference { fitted, dimensions } => {
                let width = view.dataset().width();
                let codes = some_codes(view);
                time_scoring(codes.len() / width, |rows| {
                    let dense = dense::of_codes(&codes[rows.start * width..rows.end * width], width, *dimensions)?;
                    for p in fitted.predict(&dense).map_err(|error| Error::Bug(error.to_string()))? {
                        std::hint::black_box(calibrator.probability(logit(p)));
                    }
                    Ok(())
                })
            }
        }
    }
}

fn reference_logits(fitted: &Fitted, view: &View<'_>, dimensions: usize, interrupt: &Interrupt) -> Result<Vec<f32>> {
    const BLOCK_ROWS: usize = 4096;
    let width = view.dataset().width();
    let mut logits = Vec::with_capacity(view.rows());
    for piece in view.pieces() {
        for codes in piece.codes.chunks(BLOCK_ROWS * width) {
            interrupt.check()?;
            let rows = dense::of_codes(codes, width, dimensions)?;
            let probabilities = fitted.predict(&rows).map_err(|error| Error::Bug(error.to_string()))?;
            logits.extend(probabilities.into_iter().map(logit));
        }
    }
    Ok(logits)
}

fn logit(probability: f64) -> f32 {
    (probability / (1.0 - probability)).ln() as f32
}
