//! `tier simulate`: a bill without an archive.

use std::fs;

use serde_json::{Value, json};

use crate::support::tier::Tier;

const PRICES: &str = include_str!("../../src/model/prices/prices.toml");

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[track_caller]
fn close(value: &Value, by_hand: f64) {
    assert!((number(value) - by_hand).abs() < by_hand * 1e-9, "{value} is not {by_hand}");
}

#[test]
fn seven_years_are_shown_year_by_year_without_an_archive() {
    let tier = Tier::new();
    let shown = tier.ok(&["simulate"]);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(lines[0], "100,000,000 events a day of 30 B for 7 years, in 50,000 cells a day of 58.59 KiB");
    assert_eq!(lines[1], "STANDARD, after 365 days in bundles in DEEP_ARCHIVE; prices of 2026-09-26, us-east-1");
    let columns =
        |line: &str| line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect();
    let first: Vec<String> = columns(lines[4]);
    // 3 × 10^9 bytes a day are 2.79397 GB; the days at the months' ends add up to 2,367: × 0.023 = $152.11 of storage.
    // 18,250,000 PUTs at 0.005 for a thousand: $91.25.
    let year = ["1", "1019.80 GiB", "-", "18,250,000", "$152.11", "$91.25", "$0", "$243.36", "$243.36", "$243.36"];
    assert_eq!(first, year);
    assert_eq!(lines.len(), 4 + 7 + 1, "{}", shown.stdout);
    assert!(lines[11].starts_with("total"), "{}", shown.stdout);
    assert!(shown.stderr.contains("under 128.00 KiB alone"), "{shown:#?}");
    assert!(fs::read_dir(tier.path("")).unwrap().next().is_none(), "it writes nothing");
}

#[test]
fn the_document_holds_all_three_bills_month_by_month() {
    let tier = Tier::new();
    // A GB a day in 4 cells, into GLACIER after 90 days.
    let flags = "simulate --years 1 --events-per-day 1024 --bytes-per-event 1048576 --tenants 2 --event-types 2";
    let mut args: Vec<&str> = flags.split(' ').collect();
    args.extend(["--after", "90d", "--class", "GLACIER", "--monthly"]);
    let document = tier.json(&args);
    assert_eq!(document["move"], json!({"after_days": 90, "class": "GLACIER"}));
    assert_eq!([&document["period"], &document["prices_date"]], [&json!("month"), &json!("2026-09-26")]);
    let month = |bill: &str, number: usize| document[bill]["periods"][number - 1].clone();
    // Day 121: the 30 days of month 1 are old enough; cell by cell so are 31 days.
    let bundled = month("bundled", 4);
    assert_eq!(bundled["held"]["GLACIER"], json!({"objects": 60, "bytes": 30_u64 << 30}));
    assert_eq!(bundled["held"]["STANDARD"], json!({"objects": 364, "bytes": 91_u64 << 30}));
    // 120 GETs and 60 PUTs.
    close(&bundled["moves"], 120.0 * 0.0004 / 1000.0 + 60.0 * 0.03 / 1000.0);
    let overhead = 60.0 * (32.0 * 0.0036 + 8.0 * 0.023) / 1_048_576.0;
    close(&bundled["storage"], 91.0 * 0.023 + 30.0 * 0.0036 + overhead);
    assert_eq!(month("cell_by_cell", 4)["held"]["GLACIER"]["objects"], json!(31 * 4));
    close(&month("all_standard", 4)["storage"], 121.0 * 0.023);
    let months = document["bundled"]["periods"].as_array().unwrap();
    assert_eq!(months.len(), 12);
    close(&document["bundled"]["total"], months.iter().map(|month| number(&month["total"])).sum());
}

#[test]
fn prices_come_from_the_file_that_the_settings_name() {
    let tier = Tier::new();
    tier.write("tier.toml", "[prices]\nfile = \"prices/ours.toml\"\negress = \"none\"\n");
    let dearer = PRICES.replace("date = \"2026-09-26\"", "date = \"2027-01-01\"").replace("0.005", "0.01");
    tier.write("prices/ours.toml", &dearer);
    tier.write("deep/er/file", "");
    let deep = tier.path("deep/er");
    let outcome = tier.command_in(&deep, &["--json", "simulate", "--years", "1"]).output().unwrap();
    let document: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(document["prices_date"], "2027-01-01", "the path begins at the settings file's folder");
    close(&document["all_standard"]["periods"][0]["requests"], 182.5);

    tier.write("prices/ours.toml", dearer.replace("put_per_1000 = 0.03", "put_per_1000 = -0.03"));
    let refused = tier.run(&["simulate"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    for words in ["ours.toml", "`classes.GLACIER.put_per_1000` is -0.03"] {
        assert!(refused.stderr.contains(words), "{words}: {refused:#?}");
    }
    fs::remove_file(tier.path("prices/ours.toml")).unwrap();
    assert_eq!(tier.run(&["simulate"]).code, Some(2));
}

#[test]
fn what_cannot_be_simulated_is_a_usage_error() {
    let tier = Tier::new();
    for (args, words) in [
        (vec!["--class", "STANDARD"], "events are in STANDARD to begin with"),
        (vec!["--class", "COLD"], "hint: the classes are STANDARD"),
        (vec!["--after", "soon"], "`soon` is not an age"),
        (vec!["--tenants", "0"], "--tenants"),
        (vec!["--years", "101"], "--years"),
        (vec!["--events-per-day", "18446744073709551615"], "64 bits"),
    ] {
        let outcome = tier.run(&[&["simulate"], &args[..]].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(outcome.stderr.contains(words), "{words}: {outcome:#?}");
    }
}
