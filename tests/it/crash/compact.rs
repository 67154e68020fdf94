//! A fault at every change that a merge of small files makes, in turn.

use tier::compact::{self, Bound, Policy};

use super::faults::at_every_change;
use crate::compact::{plan, scattered};
use crate::support::lab::{check_versions, context, full, rows};

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_fails_anywhere_is_made_whole_by_the_next_run() {
    let expected = rows(&scattered().await).await;
    at_every_change(
        scattered,
        async |store| {
            let ctx = context(store);
            let plan = plan(&ctx, &Policy::default()).await;
            compact::apply(&ctx, &plan).await.is_ok()
        },
        async |store, finished, place| {
            check_versions(store).await;
            assert_eq!(rows(store).await, expected, "{place}");
            let ctx = context(store.clone());
            let left = plan(&ctx, &Policy::default()).await;
            assert!(!finished || left.groups.is_empty(), "{place}: done, and yet not");
            compact::apply(&ctx, &left).await.unwrap_or_else(|error| panic!("{place}: {}", full(&error)));
            assert_eq!(rows(store).await, expected, "{place}");
            check_versions(store).await;
            assert!(plan(&ctx, &Policy::default()).await.groups.is_empty(), "{place}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_leaves_that_fails_anywhere_is_made_whole_by_the_next_run() {
    let expected = rows(&scattered().await).await;
    at_every_change(
        scattered,
        async |store| compact::merge_runs(&context(store), Bound::default()).await.is_ok(),
        async |store, finished, place| {
            check_versions(store).await;
            assert_eq!(rows(store).await, expected, "{place}");
            let ctx = context(store.clone());
            let report = compact::merge_runs(&ctx, Bound::default()).await;
            let report = report.unwrap_or_else(|error| panic!("{place}: {}", full(&error)));
            assert!(!finished || report.commits == 0, "{place}: done, and yet not");
            assert_eq!((rows(store).await, report.leaves_after), (expected.clone(), 1), "{place}");
            check_versions(store).await;
        },
    )
    .await;
}
