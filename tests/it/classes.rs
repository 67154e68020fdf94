//! One suite of the promises about storage classes, for every kind of store that keeps them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tier::error::Kind;
use tier::model::{ObjectState, RestoreState, Retrieval, StorageClass};
use tier::store::{BucketRule, RestoreOutcome, Store};

use crate::support::glacier::GlacierServer;
use crate::support::temp_file;
use crate::support::tier::sample_data;

/// A store whose storage classes live in a time that the test moves.
pub trait Stage {
    /// The store as it is now; asked for again after every move.
    async fn store(&self) -> Store;
    fn now(&self) -> Timestamp;
    fn advance(&mut self, by: SignedDuration);
}

impl Stage for GlacierServer {
    async fn store(&self) -> Store {
        GlacierServer::store(self).await
    }

    fn now(&self) -> Timestamp {
        GlacierServer::now(self)
    }

    fn advance(&mut self, by: SignedDuration) {
        GlacierServer::advance(self, by);
    }
}

async fn look(stage: &impl Stage, path: &str) -> ObjectState {
    stage.store().await.classes().look(path).await.unwrap().unwrap_or_else(|| panic!("{path} is not there"))
}

/// The object's restore, which HEAD and LIST must agree on, and whether it can be read, which GET must agree with.
async fn restore_of(stage: &impl Stage, path: &str) -> RestoreState {
    let store = stage.store().await;
    let head = look(stage, path).await;
    let folder = path.rsplit_once('/').unwrap().0;
    let listed = store.classes().list(folder).await.unwrap().into_iter().find(|object| object.path == path).unwrap();
    assert_eq!(
        (listed.restore, listed.storage_class, listed.size_bytes),
        (head.restore, head.storage_class, head.size_bytes)
    );
    assert_eq!(store.get(path).await.is_ok(), head.is_readable(stage.now()), "{head:?} at {}", stage.now());
    head.restore
}

async fn restore(stage: &impl Stage, path: &str, days: u32, retrieval: Retrieval) -> RestoreOutcome {
    stage.store().await.classes().restore(path, days, retrieval).await.unwrap()
}

async fn put(stage: &impl Stage, path: &str, class: StorageClass) {
    stage.store().await.classes().put_file(path, &temp_file("0123456789"), class, &[]).await.unwrap();
}

async fn a_file_is_put_into_each_class(stage: &impl Stage) {
    let store = stage.store().await;
    let mut expected = BTreeMap::new();
    for class in StorageClass::ALL {
        let path = format!("_bundles/month=2026-08/{class}.parquet");
        let tags = [("tier".to_owned(), "a b+c=@".to_owned())];
        let state = store.classes().put_file(&path, &temp_file("0123456789"), class, &tags).await.unwrap();
        assert_eq!((&*state.path, state.size_bytes, state.storage_class), (&*path, 10, class));
        assert_eq!(restore_of(stage, &path).await, RestoreState::None);
        expected.insert(path, class);
    }
    let listed = store.classes().list("_bundles").await.unwrap();
    assert_eq!(
        listed.into_iter().map(|object| (object.path, object.storage_class)).collect::<BTreeMap<_, _>>(),
        expected
    );
    assert_eq!(store.classes().list("_bundle").await.unwrap(), []);
    assert_eq!(store.classes().look("_bundles/none").await.unwrap(), None);
}

/// Larger than an upload in one piece, and not a multiple of a part; and the smallest there is.
async fn a_file_of_any_size_arrives_whole(stage: &impl Stage) {
    for size in [0, (33 << 20) + 7] {
        let store = stage.store().await;
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at % 251) as u8).collect();
        let put = store.classes().put_file("s/x", &temp_file(&bytes), StorageClass::GlacierIr, &[]).await.unwrap();
        assert_eq!((put.size_bytes, put.storage_class), (size as u64, StorageClass::GlacierIr));
        assert!(store.get("s/x").await.unwrap() == bytes, "{size} bytes differ");
    }
}

