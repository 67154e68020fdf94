//! A fault at every request that changes something, in turn.

use tier::archive;
use tier::catalog::Snapshot;
use tier::store::Store;

use crate::support::fault::{Fault, FaultStore, Plan};
use crate::support::lab::{Lab, check_sums, check_versions, context, full, letters, line, lines, rows};

const NOON: &str = "2026-08-24T12:00:00Z";

fn exports() -> Lab {
    let lab = Lab::new();
    // Two cells, a duplicate, a conflict, a line that is no event.
    let more =
        [line("a", "2026-08-25T12:00:00Z", r#""n":1"#), line("1", NOON, ""), line("2", NOON, r#""n":2"#), "{".into()];
    lab.write("a.ndjson", lines(0..20));
    lab.write("b.ndjson", more.join("\n"));
    lab
}

/// What a run over a store that never fails makes of the exports.
async fn undisturbed(lab: &Lab) -> (Vec<String>, Vec<String>) {
    lab.archive(&["a.ndjson", "b.ndjson"]).await;
    (lab.rows().await, lab.letters_in_short().await)
}

/// Runs `disturbed` with a fault at the first, second, … change, and `check` on the store after each, until a run
/// needs no more changes than that.
pub async fn at_every_change<D, C>(prepare: impl AsyncFn() -> Store, disturbed: D, check: C)
where
    D: AsyncFn(Store) -> bool,
    C: AsyncFn(&Store, bool, &str),
{
    for fault in Fault::ALL {
        for at in 1.. {
            let store = prepare().await;
            let plan = Plan::new(fault, at);
            let finished = disturbed(store.decorated(|inner| FaultStore::over(inner, plan.clone()))).await;
            let place = format!("{fault:?} at change {at}");
            if !plan.was_reached() {
                assert!(finished, "{place}: nothing went wrong");
                assert!(at > 3, "{place}: the run must need some changes");
                break;
            }
            check(&store, finished, &place).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_run_that_fails_anywhere_is_made_whole_by_the_next() {
    let lab = exports();
    let (expected_rows, expected_letters) = undisturbed(&exports()).await;
    let request = lab.request(&["a.ndjson", "b.ndjson"]);
    at_every_change(
        async || Store::memory(),
        async |store| archive::archive(&context(store), &request).await.is_ok(),
        async |store, finished, place| {
            check_versions(store).await;
            let before = rows(store).await;
            let committed = Snapshot::latest(store).await.unwrap().is_some();
            // A run is there whole or not at all, and a success is never claimed without it.
            assert!(committed || before.is_empty(), "{place}");
            assert!(committed || !finished, "{place}: a success without a commit");
            if committed {
                assert_eq!(before, expected_rows, "{place}");
            }
            let report = archive::archive(&context(store.clone()), &request).await;
            let report = check_sums(report.unwrap_or_else(|error| panic!("{place}: {}", full(&error))));
            assert_eq!(report.read, if committed { 0 } else { 24 }, "{place}");
            assert_eq!(rows(store).await, expected_rows, "{place}");
            let mut got: Vec<String> = Vec::new();
            for letter in letters(store).await {
                got.push(format!("{} {}: {}", letter.reason, letter.line, letter.raw));
            }
            assert_eq!(got, expected_letters, "{place}");
            check_versions(store).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_that_fails_anywhere_has_happened_whole_or_not_at_all() {
    let lab = exports();
    let mut first = lab.request(&["a.ndjson"]);
    let request = lab.request(&["b.ndjson"]);
    first.threads = 1;
    let prepare = async || {
        let store = Store::memory();
        archive::archive(&context(store.clone()), &request).await.unwrap();
        archive::discard(&context(store.clone()), archive::Replay::default()).await.unwrap();
        store
    };
    let whole = rows(&prepare().await).await;
    // A revert writes one root and a hint; the vacuum of its orphans is tested elsewhere.
    for fault in Fault::ALL {
        for at in 1..=3 {
            let store = prepare().await;
            let plan = Plan::new(fault, at);
            let faulty = store.decorated(|inner| FaultStore::over(inner, plan.clone()));
            let outcome = archive::revert(&context(faulty), 1).await;
            let place = format!("{fault:?} at change {at}");
            check_versions(&store).await;
            let reverted = Snapshot::open(&store).await.unwrap().version() == 3;
            assert_eq!(rows(&store).await, if reverted { Vec::new() } else { whole.clone() }, "{place}");
            assert!(reverted || outcome.is_err(), "{place}: a success without a commit");
            if !reverted {
                archive::revert(&context(store.clone()), 1).await.unwrap_or_else(|e| panic!("{place}: {}", full(&e)));
            }
            assert_eq!(rows(&store).await, Vec::<String>::new(), "{place}");
        }
    }
}

/// Files above the size of a part go up in parts.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_that_fails_anywhere_leaves_no_half_file_visible() {
    let lab = Lab::new();
    // Digests do not compress: about ten megabytes of them.
    let digests =
        |id: u32| (0..40).map(|n| blake3::hash(&(id * 64 + n).to_le_bytes()).to_hex().to_string()).collect::<String>();
    let text: String =
        (0..8_000).map(|id| line(&id.to_string(), NOON, &format!(r#""d":"{}""#, digests(id))) + "\n").collect();
    lab.write("a.ndjson", text);
    let request = lab.request(&["a.ndjson"]);
    at_every_change(
        async || Store::memory(),
        async |store| archive::archive(&context(store), &request).await.is_ok(),
        async |store, _, place| {
            let before = Snapshot::latest(store).await.unwrap().map_or(0, |snapshot| snapshot.root().leaves.rows());
            assert!(before == 0 || before == 8_000, "{place}: {before}");
            let report = archive::archive(&context(store.clone()), &request).await;
            check_sums(report.unwrap_or_else(|error| panic!("{place}: {}", full(&error))));
            assert_eq!(Snapshot::open(store).await.unwrap().root().leaves.rows(), 8_000, "{place}");
            check_versions(store).await;
        },
    )
    .await;
}
