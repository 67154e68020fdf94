//! Questions with archived files in the way: refused, answered in part, estimated, and answered whole once restored.

use serde_json::Value;

use tier::catalog::Snapshot;
use tier::context::Context;
use tier::error::Kind;
use tier::model::{Retrieval, Schema, StorageClass, Usd};
use tier::query::{Budget, Engine, Incomplete, OnArchived, QuerySettings};
use tier::store::{ClassTime, Location, Store};

use crate::support::ask::{ask, ask_with, fail, fail_with, full, table};
use crate::support::events::{NOW, Row, append, context, full_schema, row};
use crate::support::placements::{Shape, append_bundles, append_cells, later, restore_all, two_months};
use crate::support::tier::Tier;

const DEEP: Shape =
    Shape { tenants_per_bundle: 3, row_group_rows: 40, page_rows: 10, class: StorageClass::DeepArchive };

/// August is in DEEP_ARCHIVE, in bundles of three tenants each; September is readable.
async fn half_archived() -> Context {
    let ctx = context(Store::memory());
    let ctx = later(&ctx, 0);
    let (august, september): (Vec<Row>, Vec<Row>) = two_months().into_iter().partition(|row| row.date.month() == 8);
    let first = append_bundles(&ctx, None, &full_schema(), &august, DEEP).await;
    append(&ctx, Some(&first), &full_schema(), &september).await;
    ctx
}

fn skipping() -> QuerySettings {
    QuerySettings { on_archived: OnArchived::Skip, ..QuerySettings::default() }
}

async fn ask_in_part(ctx: &Context, sql: &str) -> (String, Option<Incomplete>) {
    let mut answer = tier::query::run(ctx, &skipping(), sql).await.unwrap_or_else(|error| panic!("{}", full(&error)));
    let rows = answer.collect().await.unwrap();
    (table(answer.schema(), &rows), answer.incomplete())
}

#[tokio::test]
async fn a_refusal_says_what_how_much_when_and_the_command() {
    let ctx = half_archived().await;
    let sql = "SELECT sum(amount) FROM events WHERE tenant_id = 't01' AND event_type <> 'it''s'";
    let before = ctx.store.requests();
    let error = fail(&ctx, sql).await;
    let asked = ctx.store.requests().since(&before);
    assert_eq!((error.kind(), error.stable_code()), (Kind::RestoreNeeded, "restore-needed"));
    let message = error.to_string();
    assert!(
        message.starts_with("1 of the ") && message.contains(" files this query needs are archived ("),
        "{message}"
    );
    let causes = error.causes().join("\n");
    assert!(causes.starts_with("_bundles/month=2026-08/") && causes.contains("DEEP_ARCHIVE"), "{causes}");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("prices of 2026-"), "{hint}");
    assert!(hint.contains("\n  standard  $0.0001") && hint.contains("ready within 12 h"), "{hint}");
    assert!(hint.contains("\n  bulk ") && hint.contains("ready within 48 h") && !hint.contains("expedited"), "{hint}");
    let [command] = error.commands() else { panic!("{:?}", error.commands()) };
    let start = r"tier restore start --query 'SELECT sum(amount) FROM events WHERE tenant_id = '\''t01'\'' AND event_type <> '\''it'\'''\''s'\''' --retrieval standard --days 7 --max-cost 0.0001";
    assert!(command.starts_with(start) && command.ends_with(" --archive memory://"), "{command}");
    // The catalog and the one object's state; no data.
    assert_eq!(asked.head, 1);
    assert!(asked.bytes_read < 200_000, "{asked:?}");
}

#[tokio::test]
async fn what_the_catalog_answers_needs_no_restore() {
    let ctx = half_archived().await;
    for sql in [
        "SELECT count(*) FROM events",
        "SELECT min(ts), max(ts) FROM events WHERE tenant_id = 't03'",
        "SELECT tenant_id, count(*) FROM events GROUP BY 1 ORDER BY 1",
        "SELECT event_id FROM events WHERE amount > 1000",
        "SELECT event_id FROM events WHERE date >= '2026-09-01' ORDER BY 1",
    ] {
        let (_, report) = ask(&ctx, sql).await;
        assert_eq!((report.files_archived, report.complete), (0, true), "{sql}");
        assert_eq!(report.requests.head, 0, "{sql}");
    }
}