async fn a_restore_runs_is_readable_is_extended_and_expires(stage: &mut impl Stage) {
    let path = "r/deep";
    put(stage, path, StorageClass::DeepArchive).await;
    assert_eq!(restore(stage, path, 2, Retrieval::Standard).await, RestoreOutcome::Started);
    assert_eq!(restore_of(stage, path).await, RestoreState::Running);
    assert_eq!(restore(stage, path, 2, Retrieval::Standard).await, RestoreOutcome::AlreadyRunning);
    stage.advance(SignedDuration::from_hours(11));
    assert_eq!(restore_of(stage, path).await, RestoreState::Running);
    stage.advance(SignedDuration::from_hours(2));
    let RestoreState::Restored { until } = restore_of(stage, path).await else { panic!("not restored in 13 hours") };
    assert!(until > stage.now() + SignedDuration::from_hours(36), "{until}");
    assert_eq!(restore(stage, path, 10, Retrieval::Standard).await, RestoreOutcome::Extended);
    let RestoreState::Restored { until: later } = restore_of(stage, path).await else { panic!("not restored") };
    assert!(later > until + SignedDuration::from_hours(24 * 7), "{until} {later}");
    stage.advance(later.duration_since(stage.now()));
    assert_eq!(restore_of(stage, path).await, RestoreState::None);
    assert_eq!(look(stage, path).await.storage_class, StorageClass::DeepArchive);
    assert_eq!(restore(stage, path, 1, Retrieval::Bulk).await, RestoreOutcome::Started);
}

async fn a_running_restore_can_be_made_faster_only(stage: &mut impl Stage) {
    let path = "r/flexible";
    put(stage, path, StorageClass::Glacier).await;
    assert_eq!(restore(stage, path, 1, Retrieval::Bulk).await, RestoreOutcome::Started);
    assert_eq!(restore(stage, path, 1, Retrieval::Standard).await, RestoreOutcome::Started);
    assert_eq!(restore(stage, path, 1, Retrieval::Bulk).await, RestoreOutcome::AlreadyRunning);
    assert_eq!(restore(stage, path, 1, Retrieval::Expedited).await, RestoreOutcome::Started);
    stage.advance(SignedDuration::from_mins(6));
    assert!(matches!(restore_of(stage, path).await, RestoreState::Restored { .. }));
}

async fn what_needs_no_restore_gets_none(stage: &impl Stage) {
    put(stage, "n/x", StorageClass::StandardIa).await;
    assert_eq!(restore(stage, "n/x", 1, Retrieval::Bulk).await, RestoreOutcome::NotArchived);
    let store = stage.store().await;
    let missing = store.classes().restore("n/none", 1, Retrieval::Bulk).await.unwrap_err();
    assert_eq!(missing.stable_code(), "missing-object", "{missing:?}");
}

async fn a_class_is_changed_where_the_object_lies(stage: &mut impl Stage) {
    let path = "c/tenant_id=a%2Fb c/x";
    put(stage, path, StorageClass::Standard).await;
    for class in [StorageClass::GlacierIr, StorageClass::GlacierIr, StorageClass::Glacier] {
        let state = stage.store().await.classes().change_class(path, class).await.unwrap();
        assert_eq!((state.storage_class, state.size_bytes), (class, 10));
    }
    let store = stage.store().await;
    let archived = store.classes().change_class(path, StorageClass::Standard).await.unwrap_err();
    assert_eq!(archived.stable_code(), "archived", "{archived:?}");
    assert_eq!(restore(stage, path, 1, Retrieval::Expedited).await, RestoreOutcome::Started);
    stage.advance(SignedDuration::from_mins(6));
    let back = stage.store().await.classes().change_class(path, StorageClass::Standard).await.unwrap();
    assert_eq!((back.storage_class, back.restore), (StorageClass::Standard, RestoreState::None));
    assert_eq!(stage.store().await.get(path).await.unwrap(), "0123456789");
}

