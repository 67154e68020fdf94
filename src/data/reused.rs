//! Memory that goes back to whom it came from.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes whose memory is used again by who made them: pages fresh from the system cost as much as what is written there.
#[derive(Debug, Default)]
pub struct Reused {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Deref for Reused {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Reused {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl From<Vec<u8>> for Reused {
    fn from(bytes: Vec<u8>) -> Self {
        Reused { bytes, home: Arc::default() }
    }
}

impl Reused {
    /// Memory of one that is gone, with whatever was in it; new if there is none.
    pub fn another(&self) -> Self {
        let returned = self.home.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Reused { bytes: returned.unwrap_or_default(), home: self.home.clone() }
    }

    /// Gives back what was returned and not asked for again.
    pub fn release_others(&self) {
        self.home.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Reused {
    fn drop(&mut self) {
        self.home.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.bytes));
    }
}
