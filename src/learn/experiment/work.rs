//! Jobs → finished runs and trials in the experiment's folder, several at a time where there are threads and memory for it.
//!
//! A worker takes the first job of the queue that fits into what is left of the memory; the largest one always fits when
//! nothing else runs. Threads are shared out when a run starts, by how many run or could. Neither changes a bit of a result. What
//! is there already with the same identity is not run again, and a run stands in its folder whole or not at all, so that an
//! experiment killed at any moment goes on where it was.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::grid;
use super::plan::{AllSettings, Plan};
use super::predictions::{TEST_FILE, VALID_FILE};
use super::queue::{Job, Queue};
use super::recipe::Recipe;
use super::record::{DataRecord, ExperimentMark, FoldPlace, GridPlace, RECORD_FILE, RunRecord, read_json, to_json};
use super::run::{Budget, RunOutcome, RunTask, TrialRecord, time_bundle};
use super::runner::{BUNDLE, Event, RUNS, TRIALS};
use crate::durable::{PartialFolder, write_bytes};
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::split::Split;
use crate::learn::trainer::Progress;
use crate::model::Threads;
use crate::model::bundle::Bundle;

/// The rows of one fold.
pub(super) struct Fold<'a> {
    pub(super) split: Split<'a>,
    pub(super) data: DataRecord,
    /// True probabilities of the test rows, where they are known.
    pub(super) truth: Option<Vec<f64>>,
}

/// Everything a job needs.
pub(super) struct Work<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) settings: &'a AllSettings,
    pub(super) folds: &'a [Fold<'a>],
    pub(super) plan: &'a Plan,
    /// The experiment's folder.
    pub(super) out: &'a Path,
}

/// Who listens to what happens, one at a time.
type Listener<'l> = Mutex<&'l mut (dyn FnMut(Event<'_>) + Send)>;

/// What workers share.
struct State<'q> {
    queue: Queue<'q>,
    running: usize,
    /// Memory of what runs, by its estimates.
    bytes: u64,
    started: usize,
    failed: Option<Error>,
}

/// Runs and trials all jobs of `work`; the queue that comes back knows what was done and chosen.
///
/// # Errors
/// That of the first job that failed, after the others have stopped; interrupted.
pub(super) fn work_off<'a>(
    work: &Work<'a>,
    threads: Threads<'_>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    interrupt: &Interrupt,
) -> Result<Queue<'a>> {
    let queue = Queue::new(&work.recipe.models, work.folds.len());
    let state = Mutex::new(State { queue, running: 0, bytes: 0, started: 0, failed: None });
    let (changed, listener) = (Condvar::new(), Mutex::new(on_event));
    let stop = interrupt.part();
    let worker = Worker { work, state: &state, changed: &changed, listener: &listener, stop: &stop };
    match work.plan.parallel {
        0 | 1 => worker.work(Some(threads)),
        together => std::thread::scope(|scope| {
            for _ in 0..together {
                scope.spawn(|| worker.work(None));
            }
        }),
    }
    let state = state.into_inner().expect("no worker panicked while it held the queue");
    match state.failed {
        Some(error) => Err(error),
        None => Ok(state.queue),
    }
}

#[derive(Clone, Copy)]
struct Worker<'w, 'a, 'l> {
    work: &'w Work<'a>,
    state: &'w Mutex<State<'a>>,
    changed: &'w Condvar,
    listener: &'w Listener<'l>,
    stop: &'w Interrupt,
}

impl<'a> Worker<'_, 'a, '_> {
    /// Takes jobs until there are none; with `lent` threads nothing runs beside it.
    fn work(&self, lent: Option<Threads<'_>>) {
        let _guard = OnPanic(*self);
        while let Some((job, number, threads)) = self.next() {
            let result = match lent {
                Some(threads) => self.job(job, number, threads, true),
                None => self.with_threads(threads, |threads| self.job(job, number, threads, false)),
            };
            let mut state = self.state();
            state.running -= 1;
            state.bytes -= self.work.memory(&job);
            match result {
                Ok(loss) => state.queue.done(job, loss),
                Err(error) => {
                    // What stops because of another's mistake says nothing about it.
                    state.failed.get_or_insert(error);
                    self.stop.set();
                }
            }
            self.changed.notify_all();
        }
    }

