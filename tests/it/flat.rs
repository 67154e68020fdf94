//! Commands that look at every file hold none of them: their memory does not grow with the archive.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::civil::date;
use jiff::{Timestamp, ToSpan};
use tier::catalog::{
    FileAudit, LeafRef, LiveFile, NewFile, Operation, Relisted, Root, RootDocument, Totals, write_leaves,
};
use tier::model::{ColumnType, Schema, StorageClass};
use tier::store::{ClassTime, Layout, Location, Store};

use crate::support::events::{NOW, live_file};
use crate::support::tier::Tier;

/// Each has its own file; a list of them takes about half a kilobyte for each.
const FEW: u64 = 20_000;
const MANY: u64 = 16 * FEW;

/// Far below what the names alone of so many files take, and more than one leaf.
const MAY_GROW_KB: u64 = 40 << 10;

/// A catalog of so many files, of which none exists: two years, ten tenants a file.
async fn catalog(folder: &Path, files: u64) {
    const DAYS: u64 = 730;
    let store = Store::open(&Location::Local(folder.to_owned()), ClassTime::default()).await.unwrap();
    let first = date(2022, 1, 1);
    let audit = FileAudit { sha256: String::new(), min_event_id: String::new(), max_event_id: String::new() };
    let relisted = |number: u64| {
        let day = first.checked_add(((number % DAYS) as i64).days()).unwrap();
        let live = live_file(&format!("tenant-{:03}", number / DAYS), day, number as i64, 100_000 + number);
        Relisted { live: LiveFile { leaf: String::new(), ..live }, version: 1, audit: audit.clone() }
    };
    let list = (0..files).map(relisted).collect();
    let written = write_leaves(&store, &Layout::for_run(1, &"0".repeat(32)), Vec::<NewFile>::new(), vec![list]).await;
    let leaves: Vec<LeafRef> = written.unwrap().into_iter().map(|leaf| LeafRef { added_version: 2, ..leaf }).collect();
    let mut schema = Schema::default();
    schema.add("amount", ColumnType::Double).unwrap();
    let mut totals = Totals::default();
    leaves.iter().for_each(|leaf| totals.add(leaf.files, leaf.rows, leaf.size_bytes));
    let document = RootDocument {
        version: 2,
        table_id: "flat".to_owned(),
        commit_id: "flat".to_owned(),
        parent_commit_id: Some(String::new()),
        parent_sha256: Some(String::new()),
        time: NOW.parse::<Timestamp>().unwrap(),
        operation: Operation::new("merge", 1),
        schema,
        totals: [(StorageClass::Standard, totals)].into(),
        required_features: vec!["merged-leaves".to_owned()],
        ..RootDocument::empty()
    };
    store.put(Layout::TABLE, r#"{"format_version": 1, "table_id": "flat"}"#).await.unwrap();
    let root = Root { document, leaves: leaves.into() }.encode().unwrap();
    store.put_if_absent(&Layout::root(2), root).await.unwrap();
}

/// The most memory that the command was seen with, in KB, and what it printed.
fn peak_kb(tier: &Tier, args: &[&str]) -> (u64, String) {
    let mut child = tier.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let printed = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        // Until it has become the program, a process that was just spawned shows the memory of the one that spawned it.
        let text = if text.starts_with("Name:\ttier\n") { text } else { String::new() };
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        if let Some(code) = child.try_wait().unwrap() {
            break code;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(code.success() && peak > 0, "{args:?}: {code:?}, {peak} KB");
    (peak, printed.join().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_look_at_every_file_hold_none_of_them() {
    let tier = Tier::new();
    for (name, files) in [("few", FEW), ("many", MANY)] {
        catalog(&tier.path(name), files).await;
    }
    let commands: [&[&str]; 6] = [
        &["status", "--json"],
        &["lifecycle", "plan", "--json", "--now", "2022-06-01"],
        &["lifecycle", "plan", "--json", "--now", "2026-01-01"],
        &["lifecycle", "why", "date=2022-03-01/event_type=login/tenant_id=tenant-001", "--json"],
        &["lifecycle", "drift", "--json"],
        &["compact", "--dry-run", "--json"],
    ];
    for command in commands {
        let of = |name: &str| peak_kb(&tier, &[command, &["--archive", name]].concat());
        let ((few, _), (many, printed)) = (of("few"), of("many"));
        assert!(many < few + MAY_GROW_KB, "{command:?}: {few} KB of {FEW} files, {many} KB of {MANY}");
        assert!(printed.len() < 16 << 20, "{command:?} prints {} bytes", printed.len());
    }
}
