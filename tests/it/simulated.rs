//! Storage classes on a folder and in memory behave as S3's do.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tier::clock::Clock;
use tier::error::Kind;
use tier::model::StorageClass::{DeepArchive, Glacier, GlacierIr, Standard, StandardIa};
use tier::model::{ObjectState, RestoreState, Retrieval, StorageClass};
use tier::store::{BucketRule, ClassTime, Location, PutOutcome, RestoreOutcome, Store};

use crate::support::fault::{Fault, FaultStore, Plan};
use crate::support::temp_file;

const START: &str = "2026-11-22T00:00:00Z";
const PATH: &str = "events/date=2026-08-24/event_type=a%2Fb/tenant_id=acme/1.parquet";
const BODY: &str = "0123456789";

fn hour(hours: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

/// The same archive, so many hours later.
fn later(store: &Store, hours: i64) -> Store {
    store.at(ClassTime { clock: Clock::Fixed(hour(hours)), speed: 1.0 })
}

struct Lab {
    store: Store,
    _folder: Option<TempDir>,
}

impl Lab {
    async fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Local(folder.path().join("archive"));
        let store = Store::open(&location, ClassTime::default()).await.unwrap();
        Lab { store: later(&store, 0), _folder: Some(folder) }
    }

    fn memory() -> Self {
        Lab { store: later(&Store::memory(), 0), _folder: None }
    }

    async fn each() -> [Self; 2] {
        [Self::local().await, Self::memory()]
    }

    async fn put(&self, path: &str, class: StorageClass) -> ObjectState {
        self.store.classes().put_file(path, &temp_file(BODY), class, &[]).await.unwrap()
    }
}

async fn look(store: &Store, path: &str) -> Option<(StorageClass, RestoreState)> {
    let state = store.classes().look(path).await.unwrap()?;
    assert_eq!((state.path.as_str(), state.size_bytes), (path, BODY.len() as u64));
    Some((state.storage_class, state.restore))
}

/// What a GET says: the bytes, `None`, or the words of the refusal.
async fn read(store: &Store, path: &str) -> Option<String> {
    match store.get_opt(path).await {
        Ok(bytes) => bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()),
        Err(error) => Some(error.causes().join(": ")),
    }
}

/// Paths as listings show them; both kinds of listing, and HEAD, must agree.
async fn listed(store: &Store, folder: &str) -> Vec<String> {
    let mut paths: Vec<String> = store.list(folder, None).await.unwrap().into_iter().map(|o| o.path).collect();
    paths.sort();
    let states = store.classes().list(folder).await.unwrap();
    assert_eq!(states.iter().map(|state| state.path.clone()).collect::<Vec<_>>(), paths);
    for state in states {
        assert_eq!(store.classes().look(&state.path).await.unwrap().as_ref(), Some(&state));
        assert_eq!(store.stat(&state.path).await.unwrap().unwrap().size_bytes, state.size_bytes, "{}", state.path);
    }
    paths
}

