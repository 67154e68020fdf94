//! `tier archive --from-hot` by the real binary, against a real Cassandra.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use scylla::value::CqlDate;
use serde_json::Value;
use tier::catalog::Snapshot;
use tier::model::days_of_date;
use tier::store::{ClassTime, Location, Store};

use super::night::{DAYS, KEY, NEXT_NIGHT, NIGHT, Night, day, days_of, rows_of};
use crate::support::events::Row;
use crate::support::tier::Tier;

#[tokio::test(flavor = "multi_thread")]
async fn closed_days_are_sealed_oldest_first_and_a_second_run_adds_nothing() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&DAYS, &["acme", "globex"], 40)).await;
    let report = night.archive(NIGHT, &[]);
    let sealed: Vec<_> = DAYS[..3].iter().map(|date| day(date, "new", [80, 80, 0, 0, 80])).collect();
    assert_eq!(days_of(&report), sealed);
    let expected: Vec<String> = ["acme", "globex"]
        .iter()
        .flat_map(|tenant| DAYS[..3].iter().map(move |day| format!("{tenant},{day},40")))
        .collect();
    assert_eq!(night.counts(), expected);
    let again = night.archive(NIGHT, &[]);
    assert_eq!((days_of(&again), night.version()), (vec![], 3));
    let status = night.tier.json(&["status", "--now", NIGHT]);
    assert_eq!(status["sealed"], serde_json::json!([{"first": DAYS[0], "last": DAYS[2]}]));
    assert_eq!(status["hot"]["unarchived"][0]["date"], DAYS[3]);
    assert_eq!(status["hot"]["last_run"]["exit_code"], 0);
    assert_eq!(night.ask("SELECT sum(amount), count(payload) FROM events"), ["570.0,240"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_are_found_the_next_night_and_changed_ones_become_one_dead_letter() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&DAYS, &["acme"], 10)).await;
    night.archive(NIGHT, &[]);
    let mut late = rows_of(&["2026-11-22"], &["acme", "initech"], 1);
    late[0].event_id = "late".to_owned();
    let changed = Row { amount: Some(99.0), ..rows_of(&["2026-11-21"], &["acme"], 1).remove(0) };
    night.insert(&[late, vec![changed]].concat()).await;
    let next = night.archive(NEXT_NIGHT, &[]);
    assert_eq!(
        days_of(&next),
        [
            day("2026-11-23", "new", [10, 10, 0, 0, 10]),
            day("2026-11-20", "late", [10, 0, 10, 0, 10]),
            day("2026-11-21", "late", [10, 0, 9, 1, 10]),
            day("2026-11-22", "late", [12, 2, 10, 0, 12]),
        ]
    );
    let letters = night.tier.json(&["dead-letter", "list"]);
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 1, "{letters}");
    let exported = night.tier.ok(&["dead-letter", "export"]).stdout;
    let letter: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    let raw: Value = serde_json::from_str(letter["raw"].as_str().unwrap()).unwrap();
    assert_eq!(
        (raw["event_id"].as_str(), raw["amount"].as_f64(), raw["tenant_id"].as_str(), raw["event_type"].as_str()),
        (Some("2026-11-21-acme-0"), Some(99.0), Some("acme"), Some("login"))
    );
    // Two nights later the 22nd and 23rd are read again, and the 21st on request: nothing is new, and no letter is kept
    // twice.
    night.archive("2026-11-25T03:00:00Z", &[]);
    let asked = night.archive("2026-11-25T03:00:00Z", &["--date", "2026-11-21"]);
    assert_eq!(days_of(&asked), [day("2026-11-21", "asked", [10, 0, 9, 1, 10])]);
    assert_eq!(night.tier.json(&["dead-letter", "list"])["dead_letters"].as_array().unwrap().len(), 1);
    assert_eq!(night.ask("SELECT count(*) FROM events"), ["42"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_events_of_their_day_become_dead_letters_and_the_day_is_sealed() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&["2026-11-20"], &["acme"], 5)).await;
    let keyspace = &night.keyspace;
    // Kept under the 20th, and of the 19th; and one without a time.
    let day = CqlDate((1 << 31) + days_of_date("2026-11-20".parse().unwrap()) as u32);
    for (id, time) in [("elsewhere", "'2026-11-19T10:00:00Z'"), ("timeless", "null")] {
        let insert = format!(
            "INSERT INTO {}.events (tenant_id, day, event_id, event_type, ts) VALUES ('acme', ?, '{id}', 'view', {time})",
            keyspace.name
        );
        keyspace.session.query_unpaged(insert, (day,)).await.unwrap();
    }
    let report = night.archive(NIGHT, &["--until", "2026-11-20"]);
    assert_eq!(days_of(&report), [super::night::day("2026-11-20", "new", [7, 5, 0, 2, 7])]);
    let exported = night.tier.ok(&["dead-letter", "export"]).stdout;
    let mut details: Vec<String> = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["detail"].as_str().unwrap().to_owned())
        .collect();
    details.sort();
    assert_eq!(
        details,
        ["`ts` is not of the day 2026-11-20, under which it is kept: 2026-11-19T10:00:00Z", "no time: `ts` is missing"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_too_many_bad_rows_stays_unsealed_and_the_others_do_not() {
    let night = Night::new(KEY).await;
    let mut rows = rows_of(&DAYS[..3], &["acme"], 30);
    let of_the_21st = rows.iter_mut().filter(|row| row.date.day() == 21);
    of_the_21st.for_each(|row| row.event_type = String::new());
    night.insert(&rows).await;
    let outcome = night.run(NIGHT, &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("has 30 bad records of 30"), "{outcome:#?}");
    assert_eq!(night.counts(), ["acme,2026-11-20,30", "acme,2026-11-22,30"]);
    let report = night.archive(NIGHT, &["--max-dead-letters", "100%"]);
    assert_eq!(days_of(&report), [day("2026-11-21", "new", [30, 0, 0, 30, 30])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_expire_soon_and_are_not_archived_make_a_person_look() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&["2026-11-20"], &["acme"], 2)).await;
    night.insert(&rows_of(&["2026-09-01"], &["acme"], 2)).await;
    let outcome = night.run(NIGHT, &["--date", "2026-11-20"]);
    assert_eq!(outcome.code, Some(7), "{outcome:#?}");
    assert!(outcome.stderr.contains("1 closed day is not archived: 2026-09-01: only the hot tier"), "{outcome:#?}");
    assert!(outcome.stderr.contains("begin to expire in 6 days"), "{outcome:#?}");
    let status = night.tier.run(&["status", "--now", NIGHT]);
    assert_eq!(status.code, Some(7), "{status:#?}");
    assert!(status.stdout.contains("2026-09-01  closed     6 days left"), "{status:#?}");
    night.archive(NIGHT, &[]);
    assert_eq!(night.tier.run(&["status", "--now", NIGHT]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_first_read_after_it_began_to_expire_is_marked() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&["2026-08-01", "2026-11-20"], &["acme"], 2)).await;
    night.archive(NIGHT, &["--date", "2026-08-01"]);
    night.archive(NIGHT, &["--date", "2026-11-20"]);
    let status = night.tier.json(&["status", "--now", NIGHT]);
    assert_eq!(status["possibly_incomplete"], serde_json::json!([{"first": "2026-08-01", "last": "2026-08-01"}]));
    let doubt = "possibly incomplete: 2026-08-01 was read from the hot tier only after its events had begun to expire";
    let over_it = night.tier.ok(&["query", "--tiers", "cold", "SELECT count(*) FROM events"]);
    assert!(over_it.stderr.contains(doubt), "{over_it:#?}");
    let not_over_it =
        night.tier.ok(&["query", "--tiers", "cold", "SELECT count(*) FROM events WHERE date > '2026-08-01'"]);
    assert!(!not_over_it.stderr.contains("incomplete"), "{not_over_it:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_little_time_to_live_are_counted() {
    let night = Night::new(KEY).await;
    night.keyspace.insert("events", &rows_of(&["2026-11-20"], &["acme"], 3), Some(3 * 86_400)).await;
    night.insert(&rows_of(&["2026-11-20"], &["globex"], 2)).await;
    let report = night.archive(NIGHT, &[]);
    assert_eq!(report["days"][0]["expiring"], 3, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_layouts_of_the_key_are_archived_alike() {
    for key in ["((day, tenant_id), event_id)", "(tenant_id, event_id)", "((tenant_id, event_type), ts, event_id)"] {
        let night = Night::new(key).await;
        night.insert(&rows_of(&DAYS, &["acme", "globex"], 25)).await;
        let report = night.archive(NIGHT, &[]);
        let sealed: Vec<_> = DAYS[..3].iter().map(|date| day(date, "new", [50, 50, 0, 0, 50])).collect();
        assert_eq!(days_of(&report), sealed, "{key}");
        assert_eq!(days_of(&night.archive(NIGHT, &[])), [], "{key}");
        assert_eq!(night.ask("SELECT count(*), count(DISTINCT event_id) FROM events"), ["150,150"], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_day_is_not_archived() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&DAYS, &["acme"], 1)).await;
    let outcome = night.run(NIGHT, &["--date", DAYS[3]]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.contains("it closes at 2026-11-24T02:00:00Z"), "{outcome:#?}");
}

/// After each kill every day is there whole or not at all, and the last run does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_night_killed_at_any_moment_is_made_whole_by_the_next_run() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&DAYS, &["acme", "globex"], 1500)).await;
    let check = async || {
        let store = Store::open(&Location::Local(night.tier.path("archive")), ClassTime::default()).await.unwrap();
        if Snapshot::latest(&store).await.unwrap().is_some() {
            let counts = night.counts();
            assert!(counts.iter().all(|line| line.ends_with(",1500")), "{counts:?}");
        }
    };
    night.tier.kill_until_done(&["archive", "--from-hot", "--now", NIGHT], Duration::from_millis(100), check).await;
    let totals = "SELECT count(*), count(DISTINCT event_id), sum(amount) FROM events";
    assert_eq!(night.ask(totals), ["9000,9000,842625.0"]);
    assert_eq!(days_of(&night.archive(NIGHT, &[])), []);
    assert_eq!(night.ask(totals), ["9000,9000,842625.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_night_at_a_time_and_a_dead_one_is_taken_over_at_once() {
    let night = Night::new(KEY).await;
    night.settings("rows_per_second = 2000\npage_size = 500\n");
    night.insert(&rows_of(&DAYS[..3], &["acme"], 4000)).await;
    let mut first = night.tier.spawn(&["archive", "--from-hot", "--now", NIGHT]);
    let lease = night.tier.path("archive/_tier/lease");
    while std::fs::read_dir(&lease).map_or(0, Iterator::count) == 0 {
        assert_eq!(first.try_wait().unwrap(), None, "it ended without a lease");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let second = night.run(NIGHT, &[]);
    assert_eq!(second.code, Some(6), "{second:#?}");
    assert!(second.stderr.contains("another nightly job is at work: process "), "{second:#?}");
    kill_process(Pid::from_child(&first), Signal::KILL).unwrap();
    first.wait().unwrap();
    night.settings("");
    let report = night.archive(NIGHT, &[]);
    assert_eq!(report["accepted"], 12_000, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_day_is_the_hot_tiers_again() {
    let night = Night::new(KEY).await;
    night.insert(&rows_of(&DAYS[..3], &["acme"], 3)).await;
    night.archive(NIGHT, &[]);
    night.archive(NEXT_NIGHT, &[]);
    night.tier.ok(&["revert", "2", "--yes"]);
    let status = night.tier.json(&["status", "--now", NIGHT]);
    let range = |first: &str, last: &str| serde_json::json!({"first": first, "last": last});
    assert_eq!(status["sealed"], serde_json::json!([range(DAYS[0], DAYS[0]), range(DAYS[2], DAYS[3])]));
    let report = night.archive(NEXT_NIGHT, &[]);
    assert_eq!(days_of(&report)[0], day(DAYS[1], "new", [3, 3, 0, 0, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_down_is_said_so_and_the_run_is_on_record() {
    let tier = Tier::new();
    let hot = "contact_points = [\"127.0.0.1:9\"]\nkeyspace = \"k\"\ntable = \"events\"\n";
    tier.write("tier.toml", format!("[archive]\nurl = \"archive\"\n[hot]\n{hot}"));
    let outcome = tier.run(&["archive", "--from-hot"]);
    assert_eq!(outcome.code, Some(6), "{outcome:#?}");
    assert!(outcome.stderr.contains("127.0.0.1:9"), "{outcome:#?}");
    let records: Vec<_> = std::fs::read_dir(tier.path("archive/_tier/run")).unwrap().collect();
    let record = std::fs::read_to_string(records[0].as_ref().unwrap().path()).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!((records.len(), record["exit_code"].as_u64()), (1, Some(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_from_exports_are_sealed_by_hand() {
    let tier = Tier::new();
    let event = |day: u8| {
        format!(
            "{{\"event_id\":\"{day}\",\"tenant_id\":\"a\",\"event_type\":\"t\",\"ts\":\"2026-08-{day:02}T10:00:00Z\"}}\n"
        )
    };
    tier.write("week.ndjson", (1..=7).map(event).collect::<String>());
    tier.ok(&["archive", "week.ndjson", "--archive", "archive"]);
    let sealed =
        tier.json(&["archive", "--seal", "2026-08-01..2026-08-03", "--seal", "2026-08-05", "--archive", "archive"]);
    assert_eq!(sealed["sealed"].as_array().unwrap().len(), 4);
    let status = tier.json(&["status", "--archive", "archive"]);
    let range = |first: &str, last: &str| serde_json::json!({"first": first, "last": last});
    assert_eq!(
        status["sealed"],
        serde_json::json!([range("2026-08-01", "2026-08-03"), range("2026-08-05", "2026-08-05")])
    );
    let again = tier.ok(&["archive", "--seal", "2026-08-02", "--archive", "archive"]);
    assert!(again.stderr.contains("sealed already, nothing written"), "{again:#?}");
}

/// A folder of exports as the hot tier: archived whole, closed dates sealed.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_exports_may_be_the_hot_tier() {
    let tier = Tier::new();
    tier.write("tier.toml", "[archive]\nurl = \"archive\"\n[hot]\nexports = \"spool\"\n");
    let event = |day: u8| {
        format!(
            "{{\"event_id\":\"{day}\",\"tenant_id\":\"a\",\"event_type\":\"t\",\"ts\":\"2026-11-{day:02}T00:10:00Z\"}}\n"
        )
    };
    tier.write("spool/a.ndjson", [20, 22, 23].map(event).concat());
    let report = tier.json(&["archive", "--from-hot", "--now", NIGHT]);
    assert_eq!((report["exports"]["accepted"].as_u64(), report["sealed"].as_array().unwrap().len()), (Some(3), 3));
    let again = tier.json(&["archive", "--from-hot", "--now", NIGHT]);
    assert_eq!((again["exports"]["accepted"].as_u64(), again["sealed"].as_array().unwrap().len()), (Some(0), 0));
}

/// Before, while and after exports are archived a question has the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn questions_over_a_hot_tier_of_exports_see_each_event_once() {
    let tier = Tier::new();
    tier.write("tier.toml", "[archive]\nurl = \"archive\"\n[hot]\nexports = \"spool\"\n");
    let event = |day: u8, n: u32| {
        format!(
            "{{\"event_id\":\"{day}-{n}\",\"tenant_id\":\"a\",\"event_type\":\"t\",\"ts\":\"2026-11-{day:02}T00:10:00Z\",\
             \"n\":{n}}}\n"
        )
    };
    let file = |day: u8| (0..50).map(|n| event(day, n)).collect::<String>();
    tier.write("spool/a.ndjson", [20, 21].map(file).concat());
    // Some of it was delivered before.
    tier.write("spool/b.ndjson", [21, 22, 23].map(file).concat() + "no event\n");
    let sql = "SELECT date, count(*), sum(n) FROM events GROUP BY date ORDER BY date";
    let ask = || tier.ok(&["query", "--now", NIGHT, sql]).stdout;
    let before = ask();
    let expected: Vec<String> = (20..=23).map(|day| format!("2026-11-{day},50,1225")).collect();
    assert_eq!(before.lines().skip(1).collect::<Vec<_>>(), expected);
    tier.ok(&["archive", "spool/b.ndjson", "--now", NIGHT]);
    assert_eq!(ask(), before);
    tier.ok(&["archive", "--from-hot", "--now", NIGHT]);
    assert_eq!(ask(), before);
    tier.write("spool/c.ndjson", file(23) + &event(23, 50));
    assert!(ask().contains("2026-11-23,51,1275\n"), "{}", ask());
}
