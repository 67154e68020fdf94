//! `tier verify`: a whole archive is called whole, and every kind of damage is found and named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tier::catalog::{Change, Operation, Outcome as Committed, Snapshot, commit};
use tier::model::{Schema, StorageClass};
use tier::store::{ClassTime, Layout, Location, Store};
use tier::verify::{ProblemKind, Read, VerifyOptions, VerifyReport, verify};

use crate::support::bundles::{bundle, move_in_place};
use crate::support::events::{append, context, ledger_entry, row};
use crate::support::lab::{self, Lab, line};
use crate::support::minio::fresh_address;
use crate::support::tier::{Outcome, Tier, sample_data};

const LATER: &str = "2027-09-01T00:00:00Z";
const EVERYTHING: VerifyOptions = VerifyOptions { read: Some(Read::All), duplicates: true, tree: true };

/// The exit code and the document.
fn verify_with(tier: &Tier, archive: &str, more: &[&str]) -> (i32, Value) {
    let outcome = tier.run(&[&["verify", "--json", "--now", LATER, "--archive", archive], more].concat());
    let document = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"));
    (outcome.code.unwrap(), document)
}

/// Kinds and objects of the problems.
fn problems(document: &Value) -> Vec<(String, String)> {
    let text = |problem: &Value, name: &str| problem[name].as_str().unwrap().to_owned();
    let problems = document["problems"].as_array().unwrap().iter();
    problems.map(|problem| (text(problem, "kind"), text(problem, "object"))).collect()
}

#[test]
fn a_whole_archive_is_whole_after_append_revert_bundling_and_vacuum() {
    let tier = Tier::new();
    let all = ["--read", "all", "--duplicates", "--tree"];
    let clean = |what: &str, code: i32| -> Value {
        let (exit, document) = verify_with(&tier, "archive", &all);
        assert_eq!((exit, &document["counts"], &document["problems"]), (code, &json!({}), &json!([])), "{what}");
        document
    };
    tier.ok(&["archive", &sample_data(), "--archive", "archive"]);
    let first = clean("append", 0);
    assert_eq!((&first["rows"], &first["read"]["rows"]), (&json!(1_500), &json!(1_500)), "{first:#}");
    assert_eq!(first["files"], first["objects"], "{first:#}");
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00Z", r#""brand_new":1.5"#));
    tier.ok(&["archive", "late.ndjson", "--archive", "archive"]);
    assert_eq!(clean("late events", 0)["rows"], 1_501);
    tier.ok(&["revert", "2", "--yes", "--archive", "archive"]);
    // The reverted file still lies there, for --as-of 2, and a direct reader would count it.
    let reverted = clean("revert", 7);
    assert_eq!((&reverted["rows"], &reverted["replaced"]["objects"]), (&json!(1_500), &json!(1)), "{reverted:#}");
    assert_eq!(reverted["tree"]["is_exact"], false, "{reverted:#}");
    assert_eq!(verify_with(&tier, "archive", &["--read", "all"]).0, 0, "only --tree asks for the direct reader");
    tier.ok(&["lifecycle", "apply", "--yes", "--max-cost", "1", "--archive", "archive", "--now", LATER]);
    let bundled = clean("bundling", 7);
    assert_eq!(bundled["read"]["archived"]["objects"], 1, "an archived bundle is counted and not read: {bundled:#}");
    tier.ok(&["vacuum", "--yes", "--grace", "0s", "--archive", "archive", "--now", LATER]);
    let (code, vacuumed) = verify_with(&tier, "archive", &["--read", "all", "--duplicates"]);
    assert_eq!((code, problems(&vacuumed)), (0, vec![]), "{vacuumed:#}");
    assert_eq!(vacuumed["replaced"]["objects"], 0, "{vacuumed:#}");
    assert!(vacuumed["versions_expired"].as_u64().unwrap() > 0, "{vacuumed:#}");
    let words = tier.ok(&["verify", "--archive", "archive", "--now", LATER]);
    assert_eq!(words.stdout, "", "{words:#?}");
    assert!(words.stderr.contains("no problem") && words.stderr.contains("archived file"), "{words:#?}");
}