#[tokio::test]
async fn an_answer_without_archived_files_says_what_it_lacks() {
    let ctx = half_archived().await;
    let sql = "SELECT count(event_id) AS n FROM events WHERE tenant_id IN ('t00', 't01') AND amount > 20";
    let (rows, incomplete) = ask_in_part(&ctx, sql).await;
    let expected = two_months()
        .iter()
        .filter(|row| ["t00", "t01"].contains(&row.tenant_id.as_str()) && row.amount > Some(20.0))
        .filter(|row| row.date.month() == 9)
        .count();
    assert_eq!(rows, format!("n\n{expected}"));
    let incomplete = incomplete.unwrap();
    let line = incomplete.to_string();
    let start = "incomplete: 1 of 2 months is archived (2026-08; tenants t00, t01); to complete: tier restore start ";
    assert!(line.starts_with(start), "{line}");
    let archived = incomplete.archived.clone().unwrap();
    let [missing] = &archived.missing[..] else { panic!("{incomplete:?}") };
    assert_eq!(
        (missing.month.as_str(), missing.files, &missing.tenants[..]),
        ("2026-08", 1, &["t00".to_owned(), "t01".to_owned()][..])
    );
    let (_, report) = ask_with(&ctx, &skipping(), sql).await;
    assert_eq!((report.complete, report.missing, report.files_archived), (false, archived.missing, 0));
    // Parts that the catalog answers are whole.
    let sql = "SELECT (SELECT count(*) FROM events) AS n, count(payload) >= 0 AS some FROM events";
    let (rows, incomplete) = ask_in_part(&ctx, sql).await;
    assert_eq!(rows, "n | some\n400 | true");
    assert!(incomplete.is_some());
    let (_, incomplete) = ask_in_part(&ctx, "SELECT event_id FROM events WHERE date >= '2026-09-01'").await;
    assert_eq!(incomplete, None);
}

#[tokio::test]
async fn a_restore_makes_the_answer_whole_for_as_long_as_it_lasts() {
    let ctx = half_archived().await;
    let sql = "SELECT count(payload) AS n, sum(amount) AS total FROM events WHERE tenant_id < 't03'";
    let cells = context(Store::memory());
    append(&cells, None, &full_schema(), &two_months()).await;
    let expected = ask(&cells, sql).await.0;
    restore_all(&ctx).await;
    let error = fail(&ctx, sql).await;
    assert!(error.hint_text().unwrap().starts_with("they are being restored"), "{}", full(&error));
    assert_eq!(error.commands(), ["tier restore status --archive memory://"]);
    let ready = later(&ctx, 13);
    let (rows, report) = ask(&ready, sql).await;
    assert_eq!(rows, expected);
    assert_eq!((report.complete, report.files_archived), (true, 1));
    // Half an hour before the week is over is too late to begin.
    let late = later(&ctx, 7 * 24 + 11);
    assert_eq!(ask(&late, sql).await.0, expected);
    let states = ctx.store.classes().list("_bundles").await.unwrap().len();
    assert!(states > 1);
    let settings = QuerySettings { class_speed: 0.001, ..QuerySettings::default() };
    let error = fail_with(&late, &settings, sql).await;
    assert!(error.causes()[0].contains("restored only until"), "{}", full(&error));
    assert!(error.hint_text().unwrap().contains("tier restore extend"), "{}", full(&error));
    let gone = later(&ctx, 7 * 24 + 13);
    assert_eq!(fail(&gone, sql).await.kind(), Kind::RestoreNeeded);
}

