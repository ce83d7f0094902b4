//! A body that arrived → a place to be scored in, or "come back later" at once.
//!
//! Scoring is short and pure computation, so it runs on the threads that read the sockets, without being handed over. At most
//! `places` requests are scored at a time, one for each thread. A thread that has scored for [`SLICE`] keeps its place taken until
//! it has looked at the sockets and read what came, so that a request that cannot be answered in time is told so within a fraction
//! of a millisecond, and not when its time is over.
//!
//! Who finds no place free waits in line. How long that takes is expected from what was measured: the nanoseconds that a byte of
//! body kept a place lately, times the bytes in line, over the places. A request is turned away when that is more than the
//! longest wait allowed, or more than half of its own budget with what is being scored. Bytes stand for work because they are known before anything is parsed, and the
//! cost of a request grows with its candidates, which is what bodies are full of. While requests wait, what happens between two
//! scorings (answers sent, bodies read, others turned away) counts as part of the cost: it is what those in line wait for too.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

/// Share of a new measurement in the running cost.
const WEIGHT: f64 = 1.0 / 16.0;

/// What a request costs whatever its size, in bytes: a request without a body is work too.
const BYTES_OF_A_REQUEST: usize = 256;

/// How long a thread may score before it looks at the sockets.
const SLICE: Duration = Duration::from_micros(250);

/// Places to be scored in.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    count: usize,
    longest_wait: Duration,
    /// Bytes waiting in line.
    waiting: AtomicUsize,
    /// Bytes in places.
    scoring: AtomicUsize,
    /// Nanoseconds that a byte keeps a place, as the bits of an f64: a running mean.
    nanos_a_byte: AtomicU64,
    began: Instant,
    /// When a place was left last, in nanoseconds since `began`.
    left: AtomicU64,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    admission: &'a Admission,
    bytes: usize,
    /// What its cost counts from.
    since: Instant,
    /// How long the request waited for it.
    pub(super) waited: Duration,
    permit: Option<SemaphorePermit<'a>>,
}

/// Turned away: the wait that was to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TurnedAway(pub(super) Duration);

impl Admission {
    pub(super) fn new(places: usize, longest_wait: Duration) -> Admission {
        Admission {
            places: Arc::new(Semaphore::new(places)),
            count: places,
            longest_wait,
            waiting: AtomicUsize::new(0),
            scoring: AtomicUsize::new(0),
            nanos_a_byte: AtomicU64::new(0_f64.to_bits()),
            began: Instant::now(),
            left: AtomicU64::new(0),
        }
    }

    /// A place for a request with a body of `bytes` that arrived `at`, of which `left` of its budget is left.
    pub(super) async fn enter(&self, bytes: usize, at: Instant, left: Duration) -> Result<Place<'_>, TurnedAway> {
        let bytes = bytes + BYTES_OF_A_REQUEST;
        if let Ok(permit) = self.places.try_acquire() {
            return Ok(self.place(bytes, at, Duration::ZERO, permit));
        }
        let expected = self.expected_wait();
        if self.expected_line() > self.longest_wait || expected > left / 2 {
            return Err(TurnedAway(expected));
        }
        let _in_line = Counted::new(&self.waiting, bytes);
        let permit = self.places.acquire().await.map_err(|_| TurnedAway(expected))?;
        // While others wait, the place costs time from the moment when the one before left it.
        let left = self.began + Duration::from_nanos(self.left.load(Ordering::Relaxed));
        Ok(self.place(bytes, left.max(at), at.elapsed(), permit))
    }

    /// How long a request that comes now would wait.
    pub(super) fn expected_wait(&self) -> Duration {
        // Of what is being scored, half is done on average.
        self.expected_line() + self.time_of(self.scoring.load(Ordering::Relaxed) / 2)
    }

    /// The part of it that those in line take.
    fn expected_line(&self) -> Duration {
        self.time_of(self.waiting.load(Ordering::Relaxed))
    }

    /// How long it takes until so many bytes are scored.
    fn time_of(&self, bytes: usize) -> Duration {
        let nanos = bytes as f64 * f64::from_bits(self.nanos_a_byte.load(Ordering::Relaxed)) / self.count as f64;
        Duration::from_nanos(nanos as u64)
    }

    fn place<'a>(&'a self, bytes: usize, since: Instant, waited: Duration, permit: SemaphorePermit<'a>) -> Place<'a> {
        self.scoring.fetch_add(bytes, Ordering::Relaxed);
        Place { admission: self, bytes, since, waited, permit: Some(permit) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let admission = self.admission;
        admission.scoring.fetch_sub(self.bytes, Ordering::Relaxed);
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since);
        admission.left.store(now.duration_since(admission.began).as_nanos() as u64, Ordering::Relaxed);
        let cost = took.as_nanos() as f64 / self.bytes as f64;
        let known = f64::from_bits(admission.nanos_a_byte.load(Ordering::Relaxed));
        let updated = if known == 0.0 { cost } else { known + WEIGHT * (cost - known) };
        // Two that end at once may lose one measurement; the mean does not mind.
        admission.nanos_a_byte.store(updated.to_bits(), Ordering::Relaxed);
        if slice_is_over(took)
            && let Ok(runtime) = Handle::try_current()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            let places = admission.places.clone();
            runtime.spawn(async move {
                // Once until the sockets were asked, and once until what came was read.
                yield_now().await;
                yield_now().await;
                places.add_permits(1);
            });
        }
    }
}

