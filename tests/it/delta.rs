//! The published Delta table: DuckDB, Polars and delta-rs see exactly the rows that `tier query --tiers cold` sees.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tier::clock::Clock;
use tier::context::Context;
use tier::store::{ClassTime, Location, Store};
use tier::vacuum;

use crate::support::delta::{
    Cells, all_agree, all_but_polars_agree, checkpointed, commit, expected, log_names, of_a_query, readers_agree,
    refusals, replayed, rows, versions,
};
use crate::support::lab::{ODD_NAMES, context, line, lines, lines_of_names};
use crate::support::minio::fresh_address;
use crate::support::temp_file;
use crate::support::tier::{Outcome, Tier, sample_data};

/// V2 checkpoints above twenty files, one with each run.
pub const SIDECARS: &str = "[publish.checkpoints]\nevery = 1\nsidecars_above = 20\nfiles_per_sidecar = 32\n";

/// When the sample week is archived.
pub const THEN: &str = "2026-09-01T03:00:00Z";

/// When it is older than a year.
pub const LATER: &str = "2027-09-02T03:00:00Z";

pub async fn open(tier: &Tier) -> Store {
    Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap()
}

pub fn at(tier: &Tier, now: &str, args: &[&str]) -> Outcome {
    tier.ok(&[args, &["--archive", "archive", "--now", now]].concat())
}

pub fn publish(tier: &Tier) -> Value {
    tier.json(&["publish", "delta", "--archive", "archive"])
}

/// A rule for one tenant, in a world where moving a small file pays.
fn rule(tier: &Tier, tenant: &str, rest: &str) {
    rule_beside(tier, "", tenant, rest);
}