    /// The next job that fits, its number and its threads; waits while others may open more.
    fn next(&self) -> Option<(Job, usize, usize)> {
        let plan = self.work.plan;
        let mut state = self.state();
        loop {
            if state.failed.is_some() || state.queue.is_empty() {
                return None;
            }
            let State { queue, running, bytes, started, .. } = &mut *state;
            let free = plan.memory_limit_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(*bytes));
            let alone = *running == 0;
            if let Some(job) = queue.take(|job| alone || self.work.memory(job) <= free) {
                *running += 1;
                *started += 1;
                *bytes += self.work.memory(&job);
                let together = plan.parallel.min(*running + queue.waiting());
                return Some((job, *started, (plan.threads / together).max(1)));
            }
            state = self.changed.wait(state).expect("no worker panicked while it held the queue");
        }
    }

    fn with_threads<T>(&self, count: usize, run: impl FnOnce(Threads<'_>) -> Result<T>) -> Result<T> {
        if count == 1 {
            return run(Threads::one());
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
        let pool = pool.map_err(|error| Error::config("threads", count.to_string(), error.to_string()))?;
        run(Threads::of(&pool))
    }

    /// Runs a job, or takes what is there of it; returns its validation log loss.
    fn job(&self, job: Job, number: usize, threads: Threads<'_>, alone: bool) -> Result<f64> {
        self.stop.check()?;
        let name = self.work.name(&job);
        self.tell(Event::Started { run: &name, number, of: self.work.plan.runs });
        let task = self.work.task(&job, threads, alone, self.stop);
        let mut on_progress = |progress: Progress| self.tell(Event::Training { run: &name, progress });
        let loss = match self.work.budget(&job) {
            None => {
                let (record, kept) = self.work.run(&name, task, &mut on_progress)?;
                self.tell(Event::Finished { record: &record, kept });
                record.selection_log_loss
            }
            Some(budget) => {
                let (trial, kept) = self.work.try_out(&name, task, budget, &mut on_progress)?;
                self.tell(Event::Tried { run: &name, trial: &trial, kept });
                trial.valid_log_loss
            }
        };
        Ok(loss.unwrap_or(f64::NAN))
    }

    fn tell(&self, event: Event<'_>) {
        let mut listener = self.listener.lock().expect("a listener does not panic");
        (*listener)(event);
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().expect("no worker panicked while it held the queue")
    }
}

/// Tells the others to stop when a worker panics: they would wait for its job for ever.
struct OnPanic<'w, 'a, 'l>(Worker<'w, 'a, 'l>);

impl Drop for OnPanic<'_, '_, '_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.0.stop.set();
        if let Ok(mut state) = self.0.state.lock() {
            state.failed.get_or_insert(Error::Bug("a run panicked".into()));
        }
        self.0.changed.notify_all();
    }
}

