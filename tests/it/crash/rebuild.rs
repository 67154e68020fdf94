//! A fault at every change of a run, and then the catalog is lost: the rebuilt one has every event once.

use tier::archive;
use tier::compact::{self, Policy as MergePolicy};
use tier::context::Context;
use tier::lifecycle::{Layout, Policy, Target};
use tier::model::StorageClass;
use tier::rebuild::{ProblemKind, RebuildOptions, rebuild};
use tier::store::Store;

use super::faults::at_every_change;
use super::lifecycle::{LATER, archive as two_months, at, policy, run as lifecycle};
use crate::compact::{plan, scattered};
use crate::rebuild::{PLAIN, check_whole, lose_catalog, run};
use crate::support::lab::{Lab, check_sums, context, full, line, lines, rows};

/// Takes the catalog away and rebuilds it: the archive is whole and has these rows.
async fn check_rebuilt(ctx: &Context, expected: &[String], place: &str) {
    lose_catalog(&ctx.store).await;
    let report = run(ctx, &PLAIN).await;
    assert_eq!(report.problems, [], "{place}");
    assert_eq!(rows(&ctx.store).await, expected, "{place}");
    check_whole(ctx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_archive_run_left_behind_doubles_nothing() {
    let lab = Lab::new();
    lab.write("a.ndjson", lines(0..20) + &line("b", "2026-08-25T12:00:00Z", ""));
    lab.write("b.ndjson", lines(10..30));
    let request = lab.request(&["a.ndjson", "b.ndjson"]);
    at_every_change(
        async || Store::memory(),
        async |store| archive::archive(&context(store), &request).await.is_ok(),
        async |store, _, place| {
            let ctx = context(store.clone());
            let report = archive::archive(&ctx, &request).await;
            check_sums(report.unwrap_or_else(|error| panic!("{place}: {}", full(&error))));
            let expected = rows(store).await;
            assert_eq!(expected.len(), 31, "{place}");
            check_rebuilt(&ctx, &expected, place).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_killed_merge_and_its_inputs_one_comes_back() {
    let expected = rows(&scattered().await).await;
    for is_run_again in [false, true] {
        at_every_change(
            scattered,
            async |store| {
                let ctx = context(store);
                compact::apply(&ctx, &plan(&ctx, &MergePolicy::default()).await).await.is_ok()
            },
            async |store, _, place| {
                let ctx = context(store.clone());
                if is_run_again {
                    compact::apply(&ctx, &plan(&ctx, &MergePolicy::default()).await).await.unwrap();
                }
                check_rebuilt(&ctx, &expected, place).await;
            },
        )
        .await;
    }
}

/// `may_be_stuck`: an archived bundle whose run died before it wrote the pack has no footer anywhere.
async fn of_a_killed_move(class: StorageClass, layout: Layout, may_be_stuck: bool) {
    let policy: &Policy = &policy(Target::Move { class, layout });
    let expected = rows(&two_months().await).await;
    for is_run_again in [false, true] {
        at_every_change(
            async || two_months().await,
            async |store| lifecycle(store, policy).await.is_ok(),
            async |store, _, place| {
                let ctx = at(store.clone(), LATER);
                if is_run_again {
                    lifecycle(store.clone(), policy).await.unwrap_or_else(|error| panic!("{place}: {error}"));
                }
                lose_catalog(store).await;
                let mut options = PLAIN;
                let mut report = run(&ctx, &options).await;
                if report.version.is_none() && may_be_stuck {
                    assert!(report.problem_counts.keys().all(|kind| *kind == ProblemKind::NoFooter), "{report:#?}");
                    options.leave_out = report.problems.iter().map(|problem| problem.object.clone()).collect();
                    report = run(&ctx, &options).await;
                }
                assert_eq!(report.problems, [], "{place}");
                assert_eq!(rows(&ctx.store).await, expected, "{place}");
                check_whole(&ctx).await;
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_killed_bundling_and_its_cells_one_comes_back() {
    of_a_killed_move(StorageClass::GlacierIr, Layout::Bundle, false).await;
    of_a_killed_move(StorageClass::DeepArchive, Layout::Bundle, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_killed_move_in_place_every_file_comes_back() {
    of_a_killed_move(StorageClass::GlacierIr, Layout::InPlace, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_fails_anywhere_is_done_by_the_next() {
    let expected = rows(&scattered().await).await;
    at_every_change(
        async || {
            let store = scattered().await;
            lose_catalog(&store).await;
            store
        },
        async |store| rebuild(&context(store), &PLAIN).await.is_ok(),
        async |store, finished, place| {
            let ctx = context(store.clone());
            let again = rebuild(&ctx, &PLAIN).await;
            let is_done = again.as_ref().is_err_and(|error| error.stable_code() == "readable-root");
            assert!(again.is_ok() || is_done, "{place}: {again:?}");
            assert!(!finished || is_done, "{place}: done, and yet not");
            assert_eq!(rows(store).await, expected, "{place}");
            let replaced = run(&ctx, &RebuildOptions { replace: true, ..PLAIN }).await;
            assert_eq!(replaced.rows, 26, "{place}");
            check_whole(&ctx).await;
        },
    )
    .await;
}
