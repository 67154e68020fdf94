//! Writing to the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use tier::error::Kind;

use super::{open, partitions, read_all, settings};
use crate::support::cassandra::Keyspace;

fn batch(ids: &[&str], times: Vec<Option<i64>>) -> RecordBatch {
    let count = ids.len();
    let text = |text: &str| Arc::new(StringArray::from(vec![text; count])) as ArrayRef;
    let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    RecordBatch::try_from_iter_with_nullable([
        ("tenant_id", text("acme"), true),
        ("event_id", Arc::new(StringArray::from(ids.to_vec())) as ArrayRef, true),
        ("event_type", text("login"), true),
        ("ts", Arc::new(times) as ArrayRef, true),
    ])
    .unwrap()
}

async fn table() -> Keyspace {
    let keyspace = Keyspace::fresh().await;
    keyspace.create_events("events", "((tenant_id, day), event_id)", 0).await;
    keyspace
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_land_in_the_day_of_their_time_and_twice_is_once() {
    let keyspace = table().await;
    let hot = open(&settings(&keyspace, "events")).await;
    let rows = batch(&["1", "2"], vec![Some(-1_000), Some(0)]);
    for _ in 0..2 {
        hot.insert(&rows, None).await.unwrap();
    }
    let days: Vec<String> = hot.days().await.unwrap().into_keys().map(|date| date.to_string()).collect();
    assert_eq!(days, ["1969-12-31", "1970-01-01"]);
    assert_eq!(
        read_all(&hot, partitions(&hot).await).await.table(),
        "| tenant_id | event_id | amount | event_type | payload | ts                       |\n\
         | acme      | 1        |        | login      |         | 1969-12-31T23:59:59.999Z |\n\
         | acme      | 2        |        | login      |         | 1970-01-01T00:00:00Z     |"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_partition_is_gone_and_others_stay() {
    let keyspace = table().await;
    let hot = open(&settings(&keyspace, "events")).await;
    hot.insert(&batch(&["1", "2"], vec![Some(-1_000), Some(0)]), None).await.unwrap();
    let days = hot.days().await.unwrap();
    hot.delete(&days.first_key_value().unwrap().1[0]).await.unwrap();
    let left: Vec<String> = hot.days().await.unwrap().into_keys().map(|date| date.to_string()).collect();
    assert_eq!(left, ["1970-01-01"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_cannot_hold_is_refused() {
    let keyspace = table().await;
    let hot = open(&settings(&keyspace, "events")).await;
    let chain = |error: tier::error::Error| {
        let mut chain = vec![error.to_string()];
        chain.extend(error.causes());
        chain.join(": ")
    };
    let error = hot.insert(&batch(&["1"], vec![Some(1)]), None).await.unwrap_err();
    let into = format!("insert into {}.events", keyspace.name);
    let lost = "write column `ts`: a time has microseconds, which a CQL timestamp does not keep";
    assert_eq!(chain(error), format!("{into}: {lost}"));
    let error = hot.insert(&batch(&["1"], vec![None]), None).await.unwrap_err();
    assert_eq!(chain(error), format!("{into}: write column `day`: a column of the key has no value"));
    let other = RecordBatch::try_from_iter([("tennant", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]).unwrap();
    let error = hot.insert(&other, None).await.unwrap_err();
    assert_eq!((error.kind(), error.hint_text().unwrap().starts_with("there is tenant_id, ")), (Kind::Usage, true));
}
