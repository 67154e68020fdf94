//! The whole flow on a real S3 store.

use std::collections::HashSet;

use serde_json::{Value, json};
use tier::catalog::Snapshot;
use tier::store::{ClassTime, Store};

use crate::support::lab::{check_versions, line, lines, rows};
use crate::support::minio::{BUCKET, fresh_address};
use crate::support::tier::{Outcome, Tier, sample_data};

async fn open(address: &str) -> Store {
    Store::open(&address.parse().unwrap(), ClassTime::default()).await.unwrap()
}

fn error_of(outcome: &Outcome) -> Value {
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    serde_json::from_str(&outcome.stderr).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_data_goes_in_once_and_is_answered() {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    let report = tier.json(&["archive", &sample_data(), "--archive", &address]);
    let numbers =
        ["version", "read", "accepted", "duplicate", "dead_letter"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(numbers, [1, 1543, 1500, 39, 4]);
    let again = tier.json(&["archive", &sample_data(), "--archive", &address]);
    assert_eq!((&again["read"], &again["version"], &again["committed"]), (&json!(0), &json!(1), &json!([])));
    let counted = tier.ok(&["query", "SELECT count(*) AS n FROM events", "--archive", &address]);
    assert_eq!(counted.stdout, "n\n1500\n");
    let store = open(&address).await;
    assert_eq!(rows(&store).await.len(), 1_500);
    check_versions(&store).await;
    assert_eq!(tier.json(&["status", "--archive", &address])["rows"], 1_500);
    assert_eq!(tier.ok(&["dead-letter", "export", "--archive", &address]).stdout.lines().count(), 4);
    tier.ok(&["revert", "1", "--yes", "--archive", &address]);
    assert_eq!(rows(&store).await, Vec::<String>::new());
    tier.ok(&["vacuum", "--yes", "--grace", "0s", "--archive", &address]);
    check_versions(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_read_from_the_store_by_key_folder_and_glob() {
    let (tier, address, exports) = (Tier::with_s3(), fresh_address(), fresh_address());
    let store = open(&exports).await;
    for (name, ids) in
        [("in/a.ndjson", 0..10), ("in/deep/b.ndjson", 5..20), ("in/_no.ndjson", 50..60), ("in/名 前.ndjson", 20..21)]
    {
        store.put(name, lines(ids)).await.unwrap();
    }
    let statuses = |report: &Value| {
        report["exports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["status"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let one = tier.json(&["archive", &format!("{exports}/in/a.ndjson"), "--archive", &address]);
    assert_eq!(
        (one["accepted"].as_u64(), one["exports"][0]["path"].as_str()),
        (Some(10), Some(&*format!("{exports}/in/a.ndjson")))
    );
    let folder = tier.json(&["archive", &format!("{exports}/in"), "--archive", &address]);
    assert_eq!(statuses(&folder), ["already-archived", "archived", "archived"]);
    assert_eq!((folder["accepted"].as_u64(), folder["duplicate"].as_u64()), (Some(11), Some(5)));
    let glob = tier.json(&["archive", &format!("{exports}/in/*.ndjson"), "--archive", &address]);
    assert_eq!((statuses(&glob).len(), &glob["read"]), (2, &json!(0)), "{glob}");
    let folders = tier.json(&["archive", &format!("{exports}/i*"), "--archive", &address]);
    assert_eq!((statuses(&folders).len(), &folders["read"]), (3, &json!(0)), "{folders}");
    let nothing = tier.run(&["archive", &format!("{exports}/none/"), "--archive", &address]);
    assert_eq!(nothing.code, Some(1), "{nothing:#?}");
    tier.json(&["archive", &format!("{exports}/in/a.ndjson"), "--after-commit", "delete", "--archive", &address]);
    assert_eq!(store.get_opt("in/a.ndjson").await.unwrap(), None);
    // Found by a listing, looked at again by its key: the same ETag.
    tier.json(&["archive", &format!("{exports}/in"), "--after-commit", "delete", "--archive", &address]);
    let left: Vec<String> = store.list("in", None).await.unwrap().into_iter().map(|object| object.path).collect();
    assert_eq!(left, ["in/_no.ndjson"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_overlapping_exports_double_no_event() {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    tier.write("a.ndjson", lines(0..600));
    tier.write("b.ndjson", lines(400..1_000));
    let children = ["a.ndjson", "b.ndjson"].map(|name| tier.spawn(&["archive", name, "--archive", &address]));
    for child in children {
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    }
    let store = open(&address).await;
    let rows = rows(&store).await;
    let distinct: HashSet<&String> = rows.iter().collect();
    assert_eq!((rows.len(), distinct.len()), (1_000, 1_000));
    check_versions(&store).await;
}

#[test]
fn what_is_wrong_with_the_store_is_said_in_plain_words() {
    let address = fresh_address();
    let mut tier = Tier::with_s3();
    tier.write("a.ndjson", lines(0..1));
    let run = |tier: &Tier, address: &str| {
        ["status", "archive"].map(|verb| {
            let args = if verb == "status" { vec!["status"] } else { vec!["archive", "a.ndjson"] };
            let outcome = tier.run(&[&args[..], &["--json", "--archive", address]].concat());
            let error = error_of(&outcome);
            (outcome.code.unwrap(), error["code"].as_str().unwrap().to_owned())
        })
    };
    let no_bucket = (1, "no-such-bucket".to_owned());
    assert_eq!(run(&tier, "s3://no-such-bucket-here/x"), [no_bucket.clone(), no_bucket]);
    tier.set("AWS_SECRET_ACCESS_KEY", "wrong");
    let bad = (1, "bad-credentials".to_owned());
    assert_eq!(run(&tier, &address), [bad.clone(), bad.clone()]);
    tier.set("AWS_ACCESS_KEY_ID", "nobody");
    assert_eq!(run(&tier, &address), [bad.clone(), bad]);
    // Nothing listens there; and no name service knows the other.
    let gone = (6, "store-unavailable".to_owned());
    tier.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    assert_eq!(run(&tier, &address), [gone.clone(), gone]);
    let mut without = Tier::with_s3();
    without.write("a.ndjson", "");
    without.set("AWS_ACCESS_KEY_ID", "").set("AWS_SECRET_ACCESS_KEY", "");
    let outcome = without.run(&["status", "--json", "--archive", &format!("s3://{BUCKET}/x")]);
    assert_eq!((outcome.code, error_of(&outcome)["code"].as_str()), (Some(1), Some("no-credentials")), "{outcome:#?}");
}

/// A year of cells: opening and planning cost a handful of requests, and data is never listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_one_day_of_a_year_opens_that_days_files_only() {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    let first: jiff::civil::Date = "2025-08-24".parse().unwrap();
    let mut text = String::new();
    for day in 0..365 {
        let date = first + jiff::Span::new().days(day);
        for (cell, (tenant, kind)) in
            [("acme", "login"), ("acme", "click"), ("globex", "login")].into_iter().enumerate()
        {
            let row = line(&format!("{day}-{cell}"), &format!("{date}T12:00:00Z"), &format!(r#""n":{day}"#));
            text.push_str(&row.replace("acme", tenant).replace("login", kind));
            text.push('\n');
        }
    }
    tier.write("year.ndjson", text);
    let report = tier.json(&["archive", "year.ndjson", "--archive", &address]);
    assert_eq!([&report["accepted"], &report["files"]], [&json!(1_095), &json!(1_095)]);
    let snapshot = Snapshot::open(&open(&address).await).await.unwrap();
    assert_eq!(snapshot.root().leaves.rows(), 1_095);
    let sql = "SELECT event_id, n FROM events WHERE date = '2026-03-01' AND tenant_id = 'acme' ORDER BY event_id";
    let answer = tier.ok(&["query", sql, "--archive", &address, "--report", "report.json"]);
    assert_eq!(answer.stdout, "event_id,n\n189-0,189\n189-1,189\n");
    let report: Value = serde_json::from_slice(&std::fs::read(tier.path("report.json")).unwrap()).unwrap();
    assert_eq!(
        [&report["files_total"], &report["files_scanned"], &report["rows"]],
        [&json!(1_095), &json!(2), &json!(2)]
    );
    let requests = &report["requests"];
    assert_eq!(
        [&requests["list"], &requests["head"]],
        [&json!(1), &json!(0)],
        "the one LIST is of the roots: {report}"
    );
    // Hint, root, one leaf, and each file whole.
    assert!(requests["get"].as_u64().unwrap() <= 5, "{report}");
}
