//! An archive in memory and a folder of exports: write files, archive them, read back what the catalog says is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Date32Type;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use tier::archive::{
    self, AfterCommit, ArchiveReport, ArchiveRequest, DeadLetterLimit, ExportReport, MappingChoice, Replay,
};
use tier::catalog::{Root, Snapshot, Stub};
use tier::clock::{Clock, Random};
use tier::context::Context;
use tier::error::{Error, Result};
use tier::model::{DataFile, DeadLetter, date_of_days, sha256};
use tier::progress::{Silent, Stop};
use tier::store::{Layout, Store};

use super::events::NOW;

/// Each context gets randomness of its own: names must be fresh for every run.
static NEXT_SEED: AtomicU64 = AtomicU64::new(1_000);

/// A process of its own: other randomness, the same time.
pub fn context(store: Store) -> Context {
    Context {
        store,
        clock: Clock::Fixed(NOW.parse::<Timestamp>().unwrap()),
        random: Arc::new(Random::seeded(NEXT_SEED.fetch_add(1, Ordering::Relaxed))),
        progress: Arc::new(Silent),
        stop: Stop::default(),
    }
}

pub struct Lab {
    pub ctx: Context,
    pub folder: TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self::over(Store::memory())
    }

    pub fn over(store: Store) -> Self {
        Lab { ctx: context(store), folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What a run over these names in the folder would be asked for.
    pub fn request(&self, names: &[&str]) -> ArchiveRequest {
        request(names.iter().map(|name| self.path(name).to_string_lossy().into_owned()).collect())
    }

    pub async fn archive(&self, names: &[&str]) -> ArchiveReport {
        self.archive_with(names, |_| {}).await
    }

    pub async fn archive_with(&self, names: &[&str], change: impl FnOnce(&mut ArchiveRequest)) -> ArchiveReport {
        let mut request = self.request(names);
        change(&mut request);
        check_sums(archive::archive(&self.ctx, &request).await.unwrap_or_else(|error| panic!("{}", full(&error))))
    }

    pub async fn fail_with(&self, names: &[&str], change: impl FnOnce(&mut ArchiveRequest)) -> Error {
        let mut request = self.request(names);
        change(&mut request);
        archive::archive(&self.ctx, &request).await.map(|report| format!("{report:#?}")).expect_err("the run must fail")
    }

    pub async fn fail(&self, names: &[&str]) -> Error {
        self.fail_with(names, |_| {}).await
    }

    pub async fn replay(&self, change: impl FnOnce(&mut ArchiveRequest)) -> ArchiveReport {
        let mut request = request(Vec::new());
        change(&mut request);
        let report = archive::replay(&self.ctx, &request, Replay::default()).await;
        check_sums(report.unwrap_or_else(|error| panic!("{}", full(&error))))
    }

    pub async fn snapshot(&self) -> Snapshot {
        Snapshot::open(&self.ctx.store).await.unwrap()
    }

    pub async fn rows(&self) -> Vec<String> {
        rows(&self.ctx.store).await
    }

    pub async fn letters(&self) -> Vec<DeadLetter> {
        letters(&self.ctx.store).await
    }

    /// `reason line: raw` of every open dead letter, by file and line.
    pub async fn letters_in_short(&self) -> Vec<String> {
        let letters = self.letters().await;
        letters.iter().map(|letter| format!("{} {}: {}", letter.reason, letter.line, letter.raw)).collect()
    }

    /// Column names and types, without `event_id` and `ts`.
    pub async fn columns(&self) -> Vec<String> {
        let snapshot = self.snapshot().await;
        let columns = snapshot.schema().columns()[2..].iter();
        columns.map(|column| format!("{} {}", column.name, column.column_type)).collect()
    }

    /// Every object of the archive.
    pub async fn objects(&self) -> Vec<String> {
        objects(&self.ctx.store).await
    }
}

pub fn request(exports: Vec<String>) -> ArchiveRequest {
    ArchiveRequest {
        exports,
        format: None,
        mapping: MappingChoice::default(),
        null_tokens: Vec::new(),
        columns: Vec::new(),
        settle: Duration::ZERO,
        rehash: false,
        max_dead_letters: DeadLetterLimit::Default,
        after_commit: AfterCommit::Keep,
        accept_future: Duration::from_secs(24 * 3_600),
        memory_bytes: 512 << 20,
        threads: 4,
    }
}

/// `{"event_id":…,"event_type":"login","tenant_id":"acme","ts":…}` with more fields as JSON text.
pub fn line(id: &str, ts: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"event_id":"{id}","event_type":"login","tenant_id":"acme","ts":"{ts}"{comma}{more}}}"#)
}

