//! SQL over bundles is SQL over cells: the same rows, and of a bundle only what was asked for is read.

use jiff::ToSpan;
use jiff::civil::date;
use tier::catalog::Snapshot;
use tier::context::Context;
use tier::model::{DataFile, Schema, StorageClass};
use tier::query::{Engine, QuerySettings};
use tier::store::Store;

use crate::placements::questions;
use crate::query::{random_predicate, random_row};
use crate::support::ask::{ask, table};
use crate::support::bundles::bundle;
use crate::support::dice::Dice;
use crate::support::events::{Row, append, context, full_schema, row};
use crate::support::placements::{Shape, append_bundles, two_months as rows};

/// Small row groups and pages, three tenants to a bundle: slices end in the middle of both.
const SMALL: Shape = Shape { tenants_per_bundle: 3, row_group_rows: 40, page_rows: 10, class: StorageClass::Standard };

async fn in_cells(schema: &Schema, rows: &[Row]) -> Context {
    let ctx = context(Store::memory());
    append(&ctx, None, schema, rows).await;
    ctx
}

async fn in_bundles(schema: &Schema, rows: &[Row], shape: Shape) -> Context {
    let ctx = context(Store::memory());
    append_bundles(&ctx, None, schema, rows, shape).await;
    ctx
}

