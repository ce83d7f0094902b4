//! The model in use: read by every request without a lock, exchanged by one pointer.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Fields;
use super::scorer::Ready;
use crate::error::{Error, Result};
use crate::model::bundle::Bundle;
use crate::registry::{Registry, check_answers};

/// A bundle that is ready to answer.
#[derive(Debug)]
pub struct LiveModel {
    /// The bundle.
    pub bundle: Bundle,
    /// The columns of its schema.
    pub fields: Fields,
    /// What scoring with it prepared.
    pub scorer: Ready,
}

impl LiveModel {
    /// Makes a bundle ready.
    ///
    /// # Errors
    /// Bundle when it does not answer.
    pub fn new(bundle: Bundle) -> Result<LiveModel> {
        check_answers(&bundle)?;
        let fields = Fields::new(&bundle.schema);
        let scorer = Ready::new(&bundle);
        Ok(LiveModel { bundle, fields, scorer })
    }

    /// Opens a bundle and makes it ready.
    ///
    /// # Errors
    /// Io when files are missing; bundle when it is refused.
    pub fn open(folder: &Path) -> Result<LiveModel> {
        LiveModel::new(Bundle::open(folder)?)
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.bundle.manifest.model
    }
}

/// The model in use.
#[derive(Debug)]
pub struct Live {
    model: ArcSwap<LiveModel>,
}

impl Live {
    /// Begins with `model`.
    pub fn new(model: LiveModel) -> Live {
        Live { model: ArcSwap::from_pointee(model) }
    }

    /// The model for one request: hold it until the answer is made, so that no answer mixes two models.
    pub fn model(&self) -> Arc<LiveModel> {
        self.model.load_full()
    }

    /// Puts another model in use. Requests that began with the old one end with it.
    pub fn swap(&self, model: LiveModel) {
        self.model.store(Arc::new(model));
    }
}

/// Follows a stage of a registry.
#[derive(Debug)]
pub struct Follower {
    registry: Registry,
    stage: String,
    /// The last change looked at.
    change: u64,
    /// What was wrong with it.
    trouble: Option<Trouble>,
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
#[derive(Debug)]
pub enum Look {
    /// Nothing new.
    Same,
    /// Another model is in use now.
    Swapped {
        /// The model before.
        from: String,
        /// The model now.
        to: String,
    },
    /// The stage names a model that cannot serve, or cannot be read; the model in use stays. Said once for each change.
    Refused(Error),
}

impl Follower {
    /// Follows `stage` of `registry`, and opens the model it serves now.
    ///
    /// # Errors
    /// Config when nothing is promoted to the stage; bundle when its model is refused; io.
    pub fn new(registry: Registry, stage: &str) -> Result<(Follower, LiveModel)> {
        let resolved = registry.resolve(stage)?;
        let model = LiveModel::open(&resolved.path)?;
        Ok((Follower { registry, stage: stage.to_owned(), change: resolved.change, trouble: None }, model))
    }

    /// Looks whether the stage changed, and if so puts its model in use. Opens the bundle on the caller's thread.
    ///
    /// A refused model is tried again, for it may have been repaired, after ever longer pauses.
    pub fn look(&mut self, live: &Live) -> Look {
        let opened = match self.registry.resolve(&self.stage) {
            Ok(resolved) if resolved.change == self.change && self.pauses() => return Look::Same,
            Ok(resolved) => {
                if resolved.change != self.change {
                    self.trouble = None;
                }
                self.change = resolved.change;
                LiveModel::open(&resolved.path)
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok(model) => {
                self.trouble = None;
                let (from, to) = (live.model().name().to_owned(), model.name().to_owned());
                if from == to {
                    return Look::Same;
                }
                live.swap(model);
                Look::Swapped { from, to }
            }
            Err(error) => {
                let message = error.to_string();
                let known = self.trouble.take().filter(|trouble| trouble.message == message);
                let pause = known.as_ref().map_or(1, |trouble| (2 * trouble.pause).min(LONGEST_PAUSE));
                self.trouble = Some(Trouble { message, pause, left: pause });
                if known.is_some() { Look::Same } else { Look::Refused(error) }
            }
        }
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
}
