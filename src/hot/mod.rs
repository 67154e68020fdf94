//! The hot tier: a Cassandra table of recent events, read by whole days and asked live.
//!
//! # Flow
//! [`Cassandra::open`] connects and learns the table's layout. A table whose partition key has a day is read by
//! partition: [`Cassandra::days`] finds them, one request for each range of tokens. Any other is read by ranges of tokens,
//! filtered by time on the server. [`Cassandra::read`] reads such [`Unit`]s side by side, page by page.
//!
//! # Consistency
//! A read that counts asks the server, after a unit's last page, how many rows the unit has, and reads the unit again
//! when that is another number: writers may have added some meanwhile.
//!
//! # Cost
//! Pages in flight bound the memory: `requests_in_flight` of `page_rows` rows each.

mod cassandra;
mod settings;

use arrow::array::RecordBatch;
use jiff::civil::Date;
use scylla::value::CqlValue;

pub use cassandra::Cassandra;
pub use settings::{CassandraSettings, Consistency, ExportsSettings, HotColumns, HotSettings, Login, Place, Tls};

/// What one read covers: a partition, or for a time window all rows of a range of tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum Unit {
    Partition(Partition),
    /// Of partitioner tokens: above `after`, up to and with `to`.
    Range {
        after: i64,
        to: i64,
    },
}

/// A partition of a table whose partition key has the day.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    pub date: Date,
    /// Absent where the tenant is no part of the key.
    pub tenant: Option<String>,
    /// The values of the partition key, in its order.
    key: Vec<CqlValue>,
}

/// Of the rows of a unit those that are wanted; the rest of a question is for the caller to filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restriction {
    /// Events of these ids only: where the id is the first clustering column, or the only other one of the key.
    pub event_ids: Option<Vec<String>>,
    /// Of a range of tokens: events of `from ≤ time < to`, in microseconds since the epoch.
    pub times: Option<(i64, i64)>,
}

/// What a reading hands out.
#[derive(Debug)]
pub enum Read {
    Rows(Page),
    /// A unit is read whole. With counting: `counted` is what the server counted, and equals `rows`.
    Done {
        unit: usize,
        rows: u64,
        counted: Option<u64>,
    },
}

/// Rows of one unit, in the table's columns but those that are not archived.
#[derive(Debug)]
pub struct Page {
    /// Index into the units of the reading.
    pub unit: usize,
    pub batch: RecordBatch,
    /// This page was read before: the unit is being read again because its count did not agree.
    pub is_again: bool,
    /// Rows that expire sooner than the warning allows.
    pub expiring: u64,
}
