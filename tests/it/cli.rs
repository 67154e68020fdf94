//! The binary as people and scripts meet it: stdout, stderr, exit code.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::lab::{line, lines};
use crate::support::tier::{Outcome, Tier, sample_data};

const NOON: &str = "2026-08-24T12:00:00Z";

/// An archive of one export, in the folder `archive`, which is set in the environment.
fn small() -> Tier {
    let mut tier = Tier::new();
    tier.set("TIER_ARCHIVE", "archive").set("TIER_NOW", "2026-11-22T12:00:00Z");
    tier.write("day.ndjson", lines(0..10) + "{\n" + &line("future", "2026-12-01T00:00:00Z", ""));
    tier.ok(&["archive", "day.ndjson"]);
    tier
}

fn error_of(outcome: &Outcome) -> Value {
    assert_eq!(outcome.stdout, "", "an error prints nothing on stdout: {outcome:#?}");
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one JSON object and nothing else: {outcome:#?}");
    serde_json::from_str(lines[0]).unwrap()
}

#[test]
fn an_archive_that_is_not_named_is_a_usage_error_that_says_how() {
    let tier = Tier::new();
    tier.write("day.ndjson", lines(0..1));
    for verb in [
        vec!["archive", "day.ndjson"],
        vec!["status"],
        vec!["query", "SELECT 1"],
        vec!["vacuum"],
        vec!["compact"],
        vec!["revert", "1", "--yes"],
    ] {
        let outcome = tier.run(&verb);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{verb:?}");
        assert!(
            outcome.stderr.starts_with("error: no archive named\n\nhint: name it with --archive URL"),
            "{outcome:#?}"
        );
    }
}

#[test]
fn errors_have_the_exit_code_of_what_to_do_about_them() {
    let tier = Tier::new();
    tier.write("day.log", "{}");
    tier.write("day.ndjson", lines(0..1));
    for (args, code, words) in [
        (vec!["archive", "day.log", "--archive", "a"], 2, "--format"),
        (vec!["archive", "nothing*.csv", "--archive", "a"], 1, "nothing to archive at nothing*.csv"),
        (vec!["archive", "nothing.csv", "--archive", "a"], 1, "nothing.csv"),
        (vec!["archive", "nothing.csv", "--archive", "a", "--delimiter", "\""], 2, "no quote and no line break"),
        (vec!["archive", "-", "--archive", "a"], 2, "--format"),
        (vec!["archive", "day.ndjson", "--archive", "gs://b/c"], 2, "gs"),
        (vec!["archive", "day.ndjson", "--archive", "a", "--memory", "lots"], 2, "lots"),
        (vec!["archive", "day.ndjson", "--archive", "a", "--max-dead-letters", "x"], 2, "100 or 5%"),
        (vec!["archive", "day.ndjson", "--archive", "a", "--time-unit", "h"], 2, "s, ms, us, ns"),
        (vec!["archive", "day.ndjson", "--archive", "a", "--column", "n=INT"], 2, "BIGINT"),
        (vec!["archive", "day.ndjson", "--archive", "a", "--after-commit", "burn"], 2, "keep, delete or move:FOLDER"),
        (vec!["archive", "day.ndjson", "--archive", "a", "--now", "noon"], 2, "noon"),
        (vec!["archive", "day.ndjson", "--archive", "a", "--settle", "soon"], 2, "soon"),
        (vec!["archive"], 2, "Usage"),
        (vec!["frobnicate"], 2, "frobnicate"),
        (vec!["status", "--archive", "nowhere"], 1, "there is no archive at"),
        (vec!["query", "SELECT 1 FROM events", "--archive", "nowhere"], 1, "there is no archive at"),
        (vec!["revert", "1", "--archive", "nowhere", "--yes"], 1, "there is no archive at"),
        (vec!["dead-letter", "list", "--archive", "nowhere"], 1, "there is no archive at"),
        (vec!["status", "--config", "none.toml"], 2, "none.toml"),
    ] {
        let outcome = tier.run(&args);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(code), ""), "{args:?}: {outcome:#?}");
        assert!(outcome.stderr.contains(words), "{args:?}: {outcome:#?}");
    }
    assert!(!tier.path("a").exists() && !tier.path("nowhere").exists(), "a failed command makes no folder");
}

#[test]
fn a_failure_under_json_is_one_object_on_stderr() {
    let tier = Tier::new();
    let outcome = tier.run(&["status", "--archive", "nowhere", "--json"]);
    let error = error_of(&outcome);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        [&error["type"], &error["code"], &error["exit_code"], &error["format_version"]],
        [&json!("error"), &json!("no-archive"), &json!(1), &json!("1.0")]
    );
    assert!(error["message"].as_str().unwrap().starts_with("there is no archive at /"), "{error}");
    assert!(error["causes"].is_array() && error["hint"].is_string(), "{error}");
    assert!(error["commands"][0].as_str().unwrap().starts_with("tier archive EXPORT --archive /"), "{error}");
}

