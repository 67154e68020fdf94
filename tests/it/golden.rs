//! The stored formats, pinned: what an archive of format 1 holds must be readable for ever, and what is written today
//! must be what was written then.
//!
//! `TIER_WRITE_GOLDEN=1` writes the files anew; do it only together with a new format version.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use tier::catalog::{Change, DeadLetterFile, FileAudit, NewFile, Operation, Outcome, Snapshot, commit};
use tier::clock::{Clock, Random};
use tier::context::Context;
use tier::model::{ColumnType, DataFile, ExportEntry, ExportStamp, KeyRange, Mapping, Reason, Schema, StorageClass};
use tier::progress::{Silent, Stop};
use tier::store::{ClassTime, Layout, Store};

const NOW: &str = "2026-08-25T02:30:00Z";

fn context(store: Store) -> Context {
    Context {
        store,
        clock: Clock::Fixed(NOW.parse().unwrap()),
        random: Arc::new(Random::seeded(1)),
        progress: Arc::new(Silent),
        stop: Stop::default(),
    }
}

fn file(layout: &Layout, number: usize, tenant: &str, rows: u64) -> NewFile {
    let date = "2026-08-24".parse().unwrap();
    let cell = tier::model::Partition {
        tenant_id: tier::model::Key::parse(tenant).unwrap(),
        event_type: tier::model::Key::parse("login").unwrap(),
        date,
    };
    NewFile {
        file: DataFile {
            path: layout.data_file(&cell, number),
            tenants: KeyRange::one(tenant.to_owned()),
            event_types: KeyRange::one("login".to_owned()),
            dates: KeyRange::one(date),
            ts: KeyRange { min: 1_787_529_600_000_000, max: 1_787_529_600_000_000 + rows as i64 },
            rows,
            size_bytes: rows * 30,
            footer_bytes: 1234,
            schema_id: 1,
            storage_class: StorageClass::Standard,
            class_since: None,
            pack: None,
        },
        audit: FileAudit { sha256: "ab".repeat(32), min_event_id: "a".into(), max_event_id: "z".into() },
    }
}

/// An archive of two versions that uses every part of the format.
async fn write_archive(ctx: &Context) -> Snapshot {
    let layout = Layout::for_run(0, &ctx.random.id());
    let mut schema = Schema::default();
    schema.add("userId", ColumnType::Varchar).unwrap();
    schema.add("price", ColumnType::Double).unwrap();
    let mut operation = Operation::new("append", 0);
    (operation.read, operation.accepted, operation.dead_letter, operation.files) = (13, 12, 1, 2);
    let mut change = Change::new(operation);
    change.add = vec![file(&layout, 0, "名前", 5), file(&layout, 1, "acme", 7)];
    change.relies_on = change.add.iter().filter_map(|new| new.file.partition()).collect::<HashSet<_>>();
    change.schema = Some(schema);
    change.mapping = Some(Mapping::default());
    change.exports = vec![ExportEntry {
        digest: "cd".repeat(32),
        mapping: Mapping::default().digest(),
        stamp: ExportStamp { path: "/exports/day.ndjson".into(), size_bytes: 99, version: "1787616000000000".into() },
        archived_at: NOW.parse().unwrap(),
        version: 0,
        read: 13,
        accepted: 12,
        duplicate: 0,
        dead_letter: 1,
    }];
    change.dead_letters = vec![DeadLetterFile {
        path: layout.dead_letters(0),
        reason: Reason::Syntax,
        records: 1,
        sha256: "ef".repeat(32),
        version: 0,
        time: NOW.parse().unwrap(),
    }];
    let first = committed(commit(ctx, None, &layout, change).await.unwrap());
    let layout = Layout::for_run(1, &ctx.random.id());
    let mut change = Change::new(Operation::new("vacuum", 1));
    change.gc_floor = Some(1);
    committed(commit(ctx, Some(&first), &layout, change).await.unwrap())
}