/// An archive with two data versions, dead letters, and a readable bundle with a pack; copied for each damage.
struct Original {
    tier: Tier,
    copies: usize,
}

impl Original {
    fn new() -> Self {
        let tier = Tier::new();
        tier.ok(&["archive", &sample_data(), "--archive", "original"]);
        let policy = "[[lifecycle.rules]]\nafter = \"1y\"\nclass = \"GLACIER_IR\"\nlayout = \"bundle\"\n";
        tier.write("tier.toml", policy);
        tier.write("july.ndjson", line("july", "2026-07-24T12:00:00Z", ""));
        tier.ok(&["archive", "july.ndjson", "--archive", "original"]);
        Original { tier, copies: 0 }
    }

    fn copy(&mut self) -> PathBuf {
        self.copies += 1;
        let to = self.tier.path(&self.copies.to_string());
        let copied = Command::new("cp").arg("-r").arg(self.tier.path("original")).arg(&to).status().unwrap();
        assert!(copied.success());
        to
    }
}

/// The files below a folder, as paths relative to the archive, sorted.
fn files_below(archive: &Path, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(archive.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(archive, &path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// What happens, to which object, how; the options that find it, and the kind it is named as.
type Damage<'a> = (&'a str, &'a str, fn(&Path), &'a [&'a str], &'a str);

/// Does the damage to a copy, where it must be the one problem that is found. Returns the copy and the document.
fn found(original: &mut Original, (what, object, damage, options, kind): &Damage<'_>) -> (PathBuf, Value) {
    let copy = original.copy();
    damage(&copy.join(object));
    let (code, document) = verify_with(&original.tier, copy.to_str().unwrap(), options);
    let expected = vec![((*kind).to_owned(), (*object).to_owned())];
    assert_eq!((code, problems(&document)), (1, expected), "{what}: {document:#}");
    (copy, document)
}

#[test]
fn every_damage_to_a_file_is_found_and_named() {
    let mut original = Original::new();
    let archive = original.tier.path("original");
    let first_below = |folder: &str, ending: &str| {
        let files = files_below(&archive, folder);
        files.into_iter().find(|path| path.ends_with(ending) && !path.ends_with(&format!(".audit{ending}"))).unwrap()
    };
    let (data, leaf) = (first_below("events", ".parquet"), first_below("_tier/leaf", ".parquet"));
    let (audit, letters) = (leaf.replace(".parquet", ".audit.parquet"), first_below("_tier/dead-letter", ".zst"));
    let root = Layout::root(1);
    let damages: [Damage<'_>; 12] = [
        ("a data file is gone", &data, remove, &[], "missing"),
        ("a data file is cut", &data, cut, &[], "other-size"),
        ("a bit of a data file", &data, flip, &["--read", "all"], "damaged"),
        ("a data file is gone, and all is read", &data, remove, &["--read", "all", "--duplicates"], "missing"),
        ("a bit of a leaf", &leaf, flip, &[], "bad-leaf"),
        ("a leaf is gone", &leaf, remove, &["--read", "all"], "bad-leaf"),
        ("an audit is gone", &audit, remove, &["--read", "all"], "bad-leaf"),
        ("a bit of dead letters", &letters, flip, &[], "bad-dead-letters"),
        ("dead letters are gone", &letters, remove, &[], "bad-dead-letters"),
        ("an old root is cut", &root, cut, &[], "bad-root"),
        ("an old root is gone", &root, remove, &[], "missing-version"),
        ("dead letters are cut", &letters, cut, &["--read", "sample"], "bad-dead-letters"),
    ];
    for damage in damages {
        let (copy, document) = found(&mut original, &damage);
        let (what, object, _, options, _) = damage;
        assert!(document["problems"][0]["way_out"].as_str().unwrap().len() > 20, "{what}");
        let shown = original.tier.run(&[&["verify", "--archive", copy.to_str().unwrap()], options].concat());
        assert!(shown.stdout.starts_with(object) && shown.stdout.contains("way out: "), "{what}: {shown:#?}");
    }
    // The same bytes less one bit: a listing cannot tell, and says nothing.
    let copy = original.copy();
    flip(&copy.join(&data));
    assert_eq!(verify_with(&original.tier, copy.to_str().unwrap(), &[]).0, 0);
}

#[test]
fn damage_to_a_bundles_pack_is_told_from_damage_to_the_bundle() {
    let mut original = Original::new();
    original.tier.ok(&["lifecycle", "apply", "--yes", "--max-cost", "9", "--archive", "original", "--now", LATER]);
    let archive = original.tier.path("original");
    let [pack] = &files_below(&archive, "_tier/pack")[..] else { panic!("one pack") };
    let bundles = files_below(&archive, "_bundles");
    assert!(!bundles.is_empty());
    let all: &[&str] = &["--read", "all"];
    let damages: [Damage<'_>; 5] = [
        ("a pack is gone", pack, remove, &[], "bad-pack"),
        ("a pack is cut", pack, cut, &[], "bad-pack"),
        ("a bit of a bundle", &bundles[0], flip, all, "damaged"),
        ("a bundle is gone", &bundles[0], remove, &[], "missing"),
        ("a bundle is cut", &bundles[0], cut, all, "other-size"),
    ];
    for damage in damages {
        found(&mut original, &damage);
    }
    // In the pack's copy of the footer; a pack has no checksum, so elsewhere only what changes a cell can be told.
    let copy = original.copy();
    let mut bytes = fs::read(copy.join(pack)).unwrap();
    let near_the_end = bytes.len() - 200;
    bytes[near_the_end] ^= 1;
    fs::write(copy.join(pack), bytes).unwrap();
    let (code, document) = verify_with(&original.tier, copy.to_str().unwrap(), all);
    assert_eq!(code, 1, "{document:#}");
    assert!(problems(&document).iter().all(|found| *found == ("bad-pack".to_owned(), pack.clone())), "{document:#}");
}

#[test]
fn a_root_of_another_archive_breaks_the_chain() {
    let mut original = Original::new();
    original.tier.ok(&["archive", &sample_data(), "--archive", "other"]);
    let copy = original.copy();
    fs::copy(original.tier.path("other").join(Layout::root(1)), copy.join(Layout::root(1))).unwrap();
    let (code, document) = verify_with(&original.tier, copy.to_str().unwrap(), &[]);
    assert_eq!(code, 1, "{document:#}");
    assert_eq!(problems(&document)[0], ("broken-chain".to_owned(), Layout::root(2)), "{document:#}");
}

#[test]
fn what_no_version_names_wants_a_look() {
    let mut original = Original::new();
    let archive = original.tier.path("original");
    let data = files_below(&archive, "events").remove(0);
    let orphan = format!("{}/00000000000000000001-0123456789abcdef-0.parquet", data.rsplit_once('/').unwrap().0);
    let cases = [
        (orphan.as_str(), "orphans"),
        ("_tier/leaf/00000000000000000001-0123456789abcdef-0.parquet", "orphans"),
        ("events/date=2020-01-01/event_type=a/tenant_id=b/00000000000000000000-0123456789abcdef-0.parquet", "orphans"),
        ("events/mine.parquet", "foreign"),
        ("events/date=2026-08-24/mine.parquet", "foreign"),
        ("_bundles/month=2026-08/mine.parquet", "foreign"),
    ];
    for (path, counted) in cases {
        let copy = original.copy();
        fs::create_dir_all(copy.join(path).parent().unwrap()).unwrap();
        fs::copy(archive.join(&data), copy.join(path)).unwrap();
        let (code, document) = verify_with(&original.tier, copy.to_str().unwrap(), &["--tree"]);
        assert_eq!((code, problems(&document), &document[counted]["objects"]), (7, vec![], &json!(1)), "{path}");
        let is_exact = !path.starts_with("events/");
        assert_eq!(document["tree"]["is_exact"], is_exact, "{path}: {document:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_not_the_catalogs_is_named_and_recorded_away() {
    let tier = Tier::new();
    tier.ok(&["archive", &sample_data(), "--archive", "archive"]);
    let data = files_below(&tier.path("archive"), "events").remove(0);
    let store = Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap();
    store.classes().change_class(&data, StorageClass::DeepArchive).await.unwrap();
    let (code, document) = verify_with(&tier, "archive", &["--read", "all", "--tree"]);
    assert_eq!((code, problems(&document)), (1, vec![("other-class".to_owned(), data)]), "{document:#}");
    tier.ok(&["lifecycle", "drift", "--record", "--archive", "archive"]);
    let (code, document) = verify_with(&tier, "archive", &["--read", "all"]);
    assert_eq!((code, &document["read"]["archived"]["objects"]), (0, &json!(1)), "{document:#}");
    let (code, document) = verify_with(&tier, "archive", &["--tree"]);
    assert_eq!((code, problems(&document)), (7, vec![]), "{document:#}");
}

#[tokio::test]
async fn a_damaged_ledger_is_named() {
    let ctx = lab::context(Store::memory());
    let mut change = Change::new(Operation::new("append", 0));
    change.exports = (0..600).map(ledger_entry).collect();
    let layout = Layout::for_run(0, &ctx.random.id());
    let Committed::Committed(snapshot) = commit(&ctx, None, &layout, change).await.unwrap() else { panic!("alone") };
    let options = VerifyOptions::default();
    assert!(!verify(&ctx, &options).await.unwrap().is_broken());
    let path = snapshot.root().document.ledgers[0].path.clone();
    ctx.store.put(&path, "not a ledger").await.unwrap();
    assert_eq!(named(&verify(&ctx, &options).await.unwrap()), [(ProblemKind::BadLedger, path)]);
}

fn named(report: &VerifyReport) -> Vec<(ProblemKind, String)> {
    report.problems.iter().map(|problem| (problem.kind, problem.object.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_two_cells_of_a_tenant_is_found_in_cells_and_in_bundles() {
    let lab = Lab::new();
    let again = |id: &str, ts: &str, tenant: &str| line(id, ts, "").replace("acme", tenant) + "\n";
    let text = (0..200).map(|id| again(&id.to_string(), "2026-08-24T12:00:00Z", "acme")).collect::<String>()
        // Sent again a day later; and another tenant's own event.
        + &again("17", "2026-08-25T12:00:00Z", "acme")
        + &again("18", "2026-08-25T12:00:00Z", "globex");
    lab.write("a.ndjson", text);
    lab.archive(&["a.ndjson"]).await;
    let check = |report: &VerifyReport, places: usize| {
        assert!(!report.is_broken() && report.wants_a_look(), "{report:#?}");
        let duplicates = report.duplicates.as_ref().unwrap();
        let [repeated] = &duplicates.examples[..] else { panic!("one: {duplicates:#?}") };
        assert_eq!((duplicates.events, duplicates.repeated_ids, duplicates.doubled_events), (202, 1, 0));
        assert_eq!((repeated.tenant_id.as_str(), repeated.event_id.as_str()), ("acme", "17"));
        let days = ["date=2026-08-24", "date=2026-08-25"].map(|day| format!("{day}/event_type=login/tenant_id=acme"));
        let mut cells = repeated.cells.clone();
        cells.sort();
        assert_eq!((cells, repeated.files.len()), (days.to_vec(), places));
    };
    let report = verify(&lab.ctx, &EVERYTHING).await.unwrap();
    check(&report, 2);
    assert!(report.tree.as_ref().unwrap().is_exact);
    bundle(&lab.ctx, StorageClass::GlacierIr, |_| true).await;
    let report = verify(&lab.ctx, &EVERYTHING).await.unwrap();
    check(&report, 1);
    assert_eq!((report.read.unwrap().rows, report.replaced.objects), (202, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_twice_in_a_cell_is_broken() {
    let ctx = context(Store::memory());
    let rows: Vec<_> = (0..50).map(|n| row("2026-08-24", "acme", "login", &format!("e{n}"), n)).collect();
    let first = append(&ctx, None, &Schema::default(), &rows).await;
    append(&ctx, Some(&first), &Schema::default(), &rows[10..13]).await;
    let report = verify(&ctx, &VerifyOptions { duplicates: true, ..VerifyOptions::default() }).await.unwrap();
    let duplicates = report.duplicates.as_ref().unwrap();
    assert_eq!((duplicates.events, duplicates.repeated_ids, duplicates.doubled_events), (53, 0, 3));
    assert_eq!(report.counts.get(&ProblemKind::DoubledEvent), Some(&3), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_reads_so_many_files_and_archived_ones_are_only_counted() {
    let lab = Lab::new();
    let text: String =
        (1..=28).map(|day| line(&day.to_string(), &format!("2026-08-{day:02}T12:00:00Z"), "") + "\n").collect();
    lab.write("a.ndjson", text);
    lab.archive(&["a.ndjson"]).await;
    let sample = VerifyOptions { read: Some(Read::Sample(5)), ..VerifyOptions::default() };
    let report = verify(&lab.ctx, &sample).await.unwrap();
    assert_eq!((report.read.unwrap().files, report.objects), (5, 28));
    move_in_place(&lab.ctx, StorageClass::DeepArchive, |file| file.dates.min.day() <= 8).await;
    let report = verify(&lab.ctx, &EVERYTHING).await.unwrap();
    assert!(!report.is_broken(), "{report:#?}");
    let read = report.read.unwrap();
    assert_eq!((read.files, read.archived.objects, report.archived.objects), (20, 8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_s3_store_damage_is_found_by_listing_a_day_at_a_time() {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    tier.ok(&["archive", &sample_data(), "--archive", &address]);
    let (code, document) = verify_with(&tier, &address, &["--read", "all", "--duplicates", "--tree"]);
    assert_eq!((code, problems(&document), &document["read"]["rows"]), (0, vec![], &json!(1_500)), "{document:#}");
    let store = Store::open(&address.parse().unwrap(), ClassTime::default()).await.unwrap();
    let before = store.requests();
    let report = verify(&lab::context(store.clone()), &VerifyOptions::default()).await.unwrap();
    let requests = store.requests().since(&before);
    let files = Snapshot::open(&store).await.unwrap().files(|_| true).await.unwrap();
    assert_eq!((report.objects, requests.head), (files.len() as u64, 0), "{requests:?}");
    assert!(requests.get < 20 && requests.list < 25, "no request per file: {requests:?}");
    let (gone, cut, flipped) = (&files[0].path, &files[1].path, &files[2].path);
    store.delete(vec![gone.clone()]).await.unwrap();
    store.put(cut, "PAR1").await.unwrap();
    let mut bytes = store.get(flipped).await.unwrap().to_vec();
    bytes[10] ^= 1;
    store.put(flipped, bytes).await.unwrap();
    let (code, document) = verify_with(&tier, &address, &["--read", "all"]);
    let mut found = problems(&document);
    found.sort();
    let expected = [("damaged", flipped), ("missing", gone), ("other-size", cut)];
    assert_eq!((code, found), (1, expected.map(|(kind, path)| (kind.to_owned(), path.clone())).to_vec()));
}

#[test]
fn an_archive_that_is_not_there_is_no_whole_archive() {
    let Outcome { code, stderr, .. } = Tier::new().run(&["verify", "--archive", "nowhere"]);
    assert_eq!(code, Some(1), "{stderr}");
}
