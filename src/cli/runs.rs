//! What happens in an experiment → a live table on standard error: a line for each run at work, with progress, loss and time
//! left, below the lines of those that are finished and above one for the whole.

use std::collections::BTreeMap;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Context;
use super::progress::{self, Unit};
use crate::learn::experiment::Event;
use crate::learn::experiment::compare::verdict::thousands;
use crate::learn::experiment::plan::Plan;

/// The live table.
pub(super) struct Shown<'a> {
    context: &'a Context,
    bars: MultiProgress,
    preparing: Option<ProgressBar>,
    whole: Option<ProgressBar>,
    at_work: BTreeMap<String, AtWork>,
    left: TimeLeft,
}

struct AtWork {
    bar: ProgressBar,
    started: Instant,
    /// How much of it is done, 0 to 1.
    share: f64,
}

impl<'a> Shown<'a> {
    pub(super) fn new(context: &'a Context) -> Shown<'a> {
        Shown {
            context,
            bars: progress::bars(context),
            preparing: None,
            whole: None,
            at_work: BTreeMap::new(),
            left: TimeLeft::default(),
        }
    }

    /// Takes the table away; finished lines stay.
    pub(super) fn clear(&mut self) {
        for AtWork { bar, .. } in std::mem::take(&mut self.at_work).into_values() {
            bar.finish_and_clear();
        }
        for bar in [self.preparing.take(), self.whole.take()].into_iter().flatten() {
            bar.finish_and_clear();
        }
    }

    pub(super) fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Preparing(at) => {
                let make = || progress::bar(self.context, "preparing", Unit::Bytes, at.total_bytes);
                self.preparing.get_or_insert_with(make).set_position(at.bytes);
            }
            Event::Planned(plan) => self.planned(plan),
            Event::Started { run, .. } => {
                let bar = ProgressBar::new(0).with_style(style("{prefix:<24} {bar:24} {percent:>3} % {eta:>4} {msg}"));
                let bar = match &self.whole {
                    Some(whole) => self.bars.insert_before(whole, bar),
                    None => self.bars.add(bar),
                };
                bar.set_prefix(run.to_owned());
                self.at_work.insert(run.to_owned(), AtWork { bar, started: Instant::now(), share: 0.0 });
                self.left.started(run);
            }
            Event::Training { run, progress } => {
                if let Some(AtWork { bar, share, .. }) = self.at_work.get_mut(run) {
                    bar.set_length(progress.total_rows);
                    bar.set_position(progress.rows);
                    let valid = progress.valid_log_loss.map_or(String::new(), |loss| format!(", valid {loss:.5}"));
                    bar.set_message(format!("log loss {:.5}{valid}", progress.log_loss));
                    *share = progress.rows as f64 / progress.total_rows.max(1) as f64;
                }
                self.show_whole();
            }
            Event::Finished { record, kept } => {
                let auc = record.test.auc.map_or(String::new(), |auc| format!(", AUC {auc:.4}"));
                let what = format!("test log loss {:.5}{auc}", record.test.log_loss);
                self.finished(&record.folder_name(), &what, kept);
            }
            Event::Tried { run, trial, kept } => {
                let loss = trial.valid_log_loss.map_or("no loss".into(), |loss| format!("valid log loss {loss:.5}"));
                self.finished(run, &format!("{loss}, {:.1} % of everything", 100.0 * trial.share), kept);
            }
            Event::Timing { run } => self.say_whole(format!("timing {run}")),
            Event::Replaying => self.say_whole("replaying auctions".into()),
            Event::Analyzing { what } => self.say_whole(what.to_owned()),
            Event::Comparing => {
                self.clear();
                self.context.note(format_args!("comparing {} runs", self.left.done));
            }
        }
    }

    fn planned(&mut self, plan: &Plan) {
        if let Some(bar) = self.preparing.take() {
            bar.finish_and_clear();
        }
        let data = plan.data();
        let folds =
            if plan.folds.len() > 1 { format!("{} folds, the last with ", plan.folds.len()) } else { String::new() };
        self.context.note(format_args!(
            "{} runs, {} at a time; {folds}{} training, {} validation, {} test rows",
            plan.runs,
            plan.parallel,
            thousands(data.train.rows),
            thousands(data.valid.rows),
            thousands(data.test.rows)
        ));
        let models = plan.models.iter().map(|model| (model.name.as_str(), model.runs + model.trials));
        self.left = TimeLeft::new(plan.parallel, models);
        let bar = ProgressBar::new(plan.runs as u64).with_style(style("{prefix:<24} {bar:24} {pos}/{len} {msg}"));
        // Named once it stands among the others: a name is drawn at once.
        let bar = self.bars.add(bar);
        bar.set_prefix("all runs");
        self.whole = Some(bar);
    }

    fn finished(&mut self, run: &str, what: &str, kept: bool) {
        let took = self.at_work.remove(run).map_or(0.0, |AtWork { bar, started, .. }| {
            bar.finish_and_clear();
            started.elapsed().as_secs_f64()
        });
        self.left.finished(run, (!kept).then_some(took));
        let how = if kept { "kept".to_owned() } else { format!("{took:.1} s") };
        self.context.note(format_args!("{run:<24} {what} ({how})"));
        self.show_whole();
    }

    fn show_whole(&self) {
        if let Some(bar) = &self.whole {
            bar.set_position(self.left.done as u64);
        }
        let at_work = self.at_work.iter();
        let at_work: Vec<_> =
            at_work.map(|(run, at)| (run.as_str(), at.started.elapsed().as_secs_f64(), at.share)).collect();
        if let Some((seconds, all)) = self.left.seconds(&at_work) {
            self.say_whole(format!("{} {} left", if all { "about" } else { "at least" }, duration(seconds)));
        }
    }

    fn say_whole(&self, text: String) {
        if let Some(bar) = &self.whole {
            bar.set_message(text);
        }
    }
}

