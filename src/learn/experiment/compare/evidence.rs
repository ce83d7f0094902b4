//! Test predictions of all runs → the differences of all models, resampled together.
//!
//! The tables of one model are read one after the other, models in parallel; of a run only its resampled metrics and the mean of
//! its placements stay, so that memory does not grow with the seeds. All of it is the same at any number of threads.

use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::experiment::predictions::{PredictionTable, TEST_FILE};
use crate::learn::experiment::rules::BootstrapConfig;
use crate::metrics::Predictions;
use crate::metrics::bootstrap::{Blocks, Resamples, RowBlocks, ascending};
use crate::metrics::delong::{AucDifference, Placements};
use crate::metrics::differences::{Difference, Differences, ModelDraws, RunDraws};
use crate::metrics::resampled::{Metric, resample};
use crate::model::Threads;

use super::LoadedRun;
use super::summary::ModelSummary;
use super::verdict::thousands;

/// Consecutive rows of a block, where neither recipe nor schema says which rows belong together.
const BLOCK_ROWS: usize = 100;

/// What the test rows say about the models.
pub(super) struct Evidence {
    /// In the order of [`Metric::ALL`]; `None` where the metric does not exist on these rows, or there are too few of them.
    differences: Vec<Option<Differences>>,
    /// Mean over the runs of each model; `None` where DeLong's method does not apply.
    placements: Vec<Option<Placements>>,
    /// Which rows were resampled together, in words.
    pub(super) blocks: String,
}

/// What is kept of the runs of one model.
struct OfModel {
    draws: Vec<Vec<Option<RunDraws>>>,
    placements: Option<Placements>,
}

impl Evidence {
    /// Reads and resamples the test predictions of `models`.
    ///
    /// # Errors
    /// Io and data when a table cannot be read or holds other rows than the first; interrupted.
    pub(super) fn read(
        models: &[ModelSummary],
        bootstrap: &BootstrapConfig,
        threads: Threads,
        interrupt: &Interrupt,
    ) -> Result<Evidence> {
        let first = models.iter().flat_map(|model| &model.runs).next().expect("a comparison has at least one run");
        let shared = PredictionTable::read(&first.folder.join(TEST_FILE))?;
        let groups = shared.groups.as_deref().filter(|_| bootstrap.block_rows == 0);
        let block_rows = if bootstrap.block_rows == 0 { BLOCK_ROWS } else { bootstrap.block_rows };
        let row_blocks = RowBlocks::new(shared.rows.len(), groups.map_or(Blocks::Rows(block_rows), Blocks::Groups));
        let blocks = match groups {
            Some(_) => "the rows of one group stay together".to_owned(),
            None => format!("{} consecutive rows stay together", thousands(block_rows as u64)),
        };
        let count = row_blocks.blocks();
        if count < 2 {
            return Ok(Evidence { differences: Vec::new(), placements: Vec::new(), blocks });
        }
        let settings = bootstrap.settings();
        let resamples = Resamples::draw(count, settings);
        let of_models = threads.map(models.iter().collect(), |model: &ModelSummary| {
            OfModel::read(&model.runs, &shared, &row_blocks, &resamples, interrupt)
        });
        let of_models = of_models.into_iter().collect::<Result<Vec<OfModel>>>()?;
        let differences = (0..Metric::ALL.len()).map(|metric| {
            let of_model = |model: &OfModel| {
                let runs: Option<Vec<RunDraws>> = model.draws.iter().map(|run| run[metric].clone()).collect();
                ModelDraws::of_runs(&runs?, count)
            };
            let models: Option<Vec<ModelDraws>> = of_models.iter().map(of_model).collect();
            Differences::new(models?, count, settings)
        });
        Ok(Evidence {
            differences: differences.collect(),
            placements: of_models.into_iter().map(|model| model.placements).collect(),
            blocks,
        })
    }

    /// `metric` of model `a` minus that of model `b`, by their places.
    pub(super) fn between(&self, metric: Metric, a: usize, b: usize) -> Option<Difference> {
        Some(self.of(metric)?.between(a, b))
    }

    /// How far intervals of `metric` reach, in standard errors of a normal error.
    pub(super) fn critical(&self, metric: Metric) -> Option<f64> {
        self.of(metric).map(Differences::critical)
    }

    fn of(&self, metric: Metric) -> Option<&Differences> {
        let at = Metric::ALL.iter().position(|other| *other == metric).expect("ALL holds all metrics");
        self.differences.get(at)?.as_ref()
    }

    /// AUC of model `a` minus that of model `b` by DeLong's method, on the means over their runs.
    pub(super) fn delong(&self, a: usize, b: usize) -> Option<AucDifference> {
        let of = |model: usize| self.placements.get(model)?.as_ref();
        Some(of(a)?.minus(of(b)?))
    }
}

impl OfModel {
    fn read(
        runs: &[LoadedRun],
        shared: &PredictionTable,
        blocks: &RowBlocks,
        resamples: &Resamples,
        interrupt: &Interrupt,
    ) -> Result<OfModel> {
        let mut draws = Vec::with_capacity(runs.len());
        let mut placements = Vec::with_capacity(runs.len());
        for run in runs {
            interrupt.check()?;
            let path = run.folder.join(TEST_FILE);
            let table = PredictionTable::read(&path)?;
            if table.rows != shared.rows || table.labels != shared.labels {
                let message = "holds other rows or labels than the other runs, against what its record says";
                return Err(Error::data(path.display().to_string(), message));
            }
            let predictions = Predictions::new(&shared.labels, &table.probabilities, shared.weights.as_deref());
            let order = ascending(&predictions);
            draws.push(resample(&predictions, &order, blocks, resamples).to_vec());
            placements.push(Placements::of_order(&predictions, &order));
        }
        let placements: Option<Vec<Placements>> = placements.into_iter().collect();
        Ok(OfModel { draws, placements: placements.and_then(Placements::mean) })
    }
}
