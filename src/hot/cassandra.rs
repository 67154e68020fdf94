//! A table of a Cassandra cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use jiff::civil::Date;

use super::{CassandraSettings, Partition, Read, Restriction, Unit};
use crate::error::Result;
use crate::model::ColumnType;

/// A connection to the cluster, and what the table is like. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cassandra(Arc<()>);

impl Cassandra {
    /// Connects and looks at the table. `warn_days`: rows with less time to live are counted as expiring.
    pub async fn open(_settings: &CassandraSettings, _warn_days: u32) -> Result<Self> {
        unimplemented!()
    }

    /// For messages and plans: `cassandra prod.events`.
    pub fn name(&self) -> String {
        unimplemented!()
    }

    /// What a row has, under the table's names, without what is not archived.
    pub fn columns(&self) -> &[(String, ColumnType)] {
        unimplemented!()
    }

    /// The table's `default_time_to_live` in seconds; `None` where it has none.
    pub fn table_ttl_seconds(&self) -> Option<u32> {
        unimplemented!()
    }

    /// Whether the partition key has the day: then days are read by partition.
    pub fn has_days(&self) -> bool {
        unimplemented!()
    }

    /// All partitions, by day: reads the key of every partition of the table, by ranges of tokens.
    pub async fn days(&self) -> Result<BTreeMap<Date, Vec<Partition>>> {
        unimplemented!()
    }

    /// The partition of a tenant's day without asking; `None` where its key has more than tenant and day.
    pub fn partition(&self, _tenant: &str, _date: Date) -> Option<Partition> {
        unimplemented!()
    }

    /// The whole ring in ranges, for layouts without days.
    pub fn ranges(&self) -> Vec<Unit> {
        unimplemented!()
    }

    /// For layouts without days: the dates of all events, by reading every time that the table has.
    pub async fn dates(&self, _mapping: &crate::model::Mapping) -> Result<std::collections::BTreeSet<Date>> {
        unimplemented!()
    }

    /// Whether [`Restriction::event_ids`] can be asked of a partition of this table.
    pub fn finds_event_ids(&self) -> bool {
        unimplemented!()
    }

    /// Reads units side by side; pages come as they arrive. With `count`, what the server counts is compared.
    pub fn read(&self, _units: Vec<Unit>, _restriction: Restriction, _count: bool) -> BoxStream<'static, Result<Read>> {
        unimplemented!()
    }

    /// How many rows the server counts.
    pub async fn count(&self, _unit: &Unit, _restriction: &Restriction) -> Result<u64> {
        unimplemented!()
    }

    /// Deletes a whole partition.
    pub async fn delete(&self, _partition: &Partition) -> Result<()> {
        unimplemented!()
    }

    /// Inserts rows whose columns have the table's names; a `day` that the table wants is made from the time. Rows that
    /// are there already are overwritten by the same.
    pub async fn insert(&self, _rows: &RecordBatch, _ttl_seconds: Option<u32>) -> Result<()> {
        unimplemented!()
    }
}
