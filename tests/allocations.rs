//! Once warm, the scorer allocates nothing, whatever the model and the rungs of the ladder that a request uses; and a service as much
//! for a long request as for a short one.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(unsafe_code, reason = "an allocator that counts is one")]

mod bundles;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use pctr::model::bundle::{ModelKind, Tier};
use pctr::predict::budget::Budget;
use pctr::predict::http::{Limits, Shared, app};
use pctr::predict::scorer::{Scratch, score, warm};
use pctr::predict::{Live, LiveModel};
use tower::ServiceExt;

/// The system's allocator, counting what this thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more, and nobody asks for it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of `work` on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// Scores `rows` as one request whose candidates name the columns from `cut` on; returns how many had each tier.
fn request(
    model: &LiveModel,
    rows: &[Vec<String>],
    cut: usize,
    budget: &Budget<'_>,
    scratch: &mut Scratch,
) -> [usize; 3] {
    let context = (0..cut).map(|column| (column, bundles::cell(&rows[0][column])));
    let candidates = rows.iter().map(|row| (cut..row.len()).map(move |column| (column, bundles::cell(&row[column]))));
    let scored = score(model, context, candidates, budget, scratch).unwrap();
    Tier::ALL.map(|tier| scored.iter().filter(|scored| scored.tier == tier).count())
}

#[test]
fn a_warm_scorer_allocates_nothing() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 64]))), 1, "the counter counts");
    let rows: Vec<Vec<String>> = (0..300).map(bundles::row).collect();
    let started = Instant::now();
    for (kind, seed) in bundles::MODELS {
        let model = LiveModel::new(bundles::bundle(kind, seed)).unwrap();
        // Time stands still at `started`; what a tier is thought to take decides which rungs are used.
        let clock = || started;
        warm(&model, &clock);
        let budgets = [
            Budget::unlimited(),
            Budget::until(started + Duration::from_millis(40), &clock),
            Budget::until(started + Duration::from_micros(400), &clock),
            Budget::until(started, &clock),
        ];
        let mut scratch = Scratch::default();
        let mut seen = [0; 3];
        let mut round = |scratch: &mut Scratch| {
            for count in [1, 2, 17, 100, 300] {
                for cut in [0, 5, 9] {
                    for budget in &budgets {
                        // 1 ms a candidate for the model, 10 µs for its companion.
                        for count in [1, 2, 4, 8, 16, 32, 64, 128] {
                            let costs = model.scorer.costs();
                            costs.record(Tier::Full, count, Duration::from_millis(count as u64));
                            costs.record(Tier::Cheap, count, Duration::from_micros(10 * count as u64));
                        }
                        let tiers = request(&model, &rows[..count], cut, budget, scratch);
                        seen.iter_mut().zip(tiers).for_each(|(seen, tier)| *seen += tier);
                    }
                }
            }
        };
        round(&mut scratch);
        let counted = allocations(|| (0..3).for_each(|_| round(&mut scratch)));
        assert_eq!(counted, 0, "allocations of a warm scorer, {kind} {seed}");
        let has_cheap = model.bundle.has(Tier::Cheap);
        assert!(seen[0] > 0 && seen[2] > 0 && (seen[1] > 0) == has_cheap, "{kind}: tiers used {seen:?}");
    }
}

#[tokio::test]
async fn reading_and_answering_allocate_the_same_for_any_request() {
    let live = Live::new(LiveModel::new(bundles::bundle(ModelKind::Ftrl, 1)).unwrap());
    let service = app(Shared::new(Arc::new(live), Limits::default()));
    let small = r#"{"candidates": [{"site": "news"}]}"#.to_owned();
    let candidate = r#"{"id": "\u00e9", "slot": 1, "\u0061ge": -1.5, "tags": ["a", "\u0062", 3], "note": {"x": [1]}}"#;
    let context = r#"{"site": "a \"quoted\" site", "bid_floor": "0.5", "when": null}"#;
    let large =
        format!(r#"{{"candidates": [{candidate}{}], "context": {context}}}"#, format!(", {candidate}").repeat(99));
    let mut counted = Vec::new();
    for body in [&small, &large].into_iter().cycle().take(12) {
        let request = Request::post("/v1/score").header("x-budget-us", "60000000");
        let request = request.body(Body::from(body.clone())).unwrap();
        let (service, before) = (service.clone(), COUNT.get());
        let response = service.oneshot(request).await.unwrap();
        counted.push(COUNT.get() - before);
        assert_eq!(response.status(), StatusCode::OK);
        let answer = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(answer.len() < 200 || answer.len() > 100 * 80, "{} bytes", answer.len());
    }
    // What bodies need is there after the first two. Now and then a place is given back by a task of its own, which is one more.
    let (small, large) = (counted[2..].iter().step_by(2), counted[3..].iter().step_by(2));
    let least = *small.clone().min().unwrap();
    assert_eq!(large.clone().min(), Some(&least), "{counted:?}");
    assert!(small.chain(large).all(|count| *count <= least + 1), "{counted:?}");
}