impl Work<'_> {
    /// Folder or file of a job.
    pub(super) fn name(&self, job: &Job) -> String {
        job.name(&self.recipe.models[job.model], self.folds.len())
    }

    /// How much of everything a job has; `None` for all of it.
    pub(super) fn budget(&self, job: &Job) -> Option<Budget> {
        let halving = self.recipe.models[job.model].halving.as_ref()?;
        let share = halving.rungs.get(job.rung?)?.share;
        Some(Budget { by: halving.by, share })
    }

    /// The run a job stands for.
    pub(super) fn task<'t>(
        &'t self,
        job: &Job,
        threads: Threads<'t>,
        alone: bool,
        interrupt: &'t Interrupt,
    ) -> RunTask<'t> {
        let (model, fold) = (&self.recipe.models[job.model], &self.folds[job.fold]);
        let values = || grid::describe(&model.points[job.point], &model.grid_keys);
        RunTask {
            experiment: ExperimentMark { name: self.recipe.name.clone(), recipe: self.recipe.fingerprint },
            model: &model.name,
            kind: model.kind,
            grid: model.chooses().then(|| GridPlace { point: job.point, values: values() }),
            fold: (self.folds.len() > 1).then_some(FoldPlace { number: job.fold, of: self.folds.len() }),
            settings: self.settings[job.model][job.point].clone(),
            seed: job.seed,
            split: &fold.split,
            data: &fold.data,
            truth: fold.truth.as_deref(),
            threads,
            alone,
            interrupt,
        }
    }

    /// Whether a job's run or trial is there from before.
    ///
    /// # Errors
    /// Bug when settings cannot be written.
    pub(super) fn is_there(&self, job: &Job) -> Result<bool> {
        let (name, budget) = (self.name(job), self.budget(job));
        let nobody = Interrupt::default();
        let identity = self.task(job, Threads::one(), true, &nobody).identity(budget)?;
        Ok(match budget {
            None => RunRecord::read(&self.out.join(RUNS).join(&name)).is_ok_and(|record| record.identity == identity),
            Some(_) => self.read_trial(&name).is_ok_and(|trial| trial.identity == identity),
        })
    }

    /// Times the scoring of runs that were timed beside others, now that nothing else runs. References leave no model behind to
    /// be timed again; they are never published.
    ///
    /// # Errors
    /// Bundle and io when a bundle cannot be opened; interrupted.
    pub(super) fn time_alone(
        &self,
        runs: &[Job],
        on_event: &mut (dyn FnMut(Event<'_>) + Send),
        interrupt: &Interrupt,
    ) -> Result<()> {
        for job in runs {
            let name = self.name(job);
            let folder = self.out.join(RUNS).join(&name);
            let mut record = RunRecord::read(&folder)?;
            if record.timed_alone || !record.kind.publishable() {
                continue;
            }
            interrupt.check()?;
            on_event(Event::Timing { run: &name });
            record.scoring = time_bundle(&Bundle::open(&folder.join(BUNDLE))?, &self.folds[job.fold].split.test)?;
            record.timed_alone = true;
            record.write_machine(&folder)?;
        }
        Ok(())
    }

    fn memory(&self, job: &Job) -> u64 {
        self.plan.point_bytes[job.model][job.point]
    }

    fn run(&self, name: &str, task: RunTask<'_>, on_progress: &mut dyn FnMut(Progress)) -> Result<(RunRecord, bool)> {
        let folder = self.out.join(RUNS).join(name);
        let identity = task.identity(None)?;
        match RunRecord::read(&folder).ok().filter(|record| record.identity == identity) {
            Some(record) => Ok((record, true)),
            None => {
                let outcome = task.run(on_progress)?;
                write_run(&folder, &outcome)?;
                Ok((outcome.record, false))
            }
        }
    }

    fn try_out(
        &self,
        name: &str,
        task: RunTask<'_>,
        budget: Budget,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<(TrialRecord, bool)> {
        let identity = task.identity(Some(budget))?;
        match self.read_trial(name).ok().filter(|trial| trial.identity == identity) {
            Some(trial) => Ok((trial, true)),
            None => {
                let trial = task.try_out(budget, on_progress)?;
                write_bytes(&self.out.join(TRIALS).join(format!("{name}.json")), to_json(&trial).as_bytes())?;
                Ok((trial, false))
            }
        }
    }

    fn read_trial(&self, name: &str) -> Result<TrialRecord> {
        read_json(&self.out.join(TRIALS).join(format!("{name}.json")), "record of a trial")
    }
}

fn write_run(folder: &Path, outcome: &RunOutcome) -> Result<()> {
    let partial = PartialFolder::create(folder, RECORD_FILE)?;
    outcome.test.write(&partial.path().join(TEST_FILE))?;
    if let Some(valid) = &outcome.valid {
        valid.write(&partial.path().join(VALID_FILE))?;
    }
    if let Some(bundle) = &outcome.bundle {
        bundle.write(&partial.path().join(BUNDLE))?;
    }
    outcome.record.write(partial.path())?;
    partial.commit()
}
