//! What happens in an experiment → a live table on standard error: a line for each run at work, with progress, loss and time
//! left, below the lines of those that are finished and above one for the whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

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
}

/// How long the runs that are not done will take, by those that are.
struct TimeLeft {
    begun: Instant,
    runs: usize,
    done: usize,
    /// Runs that were there already took no time.
    kept: usize,
    /// Progress of runs at work, 0 to 1 each.
    shares: BTreeMap<String, f64>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(context: &'a Context) -> Shown<'a> {
        let target = match context.quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr_with_hz(8),
        };
        let left = TimeLeft { begun: Instant::now(), runs: 0, done: 0, kept: 0, shares: BTreeMap::new() };
        Shown {
            context,
            bars: MultiProgress::with_draw_target(target),
            preparing: None,
            whole: None,
            at_work: BTreeMap::new(),
            left,
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
                let make = || self.bars.add(progress::bar(self.context, "preparing", Unit::Bytes, at.total_bytes));
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
                self.at_work.insert(run.to_owned(), AtWork { bar, started: Instant::now() });
                self.left.shares.insert(run.to_owned(), 0.0);
            }
            Event::Training { run, progress } => {
                if let Some(AtWork { bar, .. }) = self.at_work.get(run) {
                    bar.set_length(progress.total_rows);
                    bar.set_position(progress.rows);
                    let valid = progress.valid_log_loss.map_or(String::new(), |loss| format!(", valid {loss:.5}"));
                    bar.set_message(format!("log loss {:.5}{valid}", progress.log_loss));
                }
                self.left.shares.insert(run.to_owned(), progress.rows as f64 / progress.total_rows.max(1) as f64);
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
                let runs = self.left.runs;
                self.clear();
                self.context.note(format_args!("comparing {runs} runs"));
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
        (self.left.begun, self.left.runs) = (Instant::now(), plan.runs);
        let bar = ProgressBar::new(plan.runs as u64).with_style(style("{prefix:<24} {bar:24} {pos}/{len} {msg}"));
        bar.set_prefix("all runs");
        self.whole = Some(self.bars.add(bar));
    }

    fn finished(&mut self, run: &str, what: &str, kept: bool) {
        let took = self.at_work.remove(run).map_or(0.0, |AtWork { bar, started }| {
            bar.finish_and_clear();
            started.elapsed().as_secs_f64()
        });
        self.left.shares.remove(run);
        self.left.done += 1;
        self.left.kept += usize::from(kept);
        let how = if kept { "kept".to_owned() } else { format!("{took:.1} s") };
        self.bars.suspend(|| self.context.note(format_args!("{run:<24} {what} ({how})")));
        self.show_whole();
    }

    fn show_whole(&self) {
        if let Some(bar) = &self.whole {
            bar.set_position(self.left.done as u64);
        }
        if let Some(seconds) = self.left.seconds(self.left.begun.elapsed()) {
            self.say_whole(format!("about {} left", duration(seconds)));
        }
    }

    fn say_whole(&self, text: String) {
        if let Some(bar) = &self.whole {
            bar.set_message(text);
        }
    }
}

impl TimeLeft {
    /// Seconds left after `elapsed`, if the rest is as fast as what was run so far.
    fn seconds(&self, elapsed: Duration) -> Option<f64> {
        let worked = (self.done - self.kept) as f64 + self.shares.values().sum::<f64>();
        let rest = self.runs as f64 - self.done as f64 - self.shares.values().sum::<f64>();
        (worked > 0.0).then(|| elapsed.as_secs_f64() / worked * rest)
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
    fn time_left_goes_by_what_was_run() {
        let shares = BTreeMap::from([("a".to_owned(), 0.5), ("b".to_owned(), 0.5)]);
        let left = TimeLeft { begun: Instant::now(), runs: 10, done: 4, kept: 2, shares };
        // Three runs' worth in 30 s, five to go.
        assert_eq!(left.seconds(Duration::from_secs(30)), Some(50.0));
        let nothing = TimeLeft { begun: Instant::now(), runs: 2, done: 2, kept: 2, shares: BTreeMap::new() };
        assert_eq!(nothing.seconds(Duration::from_secs(1)), None);
        assert_eq!(
            [duration(0.25), duration(75.0), duration(600.0), duration(9000.0)],
            ["0.2 s", "75 s", "10 min", "2.5 h"]
        );
    }
}
