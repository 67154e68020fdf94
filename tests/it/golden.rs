//! The stored formats, pinned: what archives of all formats hold must be readable for ever, and what is written today must
//! be the newest of them.
//!
//! `TIER_WRITE_GOLDEN=1` writes the files anew; do it only together with a new format version.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use tier::catalog::{Change, DeadLetterFile, FileAudit, NewFile, NewSeal, Operation, Outcome, Snapshot, Stub, commit};
use tier::clock::{Clock, Random};
use tier::context::Context;
use tier::data::pack::{self, CellRows, PackBuilder, Packed};
use tier::model::{
    ColumnType, DataFile, ExportEntry, ExportStamp, Hold, HotRead, KeyRange, Mapping, PackRef, Reason, Schema,
    StorageClass,
};
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
            tenants: KeyRange::one(tenant).to_text(),
            event_types: KeyRange::one("login").to_text(),
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

/// A third version: a bundle takes the place of a cell, a hold is in force, and the first version has expired.
async fn write_classes(ctx: &Context) -> Snapshot {
    let before = write_archive(ctx).await;
    let layout = Layout::for_run(2, &ctx.random.id());
    let gone = before.live_files(|_| true).await.unwrap().remove(0);
    let mut operation = Operation::new("replace", 2);
    operation.plan = Some("12".repeat(32));
    let mut change = Change::new(operation);
    let mut bundle = file(&layout, 0, &gone.file.tenants.min, gone.file.rows);
    bundle.file.path = layout.bundle("2026-08-01".parse().unwrap(), 0, 0);
    bundle.file.storage_class = StorageClass::DeepArchive;
    bundle.file.class_since = Some(NOW.parse().unwrap());
    let cell =
        CellRows { cell: gone.file.partition().unwrap(), first_row: 0, rows: gone.file.rows, ts: gone.file.ts.clone() };
    let mut pack = PackBuilder::new(layout.pack(0));
    let packed = Packed { cells: vec![cell], footer: Bytes::from_static(b"footer"), replaces: Vec::new() };
    bundle.file.pack = Some(pack.add(&packed).unwrap());
    pack.write(&ctx.store).await.unwrap();
    change.add = vec![bundle];
    change.remove = vec![gone];
    change.add_holds = vec![Hold {
        id: "h-17".into(),
        tenants: vec!["名前".into()],
        event_types: Vec::new(),
        from: None,
        to: Some("2026-08-31".parse().unwrap()),
        reason: "case 17".into(),
        since: NOW.parse().unwrap(),
    }];
    let newest = committed(commit(ctx, Some(&before), &layout, change).await.unwrap());
    let first = Snapshot::at_version(&ctx.store, 1).await.unwrap();
    ctx.store.put(&Layout::root(1), Stub::of(&first.root().document).encode().unwrap()).await.unwrap();
    newest
}

/// A third version that seals dates: two by hand, of which one may be incomplete, and one that was read from the hot tier.
async fn write_seals(ctx: &Context) -> Snapshot {
    let before = write_archive(ctx).await;
    let mut change = Change::new(Operation::new("seal", 2));
    let read = HotRead { at: NOW.parse().unwrap(), rows: 12, is_mirror: true };
    for (date, incomplete, read) in
        [("2026-08-22", true, None), ("2026-08-23", false, None), ("2026-08-24", false, Some(read))]
    {
        change.seals.insert(date.parse().unwrap(), NewSeal { incomplete, read });
    }
    let layout = Layout::for_run(2, &ctx.random.id());
    committed(commit(ctx, Some(&before), &layout, change).await.unwrap())
}

fn committed(outcome: Outcome) -> Snapshot {
    match outcome {
        Outcome::Committed(snapshot) => snapshot,
        Outcome::Conflict(why) => panic!("a conflict without a rival: {why}"),
    }
}

/// As the first tier wrote it, without anything of storage classes.
const FIRST: &str = "v1";
/// With storage classes, and with seals; of each format, the last one as today's tier writes it.
const CLASSES: [&str; 4] = ["v1-classes", "v2-classes", "v3-classes", "v4-classes"];
const SEALS: [&str; 4] = ["v1-seals", "v2-seals", "v3-seals", "v4-seals"];

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
async fn archives_of_every_format_read_as_they_were_written() {
    reads_as_it_was_written(FIRST, async |ctx| write_archive(ctx).await).await;
    for (classes, seals) in CLASSES.into_iter().zip(SEALS) {
        reads_as_it_was_written(seals, async |ctx| write_seals(ctx).await).await;
        let store = reads_as_it_was_written(classes, async |ctx| write_classes(ctx).await).await;
        let expired = Snapshot::at_version(&store, 1).await.expect_err("it has expired");
        assert_eq!(expired.stable_code(), "expired-version");
    }
}

