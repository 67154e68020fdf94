//! Tables of other shapes than the usual one.

use jiff::civil::{Date, date};
use tier::hot::{Restriction, Unit};
use tier::model::Mapping;

use super::{open, partitions, read, read_all, settings};
use crate::support::cassandra::Keyspace;
use crate::support::events::row;

const MICROS_PER_DAY: i64 = 86_400_000_000;

fn keys(units: &[Unit]) -> Vec<(Option<&str>, Date)> {
    units.iter().map(key).collect()
}

fn key(unit: &Unit) -> (Option<&str>, Date) {
    match unit {
        Unit::Partition(partition) => (partition.tenant.as_deref(), partition.date),
        range => panic!("{range:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_day_is_a_partition_that_is_known_without_asking() {
    let keyspace = Keyspace::fresh().await;
    keyspace.create_events("t", "((day, tenant_id), event_id)", 0).await;
    let rows = [row("2026-08-24", "b", "login", "1", 0), row("2026-08-24", "a", "login", "2", 0)];
    keyspace.insert("t", &rows, None).await;
    let hot = open(&settings(&keyspace, "t")).await;
    let units = partitions(&hot).await;
    let day = date(2026, 8, 24);
    assert_eq!(keys(&units), [(Some("a"), day), (Some("b"), day)]);
    assert_eq!(hot.partition("a", day).map(Unit::Partition).as_ref(), units.first());
    assert!(hot.has_days() && hot.finds_event_ids());
    assert_eq!(hot.count(&units[0], &Restriction::default()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_may_be_texts_or_midnights() {
    for (column, value) in [("text", "'2026-08-24'"), ("timestamp", "'2026-08-24T00:00:00Z'")] {
        let keyspace = Keyspace::fresh().await;
        let name = &keyspace.name;
        keyspace
            .execute(&format!(
                "CREATE TABLE {name}.t (tenant_id text, day {column}, event_id text, event_type text, ts timestamp, \
                 PRIMARY KEY ((tenant_id, day), event_id))"
            ))
            .await;
        keyspace.execute(&format!("INSERT INTO {name}.t (tenant_id, day, event_id) VALUES ('a', {value}, '1')")).await;
        let hot = open(&settings(&keyspace, "t")).await;
        let units = partitions(&hot).await;
        assert_eq!(keys(&units), [(Some("a"), date(2026, 8, 24))], "{column}");
        assert_eq!(hot.partition("a", date(2026, 8, 24)).map(Unit::Partition).as_ref(), units.first(), "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_a_tenants_day_are_partitions_of_it() {
    let keyspace = Keyspace::fresh().await;
    let name = &keyspace.name;
    keyspace
        .execute(&format!(
            "CREATE TABLE {name}.t (tenant_id text, day date, shard int, event_id text, event_type text, ts timestamp, \
             PRIMARY KEY ((tenant_id, day, shard), event_id))"
        ))
        .await;
    for shard in 0..3 {
        keyspace
            .execute(&format!(
                "INSERT INTO {name}.t (tenant_id, day, shard, event_id, event_type, ts) VALUES \
                 ('a', '2026-08-24', {shard}, 'e{shard}', 'login', '2026-08-24')"
            ))
            .await;
    }
    let hot = open(&settings(&keyspace, "t")).await;
    let units = partitions(&hot).await;
    assert_eq!(keys(&units), [(Some("a"), date(2026, 8, 24)); 3]);
    assert_eq!(hot.partition("a", date(2026, 8, 24)), None);
    assert_eq!(
        read_all(&hot, units).await.table(),
        "| tenant_id | event_id | event_type | ts                   |\n\
         | a         | e0       | login      | 2026-08-24T00:00:00Z |\n\
         | a         | e1       | login      | 2026-08-24T00:00:00Z |\n\
         | a         | e2       | login      | 2026-08-24T00:00:00Z |"
    );
    let answer = read_all(&hot, partitions(&hot).await).await;
    let error = hot.insert(&answer.batches[0], None).await.unwrap_err();
    assert_eq!(error.to_string(), "rows to insert have no `shard`, a column of the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_may_be_clustered_within_a_shard_of_the_day() {
    let keyspace = Keyspace::fresh().await;
    let name = &keyspace.name;
    keyspace
        .execute(&format!(
            "CREATE TABLE {name}.t (tenant_id text, day date, shard int, event_id text, event_type text, ts timestamp, \
             PRIMARY KEY ((day, shard), tenant_id, event_id))"
        ))
        .await;
    for tenant in ["a", "b"] {
        keyspace
            .execute(&format!(
                "INSERT INTO {name}.t (tenant_id, day, shard, event_id) VALUES ('{tenant}', '2026-08-24', 7, '1')"
            ))
            .await;
    }
    let hot = open(&settings(&keyspace, "t")).await;
    let units = partitions(&hot).await;
    assert_eq!(keys(&units), [(None, date(2026, 8, 24))]);
    assert!(!hot.finds_event_ids());
    assert_eq!(
        read_all(&hot, units).await.table(),
        "| tenant_id | event_id | event_type | ts |\n\
         | a         | 1        |            |    |\n\
         | b         | 1        |            |    |"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_days_ranges_of_tokens_are_filtered_by_time() {
    let keyspace = Keyspace::fresh().await;
    keyspace.create_events("t", "((tenant_id, event_id))", 0).await;
    let rows: Vec<_> =
        (0..300).map(|n| row(["2026-08-23", "2026-08-24", "2026-08-25"][n % 3], "a", "x", &n.to_string(), 0)).collect();
    keyspace.insert("t", &rows, None).await;
    let hot = open(&settings(&keyspace, "t")).await;
    assert!(!hot.has_days() && !hot.finds_event_ids());
    let midnight = rows[1].ts;
    let day = Restriction { times: Some((midnight, midnight + MICROS_PER_DAY)), event_ids: None };
    let answer = read(&hot, hot.ranges(), day.clone(), true).await.unwrap();
    assert_eq!(answer.rows(), 100);
    assert!(answer.table().lines().skip(1).all(|line| line.contains("2026-08-24T00:00:00Z")), "{}", answer.table());
    let later = Restriction { times: Some((midnight + 1, i64::MAX)), event_ids: None };
    assert_eq!(read(&hot, hot.ranges(), later, false).await.unwrap().rows(), 100);
    assert_eq!(read_all(&hot, hot.ranges()).await.rows(), 300);
    let dates = hot.dates(&Mapping::default()).await.unwrap();
    assert_eq!(dates, [date(2026, 8, 23), date(2026, 8, 24), date(2026, 8, 25)].into());
    assert!(hot.days().await.is_err());
}
