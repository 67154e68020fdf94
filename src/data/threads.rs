//! Threads that end with the work they share.

use std::thread;

/// Runs `work` on so many threads at once. The first of their errors is returned when all have ended.
pub fn on_all<E: Send>(threads: usize, work: impl Fn() -> Result<(), E> + Sync) -> Result<(), E> {
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        all.into_iter().map(|thread| outcome(thread.join())).fold(Ok(()), Result::and)
    })
}

/// What `work` makes of each item, in their order; each on a thread of its own.
pub fn on_each<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let all: Vec<_> = items.into_iter().map(|item| scope.spawn(|| work(item))).collect();
        all.into_iter().map(|thread| outcome(thread.join())).collect()
    })
}

/// What a thread that was joined returned; its panic goes on in this one.
pub fn outcome<T>(joined: thread::Result<T>) -> T {
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
