//! `tier vault` against moto. It has no multipart uploads and no ranges, and checks no tree hash: those are left to the
//! unit tests of `store`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tier::clock::Stopwatch;

use crate::support::lab::lines;
use crate::support::moto::{self, request};
use crate::support::server::Server;
use crate::support::tier::{Outcome, Tier};

/// moto has a standard retrieval ready after five seconds.
const WAITS_AT_MOST_MS: u64 = 40_000;

/// A local archive of one data file, its path, and a server with the empty vault `audit`.
fn small() -> (Server, Tier, String) {
    let server = moto::start();
    request(&server, "glacier", "PUT", "/-/vaults/audit", "");
    let mut tier = Tier::new();
    for (name, value) in [
        ("TIER_ARCHIVE", "archive"),
        ("AWS_ENDPOINT_URL_GLACIER", &server.endpoint()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("NO_PROXY", "127.0.0.1"),
    ] {
        tier.set(name, value);
    }
    tier.write("day.ndjson", lines(0..10));
    tier.ok(&["archive", "day.ndjson"]);
    let folder = tier.path("archive");
    let file = data_file(&folder.join("events")).expect("a data file");
    let path = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
    (server, tier, path)
}

fn data_file(folder: &Path) -> Option<std::path::PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| match path.is_dir() {
        true => data_file(&path),
        false => path.extension().is_some_and(|ending| ending == "parquet").then_some(path),
    })
}

fn error_code(outcome: &Outcome) -> Value {
    serde_json::from_str::<Value>(&outcome.stderr).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))["code"]
        .clone()
}

#[test]
fn a_copy_is_put_listed_retrieved_and_deleted() {
    let (server, tier, path) = small();
    let put = ["vault", "put", &path, "--vault", "audit", "--max-cost", "1"];
    let first = tier.json(&put);
    let copy = &first["copy"];
    assert_eq!((&copy["path"], &copy["vault"], &copy["region"]), (&json!(path), &json!("audit"), &json!("us-east-1")));
    let bytes = fs::read(tier.path("archive").join(&path)).unwrap();
    assert_eq!(copy["size_bytes"], json!(bytes.len()), "{}", server.log());
    assert_eq!(copy["tree_hash"], json!(tier::model::sha256(&bytes)), "a small file's tree hash is its digest");
    assert_eq!((&first["is_known"], &copy["job"]), (&json!(false), &Value::Null));

    assert_eq!(tier.json(&put), json!({"format_version": "1.0", "copy": copy, "is_known": true}));
    assert!(tier.ok(&put).stderr.contains("is there already: in the vault audit"));
    let elsewhere = tier.run(&["vault", "put", &path, "--vault", "other", "--max-cost", "1"]);
    assert_eq!(elsewhere.code, Some(2), "{elsewhere:#?}");
    let mut listed = copy.clone();
    listed["in_archive"] = json!(true);
    assert_eq!(tier.json(&["vault", "list"]), json!({"format_version": "1.0", "copies": [listed]}));

    let get = ["vault", "get", &path, "--output", "copy.parquet", "--max-cost", "1"];
    let asked = tier.run(&get);
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(4), ""), "{asked:#?}\n{}", server.log());
    let words = ["the standard retrieval of", "is asked for; come back by", "tier vault get"];
    assert!(words.iter().all(|word| asked.stderr.contains(word)), "{asked:#?}");
    let running = tier.run(&[&["--json"], &get[..]].concat());
    assert_eq!(running.code, Some(4), "{running:#?}");
    let running: Value = serde_json::from_str(&running.stdout).unwrap();
    assert_eq!((&running["state"], &running["copy"]["job"]["retrieval"]), (&json!("running"), &json!("standard")));
    let job = &running["copy"]["job"]["id"];
    let started = Stopwatch::start();
    loop {
        assert!(!tier.path("copy.parquet").exists());
        let outcome = tier.run(&get);
        if outcome.code == Some(0) {
            break;
        }
        assert!(outcome.stderr.contains("is still running"), "{outcome:#?}");
        assert!(started.elapsed_ms() < WAITS_AT_MOST_MS, "{outcome:#?}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(fs::read(tier.path("copy.parquet")).unwrap() == bytes);
    let again = tier.run(&get);
    assert_eq!(again.code, Some(2), "nothing is overwritten: {again:#?}");
    assert_eq!(&tier.json(&["vault", "list"])["copies"][0]["job"]["id"], job, "one job served all calls");

    let unasked = tier.run(&["vault", "delete", &path]);
    assert_eq!(unasked.code, Some(2), "{unasked:#?}");
    assert!(unasked.stderr.contains("billed all the same"), "{unasked:#?}");
    assert_eq!(tier.json(&["vault", "delete", &path, "--yes"])["deleted"]["path"], json!(path));
    assert_eq!(tier.json(&["vault", "list"]), json!({"format_version": "1.0", "copies": []}));
    let gone = tier.run(&["--json", "vault", "get", &path, "--output", "other.parquet"]);
    assert_eq!((gone.code, error_code(&gone)), (Some(2), json!("no-such-copy")), "{gone:#?}");
}

#[test]
fn damaged_bytes_are_not_handed_out() {
    let (_server, tier, path) = small();
    tier.ok(&["vault", "put", &path, "--vault", "audit", "--yes"]);
    let record = data_record(&tier);
    let text = fs::read_to_string(&record).unwrap();
    let hash = tier.json(&["vault", "list"])["copies"][0]["tree_hash"].as_str().unwrap().to_owned();
    fs::write(&record, text.replace(&hash, &"0".repeat(hash.len()))).unwrap();
    let get = ["--json", "vault", "get", &path, "--output", "copy.parquet", "--retrieval", "expedited", "--yes"];
    let started = Stopwatch::start();
    let refused = loop {
        let outcome = tier.run(&get);
        if outcome.code != Some(4) {
            break outcome;
        }
        assert!(started.elapsed_ms() < WAITS_AT_MOST_MS, "{outcome:#?}");
        std::thread::sleep(Duration::from_millis(300));
    };
    assert_eq!((refused.code, error_code(&refused)), (Some(1), json!("vault-damaged")), "{refused:#?}");
    let left: Vec<_> = fs::read_dir(tier.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "archive" || name == "day.ndjson"), "{left:?}");
}

