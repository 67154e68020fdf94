//! Two archivers at the same moment.

use std::collections::HashSet;

use tier::archive;
use tier::catalog::Snapshot;
use tier::store::{ClassTime, Location, Store};

use crate::support::lab::{Lab, check_sums, check_versions, context, full, line, lines, request, rows};
use crate::support::tier::Tier;

const NOON: &str = "2026-08-24T12:00:00Z";

fn ids(rows: &[String]) -> HashSet<String> {
    let id = |row: &String| row.split_once(r#""event_id":""#).unwrap().1.split('"').next().unwrap().to_owned();
    rows.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_runs_with_overlapping_exports_finish_and_double_no_event() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..600));
    lab.write("b.ndjson", lines(400..1_000));
    lab.write("c.ndjson", line("x", "2026-08-25T12:00:00Z", r#""n":1"#));
    for round in 0..20 {
        let store = Store::memory();
        if round % 2 == 1 {
            // Not the first commit of the archive.
            archive::archive(&context(store.clone()), &lab.request(&["c.ndjson"])).await.unwrap();
        }
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(2));
        let run = |name: &'static str| {
            let (ctx, request, barrier) = (context(store.clone()), lab.request(&[name]), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                archive::archive(&ctx, &request).await
            })
        };
        let (first, second) = tokio::join!(run("a.ndjson"), run("b.ndjson"));
        let reports = [first.unwrap(), second.unwrap()]
            .map(|report| check_sums(report.unwrap_or_else(|error| panic!("round {round}: {}", full(&error)))));
        let sums = |get: fn(&archive::ArchiveReport) -> u64| reports.iter().map(get).sum::<u64>();
        assert_eq!((sums(|r| r.accepted), sums(|r| r.duplicate)), (1_000, 200), "round {round}");
        let rows = rows(&store).await;
        assert_eq!((rows.len(), ids(&rows).len()), (1_000 + round % 2, 1_000 + round % 2), "round {round}");
        check_versions(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_runs_that_each_bring_a_column_agree_on_the_schema() {
    let lab = Lab::new();
    lab.write("a.ndjson", line("1", NOON, r#""v":1,"a":1"#));
    lab.write("b.ndjson", line("2", "2026-08-25T12:00:00Z", r#""v":"text","b":true"#));
    for round in 0..20 {
        let store = Store::memory();
        let run = |name: &str| {
            let (ctx, mut request) = (context(store.clone()), lab.request(&[name]));
            request.max_dead_letters = archive::DeadLetterLimit::Percent(100.0);
            tokio::spawn(async move { archive::archive(&ctx, &request).await })
        };
        let (first, second) = tokio::join!(run("a.ndjson"), run("b.ndjson"));
        let outcomes = [first.unwrap(), second.unwrap()];
        // Whoever comes second finds `v` taken by the other type; then that run has nothing it can archive.
        let accepted: u64 = outcomes.iter().flatten().map(|report| report.accepted).sum();
        assert!(accepted >= 1, "round {round}: {outcomes:?}");
        let snapshot = Snapshot::open(&store).await.unwrap();
        assert_eq!(snapshot.root().leaves.rows(), accepted, "round {round}");
        let mut field_ids = HashSet::new();
        assert!(snapshot.schema().columns().iter().all(|column| field_ids.insert(column.id)), "round {round}");
        check_versions(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_overlapping_exports_finish_and_double_no_event() {
    let tier = Tier::new();
    tier.write("a.ndjson", lines(0..6_000));
    tier.write("b.ndjson", lines(4_000..10_000));
    for round in 0..4 {
        let archive = format!("archive-{round}");
        let children = ["a.ndjson", "b.ndjson"].map(|name| tier.spawn(&["archive", name, "--archive", &archive]));
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let store = Store::open(&Location::Local(tier.path(&archive)), ClassTime::default()).await.unwrap();
        let rows = rows(&store).await;
        assert_eq!((rows.len(), ids(&rows).len()), (10_000, 10_000), "round {round}");
        check_versions(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_runs_at_once_on_a_local_folder_all_commit() {
    let lab = Lab::new();
    let store = Store::open(&Location::Local(lab.path("archive")), ClassTime::default()).await.unwrap();
    let runs: Vec<_> = (0..6)
        .map(|number| {
            // Neighbours share a third of their events.
            let path = lab.write(&format!("{number}.ndjson"), lines(number * 20..number * 20 + 30));
            let (ctx, request) = (context(store.clone()), request(vec![path.to_string_lossy().into_owned()]));
            tokio::spawn(async move { archive::archive(&ctx, &request).await })
        })
        .collect();
    for run in runs {
        check_sums(run.await.unwrap().unwrap_or_else(|error| panic!("{}", full(&error))));
    }
    let rows = rows(&store).await;
    assert_eq!((rows.len(), ids(&rows).len()), (130, 130));
    check_versions(&store).await;
}