async fn reads_as_it_was_written(name: &str, write: impl AsyncFn(&Context) -> Snapshot) -> Store {
    let store = Store::open(&golden(name).to_string_lossy().parse().unwrap(), ClassTime::default()).await.unwrap();
    let golden = Snapshot::open(&store).await.unwrap();
    let ctx = context(Store::memory());
    let today = write(&ctx).await;
    let mut expected = today.root().clone();
    // The bytes of a parent may differ with the version of the Parquet library; what they mean may not.
    expected.document.parent_sha256.clone_from(&golden.root().document.parent_sha256);
    expected.document.format_version = golden.root().document.format_version;
    let mut leaves = expected.leaves.to_vec();
    for (ours, theirs) in leaves.iter_mut().zip(&golden.root().leaves) {
        ours.sha256.clone_from(&theirs.sha256);
        ours.leaf_bytes = theirs.leaf_bytes;
    }
    expected.leaves = leaves.into();
    assert_eq!(golden.root(), &expected);
    let (theirs, ours) = (golden.files(|_| true).await.unwrap(), today.files(|_| true).await.unwrap());
    let plain = |files: &[DataFile]| files.iter().map(without_sizes_in_packs).collect::<Vec<_>>();
    assert_eq!(plain(&theirs), plain(&ours));
    let mut bundles = 0;
    for (theirs, ours) in theirs.into_iter().zip(ours).filter(|(file, _)| file.is_bundle()) {
        let theirs = pack::read(&store, &[theirs]).await.unwrap().remove(0).expect("a bundle has a pack");
        let ours = pack::read(&ctx.store, &[ours]).await.unwrap().remove(0).expect("a bundle has a pack");
        assert_eq!((theirs.cells, theirs.footer), (ours.cells, ours.footer));
        bundles += 1;
    }
    assert_eq!(bundles, usize::from(CLASSES.contains(&name)));
    store
}

/// What a pack holds has no bytes of its own to keep: how they are encoded is free.
fn without_sizes_in_packs(file: &DataFile) -> DataFile {
    let pack = file.pack.clone().map(|pack| PackRef { offset: 0, cells_bytes: 0, footer_bytes: 0, ..pack });
    DataFile { pack, ..file.clone() }
}

#[tokio::test]
async fn todays_catalog_files_have_the_golden_columns_and_documents() {
    is_written_as_it_was(CLASSES[3], async |ctx| write_classes(ctx).await).await;
    is_written_as_it_was(SEALS[3], async |ctx| write_seals(ctx).await).await;
}

async fn is_written_as_it_was(name: &str, write: impl AsyncFn(&Context) -> Snapshot) {
    let ctx = context(Store::memory());
    write(&ctx).await;
    let today = objects(&ctx.store).await;
    if std::env::var_os("TIER_WRITE_GOLDEN").is_some() {
        for (path, bytes) in &today {
            let path = golden(name).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let store = Store::open(&golden(name).to_string_lossy().parse().unwrap(), ClassTime::default()).await.unwrap();
    let golden = objects(&store).await;
    let names = |objects: &[(String, Bytes)]| objects.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&today), names(&golden));
    for ((path, today), (_, golden)) in today.into_iter().zip(golden) {
        if path.ends_with(".parquet") {
            let ((ours, our_texts), (theirs, their_texts)) = (contents(today), contents(golden));
            assert_eq!(ours.schema(), theirs.schema(), "{path}");
            assert_eq!(our_texts, their_texts, "{path}");
            assert_eq!(without_digests(&ours), without_digests(&theirs), "{path}");
        } else if !path.ends_with(".pack") {
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
    let schema = builder.schema().clone();
    // A stub has no rows, and no columns to join.
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let empty = || batches.first().cloned().unwrap_or_else(|| RecordBatch::new_empty(schema.clone()));
    (arrow::compute::concat_batches(&schema, &batches).unwrap_or_else(|_| empty()), texts)
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
    let of_bytes = ["sha256", "leaf_bytes", "pack_offset", "pack_cells_bytes", "pack_footer_bytes"];
    let keep: Vec<usize> = (0..batch.num_columns())
        .filter(|&column| !of_bytes.contains(&batch.schema().field(column).name().as_str()))
        .collect();
    batch.project(&keep).unwrap()
}
