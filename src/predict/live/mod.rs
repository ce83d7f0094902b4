//! The model in use: read by every request without a lock, exchanged by one pointer.
//!
//! ```text
//! registry ─▶ follower: open, check, warm, compare ─▶ one pointer ─▶ requests
//!                 ▲                          │
//!     recent requests, a sample              └─▶ ledger: what served when, and how far answers moved
//! ```
//!
//! [`Keeper`] is the one thread that does all of this, at low priority. Requests take no lock and wait for nobody: they read the
//! pointer once, and end with the model they began with. The model before stays in memory, so that going back to it takes no
//! longer than the exchange. Models are freed by the keeper, never by a request.
//!
//! A bundle is read into memory, not mapped: what is mapped can be cut or changed behind the back of who uses it, and touching
//! such a page ends the process. What was read is in memory to the last page, and what was checked is what serves.

mod follower;
mod keeper;
mod ledger;
mod recent;
mod shadow;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use rustix::time::{ClockId, clock_gettime};

use super::Fields;
use super::scorer::{Ready, warm};
use crate::error::Result;
use crate::model::bundle::Bundle;
use crate::registry::check_answers;

pub use follower::{Follower, Look, RefusedBundle, Swap};
pub use keeper::{Event, Keeper, KeeperOptions};
pub use ledger::{Entry, Happening, history};
pub use recent::{MOST_CANDIDATES, Recent, RecentRequest};
pub use shadow::{Beyond, Shift, SwapSettings, compare};

/// A bundle that is ready to answer.
#[derive(Debug)]
pub struct LiveModel {
    /// The bundle.
    pub bundle: Bundle,
    /// The columns of its schema.
    pub fields: Fields,
    /// Names of the columns, for requests that are kept.
    pub columns: Arc<[String]>,
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
        let columns = bundle.schema.columns.clone().into();
        let scorer = Ready::new(&bundle);
        Ok(LiveModel { bundle, fields, columns, scorer })
    }

    /// Opens a bundle, makes it ready and lets it answer until it is warm.
    ///
    /// # Errors
    /// Io when files are missing; bundle when it is refused.
    pub fn open(folder: &Path) -> Result<LiveModel> {
        let model = LiveModel::new(Bundle::open(folder)?)?;
        // What a tier costs is what it takes, not how long its thread had to wait for a processor meanwhile.
        let (began, worked) = (Instant::now(), time_worked());
        warm(&model, &|| began + time_worked().saturating_sub(worked));
        Ok(model)
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.bundle.manifest.model
    }
}

/// Time that this thread had a processor.
fn time_worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The model in use.
#[derive(Debug)]
pub struct Live {
    model: ArcSwap<LiveModel>,
    refused: ArcSwapOption<RefusedBundle>,
    recent: Recent,
    /// Where the keeper listens, if there is one.
    keeper: Mutex<Option<keeper::Asks>>,
}

impl Live {
    /// Begins with `model`.
    pub fn new(model: LiveModel) -> Live {
        Live {
            model: ArcSwap::from_pointee(model),
            refused: ArcSwapOption::empty(),
            recent: Recent::default(),
            keeper: Mutex::new(None),
        }
    }

    /// The model for one request: hold it until the answer is made, so that no answer mixes two models, and no longer.
    ///
    /// Takes no lock, and no counter that all threads share.
    pub fn model(&self) -> Guard<Arc<LiveModel>> {
        self.model.load()
    }

    /// The model, to be kept for longer than a request.
    pub fn model_arc(&self) -> Arc<LiveModel> {
        self.model.load_full()
    }

    /// Puts another model in use and returns the one before. Requests that began with it end with it.
    pub fn swap(&self, model: Arc<LiveModel>) -> Arc<LiveModel> {
        self.model.swap(model)
    }

    /// The bundle that should serve and cannot, if there is one; the model in use goes on.
    pub fn refused(&self) -> Option<Arc<RefusedBundle>> {
        self.refused.load_full()
    }

    /// A sample of the latest requests.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Has the keeper look at the registry now and waits for what it found; `None` when no registry is followed.
    ///
    /// Takes as long as a new bundle takes to open and compare: not for a thread that answers requests.
    pub fn look_now(&self) -> Option<Look> {
        let asks = self.keeper.lock().ok()?.clone()?;
        keeper::ask(&asks)
    }
}
