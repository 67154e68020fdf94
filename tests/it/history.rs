//! What was done and what lies inside: `tier history`, `tier diff`, `tier inspect`.

use serde_json::json;

use crate::support::lab::line;
use crate::support::tier::{Tier, sample_data};

const LATER: &str = "2027-09-01T00:00:00Z";

#[test]
fn history_shows_every_version_expired_ones_too() {
    let tier = Tier::new();
    tier.ok(&["archive", &sample_data(), "--archive", "archive"]);
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00Z", ""));
    tier.ok(&["archive", "late.ndjson", "--archive", "archive"]);
    tier.ok(&["revert", "2", "--yes", "--archive", "archive"]);
    tier.ok(&["lifecycle", "apply", "--yes", "--max-cost", "1", "--archive", "archive", "--now", LATER]);
    tier.ok(&["vacuum", "--yes", "--grace", "0s", "--archive", "archive", "--now", LATER]);
    let document = tier.json(&["history", "--archive", "archive"]);
    let versions = document["versions"].as_array().unwrap();
    let shown: Vec<_> = versions
        .iter()
        .rev()
        .map(|v| (v["version"].as_u64().unwrap(), v["operation"]["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(shown[..3], [(1, "append"), (2, "append"), (3, "revert")], "{document:#}");
    assert_eq!(versions.last().unwrap()["kept"], "expired", "{document:#}");
    assert_eq!(versions[0]["kept"], "retained", "{document:#}");
    assert_eq!(versions.last().unwrap()["operation"]["accepted"], 1_500, "what an expired version did is still known");
    let words = tier.ok(&["history", "--limit", "2", "--archive", "archive"]).stdout;
    assert_eq!(words.lines().count(), 2, "{words}");
    let all = tier.ok(&["history", "--archive", "archive"]).stdout;
    assert!(all.contains("1,543 read · 1,500 new · 39 duplicate · 4 dead letter"), "{all}");
    assert!(all.contains("of version 2") && all.contains("(expired)") && all.contains("plan "), "{all}");
}

#[test]
fn diff_shows_files_columns_and_dead_letters_between_two_versions() {
    let tier = Tier::new();
    tier.ok(&["archive", &sample_data(), "--archive", "archive"]);
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00Z", r#""brand_new":1.5"#));
    tier.ok(&["archive", "late.ndjson", "--archive", "archive"]);
    let diff = tier.json(&["diff", "1", "2", "--archive", "archive"]);
    let total = &diff["total"];
    let sums = ["files_added", "rows_added", "files_removed"].map(|name| total[name].as_u64().unwrap());
    assert_eq!(sums, [1, 1, 0]);
    assert_eq!(diff["dates"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2026-08-24"]);
    assert_eq!(diff["cells"][0]["cell"], "date=2026-08-24/event_type=login/tenant_id=acme");
    assert_eq!(
        (&diff["columns_added"][0]["name"], diff["columns_removed"].as_array().unwrap().len()),
        (&json!("brand_new"), 0)
    );
    let backwards = tier.json(&["diff", "2", "1", "--archive", "archive"]);
    assert_eq!((&backwards["total"]["files_removed"], &backwards["total"]["files_added"]), (&json!(1), &json!(0)));
    assert_eq!(tier.json(&["diff", "2", "2", "--archive", "archive"])["total"]["files_added"], 0);
    // Bundled: the rows go from their cells and come as one file of the month.
    tier.ok(&["lifecycle", "apply", "--yes", "--max-cost", "1", "--archive", "archive", "--now", LATER]);
    let moved = tier.json(&["diff", "2", "3", "--archive", "archive"]);
    assert_eq!(
        (&moved["total"]["rows_removed"], &moved["total"]["rows_added"]),
        (&json!(1_501), &json!(1_501)),
        "{moved:#}"
    );
    assert_eq!(moved["dates"]["2026-08"]["files_added"], 1, "{moved:#}");
    tier.ok(&["hold", "add", "--tenant", "acme", "--reason", "case 17", "--archive", "archive"]);
    tier.ok(&["dead-letter", "discard", "--version", "1", "--yes", "--archive", "archive"]);
    let words = tier.ok(&["diff", "1", "5", "--archive", "archive"]).stdout;
    for part in ["+ column brand_new DOUBLE", "+ hold ", "case 17", "- dead letters ", "2026-08  +1 file +1,501 rows"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let none = tier.run(&["diff", "1", "99", "--archive", "archive"]);
    assert_eq!(none.code, Some(2), "{none:#?}");
}

#[test]
fn inspect_lays_a_root_a_leaf_and_a_file_open() {
    let tier = Tier::new();
    tier.ok(&["archive", &sample_data(), "--archive", "archive"]);
    let inspect = |more: &[&str]| tier.json(&[&["inspect", "--archive", "archive"], more].concat());
    let root = inspect(&["root"]);
    assert_eq!((&root["document"]["version"], root["leaves"].as_array().unwrap().len()), (&json!(1), 1), "{root:#}");
    let leaf_path = root["leaves"][0]["path"].as_str().unwrap();
    let leaf = inspect(&["leaf", leaf_path]);
    let entries = leaf["entries"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| entry["rows"].as_u64().unwrap()).sum::<u64>(), 1_500);
    let path = entries[0]["path"].as_str().unwrap();
    let file = inspect(&["file", path]);
    assert_eq!((&file["entry"]["sha256"], &file["entry"]["leaf"]), (&entries[0]["sha256"], &root["leaves"][0]["path"]));
    assert_eq!((&file["object"]["storage_class"], &file["object"]["is_readable"]), (&json!("STANDARD"), &json!(true)));
    let columns = file["row_groups"][0]["columns"].as_array().unwrap();
    let id = columns.iter().find(|column| column["name"] == "event_id").unwrap();
    assert_eq!((&id["physical_type"], &id["has_dictionary"]), (&json!("BYTE_ARRAY"), &json!(false)), "{id:#}");
    assert!(id["min"].is_string() && id["bloom_filter_bytes"].is_null(), "{id:#}");
    let words = tier.ok(&["inspect", "file", path, "--archive", "archive"]).stdout;
    for part in ["sha256    ", "row group 0: ", "event_id", "tier.cell", "object    "] {
        assert!(words.contains(part), "{part}: {words}");
    }
    // An archived bundle is known from its pack.
    tier.ok(&["lifecycle", "apply", "--yes", "--max-cost", "1", "--archive", "archive", "--now", LATER]);
    let root = inspect(&["root"]);
    let leaf = inspect(&["leaf", root["leaves"][0]["path"].as_str().unwrap()]);
    let bundle = inspect(&["file", leaf["entries"][0]["path"].as_str().unwrap()]);
    assert_eq!((&bundle["cells"], &bundle["object"]["is_readable"]), (&json!(92), &json!(false)), "{bundle:#}");
    assert!(!bundle["row_groups"].as_array().unwrap().is_empty() && bundle["footer_missing"].is_null(), "{bundle:#}");
    // What a version no longer has, an older one still shows.
    assert_eq!(tier.run(&["inspect", "file", path, "--archive", "archive"]).code, Some(2));
    tier.ok(&["inspect", "file", path, "--as-of", "1", "--archive", "archive"]);
    tier.ok(&["inspect", "root", "1", "--archive", "archive"]);
}