#[tokio::test]
async fn random_predicates_find_the_same_rows_in_cells_and_in_bundles() {
    let mut random = Dice(23);
    let rows: Vec<Row> = (0..240).map(|n| random_row(&mut random, n)).collect();
    let cells = in_cells(&full_schema(), &rows).await;
    let shape = Shape { tenants_per_bundle: 2, row_group_rows: 30, page_rows: 7, ..Shape::default() };
    let bundles = in_bundles(&full_schema(), &rows, shape).await;
    let settings = QuerySettings::default();
    let mut engines =
        [Engine::open(&cells, &settings).await.unwrap(), Engine::open(&bundles, &settings).await.unwrap()];
    let mut with_rows = 0;
    for _ in 0..150 {
        let predicate = random_predicate(&mut random, 2);
        let sql = format!(r#"SELECT date, event_id, "userId", amount, ok FROM events WHERE {predicate} ORDER BY 2"#);
        let mut answers = Vec::new();
        for engine in &mut engines {
            let statement = engine.parse(&sql).unwrap().remove(0).unwrap();
            let mut answer = engine.run(statement).await.unwrap();
            let rows = answer.collect().await.unwrap();
            answers.push(table(answer.schema(), &rows));
        }
        assert_eq!(answers[0], answers[1], "{predicate}");
        with_rows += u64::from(answers[0].lines().count() > 1);
    }
    assert!(with_rows > 50, "the predicates test little: {with_rows} found rows");
}

#[tokio::test]
async fn a_column_added_later_is_null_in_older_bundles() {
    let ctx = context(Store::memory());
    let rows = rows();
    let (old, new) = rows.split_at(200);
    let first = append_bundles(&ctx, None, &Schema::default(), old, SMALL).await;
    append_bundles(&ctx, Some(&first), &full_schema(), new, SMALL).await;
    let cells = context(Store::memory());
    let first = append(&cells, None, &Schema::default(), old).await;
    append(&cells, Some(&first), &full_schema(), new).await;
    for (name, sql) in questions() {
        assert_eq!(ask(&ctx, &sql).await.0, ask(&cells, &sql).await.0, "{name}");
    }
    // The footers say that older bundles have no amounts.
    let (_, report) = ask(&ctx, "SELECT event_id FROM events WHERE amount > 20").await;
    let new_files = ctx_files(&ctx).await.iter().filter(|file| file.path.contains("/00000000000000000001-")).count();
    assert!(report.files_scanned <= new_files as u64 && report.files_scanned > 0, "{report:?} of {new_files}");
}

async fn ctx_files(ctx: &Context) -> Vec<DataFile> {
    Snapshot::open(&ctx.store).await.unwrap().files(|_| true).await.unwrap()
}

/// 40,000 rows of a month, their payloads incompressible.
fn large_month(tenants: i64) -> Vec<Row> {
    let mut random = Dice(9);
    let mut rows = Vec::new();
    for n in 0..40_000 {
        let day = date(2025, 3, 1) + random.below(31).try_into().map(|days: i64| days.days()).unwrap();
        let tenant = format!("t{:02}", n % tenants);
        let row = row(&day.to_string(), &tenant, random.pick(&["click", "login"]), &format!("e{n:05}"), n);
        let noise: String = (0..16).map(|_| format!("{:016x}", random.below(u64::MAX))).collect();
        rows.push(Row { payload: Some(noise), amount: Some(n as f64), user_id: Some(n), ..row });
    }
    rows
}

#[tokio::test]
async fn one_tenants_month_reads_its_share_of_the_bundle_in_few_requests() {
    let rows = large_month(20);
    for (page_rows, row_group_rows) in [(2_000, 2_000), (1_000, 8_000)] {
        let shape = Shape { page_rows, row_group_rows, ..Shape::default() };
        let ctx = in_bundles(&full_schema(), &rows, shape).await;
        let [bundle] = &ctx_files(&ctx).await[..] else { panic!("one bundle") };
        let share = bundle.size_bytes / 20;
        let pack = bundle.pack.as_ref().unwrap();
        let hot = u64::from(pack.cells_bytes) + u64::from(pack.footer_bytes);
        let sql = "SELECT * FROM events WHERE tenant_id = 't07' AND date >= '2025-03-01' AND date < '2025-04-01'";
        let (answer, report) = ask(&ctx, sql).await;
        assert_eq!(answer.lines().count(), 1 + 2_000);
        // Hint, root, leaf, pack; the rest is data.
        assert!(report.requests.get <= 4 + 10 && report.requests.head == 0, "{report:?}");
        let catalog = 64 << 10;
        let data = report.bytes_read.saturating_sub(hot + catalog);
        assert!(data <= 2 * share, "{data} bytes of data are more than twice the share of {share}: {report:?}");
    }
}

#[tokio::test]
async fn one_large_tenants_month_of_a_bundle_made_of_cells_reads_its_row_group() {
    let ctx = in_cells(&full_schema(), &large_month(5)).await;
    bundle(&ctx, StorageClass::GlacierIr, |_| true).await;
    let [bundle] = &ctx_files(&ctx).await[..] else { panic!("one bundle") };
    let share = bundle.size_bytes / 5;
    let sql = "SELECT * FROM events WHERE tenant_id = 't03'";
    let planned = ask(&ctx, &format!("EXPLAIN {sql}")).await.1.bytes_read;
    let (answer, report) = ask(&ctx, sql).await;
    assert_eq!(answer.lines().count(), 1 + 8_000);
    let data = report.bytes_read - planned;
    assert!(data <= 2 * share && report.requests.get <= 4 + 10, "{data} of a share of {share}: {report:?}");
    assert_eq!((report.estimate.bytes, report.files_archived), (report.bytes_read, 0));
}

#[tokio::test]
async fn counts_and_keys_of_bundles_are_answered_without_data() {
    let rows = rows();
    let cells = in_cells(&full_schema(), &rows).await;
    let ctx = in_bundles(&full_schema(), &rows, SMALL).await;
    let data = ctx.store.list("_bundles", None).await.unwrap();
    ctx.store.delete(data.into_iter().map(|object| object.path).collect()).await.unwrap();
    for sql in [
        "SELECT count(*) FROM events",
        "SELECT count(*) FROM events WHERE tenant_id = 't03'",
        "SELECT count(*) FROM events WHERE tenant_id = 't03' AND event_type <> 'click' AND date > '2026-08-02'",
        "SELECT min(ts), max(ts), count(*) FROM events",
        "SELECT min(ts), max(ts) FROM events WHERE tenant_id = 't04' AND date = '2026-08-31'",
        "SELECT min(date), max(event_type), min(tenant_id) FROM events WHERE date > '2026-08-03'",
        "SELECT tenant_id, date, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT DISTINCT event_type FROM events WHERE tenant_id = 't01'  ORDER BY 1",
    ] {
        let (answer, report) = ask(&ctx, sql).await;
        assert_eq!(answer, ask(&cells, sql).await.0, "{sql}");
        assert_eq!(report.files_scanned, 0, "{sql}");
    }
}

#[tokio::test]
async fn a_bundle_whose_row_groups_cannot_match_is_not_opened() {
    let ctx = in_bundles(&full_schema(), &rows(), SMALL).await;
    let files = ctx_files(&ctx).await.len() as u64;
    let (answer, report) = ask(&ctx, "SELECT event_id FROM events WHERE amount > 1000").await;
    assert_eq!((answer.as_str(), report.files_scanned, report.files_total), ("event_id", 0, files));
    let (_, report) = ask(&ctx, "SELECT event_id FROM events WHERE event_id = 'e007'").await;
    assert!(report.files_scanned < files && report.files_scanned > 0, "{report:?}");
}

#[tokio::test]
async fn a_large_bundle_is_read_by_several_partitions() {
    let rows = large_month(20);
    let shape = Shape { row_group_rows: 2_000, page_rows: 2_000, ..Shape::default() };
    let ctx = in_bundles(&full_schema(), &rows, shape).await;
    let (plan, _) = ask(&ctx, "EXPLAIN SELECT sum(amount), max(payload) FROM events").await;
    assert!(plan.contains("file_groups={2 groups"), "{plan}");
    let (answer, report) = ask(&ctx, "SELECT count(payload) AS n, sum(amount) AS total FROM events").await;
    assert_eq!(answer, "n | total\n40000 | 799980000.0");
    assert_eq!(report.files_scanned, 1);
}
