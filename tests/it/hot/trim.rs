//! Rows out of the hot tier when the archive has them, and back again; by the real binary.

use serde_json::Value;
use tier::catalog::Snapshot;
use tier::store::{ClassTime, Location, Store};

use crate::support::cassandra::{Keyspace, contact_point};
use crate::support::events::{Row, row};
use crate::support::tier::{Outcome, Tier};

/// The night after the 25th, when the 24th and the 25th are closed.
const NIGHT: &str = "2026-08-26T03:00:00Z";

const DAY_SECONDS: u32 = 86_400;

/// A table with three days of two tenants, two of them archived.
struct Night {
    tier: Tier,
    keyspace: Keyspace,
}

fn rows() -> Vec<Row> {
    let days = ["2026-08-24", "2026-08-25", "2026-08-26"];
    let of = |day: &str| -> Vec<Row> {
        let one = |n: i64| {
            let row = row(day, if n % 2 == 0 { "acme" } else { "globex" }, "login", &format!("{day}-{n:03}"), n);
            Row { amount: Some(n as f64), ..row }
        };
        (0..100).map(one).collect()
    };
    days.iter().flat_map(|day| of(day)).collect()
}

impl Night {
    async fn archived() -> Self {
        let keyspace = Keyspace::fresh().await;
        keyspace.create_events("events", "((tenant_id, day), event_id)", 90 * DAY_SECONDS).await;
        keyspace.insert("events", &rows(), None).await;
        let mut tier = Tier::new();
        tier.set("TIER_ARCHIVE", "./archive").set("TIER_NOW", NIGHT);
        let hot = format!(
            "[hot]\ncontact_points = [\"{}\"]\nkeyspace = \"{}\"\ntable = \"events\"\n",
            contact_point(),
            keyspace.name
        );
        tier.write("tier.toml", hot);
        let night = Night { tier, keyspace };
        night.tier.ok(&["archive", "--from-hot"]);
        night
    }

    fn plan(&self, more: &[&str]) -> Outcome {
        self.tier.run(&[&["hot", "trim", "--verified", "--dry-run"], more].concat())
    }

    fn trim(&self, rows: u64, more: &[&str]) -> Outcome {
        let confirm = rows.to_string();
        self.tier.run(&[&["hot", "trim", "--verified", "--yes", "--confirm", &confirm], more].concat())
    }

    /// Rows of a day in the table.
    async fn hot_rows(&self, day: &str) -> i64 {
        let mut rows = 0;
        for tenant in ["acme", "globex"] {
            let cql = format!(
                "SELECT count(*) FROM {}.events WHERE tenant_id = '{tenant}' AND day = '{day}'",
                self.keyspace.name
            );
            let answer = self.keyspace.session.query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
            rows += answer.single_row::<(i64,)>().unwrap().0;
        }
        rows
    }

    fn archived_rows(&self) -> String {
        let answer = self.tier.ok(&["query", "SELECT count(*) FROM events"]).stdout;
        answer.lines().nth(1).unwrap().to_owned()
    }

