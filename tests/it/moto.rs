//! The classes of S3 against moto, an independent imitation: what it refuses, and how.

use tier::model::{RestoreState, Retrieval, StorageClass};
use tier::store::{BucketRule, RestoreOutcome, Store};

use crate::support::moto::{self, request};
use crate::support::server::Server;
use crate::support::temp_file;

pub const BUCKET: &str = "archive";

pub fn start() -> Server {
    let server = moto::start();
    request(&server, "s3", "PUT", &format!("/{BUCKET}"), "");
    // A restore passes through "running", as it does on AWS.
    let slow = r#"{"model_name": "s3::keyrestore", "transition": {"progression": "manual", "times": 2}}"#;
    request(&server, "s3", "POST", "/moto-api/state-manager/set-transition", slow);
    server
}

async fn store(server: &Server) -> Store {
    Store::open_s3_at(&server.endpoint(), BUCKET, "a", "test", "test").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_object_is_refused_until_it_is_restored() {
    let server = start();
    let store = store(&server).await;
    let classes = store.classes();
    let file = temp_file("0123456789");
    let tags = [("k".to_owned(), "a b+c=@".to_owned())];
    for class in StorageClass::ALL {
        let path = format!("c/{class}");
        let put = classes.put_file(&path, &file, class, &tags).await.unwrap();
        assert_eq!((put.storage_class, put.size_bytes, put.restore), (class, 10, RestoreState::None));
        assert_eq!(store.get(&path).await.is_err(), class.is_archived(), "{class}");
    }
    let listed = classes.list("c").await.unwrap();
    assert_eq!(
        listed.iter().map(|object| object.storage_class.as_str()).collect::<Vec<_>>(),
        ["DEEP_ARCHIVE", "GLACIER", "GLACIER_IR", "STANDARD", "STANDARD_IA"]
    );
    let path = "c/DEEP_ARCHIVE";
    let refused = classes.change_class(path, StorageClass::Standard).await.unwrap_err();
    assert_eq!(refused.stable_code(), "archived", "{refused:?}");
    assert_eq!(classes.restore("c/STANDARD", 1, Retrieval::Bulk).await.unwrap(), RestoreOutcome::NotArchived);
    assert_eq!(classes.restore(path, 2, Retrieval::Bulk).await.unwrap(), RestoreOutcome::Started);
    // moto moves a restore on each time that the object is asked for.
    let mut seen = Vec::new();
    for _ in 0..10 {
        let state = classes.look(path).await.unwrap().unwrap();
        seen.push(state.restore);
        if matches!(state.restore, RestoreState::Restored { .. }) {
            break;
        }
    }
    assert!(matches!(seen.last(), Some(RestoreState::Restored { .. })), "{seen:?}");
    assert_eq!(store.get(path).await.unwrap(), "0123456789");
    assert_eq!(classes.restore(path, 5, Retrieval::Bulk).await.unwrap(), RestoreOutcome::Extended);
    let moved = classes.change_class("c/STANDARD", StorageClass::GlacierIr).await.unwrap();
    assert_eq!(moved.storage_class, StorageClass::GlacierIr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_arrives_in_parts_and_rules_come_back() {
    let server = start();
    let store = store(&server).await;
    let classes = store.classes();
    let bytes: Vec<u8> = (0..(33 << 20) + 7).map(|at: usize| (at % 251) as u8).collect();
    let put = classes.put_file("large", &temp_file(&bytes), StorageClass::GlacierIr, &[]).await.unwrap();
    assert_eq!((put.size_bytes, put.storage_class), (bytes.len() as u64, StorageClass::GlacierIr));
    assert!(store.get("large").await.unwrap() == bytes);
    assert_eq!(classes.rules().await.unwrap(), []);
    let rule = BucketRule {
        id: "tier-deep".to_owned(),
        enabled: true,
        prefix: "a/_bundles/".to_owned(),
        tags: vec![("tier".to_owned(), "deep".to_owned())],
        transitions: vec![(365, StorageClass::DeepArchive)],
        ..BucketRule::default()
    };
    classes.put_rules(std::slice::from_ref(&rule)).await.unwrap();
    assert_eq!(classes.rules().await.unwrap(), [rule]);
    classes.put_rules(&[]).await.unwrap();
    assert_eq!(classes.rules().await.unwrap(), []);
    // moto names the document of GetBucketVersioning as no S3 does: an answer that is not understood is an error, or
    // versions could stay behind a delete.
    assert!(classes.bucket().await.is_err() && classes.delete_all_versions(&["large".to_owned()]).await.is_err());
}
