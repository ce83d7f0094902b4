//! A sample of the latest requests, for the model that comes next: it is warmed with them and compared on them before it takes over.
//!
//! A ring of places that are filled again and again. Who answers requests never waits here: a place that another thread holds is
//! passed over, and only one request in [`ONE_IN`] is kept once the ring is full.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::LiveModel;
use crate::predict::given::Given;

/// Requests in the ring.
const PLACES: usize = 256;
/// Of this many requests one is kept once the ring is full.
const ONE_IN: usize = 16;
/// Candidates to keep of one request.
pub const MOST_CANDIDATES: usize = 32;
/// Bytes that one place may keep; a longer request is passed over.
const MOST_BYTES: usize = 256 << 10;

/// The ring.
#[derive(Debug)]
pub struct Recent {
    places: Box<[Mutex<Place>]>,
    offered: AtomicUsize,
    kept: AtomicUsize,
}

#[derive(Debug, Default)]
struct Place {
    given: Given,
    /// Name of the schema's columns that the cells count in; `None` for a place that was never filled.
    columns: Option<Arc<[String]>>,
}

/// A request of the ring.
#[derive(Debug, Clone)]
pub struct RecentRequest {
    /// Its cells.
    pub given: Given,
    /// Names of the columns that they count in.
    pub columns: Arc<[String]>,
}

impl Default for Recent {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| Mutex::default()).collect();
        Recent { places, offered: AtomicUsize::new(0), kept: AtomicUsize::new(0) }
    }
}

impl Recent {
    /// Whether the request just answered should be kept: all at first, one in `ONE_IN` once the ring is full.
    pub fn wants(&self) -> bool {
        let offered = self.offered.fetch_add(1, Ordering::Relaxed);
        offered < PLACES || offered.is_multiple_of(ONE_IN)
    }

    /// Keeps a request answered by `model`, in place of the oldest. Never waits; allocates only while the ring grows.
    pub fn keep(&self, model: &LiveModel, given: &Given) {
        let place = &self.places[self.kept.fetch_add(1, Ordering::Relaxed) % PLACES];
        let Ok(mut place) = place.try_lock() else { return };
        if given.footprint() <= MOST_BYTES {
            place.given.copy_from(given);
            place.columns = Some(model.columns.clone());
        }
    }

    /// Copies of the requests in the ring, in no order. One that is just being kept may be missing.
    pub fn requests(&self) -> Vec<RecentRequest> {
        let request = |place: &Mutex<Place>| {
            let place = place.try_lock().ok()?;
            place.columns.clone().map(|columns| RecentRequest { given: place.given.clone(), columns })
        };
        self.places.iter().filter_map(request).collect()
    }
}