/// Lines of noon of 2026-08-24 with these ids.
pub fn lines(ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().map(|id| line(&id.to_string(), "2026-08-24T12:00:00Z", "") + "\n").collect()
}

/// Tenants and types that a folder's name, a URI or a reader's guess of types may get wrong.
pub const ODD_NAMES: [&str; 16] = [
    "007",
    "a=b",
    "名前",
    "a b",
    "%2e",
    "..",
    "a:b",
    "é",
    "100%",
    "a'b",
    "a+b",
    "a&b",
    "1e3",
    "true",
    "2026-08-24",
    "null",
];

/// Of the first name one line, of the second two, and so on; the name is tenant and type. `more` of name and copy is what
/// else a line has.
pub fn lines_of_names(names: &[&str], more: impl Fn(&str, usize) -> String) -> String {
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        for copy in 0..=number {
            let row = line(&format!("{number}-{copy}"), "2026-08-24T12:00:00Z", &more(name, copy));
            text.push_str(&row.replace("\"acme\"", &format!("{name:?}")).replace("\"login\"", &format!("{name:?}")));
            text.push('\n');
        }
    }
    text
}

/// `read = accepted + duplicate + dead letter`, for each export and in sum.
pub fn check_sums(report: ArchiveReport) -> ArchiveReport {
    let parts = |export: &ExportReport| (export.read, export.accepted, export.duplicate, export.dead_letter);
    for export in &report.exports {
        assert_eq!(export.read, export.accepted + export.duplicate + export.dead_letter, "{export:?}");
    }
    let sums = report.exports.iter().map(parts).fold((0, 0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2, a.3 + b.3));
    assert_eq!(sums, (report.read, report.accepted, report.duplicate, report.dead_letter), "{report:#?}");
    report
}

/// Read, accepted, duplicate, dead letters.
pub fn counts(report: &ArchiveReport) -> (u64, u64, u64, u64) {
    (report.read, report.accepted, report.duplicate, report.dead_letter)
}

pub fn full(error: &Error) -> String {
    format!("{error}: {} (hint: {:?})", error.causes().join(": "), error.hint_text())
}

/// `date/type/tenant {"event_id":…}` of every event of the newest version, archived ones too, sorted; nulls are left
/// out.
pub async fn rows(store: &Store) -> Vec<String> {
    let Some(snapshot) = Snapshot::latest(store).await.unwrap() else { return Vec::new() };
    let mut rows = Vec::new();
    for file in snapshot.files(|_| true).await.unwrap() {
        let bytes = bytes_of(store, &file).await;
        assert_eq!(bytes.len() as u64, file.size_bytes, "{}", file.path);
        let found = rows_of(&file, bytes);
        assert_eq!(found.len() as u64, file.rows, "{}", file.path);
        rows.extend(found);
    }
    rows.sort();
    rows
}

/// Also of a file that nobody could read now: simulated classes keep its bytes elsewhere.
pub async fn bytes_of(store: &Store, file: &DataFile) -> Bytes {
    let hidden = format!("_simulated/archived/{}", file.path);
    match store.get_opt(&hidden).await.unwrap().filter(|_| file.storage_class.is_archived()) {
        Some(bytes) => bytes,
        None => store.get(&file.path).await.unwrap(),
    }
}

