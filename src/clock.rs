//! Time and randomness, handed in as arguments: the only place that asks the operating system for either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use uuid::Uuid;

/// What "now" is. `--now` fixes it, so that every run can be repeated.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    System,
    Fixed(Timestamp),
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Fixed(now) => *now,
        }
    }
}

/// Measures how long something took; never decides anything.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    pub fn elapsed_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// Where fresh names come from. A seed makes a simulation repeatable.
#[derive(Debug)]
pub enum Random {
    System,
    Seeded(AtomicU64),
}

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Random::Seeded(AtomicU64::new(seed))
    }

    /// A fresh 128-bit identifier, as 32 lower-case hex digits.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads system randomness")]
    pub fn id(&self) -> String {
        match self {
            Random::System => Uuid::new_v4().simple().to_string(),
            Random::Seeded(state) => format!("{:016x}{:016x}", split_mix(state), split_mix(state)),
        }
    }
}

impl Random {
    /// Evenly spread over 0 ≤ x < 1: for the jitter of retries.
    pub fn fraction(&self) -> f64 {
        let digits = u32::from_str_radix(&self.id()[..8], 16).expect("an id is of hex digits");
        f64::from(digits) / (f64::from(u32::MAX) + 1.0)
    }
}

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>
fn split_mix(state: &AtomicU64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
