//! The real binary, killed.

use std::ops::Range;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tier::catalog::Snapshot;
use tier::store::{ClassTime, Layout, Location, Store};

use crate::support::lab::{check_versions, line, rows};
use crate::support::tier::{Outcome, Tier};

/// Enough that reading takes a while, in a few dozen cells.
fn export(tier: &Tier, events: Range<u32>) -> Vec<String> {
    let row = |id: u32| {
        let time = format!("2026-08-{:02}T{:02}:00:00Z", 1 + id % 28, id % 24);
        line(&format!("{id:06}"), &time, &format!(r#""n":{id},"note":"{}""#, "x".repeat(200)))
    };
    tier.write("day.ndjson", events.clone().map(|id| row(id) + "\n").collect::<String>());
    events.map(|id| format!("{id:06}")).collect()
}

async fn ids(store: &Store) -> Vec<String> {
    let id = |row: &String| row.split_once(r#""event_id":""#).unwrap().1[..6].to_owned();
    let mut ids: Vec<String> = rows(store).await.iter().map(id).collect();
    ids.sort();
    ids
}

async fn open(tier: &Tier) -> Store {
    Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap()
}

/// After each kill the archive is readable, and has the run whole or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_run_killed_at_any_moment_is_made_whole_by_the_next() {
    let tier = Tier::new();
    let expected = export(&tier, 0..30_000);
    let check = async || {
        let store = open(&tier).await;
        let found = ids(&store).await;
        check_versions(&store).await;
        assert!(found.is_empty() || found == expected, "{} events", found.len());
    };
    tier.kill_until_done(&["archive", "day.ndjson", "--archive", "archive"], Duration::from_millis(5), check).await;
    let again = tier.json(&["archive", "day.ndjson", "--archive", "archive"]);
    assert_eq!((again["read"].as_u64(), again["version"].as_u64()), (Some(0), Some(1)));
    let store = open(&tier).await;
    assert_eq!(ids(&store).await, expected);
    // What the killed runs left goes, and nothing else does.
    tier.ok(&["vacuum", "--grace", "0s", "--yes", "--archive", "archive"]);
    assert_eq!(ids(&store).await, expected);
    check_versions(&store).await;
    let files = Snapshot::open(&store).await.unwrap().files(|_| true).await.unwrap();
    let mut named: Vec<String> = files.into_iter().map(|file| file.path).collect();
    let mut left: Vec<String> =
        store.list(Layout::EVENTS, None).await.unwrap().into_iter().map(|object| object.path).collect();
    named.sort();
    left.sort();
    assert_eq!(left, named);
    assert_eq!(store.temporary_files().await.unwrap(), []);
}

/// What rewrites an archive: after each kill it has every event once.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_and_a_move_killed_at_any_moment_are_made_whole_by_the_next() {
    let tier = Tier::new();
    let mut expected = Vec::new();
    for first in [0, 10_000, 20_000] {
        expected.extend(export(&tier, first..first + 10_000));
        tier.ok(&["archive", "day.ndjson", "--archive", "archive", "--now", "2026-09-01T12:00:00Z"]);
    }
    tier.write("rules.toml", "[[lifecycle.rules]]\nafter = \"30d\"\nclass = \"GLACIER_IR\"\nlayout = \"bundle\"\n");
    let later = ["--archive", "archive", "--now", "2026-11-01T00:00:00Z", "--yes"];
    let check = async || {
        let store = open(&tier).await;
        assert_eq!(ids(&store).await, expected);
        check_versions(&store).await;
    };
    let first = Duration::from_millis(5);
    tier.kill_until_done(&[&["compact"], &later[..]].concat(), first, check).await;
    let apply = ["lifecycle", "apply", "--config", "rules.toml", "--max-cost", "1"];
    tier.kill_until_done(&[&apply, &later[..]].concat(), first, check).await;
    let files = Snapshot::open(&open(&tier).await).await.unwrap().files(|_| true).await.unwrap();
    assert!(files.iter().all(|file| file.path.starts_with("_bundles/")), "{files:#?}");
}

/// Stopped while it reads: the exit code says by what, nothing is committed, and the run after it does it all.
#[tokio::test(flavor = "multi_thread")]
async fn a_polite_signal_stops_at_a_safe_border_and_the_exit_code_says_which() {
    for (which, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let tier = Tier::new();
        let expected = export(&tier, 0..30_000);
        // Reads from a pipe that stays open: the run cannot be over before the signal is there.
        let fifo = tier.path("slow.ndjson");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        let child = tier.spawn(&["archive", "slow.ndjson", "--archive", "archive"]);
        let text = std::fs::read(tier.path("day.ndjson")).unwrap();
        let feeder = std::thread::spawn(move || {
            use std::io::Write;
            let mut pipe = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
            // Fails when the reader has gone, as it should.
            while pipe.write_all(&text).is_ok() {}
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        kill_process(Pid::from_child(&child), which).unwrap();
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        feeder.join().unwrap();
        assert_eq!(outcome.code, Some(code), "{outcome:#?}");
        assert!(outcome.stderr.contains("stopped: "), "{outcome:#?}");
        assert!(outcome.stderr.contains("nothing was committed"), "{outcome:#?}");
        let store = open(&tier).await;
        assert!(Snapshot::latest(&store).await.unwrap().is_none());
        tier.ok(&["archive", "day.ndjson", "--archive", "archive"]);
        assert_eq!(ids(&store).await, expected);
    }
}
