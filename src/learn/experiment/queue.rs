//! The models of a recipe → jobs in the order in which they may run.
//!
//! Jobs of one stage do not depend on each other; the next stage of a model opens when all of the one before are done. What is
//! chosen depends on losses alone, never on which job ended first, so that any number of runs at a time gives the same runs.
//!
//! ```text
//! one point      all seeds × folds
//! several        every point × trial seeds on the first fold ─▶ the chosen one × all other seeds and folds
//! halving        rung 1 ─▶ rung 2 ─▶ … ─▶ the last ones with everything ─▶ the chosen one × all other seeds and folds
//! ```
//!
//! A point is chosen on the first fold's validation rows, because those of later folds are test rows of earlier ones.

use std::collections::VecDeque;

use super::grid;
use super::recipe::ModelRecipe;
use super::record::folder_name;
use super::search::{RungRecord, SearchRecord, TrialSummary};

/// One run, or one trial of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    /// Which model of the recipe.
    pub(super) model: usize,
    /// Which of its points.
    pub(super) point: usize,
    pub(super) seed: u64,
    /// Number of the fold, from 0.
    pub(super) fold: usize,
    /// Rung of a search, where it has less than everything.
    pub(super) rung: Option<usize>,
}

/// Jobs that wait and what came of those that are done.
pub(super) struct Queue<'r> {
    models: Vec<OfModel<'r>>,
}

struct OfModel<'r> {
    recipe: &'r ModelRecipe,
    at: usize,
    folds: usize,
    /// Points on each rung so far; the last one is open.
    rungs: Vec<Vec<usize>>,
    waiting: VecDeque<Job>,
    /// Taken and not done.
    running: usize,
    /// Everything that is done, with its validation log loss.
    done: Vec<(Job, f64)>,
    chosen: Option<usize>,
}

impl<'r> Queue<'r> {
    /// All jobs of these models on this many folds.
    pub(super) fn new(models: &'r [ModelRecipe], folds: usize) -> Queue<'r> {
        let of = |(at, recipe): (usize, &'r ModelRecipe)| OfModel::new(at, recipe, folds);
        Queue { models: models.iter().enumerate().map(of).collect() }
    }

    /// The next job that `fits`, in the order of the recipe.
    pub(super) fn take(&mut self, fits: impl Fn(&Job) -> bool) -> Option<Job> {
        self.models.iter_mut().find_map(|model| {
            let at = model.waiting.iter().position(&fits)?;
            model.running += 1;
            model.waiting.remove(at)
        })
    }

    /// Jobs that could be taken now.
    pub(super) fn waiting(&self) -> usize {
        self.models.iter().map(|model| model.waiting.len()).sum()
    }

    /// A job is done with this validation log loss (NaN without one).
    pub(super) fn done(&mut self, job: Job, loss: f64) {
        self.models[job.model].finish(job, loss);
    }

    /// Whether nothing waits and nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.models.iter().all(|model| model.waiting.is_empty() && model.running == 0)
    }

    /// Runs with everything, in the order of the recipe, whatever order they were done in.
    pub(super) fn runs(&self) -> Vec<Job> {
        self.models.iter().flat_map(OfModel::runs).collect()
    }

    /// What was tried for each model that has several points.
    pub(super) fn searches(&self) -> Vec<SearchRecord> {
        self.models.iter().filter_map(OfModel::search).collect()
    }

    /// The chosen point of a model; the only one where there is one.
    pub(super) fn chosen(&self, model: usize) -> usize {
        self.models[model].chosen.unwrap_or(0)
    }
}

/// Runs and trials of one model, known before anything ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Runs with everything.
    pub(super) runs: usize,
    /// Trials with less.
    pub(super) trials: usize,
}

/// How many runs and trials a model is going to have.
pub(super) fn count(model: &ModelRecipe, folds: usize) -> Counts {
    if !model.chooses() {
        return Counts { runs: model.seeds.len() * folds, trials: 0 };
    }
    let rungs: Vec<usize> = match &model.halving {
        Some(halving) => halving.rungs.iter().map(|rung| rung.points).collect(),
        None => vec![model.points.len()],
    };
    let (last, little) = rungs.split_last().expect("there is a last rung");
    Counts {
        runs: last * model.grid_seeds + model.seeds.len() * folds - model.grid_seeds,
        trials: little.iter().sum::<usize>() * model.grid_seeds,
    }
}

