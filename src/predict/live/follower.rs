//! A stage of a registry → the model in use, after everything that could be wrong with it was looked at.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::shadow::{Beyond, Shift, SwapSettings, compare};
use super::{Live, LiveModel};
use crate::error::{Error, Result};
use crate::registry::{Action, Registry, Resolved};

/// Follows a stage of a registry.
#[derive(Debug)]
pub struct Follower {
    registry: Registry,
    stage: String,
    limits: SwapSettings,
    /// The last change looked at.
    change: u64,
    /// What was wrong with it.
    trouble: Option<Trouble>,
    /// The model in use before, for a way back that reads nothing.
    previous: Option<Arc<LiveModel>>,
    /// Models that requests may still hold.
    retired: Vec<Arc<LiveModel>>,
}

/// A change that could not be followed.
#[derive(Debug)]
struct Trouble {
    message: String,
    /// Looks to let pass before it is tried again.
    pause: u32,
    /// Looks still to let pass.
    left: u32,
}

/// Most looks between two tries of a refused model: a large bundle is not read in vain every second.
const LONGEST_PAUSE: u32 = 60;

/// What a look at the registry found.
#[derive(Debug, Clone)]
pub enum Look {
    /// Nothing new.
    Same,
    /// Another model is in use now.
    Swapped(Box<Swap>),
    /// The stage names a model that cannot serve, or cannot be read; the model in use stays. Said once for each change, and
    /// again when the reason is another.
    Refused(RefusedBundle),
}

/// One exchange of models.
#[derive(Debug, Clone, PartialEq)]
pub struct Swap {
    /// The model before.
    pub from: String,
    /// The model now.
    pub to: String,
    /// Number of the stage's change.
    pub change: u64,
    /// Whether it was still in memory from before.
    pub kept: bool,
    /// What opening, checking and comparing took.
    pub prepared: Duration,
    /// How far its answers are from those of the model before, where recent requests tell.
    pub shift: Option<Shift>,
    /// What of the shift is beyond its limit.
    pub warning: Option<String>,
}

/// A bundle that should serve and cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedBundle {
    /// The model, where the stage could be read.
    pub model: Option<String>,
    /// Why.
    pub reason: String,
    /// Since when (UTC, RFC 3339).
    pub since: String,
}

impl Follower {
    /// Follows `stage` of `registry`, and opens the model it serves now.
    ///
    /// # Errors
    /// Config when nothing is promoted to the stage; bundle when its model is refused; io.
    pub fn new(registry: Registry, stage: &str, limits: SwapSettings) -> Result<(Follower, LiveModel)> {
        let resolved = registry.resolve(stage)?;
        let model = open(&resolved)?;
        let follower = Follower {
            registry,
            stage: stage.to_owned(),
            limits,
            change: resolved.change,
            trouble: None,
            previous: None,
            retired: Vec::new(),
        };
        Ok((follower, model))
    }

    /// The stage it follows.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Number of the last change of the stage that it looked at.
    pub fn change(&self) -> u64 {
        self.change
    }

    /// Looks whether the stage changed, and if so puts its model in use. Opens, checks, warms and compares the bundle on the
    /// caller's thread.
    ///
    /// A refused model is tried again, for it may have been repaired, after ever longer pauses.
    pub fn look(&mut self, live: &Live) -> Look {
        self.free_retired();
        let (model, looked) = match self.registry.resolve(&self.stage) {
            Ok(resolved) if resolved.change == self.change && self.pauses() => return Look::Same,
            Ok(resolved) => {
                if resolved.change != self.change {
                    self.trouble = None;
                }
                self.change = resolved.change;
                let looked = self.take_over(&resolved, live);
                (Some(resolved.model), looked)
            }
            Err(error) => (None, Err(error)),
        };
        match looked {
            Ok(look) => {
                self.trouble = None;
                live.refused.store(None);
                look
            }
            Err(error) => self.refuse(model, &error, live),
        }
    }

