//! Faults at every change that publishing the Delta table makes, and publishers side by side.

use std::sync::Arc;

use tier::archive;
use tier::publish::delta::{self, Checkpoints};
use tier::store::Store;

use super::faults::at_every_change;
use crate::compact::{plan, scattered};
use crate::support::delta::{checkpointed, expected, replayed, replayed_until, top, versions};
use crate::support::lab::{Lab, context, full, line};

/// V2 from the first file on, one with each run.
const SIDECARS: Checkpoints = Checkpoints { every: 1, sidecars_above: 0, files_per_sidecar: 4 };

/// An archive of so many versions, with a table that shows the first.
async fn behind(versions: u64, checkpoints: &Checkpoints) -> Store {
    let lab = Lab::new();
    for number in 0..versions {
        lab.write("a.ndjson", line(&number.to_string(), "2026-08-24T12:00:00Z", ""));
        lab.archive(&["a.ndjson"]).await;
        if number == 0 {
            delta::publish(&lab.ctx, checkpoints).await.unwrap();
        }
    }
    lab.ctx.store
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_that_fails_anywhere_is_made_whole_by_the_next_run() {
    for (checkpoints, newest) in [(Checkpoints::default(), 12_u64), (SIDECARS, 6)] {
        at_every_change(
            async || behind(newest + 1, &checkpoints).await,
            async |store| delta::publish(&context(store), &checkpoints).await.is_ok(),
            async |store, _, place| {
                let found = replayed(store).await;
                assert_eq!(found.len(), versions(store).await.len(), "{place}: each version has one file more");
                let report = delta::publish(&context(store.clone()), &checkpoints).await;
                let report = report.unwrap_or_else(|error| panic!("{place}: {}", full(&error)));
                assert_eq!(report.table_version, newest, "{place}");
                assert_eq!(replayed(store).await, expected(store).await, "{place}");
                assert_eq!(checkpointed(store, newest).await, expected(store).await, "{place}");
                assert_eq!(top(store, newest).await.is_some(), checkpoints == SIDECARS, "{place}");
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_side_by_side_make_one_table() {
    for round in 0..20 {
        let checkpoints = if round % 4 < 2 { Checkpoints::default() } else { SIDECARS };
        // Every other time there is no table yet.
        let store = if round % 2 == 0 { behind(13, &checkpoints).await } else { scattered().await };
        let barrier = Arc::new(tokio::sync::Barrier::new(4));
        let run = || {
            let (ctx, barrier) = (context(store.clone()), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                delta::publish(&ctx, &checkpoints).await
            })
        };
        let mut commits = 0;
        for run in [run(), run(), run(), run()] {
            let report = run.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {}", full(&error)));
            commits += report.commits;
            assert_eq!(report.table_version + 1, versions(&store).await.len() as u64, "round {round}");
        }
        assert_eq!(replayed(&store).await, expected(&store).await, "round {round}");
        if round % 2 == 0 {
            assert_eq!(checkpointed(&store, 12).await, expected(&store).await, "round {round}");
        }
        assert_eq!(commits, if round % 2 == 0 { 12 } else { 1 }, "round {round}: each commit is somebody's");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_that_is_followed_while_the_archive_changes_ends_where_it_does() {
    let store = scattered().await;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            let lab = Lab::over(store);
            for number in 0..30 {
                lab.write("a.ndjson", line(&format!("more-{number}"), "2026-08-25T12:00:00Z", ""));
                lab.archive(&["a.ndjson"]).await;
                if number % 10 == 9 {
                    let plan = plan(&lab.ctx, &tier::compact::Policy::default()).await;
                    tier::compact::apply(&lab.ctx, &plan).await.unwrap();
                }
                if number % 7 == 6 {
                    let newest = lab.snapshot().await.version();
                    let _ = archive::revert(&lab.ctx, newest).await;
                }
            }
        })
    };
    let ctx = context(store.clone());
    while !writer.is_finished() {
        let report = delta::publish(&ctx, &SIDECARS).await.unwrap_or_else(|error| panic!("{}", full(&error)));
        if let Some(version) = report.checkpoint {
            assert_eq!(checkpointed(&store, version).await, replayed_until(&store, version).await);
        }
    }
    writer.await.unwrap();
    let report = delta::publish(&ctx, &SIDECARS).await.unwrap();
    assert_eq!(replayed(&store).await, expected(&store).await);
    assert!(report.table_version > 10, "{report:#?}");
}