#[tokio::test]
async fn cells_archived_where_they_lie_are_looked_at_through_their_footers() {
    let ctx = later(&context(Store::memory()), 0);
    append_cells(&ctx, None, &full_schema(), &two_months(), StorageClass::Glacier).await;
    let (rows, report) = ask(&ctx, "SELECT event_id FROM events WHERE amount > 1000").await;
    assert_eq!((rows.as_str(), report.files_scanned), ("event_id", 0));
    let files = Snapshot::open(&ctx.store).await.unwrap().root().leaves.iter().map(|leaf| leaf.files).sum::<u64>();
    let error = fail(&ctx, "SELECT event_id FROM events WHERE event_id = 'e007'").await;
    let needed: u64 = error.to_string().split(' ').next().unwrap().parse().unwrap();
    assert!(needed < files / 4, "{error}: of {files} files");
    assert!(error.hint_text().unwrap().contains("expedited"), "{}", full(&error));
    // More than twenty of a day are listed, not looked at one by one.
    let before = ctx.store.requests();
    fail(&ctx, "SELECT sum(amount) FROM events").await;
    let asked = ctx.store.requests().since(&before);
    assert!(asked.head < 90, "{asked:?}");
    restore_all(&ctx).await;
    let ready = later(&ctx, 6);
    let (rows, report) =
        ask(&ready, "SELECT count(event_id) AS n FROM events WHERE userId >= 0 OR userId IS NULL").await;
    assert_eq!((rows.as_str(), report.complete), ("n\n400", true));
}