#[test]
fn a_typing_slip_under_json_is_one_object_too() {
    let outcome = Tier::new().run(&["arhcive", "x", "--json"]);
    let error = error_of(&outcome);
    assert_eq!((outcome.code, error["code"].as_str(), error["exit_code"].as_u64()), (Some(2), Some("usage"), Some(2)));
    assert!(error["message"].as_str().unwrap().contains("'archive'"), "{error}");
}

#[test]
fn what_was_being_done_is_said_as_a_failure() {
    let tier = Tier::new();
    tier.write("a.ndjson.gz", b"no gzip at all");
    let outcome = tier.run(&["archive", "a.ndjson.gz", "--archive", "a"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.starts_with("error: failed to read /"), "{}", outcome.stderr);
}

#[test]
fn archive_says_in_a_few_lines_what_it_did() {
    let tier = Tier::new();
    let first = tier.ok(&["archive", &sample_data(), "--archive", "a"]);
    assert_eq!(first.stdout, "");
    let said: Vec<&str> = first.stderr.lines().collect();
    assert_eq!(
        said[0],
        "7 exports, 1,543 records: 1,500 new · 39 duplicate · 4 dead letter (0.26%: 2 syntax, 1 key, 1 time)"
    );
    assert!(
        said.contains(&"version 1 committed") && said.contains(&"look at the 4: tier dead-letter list --version 1"),
        "{said:?}"
    );
    let again = tier.ok(&["archive", &sample_data(), "--archive", "a"]);
    assert_eq!(
        (again.stdout.as_str(), again.stderr.as_str()),
        ("", "already archived: 7 of 7 exports, nothing written\n")
    );
    let quiet = tier.ok(&["-q", "archive", &sample_data(), "--archive", "b"]);
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
}

#[test]
fn the_report_of_archive_is_one_json_document() {
    let tier = Tier::new();
    let report = tier.json(&["archive", &sample_data(), "--archive", "a"]);
    let numbers =
        ["version", "read", "accepted", "duplicate", "dead_letter"].map(|name| report[name].as_u64().unwrap());
    assert_eq!((report["format_version"].as_str(), numbers), (Some("1.0"), [1, 1543, 1500, 39, 4]));
    let exports = report["exports"].as_array().unwrap();
    let of_each: Vec<_> = exports
        .iter()
        .map(|e| [&e["read"], &e["accepted"], &e["duplicate"], &e["dead_letter"]].map(|n| n.as_u64().unwrap()))
        .collect();
    assert_eq!(
        of_each,
        [
            [175, 174, 0, 1],
            [248, 240, 8, 0],
            [216, 210, 5, 1],
            [287, 276, 9, 2],
            [286, 280, 6, 0],
            [197, 190, 7, 0],
            [134, 130, 4, 0]
        ]
    );
    assert!(
        exports.iter().all(|export| export["status"] == "archived" && export["digest"].as_str().unwrap().len() == 64)
    );
    for name in ["cells", "files", "bytes_in", "bytes_out", "elapsed_ms"] {
        assert!(report[name].is_u64(), "{name}: {report}");
    }
    assert_eq!((report["dates"][0].as_str(), report["dates"].as_array().unwrap().len()), (Some("2026-08-24"), 7));
    let again = tier.json(&["archive", &sample_data(), "--archive", "a"]);
    let statuses: Vec<&str> =
        again["exports"].as_array().unwrap().iter().map(|e| e["status"].as_str().unwrap()).collect();
    assert_eq!((statuses, again["read"].as_u64()), (vec!["already-archived"; 7], Some(0)));
}

#[test]
fn a_dry_run_prints_its_plan_and_writes_nothing() {
    let tier = Tier::new();
    tier.write("day.ndjson", lines(0..100));
    let plan = tier.ok(&["archive", "day.ndjson", "--archive", "a", "--dry-run"]);
    let said: Vec<&str> = plan.stdout.lines().collect();
    assert!(said[0].contains("day.ndjson: would archive about 100 rows"), "{plan:#?}");
    assert_eq!(
        said[1],
        "Plan: about 100 rows in at least 1 cells, dates 2026-08-24 to 2026-08-24 (from the beginning of each export)"
    );
    assert!(!tier.path("a").exists());
    let json = tier.json(&["archive", "day.ndjson", "--archive", "a", "--dry-run"]);
    assert_eq!((&json["rows_estimated"], &json["format_version"]), (&json!(100), &json!("1.0")));
}

#[test]
fn exports_come_from_standard_input_too() {
    let tier = Tier::new();
    let args = ["archive", "-", "--format", "ndjson", "--archive", "a", "--json"];
    for accepted in [5, 0] {
        let outcome = tier.run_with_stdin(&args, lines(0..5).as_bytes());
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!((outcome.code, report["accepted"].as_u64()), (Some(0), Some(accepted)), "{outcome:#?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let tier = Tier::new();
    tier.write("day.ndjson", lines(0..20_000));
    tier.ok(&["archive", "day.ndjson", "--archive", "a"]);
    let bad: String = (0..5_000).map(|id| format!("{{ {id}\n")).collect();
    tier.write("bad.ndjson", lines(20_000..20_001) + &bad);
    tier.ok(&["archive", "bad.ndjson", "--archive", "a", "--max-dead-letters", "100%"]);
    for args in [vec!["query", "SELECT * FROM events"], vec!["dead-letter", "export"]] {
        let mut command = tier.command(&[&args[..], &["--archive", "a"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        assert!(!first.is_empty());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn help_fits_a_terminal_of_eighty_columns() {
    let tier = Tier::new();
    for verb in [
        vec![],
        vec!["archive"],
        vec!["query"],
        vec!["status"],
        vec!["revert"],
        vec!["vacuum"],
        vec!["compact"],
        vec!["simulate"],
        vec!["dead-letter"],
        vec!["dead-letter", "list"],
        vec!["dead-letter", "export"],
        vec!["dead-letter", "replay"],
        vec!["dead-letter", "discard"],
    ] {
        for flag in ["-h", "--help"] {
            let mut command = tier.command(&[&verb[..], &[flag]].concat());
            let outcome = Outcome::of(command.env("COLUMNS", "80").output().unwrap());
            let wide: Vec<&str> = outcome.stdout.lines().filter(|line| line.chars().count() > 80).collect();
            assert_eq!((outcome.code, wide), (Some(0), vec![]), "tier {verb:?} {flag}");
            assert!(outcome.stdout.contains("Usage: tier"), "{outcome:#?}");
        }
    }
}

#[test]
fn settings_come_from_arguments_over_environment_over_file() {
    let mut tier = Tier::new();
    tier.write("tier.toml", "[archive]\nurl = \"from-file\"\n[events]\ntenant = \"=acme\"\n");
    tier.write("deep/er/day.ndjson", lines(0..3).replace(r#""tenant_id":"acme","#, ""));
    let deep = tier.path("deep/er");
    let run = |tier: &Tier, args: &[&str]| {
        Outcome::of(tier.command_in(&deep, &[&["archive", "day.ndjson"], args].concat()).output().unwrap())
    };
    assert_eq!(run(&tier, &[]).code, Some(0));
    assert!(deep.join("from-file/_tier").is_dir(), "found by walking up, its address relative to the working folder");
    tier.set("TIER_ARCHIVE", "from-environment");
    assert_eq!(run(&tier, &[]).code, Some(0));
    assert!(deep.join("from-environment/_tier").is_dir());
    assert_eq!(run(&tier, &["--archive", "from-argument"]).code, Some(0));
    assert!(deep.join("from-argument/_tier").is_dir());
    // The user's own file counts where there is no other.
    std::fs::remove_file(tier.path("tier.toml")).unwrap();
    assert_eq!(run(&tier, &["--archive", "none"]).code, Some(1));
    let user = tier.folder.path().join("home/.config/tier");
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(user.join("tier.toml"), "[events]\ntenant = \"=acme\"\n").unwrap();
    assert_eq!(run(&tier, &["--archive", "user"]).code, Some(0));
}

#[test]
fn a_mistake_in_the_settings_file_is_shown_with_the_near_name() {
    let tier = Tier::new();
    tier.write("tier.toml", "[archive]\nurl = \"a\"\n\n[events]\ntennant = \"x\"\n");
    let outcome = tier.run(&["status"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    for words in ["tier.toml", "line 5", "tennant", "did you mean `tenant`?"] {
        assert!(outcome.stderr.contains(words), "{words}: {outcome:#?}");
    }
}

#[test]
fn status_shows_the_archive_and_says_when_it_is_overdue() {
    let tier = small();
    let shown = tier.ok(&["status"]);
    for words in [
        "dates     2026-08-24 to 2026-08-24",
        "rows      10",
        "2 open dead letters",
        "acme",
        "login",
        "STANDARD",
        "10 new, 0 duplicate, 2 dead letter",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {shown:#?}");
    }
    assert_eq!(shown.stderr, "");
    let json = tier.json(&["status"]);
    assert_eq!([&json["version"], &json["rows"], &json["open_dead_letters"]], [&json!(1), &json!(10), &json!(2)]);
    assert_eq!(json["largest_tenants"], json!([{"name": "acme", "rows": 10, "bytes": json["bytes"], "share": 1.0}]));
    // The newest date ended on 25 August at midnight, 89 days and a half before now.
    for (age, code) in [("90d", 0), ("2148h", 0), ("2147h", 7), ("36h", 7)] {
        assert_eq!(tier.run(&["status", "--max-age", age]).code, Some(code), "{age}");
    }
}

#[test]
fn dead_letters_are_listed_exported_replayed_and_discarded() {
    let tier = small();
    let list = tier.ok(&["dead-letter", "list"]);
    let lines: Vec<&str> = list.stdout.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("version 1  syntax  1 records  first: ") && lines[0].contains("day.ndjson line 11: "),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("version 1  time  1 records"), "{lines:?}");
    let exported = tier.ok(&["dead-letter", "export", "--reason", "time"]).stdout;
    let letter: Value = serde_json::from_str(exported.trim_end()).unwrap();
    assert_eq!(
        (&letter["line"], &letter["reason"], letter["raw"].as_str()),
        (&json!(12), &json!("time"), Some(&*line("future", "2026-12-01T00:00:00Z", "")))
    );
    let replayed = tier.json(&["dead-letter", "replay", "--now", "2026-12-02T00:00:00Z"]);
    assert_eq!([&replayed["read"], &replayed["accepted"], &replayed["dead_letter"]], [&json!(2), &json!(1), &json!(1)]);
    let list = tier.json(&["dead-letter", "list"]);
    assert_eq!(
        (list["dead_letters"].as_array().unwrap().len(), &list["dead_letters"][0]["reason"]),
        (1, &json!("syntax"))
    );
    assert_eq!(tier.run(&["dead-letter", "discard"]).code, Some(2));
    let unasked = tier.run(&["dead-letter", "discard", "--reason", "syntax"]);
    assert!(unasked.code == Some(2) && unasked.stderr.contains("--yes"), "{unasked:#?}");
    assert_eq!(tier.json(&["dead-letter", "discard", "--reason", "syntax", "--yes"])["discarded"], 1);
    let none = tier.ok(&["dead-letter", "list"]);
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "no open dead letters\n"));
    assert_eq!(tier.run(&["dead-letter", "list", "--reason", "bogus"]).code, Some(2));
}

#[test]
fn revert_asks_takes_back_and_refuses() {
    let tier = small();
    let unasked = tier.run(&["revert", "1"]);
    assert!(unasked.code == Some(2) && unasked.stderr.contains("--yes"), "{unasked:#?}");
    let report = tier.json(&["revert", "1", "--yes"]);
    assert_eq!(
        [&report["reverted"], &report["version"], &report["rows"], &report["exports"]],
        [&json!(1), &json!(2), &json!(10), &json!(1)]
    );
    let twice = tier.run(&["revert", "1", "--yes", "--json"]);
    assert_eq!((twice.code, error_of(&twice)["message"].as_str()), (Some(2), Some("version 1 is reverted already")));
    assert_eq!(tier.json(&["archive", "day.ndjson"])["accepted"], 10);
}

#[test]
fn vacuum_has_nothing_to_do_on_a_tidy_archive() {
    let tier = small();
    let dry = tier.ok(&["vacuum", "--dry-run"]);
    assert_eq!((dry.stdout.as_str(), dry.stderr.as_str()), ("", "Plan: delete 0 files, 0 B; 0 are too young\n"));
    let done = tier.ok(&["vacuum"]);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", "nothing to delete; 0 files are too young\n"));
}

#[test]
fn no_output_holds_a_secret() {
    let secret = "s3cr3t-that-nobody-may-see";
    let mut tier = Tier::new();
    // Nothing listens there.
    tier.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9").set("AWS_REGION", "us-east-1");
    tier.set("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").set("AWS_SECRET_ACCESS_KEY", secret).set("AWS_SESSION_TOKEN", secret);
    let outcome = tier.run(&["-vv", "status", "--archive", "s3://bucket/prefix"]);
    assert_eq!(outcome.code, Some(6), "{outcome:#?}");
    assert!(!outcome.stderr.contains(secret) && !outcome.stdout.contains(secret), "{outcome:#?}");
    assert!(outcome.stderr.contains("the store does not answer"), "{outcome:#?}");
}

#[test]
fn a_numeric_time_without_a_unit_names_the_flag_that_helps() {
    let tier = Tier::new();
    tier.write("day.ndjson", line("1", NOON, "").replace(&format!("\"{NOON}\""), "1787573472000"));
    let outcome = tier.run(&["archive", "day.ndjson", "--archive", "a"]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.contains("it looks like ms: add --time-unit ms"), "{outcome:#?}");
    tier.ok(&["archive", "day.ndjson", "--archive", "a", "--time-unit", "ms"]);
}