async fn deleted_objects_are_gone_whatever_their_class(stage: &impl Stage) {
    for (name, class) in
        [("d/1", StorageClass::DeepArchive), ("d/2", StorageClass::Standard), ("d/22", StorageClass::Glacier)]
    {
        put(stage, name, class).await;
    }
    let store = stage.store().await;
    for _ in 0..2 {
        let paths = ["d/1", "d/2", "d/never"].map(str::to_owned);
        store.classes().delete_all_versions(&paths).await.unwrap();
        let left: Vec<String> = store.classes().list("d").await.unwrap().into_iter().map(|o| o.path).collect();
        assert_eq!(left, ["d/22"]);
    }
    store.classes().delete_all_versions(&[]).await.unwrap();
}

/// Time is moved forward only; each promise uses objects of its own.
pub async fn keeps_its_promises(mut stage: impl Stage) {
    a_file_is_put_into_each_class(&stage).await;
    a_file_of_any_size_arrives_whole(&stage).await;
    a_restore_runs_is_readable_is_extended_and_expires(&mut stage).await;
    a_running_restore_can_be_made_faster_only(&mut stage).await;
    what_needs_no_restore_gets_none(&stage).await;
    a_class_is_changed_where_the_object_lies(&mut stage).await;
    deleted_objects_are_gone_whatever_their_class(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn glacier_classes_keep_their_promises() {
    keeps_its_promises(GlacierServer::start()).await;
}

fn rule(id: &str, class: StorageClass) -> BucketRule {
    let transitions = vec![(30, class)];
    BucketRule { id: id.into(), enabled: true, prefix: "a/b/_bundles/".into(), transitions, ..BucketRule::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_rules_are_replaced_and_foreign_ones_kept() {
    let server = GlacierServer::start();
    let store = server.store().await;
    let classes = store.classes();
    assert_eq!(classes.rules().await.unwrap(), []);
    let minimum = s3s::dto::TransitionDefaultMinimumObjectSize::from_static(
        s3s::dto::TransitionDefaultMinimumObjectSize::VARIES_BY_STORAGE_CLASS,
    );
    let foreign = s3s::dto::LifecycleRule {
        id: Some("logs".to_owned()),
        status: s3s::dto::ExpirationStatus::from_static(s3s::dto::ExpirationStatus::ENABLED),
        filter: Some(s3s::dto::LifecycleRuleFilter { prefix: Some("logs/".to_owned()), ..Default::default() }),
        transitions: Some(vec![s3s::dto::Transition {
            days: Some(30),
            storage_class: Some("INTELLIGENT_TIERING".to_owned().into()),
            ..Default::default()
        }]),
        abort_incomplete_multipart_upload: None,
        expiration: None,
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
    };
    let document = s3s::dto::BucketLifecycleConfiguration { rules: vec![foreign.clone()] };
    (server.bucket().rules, server.bucket().smallest_moved) = (Some(document), Some(minimum.clone()));
    classes.put_rules(&[rule("tier-1", StorageClass::Glacier), rule("tier-2", StorageClass::GlacierIr)]).await.unwrap();
    classes.put_rules(&[rule("tier-2", StorageClass::DeepArchive)]).await.unwrap();
    let rules = classes.rules().await.unwrap();
    assert_eq!(rules.iter().map(|rule| &*rule.id).collect::<Vec<_>>(), ["logs", "tier-2"]);
    assert_eq!(rules[0].other_actions, ["move to INTELLIGENT_TIERING"]);
    assert_eq!(rules[1], rule("tier-2", StorageClass::DeepArchive));
    let kept = server.bucket().rules.as_ref().unwrap().rules[0].clone();
    assert_eq!((kept, server.bucket().smallest_moved.clone()), (foreign, Some(minimum)));
    let many: Vec<_> = (0..1_000).map(|n| rule(&format!("tier-{n}"), StorageClass::Glacier)).collect();
    let error = classes.put_rules(&many).await.unwrap_err();
    assert_eq!((error.kind(), error.stable_code()), (Kind::Usage, "too-many-rules"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_versioned_bucket_every_version_is_deleted_unless_it_is_held() {
    let server = GlacierServer::start();
    server.bucket().versioned = true;
    let store = server.store().await;
    assert!(store.classes().bucket().await.unwrap().versioned);
    for _ in 0..3 {
        put(&server, "v/x", StorageClass::DeepArchive).await;
    }
    put(&server, "v/xy", StorageClass::DeepArchive).await;
    store.delete(vec!["v/x".to_owned()]).await.unwrap();
    assert_eq!(server.bucket().objects["a/b/v/x"].len(), 4);
    store.classes().delete_all_versions(&["v/x".to_owned()]).await.unwrap();
    assert_eq!(server.bucket().objects.keys().collect::<Vec<_>>(), ["a/b/v/xy"]);
    assert!(!store.classes().lock("v/xy").await.unwrap().legal_hold);
    server.bucket().objects.get_mut("a/b/v/xy").unwrap()[0].legal_hold = true;
    assert!(store.classes().lock("v/xy").await.unwrap().legal_hold);
    let held = store.classes().delete_all_versions(&["v/xy".to_owned()]).await.unwrap_err();
    assert_eq!(held.stable_code(), "object-locked", "{held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_store_is_asked_again_but_missing_capacity_is_said_at_once() {
    let server = GlacierServer::start();
    put(&server, "b/x", StorageClass::Glacier).await;
    server.bucket().faults = 3;
    assert_eq!(restore(&server, "b/x", 1, Retrieval::Bulk).await, RestoreOutcome::Started);
    server.bucket().has_expedited_capacity = false;
    server.bucket().log.clear();
    assert_eq!(restore(&server, "b/x", 1, Retrieval::Expedited).await, RestoreOutcome::NoCapacity);
    let restores =
        server.bucket().log.iter().filter(|line| line.starts_with("POST") && line.contains("restore")).count();
    assert_eq!(restores, 1, "{:?}", server.bucket().log);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_class_and_a_missing_bucket_are_named() {
    let server = GlacierServer::start();
    put(&server, "u/x", StorageClass::Standard).await;
    server.bucket().objects.get_mut("a/b/u/x").unwrap()[0].class = "INTELLIGENT_TIERING".to_owned();
    let store = server.store().await;
    for error in [store.classes().look("u/x").await.unwrap_err(), store.classes().list("u").await.unwrap_err()] {
        assert_eq!(error.stable_code(), "unknown-class");
        assert!(error.to_string().contains("a/b/u/x is in the storage class INTELLIGENT_TIERING"), "{error}");
    }
    let other = Store::open_s3_at(server.endpoint(), "nothing", "", "glacier", "glaciersecret").await.unwrap();
    assert_eq!(other.classes().list("x").await.unwrap_err().stable_code(), "no-such-bucket");
    let wrong = Store::open_s3_at(server.endpoint(), "archive", "", "glacier", "wrong").await.unwrap();
    assert_eq!(wrong.classes().list("x").await.unwrap_err().stable_code(), "bad-credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_archives_into_the_bucket_of_glacier_classes() {
    let server = GlacierServer::start();
    let tier = server.tier();
    let report = tier.json(&["archive", &sample_data(), "--archive", &server.address()]);
    assert_eq!(report["accepted"], 1_500);
    let counted = tier.ok(&["query", "SELECT count(*) AS n FROM events", "--archive", &server.address()]);
    assert_eq!(counted.stdout, "n\n1500\n");
}

/// A thousand archived objects cost one LIST and no HEAD where the server lists restores.
#[tokio::test(flavor = "multi_thread")]
async fn states_of_many_objects_cost_one_list() {
    let server = GlacierServer::start();
    for n in 0..3 {
        put(&server, &format!("m/{n}"), StorageClass::DeepArchive).await;
    }
    restore(&server, "m/1", 1, Retrieval::Bulk).await;
    let store = server.store().await;
    let before = store.requests();
    let states = store.classes().list("m").await.unwrap();
    assert_eq!(states.iter().filter(|state| state.restore == RestoreState::Running).count(), 1);
    let cost = store.requests().since(&before);
    assert_eq!((cost.list, cost.head, cost.get), (1, 0, 0), "{cost:?}");
}
