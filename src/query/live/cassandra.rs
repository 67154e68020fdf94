//! A Cassandra table as the hot tier of a query: which partitions, which ranges of the ring.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, future};
use jiff::ToSpan;
use jiff::civil::Date;

use super::asked::{Asked, Slot};
use super::scans;
use super::source::{HotPage, HotSource, Parts, Reading, Wanted};
use crate::catalog::Snapshot;
use crate::error::Result;
use crate::exports::Piece;
use crate::hot::{Cassandra, CassandraSettings, HotSettings, Partition, Read, Restriction, Unit};
use crate::model::{ColumnType, Mapping, days_of_date};
use crate::query::errors;

/// More ids than this are not asked for by key: `IN` makes one node gather all of them, and the guardrails of Cassandra
/// 4.1 and later warn of long lists (`in_select_cartesian_product_warn_threshold` in cassandra.yaml suggests 25).
const MAX_IDS: usize = 25;

const MICROS_PER_DAY: i64 = 86_400_000_000;

#[derive(Debug)]
pub struct CassandraSource {
    cassandra: Cassandra,
    mapping: Mapping,
    page_rows: u64,
}

impl CassandraSource {
    pub async fn open(settings: &CassandraSettings, hot: &HotSettings) -> Result<Self> {
        let cassandra = Cassandra::open(settings, hot.warn_days).await?;
        hot.check_ttl(&cassandra)?;
        let mapping = settings.columns.mapping.clone();
        Ok(CassandraSource { cassandra, mapping, page_rows: u64::from(settings.page_rows) })
    }

    fn partitions(&self, partitions: Vec<Partition>, asked: &Asked) -> Reading {
        let mut tenants = partitions.iter().filter_map(|partition| partition.tenant.as_ref());
        let tenant = tenants.next().filter(|first| tenants.all(|other| other == *first)).cloned();
        let event_ids = self.event_ids(asked);
        let is_by_id = event_ids.is_some();
        let parts = Parts::Partitions { count: partitions.len() as u64, tenant };
        let restriction = Restriction { event_ids, times: None };
        let cassandra = self.cassandra.clone();
        Reading::new(parts, is_by_id, move || {
            let dates: Vec<Date> = partitions.iter().map(|partition| partition.date).collect();
            let units = partitions.iter().cloned().map(Unit::Partition).collect();
            pages(cassandra.read(units, restriction.clone(), false), move |unit| dates.get(unit).copied())
        })
    }

    /// All that lies between the first and the last of the days: what else does is left out by whoever reads it.
    fn ranges(&self, days: &BTreeSet<Date>) -> Reading {
        let units = if days.is_empty() { Vec::new() } else { self.cassandra.ranges() };
        let midnight = |date: Date| i64::from(days_of_date(date)) * MICROS_PER_DAY;
        let times = days.first().zip(days.last());
        let times = times.map(|(&first, &last)| (midnight(first), midnight(last.saturating_add(1.day()))));
        let restriction = Restriction { event_ids: None, times };
        let cassandra = self.cassandra.clone();
        Reading::new(Parts::Ranges { count: units.len() as u64 }, false, move || {
            pages(cassandra.read(units.clone(), restriction.clone(), false), |_| None)
        })
    }

    fn event_ids(&self, asked: &Asked) -> Option<Vec<String>> {
        let ids = asked.event_ids.as_ref().filter(|ids| ids.len() <= MAX_IDS && self.cassandra.finds_event_ids())?;
        Some(ids.iter().cloned().collect())
    }
}

#[async_trait]
impl HotSource for CassandraSource {
    fn name(&self) -> String {
        self.cassandra.name()
    }

    async fn columns(&self) -> Result<Vec<(String, ColumnType)>> {
        Ok(self.cassandra.columns().to_vec())
    }

    fn mapping(&self, _: &Snapshot) -> Mapping {
        self.mapping.clone()
    }

    fn may_repeat(&self) -> bool {
        !self.cassandra.has_unique_events()
    }

    fn page_rows(&self) -> u64 {
        self.page_rows
    }

    fn find(&self, wanted: &Wanted<'_>) -> Option<Reading> {
        if !self.cassandra.has_days() {
            return None;
        }
        let tenants = wanted.asked.tenants.as_ref()?;
        let wanted_of = tenants.iter().flat_map(|tenant| wanted.days.iter().map(move |date| (tenant, *date)));
        let partitions = wanted_of.map(|(tenant, date)| self.cassandra.partition(tenant, date));
        let partitions = partitions.collect::<Option<Vec<_>>>()?;
        Some(self.partitions(distinct(partitions), wanted.asked))
    }

    async fn search(&self, wanted: &Wanted<'_>) -> Result<Reading> {
        if let Some(reading) = self.find(wanted) {
            return Ok(reading);
        }
        if !self.cassandra.has_days() {
            if !wanted.may_scan {
                return Err(scans::of_all(&self.name()));
            }
            return Ok(self.ranges(wanted.days));
        }
        let mut listed = self.cassandra.days().await?;
        listed.retain(|date, _| wanted.days.contains(date));
        let mut partitions: Vec<Partition> = listed.into_values().flatten().collect();
        if let Some(tenants) = &wanted.asked.tenants {
            partitions.retain(|partition| partition.tenant.as_ref().is_none_or(|tenant| tenants.contains(tenant)));
        }
        let slots: Vec<Slot> = partitions.iter().map(slot).collect();
        let may_match = wanted.asked.may_match(&slots).map_err(|error| errors::of_running(&error))?;
        let mut may_match = may_match.into_iter();
        partitions.retain(|_| may_match.next() == Some(true));
        if !wanted.may_scan && wanted.asked.tenants.is_none() {
            scans::check(&partitions.iter().map(|partition| partition.date).collect(), wanted.today)?;
        }
        Ok(self.partitions(partitions, wanted.asked))
    }
}

/// Where the key has no tenant, every tenant's partition of a day is the same one.
fn distinct(partitions: Vec<Partition>) -> Vec<Partition> {
    let mut known: Vec<Partition> = Vec::with_capacity(partitions.len());
    for partition in partitions {
        if partition.tenant.is_some() || !known.contains(&partition) {
            known.push(partition);
        }
    }
    known
}

fn slot(partition: &Partition) -> Slot<'_> {
    Slot { first: Some(partition.date), last: Some(partition.date), tenant: partition.tenant.as_deref() }
}

fn pages(
    read: BoxStream<'static, Result<Read>>,
    date_of: impl Fn(usize) -> Option<Date> + Send + 'static,
) -> BoxStream<'static, Result<HotPage>> {
    let page = move |read: Result<Read>| match read {
        Ok(Read::Rows(page)) => Some(Ok(HotPage { date: date_of(page.unit), rows: Piece::Rows(page.batch, 1) })),
        Ok(Read::Done { .. }) => None,
        Err(error) => Some(Err(error)),
    };
    read.filter_map(move |read| future::ready(page(read))).boxed()
}
