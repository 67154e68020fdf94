//! The nightly job over two nodes of which one dies.

use super::night::{DAYS, KEY, NIGHT, Night, days_of, rows_of};
use crate::support::cassandra::{Keyspace, Node};

#[tokio::test(flavor = "multi_thread")]
async fn with_one_of_two_nodes_dead_one_replica_does_and_a_quorum_fails_cleanly() {
    let [first, mut second] = Node::start_two().await;
    let keyspace = Keyspace::create(first.session().await, 2).await;
    let night = Night::over(keyspace, first.contact_point(), KEY).await;
    night.insert(&rows_of(&DAYS, &["acme", "globex"], 50)).await;
    second.kill();
    night.settings("consistency = \"QUORUM\"\ntimeout = \"5s\"\n");
    let refused = night.run(NIGHT, &[]);
    assert_eq!(refused.code, Some(6), "{refused:#?}");
    assert!(refused.stderr.contains("QUORUM"), "{refused:#?}");
    assert!(!night.tier.path("archive/_tier/root").exists(), "something was committed: {refused:#?}");
    night.settings("consistency = \"ONE\"\n");
    let report = night.archive(NIGHT, &[]);
    let read: Vec<u64> = days_of(&report).into_iter().map(|(_, _, counts)| counts[1]).collect();
    assert_eq!(read, [100, 100, 100]);
    assert_eq!(night.ask("SELECT count(*), count(DISTINCT event_id) FROM events"), ["300,300"]);
}
