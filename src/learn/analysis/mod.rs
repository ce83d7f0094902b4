//! Finished models and the rows they were tested on → why they predict what they do, and what more data or slots would bring.
//!
//! ```text
//! bundles, test rows ─┬─▶ importance      permuted fields
//!                     ├─▶ disagreements   rows two models see differently, field by field
//!                     └─▶ age             loss against the time since training
//! training rows ──────┬─▶ collisions      values that share a slot, and what that costs
//!                     ├─▶ ablation        trained without a field
//!                     └─▶ learning curve  trained on fewer rows
//! ```
//!
//! Each looks at data and models, which a report may not, and leaves an exhibit in the experiment's folder that the report shows
//! ([`crate::learn::report::exhibit`]), with the same numbers as typed facts. Everything is seeded and gives the same bits at any
//! number of threads; what is trained on the way is kept and not trained again ([`retrain`]).

pub mod ablation;
pub mod age;
pub mod collisions;
mod config;
pub mod contributions;
pub mod disagreements;
mod exhibits;
pub mod importance;
pub mod learning_curve;
mod parts;
pub mod power_law;
pub mod retrain;
mod rows;
mod subject;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use config::{Ablate, AnalysisConfig};
pub use parts::parts_of_run;
pub use subject::Subject;

use super::Interrupt;
use super::dataset::View;
use super::report::exhibit::{ANALYSIS, Exhibit};
use crate::durable::write_bytes;
use crate::error::{Error, Result};
use crate::metrics::bootstrap::Bootstrap;
use crate::model::Threads;
use crate::model::bundle::ModelKind;
use crate::model::features::Encoder;
use crate::model::schema::{FeatureKind, Schema};
use retrain::Retrainer;
use rows::{Field, HeldRows, Targets, fields};

/// What is looked into.
#[derive(Debug)]
pub struct Experiment<'a> {
    /// Exhibits are written to `analysis/` in this folder.
    pub folder: &'a Path,
    /// What, and how thoroughly.
    pub config: &'a AnalysisConfig,
    /// How intervals are made.
    pub bootstrap: Bootstrap,
    /// Consecutive rows that are resampled together; 0 takes the groups of the schema, or 100 rows where it has none.
    pub block_rows: usize,
    /// The models; those that see nothing of a row are passed over.
    pub subjects: Vec<Subject>,
    /// Rows the models learned from; empty where only scoring is asked for.
    pub train: View<'a>,
    /// Rows that decided calibration and early stopping; may be empty.
    pub valid: View<'a>,
    /// Rows that decided nothing.
    pub test: View<'a>,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'p> {
    /// What is going on.
    pub what: &'p str,
    /// Rows scored or learned from, so far.
    pub rows: u64,
    /// Of how many.
    pub total_rows: u64,
}