/// Adds to what this thread scored since it last looked at the sockets; says whether it should look.
fn slice_is_over(took: Duration) -> bool {
    thread_local! {
        static SCORED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }
    let scored = SCORED.get() + took;
    let over = scored >= SLICE;
    SCORED.set(if over { Duration::ZERO } else { scored });
    over
}

/// An amount added to a counter for as long as this lives.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    counter: &'a AtomicUsize,
    amount: usize,
}

impl<'a> Counted<'a> {
    pub(super) fn new(counter: &'a AtomicUsize, amount: usize) -> Counted<'a> {
        counter.fetch_add(amount, Ordering::Relaxed);
        Counted { counter, amount }
    }

    /// The same unless the counter would go beyond `most`.
    pub(super) fn within(counter: &'a AtomicUsize, amount: usize, most: usize) -> Option<Counted<'a>> {
        let counted = Counted::new(counter, amount);
        (counter.load(Ordering::Relaxed) <= most).then_some(counted)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn busy(admission: &Admission, nanos_a_byte: f64) {
        admission.nanos_a_byte.store(nanos_a_byte.to_bits(), Ordering::Relaxed);
    }

    #[tokio::test]
    async fn places_are_given_at_once_while_there_are_some() {
        let admission = Admission::new(2, Duration::ZERO);
        let first = admission.enter(10, Instant::now(), Duration::ZERO).await.unwrap();
        let second = admission.enter(10, Instant::now(), Duration::ZERO).await.unwrap();
        assert_eq!((first.waited, second.waited), (Duration::ZERO, Duration::ZERO));
        busy(&admission, 1e6);
        let TurnedAway(expected) = admission.enter(10, Instant::now(), SECOND / 4).await.unwrap_err();
        // Two of 266 bytes, half done, on two places: 133 bytes of a millisecond each.
        assert_eq!(expected, Duration::from_millis(133));
        drop(first);
        assert!(admission.enter(10, Instant::now(), Duration::ZERO).await.is_ok());
    }

    #[test]
    fn what_came_is_seen_before_the_next_is_scored() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let admission = Arc::new(Admission::new(1, SECOND));
        let (tell, events) = std::sync::mpsc::channel();
        runtime.block_on(async {
            let arrival = tell.clone();
            tokio::spawn(async move {
                tokio::net::TcpStream::from_std(server).unwrap().readable().await.unwrap();
                arrival.send("a request arrived").unwrap();
            });
            tokio::spawn(async move {
                let place = admission.enter(0, Instant::now(), SECOND).await.unwrap();
                // While the first is scored, a second one is ready and a third one arrives.
                let (admission, second) = (admission.clone(), tell.clone());
                tokio::spawn(async move {
                    let place = admission.enter(0, Instant::now(), SECOND).await.unwrap();
                    second.send("the second was scored").unwrap();
                    assert!(place.waited > Duration::ZERO);
                });
                std::io::Write::write_all(&mut client, b"x").unwrap();
                std::thread::sleep(2 * SLICE);
                tell.send("the first was scored").unwrap();
                drop(place);
            });
            tokio::task::yield_now().await;
        });
        let next = || events.recv_timeout(SECOND).unwrap();
        assert_eq!([next(), next(), next()], ["the first was scored", "a request arrived", "the second was scored"]);
    }

    #[tokio::test]
    async fn who_can_be_served_in_time_waits() {
        // The longest wait behind others, what is left of the last one's budget, and whether that one may wait.
        let milliseconds = Duration::from_millis;
        for (longest_wait, left, waits) in [
            (SECOND, SECOND, true),
            (milliseconds(200), SECOND, false),
            // Half of it is less than what is to be expected.
            (SECOND, milliseconds(700), false),
        ] {
            let admission = Admission::new(1, longest_wait);
            let first = admission.enter(0, Instant::now(), SECOND).await.unwrap();
            busy(&admission, 1e6);
            let wait = async {
                let place = admission.enter(0, Instant::now(), SECOND).await.unwrap();
                assert!(place.waited >= milliseconds(5));
            };
            let come = async {
                tokio::time::sleep(milliseconds(10)).await;
                assert_eq!(admission.expected_wait(), milliseconds(128 + 256), "one in line, one in place");
                assert_eq!(admission.enter(0, Instant::now(), left).await.is_ok(), waits, "{longest_wait:?} {left:?}");
            };
            let leave = async {
                tokio::time::sleep(milliseconds(20)).await;
                drop(first);
            };
            tokio::join!(wait, come, leave);
            assert_eq!(admission.waiting.load(Ordering::Relaxed) + admission.scoring.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn amounts_are_counted_while_they_are_held() {
        let counter = AtomicUsize::new(0);
        let held = Counted::within(&counter, 6, 10).unwrap();
        assert!(Counted::within(&counter, 5, 10).is_none());
        drop(held);
        assert!(Counted::within(&counter, 5, 10).is_some());
        assert_eq!(counter.load(Ordering::Relaxed), 0);
    }
}
