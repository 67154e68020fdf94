//! Questions over more files than a plan holds.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::{SessionConfig, SessionContext};
use jiff::ToSpan;
use jiff::civil::date;
use tier::catalog::Snapshot;
use tier::context::Context;
use tier::scan::EventsTable;
use tier::store::Store;

use crate::support::ask::ask;
use crate::support::events::{Row, append, context, full_schema, row};

/// Each has a file of its own.
const EVENTS: usize = 4_200;

/// Ten a day. The number of an event grows with its time.
fn events() -> Vec<Row> {
    let event = |number: usize| {
        let day = date(2023, 1, 1) + (number as i64 / 10).days();
        let event_type = format!("type{}", number % 10);
        row(&day.to_string(), "acme", &event_type, &format!("e{number:04}"), number as i64)
    };
    (0..EVENTS).map(event).collect()
}

/// So many days' events in each append, the newest days first.
async fn archived(ctx: &Context, days: usize) -> Snapshot {
    let mut snapshot = None;
    for rows in events().rchunks(days * 10) {
        snapshot = Some(append(ctx, snapshot.as_ref(), &full_schema(), rows).await);
    }
    snapshot.expect("there are events")
}

#[tokio::test]
async fn the_newest_and_the_oldest_rows_are_found_without_reading_the_others() {
    let ctx = context(Store::memory());
    archived(&ctx, 70).await;
    for (order, expected) in [
        ("ts DESC", "event_id\ne4199\ne4198\ne4197"),
        ("ts", "event_id\ne0000\ne0001\ne0002"),
        ("date DESC, event_id", "event_id\ne4190\ne4191\ne4192"),
        ("date, event_id DESC", "event_id\ne0009\ne0008\ne0007"),
    ] {
        let (answer, report) = ask(&ctx, &format!("SELECT event_id FROM events ORDER BY {order} LIMIT 3")).await;
        assert_eq!(answer, expected, "{order}");
        assert!(report.requests.get < 30, "{order}: {:?}", report.requests);
    }
}

#[tokio::test]
async fn each_file_is_read_once_however_many_partitions_share_its_leaf() {
    let ctx = context(Store::memory());
    // Two leaves.
    let snapshot = archived(&ctx, EVENTS).await;
    assert_eq!(snapshot.root().leaves.len(), 2);
    for partitions in [1, 2, 3, 7] {
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
        session.register_table("events", Arc::new(EventsTable::new(snapshot.clone()))).unwrap();
        let read = session.sql("SELECT count(event_id || ''), count(DISTINCT event_id) FROM events").await.unwrap();
        let batches = read.collect().await.unwrap();
        let counts: Vec<i64> =
            batches[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect();
        assert_eq!((counts, batches[0].num_rows()), (vec![EVENTS as i64; 2], 1), "{partitions} partitions");
    }
}