    async fn snapshot(&self) -> Snapshot {
        let store = Store::open(&Location::Local(self.tier.path("archive")), ClassTime::default()).await.unwrap();
        Snapshot::open(&store).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_the_archive_has_go_and_others_stay() {
    let night = Night::archived().await;
    let plan = night.plan(&["--grace", "0s"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    assert!(plan.stdout.contains("2026-08-24  100 rows of 2 partitions, all in the archive"), "{plan:#?}");
    assert!(plan.stdout.contains("2026-08-26  stays: not sealed: only the hot tier has it"), "{plan:#?}");
    assert!(plan.stderr.contains("Plan: delete 200 rows of 2 days"), "{plan:#?}");
    assert_eq!(night.hot_rows("2026-08-24").await, 100, "a dry run deletes nothing");
    for (confirm, message) in [(7, "--confirm 200"), (0, "cannot be undone")] {
        let refused = night.trim(confirm, &["--grace", "0s"]);
        assert!(refused.code == Some(2) && refused.stderr.contains(message), "{refused:#?}");
    }
    let done = night.trim(100, &["--grace", "0s", "--until", "2026-08-24"]);
    assert!(done.code == Some(0) && done.stderr.contains("deleted 100 rows of 1 day"), "{done:#?}");
    assert_eq!((night.hot_rows("2026-08-24").await, night.hot_rows("2026-08-25").await), (0, 100));
    let done = night.trim(100, &["--grace", "0s"]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert_eq!((night.hot_rows("2026-08-25").await, night.hot_rows("2026-08-26").await), (0, 100));
    assert_eq!(night.archived_rows(), "200");
    let document = night.snapshot().await.root().document.clone();
    assert_eq!((document.operation.kind.as_str(), document.version), ("trim", 4));
    let seals: Vec<_> = document
        .seals
        .iter()
        .map(|seal| (seal.first.day(), seal.last.day(), seal.trimmed, seal.read.is_some()))
        .collect();
    assert_eq!(seals, [(24, 25, true, false)]);
    // Nothing is there, so nothing is due; and what only the archive has cannot be taken back.
    let nothing = night.tier.json(&["hot", "trim", "--verified", "--yes"]);
    assert_eq!(nothing["days"], 0);
    let again = night.tier.json(&["archive", "--from-hot"]);
    assert_eq!(again["days"].as_array().unwrap().len(), 0, "{again:#}");
    let refused = night.tier.run(&["revert", "1", "--yes"]);
    assert!(
        refused.code == Some(2) && refused.stderr.contains("only the archive has the events of 2026-08-24"),
        "{refused:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_verified_and_within_the_grace_nothing_goes() {
    let night = Night::archived().await;
    let refused = night.tier.run(&["hot", "trim", "--yes"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("--verified"), "{refused:#?}");
    let young = night.trim(0, &[]);
    assert_eq!(young.code, Some(0), "{young:#?}");
    assert!(
        young.stdout.contains("2026-08-24  stays: read too recently: its grace ends at 2026-09-02T03:00:00Z"),
        "{young:#?}"
    );
    assert_eq!(night.hot_rows("2026-08-24").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_archive_does_not_have_so_keeps_its_partition_until_it_is_archived() {
    let mut night = Night::archived().await;
    let late = row("2026-08-24", "acme", "login", "late", 7);
    let changed = Row { amount: Some(-1.0), ..row("2026-08-25", "globex", "login", "2026-08-25-001", 1) };
    night.keyspace.insert("events", &[late, changed], None).await;
    let done = night.trim(100, &["--grace", "0s"]);
    assert_eq!(done.code, Some(7), "{done:#?}");
    assert!(done.stdout.contains("stays: tenant acme: of 51 rows 1 not in the archive"), "{done:#?}");
    assert!(done.stdout.contains("stays: tenant globex: of 50 rows 1 other than in the archive"), "{done:#?}");
    assert_eq!((night.hot_rows("2026-08-24").await, night.hot_rows("2026-08-25").await), (51, 50));
    // The nightly job finds the late row although the day is trimmed.
    night.tier.set("TIER_NOW", "2026-08-30T03:00:00Z");
    let again = night.tier.json(&["archive", "--from-hot", "--until", "2026-08-25"]);
    let days: Vec<(&Value, &Value, &Value)> =
        again["days"].as_array().unwrap().iter().map(|day| (&day["date"], &day["why"], &day["accepted"])).collect();
    assert_eq!(days[0], (&"2026-08-24".into(), &"late".into(), &1.into()), "{again:#}");
    assert_eq!(night.archived_rows(), "201");
    let done = night.trim(51, &["--grace", "0s"]);
    assert_eq!(done.code, Some(7), "the changed row stays: {done:#?}");
    assert_eq!((night.hot_rows("2026-08-24").await, night.hot_rows("2026-08-25").await), (0, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_within_the_grace_stay_and_the_next_trim_goes_on_with_them() {
    let mut night = Night::archived().await;
    // Read long ago, by the run's own clock; written now, by the real one.
    night.tier.set("TIER_NOW", "2026-09-10T03:00:00Z");
    let report = night.trim(200, &["--grace", "1h"]);
    assert!(
        report.code == Some(0) && report.stderr.contains("200 rows stay: they were written within the grace"),
        "{report:#?}"
    );
    assert_eq!(night.hot_rows("2026-08-24").await, 100);
    // As a trim that died before its deletes would have left it.
    let plan = night.plan(&["--grace", "0s"]);
    assert!(plan.stdout.contains("left by an earlier trim"), "{plan:#?}");
    let before = night.snapshot().await.version();
    let done = night.trim(200, &["--grace", "0s"]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert_eq!((night.hot_rows("2026-08-24").await, night.snapshot().await.version()), (0, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_whose_files_are_not_all_there_stays() {
    let night = Night::archived().await;
    let files = night.snapshot().await.files(|_| true).await.unwrap();
    let lost = files.iter().find(|file| file.dates.min.day() == 24).unwrap();
    std::fs::remove_file(night.tier.path("archive").join(&lost.path)).unwrap();
    let done = night.trim(100, &["--grace", "0s"]);
    assert_eq!(done.code, Some(7), "{done:#?}");
    assert!(done.stdout.contains("a data file is not whole: events/date=2026-08-24/"), "{done:#?}");
    assert_eq!((night.hot_rows("2026-08-24").await, night.hot_rows("2026-08-25").await), (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_comes_back_with_a_time_to_live_and_is_known_again() {
    let mut night = Night::archived().await;
    assert_eq!(night.trim(200, &["--grace", "0s"]).code, Some(0));
    let back = ["rehydrate", "--where", "date = '2026-08-24'", "--to", "hot", "--ttl", "7d"];
    let refused = night.tier.run(&back);
    assert!(refused.code == Some(2) && refused.stderr.contains("the hot tier itself"), "{refused:#?}");
    let report = night.tier.json(&[&back[..], &["--yes"]].concat());
    assert_eq!((&report["rows"], &report["next"]), (&100.into(), &night.snapshot().await.version().into()));
    assert_eq!(night.hot_rows("2026-08-24").await, 100);
    let cql = format!(
        "SELECT ttl(event_type), amount FROM {}.events WHERE tenant_id = 'acme' AND day = '2026-08-24' AND event_id = '2026-08-24-002'",
        night.keyspace.name
    );
    let answer = night.keyspace.session.query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
    let (ttl, amount) = answer.single_row::<(i32, f64)>().unwrap();
    assert!((7 * 86_400 - 60..=7 * 86_400).contains(&ttl) && amount == 2.0, "{ttl} {amount}");
    // The nightly job reads the day and finds nothing new.
    night.tier.set("TIER_NOW", "2026-08-27T03:00:00Z");
    let again = night.tier.json(&["archive", "--from-hot", "--until", "2026-08-24"]);
    assert_eq!(
        (&again["read"], &again["duplicate"], &again["accepted"]),
        (&100.into(), &100.into(), &0.into()),
        "{again:#}"
    );
    assert_eq!(night.trim(100, &["--grace", "0s", "--until", "2026-08-24"]).code, Some(0));
    assert_eq!(night.hot_rows("2026-08-24").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_takes_what_it_has_columns_for() {
    let night = Night::archived().await;
    night.keyspace.execute(&format!(
        "CREATE TABLE {}.small (tenant_id text, day date, event_id text, event_type text, ts timestamp, PRIMARY KEY ((tenant_id, day), event_id))",
        night.keyspace.name
    )).await;
    let table = format!("{}.small", night.keyspace.name);
    let into = ["rehydrate", "--to", "hot", "--table", &table];
    let refused = night.tier.run(&into);
    assert!(refused.code == Some(2) && refused.stderr.contains("--omit amount"), "{refused:#?}");
    let report = night.tier.json(&[&into[..], &["--omit", "amount"]].concat());
    assert_eq!((&report["rows"], report["dates"].as_array().unwrap().len()), (&200.into(), 2), "{report:#}");
    let answer = night.keyspace.session.query_unpaged(format!("SELECT count(*) FROM {table}"), ()).await.unwrap();
    assert_eq!(answer.into_rows_result().unwrap().single_row::<(i64,)>().unwrap(), (200,));
}