impl<'r> OfModel<'r> {
    fn new(at: usize, recipe: &'r ModelRecipe, folds: usize) -> OfModel<'r> {
        let mut model = OfModel {
            recipe,
            at,
            folds,
            rungs: Vec::new(),
            waiting: VecDeque::new(),
            running: 0,
            done: Vec::new(),
            chosen: None,
        };
        match recipe.chooses() {
            true => model.open_rung((0..recipe.points.len()).collect()),
            false => model.choose(0),
        }
        model
    }

    fn rung_count(&self) -> usize {
        self.recipe.halving.as_ref().map_or(1, |halving| halving.rungs.len())
    }

    fn open_rung(&mut self, points: Vec<usize>) {
        let rung = self.rungs.len();
        let little = (rung + 1 < self.rung_count()).then_some(rung);
        for point in &points {
            for seed in &self.recipe.seeds[..self.recipe.grid_seeds] {
                self.waiting.push_back(Job { model: self.at, point: *point, seed: *seed, fold: 0, rung: little });
            }
        }
        self.rungs.push(points);
    }

    /// The chosen point runs with every seed on every fold, but where it did already.
    fn choose(&mut self, point: usize) {
        self.chosen = Some(point);
        for fold in 0..self.folds {
            for seed in &self.recipe.seeds {
                let job = Job { model: self.at, point, seed: *seed, fold, rung: None };
                if self.done.iter().all(|(other, _)| *other != job) {
                    self.waiting.push_back(job);
                }
            }
        }
    }

    fn finish(&mut self, job: Job, loss: f64) {
        self.running -= 1;
        self.done.push((job, loss));
        if !self.waiting.is_empty() || self.running > 0 || self.chosen.is_some() {
            return;
        }
        let rung = self.rungs.len() - 1;
        if rung + 1 == self.rung_count() {
            let tried: Vec<(usize, u64, f64)> =
                self.on_rung(rung).map(|(job, loss)| (job.point, job.seed, loss)).collect();
            self.choose(grid::choose(&sorted(tried)).unwrap_or(self.rungs[rung][0]));
        } else {
            let keep = self.recipe.halving.as_ref().map_or(1, |halving| halving.rungs[rung + 1].points);
            let mut best: Vec<usize> = self.ranked(rung).into_iter().map(|(point, _)| point).take(keep).collect();
            best.sort_unstable();
            self.open_rung(best);
        }
    }

    /// What was done on a rung, in any order.
    fn on_rung(&self, rung: usize) -> impl Iterator<Item = (Job, f64)> + '_ {
        let little = (rung + 1 < self.rung_count()).then_some(rung);
        let trial_seeds = &self.recipe.seeds[..self.recipe.grid_seeds];
        self.done
            .iter()
            .filter(move |(job, _)| job.rung == little && job.fold == 0 && trial_seeds.contains(&job.seed))
            .copied()
    }

    /// Points of a rung with their mean losses, best first; those without a number last; of equals the first.
    fn ranked(&self, rung: usize) -> Vec<(usize, f64)> {
        let mean = |point: usize| {
            let mut losses: Vec<(u64, f64)> =
                self.on_rung(rung).filter(|(job, _)| job.point == point).map(|(job, loss)| (job.seed, loss)).collect();
            // Sums of the same numbers in the same order.
            losses.sort_unstable_by_key(|(seed, _)| *seed);
            losses.iter().map(|(_, loss)| loss).sum::<f64>() / losses.len() as f64
        };
        let mut ranked: Vec<(usize, f64)> = self.rungs[rung].iter().map(|point| (*point, mean(*point))).collect();
        ranked.sort_by(|a, b| a.1.is_nan().cmp(&b.1.is_nan()).then(a.1.total_cmp(&b.1)));
        ranked
    }

    fn runs(&self) -> Vec<Job> {
        let mut runs: Vec<Job> = self.done.iter().map(|(job, _)| *job).filter(|job| job.rung.is_none()).collect();
        let seed_at = |seed: u64| self.recipe.seeds.iter().position(|other| *other == seed);
        runs.sort_by_key(|job| (job.point, job.fold, seed_at(job.seed)));
        runs
    }

    fn search(&self) -> Option<SearchRecord> {
        let chosen = self.chosen.filter(|_| self.recipe.chooses())?;
        let halving = self.recipe.halving.as_ref();
        let rungs = (0..self.rungs.len()).map(|rung| {
            let kept = |point: usize| match self.rungs.get(rung + 1) {
                Some(next) => next.contains(&point),
                None => point == chosen,
            };
            let trial = |(point, loss): (usize, f64)| TrialSummary {
                point,
                values: grid::describe(&self.recipe.points[point], &self.recipe.grid_keys),
                valid_log_loss: loss.is_finite().then_some(loss),
                kept: kept(point),
            };
            let share = halving.map_or(1.0, |halving| halving.rungs[rung].share);
            RungRecord { share, trials: self.ranked(rung).into_iter().map(trial).collect() }
        });
        Some(SearchRecord {
            model: self.recipe.name.clone(),
            strategy: self.recipe.strategy,
            keys: self.recipe.grid_keys.clone(),
            by: halving.map(|halving| halving.by),
            rungs: rungs.collect(),
            chosen,
        })
    }
}

fn sorted(mut tried: Vec<(usize, u64, f64)>) -> Vec<(usize, u64, f64)> {
    tried.sort_by_key(|(point, seed, _)| (*point, *seed));
    tried
}

