//! V2 checkpoints of the Delta table: what readers see through them, what the next one writes anew, and what is cleaned.

use std::collections::BTreeSet;
use std::fs;

use jiff::SignedDuration;
use tier::archive;
use tier::clock::Clock;
use tier::publish::delta::{self, Checkpoints, Report};
use tier::store::Store;

use crate::compact::{plan, scattered};
use crate::delta::{LATER, SIDECARS, THEN, at, lines_of, open, publish, rule_beside};
use crate::support::delta::{
    all_but_polars_agree, checkpointed, commit, expected, listed, rows, sidecar_path, sidecars_of, top, versions,
};
use crate::support::lab::{Lab, ODD_NAMES, context, full, line, lines_of_names, names_in};
use crate::support::minio::fresh_address;
use crate::support::tier::{Tier, sample_data};

/// From the first file on.
const SMALL: Checkpoints = Checkpoints { every: 1, sidecars_above: 0, files_per_sidecar: 16 };

async fn publish_small(store: &Store) -> Report {
    delta::publish(&context(store.clone()), &SMALL).await.unwrap_or_else(|error| panic!("{}", full(&error)))
}

/// The sidecars that the checkpoint of a version names.
async fn sidecars(store: &Store, version: u64) -> Vec<String> {
    sidecars_of(&top(store, version).await.unwrap_or_else(|| panic!("version {version} has no V2 checkpoint")))
}

/// Asserts that each sidecar lists files in order, all after the one before, and as many as it may.
async fn check_ranges(store: &Store, version: u64, checkpoints: &Checkpoints) {
    let names = sidecars(store, version).await;
    let mut last = String::new();
    for name in &names {
        let paths = listed(store, &sidecar_path(name)).await;
        for path in &paths {
            assert!(last < *path, "{path} follows {last}");
            last.clone_from(path);
        }
        let (files, most) = (paths.len() as u64, checkpoints.files_per_sidecar);
        assert!(files <= most && (files >= most / 4 || names.len() == 1), "{name} lists {files} files");
    }
}

/// Files of `days` days, `per_day` each.
async fn many(days: u32, per_day: u32) -> Lab {
    let lab = Lab::new();
    let cell = |day: u32, tenant: u32| {
        let text = line(&format!("{day}-{tenant}"), &format!("2026-07-{:02}T12:00:00Z", day + 1), "");
        text.replace("\"acme\"", &format!("\"tenant-{tenant:03}\"")) + "\n"
    };
    lab.write("many.ndjson", (0..days).flat_map(|day| (0..per_day).map(move |t| cell(day, t))).collect::<String>());
    lab.archive(&["many.ndjson"]).await;
    lab
}