fn committed(outcome: Outcome) -> Snapshot {
    match outcome {
        Outcome::Committed(snapshot) => snapshot,
        Outcome::Conflict(why) => panic!("a conflict without a rival: {why}"),
    }
}

/// Catalogs as earlier and today's tier wrote them; the newest is last.
const GOLDEN: [&str; 2] = ["v1", "v1-classes"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Every object of the catalog, sorted by path.
async fn objects(store: &Store) -> Vec<(String, Bytes)> {
    let mut all = Vec::new();
    for listed in store.list("_tier", None).await.unwrap() {
        all.push((listed.path.clone(), store.get(&listed.path).await.unwrap()));
    }
    all.sort();
    all
}

#[tokio::test]
async fn an_archive_of_format_1_reads_as_it_was_written() {
    for name in GOLDEN {
        reads_as_it_was_written(name).await;
    }
}

async fn reads_as_it_was_written(name: &str) {
    let store = Store::open(&golden(name).to_string_lossy().parse().unwrap(), ClassTime::default()).await.unwrap();
    let golden = Snapshot::open(&store).await.unwrap();
    let ctx = context(Store::memory());
    let today = write_archive(&ctx).await;
    let mut expected = today.root().clone();
    // The bytes of a parent may differ with the version of the Parquet library; what they mean may not.
    expected.document.parent_sha256.clone_from(&golden.root().document.parent_sha256);
    for (ours, theirs) in expected.leaves.iter_mut().zip(&golden.root().leaves) {
        ours.sha256.clone_from(&theirs.sha256);
        ours.leaf_bytes = theirs.leaf_bytes;
    }
    assert_eq!(golden.root(), &expected);
    assert_eq!(golden.files(|_| true).await.unwrap(), today.files(|_| true).await.unwrap());
}

#[tokio::test]
async fn todays_catalog_files_have_the_golden_columns_and_documents() {
    let ctx = context(Store::memory());
    write_archive(&ctx).await;
    let today = objects(&ctx.store).await;
    if std::env::var_os("TIER_WRITE_GOLDEN").is_some() {
        for (path, bytes) in &today {
            let path = golden(GOLDEN[1]).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let store = Store::open(&golden(GOLDEN[1]).to_string_lossy().parse().unwrap(), ClassTime::default()).await.unwrap();
    let golden = objects(&store).await;
    let names = |objects: &[(String, Bytes)]| objects.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&today), names(&golden));
    for ((path, today), (_, golden)) in today.into_iter().zip(golden) {
        if path.ends_with(".parquet") {
            let ((ours, our_texts), (theirs, their_texts)) = (contents(today), contents(golden));
            assert_eq!(ours.schema(), theirs.schema(), "{path}");
            assert_eq!(our_texts, their_texts, "{path}");
            assert_eq!(without_digests(&ours), without_digests(&theirs), "{path}");
        } else {
            assert_eq!(today, golden, "{path}");
        }
    }
}

/// The rows, and the key-value metadata that is ours.
fn contents(bytes: Bytes) -> (RecordBatch, Vec<(String, String)>) {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
    let pairs = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let ours = pairs.into_iter().filter(|pair| pair.key.starts_with("tier."));
    let texts = ours.map(|pair| (pair.key, blank_digest(&pair.value.unwrap_or_default()))).collect();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    (arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap_or_else(|_| batches[0].clone()), texts)
}

/// A root's document names its parent's digest, which depends on the Parquet library's version.
fn blank_digest(document: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(document) {
        Ok(serde_json::Value::Object(mut fields)) => {
            if fields.get("parent_sha256").is_some_and(serde_json::Value::is_string) {
                fields.insert("parent_sha256".into(), "…".into());
            }
            serde_json::Value::Object(fields).to_string()
        }
        _ => document.to_owned(),
    }
}

fn without_digests(batch: &RecordBatch) -> RecordBatch {
    let keep: Vec<usize> = (0..batch.num_columns())
        .filter(|&column| !matches!(batch.schema().field(column).name().as_str(), "sha256" | "leaf_bytes"))
        .collect();
    batch.project(&keep).unwrap()
}
