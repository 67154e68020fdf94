//! Rows per second of a whole reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Stopwatch;

/// Lets requests through as long as the rows so far are no more than the rate allows; time that passes unused is lost,
/// so that a pause is not followed by a burst.
#[derive(Debug)]
pub struct Throttle {
    rows_per_second: Option<u64>,
    started: Stopwatch,
    /// When the rows so far are paid for, in milliseconds since the start.
    free_at_ms: AtomicU64,
}

impl Throttle {
    pub fn new(rows_per_second: Option<u64>) -> Self {
        Throttle { rows_per_second, started: Stopwatch::start(), free_at_ms: AtomicU64::new(0) }
    }

    /// Waits until a request may be sent.
    pub async fn wait(&self) {
        while let Some(early_ms) = self.free_at_ms.load(Ordering::Relaxed).checked_sub(self.started.elapsed_ms()) {
            if early_ms == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(early_ms)).await;
        }
    }

    /// Charges rows that have come.
    pub fn charge(&self, rows: u64) {
        let Some(rate) = self.rows_per_second else { return };
        let cost_ms = (rows * 1_000).div_ceil(rate.max(1));
        let now_ms = self.started.elapsed_ms();
        let pay = |free_at_ms: u64| Some(free_at_ms.max(now_ms) + cost_ms);
        let _ = self.free_at_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_are_paid_for_before_the_next_request() {
        let throttle = Throttle::new(Some(1_000));
        let started = Stopwatch::start();
        throttle.wait().await;
        throttle.charge(40);
        throttle.charge(10);
        throttle.wait().await;
        assert!(started.elapsed_ms() >= 45, "{} ms", started.elapsed_ms());
    }

    #[tokio::test]
    async fn without_a_rate_nothing_waits() {
        let throttle = Throttle::new(None);
        throttle.charge(u64::MAX / 1_000);
        throttle.wait().await;
    }
}
