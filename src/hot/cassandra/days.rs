//! Which partitions and which days there are.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use scylla::value::Row;

use super::super::{Partition, Unit};
use super::Inner;
use super::query::{select_column, select_partitions};
use super::table::{Field, find};
use super::values;
use crate::error::{Context, Error, Result};
use crate::model::{Mapping, TimeUnit, date_of_micros};

/// Into so many ranges a full read is split: enough to keep a large cluster busy, and few for a small one.
const RANGES: i64 = 256;

/// Keys of a page: each costs the server a read of its own.
const PAGE_KEYS: u32 = 1_000;

/// The whole ring, evenly. No key has the least token of all, so nothing is missing below the first range.
pub fn ranges() -> Vec<Unit> {
    let bound = |n: i64| (i128::from(i64::MIN) + (1_i128 << 64) * i128::from(n) / i128::from(RANGES)) as i64;
    let end = |n: i64| if n + 1 == RANGES { i64::MAX } else { bound(n + 1) };
    (0..RANGES).map(|n| Unit::Range { after: bound(n), to: end(n) }).collect()
}

pub async fn days(inner: &Inner) -> Result<BTreeMap<Date, Vec<Partition>>> {
    if inner.table.day.is_none() {
        return Err(Error::usage(format!("{} has no day in its partition key", inner.table.name)));
    }
    let found = stream::iter(ranges())
        .map(|range| partitions(inner, range))
        .buffer_unordered(inner.settings.requests_in_flight.max(1))
        .try_fold(BTreeMap::<Date, Vec<Partition>>::new(), async |mut days, partitions| {
            for partition in partitions {
                days.entry(partition.date).or_default().push(partition);
            }
            Ok(days)
        });
    let mut days = found.await.context("find the days of the hot tier")?;
    // Ranges end in any order; a listing should not.
    days.values_mut().for_each(|partitions| partitions.sort_by(|a, b| a.tenant.cmp(&b.tenant)));
    Ok(days)
}

async fn partitions(inner: &Inner, range: Unit) -> Result<Vec<Partition>> {
    let Unit::Range { after, to } = range else { unreachable!("ranges are ranges") };
    let mut found = Vec::new();
    inner
        .client
        .each_page(&select_partitions(&inner.table, after, to), PAGE_KEYS, |rows| {
            for row in rows.rows::<Row>().context("read keys of partitions")? {
                let columns = row.context("read keys of partitions")?.columns;
                let key = columns.into_iter().collect::<Option<Vec<_>>>();
                found.push(inner.table.partition_of_key(key.expect("no part of a partition key is null"))?);
            }
            Ok(())
        })
        .await?;
    Ok(found)
}

/// The dates of all times.
pub async fn dates(inner: &Inner, mapping: &Mapping) -> Result<BTreeSet<Date>> {
    let time = find(&inner.table.all, &mapping.time, &inner.table.name)?;
    let found = stream::iter(ranges())
        .map(|range| dates_of(inner, time, mapping.time_unit, range))
        .buffer_unordered(inner.settings.requests_in_flight.max(1))
        .try_fold(BTreeSet::new(), async |mut all, mut dates| {
            all.append(&mut dates);
            Ok(all)
        });
    found.await.context("find the dates of the hot tier")
}

async fn dates_of(inner: &Inner, time: &Field, unit: Option<TimeUnit>, range: Unit) -> Result<BTreeSet<Date>> {
    let Unit::Range { after, to } = range else { unreachable!("ranges are ranges") };
    let mut found = BTreeSet::new();
    inner
        .client
        .each_page(&select_column(&inner.table, time, after, to), inner.settings.page_rows, |rows| {
            let page = values::decode(std::slice::from_ref(time), rows, 0)?.batch;
            let times = values::micros(page.column(0), unit).context("read the times of events")?;
            found.extend(times.iter().flatten().filter_map(date_of_micros));
            Ok(())
        })
        .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_ring_without_gap_or_overlap() {
        let ranges = ranges();
        let mut next = i64::MIN;
        for range in &ranges {
            let Unit::Range { after, to } = range else { panic!("{range:?}") };
            assert_eq!(*after, next);
            assert!(to > after);
            next = *to;
        }
        assert_eq!((ranges.len(), next), (256, i64::MAX));
    }
}