/// How long the runs that are not done will take, by those of the same model that are done or at work.
#[derive(Default)]
struct TimeLeft {
    parallel: usize,
    done: usize,
    models: Vec<ModelTime>,
}

struct ModelTime {
    name: String,
    /// Runs that have not begun.
    queued: usize,
    /// Of each run that is done and was not there before.
    seconds: Vec<f64>,
}

impl TimeLeft {
    fn new<'m>(parallel: usize, models: impl Iterator<Item = (&'m str, usize)>) -> TimeLeft {
        let models = models.map(|(name, queued)| ModelTime { name: name.into(), queued, seconds: Vec::new() });
        TimeLeft { parallel, done: 0, models: models.collect() }
    }

    /// The model of a run, whose name begins with the model's and a dash. Of several, the longest name.
    fn model(&self, run: &str) -> Option<usize> {
        let begins = |model: &ModelTime| run.strip_prefix(&model.name).is_some_and(|rest| rest.starts_with('-'));
        let fitting = self.models.iter().enumerate().filter(|(_, model)| begins(model));
        fitting.max_by_key(|(_, model)| model.name.len()).map(|(at, _)| at)
    }

    fn started(&mut self, run: &str) {
        if let Some(at) = self.model(run) {
            self.models[at].queued = self.models[at].queued.saturating_sub(1);
        }
    }

    fn finished(&mut self, run: &str, seconds: Option<f64>) {
        self.done += 1;
        if let Some(at) = self.model(run) {
            self.models[at].seconds.extend(seconds);
        }
    }

    /// Seconds left, and whether every model that has runs left was seen at work: of others it is only known that they take
    /// time, and the mean of the models seen stands for them. `at_work`: run, seconds since it began, share that is done.
    fn seconds(&self, at_work: &[(&str, f64, f64)]) -> Option<(f64, bool)> {
        let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let expected = |(_, elapsed, share): &(&str, f64, f64)| (*share > 0.02).then(|| elapsed / share);
        let of_model = |(at, model): (usize, &ModelTime)| {
            let running = at_work.iter().filter(|(run, ..)| self.model(run) == Some(at)).filter_map(expected);
            mean(&model.seconds.iter().copied().chain(running).collect::<Vec<_>>())
        };
        let known: Vec<Option<f64>> = self.models.iter().enumerate().map(of_model).collect();
        let stranger = mean(&known.iter().copied().flatten().collect::<Vec<_>>())?;
        let (mut sum, mut longest, mut all) = (0.0, 0.0_f64, true);
        for (model, known) in self.models.iter().zip(&known) {
            all &= known.is_some() || model.queued == 0;
            sum += model.queued as f64 * known.unwrap_or(stranger);
        }
        for run in at_work {
            let whole = expected(run).or_else(|| known[self.model(run.0)?]).unwrap_or(stranger);
            let rest = (whole - run.1).max(0.0);
            (sum, longest) = (sum + rest, longest.max(rest));
        }
        Some(((sum / self.parallel.max(1) as f64).max(longest), all))
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well formed")
}

/// A time as people say it.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_goes_by_the_runs_of_each_model() {
        let mut left = TimeLeft::new(2, [("lr", 4), ("lr-2", 3), ("dcn", 2)].into_iter());
        assert_eq!(left.seconds(&[]), None, "nothing was seen");
        for run in ["lr-1", "lr-2-1", "lr-2"] {
            left.started(run);
        }
        left.finished("lr-1", Some(4.0));
        left.finished("lr-2", None);
        assert_eq!((left.done, left.models[0].queued, left.models[1].queued), (2, 2, 2), "the longest name is a run's");
        // Two runs of 4 s, two of 10 s, two of the mean of these, and 5 s of the one at work, two at a time.
        assert_eq!(left.seconds(&[("lr-2-1", 5.0, 0.5)]), Some((23.5, false)));
        left.started("dcn-1");
        left.started("dcn-2");
        let at_work = [("lr-2-1", 5.0, 0.5), ("dcn-1", 30.0, 0.25), ("dcn-2", 1.0, 0.0)];
        // What is not yet anywhere takes as long as the others of its model.
        assert_eq!(left.seconds(&at_work), Some((121.0, true)));
        for model in &mut left.models {
            model.queued = 0;
        }
        assert_eq!(left.seconds(&at_work[1..2]), Some((90.0, true)), "the longest at work is not shared out");
    }

    #[test]
    fn times_as_people_say_them() {
        assert_eq!(
            [duration(0.25), duration(75.0), duration(600.0), duration(9000.0)],
            ["0.2 s", "75 s", "10 min", "2.5 h"]
        );
    }
}
