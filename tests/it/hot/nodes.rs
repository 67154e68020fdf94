//! Nodes that are down, slow, or ask who we are.

use std::time::Duration;

use tier::clock::Stopwatch;
use tier::error::{Error, Kind};
use tier::hot::{Cassandra, CassandraSettings, Consistency, Login, Restriction};

use super::{WARN_DAYS, open, partitions, read, settings};
use crate::support::cassandra::{Keyspace, Node, USER};
use crate::support::events::row;

/// A dead cluster must be known after this.
const SOON_MS: u64 = 15_000;

async fn refused(settings: &CassandraSettings) -> Error {
    let started = Stopwatch::start();
    let error = Cassandra::open(settings, WARN_DAYS).await.unwrap_err();
    assert!(started.elapsed_ms() < SOON_MS, "{} ms", started.elapsed_ms());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_is_to_be_tried_again() {
    let keyspace = Keyspace::fresh().await;
    let mut dead = settings(&keyspace, "events");
    // The first refuses; of the second no packet ever comes back.
    for address in ["127.0.0.1:9", "192.0.2.1:9042", "nobody.invalid"] {
        dead.contact_points = vec![address.to_owned()];
        let error = refused(&dead).await;
        assert_eq!((error.kind(), error.stable_code()), (Kind::TryAgain, "hot-down"));
        let message = format!("no node of cassandra {}.events answers at {address}", keyspace.name);
        assert_eq!(error.to_string(), message);
        assert_eq!(error.hint_text(), Some("bring its nodes back, or correct `contact_points` in [hot]"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_contact_point_may_be_down() {
    let keyspace = Keyspace::fresh().await;
    keyspace.create_events("events", "((tenant_id, day), event_id)", 0).await;
    let mut asked = settings(&keyspace, "events");
    asked.contact_points.insert(0, "127.0.0.1:9".to_owned());
    assert!(partitions(&open(&asked).await).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_login_is_said_without_the_password() {
    let node = Node::start_with_password().await;
    let keyspace = Keyspace::create(node.session().await, 1).await;
    keyspace.create_events("events", "((tenant_id, day), event_id)", 0).await;
    let mut asked = settings(&keyspace, "events");
    asked.contact_points = vec![node.contact_point()];
    let login = |password: &str| Some(Login { user: USER.to_owned(), password: password.to_owned() });
    asked.login = login("Sesame-7");
    let error = refused(&asked).await;
    assert_eq!((error.kind(), error.stable_code()), (Kind::Usage, "hot-login"));
    let told = format!("{error} {error:?} {:?}", error.causes());
    assert!(told.contains("refuses user `cassandra`") && !told.contains("Sesame-7"), "{told}");
    asked.login = None;
    assert_eq!(refused(&asked).await.stable_code(), "hot-login");
    asked.login = login(USER);
    assert!(partitions(&open(&asked).await).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_waited_for_and_then_read_on() {
    let mut node = Node::start().await;
    let keyspace = Keyspace::create(node.session().await, 1).await;
    keyspace.create_events("events", "((tenant_id, day), event_id)", 0).await;
    let rows: Vec<_> = (0..500).map(|n| row("2026-08-24", "a", "login", &format!("{n:03}"), n)).collect();
    keyspace.insert("events", &rows, None).await;
    let mut asked = settings(&keyspace, "events");
    asked.contact_points = vec![node.contact_point()];
    (asked.page_rows, asked.timeout) = (100, Duration::from_secs(1));
    let hot = open(&asked).await;
    let units = partitions(&hot).await;
    node.pause();
    let error = read(&hot, units.clone(), Restriction::default(), true).await.unwrap_err();
    assert_eq!((error.kind(), error.stable_code()), (Kind::TryAgain, "hot-unavailable"), "{:?}", error.causes());
    node.resume();
    assert_eq!(read(&hot, units.clone(), Restriction::default(), true).await.unwrap().done, [(0, 500, Some(500))]);
    node.stop();
    let error = read(&hot, units.clone(), Restriction::default(), true).await.unwrap_err();
    assert_eq!((error.kind(), error.stable_code()), (Kind::TryAgain, "hot-down"), "{:?}", error.causes());
    node.start_again().await;
    asked.timeout = Duration::from_secs(30);
    let hot = open(&asked).await;
    assert_eq!(read(&hot, units, Restriction::default(), true).await.unwrap().done, [(0, 500, Some(500))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_name_the_level_and_how_many_are_alive() {
    let mut nodes = Node::start_two().await;
    let keyspace = Keyspace::create(nodes[0].session().await, 2).await;
    keyspace.create_events("events", "((tenant_id, day), event_id)", 0).await;
    keyspace.insert("events", &[row("2026-08-24", "a", "login", "1", 0)], None).await;
    let mut asked = settings(&keyspace, "events");
    asked.contact_points = vec![nodes[0].contact_point()];
    (asked.consistency, asked.timeout) = (Consistency::All, Duration::from_secs(15));
    let hot = open(&asked).await;
    let units = partitions(&hot).await;
    assert_eq!(read(&hot, units.clone(), Restriction::default(), true).await.unwrap().rows(), 1);
    nodes[1].kill();
    // Until the other node notices, requests time out; then they are refused.
    let error = loop {
        let error = read(&hot, units.clone(), Restriction::default(), true).await.unwrap_err();
        assert_eq!((error.kind(), error.stable_code()), (Kind::TryAgain, "hot-unavailable"), "{:?}", error.causes());
        if error.causes().iter().any(|cause| cause.contains("alive:")) {
            break error;
        }
    };
    let message = format!("cassandra {}.events: ALL needs 2 replicas, alive: 1", keyspace.name);
    assert!(error.causes().contains(&message), "{:?}", error.causes());
    assert_eq!(error.hint_text(), Some("bring its nodes back, or choose another `consistency` in [hot]"));
    asked.consistency = Consistency::One;
    let one = open(&asked).await;
    assert_eq!(read(&one, units, Restriction::default(), true).await.unwrap().rows(), 1);
}