/// Looks into the models and writes one exhibit for each question, in the order in which a report shows them. What was written
/// by the same call before is replaced; exhibits of questions that are no longer asked are removed.
///
/// # Errors
/// Config when a name is unknown or there are no rows for what is asked; those of training; io; interrupted.
pub fn analyze(
    experiment: &Experiment<'_>,
    threads: Threads<'_>,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<Vec<Exhibit>> {
    let Experiment { config, test, .. } = experiment;
    let schema = test.dataset().schema();
    let known: Vec<&str> = schema.features.iter().map(|feature| feature.name.as_str()).collect();
    let names: Vec<&str> = experiment.subjects.iter().map(|subject| subject.name.as_str()).collect();
    config.check(&names, Some(&known), "settings")?;
    let asked = |subject: &&Subject| config.models.is_empty() || config.models.contains(&subject.name);
    let seeing = |subject: &&Subject| subject.bundle.model.kind() != ModelKind::BaseRate;
    let subjects: Vec<&Subject> = experiment.subjects.iter().filter(asked).filter(seeing).collect();
    for subject in &subjects {
        subject.check_rows(test)?;
    }
    let folder = experiment.folder.join(ANALYSIS);
    let mut looking = Looking {
        bootstrap: experiment.bootstrap,
        block_rows: experiment.block_rows,
        threads,
        interrupt,
        on_progress,
        what: String::new(),
        rows: 0,
        total_rows: 0,
    };
    let looking = &mut looking;
    let mut shown = Vec::new();
    let mut show = |file: &str, exhibit: Option<Exhibit>| -> Result<()> {
        let path = folder.join(file);
        let Some(exhibit) = exhibit else {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, "remove")(error)),
                _ => Ok(()),
            };
        };
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
        let text = serde_json::to_string_pretty(&exhibit).map_err(|error| Error::Bug(error.to_string()))?;
        write_bytes(&path, format!("{text}\n").as_bytes())?;
        shown.push(exhibit);
        Ok(())
    };

    let targets = Targets::all(test);
    let mut probabilities = Vec::with_capacity(subjects.len());
    for subject in &subjects {
        looking.interrupt.check()?;
        probabilities.push(super::evaluate::probabilities(&subject.bundle, test, threads, interrupt)?);
    }
    let any = !subjects.is_empty();
    let units = units(test.dataset().encoder(), schema, config);

    let mut exhibit = None;
    if config.importance && any {
        let held = HeldRows::sample(test, config.rows);
        let mut found = Vec::with_capacity(subjects.len());
        for subject in &subjects {
            found.push(importance::importance(&subject.name, &subject.bundle, &held, &units, config, looking)?);
        }
        exhibit = Some(exhibits::importance(&found)?);
    }
    show("10-importance.json", exhibit)?;

    let trains = config.trains() && any;
    if (trains || config.collisions && any) && experiment.train.rows() == 0 {
        let message = "training again and counting collisions need the training rows, and there are none here";
        return Err(Error::config("analysis", "train", message));
    }
    let judge = rows::Judge::new(&targets, experiment.block_rows, experiment.bootstrap);
    let mut retrainer = Retrainer::new(folder.join("retrained"), experiment, trains)?;
    for (subject, probabilities) in subjects.iter().zip(&probabilities) {
        retrainer.know(&subject.settings, subject.seed, probabilities)?;
    }
    let mut exhibit = None;
    let left_out = ablation::left_out(&units, config);
    if !left_out.is_empty() && any {
        let mut found = Vec::with_capacity(subjects.len());
        for subject in &subjects {
            found.push(ablation::ablation(subject, &left_out, config, &mut retrainer, &judge, looking)?);
        }
        exhibit = Some(exhibits::ablation(&found)?);
    }
    show("20-ablation.json", exhibit)?;

    let mut exhibit = None;
    if config.learning_curve && any {
        let mut found = Vec::with_capacity(subjects.len());
        for subject in &subjects {
            found.push(learning_curve::learning_curve(subject, config, &mut retrainer, &judge, looking)?);
        }
        exhibit = Some(exhibits::learning_curve(&found)?);
    }
    show("30-learning-curve.json", exhibit)?;

    let mut exhibit = None;
    if config.collisions && any {
        let mut found = Vec::with_capacity(subjects.len());
        for subject in &subjects {
            found.push(collisions::collisions(subject, config.collision_cost, &mut retrainer, &judge, looking)?);
        }
        exhibit = Some(exhibits::collisions(&found)?);
    }
    show("40-collisions.json", exhibit)?;

    let mut exhibit = None;
    if config.disagreements > 0 && subjects.len() > 1 {
        let mut found = Vec::new();
        for (a, b) in pairs(subjects.len()) {
            let pair = [(subjects[a], &probabilities[a][..]), (subjects[b], &probabilities[b][..])];
            found.push(disagreements::disagreements(pair, test, &targets, config.disagreements)?);
        }
        disagreements::name_values(&mut found, test, interrupt)?;
        exhibit = Some(exhibits::disagreements(&found)?);
    }
    show("50-disagreements.json", exhibit)?;

    let mut exhibit = None;
    if config.age && any {
        let trained_until = experiment.train.pieces().filter_map(|piece| piece.times?.iter().max().copied()).max();
        let named: Vec<(&str, &[f64])> =
            subjects.iter().map(|subject| subject.name.as_str()).zip(probabilities.iter().map(Vec::as_slice)).collect();
        let evidence = (experiment.train.rows() > 0).then(|| experiment.train.evidence());
        exhibit = age::age(&named, trained_until, evidence, &judge).map(|found| exhibits::age(&found)).transpose()?;
    }
    show("60-age.json", exhibit)?;
    Ok(shown)
}

/// Pairs of models whose disagreements are shown: all of the first three.
fn pairs(models: usize) -> Vec<(usize, usize)> {
    let models = models.min(3);
    (0..models).flat_map(|a| (a + 1..models).map(move |b| (a, b))).collect()
}

/// What all questions share: how intervals are made, who works, and who is told.
pub(crate) struct Looking<'a, 'p> {
    bootstrap: Bootstrap,
    block_rows: usize,
    threads: Threads<'a>,
    interrupt: &'a Interrupt,
    on_progress: &'a mut (dyn FnMut(Progress<'_>) + Send + 'p),
    what: String,
    rows: u64,
    total_rows: u64,
}

impl Looking<'_, '_> {
    fn begin(&mut self, what: &str, total_rows: u64) {
        (self.what, self.rows, self.total_rows) = (what.to_owned(), 0, total_rows);
        self.step(0);
    }

    fn step(&mut self, rows: u64) {
        self.rows += rows;
        (self.on_progress)(Progress { what: &self.what, rows: self.rows, total_rows: self.total_rows });
    }
}

/// Fields that are permuted, or left out, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    name: String,
    fields: Vec<Field>,
    /// Named by the user or by kind, not a field of its own.
    group: bool,
}

/// Every field by itself, then the groups.
fn units(encoder: &Encoder, schema: &Schema, config: &AnalysisConfig) -> Vec<Unit> {
    let fields = fields(encoder);
    let single =
        fields.iter().map(|field| Unit { name: field.name.clone(), fields: vec![field.clone()], group: false });
    let mut units: Vec<Unit> = single.collect();
    let members = |names: &dyn Fn(&str) -> bool| fields.iter().filter(|field| names(&field.name)).cloned().collect();
    match config.groups.is_empty() {
        false => units.extend(config.groups.iter().map(|(name, names)| {
            let fields = members(&|field| names.iter().any(|name| name == field));
            Unit { name: name.clone(), fields, group: true }
        })),
        true => {
            let kind = |field: &str| schema.features.iter().find(|of| of.name == field).map(|of| kind_name(&of.kind));
            for name in ["all categorical", "all numeric", "all bags"] {
                let fields: Vec<Field> = members(&|field| kind(field) == Some(name));
                // A group of one field, or of all, says nothing new.
                if fields.len() > 1 && fields.len() < schema.features.len() {
                    units.push(Unit { name: name.to_owned(), fields, group: true });
                }
            }
        }
    }
    units
}

fn kind_name(kind: &FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Categorical { .. } => "all categorical",
        FeatureKind::Numeric { .. } => "all numeric",
        FeatureKind::Bag { .. } => "all bags",
    }
}
