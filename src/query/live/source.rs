//! What a hot tier is to a query: something with columns that finds the events of some days and streams them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;
use futures::{FutureExt, TryFutureExt};
use jiff::civil::Date;

use super::asked::Asked;
use super::cassandra::CassandraSource;
use super::exports::ExportsSource;
use crate::catalog::Snapshot;
use crate::error::Result;
use crate::exports::Piece;
use crate::hot::{HotSettings, Place};
use crate::model::{ColumnType, Mapping};

/// A hot tier that is connected.
#[async_trait]
pub trait HotSource: fmt::Debug + Send + Sync {
    /// For messages and plans: `cassandra prod.events`.
    fn name(&self) -> String;

    /// What its rows have, beside what is not archived.
    async fn columns(&self) -> Result<Vec<(String, ColumnType)>>;

    /// Which columns are an event's identity, keys and time, for events of this archive.
    fn mapping(&self, archive: &Snapshot) -> Mapping;

    /// Texts that mean null in untyped records, beside the empty one.
    fn null_tokens(&self) -> &[String] {
        &[]
    }

    /// Whether it may have an event more than once.
    fn may_repeat(&self) -> bool;

    /// Rows that one request brings at most.
    fn page_rows(&self) -> u64;

    /// How events of named tenants are read, where that is known without asking the tier anything.
    fn find(&self, wanted: &Wanted<'_>) -> Option<Reading>;

    /// How events are read, whatever it takes; no event is read yet. What would scan the tier is refused unless it may.
    async fn search(&self, wanted: &Wanted<'_>) -> Result<Reading>;
}

/// Connects to the hot tier that the settings name. Boxed: the future of a driver is large.
pub fn open(settings: &HotSettings) -> BoxFuture<'_, Result<Arc<dyn HotSource>>> {
    match &settings.place {
        Place::Cassandra(cassandra) => {
            CassandraSource::open(cassandra, settings).map_ok(|source| Arc::new(source) as Arc<dyn HotSource>).boxed()
        }
        Place::Exports(exports) => {
            let source = ExportsSource { settings: exports.as_ref().clone() };
            future::ok(Arc::new(source) as Arc<dyn HotSource>).boxed()
        }
    }
}

/// What the settings call the hot tier, before it is connected.
pub fn name_of(settings: &HotSettings) -> String {
    match &settings.place {
        Place::Cassandra(cassandra) => format!("cassandra {}.{}", cassandra.keyspace, cassandra.table),
        Place::Exports(exports) => format!("exports {}", exports.address),
    }
}

/// The events that one scan wants of the hot tier.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub asked: &'a Asked,
    pub archive: &'a Snapshot,
    /// None on any other day.
    pub days: &'a BTreeSet<Date>,
    pub today: Date,
    /// Whether all partitions may be looked at, however many days that are.
    pub may_scan: bool,
}

/// What is going to be read, and how.
#[derive(Clone)]
pub struct Reading {
    pub parts: Parts,
    /// Only events of some ids, found by the key: a request each part.
    pub is_by_id: bool,
    start: Arc<dyn Fn() -> BoxStream<'static, Result<HotPage>> + Send + Sync>,
}

/// The pieces of a hot tier that a reading touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Of a table that is partitioned by day; `tenant` where there is just one.
    Partitions {
        count: u64,
        tenant: Option<String>,
    },
    /// The whole table, in ranges of its ring.
    Ranges {
        count: u64,
    },
    Exports {
        count: u64,
    },
}

/// Some records, in the hot tier's columns.
#[derive(Debug)]
pub struct HotPage {
    /// Of the partition the rows are from: events of another day are out of place in it.
    pub date: Option<Date>,
    pub rows: Piece,
}

impl Reading {
    pub fn new(
        parts: Parts,
        is_by_id: bool,
        start: impl Fn() -> BoxStream<'static, Result<HotPage>> + Send + Sync + 'static,
    ) -> Self {
        Reading { parts, is_by_id, start: Arc::new(start) }
    }

    pub fn stream(&self) -> BoxStream<'static, Result<HotPage>> {
        (self.start)()
    }

    /// Expected at least, for `rows` rows in pages of `page_rows`.
    pub fn requests(&self, rows: u64, page_rows: u64) -> u64 {
        let parts = self.parts.count();
        if self.is_by_id { parts } else { parts.max(rows.div_ceil(page_rows.max(1))) }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("parts", &self.parts).field("is_by_id", &self.is_by_id).finish_non_exhaustive()
    }
}

impl Parts {
    pub fn count(&self) -> u64 {
        match self {
            Parts::Partitions { count, .. } | Parts::Ranges { count } | Parts::Exports { count } => *count,
        }
    }
}

impl fmt::Display for Parts {
    /// `12 partitions`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, one) = match self {
            Parts::Partitions { count, .. } => (*count, "partition"),
            Parts::Ranges { count } => (*count, "range"),
            Parts::Exports { count } => (*count, "export"),
        };
        let many = if count == 1 { "" } else { "s" };
        write!(f, "{} {one}{many}", crate::query::count(count))
    }
}