/// Deletes the commits before the newest, so that a reader must begin at the checkpoint.
async fn forget_commits(tier: &Tier, store: &Store) {
    let mut versions = versions(store).await;
    versions.pop();
    for version in versions {
        fs::remove_file(tier.path(&format!("archive/_delta_log/{version:020}.json"))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_through_v2_checkpoints_what_a_query_sees() {
    let tier = Tier::new();
    tier.write("tier.toml", SIDECARS);
    tier.write("few.ndjson", lines_of_names(&ODD_NAMES, |_, copy| format!("\"n\":{copy}")));
    at(&tier, THEN, &["archive", "few.ndjson"]);
    publish(&tier);
    let store = open(&tier).await;
    assert!(!commit(&store, 0).await.iter().any(|line| line["protocol"]["minReaderVersion"] == 3), "it is small");

    // The commit that makes it large asks for the feature.
    at(&tier, THEN, &["archive", &sample_data()]);
    let report = publish(&tier);
    assert_eq!((&report["checkpoint"], &report["upgraded"]), (&1.into(), &true.into()), "{report:#}");
    let lines = commit(&store, 1).await;
    let protocol = &lines.iter().find(|line| line.get("protocol").is_some()).expect("it upgrades")["protocol"];
    assert_eq!(
        (&protocol["minReaderVersion"], &protocol["readerFeatures"]),
        (&3.into(), &serde_json::json!(["v2Checkpoint"])),
    );
    assert!(protocol["writerFeatures"].as_array().unwrap().contains(&"v2Checkpoint".into()), "{protocol}");
    let metadata = &lines.iter().find(|line| line.get("metaData").is_some()).expect("it upgrades")["metaData"];
    assert_eq!(metadata["configuration"]["delta.checkpointPolicy"], "v2");
    assert!(sidecars(&store, 1).await.len() > 3);
    assert!(rows(&all_but_polars_agree(&tier, "archive")) > 1_500);
    forget_commits(&tier, &store).await;
    assert!(rows(&all_but_polars_agree(&tier, "archive")) > 1_500);

    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00.000001Z", r#""brand new":1.5"#));
    at(&tier, THEN, &["archive", "late.ndjson"]);
    let step = async |what: &str| {
        let before = versions(&store).await.last().copied();
        let report = publish(&tier);
        let version = report["table_version"].as_u64().unwrap();
        assert!(Some(version) > before && report["checkpoint"] == version, "{what}: {report:#}");
        assert_eq!(report["upgraded"], false, "{what}: {report:#}");
        forget_commits(&tier, &store).await;
        assert_eq!(checkpointed(&store, version).await, expected(&store).await, "{what}");
        all_but_polars_agree(&tier, "archive")
    };
    let with_late = step("late events").await;
    at(&tier, LATER, &["compact"]);
    assert_eq!(rows(&step("compact").await), rows(&with_late));
    rule_beside(&tier, SIDECARS, "acme", "class = \"DEEP_ARCHIVE\"");
    at(&tier, LATER, &["lifecycle", "apply", "--yes"]);
    let shallow = step("deep move").await;
    assert!(rows(&shallow) < rows(&with_late) && !shallow.keys().any(|cell| cell.ends_with("/acme")), "{shallow:?}");
    rule_beside(&tier, SIDECARS, "initech", "expire = true");
    let expires =
        tier.json(&["lifecycle", "plan", "--archive", "archive", "--now", LATER])["totals"]["expires"].to_string();
    at(&tier, LATER, &["lifecycle", "apply", "--yes", "--confirm", &expires]);
    let left = step("expiry").await;
    assert!(!left.is_empty() && !left.keys().any(|cell| cell.ends_with("/initech")), "{left:?}");

    // From nothing, and away.
    let report = tier.json(&["publish", "delta", "--replace", "--archive", "archive"]);
    assert_eq!((&report["table_version"], &report["checkpoint"]), (&0.into(), &0.into()), "{report:#}");
    assert_eq!(all_but_polars_agree(&tier, "archive"), left);
    let named: BTreeSet<String> = sidecars(&store, 0).await.into_iter().collect();
    let there: BTreeSet<String> = names_in(&tier.path("archive/_delta_log/_sidecars")).into_iter().collect();
    assert_eq!(there, named);
    at(&tier, LATER, &["verify"]);
    tier.ok(&["publish", "delta", "--remove", "--archive", "archive"]);
    assert_eq!(store.list("_delta_log", None).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_store_serves_sidecars_too() {
    let (tier, address) = (Tier::with_s3(), fresh_address());
    tier.write("tier.toml", SIDECARS);
    tier.ok(&["archive", &sample_data(), "--archive", &address]);
    assert_eq!(tier.json(&["publish", "delta", "--archive", &address])["checkpoint"], 0);
    tier.write("late.ndjson", lines_of("a=b%2e+x", 0..30));
    tier.ok(&["archive", "late.ndjson", "--archive", &address]);
    assert_eq!(tier.json(&["publish", "delta", "--archive", &address])["checkpoint"], 1);
    let store = Store::open(&address.parse().unwrap(), Default::default()).await.unwrap();
    store.delete(vec!["_delta_log/00000000000000000000.json".to_owned()]).await.unwrap();
    assert_eq!(rows(&all_but_polars_agree(&tier, &address)), 1_530);
    tier.ok(&["publish", "delta", "--remove", "--archive", &address]);
    assert_eq!(store.list("_delta_log", None).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_change_writes_only_the_sidecars_of_its_paths() {
    let lab = many(25, 16).await;
    let store = &lab.ctx.store;
    publish_small(store).await;
    let before = sidecars(store, 0).await;
    assert_eq!(before.len(), 25);
    check_ranges(store, 0, &SMALL).await;

    lab.write("late.ndjson", line("late", "2026-07-10T13:00:00Z", ""));
    lab.archive(&["late.ndjson"]).await;
    let asked = store.requests();
    assert_eq!(publish_small(store).await.checkpoint, Some(1));
    let asked = store.requests().since(&asked);
    let after = sidecars(store, 1).await;
    let fresh: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
    // One was full, and became two.
    assert_eq!((after.len(), fresh.len()), (26, 2));
    // The commit, two sidecars, the top file and `_last_checkpoint`.
    assert_eq!(asked.put, 5, "{asked:?}");
    assert_eq!(checkpointed(store, 1).await, expected(store).await);
    check_ranges(store, 1, &SMALL).await;
    let bytes = |names: Vec<&String>| {
        let paths: Vec<String> = names.into_iter().map(|name| sidecar_path(name)).collect();
        async move {
            let mut bytes = 0;
            for path in paths {
                bytes += store.stat(&path).await.unwrap().unwrap().size_bytes;
            }
            bytes
        }
    };
    let (written, all) = (bytes(fresh).await, bytes(after.iter().collect()).await);
    assert!(written * 10 < all, "{written} of {all} bytes were written");

    // What is gone again leaves the others alone as well.
    archive::revert(&lab.ctx, lab.snapshot().await.version()).await.unwrap();
    publish_small(store).await;
    let last = sidecars(store, 2).await;
    assert_eq!(last.iter().filter(|name| !after.contains(name)).count(), 1, "{last:?}");
    assert_eq!(checkpointed(store, 2).await, expected(store).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_follow_every_change_of_the_archive() {
    for checkpoints in [
        Checkpoints { every: 1, sidecars_above: 0, files_per_sidecar: 1 },
        Checkpoints { every: 1, sidecars_above: 2, files_per_sidecar: 3 },
        Checkpoints { every: 3, sidecars_above: 6, files_per_sidecar: 8 },
    ] {
        let lab = Lab::over(scattered().await);
        let (store, mut seen) = (lab.ctx.store.clone(), 0);
        for number in 0..30_u32 {
            let day = 1 + number * 7 % 20;
            let text =
                (0..number % 4).map(|n| line(&format!("n{number}-{n}"), &format!("2026-08-{day:02}T0{n}:00:00Z"), ""));
            let text = text.map(|line| line.replace("\"acme\"", &format!("\"t{}\"", number % 3)) + "\n");
            lab.write("a.ndjson", text.collect::<String>() + &line(&format!("n{number}"), "2026-08-24T12:00:00Z", ""));
            lab.archive(&["a.ndjson"]).await;
            match number % 6 {
                4 => {
                    let plan = plan(&lab.ctx, &tier::compact::Policy { min_files: 2, ..Default::default() }).await;
                    tier::compact::apply(&lab.ctx, &plan).await.unwrap();
                }
                5 => {
                    archive::revert(&lab.ctx, lab.snapshot().await.version()).await.unwrap();
                }
                _ => {}
            }
            // Several commits at once as well.
            if number % 3 == 0 {
                continue;
            }
            let report = delta::publish(&context(store.clone()), &checkpoints).await;
            let report = report.unwrap_or_else(|error| panic!("{number}: {}", full(&error)));
            if let Some(version) = report.checkpoint.filter(|_| number > 6) {
                assert_eq!(checkpointed(&store, version).await, expected(&store).await, "{number}: {checkpoints:?}");
                check_ranges(&store, version, &checkpoints).await;
                seen += 1;
            }
        }
        assert!(seen >= 5, "{seen} checkpoints for {checkpoints:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_that_no_checkpoint_names_are_cleaned_and_never_one_that_is() {
    let lab = many(6, 16).await;
    let store = &lab.ctx.store;
    for number in 0..4 {
        lab.write("a.ndjson", line(&format!("late-{number}"), "2026-07-03T13:00:00Z", ""));
        lab.archive(&["a.ndjson"]).await;
        publish_small(store).await;
    }
    let orphan = sidecar_path("killed.parquet");
    store.put(&orphan, "of a run that was killed").await.unwrap();
    let there = async || -> BTreeSet<String> {
        let files = store.list("_delta_log/_sidecars", None).await.unwrap();
        files.into_iter().map(|file| file.path).collect()
    };
    let first_only = sidecars(store, 0).await;
    let kept = sidecars(store, 3).await;
    let first_only: Vec<&String> = first_only.iter().filter(|name| !kept.contains(name)).collect();
    assert!(!first_only.is_empty());
    let publish_at = async |days: i64, id: &str| {
        lab.write("a.ndjson", line(id, "2026-07-05T13:00:00Z", ""));
        lab.archive(&["a.ndjson"]).await;
        // The store has stamped its objects with the time it is.
        let newest = store.list("_delta_log", None).await.unwrap().into_iter().map(|file| file.modified).max().unwrap();
        let mut ctx = context(store.clone());
        ctx.clock = Clock::Fixed(newest + SignedDuration::from_hours(24 * days));
        delta::publish(&ctx, &SMALL).await.unwrap().table_version
    };

    // No checkpoint is a month old: all is kept, what nothing names too.
    publish_at(29, "young").await;
    assert!(there().await.contains(&orphan));

    let newest = publish_at(31, "old").await;
    let left = there().await;
    assert!(!left.contains(&orphan), "{left:?}");
    assert!(first_only.iter().all(|name| !left.contains(&sidecar_path(name))), "{left:?}");
    let mut named = BTreeSet::new();
    for version in 0..=newest {
        if let Some(top) = top(store, version).await {
            named.extend(sidecars_of(&top).iter().map(|name| sidecar_path(name)));
            assert!(!checkpointed(store, version).await.is_empty(), "version {version} can be read");
        }
    }
    assert_eq!(left, named);
    assert_eq!(checkpointed(store, newest).await, expected(store).await);
    assert!(top(store, 0).await.is_none(), "it was outdated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_add_up_gets_no_checkpoint() {
    let tier = Tier::new();
    tier.write("tier.toml", SIDECARS);
    at(&tier, THEN, &["archive", &sample_data()]);
    publish(&tier);
    let store = open(&tier).await;
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00.000001Z", ""));
    at(&tier, THEN, &["archive", "late.ndjson"]);
    let slow = SIDECARS.replace("every = 1", "every = 2");
    tier.write("tier.toml", slow);
    publish(&tier);
    // A line is lost.
    let path = tier.path("archive/_delta_log/00000000000000000001.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.lines().filter(|line| !line.starts_with("{\"add\"")).collect::<Vec<_>>().join("\n")).unwrap();
    tier.write("tier.toml", SIDECARS);
    let refused = tier.run(&["publish", "delta", "--archive", "archive"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("adds up to"), "{refused:#?}");
    assert!(refused.stderr.contains("tier publish delta --replace"), "{refused:#?}");
    assert!(top(&store, 1).await.is_none());
    tier.ok(&["publish", "delta", "--replace", "--archive", "archive"]);
    assert_eq!(rows(&all_but_polars_agree(&tier, "archive")), 1_501);
}