/// As [`rule`], beside other settings.
pub fn rule_beside(tier: &Tier, settings: &str, tenant: &str, rest: &str) {
    let mut prices = include_str!("../../src/model/prices/prices.toml").to_owned();
    for (dear, free) in [
        ("minimum_billed_bytes = 131_072", "minimum_billed_bytes = 0"),
        ("overhead_bytes = 32_768", "overhead_bytes = 0"),
        ("overhead_standard_bytes = 8_192", "overhead_standard_bytes = 0"),
    ] {
        assert!(prices.contains(dear), "{prices}");
        prices = prices.replace(dear, free);
    }
    tier.write("prices.toml", prices);
    let text = format!(
        "{settings}[prices]\nfile = \"prices.toml\"\n[lifecycle]\nhorizon = \"9000y\"\n[[lifecycle.rules]]\n\
         name = \"r\"\ntenant = \"{tenant}\"\nafter = \"1y\"\n{rest}\n"
    );
    tier.write("tier.toml", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_what_a_query_sees_after_every_change_of_the_archive() {
    let tier = Tier::new();
    at(&tier, THEN, &["archive", &sample_data()]);
    let report = publish(&tier);
    assert_eq!(
        (&report["commits"], &report["table_version"], &report["archive_version"]),
        (&1.into(), &0.into(), &1.into())
    );
    let first = all_agree(&tier, "archive");
    assert_eq!(rows(&first), 1_500);
    let store = open(&tier).await;

    // Late events, and a column that the older files lack.
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00.000001Z", r#""brand new":1.5,"n":7,"ok":true"#));
    at(&tier, THEN, &["archive", "late.ndjson"]);
    assert_eq!(publish(&tier)["commits"], 1);
    assert_eq!(rows(&all_agree(&tier, "archive")), 1_501);
    let lines = commit(&store, 1).await;
    assert!(
        lines.iter().any(|line| line["metaData"]["schemaString"].as_str().is_some_and(|s| s.contains("brand new")))
    );

    // Small files of a cell become one, and nothing is said to have changed.
    at(&tier, LATER, &["compact"]);
    let report = publish(&tier);
    assert_eq!((&report["added"]["rows"], &report["commits"]), (&report["removed"]["rows"], &1.into()), "{report:#}");
    let compacted = commit(&store, 2).await;
    let changes: Vec<&Value> = compacted
        .iter()
        .filter_map(|line| line.get("add").or(line.get("remove")))
        .map(|action| &action["dataChange"])
        .collect();
    assert!(changes.len() >= 3 && changes.iter().all(|change| *change == &Value::from(false)), "{compacted:#?}");
    assert_eq!(rows(&all_agree(&tier, "archive")), 1_501);

    // To deep, as bundles, and where it lies.
    rule(&tier, "acme", "class = \"DEEP_ARCHIVE\"");
    at(&tier, LATER, &["lifecycle", "apply", "--yes"]);
    rule(&tier, "globex", "class = \"GLACIER\"\nlayout = \"in-place\"");
    at(&tier, LATER, &["lifecycle", "apply", "--yes"]);
    // Moved to a class that is read at once: the table need not know.
    rule(&tier, "initech", "class = \"GLACIER_IR\"\nlayout = \"in-place\"");
    at(&tier, LATER, &["lifecycle", "apply", "--yes"]);
    let report = publish(&tier);
    assert_eq!((&report["commits"], &report["added"]["files"]), (&2.into(), &0.into()), "{report:#}");
    assert_eq!(report["left_out"]["files"], 0, "{report:#}");
    let cells = all_agree(&tier, "archive");
    let tenants: std::collections::BTreeSet<&str> = cells.keys().filter_map(|cell| cell.rsplit('/').next()).collect();
    assert!(tenants.contains("initech") && !tenants.contains("acme") && !tenants.contains("globex"), "{tenants:?}");

    // Expiry.
    rule(&tier, "initech", "expire = true");
    let expires =
        tier.json(&["lifecycle", "plan", "--archive", "archive", "--now", LATER])["totals"]["expires"].clone();
    at(&tier, LATER, &["lifecycle", "apply", "--yes", "--confirm", &expires.to_string()]);
    assert_eq!(publish(&tier)["removed"]["files"], expires);
    let left = all_agree(&tier, "archive");
    assert!(rows(&left) < rows(&cells), "{left:#?}");

    // Taken back.
    tier.write("more.ndjson", lines_of("umbrella", 0..50));
    at(&tier, LATER, &["archive", "more.ndjson"]);
    let newest = publish(&tier)["archive_version"].to_string();
    assert_eq!(rows(&all_agree(&tier, "archive")), rows(&left) + 50);
    at(&tier, LATER, &["revert", &newest, "--yes"]);
    assert_eq!(publish(&tier)["removed"]["rows"], 50);
    assert_eq!(all_agree(&tier, "archive"), left);

    // From nothing.
    let report = tier.json(&["publish", "delta", "--replace", "--archive", "archive"]);
    assert_eq!((&report["table_version"], &report["table"]["rows"]), (&0.into(), &rows(&left).into()), "{report:#}");
    assert_eq!(all_agree(&tier, "archive"), left);
    assert_eq!(publish(&tier)["commits"], 0, "nothing is due");

    // The table is nobody's data: neither does verify mind it, nor does vacuum touch it.
    at(&tier, LATER, &["verify"]);
    at(&tier, "2028-01-01T00:00:00Z", &["vacuum", "--yes"]);
    assert_eq!(all_agree(&tier, "archive"), left);
    tier.ok(&["publish", "delta", "--remove", "--archive", "archive"]);
    assert_eq!(log_names(&tier.path("archive")), Vec::<String>::new());
}

pub fn lines_of(tenant: &str, ids: std::ops::Range<u32>) -> String {
    lines(ids).replace("\"acme\"", &format!("{tenant:?}"))
}

#[test]
fn tenants_types_and_columns_of_any_name_are_found_under_it() {
    let tier = Tier::new();
    let names = [&ODD_NAMES[..], &["a?b#c", "a,b", "~x", "{y}"]].concat();
    let column = |name: &str, copy: usize| format!("{:?}:{copy}", format!("col {name};(){{}}=\t"));
    tier.write("odd.ndjson", lines_of_names(&names, column));
    tier.ok(&["archive", "odd.ndjson", "--archive", "archive"]);
    publish(&tier);
    let cells = all_agree(&tier, "archive");
    let counts: Vec<u64> = names.iter().map(|name| cells[&format!("2026-08-24/{name}/{name}")].0).collect();
    assert_eq!(counts, (1..=names.len() as u64).collect::<Vec<_>>());
}

#[test]
fn bundles_that_can_be_read_are_left_out_and_counted() {
    let tier = Tier::new();
    at(&tier, THEN, &["archive", &sample_data()]);
    rule(&tier, "acme", "class = \"GLACIER_IR\"");
    at(&tier, LATER, &["lifecycle", "apply", "--yes"]);
    let plan = tier.json(&["publish", "delta", "--dry-run", "--archive", "archive"]);
    let report = publish(&tier);
    let cold = rows(&of_a_query(&tier, "archive", "SELECT * FROM events"));
    let shown = of_a_query(&tier, "archive", "SELECT * FROM events WHERE tenant_id <> 'acme'");
    assert_eq!(readers_agree(&tier, "archive"), shown);
    assert_eq!(report["left_out"]["rows"], cold - rows(&shown), "{report:#}");
    assert_eq!((&plan["add"], &plan["left_out"]), (&report["table"], &report["left_out"]));
    let words = tier.ok(&["publish", "delta", "--archive", "archive"]).stderr;
    assert!(words.contains("bundle can be read and are not in the table"), "{words}");
}

#[test]
fn nobody_else_writes_deletes_or_vacuums() {
    for (settings, read) in [("", all_agree as fn(&Tier, &str) -> Cells), (SIDECARS, all_but_polars_agree)] {
        let tier = Tier::new();
        tier.write("tier.toml", settings);
        at(&tier, THEN, &["archive", &sample_data()]);
        publish(&tier);
        // What a vacuum of Delta's would take for rubbish.
        let cell = tier.path("archive/events/date=2026-08-24/event_type=login/tenant_id=acme");
        fs::write(cell.join("another.parquet"), "not in the table").unwrap();
        let before = log_names(&tier.path("archive"));
        let refused = refusals(&tier, "archive");
        assert_eq!(refused.keys().collect::<Vec<_>>(), ["append", "compact", "delete", "vacuum"]);
        for (what, words) in refused {
            assert!(words.as_ref().is_some_and(|words| words.contains("tier-archive")), "{what}: {words:?}");
        }
        assert_eq!(log_names(&tier.path("archive")), before);
        assert!(cell.join("another.parquet").exists());
        fs::remove_file(cell.join("another.parquet")).unwrap();
        read(&tier, "archive");
    }
}

#[test]
fn somebody_elses_commit_is_not_built_upon() {
    let tier = Tier::new();
    at(&tier, THEN, &["archive", &sample_data()]);
    publish(&tier);
    tier.write(
        "archive/_delta_log/00000000000000000001.json",
        "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"WRITE\"}}\n",
    );
    let refused = tier.run(&["publish", "delta", "--archive", "archive"]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("version 1 was committed by somebody else"), "{refused:#?}");
    assert!(refused.stderr.contains("tier publish delta --replace --archive"), "{refused:#?}");
    tier.ok(&["publish", "delta", "--replace", "--archive", "archive"]);
    all_agree(&tier, "archive");

    // A log that lost a file.
    tier.write("a.ndjson", lines(0..3));
    at(&tier, THEN, &["archive", "a.ndjson"]);
    publish(&tier);
    fs::remove_file(tier.path("archive/_delta_log/00000000000000000000.json")).unwrap();
    let refused = tier.run(&["publish", "delta", "--archive", "archive"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("its log lacks version 0"), "{refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_version_has_expired_says_so() {
    let tier = Tier::new();
    tier.write("a.ndjson", lines(0..3));
    tier.write("b.ndjson", lines(3..6));
    at(&tier, THEN, &["archive", "a.ndjson"]);
    at(&tier, THEN, &["archive", "b.ndjson"]);
    publish(&tier);
    at(&tier, "2026-12-01T00:00:00Z", &["compact"]);
    // The command pins what the table shows; a copy of the archive without its table would not.
    let ctx = Context { clock: Clock::Fixed("2030-01-01T00:00:00Z".parse().unwrap()), ..context(open(&tier).await) };
    let plan = vacuum::plan(&ctx, &vacuum::Retention::default()).await.unwrap();
    vacuum::apply(&ctx, &plan).await.unwrap();
    let refused = tier.run(&["publish", "delta", "--archive", "archive"]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("shows version 2, which has expired"), "{refused:#?}");
    tier.ok(&["publish", "delta", "--replace", "--archive", "archive"]);
    assert_eq!(rows(&all_agree(&tier, "archive")), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_changed_no_file_make_no_commit_and_missed_ones_are_caught_up() {
    let tier = Tier::new();
    for number in 0..4_u32 {
        tier.write("a.ndjson", lines(number * 10..number * 10 + 10));
        at(&tier, THEN, &["archive", "a.ndjson"]);
        at(&tier, THEN, &["hold", "add", "--tenant", "acme", "--reason", &number.to_string()]);
        at(&tier, THEN, &["archive", "--seal", &format!("2026-08-0{}", number + 1)]);
        if number == 0 {
            publish(&tier);
        }
    }
    at(&tier, THEN, &["compact", "--catalog"]);
    let report = publish(&tier);
    assert_eq!((&report["commits"], &report["table_version"]), (&3.into(), &3.into()), "{report:#}");
    let store = open(&tier).await;
    assert_eq!(replayed(&store).await, expected(&store).await);
    assert_eq!(publish(&tier)["commits"], 0);
    assert_eq!(rows(&all_agree(&tier, "archive")), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_hold_what_the_log_says_and_readers_begin_there() {
    let tier = Tier::new();
    // Merges of the catalog are versions too.
    tier.write("tier.toml", "[publish]\ndelta = true\n[compact]\ncatalog = false\n");
    for number in 0..23_u32 {
        let more = format!("\"c{number}\":{number}");
        tier.write("a.ndjson", line(&number.to_string(), "2026-08-24T12:00:00Z", &more));
        let said = at(&tier, THEN, &["archive", "a.ndjson"]).stderr;
        assert!(said.contains(&format!("Delta table: version {number} shows version {}", number + 1)), "{said}");
    }
    let store = open(&tier).await;
    assert_eq!(versions(&store).await, (0..23).collect::<Vec<_>>());
    assert_eq!(checkpointed(&store, 20).await.len(), 21);
    let archive = tier.path("archive");
    assert!(log_names(&archive).contains(&"_last_checkpoint".to_owned()));
    assert_eq!(rows(&all_agree(&tier, "archive")), 23);
    // Only the last checkpoint and what follows: the others are not read.
    for version in 0..20 {
        fs::remove_file(archive.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    fs::remove_file(archive.join("_delta_log/00000000000000000010.checkpoint.parquet")).unwrap();
    assert_eq!(rows(&all_agree(&tier, "archive")), 23);
    assert_eq!(publish(&tier)["commits"], 0, "it can be followed from there too");
}

#[test]
fn a_table_that_cannot_be_published_does_not_hide_what_was_committed() {
    let tier = Tier::new();
    tier.write("tier.toml", "[publish]\ndelta = true\n");
    tier.write("a.ndjson", lines(0..10));
    tier.write("b.ndjson", lines(10..30));
    let first = at(&tier, THEN, &["archive", "a.ndjson"]);
    assert!(first.stderr.contains("Delta table: version 0"), "{first:#?}");
    assert!(!at(&tier, THEN, &["archive", "a.ndjson"]).stderr.contains("Delta"), "nothing was committed");
    tier.write("archive/_delta_log/00000000000000000001.json", "{}\n");
    let behind = tier.run(&["--json", "archive", "b.ndjson", "--archive", "archive", "--now", THEN]);
    assert_eq!(behind.code, Some(2), "{behind:#?}");
    let report: Value = serde_json::from_str(&behind.stdout).unwrap();
    assert_eq!((&report["accepted"], &report["version"]), (&20.into(), &2.into()), "the report is still there");
    let error: Value = serde_json::from_str(&behind.stderr).unwrap();
    assert_eq!(error["code"], "delta-behind");
    assert_eq!(error["message"], "the archive is committed; only its Delta table is behind");
    assert!(error["commands"][0].as_str().unwrap().contains("publish delta --replace"), "{error:#}");
    assert_eq!(tier.ok(&["query", "SELECT count(*) AS n FROM events", "--archive", "archive"]).stdout, "n\n30\n");
    tier.ok(&["publish", "delta", "--replace", "--archive", "archive"]);
    assert_eq!(rows(&all_agree(&tier, "archive")), 30);
}

/// The real binary, killed later and later.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_killed_at_any_moment_is_made_whole_by_the_next() {
    let tier = Tier::new();
    for number in 0..14_u32 {
        tier.write("a.ndjson", lines(number * 10..number * 10 + 10));
        at(&tier, THEN, &["archive", "a.ndjson"]);
        if number == 0 {
            publish(&tier);
        }
    }
    let store = open(&tier).await;
    let check = async || {
        // What is there can be read, and is some version of the archive whole.
        let found = replayed(&store).await;
        assert_eq!(found.len(), versions(&store).await.len(), "each version has one file more");
    };
    tier.kill_until_done(&["publish", "delta", "--archive", "archive"], Duration::from_millis(5), check).await;
    publish(&tier);
    assert_eq!(replayed(&store).await, expected(&store).await);
    assert_eq!(rows(&all_agree(&tier, "archive")), 140);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_lies_on_a_real_store_as_well() {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    tier.ok(&["archive", &sample_data(), "--archive", &address]);
    tier.ok(&["publish", "delta", "--archive", &address]);
    tier.write("late.ndjson", lines_of("a=b%2e+x", 0..30));
    tier.ok(&["archive", "late.ndjson", "--archive", &address]);
    assert_eq!(tier.json(&["publish", "delta", "--archive", &address])["commits"], 1);
    assert_eq!(rows(&all_agree(&tier, &address)), 1_530);
    // A file of more than one part is created only if there is none, too.
    let store = Store::open(&address.parse().unwrap(), ClassTime::default()).await.unwrap();
    let large = temp_file(vec![7; (16 << 20) + 1]);
    for expected in [tier::store::PutOutcome::Created, tier::store::PutOutcome::AlreadyExists] {
        assert_eq!(store.put_file_if_absent("_delta_log/large", &large).await.unwrap(), expected);
    }
    tier.ok(&["publish", "delta", "--remove", "--archive", &address]);
    assert_eq!(store.list("_delta_log", None).await.unwrap(), []);
}
