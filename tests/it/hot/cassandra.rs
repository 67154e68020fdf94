//! Reading the usual table.

use futures::{StreamExt, TryStreamExt};
use jiff::civil::date;
use tier::clock::Stopwatch;
use tier::error::Kind;
use tier::hot::{Cassandra, Read, Restriction, Unit};

use super::{Answer, WARN_DAYS, open, partitions, read, read_all, settings};
use crate::support::cassandra::Keyspace;
use crate::support::events::{Row, row};

const SECONDS_PER_DAY: i32 = 86_400;

async fn table(rows: &[Row]) -> Keyspace {
    let keyspace = Keyspace::fresh().await;
    keyspace.create_events("events", "((tenant_id, day), event_id)", 90 * SECONDS_PER_DAY as u32).await;
    keyspace.insert("events", rows, None).await;
    keyspace
}

fn many(tenants: usize, each: usize) -> Vec<Row> {
    let of = |n: usize| row("2026-08-24", &format!("t{}", n % tenants), "login", &format!("{n:06}"), n as i64);
    (0..tenants * each).map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_read_page_by_page_and_counted() {
    let keyspace = table(&many(4, 2_500)).await;
    let hot = open(&settings(&keyspace, "events")).await;
    assert_eq!(hot.name(), format!("cassandra {}.events", keyspace.name));
    assert_eq!(hot.table_ttl_seconds(), Some(90 * SECONDS_PER_DAY as u32));
    let answer = read_all(&hot, partitions(&hot).await).await;
    assert_eq!(answer.done, (0..4).map(|unit| (unit, 2_500, Some(2_500))).collect::<Vec<_>>());
    assert_eq!((answer.pages, answer.rows(), answer.again, answer.expiring), (12, 10_000, 0, 0));
    let table = answer.table();
    let mut ids: Vec<&str> = table.lines().skip(1).map(|line| line.split('|').nth(2).unwrap().trim()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), ids[0], ids[9_999]), (10_000, "000000", "009999"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_about_to_expire_are_counted() {
    let keyspace = table(&[row("2026-08-24", "a", "login", "1", 0)]).await;
    keyspace.insert("events", &[row("2026-08-24", "a", "login", "2", 0)], Some(6 * SECONDS_PER_DAY)).await;
    let hot = open(&settings(&keyspace, "events")).await;
    let answer = read_all(&hot, partitions(&hot).await).await;
    assert_eq!((answer.rows(), answer.expiring), (2, 1));
    let answer = read(&hot, partitions(&hot).await, Restriction::default(), false).await.unwrap();
    assert_eq!((answer.done, answer.expiring), (vec![(0, 2, None)], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_their_ids() {
    let keyspace = table(&many(1, 100)).await;
    let hot = open(&settings(&keyspace, "events")).await;
    let unit = Unit::Partition(hot.partition("t0", date(2026, 8, 24)).unwrap());
    let ids =
        |ids: &[&str]| Restriction { event_ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()), times: None };
    let answer = read(&hot, vec![unit.clone()], ids(&["000007", "nobody", "000042"]), true).await.unwrap();
    assert_eq!(answer.done, [(0, 2, Some(2))]);
    assert!(answer.table().contains("000007") && answer.table().contains("000042"), "{}", answer.table());
    assert_eq!(hot.count(&unit, &ids(&["000007"])).await.unwrap(), 1);
    assert_eq!(hot.count(&unit, &ids(&[])).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_written_meanwhile_makes_its_unit_be_read_again() {
    let keyspace = table(&many(1, 3_000)).await;
    let mut asked = settings(&keyspace, "events");
    asked.page_rows = 100;
    let hot = open(&asked).await;
    let mut reads = hot.read(partitions(&hot).await, Restriction::default(), true);
    let mut answer = Answer::default();
    // In front of what has been read already, so that the first reading cannot see it.
    let first = reads.try_next().await.unwrap().unwrap();
    let Read::Rows(first) = first else { panic!("{first:?}") };
    keyspace.insert("events", &[row("2026-08-24", "t0", "login", "!", 0)], None).await;
    answer.batches.push(first.batch);
    while let Some(read) = reads.try_next().await.unwrap() {
        match read {
            Read::Rows(page) => {
                answer.again += u64::from(page.is_again) * page.batch.num_rows() as u64;
                answer.batches.push(page.batch);
            }
            Read::Done { unit, rows, counted } => answer.done.push((unit, rows, counted)),
        }
    }
    assert_eq!(answer.done, [(0, 3_001, Some(3_001))]);
    assert_eq!((answer.rows(), answer.again), (6_001, 3_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_keeps_changing_is_an_error_to_try_again() {
    let keyspace = table(&many(1, 500)).await;
    let mut asked = settings(&keyspace, "events");
    asked.page_rows = 50;
    let hot = open(&asked).await;
    let mut reads = hot.read(partitions(&hot).await, Restriction::default(), true);
    let mut written = 0;
    let error = loop {
        match reads.try_next().await {
            // With every page one more row, in front of those that have been read.
            Ok(Some(Read::Rows(_))) => {
                written += 1;
                let id = format!("!{:06}", 999_999 - written);
                keyspace.insert("events", &[row("2026-08-24", "t0", "login", &id, 0)], None).await;
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.stable_code()), (Kind::TryAgain, "hot-changing"));
    let start = "the partition tenant_id=t0, day=2026-08-24 is changing while it is read: ";
    assert!(error.to_string().starts_with(start), "{error}");
    assert!(reads.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_goes_no_faster_than_it_may() {
    let keyspace = table(&many(2, 1_000)).await;
    let mut asked = settings(&keyspace, "events");
    (asked.page_rows, asked.rows_per_second) = (100, Some(2_000));
    let hot = open(&asked).await;
    let units = partitions(&hot).await;
    let started = Stopwatch::start();
    assert_eq!(read(&hot, units, Restriction::default(), false).await.unwrap().rows(), 2_000);
    assert!(started.elapsed_ms() >= 850, "{} ms", started.elapsed_ms());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_there_come_with_near_ones() {
    let keyspace = table(&[]).await;
    let good = settings(&keyspace, "events");
    let mut no_table = good.clone();
    no_table.table = "event".to_owned();
    let mut no_keyspace = good.clone();
    no_keyspace.keyspace = format!("{}x", keyspace.name);
    let mut no_column = good.clone();
    no_column.columns.mapping.time = "tss".to_owned();
    let mut no_day = good.clone();
    no_day.columns.day = Some("days".to_owned());
    let mut no_event = good.clone();
    no_event.columns.ignore = vec!["ts".to_owned()];
    let mut no_datacenter = good.clone();
    no_datacenter.datacenter = Some("datacentre1".to_owned());
    let cases = [
        (no_table, format!("keyspace `{}` has no table `event`", keyspace.name), "there is events"),
        (no_keyspace, format!("the cluster has no keyspace `{}x`", keyspace.name), "there is "),
        (no_column, "table `events` has no column `tss`".to_owned(), "there is ts, "),
        (no_day, "table `events` has no column `days`".to_owned(), "there is day, "),
        (no_event, "column `ts` is what an event consists of and cannot be ignored".to_owned(), "take it out"),
        (no_datacenter, "the cluster has no datacenter `datacentre1`".to_owned(), "there is datacenter1"),
    ];
    for (settings, message, hint) in cases {
        let error = Cassandra::open(&settings, WARN_DAYS).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (Kind::Usage, message));
        let given = error.hint_text().unwrap();
        assert!(given.starts_with(hint), "{given}");
    }
}
