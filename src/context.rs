//! What every operation works with.

use std::sync::Arc;

use jiff::Timestamp;

use crate::clock::{Clock, Random};
use crate::progress::{Progress, Stop};
use crate::store::Store;

/// The archive's store, time, randomness, and the line to the user. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub clock: Clock,
    pub random: Arc<Random>,
    pub progress: Arc<dyn Progress>,
    pub stop: Stop,
}

impl Context {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