fn data_record(tier: &Tier) -> std::path::PathBuf {
    let mut records = fs::read_dir(tier.path("archive/_tier/vault")).unwrap();
    records.next().unwrap().unwrap().path()
}

#[test]
fn nothing_is_spent_unasked_and_mistakes_are_named() {
    let (_server, tier, path) = small();
    let none = "events/none.parquet";
    for (args, code, word) in [
        (vec!["put", &path, "--vault", "audit"], 2, "usage"),
        (vec!["put", &path, "--vault", "audit", "--max-cost", "0"], 5, "over-budget"),
        (vec!["put", &path, "--vault", "audit", "--yes", "--now", "2999-01-01"], 2, "usage"),
        (vec!["put", none, "--vault", "audit", "--yes"], 2, "no-such-file"),
        (vec!["put", &path, "--vault", "nowhere", "--yes"], 1, "no-such-vault"),
        (vec!["get", &path, "--output", "x"], 2, "no-such-copy"),
        (vec!["delete", &path, "--yes"], 2, "no-such-copy"),
    ] {
        let outcome = tier.run(&[&["--json", "vault"], &args[..]].concat());
        assert_eq!((outcome.code, error_code(&outcome)), (Some(code), json!(word)), "{args:?}: {outcome:#?}");
    }
    assert_eq!(tier.json(&["vault", "list"])["copies"], json!([]));
    tier.ok(&["vault", "put", &path, "--vault", "audit", "--yes"]);
    let get = tier.run(&["--json", "vault", "get", &path, "--output", "x"]);
    assert_eq!((get.code, error_code(&get)), (Some(2), json!("usage")), "{get:#?}");
    assert_eq!(tier.json(&["vault", "list"])["copies"][0]["job"], Value::Null);
}
