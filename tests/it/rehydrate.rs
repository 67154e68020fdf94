//! Archived events back out, by the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tier::model::StorageClass;
use tier::store::{ClassTime, Location, Store};

use crate::support::bundles::{bundle, move_in_place};
use crate::support::lab::context;
use crate::support::tier::{Tier, sample_data};

const NOW: &str = "2026-09-01T00:00:00Z";

/// The sample data, archived.
fn archived() -> Tier {
    let mut tier = Tier::new();
    tier.set("TIER_ARCHIVE", "./archive").set("TIER_NOW", NOW);
    tier.ok(&["archive", &sample_data()]);
    tier
}

fn line(id: &str, time: &str) -> String {
    format!(r#"{{"event_id":"{id}","event_type":"login","tenant_id":"acme","ts":"{time}"}}"#) + "\n"
}

/// The files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), fs::read(e.path()).unwrap())).collect()
}

/// The events of a folder of NDJSON, file by file.
fn events(folder: &Path) -> Vec<Value> {
    let lines = files(folder).into_iter().filter(|(name, _)| name.ends_with(".ndjson"));
    let texts: Vec<String> = lines.map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect();
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(folder: &Path) -> Vec<String> {
    events(folder).iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

fn all(tier: &Tier, archive: &str) -> String {
    tier.ok(&["query", "--archive", archive, "SELECT * FROM events ORDER BY ts, event_id, tenant_id"]).stdout
}

#[test]
fn events_come_in_order_and_make_the_same_archive_again() {
    let tier = archived();
    for kind in ["ndjson", "parquet"] {
        let report = tier.json(&["rehydrate", "--to", kind, kind]);
        assert_eq!((&report["rows"], &report["next"], &report["to"]), (&1500.into(), &1.into(), &kind.into()));
        let again = format!("./{kind}-again");
        tier.ok(&["archive", kind, "--archive", &again]);
        assert_eq!(all(&tier, &again), all(&tier, "./archive"), "{kind}");
    }
    let order: Vec<(String, String)> = events(&tier.path("ndjson"))
        .iter()
        .map(|event| (event["ts"].as_str().unwrap().to_owned(), event["event_id"].as_str().unwrap().to_owned()))
        .collect();
    assert!(order.is_sorted() && order.len() == 1500);
    let [first, ..] = &events(&tier.path("ndjson"))[..] else { panic!("no events") };
    assert!(first.as_object().unwrap().values().all(|value| !value.is_null()), "{first}");
    assert_eq!(first["ts"], "2026-08-24T07:38:19.810000Z");
}

#[test]
fn a_condition_and_columns_pick_what_comes() {
    let tier = archived();
    let condition = "tenant_id = 'acme' AND latency_ms > 50 -- and no more";
    let report = tier.json(&["rehydrate", "--where", condition, "--omit", "payload,region", "--to", "ndjson", "out"]);
    let counted = tier.ok(&["query", &format!("SELECT count(*) FROM events WHERE {condition}")]).stdout;
    assert_eq!(report["rows"].to_string(), counted.lines().nth(1).unwrap());
    let events = events(&tier.path("out"));
    let has = |name: &str| events.iter().any(|event| event.get(name).is_some());
    assert!(has("latency_ms") && !has("payload") && !has("region") && !has("date"));
    for (args, message) in [
        (["--where", "nope = 1", "--to", "ndjson", "x"], "no column `nope`"),
        (["--where", "true; SELECT 1", "--to", "ndjson", "x"], "Expected: ), found: ;"),
        (["--omit", "ts", "--to", "ndjson", "x"], "--omit names `ts`"),
        (["--where", "true", "--to", "csv", "x"], "`csv` is no place"),
        (["--where", "true", "--ttl=7d", "--to", "hot"], "no hot tier is named"),
    ] {
        let refused = tier.run(&[&["rehydrate"], &args[..]].concat());
        assert!(refused.code == Some(2) && refused.stderr.contains(message), "{args:?}: {refused:#?}");
    }
    let refused = tier.run(&["rehydrate", "--to", "ndjson", "y", "--max-bytes", "1KB"]);
    assert_eq!(refused.code, Some(5), "{refused:#?}");
    assert!(files(&tier.path("y")).is_empty());
}

#[test]
fn a_folder_goes_on_with_the_same_and_refuses_anything_else() {
    let tier = archived();
    tier.ok(&["rehydrate", "--where", "tenant_id = 'acme'", "--to", "ndjson", "out"]);
    let whole = files(&tier.path("out"));
    let again = tier.ok(&["rehydrate", "--where", "tenant_id = 'acme'", "--to", "ndjson", "out"]);
    assert!(again.stderr.contains("all of it was there already"), "{again:#?}");
    tier.write("more.ndjson", line("later", "2026-08-30T12:00:00Z"));
    tier.ok(&["archive", "more.ndjson"]);
    // Whole is whole, of the version it was made of.
    let again = tier.json(&["rehydrate", "--where", "tenant_id = 'acme'", "--to", "ndjson", "out"]);
    assert_eq!((&again["version"], &again["rows_now"]), (&1.into(), &0.into()));
    for (args, message) in [
        (vec!["--to", "ndjson", "out"], "was begun with --where 'tenant_id = '\\''acme'\\''', not with no condition"),
        (vec!["--where", "tenant_id = 'acme'", "--to", "parquet", "out"], "with --to ndjson, not with --to parquet"),
        (
            vec!["--where", "tenant_id = 'acme'", "--since", "1", "--to", "ndjson", "out"],
            "no --since, not with --since 1",
        ),
        (
            vec!["--where", "tenant_id = 'acme'", "--as-of", "2", "--to", "ndjson", "out"],
            "version 1, not with version 2",
        ),
        (vec!["--where", "tenant_id = 'acme'", "--omit", "region", "--to", "ndjson", "out"], "with no --omit"),
    ] {
        let refused = tier.run(&[vec!["rehydrate"], args.clone()].concat());
        assert!(refused.code == Some(2) && refused.stderr.contains(message), "{args:?}: {refused:#?}");
        assert!(refused.stderr.contains("--restart"), "{refused:#?}");
    }
    assert_eq!(files(&tier.path("out")), whole);
    tier.ok(&["rehydrate", "--where", "date = '2026-08-30'", "--to", "ndjson", "out", "--restart"]);
    let names: Vec<String> = files(&tier.path("out")).into_keys().collect();
    assert_eq!(names, ["2026-08-30.ndjson", "_rehydrate.json"]);
    fs::write(tier.path("out/2026-08-30.ndjson"), "cut").unwrap();
    let refused = tier.run(&["rehydrate", "--where", "date = '2026-08-30'", "--to", "ndjson", "out"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("is not as it was written"), "{refused:#?}");
    tier.write("full/notes.txt", "mine");
    let refused = tier.run(&["rehydrate", "--to", "ndjson", "full"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("is not empty: it has notes.txt"), "{refused:#?}");
}

#[test]
fn since_takes_what_later_versions_added_and_says_what_to_name_next() {
    let tier = archived();
    let add = |name: &str, lines: &[(&str, &str)]| {
        tier.write(name, lines.iter().map(|(id, time)| line(id, time)).collect::<String>());
        tier.ok(&["archive", name]);
    };
    add("two.ndjson", &[("late", "2026-08-24T07:00:00Z"), ("new", "2026-08-31T07:00:00Z")]);
    add("three.ndjson", &[("wrong", "2026-08-31T08:00:00Z")]);
    tier.ok(&["revert", "3", "--yes"]);
    let first = tier.json(&["rehydrate", "--since", "1", "--to", "ndjson", "a"]);
    assert_eq!(ids(&tier.path("a")), ["late", "new"]);
    assert_eq!((&first["next"], &first["rows"]), (&4.into(), &2.into()));
    let nothing = tier.json(&["rehydrate", "--since", "4", "--to", "ndjson", "b"]);
    assert_eq!((&nothing["next"], &nothing["rows"]), (&4.into(), &0.into()));
    add("four.ndjson", &[("newer", "2026-08-31T09:00:00Z")]);
    let second = tier.ok(&["rehydrate", "--since", "4", "--to", "ndjson", "c"]);
    assert!(second.stderr.contains("next: --since 5"), "{second:#?}");
    assert_eq!(ids(&tier.path("c")), ["newer"]);
    // Everything, of the versions up to one.
    let part = tier.json(&[
        "rehydrate",
        "--since",
        "0",
        "--as-of",
        "2",
        "--where",
        "event_id IN ('late', 'new', 'newer')",
        "--to",
        "ndjson",
        "d",
    ]);
    assert_eq!((ids(&tier.path("d")), &part["next"]), (vec!["late".to_owned(), "new".to_owned()], &2.into()));
    let refused = tier.run(&["rehydrate", "--since", "9", "--to", "ndjson", "e"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("there is no version 9"), "{refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn since_is_exact_when_what_was_added_has_moved_and_says_so_when_it_is_gone() {
    let tier = archived();
    tier.write("two.ndjson", line("late", "2026-08-24T07:00:00Z") + &line("new", "2026-08-31T07:00:00Z"));
    tier.ok(&["archive", "two.ndjson"]);
    tier.ok(&["rehydrate", "--since", "0", "--to", "ndjson", "before"]);
    let ctx = context(Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap());
    // The same file, in another class: one that the version added, and one that it did not.
    move_in_place(&ctx, StorageClass::GlacierIr, |file| &*file.event_types.min == "login").await;
    tier.ok(&["rehydrate", "--since", "1", "--to", "ndjson", "moved"]);
    assert_eq!(ids(&tier.path("moved")), ["late", "new"]);
    // Other files; the first ones are there until the vacuum.
    bundle(&ctx, StorageClass::StandardIa, |_| true).await;
    tier.write("more.ndjson", line("newer", "2026-08-31T09:00:00Z"));
    tier.ok(&["archive", "more.ndjson"]);
    let report = tier.json(&["rehydrate", "--since", "1", "--to", "ndjson", "bundled"]);
    assert_eq!(ids(&tier.path("bundled")), ["late", "new", "newer"]);
    tier.ok(&["rehydrate", "--to", "ndjson", "all", "--where", "event_id <> 'newer'"]);
    let text = |folder: &str| -> BTreeMap<String, Vec<u8>> {
        files(&tier.path(folder)).into_iter().filter(|(name, _)| name != "_rehydrate.json").collect()
    };
    assert_eq!(text("all"), text("before"), "of a bundle the same bytes");
    // The files are of the real present.
    let vacuumed = tier.run_without(&["TIER_NOW"], &["vacuum", "--grace", "0s", "--yes"]);
    assert_eq!(vacuumed.code, Some(0), "{vacuumed:#?}");
    let refused = tier.run(&["rehydrate", "--since", "1", "--to", "ndjson", "gone"]);
    assert!(
        refused.code == Some(2) && refused.stderr.contains("what version 2 added can no longer be told"),
        "{refused:#?}"
    );
    let before = report["version"].as_u64().unwrap() - 1;
    tier.ok(&["rehydrate", "--since", &before.to_string(), "--to", "ndjson", "rest"]);
    assert_eq!(ids(&tier.path("rest")), ["newer"]);
}

#[test]
fn archived_files_in_the_way_are_named_with_the_restore_before_anything_is_written() {
    let mut tier = archived();
    let read = ["rehydrate", "--where", "tenant_id = 'acme'", "--to", "ndjson", "out"];
    tier.ok(&["rehydrate", "--where", "tenant_id = 'acme'", "--to", "ndjson", "before"]);
    tier.set("TIER_NOW", "2027-09-01T00:00:00Z");
    tier.ok(&["lifecycle", "apply", "--yes"]);
    let refused = tier.run(&read);
    assert_eq!(refused.code, Some(4), "{refused:#?}");
    assert!(refused.stderr.contains("tier restore start --query"), "{refused:#?}");
    assert!(files(&tier.path("out")).is_empty());
    tier.ok(&["restore", "start", "--tenant", "acme", "--yes"]);
    tier.set("TIER_NOW", "2027-09-02T00:00:00Z");
    tier.ok(&read);
    assert_eq!(events(&tier.path("out")), events(&tier.path("before")));
}

/// Killed later and later, until a run is quicker than that; each goes on after the last date that is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_at_any_moment_ends_as_if_it_had_not_been() {
    let tier = {
        let mut tier = Tier::new();
        tier.set("TIER_ARCHIVE", "./archive").set("TIER_NOW", NOW);
        tier
    };
    let event = |id: u32| line(&format!("{id:06}"), &format!("2026-08-{:02}T{:02}:00:00Z", 1 + id % 28, id % 24));
    tier.write("month.ndjson", (0..28_000).map(event).collect::<String>());
    tier.ok(&["archive", "month.ndjson"]);
    tier.ok(&["rehydrate", "--to", "ndjson", "whole"]);
    let (mut kills, mut went_on, mut delay) = (0, 0, Duration::from_millis(5));
    loop {
        let mut child = tier.spawn(&["rehydrate", "--to", "ndjson", "out"]);
        tokio::time::sleep(delay).await;
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
        }
        let outcome = child.wait_with_output().unwrap();
        if outcome.status.code() == Some(0) {
            break;
        }
        assert_eq!(outcome.status.code(), None, "{outcome:?}");
        kills += 1;
        let done = fs::read_dir(tier.path("out")).map_or(0, |files| files.count());
        went_on += u32::from(done > 2);
        // What is added meanwhile belongs to another version.
        if went_on == 1 && done > 2 {
            tier.write("more.ndjson", line("more", "2026-08-01T00:00:00Z"));
            tier.ok(&["archive", "more.ndjson"]);
        }
        delay = delay * 5 / 4;
    }
    assert!(kills > 3 && went_on > 0, "{kills} kills, {went_on} with something done");
    assert_eq!(files(&tier.path("out")), files(&tier.path("whole")));
}
