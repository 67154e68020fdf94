//! Lets a few threads work while others wait for the store.

use std::sync::{Condvar, Mutex, PoisonError};

/// So many threads have a turn at once.
pub struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Turns {
    pub fn new(at_once: usize) -> Self {
        Turns { free: Mutex::new(at_once), freed: Condvar::new() }
    }

    /// Waits for a turn, which ends when it is dropped.
    pub fn take(&self) -> Turn<'_> {
        self.wait();
        Turn(self)
    }

    fn wait(&self) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner) -= 1;
    }

    fn end(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}

pub struct Turn<'a>(&'a Turns);

impl Turn<'_> {
    /// Lets another thread work meanwhile.
    pub fn pause<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.0.end();
        let outcome = wait();
        self.0.wait();
        outcome
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_than_so_many_work_and_one_that_waits_lets_another_work() {
        let (turns, working, most, met) =
            (Turns::new(2), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let turn = turns.take();
                    work();
                    working.fetch_sub(1, Ordering::SeqCst);
                    // None goes on before all are here, which they only can be while others wait.
                    turn.pause(|| {
                        met.fetch_add(1, Ordering::SeqCst);
                        while met.load(Ordering::SeqCst) < 8 {
                            thread::yield_now();
                        }
                    });
                    work();
                    working.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= 2);
        assert_eq!(*turns.free.lock().unwrap(), 2);
    }
}
