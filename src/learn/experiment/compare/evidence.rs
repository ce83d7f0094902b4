//! Test predictions of all runs → the differences of all models, resampled together, and the sums of every slice.
//!
//! The test rows of the folds of one seed are taken together, in the order of the folds. The tables of one model are read one
//! after the other, models in parallel; of a run only its resampled metrics and its part of the model's means stay, and of a
//! model only sums of blocks, so that memory does not grow with the seeds. All of it is the same at any number of threads.

use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::experiment::predictions::{PredictionTable, TEST_FILE};
use crate::learn::experiment::rules::{BlockBy, BootstrapConfig};
use crate::metrics::bootstrap::{Blocks, Resamples, RowBlocks, ascending};
use crate::metrics::calibration::{ReliabilityBin, reliability};
use crate::metrics::delong::{AucDifference, Placements};
use crate::metrics::differences::{Difference, Differences, ModelDraws, RunDraws};
use crate::metrics::ranking::Ranking;
use crate::metrics::resampled::{Metric, resample};
use crate::metrics::slices::{SliceCells, auc_by_slice};
use crate::metrics::{CALIBRATION_BINS, Predictions, losses};
use crate::model::Threads;

use super::LoadedRun;
use super::sliced::Cutting;
use super::summary::ModelSummary;
use super::verdict::thousands;

/// Consecutive rows of a block, where neither recipe nor schema says which rows belong together.
const BLOCK_ROWS: usize = 100;
const SECONDS_AN_HOUR: i64 = 3600;

/// What all runs share: the test rows of all folds, one after the other.
pub(super) struct TestRows {
    /// Of the first run; its probabilities are those of the model that leads.
    pub(super) table: PredictionTable,
    /// Which rows are resampled together.
    pub(super) blocks: RowBlocks,
    /// The same in words.
    pub(super) blocks_are: String,
    /// Test rows of each fold.
    pub(super) fold_rows: Vec<usize>,
}

/// What the test rows say about the models.
pub(super) struct Evidence {
    /// In the order of [`Metric::ALL`]; `None` where the metric does not exist on these rows, or there are too few of them.
    differences: Vec<Option<Differences>>,
    models: Vec<OfModel>,
}

/// What is kept of the runs of one model.
struct OfModel {
    draws: Vec<Vec<Option<RunDraws>>>,
    /// Mean over the runs; `None` where DeLong's method does not apply.
    placements: Option<Placements>,
    reliability_before: Vec<ReliabilityBin>,
    /// One for each cutting.
    slices: Vec<SlicedModel>,
}

/// One model by the slices of one cutting.
pub(super) struct SlicedModel {
    /// In each cell: weighted log loss, probability, and probability before calibration (the same where it is not known), means
    /// over seeds.
    pub(super) sums: Vec<[f64; 3]>,
    /// AUC in each slice, first seed.
    pub(super) auc: Vec<Option<f64>>,
}

impl TestRows {
    /// Reads the rows of the first run's seed.
    ///
    /// # Errors
    /// Io and data when a table cannot be read; config when rows are to be blocked by what they do not have.
    pub(super) fn read(model: &ModelSummary, bootstrap: &BootstrapConfig) -> Result<TestRows> {
        let runs = model.runs_by_seed().next().expect("a model has at least one run");
        let mut fold_rows = Vec::with_capacity(runs.len());
        let table = read_folds(runs, |fold| fold_rows.push(fold.rows.len()))?;
        let rows = table.rows.len();
        let block_rows = if bootstrap.block_rows == 0 { BLOCK_ROWS } else { bootstrap.block_rows };
        let lacks = |what: &str| {
            let message = format!("the test predictions of {} have no {what}", runs[0].folder.display());
            Error::config("compare", "bootstrap.blocks", message)
        };
        let by = match bootstrap.blocks {
            BlockBy::Auto if table.groups.is_some() && bootstrap.block_rows == 0 => BlockBy::Group,
            BlockBy::Auto => BlockBy::Rows,
            by => by,
        };
        let (blocks, blocks_are) = match by {
            BlockBy::Group => {
                let groups = table.groups.as_deref().ok_or_else(|| lacks("groups"))?;
                (RowBlocks::new(rows, Blocks::Groups(groups)), "the rows of one group stay together".to_owned())
            }
            BlockBy::Hour => {
                let times = table.times.as_deref().ok_or_else(|| lacks("time"))?;
                let hours: Vec<u64> = times.iter().map(|time| time.div_euclid(SECONDS_AN_HOUR) as u64).collect();
                (RowBlocks::new(rows, Blocks::Groups(&hours)), "the rows of one hour stay together".to_owned())
            }
            BlockBy::Auto | BlockBy::Rows => {
                let words = format!("{} consecutive rows stay together", thousands(block_rows as u64));
                (RowBlocks::new(rows, Blocks::Rows(block_rows)), words)
            }
        };
        Ok(TestRows { table, blocks, blocks_are, fold_rows })
    }
}

