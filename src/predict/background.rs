//! Threads that work beside requests → threads that never make one wait.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Lets this thread run only while nobody else wants its processor (Linux' `SCHED_IDLE`).
///
/// A request that comes takes the processor at once; against a thread of low priority it would wait for the end of a time slice,
/// which is milliseconds. A wish only: where it is not granted, requests share the processor with this thread.
pub(super) fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        tracing::debug!("a thread in the background runs like any other: {error:?}");
    }
}

/// Offers this thread's processor to requests, in the middle of work that takes milliseconds.
///
/// Linux mostly lets them have it anyway when they come. Now and then it lets this thread go on until the next tick, for up to 4 ms.
pub(super) fn offer() {
    std::thread::yield_now();
}
