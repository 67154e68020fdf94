//! The nightly job keeps the catalog in shape: nobody calls `tier compact`.

use std::fs;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::Value;

use crate::support::lab::line;
use crate::support::tier::Tier;

const FIRST: Date = date(2026, 9, 1);

fn settings(tier: &Tier, more: &str) {
    tier.write("tier.toml", format!("[archive]\nurl = \"archive\"\n{more}"));
}

/// What a night brings: some events of its day, of a few tenants, and a late one.
fn night(number: i64) -> (String, String) {
    let day = FIRST.saturating_add(number.days());
    let late = day.saturating_sub(2.days());
    let events = (0..6).map(|event| {
        let date = if event == 5 { late } else { day };
        let text = line(&format!("{number}-{event}"), &format!("{date}T12:00:00Z"), "");
        text.replace("acme", &format!("tenant{}", event % 3)) + "\n"
    });
    (events.collect(), format!("{}T03:00:00Z", day.tomorrow().unwrap()))
}

/// An archive of twenty nights that nothing has merged yet.
fn twenty_nights() -> Tier {
    let tier = Tier::new();
    settings(&tier, "[compact]\ncatalog = false\n");
    for number in 0..20 {
        let (text, now) = night(number);
        tier.write("night.ndjson", text);
        tier.ok(&["archive", "night.ndjson", "--now", &now]);
    }
    tier
}

fn leaves(tier: &Tier) -> usize {
    let root = tier.json(&["inspect", "root"]);
    root["leaves"].as_array().unwrap_or_else(|| panic!("{root:#}")).len()
}

fn events(tier: &Tier) -> String {
    tier.ok(&["query", "--format", "csv", "SELECT count(*) AS n FROM events"]).stdout.lines().last().unwrap().to_owned()
}

#[test]
fn forty_nights_leave_few_leaves_though_nobody_compacts() {
    for (hot, more) in [(false, ""), (true, "[hot]\nexports = \"spool\"\n")] {
        let tier = Tier::new();
        settings(&tier, more);
        let mut merged: Vec<Value> = Vec::new();
        for number in 0..40 {
            let (text, now) = night(number);
            tier.write(&format!("spool/{number:02}.ndjson"), text);
            let what = if hot { "--from-hot" } else { "spool" };
            let report = tier.json(&["archive", what, "--now", &now]);
            assert_eq!(report["upkeep"]["errors"], serde_json::json!([]), "{report:#}");
            assert!(leaves(&tier) <= 17, "night {number}: {} leaves", leaves(&tier));
            merged.extend(Some(report["upkeep"]["catalog"].clone()).filter(|catalog| !catalog.is_null()));
        }
        assert!(!merged.is_empty() && merged.len() < 10, "{merged:#?}");
        assert!(merged.iter().all(|report| report["leaves_after"].as_u64() < report["leaves_before"].as_u64()));
        assert_eq!(events(&tier), "240");
        tier.ok(&["verify"]);
        let report = tier.json(&["archive", "spool", "--now", &night(40).1]);
        assert_eq!(report["upkeep"]["catalog"], Value::Null, "nothing came, nothing is merged: {report:#}");
    }
}

#[test]
fn a_night_merges_no_more_than_its_settings_say() {
    let tier = twenty_nights();
    assert_eq!(leaves(&tier), 20);
    settings(&tier, "[compact]\ncells = \"1 MiB\"\n");
    let (text, now) = night(20);
    tier.write("night.ndjson", text);
    let report = tier.json(&["archive", "night.ndjson", "--now", &now]);
    let (cells, catalog) = (&report["upkeep"]["cells"], &report["upkeep"]["catalog"]);
    assert!(cells["files_before"].as_u64() > cells["files_after"].as_u64(), "{report:#}");
    assert!(catalog["leaves_after"].as_u64().is_some_and(|leaves| leaves < 20), "{report:#}");
    assert_eq!(events(&tier), "126");
    tier.ok(&["verify"]);
    for (more, message) in [
        ("catalog_leaves = 0", "`[compact] catalog_leaves` is at least 1"),
        ("cells = \"many\"", "`[compact] cells` is `many`, which is not a size"),
        ("cell = \"1GB\"", "did you mean `cells`?"),
    ] {
        settings(&tier, &format!("[compact]\n{more}\n"));
        let refused = tier.run(&["archive", "night.ndjson"]);
        assert!(refused.code == Some(2) && refused.stderr.contains(message), "{refused:#?}");
    }
}

#[test]
fn what_fails_after_the_commit_is_told_and_fails_nothing() {
    let tier = twenty_nights();
    // Only who lists files anew reads these.
    let leaf = tier.path("archive/_tier/leaf");
    let audits = fs::read_dir(&leaf).unwrap().map(|entry| entry.unwrap().path());
    audits
        .filter(|path| path.to_string_lossy().ends_with(".audit.parquet"))
        .for_each(|path| fs::remove_file(path).unwrap());
    settings(&tier, "");
    let (text, now) = night(20);
    tier.write("night.ndjson", text);
    let outcome = tier.ok(&["archive", "night.ndjson", "--now", &now]);
    assert!(outcome.stderr.contains("version 21 committed"), "{outcome:#?}");
    assert!(outcome.stderr.contains("what follows was not done: merge the catalog: "), "{outcome:#?}");
    let (text, now) = night(21);
    tier.write("night.ndjson", text);
    let report = tier.json(&["archive", "night.ndjson", "--now", &now]);
    assert_eq!(
        (&report["accepted"], report["upkeep"]["errors"].as_array().unwrap().len()),
        (&6.into(), 1),
        "{report:#}"
    );
    assert_eq!(events(&tier), "132");
}
