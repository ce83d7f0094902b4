//! A recipe and its rows → the runs there will be, and about how much memory they take.

use serde::Serialize;

use super::grid;
use super::kind::{Kind, Resolved};
use super::recipe::Recipe;
use super::record::DataRecord;
use crate::error::Result;
use crate::learn::settings::Evidence;
use crate::model::bundle::ModelKind;
use crate::model::features::Mode;
use crate::model::schema::Schema;

/// What an experiment is going to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The rows.
    pub data: DataRecord,
    /// The models in the recipe's order.
    pub models: Vec<PlannedModel>,
    /// All runs together.
    pub runs: usize,
}

/// The runs of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedModel {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Points of its grid, as `key = value`; one empty text without a grid.
    pub points: Vec<String>,
    /// Seeds that the chosen point runs with.
    pub seeds: usize,
    /// Runs in all: every point with its trial seeds, then the chosen point with the rest.
    pub runs: usize,
    /// Training rows of one pass.
    pub rows: u64,
    /// About how many bytes a run takes, the largest point of the grid; mapped rows not counted.
    pub memory_bytes: u64,
}

impl Plan {
    /// Plans the runs of a recipe.
    ///
    /// # Errors
    /// Config when settings do not fit.
    pub fn new(recipe: &Recipe, schema: &Schema, data: &DataRecord) -> Result<Plan> {
        let mut models = Vec::new();
        for model in &recipe.models {
            let evidence = Evidence { rows: data.train.rows as usize, clicks: data.train.clicks as usize };
            let mut memory_bytes = 0;
            for point in &model.points {
                let place = recipe.model_place(model);
                let settings = model.kind.resolve(point, &recipe.calibration.methods, schema, evidence, &place)?;
                memory_bytes = memory_bytes.max(memory(&settings, schema, data));
            }
            let runs = match model.points.len() {
                1 => model.seeds.len(),
                points => points * model.grid_seeds + model.seeds.len() - model.grid_seeds,
            };
            models.push(PlannedModel {
                name: model.name.clone(),
                kind: model.kind,
                points: model.points.iter().map(|point| grid::describe(point, &model.grid_keys)).collect(),
                seeds: model.seeds.len(),
                runs,
                rows: data.train.rows,
                memory_bytes,
            });
        }
        let runs = models.iter().map(|model| model.runs).sum();
        Ok(Plan { data: data.clone(), models, runs })
    }
}

/// A rough upper bound: parameters with the optimizer's state, a frozen copy and the best one so far; predictions.
fn memory(settings: &Resolved, schema: &Schema, data: &DataRecord) -> u64 {
    let judged = (data.valid.rows + data.test.rows) * 40;
    let width: usize = schema.features.iter().map(|feature| feature.kind.positions()).sum();
    judged
        + match settings {
            Resolved::Reference(settings) => {
                let limit = settings.model.row_limit(settings.dimensions).unwrap_or(0) as u64;
                // The matrix in f32, and the library's own copy in f64.
                data.train.rows.min(limit) * settings.dimensions as u64 * (4 + 8)
            }
            Resolved::Own(settings) => {
                let slots = match settings.features.mode {
                    Mode::Hash { bits } => 1_u64 << bits,
                    Mode::Vocabulary { min_count } => data.train.rows * width as u64 / u64::from(min_count.max(1)),
                };
                let bytes_a_slot = match settings.kind {
                    ModelKind::BaseRate => 0,
                    ModelKind::Ftrl => 8 + 2 * 4,
                    ModelKind::Dcn => {
                        let model = serde_json::to_value(&settings.model).unwrap_or_default();
                        let dimensions = model["embedding_dim"].as_u64().unwrap_or(16);
                        // Embedding, two moments, a frozen copy and the best one.
                        dimensions * 4 * 5
                    }
                };
                slots * bytes_a_slot
            }
        }
}
