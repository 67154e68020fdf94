//! A table of a Cassandra cluster.
//!
//! # Flow
//! [`connect`] makes the session and [`table`] learns the layout. [`query`] writes the CQL of a unit, [`client`] asks it
//! page by page, [`values`] turns pages into Arrow, [`read`] runs units side by side and compares counts.
//!
//! # Crash
//! Reading changes nothing. An insert or a delete that dies half way is run again: both are idempotent.

mod client;
mod connect;
mod count;
mod days;
mod errors;
mod query;
mod read;
mod retry;
mod table;
mod throttle;
mod tls;
mod values;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use jiff::Timestamp;
use jiff::civil::Date;

use self::client::Client;
use self::table::Table;
use super::{CassandraSettings, Partition, Read, Restriction, Unit};
use crate::error::Result;
use crate::model::{ColumnType, Mapping};

const SECONDS_PER_DAY: i64 = 86_400;

/// A connection to the cluster, and what the table is like. Cheap to clone.
#[derive(Clone)]
pub struct Cassandra(Arc<Inner>);

struct Inner {
    client: Client,
    table: Table,
    settings: CassandraSettings,
    /// Rows that live shorter than this are expiring.
    warn_seconds: i64,
}

impl std::fmt::Debug for Cassandra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cassandra").field(&self.name()).finish()
    }
}

impl Cassandra {
    /// Connects and looks at the table. `warn_days`: rows with less time to live are counted as expiring.
    ///
    /// Errors: `hot-down` to try again when no node answers, `hot-login` where the login is refused; else of usage, when
    /// the keyspace, the table or a mapped column is not there, or the layout cannot be read.
    pub async fn open(settings: &CassandraSettings, warn_days: u32) -> Result<Self> {
        let client = connect::connect(settings).await?;
        let table = table::learn(&client, settings).await?;
        let warn_seconds = i64::from(warn_days) * SECONDS_PER_DAY;
        Ok(Cassandra(Arc::new(Inner { client, table, settings: settings.clone(), warn_seconds })))
    }

    /// For messages and plans: `cassandra prod.events`.
    pub fn name(&self) -> String {
        format!("cassandra {}.{}", self.0.settings.keyspace, self.0.settings.table)
    }

    /// What a row has, under the table's names, without what is not archived.
    pub fn columns(&self) -> &[(String, ColumnType)] {
        &self.0.table.columns
    }

    /// The table's `default_time_to_live` in seconds; `None` where it has none.
    pub fn table_ttl_seconds(&self) -> Option<u32> {
        self.0.table.ttl_seconds
    }

    /// Whether the partition key has the day: then days are read by partition.
    pub fn has_days(&self) -> bool {
        self.0.table.day.is_some()
    }

    /// All partitions, by day: reads the key of every partition of the table, by ranges of tokens.
    pub async fn days(&self) -> Result<BTreeMap<Date, Vec<Partition>>> {
        days::days(&self.0).await
    }

    /// The partition of a tenant's day without asking; `None` where its key is anything but tenant and day.
    pub fn partition(&self, tenant: &str, date: Date) -> Option<Partition> {
        self.0.table.partition(tenant, date)
    }

    /// The whole ring in ranges, for layouts without days.
    pub fn ranges(&self) -> Vec<Unit> {
        days::ranges()
    }

    /// For layouts without days: the dates of all events, by reading every time that the table has. Times that are null
    /// or beyond the calendar have none.
    pub async fn dates(&self, mapping: &Mapping) -> Result<BTreeSet<Date>> {
        days::dates(&self.0, mapping).await
    }

    /// Whether [`Restriction::event_ids`] can be asked of a partition of this table.
    pub fn finds_event_ids(&self) -> bool {
        self.0.table.id.is_some()
    }

    /// Reads units side by side; pages come as they arrive. With `count`, what the server counts is compared.
    ///
    /// Of each unit at most one page is fetched ahead of the consumer, and of no more units than `requests_in_flight`.
    /// After an error of a unit nothing more of it comes. Errors: `hot-down`, `hot-unavailable`, `hot-changing`.
    pub fn read(&self, units: Vec<Unit>, restriction: Restriction, count: bool) -> BoxStream<'static, Result<Read>> {
        read::read(self.0.clone(), units, restriction, count)
    }

    /// How many rows the server counts.
    pub async fn count(&self, unit: &Unit, restriction: &Restriction) -> Result<u64> {
        count::count(&self.0, unit, restriction).await
    }

    /// Deletes a whole partition.
    pub async fn delete(&self, partition: &Partition) -> Result<()> {
        write::delete(&self.0, partition).await
    }

    /// Deletes the rows of a partition that were written up to a time, by the clock that their writers had.
    pub async fn delete_written_until(&self, partition: &Partition, until: Timestamp) -> Result<()> {
        write::delete_written_until(&self.0, partition, until).await
    }

    /// Inserts rows whose columns have the table's names; a `day` that the table wants is made from the time. Rows that
    /// are there already are overwritten by the same; a null leaves what is there.
    pub async fn insert(&self, rows: &RecordBatch, ttl_seconds: Option<u32>) -> Result<()> {
        write::insert(&self.0, rows, ttl_seconds).await
    }
}
