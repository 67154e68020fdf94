//! The cells of a run and their numbers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use jiff::civil::Date;

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
pub struct CellNumbers(Fast<String, Fast<String, Fast<Date, u32>>>);

type Fast<K, V> = HashMap<K, V, RandomState>;

impl CellNumbers {
    /// The error says whether the event type is the bad key, and why.
    pub fn number(&mut self, cells: &Cells, date: Date, event_type: &str, tenant: &str) -> Result<u32, (bool, BadKey)> {
        if let Some(&number) =
            self.0.get(event_type).and_then(|tenants| tenants.get(tenant)).and_then(|dates| dates.get(&date))
        {
            return Ok(number);
        }
        let event_type = Key::parse(event_type).map_err(|bad| (true, bad))?;
        let tenant_id = Key::parse(tenant).map_err(|bad| (false, bad))?;
        let tenants = self.0.entry(event_type.as_str().to_owned()).or_default();
        let dates = tenants.entry(tenant_id.as_str().to_owned()).or_default();
        let number = cells.number(Partition { tenant_id, event_type, date });
        dates.insert(date, number);
        Ok(number)
    }
}
