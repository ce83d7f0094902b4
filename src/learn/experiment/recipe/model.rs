//! `[[models]]`: what is compared, with fixed settings, a grid of them, or ranges to search.

use indexmap::IndexMap;
use serde::Deserialize;
use toml::{Table, Value};

use super::is_file_name;
use crate::error::{Error, Result};
use crate::learn::experiment::grid;
use crate::learn::experiment::kind::Kind;
use crate::learn::experiment::search::{Halving, SearchConfig, Strategy};

/// One model with its settings, or many points of settings of which one is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRecipe {
    /// Name in the report and in folders.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Settings, one table for each point; one point without a grid or a search.
    pub points: Vec<Table>,
    /// Keys that differ between points; empty without a grid or a search.
    pub grid_keys: Vec<String>,
    /// How points came about, where there are several.
    pub strategy: Strategy,
    /// Points are tried with little first; `None` tries all with everything.
    pub halving: Option<Halving>,
    /// One run for each.
    pub seeds: Vec<u64>,
    /// With how many of the seeds each point is tried before one is chosen.
    pub grid_seeds: usize,
}

/// A model as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    name: String,
    kind: String,
    #[serde(default)]
    params: Table,
    #[serde(default)]
    grid: IndexMap<String, Vec<Value>>,
    search: Option<SearchConfig>,
    seeds: Option<Vec<u64>>,
    #[serde(default = "one")]
    grid_seeds: usize,
}

fn one() -> usize {
    1
}

impl ModelRecipe {
    /// Whether one of several points is chosen.
    pub fn chooses(&self) -> bool {
        self.points.len() > 1
    }

    /// What errors call one of its points: nothing where there is only one.
    pub fn point_place(&self, point: usize) -> String {
        match self.chooses() {
            true => format!(" ({})", grid::describe(&self.points[point], &self.grid_keys)),
            false => String::new(),
        }
    }
}

impl RawModel {
    /// Expands grids, draws points, checks. `seeds` are those of the recipe, `place` is named in errors.
    pub(super) fn check(self, seeds: &[u64], place: &str) -> Result<ModelRecipe> {
        let place = format!("{place}: model {}", self.name);
        let wrong = |key: &str, message: String| Err(Error::config(&place, key, message));
        if !is_file_name(&self.name) {
            return wrong(
                "name",
                format!("expected letters, digits, dots, dashes or underscores, got {:?}", self.name),
            );
        }
        let kind = Kind::parse(&self.kind, &place)?;
        let seeds = self.seeds.unwrap_or_else(|| seeds.to_vec());
        if seeds.is_empty() || (1..seeds.len()).any(|at| seeds[..at].contains(&seeds[at])) {
            return wrong("seeds", format!("expected at least one seed and each once, got {seeds:?}"));
        }
        if self.grid_seeds == 0 || self.grid_seeds > seeds.len() {
            return wrong("grid_seeds", format!("expected 1 to {} (the seeds), got {}", seeds.len(), self.grid_seeds));
        }
        let (points, grid_keys, strategy, halving) = match self.search {
            Some(_) if !self.grid.is_empty() => {
                return wrong("search", "a model has a grid or a search: leave one of them out".into());
            }
            Some(search) => {
                let points = search.draw(&self.params, &place)?;
                let halving = search.halving(points.len());
                (points, search.space.keys().cloned().collect(), search.strategy, halving)
            }
            None => {
                let points = grid::expand(&self.params, &self.grid, &place)?;
                (points, self.grid.keys().cloned().collect(), Strategy::Grid, None)
            }
        };
        Ok(ModelRecipe {
            name: self.name,
            kind,
            points,
            grid_keys,
            strategy,
            halving,
            seeds,
            grid_seeds: self.grid_seeds,
        })
    }
}