#[tokio::test]
async fn an_archived_object_is_seen_but_cannot_be_read() {
    for lab in Lab::each().await {
        for class in StorageClass::ALL {
            let path = format!("x/{class}");
            let state = lab.put(&path, class).await;
            assert_eq!((state.storage_class, state.restore, state.size_bytes), (class, RestoreState::None, 10));
            assert_eq!(look(&lab.store, &path).await, Some((class, RestoreState::None)));
            let answer = read(&lab.store, &path).await.unwrap();
            if class.is_archived() {
                assert!(answer.contains("InvalidObjectState") && answer.contains(class.as_str()), "{answer}");
                assert!(lab.store.get_range(&path, 0..2).await.is_err());
                assert_eq!(state.modified, hour(0));
            } else {
                assert_eq!((answer.as_str(), class.is_archived()), (BODY, false));
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_is_archived_is_taken() {
    let lab = Lab::memory();
    lab.put(PATH, DeepArchive).await;
    assert_eq!(lab.store.put_if_absent(PATH, "new").await.unwrap(), PutOutcome::AlreadyExists);
    assert_eq!(look(&lab.store, PATH).await, Some((DeepArchive, RestoreState::None)));
}

#[tokio::test]
async fn other_readers_of_the_folder_find_nothing_of_what_is_archived() {
    let lab = Lab::local().await;
    let root = lab.store.local_root().unwrap().clone();
    for class in StorageClass::ALL {
        lab.put(&format!("events/{class}.parquet"), class).await;
    }
    let seen = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(seen(&root.join("events")), ["GLACIER_IR.parquet", "STANDARD.parquet", "STANDARD_IA.parquet"]);
    lab.store.classes().change_class("events/STANDARD.parquet", Glacier).await.unwrap();
    assert_eq!(seen(&root.join("events")), ["GLACIER_IR.parquet", "STANDARD_IA.parquet"]);
    // Also while a copy is readable through the store: on S3 it is at the same address, here it is not at the path.
    lab.store.classes().restore("events/GLACIER.parquet", 1, Retrieval::Expedited).await.unwrap();
    assert_eq!(read(&later(&lab.store, 1), "events/GLACIER.parquet").await.as_deref(), Some(BODY));
    assert_eq!(seen(&root.join("events")), ["GLACIER_IR.parquet", "STANDARD_IA.parquet"]);
    assert_eq!(lab.store.temporary_files().await.unwrap(), []);
}

#[tokio::test]
async fn listings_show_objects_where_they_are_and_the_simulation_nowhere() {
    for lab in Lab::each().await {
        for (path, class) in
            [("e/1", Standard), ("e/2", DeepArchive), ("e/3/a", Glacier), ("e/3/b", StandardIa), ("e2", GlacierIr)]
        {
            lab.put(path, class).await;
        }
        assert_eq!(listed(&lab.store, "").await, ["e/1", "e/2", "e/3/a", "e/3/b", "e2"]);
        assert_eq!(listed(&lab.store, "e").await, ["e/1", "e/2", "e/3/a", "e/3/b"]);
        assert_eq!(listed(&lab.store, "e/3").await, ["e/3/a", "e/3/b"]);
        assert_eq!(listed(&lab.store, "nothing").await, Vec::<String>::new());
        assert_eq!(lab.store.list("_simulated", None).await.unwrap(), []);
        assert_eq!(lab.store.list("_simulated/archived/e", None).await.unwrap(), []);
        let after = lab.store.list("e", Some("e/2")).await.unwrap();
        let mut after: Vec<_> = after.iter().map(|object| object.path.as_str()).collect();
        after.sort();
        assert_eq!(after, ["e/3/a", "e/3/b"]);
        let children = lab.store.object_store().list_with_delimiter(Some(&lab.store.object_path("e"))).await.unwrap();
        let names = |paths: Vec<&str>| paths.iter().map(|p| p.rsplit('/').next().unwrap().to_owned()).collect();
        let folders: Vec<String> = names(children.common_prefixes.iter().map(|path| path.as_ref()).collect());
        let objects: Vec<String> = names(children.objects.iter().map(|meta| meta.location.as_ref()).collect());
        assert_eq!((folders, objects), (vec!["3".to_owned()], vec!["1".to_owned(), "2".to_owned()]));
    }
}

#[tokio::test]
async fn a_restore_runs_is_readable_for_its_days_and_expires() {
    for lab in Lab::each().await {
        for (class, retrieval, hours) in [
            (Glacier, Retrieval::Standard, 5),
            (Glacier, Retrieval::Bulk, 12),
            (DeepArchive, Retrieval::Standard, 12),
            (DeepArchive, Retrieval::Bulk, 48),
        ] {
            let path = format!("{class}/{retrieval}");
            lab.put(&path, class).await;
            let outcome = lab.store.classes().restore(&path, 2, retrieval).await.unwrap();
            assert_eq!(outcome, RestoreOutcome::Started);
            assert_eq!(look(&lab.store, &path).await, Some((class, RestoreState::Running)));
            assert!(read(&later(&lab.store, hours - 1), &path).await.unwrap().contains("InvalidObjectState"));
            let until = hour(hours + 48);
            for readable in [hours, hours + 47] {
                let store = later(&lab.store, readable);
                assert_eq!(look(&store, &path).await, Some((class, RestoreState::Restored { until })));
                assert_eq!(read(&store, &path).await.as_deref(), Some(BODY));
                assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
            }
            let expired = later(&lab.store, hours + 48);
            assert_eq!(look(&expired, &path).await, Some((class, RestoreState::None)));
            assert!(read(&expired, &path).await.unwrap().contains("InvalidObjectState"));
        }
    }
}

#[tokio::test]
async fn restores_answer_as_s3_does_and_are_metered() {
    for lab in Lab::each().await {
        lab.put("d", DeepArchive).await;
        lab.put("ia", StandardIa).await;
        lab.put("s", Standard).await;
        let before = lab.store.requests();
        let restore = async |hours, path: &str, days, retrieval| {
            later(&lab.store, hours).classes().restore(path, days, retrieval).await
        };
        for path in ["ia", "s"] {
            assert_eq!(restore(0, path, 1, Retrieval::Bulk).await.unwrap(), RestoreOutcome::NotArchived);
        }
        let expedited = restore(0, "d", 1, Retrieval::Expedited).await.unwrap_err();
        assert_eq!(expedited.kind(), Kind::Usage, "{expedited}");
        assert_eq!(restore(0, "none", 1, Retrieval::Bulk).await.unwrap_err().stable_code(), "missing-object");
        assert_eq!(restore(0, "d", 3, Retrieval::Bulk).await.unwrap(), RestoreOutcome::Started);
        assert_eq!(restore(1, "d", 9, Retrieval::Bulk).await.unwrap(), RestoreOutcome::AlreadyRunning);
        assert_eq!(restore(1, "d", 9, Retrieval::Standard).await.unwrap(), RestoreOutcome::Started);
        let until = hour(13 + 72);
        assert_eq!(look(&later(&lab.store, 13), "d").await, Some((DeepArchive, RestoreState::Restored { until })));
        assert_eq!(restore(14, "d", 1, Retrieval::Bulk).await.unwrap(), RestoreOutcome::Extended);
        let until = hour(14 + 24);
        assert_eq!(look(&later(&lab.store, 14), "d").await, Some((DeepArchive, RestoreState::Restored { until })));
        let spent = lab.store.requests().since(&before);
        assert_eq!((spent.restores, spent.restored_bytes), (3, 20));
    }
}

#[tokio::test]
async fn classes_are_changed_where_the_object_lies_if_it_can_be_read() {
    for lab in Lab::each().await {
        for from in StorageClass::ALL {
            for to in StorageClass::ALL {
                let path = format!("{from}/{to}");
                lab.put(&path, from).await;
                if from.is_archived() && from != to {
                    let error = lab.store.classes().change_class(&path, to).await.unwrap_err();
                    assert_eq!((error.kind(), error.stable_code()), (Kind::RestoreNeeded, "archived"), "{path}");
                    lab.store.classes().restore(&path, 1, Retrieval::Standard).await.unwrap();
                }
                let store = later(&lab.store, 12);
                let moved = store.classes().change_class(&path, to).await.unwrap();
                assert_eq!((moved.storage_class, moved.restore), (to, RestoreState::None), "{path}");
                assert_eq!(look(&store, &path).await, Some((to, RestoreState::None)), "{path}");
                assert_eq!(read(&store, &path).await.as_deref() == Some(BODY), !to.is_archived(), "{path}");
                assert_eq!(listed(&store, &from.to_string()).await.iter().filter(|p| **p == path).count(), 1);
            }
        }
        let gone = lab.store.classes().change_class("nothing", Glacier).await.unwrap_err();
        assert_eq!(gone.stable_code(), "missing-object");
    }
}

#[tokio::test]
async fn a_plain_write_over_any_class_makes_a_standard_object() {
    for lab in Lab::each().await {
        for class in StorageClass::ALL {
            let path = format!("w/{class}");
            lab.put(&path, class).await;
            lab.store.put(&path, "9876543210").await.unwrap();
            assert_eq!(look(&lab.store, &path).await, Some((Standard, RestoreState::None)));
            assert_eq!(read(&lab.store, &path).await.as_deref(), Some("9876543210"));
        }
    }
}

#[tokio::test]
async fn deleting_leaves_nothing_of_any_class_and_counts_what_left_too_early() {
    for lab in Lab::each().await {
        let paths = StorageClass::ALL.map(|class| format!("d/{class}"));
        for (class, days) in [(Standard, 0), (StandardIa, 30), (GlacierIr, 90), (Glacier, 90), (DeepArchive, 180)] {
            let path = format!("d/{class}");
            lab.put(&path, class).await;
            let before = lab.store.requests();
            later(&lab.store, 24).classes().delete_all_versions(std::slice::from_ref(&path)).await.unwrap();
            let early = lab.store.requests().since(&before).early_deleted_byte_days;
            assert_eq!(early, 10 * u64::max(days, 1) - 10, "{class}");
            lab.put(&path, class).await;
            let before = lab.store.requests();
            later(&lab.store, 24 * 180).classes().change_class(&path, Standard).await.ok();
            assert_eq!(lab.store.requests().since(&before).early_deleted_byte_days, 0, "{class}");
        }
        for _ in 0..2 {
            lab.store.delete(paths.to_vec()).await.unwrap();
            assert_eq!(listed(&lab.store, "").await, Vec::<String>::new());
        }
        if let Some(root) = lab.store.local_root() {
            assert_eq!(files_below(root), Vec::<PathBuf>::new());
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn a_file_above_a_part_arrives_whole() {
    let bytes: Vec<u8> = (0..(20 << 20) + 7).map(|at| (at % 251) as u8).collect();
    for lab in Lab::each().await {
        for (class, size) in [(GlacierIr, bytes.len()), (DeepArchive, 8 << 20), (Glacier, 0)] {
            let file = temp_file(&bytes[..size]);
            let state = lab.store.classes().put_file(PATH, &file, class, &[]).await.unwrap();
            assert_eq!((state.size_bytes, state.storage_class), (size as u64, class));
            lab.store.classes().restore(PATH, 1, Retrieval::Standard).await.unwrap();
            assert!(later(&lab.store, 12).get(PATH).await.unwrap() == bytes[..size], "{size} bytes differ");
        }
    }
}

/// Nobody reads a half-made object, whatever call of the simulation fails; running again makes it whole.
#[tokio::test]
async fn a_fault_at_any_step_leaves_the_old_or_the_new_and_repeating_finishes() {
    for fault in Fault::ALL {
        for from in [None, Some(Standard), Some(GlacierIr), Some(DeepArchive)] {
            for to in [None, Some(Standard), Some(StandardIa), Some(Glacier), Some(DeepArchive)] {
                at_every_step(fault, from, to).await;
            }
        }
    }
}

async fn at_every_step(fault: Fault, from: Option<StorageClass>, to: Option<StorageClass>) {
    for at in 1.. {
        let lab = Lab::memory();
        let file = temp_file(BODY);
        if let Some(from) = from {
            lab.put(PATH, from).await;
            lab.store.classes().restore(PATH, 30, Retrieval::Standard).await.unwrap();
        }
        let store = later(&lab.store, 12);
        let before = look(&store, PATH).await;
        let plan = Plan::new(fault, at);
        let faulty = store.decorated(|inner| FaultStore::over(inner, plan.clone()));
        let step = async |store: &Store| match (from, to) {
            (_, None) => store.classes().delete_all_versions(&[PATH.to_owned()]).await,
            (None, Some(class)) => store.classes().put_file(PATH, &file, class, &[]).await.map(drop),
            (Some(_), Some(class)) => store.classes().change_class(PATH, class).await.map(drop),
        };
        let done = step(&faulty).await;
        let place = format!("{fault:?} at {at}, {from:?} to {to:?}");
        if !plan.was_reached() {
            done.unwrap_or_else(|error| panic!("{place}: {error}"));
            break;
        }
        let after = to.map(|class| (class, RestoreState::None));
        let moved = if from == to { before } else { after };
        let seen = look(&store, PATH).await;
        // A new object of a readable class is for a moment one in STANDARD.
        let halfway = from.is_none() && seen == Some((Standard, RestoreState::None));
        assert!(seen == before || seen == moved || halfway, "{place}: {seen:?}");
        if let Some(answer) = read(&store, PATH).await {
            let refused = answer.contains("InvalidObjectState");
            assert!(answer == BODY || refused && seen.unwrap().0.is_archived(), "{place}: {answer}");
        }
        assert_eq!(listed(&store, "").await.len(), usize::from(seen.is_some()), "{place}");
        step(&store).await.unwrap_or_else(|error| panic!("{place}: {error} {:?}", error.causes()));
        assert_eq!(look(&store, PATH).await, moved, "{place}");
        let expected = to.map(|class| !class.is_archived() || from == to);
        assert_eq!(read(&store, PATH).await.map(|answer| answer == BODY), expected, "{place}");
        step(&store).await.unwrap_or_else(|error| panic!("{place}, a third time: {error}"));
    }
}

#[tokio::test]
async fn what_an_interrupted_move_left_is_found_by_the_vacuum() {
    let lab = Lab::local().await;
    let plan = Plan::new(Fault::Death, 2);
    let dying = lab.store.decorated(|inner| FaultStore::over(inner, plan));
    dying.classes().put_file(PATH, &temp_file(BODY), Glacier, &[]).await.unwrap_err();
    assert_eq!(look(&lab.store, PATH).await, None);
    let left = lab.store.temporary_files().await.unwrap();
    assert_eq!(left.iter().map(|file| file.size_bytes).collect::<Vec<_>>(), [10]);
    lab.store.delete_temporary(left.into_iter().map(|file| file.path).collect()).await.unwrap();
    assert_eq!(files_below(lab.store.local_root().unwrap()), Vec::<PathBuf>::new());
    // The bytes of an object that is on its way are not leftovers.
    lab.put(PATH, Standard).await;
    let dying = lab.store.decorated(|inner| FaultStore::over(inner, Plan::new(Fault::Death, 2)));
    dying.classes().change_class(PATH, Glacier).await.unwrap_err();
    assert_eq!(lab.store.temporary_files().await.unwrap(), []);
}

#[tokio::test]
async fn another_process_sees_the_same_classes() {
    let lab = Lab::local().await;
    lab.put(PATH, DeepArchive).await;
    lab.store.classes().restore(PATH, 1, Retrieval::Standard).await.unwrap();
    let time = ClassTime { clock: Clock::Fixed(hour(13)), speed: 1.0 };
    let other = Store::open(lab.store.location(), time).await.unwrap();
    assert_eq!(read(&other, PATH).await.as_deref(), Some(BODY));
    assert!(other.classes().is_simulated());
}

#[tokio::test]
async fn rules_are_kept_and_those_of_others_left_alone() {
    for lab in Lab::each().await {
        let classes = lab.store.classes();
        assert_eq!(classes.rules().await.unwrap(), []);
        let rule = |id: &str| BucketRule { id: id.into(), prefix: "x/".into(), ..BucketRule::default() };
        assert_eq!(classes.put_rules(&[rule("foreign")]).await.unwrap_err().kind(), Kind::Usage);
        classes.put_rules(&[rule("tier-a"), rule("tier-b")]).await.unwrap();
        classes.put_rules(&[rule("tier-c")]).await.unwrap();
        assert_eq!(classes.rules().await.unwrap(), [rule("tier-c")]);
        assert_eq!(listed(&lab.store, "").await, Vec::<String>::new());
        assert_eq!(classes.lock("x").await.unwrap(), Default::default());
        assert_eq!(classes.bucket().await.unwrap(), Default::default());
    }
}

#[tokio::test]
async fn reading_what_lies_at_its_path_is_one_request_below() {
    let lab = Lab::memory();
    for (path, class) in [("s", Standard), ("ia", StandardIa), ("ir", GlacierIr), ("d", DeepArchive)] {
        lab.put(path, class).await;
    }
    let plan = Plan::new(Fault::Before, u64::MAX);
    let counted = lab.store.decorated(|inner| FaultStore::over(inner, plan.clone()));
    for path in ["s", "ia", "ir"] {
        counted.get(path).await.unwrap();
        counted.stat(path).await.unwrap();
    }
    assert_eq!(plan.reads(), 6);
    counted.get("d").await.unwrap_err();
    assert_eq!(plan.reads(), 8, "the record is looked for only then");
}