    /// Puts the model of `resolved` in use.
    fn take_over(&mut self, resolved: &Resolved, live: &Live) -> Result<Look> {
        let started = Instant::now();
        let current = live.model_arc();
        if current.name() == resolved.model {
            return Ok(Look::Same);
        }
        let kept = self.previous.clone().filter(|previous| previous.name() == resolved.model);
        let in_memory = kept.is_some();
        let model = match kept {
            Some(model) => model,
            None => Arc::new(whatever_happens(&resolved.model, || open(resolved))?),
        };
        check_schema(resolved, &current, &model)?;
        // The way back is known and asked for in a hurry: nothing is computed first.
        let shift = match in_memory && resolved.action == Action::RolledBack {
            true => None,
            false => {
                let requests = live.recent.requests();
                whatever_happens(&resolved.model, || Ok(compare(&current, &model, &requests)))?
            }
        };
        let warning = shift.as_ref().and_then(|shift| self.limits.judge(shift));
        if let (Some(warning), Beyond::Refuse, false) = (&warning, self.limits.beyond, asked_for(resolved)) {
            return Err(Error::bundle(&resolved.model, format!("{warning}; promote with --force to serve it anyway")));
        }
        let (from, to) = (current.name().to_owned(), model.name().to_owned());
        let prepared = started.elapsed();
        self.retired.extend(self.previous.replace(live.swap(model)));
        Ok(Look::Swapped(Box::new(Swap {
            from,
            to,
            change: resolved.change,
            kept: in_memory,
            prepared,
            shift,
            warning,
        })))
    }

    fn refuse(&mut self, model: Option<String>, error: &Error, live: &Live) -> Look {
        let reason = error.to_string();
        let known = self.trouble.take().filter(|trouble| trouble.message == reason);
        // A stage that cannot be read costs nothing to read again.
        let first = u32::from(model.is_some());
        let pause = known.as_ref().map_or(first, |trouble| (2 * trouble.pause).min(LONGEST_PAUSE));
        self.trouble = Some(Trouble { message: reason.clone(), pause, left: pause });
        if known.is_some() {
            return Look::Same;
        }
        let refused = RefusedBundle { model, reason, since: jiff::Timestamp::now().to_string() };
        live.refused.store(Some(Arc::new(refused.clone())));
        Look::Refused(refused)
    }

    /// Whether there is nothing to try at this look.
    fn pauses(&mut self) -> bool {
        match &mut self.trouble {
            None => true,
            Some(trouble) if trouble.left > 0 => {
                trouble.left -= 1;
                true
            }
            Some(_) => false,
        }
    }

    /// Frees models that no request holds any more; here, so that no request pays for it.
    fn free_retired(&mut self) {
        self.retired.retain(|model| Arc::strong_count(model) > 1);
    }
}

fn open(resolved: &Resolved) -> Result<LiveModel> {
    let model = LiveModel::open(&resolved.path)?;
    match model.name() == resolved.model {
        true => Ok(model),
        false => {
            let message = format!("expected the bundle of this model, got that of {}", model.name());
            Err(Error::bundle(&resolved.model, message))
        }
    }
}

/// Requests are made for one schema: another one must have been asked for.
fn check_schema(resolved: &Resolved, current: &LiveModel, model: &LiveModel) -> Result<()> {
    let (current, manifest) = (&current.bundle.manifest, &model.bundle.manifest);
    if current.schema_fingerprint == manifest.schema_fingerprint || asked_for(resolved) {
        return Ok(());
    }
    let message = format!(
        "it takes rows of schema {} ({}), but requests are made for schema {} ({}) of {}; promote with --force when they \
         change together",
        manifest.schema, manifest.schema_fingerprint, current.schema, current.schema_fingerprint, current.model,
    );
    Err(Error::bundle(&resolved.model, message))
}

/// Whether a person wants this model whatever it answers.
fn asked_for(resolved: &Resolved) -> bool {
    resolved.forced || resolved.action == Action::RolledBack
}

/// A model that panics is refused like any other bad one; the keeper goes on.
fn whatever_happens<T>(model: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Error::bundle(model, format!("it panics: {}", said.unwrap_or("without a word"))))
    })
}
