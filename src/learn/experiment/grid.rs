//! Lists of values → points of a grid; tried points → the chosen one.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use toml::{Table, Value};

use crate::error::{Error, Result};

/// Most points of one grid.
pub const MOST_POINTS: usize = 1000;

/// Every combination of the grid's values, each with the fixed `params` around it; the last key changes fastest. Without a
/// grid the one point is `params`. `place` is named in errors.
///
/// # Errors
/// Config when a list is empty, a key is also fixed, or there are more than [`MOST_POINTS`] points.
pub fn expand(params: &Table, grid: &IndexMap<String, Vec<Value>>, place: &str) -> Result<Vec<Table>> {
    let mut points = vec![params.clone()];
    for (key, values) in grid {
        let name = format!("grid.{key}");
        if values.is_empty() {
            return Err(Error::config(place, name, "expected a list of at least one value, got an empty list"));
        }
        if params.contains_key(key) {
            return Err(Error::config(place, name, "the key stands in params too: leave it in one of them"));
        }
        if points.len().saturating_mul(values.len()) > MOST_POINTS {
            return Err(Error::config(
                place,
                name,
                format!("expected at most {MOST_POINTS} points in a grid, got more"),
            ));
        }
        let with = |point: &Table, value: &Value| {
            let mut point = point.clone();
            point.insert(key.clone(), value.clone());
            point
        };
        points = points.iter().flat_map(|point| values.iter().map(move |value| with(point, value))).collect();
    }
    Ok(points)
}

/// The values of the grid's keys at one point, as `alpha = 0.1, l1 = 1.0`.
pub fn describe(point: &Table, keys: &[String]) -> String {
    let pairs = keys.iter().filter_map(|key| point.get(key).map(|value| format!("{key} = {value}")));
    pairs.collect::<Vec<_>>().join(", ")
}

/// The point with the least mean validation log loss, over the seeds that all points were tried with; of equals the first.
/// `tried` holds point, seed and log loss in nats. `None` when the points share no seed.
pub fn choose(tried: &[(usize, u64, f64)]) -> Option<usize> {
    let mut points: BTreeMap<usize, BTreeMap<u64, f64>> = BTreeMap::new();
    for (point, seed, loss) in tried {
        points.entry(*point).or_default().insert(*seed, *loss);
    }
    let first = points.values().next()?;
    let shared: Vec<u64> =
        first.keys().copied().filter(|seed| points.values().all(|losses| losses.contains_key(seed))).collect();
    let mean = |losses: &BTreeMap<u64, f64>| shared.iter().map(|seed| losses[seed]).sum::<f64>() / shared.len() as f64;
    let means = points.iter().map(|(point, losses)| (*point, mean(losses)));
    means.filter(|(_, mean)| mean.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(point, _)| point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(text: &str) -> IndexMap<String, Vec<Value>> {
        crate::config::from_toml(text, "grid").unwrap()
    }

    #[test]
    fn every_combination_once() {
        let params: Table = "passes = 2".parse().unwrap();
        let points = expand(&params, &lists("alpha = [0.1, 0.2]\nl1 = [0.0, 1.0, 2.0]"), "m").unwrap();
        let keys = ["alpha".to_owned(), "l1".to_owned()];
        let described: Vec<String> = points.iter().map(|point| describe(point, &keys)).collect();
        assert_eq!(described[..2], ["alpha = 0.1, l1 = 0.0", "alpha = 0.1, l1 = 1.0"]);
        assert_eq!((points.len(), described[5].as_str()), (6, "alpha = 0.2, l1 = 2.0"));
        assert!(points.iter().all(|point| point["passes"].as_integer() == Some(2)));
        assert_eq!(expand(&params, &IndexMap::new(), "m").unwrap(), [params]);
    }

    #[test]
    fn wrong_grids_say_why() {
        let error = |params: &str, grid: &str| {
            expand(&params.parse().unwrap(), &lists(grid), "r.toml: model m").unwrap_err().to_string()
        };
        assert!(error("", "alpha = []").contains("grid.alpha: expected a list of at least one value"));
        assert!(error("alpha = 1.0", "alpha = [1.0]").contains("stands in params too"));
        let many = format!("a = {0:?}\nb = {0:?}", (0..40).collect::<Vec<_>>());
        assert!(error("", &many).contains("at most 1000 points"));
    }

    #[test]
    fn the_least_mean_over_shared_seeds_is_chosen() {
        assert_eq!(choose(&[(0, 1, 0.5), (1, 1, 0.4), (1, 2, 0.9), (2, 1, 0.45)]), Some(1), "seed 2 is not shared");
        assert_eq!(choose(&[(0, 1, 0.5), (0, 2, 0.3), (1, 1, 0.41), (1, 2, 0.41)]), Some(0));
        assert_eq!(choose(&[(3, 1, 0.4), (4, 1, 0.4)]), Some(3));
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[(0, 1, f64::NAN), (1, 1, 0.7)]), Some(1));
    }
}