/// The rows of one data file in its order; the keys of a bundle's come from inside.
pub fn rows_of(file: &DataFile, bytes: Bytes) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let mut batch = batch.unwrap();
        let cells: Vec<String> = match file.partition() {
            Some(cell) => vec![format!("{}/{}/{}", cell.date, cell.event_type, cell.tenant_id); batch.num_rows()],
            None => {
                let names: Vec<String> = batch.schema().fields()[..3].iter().map(|f| f.name().clone()).collect();
                assert_eq!(names, ["date", "tenant_id", "event_type"], "{}", file.path);
                let dates = batch.column(0).as_primitive::<Date32Type>();
                let (tenants, types) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
                let cell = |row| {
                    format!("{}/{}/{}", date_of_days(dates.value(row)).unwrap(), types.value(row), tenants.value(row))
                };
                let cells = (0..batch.num_rows()).map(cell).collect();
                batch = batch.project(&(3..batch.num_columns()).collect::<Vec<_>>()).unwrap();
                cells
            }
        };
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let json = String::from_utf8(writer.into_inner()).unwrap();
        rows.extend(cells.iter().zip(json.lines()).map(|(cell, row)| format!("{cell} {row}")));
    }
    rows
}

/// All open dead letters by file and line.
pub async fn letters(store: &Store) -> Vec<DeadLetter> {
    let snapshot = Snapshot::open(store).await.unwrap();
    let mut letters = Vec::new();
    for file in archive::list_dead_letters(&snapshot, None, None) {
        let read: Vec<DeadLetter> =
            archive::read_dead_letters(store, &file).await.unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(read.len() as u64, file.records, "{}", file.path);
        letters.extend(read);
    }
    letters.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    letters
}

pub async fn objects(store: &Store) -> Vec<String> {
    let mut paths = Vec::new();
    for prefix in ["events", "_bundles", "_tier"] {
        paths.extend(store.list(prefix, None).await.unwrap().into_iter().map(|object| object.path));
    }
    paths.sort();
    paths
}

/// Every retained root says whose child it is, its totals are those of the files it names, and every file it names is there.
pub async fn check_versions(store: &Store) {
    let Some(newest) = Snapshot::latest(store).await.unwrap() else { return };
    let versions = newest.versions().await.unwrap();
    assert_eq!(versions, (1..=newest.version()).collect::<Vec<_>>());
    let mut parent: Option<(String, Option<String>)> = None;
    for version in versions {
        let bytes = store.get(&Layout::root(version)).await.unwrap();
        if let Some(stub) = Stub::decode(bytes.clone()).unwrap() {
            assert_eq!(stub.version, version);
            // What its bytes were, the next version still tells.
            parent = Some((stub.commit_id, None));
            continue;
        }
        let root = Root::decode(bytes.clone()).unwrap();
        let document = &root.document;
        let (id, digest) = parent.unzip();
        assert_eq!(document.parent_commit_id, id, "version {version}");
        match digest {
            Some(None) => assert!(document.parent_sha256.is_some(), "version {version}"),
            digest => assert_eq!(document.parent_sha256, digest.flatten(), "version {version}"),
        }
        parent = Some((document.commit_id.clone(), Some(sha256(&bytes))));
        let files = Snapshot::at_version(store, version).await.unwrap().files(|_| true).await.unwrap();
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        assert_eq!(document.totals.values().map(|totals| totals.rows).sum::<u64>(), rows, "version {version}");
        assert_eq!(root.leaves.rows(), rows, "version {version}");
        for file in files {
            let found = store.stat(&file.path).await.unwrap().map(|object| object.size_bytes);
            assert_eq!(found, Some(file.size_bytes), "{} of version {version}", file.path);
        }
    }
}

/// Names of the files in a folder, sorted.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
