//! The cells of a run and their numbers.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use jiff::civil::Date;

use super::step::same;
use crate::model::{BadKey, Key, Partition};

/// The cells of a run, numbered as they are met.
#[derive(Default)]
pub struct Cells(Mutex<(HashMap<Partition, u32>, Vec<Partition>)>);

impl Cells {
    pub fn number(&self, cell: Partition) -> u32 {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (numbers, cells) = &mut *guard;
        *numbers.entry(cell).or_insert_with_key(|cell| {
            cells.push(cell.clone());
            (cells.len() - 1) as u32
        })
    }

    /// All cells met so far; a cell's number is its index.
    pub fn all(&self) -> Vec<Partition> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// Cell numbers this thread has met, found without making a [`Partition`] for every row.
#[derive(Default)]
pub struct CellNumbers {
    hasher: RandomState,
    met: HashTable<Met>,
}

struct Met {
    hash: u64,
    cell: Partition,
    number: u32,
}

impl CellNumbers {
    /// The error says whether the event type is the bad key, and why.
    pub fn number(&mut self, cells: &Cells, date: Date, event_type: &str, tenant: &str) -> Result<u32, (bool, BadKey)> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(event_type.as_bytes());
        hasher.write(tenant.as_bytes());
        hasher.write_i32(i32::from(date.year()) << 16 | i32::from(date.month()) << 8 | i32::from(date.day()));
        let hash = hasher.finish();
        let is_it = |Met { cell, .. }: &Met| {
            cell.date == date
                && same(cell.tenant_id.as_str().as_bytes(), tenant.as_bytes())
                && same(cell.event_type.as_str().as_bytes(), event_type.as_bytes())
        };
        if let Some(met) = self.met.find(hash, is_it) {
            return Ok(met.number);
        }
        let event_type = Key::parse(event_type).map_err(|bad| (true, bad))?;
        let tenant_id = Key::parse(tenant).map_err(|bad| (false, bad))?;
        let cell = Partition { tenant_id, event_type, date };
        let number = cells.number(cell.clone());
        self.met.insert_unique(hash, Met { hash, cell, number }, |met| met.hash);
        Ok(number)
    }
}