#[tokio::test]
async fn an_engine_names_the_archived_files_that_a_question_needs() {
    let ctx = half_archived().await;
    let engine = Engine::open(&ctx, &QuerySettings::default()).await.unwrap();
    let needs = engine.needs("SELECT sum(amount) FROM events WHERE tenant_id = 't01'").await.unwrap();
    let [file] = &needs[..] else { panic!("{needs:?}") };
    assert!(file.path.starts_with("_bundles/month=2026-08/") && file.size_bytes > 0, "{file:?}");
    assert_eq!(file.storage_class, StorageClass::DeepArchive);
    assert_eq!(engine.snapshot().version(), 2);
    assert_eq!(engine.needs("SELECT sum(amount) FROM events").await.unwrap().len(), 3);
    assert_eq!(engine.needs("SELECT count(*) FROM events; SELECT 1").await.unwrap(), []);
    // What is restored is needed all the same.
    restore_all(&ctx).await;
    let ready = later(&ctx, 13);
    let engine = Engine::open(&ready, &QuerySettings::default()).await.unwrap();
    assert_eq!(engine.needs("SELECT sum(amount) FROM events").await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_budget_refuses_before_the_first_read_of_data() {
    let ctx = context(Store::memory());
    let shape = Shape { class: StorageClass::GlacierIr, ..DEEP };
    append_bundles(&ctx, None, &full_schema(), &two_months(), shape).await;
    let sql = "SELECT sum(amount) FROM events";
    let (_, report) = ask(&ctx, sql).await;
    let (estimate, cost) = (report.estimate, report.cost_usd);
    assert!(estimate.cost_usd >= cost && cost.0 > 0.0, "{report:?}");
    assert!(estimate.bytes >= report.bytes_read && estimate.requests >= report.requests.get, "{report:?}");
    let with = |budget| QuerySettings { budget, ..QuerySettings::default() };
    let budget = |cost, bytes| with(Budget { cost, bytes });
    let data = ctx.store.list("_bundles", None).await.unwrap();
    for settings in [budget(Some(Usd(cost.0 / 2.0)), None), budget(None, Some(1000))] {
        let error = fail_with(&ctx, &settings, sql).await;
        assert_eq!(error.kind(), Kind::OverBudget, "{}", full(&error));
        let hint = error.hint_text().unwrap().to_owned();
        let figure = hint.strip_suffix(" would pass").unwrap().split_whitespace().last().unwrap().to_owned();
        let settings = match hint.starts_with("--max-cost") {
            true => budget(Some(Usd(figure.parse().unwrap())), None),
            false => budget(None, Some(figure.parse().unwrap())),
        };
        ask_with(&ctx, &settings, sql).await;
    }
    // Not one of the files is opened to refuse.
    ctx.store.delete(data.into_iter().map(|object| object.path).collect()).await.unwrap();
    let error = fail_with(&ctx, &budget(Some(Usd(0.0)), None), sql).await;
    assert_eq!(error.stable_code(), "max-cost");
}

#[tokio::test]
async fn reading_a_dearer_class_costs_more() {
    let mut costs = Vec::new();
    for class in [StorageClass::Standard, StorageClass::GlacierIr] {
        let ctx = context(Store::memory());
        append_bundles(&ctx, None, &full_schema(), &two_months(), Shape { class, ..DEEP }).await;
        costs.push(ask(&ctx, "SELECT sum(amount) FROM events").await.1.cost_usd);
    }
    assert!(costs[1] > costs[0], "{costs:?}");
}

#[tokio::test]
async fn an_archived_object_that_is_gone_is_named() {
    let ctx = half_archived().await;
    let state = ctx.store.classes().list("_bundles").await.unwrap().remove(0);
    ctx.store.classes().delete_all_versions(std::slice::from_ref(&state.path)).await.unwrap();
    let error = fail(&ctx, "SELECT sum(amount) FROM events").await;
    assert_eq!(error.stable_code(), "missing-object");
    assert!(error.to_string().contains(&state.path), "{error}");
}

#[tokio::test]
async fn an_unstarted_restore_is_the_same_for_every_tier_of_retrieval() {
    let ctx = later(&context(Store::memory()), 0);
    let rows = [row("2026-08-24", "acme", "login", "1", 0)];
    append_bundles(&ctx, None, &Schema::default(), &rows, DEEP).await;
    let state = ctx.store.classes().list("_bundles").await.unwrap().remove(0);
    ctx.store.classes().restore(&state.path, 1, Retrieval::Bulk).await.unwrap();
    assert_eq!(fail(&later(&ctx, 47), "SELECT event_id FROM events").await.kind(), Kind::RestoreNeeded);
    assert_eq!(ask(&later(&ctx, 49), "SELECT event_id FROM events").await.0, "event_id\n1");
}

/// The real binary beside a folder whose one bundle is in DEEP_ARCHIVE since `NOW`.
async fn archived_folder() -> Tier {
    let mut tier = Tier::new();
    tier.set("TIER_ARCHIVE", "archive").set("TIER_NOW", NOW);
    let store = Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap();
    let ctx = later(&context(store), 0);
    let rows = [row("2026-08-24", "acme", "login", "1", 0), row("2026-08-25", "globex", "login", "2", 0)];
    append_bundles(&ctx, None, &full_schema(), &rows, DEEP).await;
    append(
        &ctx,
        Some(&Snapshot::open(&ctx.store).await.unwrap()),
        &full_schema(),
        &[row("2026-09-01", "acme", "login", "3", 0)],
    )
    .await;
    tier
}

const IDS: &str = "SELECT event_id FROM events ORDER BY 1";

#[tokio::test]
async fn by_default_the_command_fails_with_nothing_on_stdout() {
    let tier = archived_folder().await;
    let outcome = tier.run(&["query", IDS]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{outcome:#?}");
    assert!(outcome.stderr.starts_with("error: 1 of the 2 files this query needs are archived ("), "{outcome:#?}");
    assert!(outcome.stderr.contains("simulated; prices of "), "{outcome:#?}");
    let outcome = tier.run(&["query", IDS, "--json"]);
    let error: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!((error["code"].as_str(), error["exit_code"].as_u64()), (Some("restore-needed"), Some(4)));
    // The command it prints does what it says, for whoever pastes it.
    let command = error["commands"][0].as_str().unwrap();
    assert!(command.starts_with(&format!("tier restore start --query '{IDS}' --retrieval standard")), "{command}");
    let script = format!("tier() {{ '{}' \"$@\"; }}\n{command}", env!("CARGO_BIN_EXE_tier"));
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &script]).current_dir(tier.path("")).env("TIER_NOW", NOW);
    let started = shell.env_remove("TIER_ARCHIVE").output().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let ready = tier.run(&["query", IDS, "--now", "2026-11-23T12:00:00Z"]);
    assert_eq!((ready.code, ready.stdout.as_str()), (Some(0), "event_id\n1\n2\n3\n"), "{ready:#?}");
}

#[tokio::test]
async fn a_partial_answer_ends_with_what_is_missing_and_exits_with_3() {
    let mut tier = archived_folder().await;
    let last = |stderr: &str| stderr.lines().last().unwrap_or_default().to_owned();
    let line =
        "incomplete: 1 of 2 months is archived (2026-08; tenants acme, globex); to complete: tier restore start ";
    for args in [&["--stats"][..], &["--quiet"], &["--report", "report.json"]] {
        let outcome = tier.run(&[&["query", IDS, "--on-archived", "skip"], args].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), "event_id\n3\n"), "{outcome:#?}");
        assert!(last(&outcome.stderr).starts_with(line), "{outcome:#?}");
    }
    let report: Value = serde_json::from_slice(&std::fs::read(tier.path("report.json")).unwrap()).unwrap();
    assert_eq!((&report["complete"], &report["missing"][0]["month"]), (&Value::Bool(false), &Value::from("2026-08")));
    tier.write("tier.toml", "[query]\non_archived = \"skip\"\n");
    assert_eq!(tier.run(&["query", IDS]).code, Some(3));
    tier.set("TIER_ON_ARCHIVED", "fail");
    assert_eq!(tier.run(&["query", IDS]).code, Some(4));
}