impl Job {
    /// Name of the run's folder, or of the trial's file without its ending. `folds` are those of the experiment.
    pub(super) fn name(&self, model: &ModelRecipe, folds: usize) -> String {
        let point = model.chooses().then_some(self.point);
        let fold = (folds > 1).then_some(self.fold);
        match self.rung {
            None => folder_name(&model.name, point, fold, self.seed),
            Some(rung) => format!("{}-g{:03}-r{}-{}", model.name, self.point + 1, rung + 1, self.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::experiment::kind::Kind;
    use crate::learn::experiment::search::{Halving, Resource, Rung, Strategy};
    use crate::model::bundle::ModelKind;

    fn model(points: usize, seeds: &[u64], grid_seeds: usize, rungs: &[(f64, usize)]) -> ModelRecipe {
        let rungs: Vec<Rung> = rungs.iter().map(|(share, points)| Rung { share: *share, points: *points }).collect();
        ModelRecipe {
            name: "m".into(),
            kind: Kind::Own(ModelKind::Ftrl),
            points: (0..points).map(|point| format!("alpha = {point}").parse().unwrap()).collect(),
            grid_keys: vec!["alpha".into()],
            strategy: if rungs.is_empty() { Strategy::Grid } else { Strategy::Halving },
            halving: (!rungs.is_empty()).then_some(Halving { by: Resource::Rows, rungs }),
            seeds: seeds.to_vec(),
            grid_seeds,
        }
    }

    /// Works everything off, `together` jobs at a time, the youngest one done first.
    fn work_off(
        models: &[ModelRecipe],
        folds: usize,
        together: usize,
        loss: impl Fn(&Job) -> f64,
    ) -> (Vec<Job>, Vec<SearchRecord>) {
        let mut queue = Queue::new(models, folds);
        let mut running = Vec::new();
        while !queue.is_empty() {
            while running.len() < together
                && let Some(job) = queue.take(|_| true)
            {
                running.push(job);
            }
            let job = running.pop().unwrap();
            queue.done(job, loss(&job));
        }
        let counts: Vec<Counts> = models.iter().map(|model| count(model, folds)).collect();
        let (runs, trials) = counts.iter().fold((0, 0), |(runs, trials), of| (runs + of.runs, trials + of.trials));
        let done: usize = queue.models.iter().map(|model| model.done.len()).sum();
        assert_eq!((queue.runs().len(), done), (runs, runs + trials), "as planned");
        (queue.runs(), queue.searches())
    }

    #[test]
    fn any_number_at_a_time_gives_the_same_runs() {
        let models = [
            model(1, &[3, 1, 2], 1, &[]),
            model(4, &[1, 2, 3], 2, &[]),
            model(9, &[5, 6], 1, &[(1.0 / 9.0, 9), (1.0 / 3.0, 3), (1.0, 1)]),
        ];
        // Little data misleads: point 7 looks best at first and is not.
        let loss = |job: &Job| match job.rung {
            Some(0) => 0.5 + (job.point as f64 - 7.0).abs() * 0.01,
            _ => 0.4 + (job.point as f64 - 2.0).abs() * 0.01 + job.seed as f64 * 1e-4,
        };
        let one = work_off(&models, 3, 1, loss);
        for together in [2, 3, 8] {
            assert_eq!(work_off(&models, 3, together, loss), one);
        }
        let (runs, searches) = one;
        assert_eq!((searches[0].chosen, searches[1].chosen), (2, 6), "7, 6 and 8 go on, and 6 is the best of them");
        assert_eq!(searches[1].rungs.iter().map(|rung| rung.trials.len()).collect::<Vec<_>>(), [9, 3, 1]);
        assert_eq!(searches[1].rungs[0].trials.iter().filter(|trial| trial.kept).count(), 3);
        let of = |model: usize| runs.iter().filter(|job| job.model == model).collect::<Vec<_>>();
        assert_eq!(
            of(0).iter().map(|job| (job.fold, job.seed)).take(4).collect::<Vec<_>>(),
            [(0, 3), (0, 1), (0, 2), (1, 3)]
        );
        assert_eq!(of(1).len(), 4 * 2 + 9 - 2, "four points with two seeds, the chosen one with the rest");
        assert!(of(1).iter().filter(|job| job.fold > 0).all(|job| job.point == 2));
        assert_eq!(of(2).len(), 6);
    }

    #[test]
    fn only_what_fits_is_taken() {
        let models = [model(1, &[1, 2], 1, &[]), model(1, &[9], 1, &[])];
        let mut queue = Queue::new(&models, 1);
        let small = |job: &Job| job.model == 1;
        assert_eq!(queue.take(small).map(|job| job.seed), Some(9), "a later model that fits goes first");
        assert_eq!(queue.take(small), None);
        assert_eq!((queue.waiting(), queue.is_empty()), (2, false));
    }

    #[test]
    fn a_point_without_a_loss_is_never_chosen() {
        let models = [model(3, &[1], 1, &[])];
        let loss = |job: &Job| if job.point == 1 { f64::NAN } else { 0.5 - job.point as f64 * 0.1 };
        let (_, searches) = work_off(&models, 1, 1, loss);
        assert_eq!((searches[0].chosen, searches[0].rungs[0].trials[2].valid_log_loss), (2, None));
    }
}