impl Evidence {
    /// Reads and resamples the test predictions of `models`.
    ///
    /// # Errors
    /// Io and data when a table cannot be read or holds other rows than the first; interrupted.
    pub(super) fn read(
        models: &[ModelSummary],
        rows: &TestRows,
        cuttings: &[Cutting],
        bootstrap: &BootstrapConfig,
        threads: Threads,
        interrupt: &Interrupt,
    ) -> Result<Evidence> {
        let count = rows.blocks.blocks();
        let settings = bootstrap.settings();
        let resamples = (count > 1).then(|| Resamples::draw(count, settings));
        let cells: Vec<SliceCells> = cuttings.iter().map(|cutting| cutting.cells(&rows.blocks)).collect();
        let of_models = threads.map(models.iter().collect(), |model: &ModelSummary| {
            OfModel::read(model, rows, cuttings, &cells, resamples.as_ref(), interrupt)
        });
        let models = of_models.into_iter().collect::<Result<Vec<OfModel>>>()?;
        let differences = threads.map((0..Metric::ALL.len()).collect(), |metric| {
            resamples.as_ref()?;
            let of_model = |model: &OfModel| {
                let runs: Option<Vec<RunDraws>> = model.draws.iter().map(|run| run[metric].clone()).collect();
                ModelDraws::of_runs(&runs?, count)
            };
            let models: Option<Vec<ModelDraws>> = models.iter().map(of_model).collect();
            Differences::new(models?, count, settings)
        });
        Ok(Evidence { differences, models })
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
        let of = |model: usize| self.models.get(model)?.placements.as_ref();
        Some(of(a)?.minus(of(b)?))
    }

    /// Reliability of a model's first seed before calibration; empty where runs do not keep it.
    pub(super) fn reliability_before(&self, model: usize) -> &[ReliabilityBin] {
        &self.models[model].reliability_before
    }

    /// A model by the slices of a cutting, by their places.
    pub(super) fn sliced(&self, model: usize, cutting: usize) -> &SlicedModel {
        &self.models[model].slices[cutting]
    }
}

impl OfModel {
    fn read(
        model: &ModelSummary,
        rows: &TestRows,
        cuttings: &[Cutting],
        cells: &[SliceCells],
        resamples: Option<&Resamples>,
        interrupt: &Interrupt,
    ) -> Result<OfModel> {
        let shared = &rows.table;
        let mut of_model =
            OfModel { draws: Vec::new(), placements: None, reliability_before: Vec::new(), slices: Vec::new() };
        let mut placements = Vec::new();
        let mut means = vec![[0.0; 3]; shared.rows.len()];
        let mut aucs: Vec<Vec<Option<f64>>> = Vec::new();
        let share = 1.0 / model.seeds.len() as f64;
        for (seed, folds) in model.runs_by_seed().enumerate() {
            interrupt.check()?;
            let table = read_folds(folds, |_| {})?;
            if table.rows != shared.rows || table.labels != shared.labels {
                let message = "holds other rows or labels than the other runs, against what its record says";
                return Err(Error::data(folds[0].folder.join(TEST_FILE).display().to_string(), message));
            }
            let predictions = Predictions::new(&shared.labels, &table.probabilities, shared.weights.as_deref());
            let order = ascending(&predictions);
            if let Some(resamples) = resamples {
                of_model.draws.push(resample(&predictions, &order, &rows.blocks, resamples).to_vec());
            }
            placements.push(Placements::of_order(&predictions, &order));
            let row_losses = losses::row_log_losses(&predictions);
            let before = table.uncalibrated.as_ref().unwrap_or(&table.probabilities);
            for (row, mean) in means.iter_mut().enumerate() {
                mean[0] += share * row_losses[row];
                mean[1] += share * table.probabilities[row];
                mean[2] += share * before[row];
            }
            if seed == 0 {
                let auc = |cutting: &Cutting| auc_by_slice(&predictions, &order, &cutting.of_row, cutting.names.len());
                aucs = cuttings.iter().map(auc).collect();
                if let Some(before) = &table.uncalibrated {
                    let before = Predictions::new(&shared.labels, before, shared.weights.as_deref());
                    of_model.reliability_before = reliability(&Ranking::new(&before), CALIBRATION_BINS);
                }
            }
        }
        let placements: Option<Vec<Placements>> = placements.into_iter().collect();
        of_model.placements = placements.and_then(Placements::mean);
        let weight = |row: usize| shared.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]));
        let sliced = cells
            .iter()
            .zip(aucs)
            .map(|(cells, auc)| SlicedModel { sums: cells.sums(|row| means[row].map(|mean| weight(row) * mean)), auc });
        of_model.slices = sliced.collect();
        Ok(of_model)
    }
}

/// The test predictions of a model's first seed, of all folds.
pub(super) fn read_first_seed(model: &ModelSummary) -> Result<PredictionTable> {
    read_folds(model.runs_by_seed().next().expect("a model has at least one run"), |_| {})
}

/// The test predictions of the folds of one seed, one after the other; `each` sees every fold.
fn read_folds(runs: &[LoadedRun], mut each: impl FnMut(&PredictionTable)) -> Result<PredictionTable> {
    let mut tables = runs.iter().map(|run| PredictionTable::read(&run.folder.join(TEST_FILE)));
    let mut all = tables.next().expect("a seed has at least one run")?;
    each(&all);
    for table in tables {
        let table = table?;
        each(&table);
        all.append(table);
    }
    Ok(all)
}