#[tokio::test]
async fn a_question_starts_the_restore_of_what_it_needs() {
    let tier = archived_folder().await;
    let outcome = tier.run(&["query", IDS, "--on-archived", "restore", "--max-cost", "0.0000001"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""), "{outcome:#?}");
    let hint = outcome.stderr.lines().find_map(|line| line.strip_prefix("hint: --max-cost ")).unwrap();
    let passes = hint.strip_suffix(" would pass").unwrap();
    let outcome = tier.run(&["query", IDS, "--on-archived", "restore", "--max-cost", passes]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{outcome:#?}");
    let job = outcome.stderr.split("restore job ").nth(1).unwrap().split(':').next().unwrap();
    assert!(outcome.stderr.contains(&format!("tier restore status {job} --wait")), "{outcome:#?}");
    // Asking again starts nothing new.
    let again = tier.run(&["query", IDS, "--on-archived", "restore"]);
    assert!(again.stderr.contains(&format!("restore job {job}, which was there before")), "{again:#?}");
    let ready = tier.run(&["query", IDS, "--now", "2026-11-23T12:00:00Z", "--on-archived", "restore"]);
    assert_eq!((ready.code, ready.stdout.as_str()), (Some(0), "event_id\n1\n2\n3\n"), "{ready:#?}");
    let outcome = tier.run(&["query", IDS, "--on-archived", "wait"]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
}

#[tokio::test]
async fn a_question_can_wait_for_its_restore() {
    let mut tier = archived_folder().await;
    tier.set("TIER_CONFIG", "fast.toml");
    // Twelve hours are two seconds, a week is half a minute.
    tier.write("fast.toml", "[simulation]\nspeed = 20000\n");
    let outcome = tier.run_without(&["TIER_NOW"], &["query", IDS, "--on-archived", "wait"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "event_id\n1\n2\n3\n"), "{outcome:#?}");
}

#[tokio::test]
async fn an_estimate_says_what_it_would_take_and_reads_nothing() {
    let tier = archived_folder().await;
    let outcome = tier.ok(&["query", "--estimate", IDS]);
    let mut lines = outcome.stdout.lines();
    assert!(lines.next().unwrap().starts_with("2 of 2 files · "), "{outcome:#?}");
    let archived = lines.next().unwrap();
    assert!(
        archived.starts_with("1 files (") && archived.ends_with("must be restored first, for 7 days:"),
        "{archived}"
    );
    assert!(lines.next().unwrap().starts_with("  standard "), "{outcome:#?}");
    let document = tier.json(&["query", "--estimate", IDS]);
    assert_eq!(
        [&document["format_version"], &document["files"], &document["unreadable_files"], &document["simulated"]],
        [&Value::from("1.0"), &Value::from(2), &Value::from(1), &Value::Bool(true)]
    );
    assert!(document["restore"][0]["cost_usd"].as_f64().unwrap() > 0.0, "{document}");
    let outcome = tier.run(&["query", "SELECT event_id FROM events WHERE date > '2026-08-31'", "--max-bytes", "10"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""), "{outcome:#?}");
    assert!(outcome.stderr.contains("hint: --max-bytes "), "{outcome:#?}");
}
