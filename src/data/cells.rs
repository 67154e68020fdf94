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
    /// Their keys, each event type before its tenant: those of 20,000 cells stay in the cache.
    keys: Vec<u8>,
}

struct Met {
    hash: u64,
    date: Date,
    number: u32,
    /// Where its keys begin.
    start: usize,
    event_type_length: u8,
    tenant_length: u8,
}

impl CellNumbers {
    /// The error says whether the event type is the bad key, and why.
    pub fn number(&mut self, cells: &Cells, date: Date, event_type: &str, tenant: &str) -> Result<u32, (bool, BadKey)> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(event_type.as_bytes());
        hasher.write(tenant.as_bytes());
        hasher.write_i32(i32::from(date.year()) << 16 | i32::from(date.month()) << 8 | i32::from(date.day()));
        let hash = hasher.finish();
        let is_it = |met: &Met| {
            let (met_type, after) = self.keys[met.start..].split_at(met.event_type_length.into());
            met.date == date
                && same(&after[..met.tenant_length.into()], tenant.as_bytes())
                && same(met_type, event_type.as_bytes())
        };
        if let Some(met) = self.met.find(hash, is_it) {
            return Ok(met.number);
        }
        let event_type = Key::parse(event_type).map_err(|bad| (true, bad))?;
        let tenant_id = Key::parse(tenant).map_err(|bad| (false, bad))?;
        let length = |key: &Key| u8::try_from(key.as_str().len()).expect("a key is shorter than a folder's name");
        let (event_type_length, tenant_length, start) = (length(&event_type), length(&tenant_id), self.keys.len());
        self.keys.extend([&event_type, &tenant_id].into_iter().flat_map(|key| key.as_str().bytes()));
        let number = cells.number(Partition { tenant_id, event_type, date });
        let met = Met { hash, date, number, start, event_type_length, tenant_length };
        self.met.insert_unique(hash, met, |met| met.hash);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_told_apart_by_each_key_and_bad_keys_have_no_number() {
        let (cells, mut thread, mut other) = (Cells::default(), CellNumbers::default(), CellNumbers::default());
        let (day, next) = (Date::constant(2026, 8, 24), Date::constant(2026, 8, 25));
        let long = "x".repeat(200);
        // Two that are one when their keys are written together, among them.
        let keys = [(day, "ab", "c"), (day, "a", "bc"), (next, "a", "bc"), (day, "a", &long), (day, &long, "a")];
        for round in 0..2 {
            for (number, (date, event_type, tenant)) in (0..).zip(keys) {
                assert_eq!(thread.number(&cells, date, event_type, tenant), Ok(number), "round {round}");
            }
        }
        for (number, (date, event_type, tenant)) in (0..).zip(keys).collect::<Vec<_>>().into_iter().rev() {
            assert_eq!(other.number(&cells, date, event_type, tenant), Ok(number));
        }
        assert_eq!(thread.number(&cells, day, "", "a"), Err((true, BadKey::Empty)));
        assert_eq!(thread.number(&cells, day, "a", &"x".repeat(201)), Err((false, BadKey::TooLong)));
        assert_eq!(cells.all().len(), keys.len());
        let Partition { tenant_id, event_type, date } = &cells.all()[1];
        assert_eq!((date, event_type.as_str(), tenant_id.as_str()), (&day, "a", "bc"));
    }
}
