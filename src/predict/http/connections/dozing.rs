//! A future among others of a task → one that costs nothing when the others wake the task.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

pin_project! {
    /// A future that is looked at only when it has woken itself. Timers and channels take locks when they are looked at; a connection
    /// wakes with every request, and they hardly ever.
    pub(super) struct Dozing<Work> {
        #[pin]
        work: Work,
        bell: Arc<Bell>,
        // The bell, as `work` knows it.
        waker: Waker,
        // Who was to be woken when `work` was looked at last.
        task: Option<Waker>,
    }
}

#[derive(Debug, Default)]
struct Bell {
    rang: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<Work> Dozing<Work> {
    pub(super) fn new(work: Work) -> Dozing<Work> {
        let bell = Arc::new(Bell::default());
        Dozing { work, waker: bell.clone().into(), bell, task: None }
    }
}

impl<Work: Future> Future for Dozing<Work> {
    type Output = Work::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Work::Output> {
        let this = self.project();
        if !this.task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *this.task = Some(context.waker().clone());
            *this.bell.task.lock().unwrap_or_else(PoisonError::into_inner) = this.task.clone();
            this.bell.rang.store(true, Ordering::Relaxed);
        }
        if !this.bell.rang.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Whoever rings from here on is heard at the next look.
        this.bell.rang.swap(false, Ordering::AcqRel);
        this.work.poll(&mut Context::from_waker(this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_is_looked_at_when_it_wakes_and_not_when_others_do() {
        // In a task of its own, as connections are: what wakes the main task of a runtime has several faces.
        let looks = tokio::spawn(async {
            let looks = AtomicUsize::new(0);
            let mut timer = pin!(tokio::time::sleep(Duration::from_millis(30)));
            let work = poll_fn(|context| {
                looks.fetch_add(1, Ordering::Relaxed);
                timer.as_mut().poll(context)
            });
            let mut dozing = pin!(Dozing::new(work));
            for _ in 0..5 {
                tokio::select! {
                    biased;
                    () = dozing.as_mut() => panic!("before its time"),
                    () = tokio::task::yield_now() => {}
                }
            }
            let before = looks.load(Ordering::Relaxed);
            dozing.await;
            (before, looks.load(Ordering::Relaxed))
        });
        assert_eq!(looks.await.unwrap(), (1, 2));
    }

    #[tokio::test]
    async fn another_task_that_takes_it_over_is_woken() {
        let mut dozing = Box::pin(Dozing::new(tokio::time::sleep(Duration::from_millis(30))));
        assert!(poll_fn(|context| Poll::Ready(dozing.as_mut().poll(context))).await.is_pending());
        tokio::spawn(dozing).await.unwrap();
    }
}
