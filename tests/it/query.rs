//! `tier query` from SQL to batches: values, and the requests and files they take.

use std::sync::Arc;

use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use jiff::ToSpan;
use jiff::civil::date;
use tier::catalog::Snapshot;
use tier::context::Context;
use tier::error::Kind;
use tier::model::{KeyRange, Schema, days_of_date};
use tier::query::{self, AsOf, Engine, QuerySettings};
use tier::store::{Requests, Store};

use crate::support::ask::{ask, ask_with, fail, full, table};
use crate::support::dice::Dice;
use crate::support::events::{Row, append, cell, commit, context, full_schema, layout, new_file, row, whole_batch};

/// Two days, two tenants, two types: eight rows of which some have values.
pub fn week() -> Vec<Row> {
    let mut rows = Vec::new();
    for (day, date) in ["2026-08-24", "2026-08-25"].into_iter().enumerate() {
        for tenant in ["acme", "globex"] {
            for (number, event_type) in ["click", "login"].into_iter().enumerate() {
                let id = format!("{tenant}-{event_type}-{day}");
                let user_id = (number == 0).then_some(day as i64 + 1);
                let payload = (number == 1).then(|| format!(r#"{{"ip":"10.0.0.{day}","tags":["a","b"]}}"#));
                let row = row(date, tenant, event_type, &id, 3_600 * (number as i64 + 1));
                rows.push(Row { user_id, payload, amount: Some(day as f64 + 0.5), ok: Some(day == 0), ..row });
            }
        }
    }
    rows
}

async fn week_archive() -> Context {
    let ctx = context(Store::memory());
    append(&ctx, None, &full_schema(), &week()).await;
    ctx
}

/// A year of twenty tenants with five types, of which only `date`'s files exist: reading any other fails.
async fn year_archive(existing: &str) -> (Context, Snapshot) {
    let ctx = context(Store::memory());
    let schema = Schema::default();
    let existing = existing.parse().unwrap();
    let day_rows: Vec<Row> = (0..100)
        .map(|n| {
            let (tenant, event_type) = (format!("t{:02}", n / 5), format!("type{}", n % 5));
            Row { date: existing, ..row(&existing.to_string(), &tenant, &event_type, &format!("e{n}"), n) }
        })
        .collect();
    let first = append(&ctx, None, &schema, &day_rows).await;
    let layout = layout(&ctx, Some(&first));
    let mut files = Vec::new();
    for day in 0..365 {
        let date = date(2025, 9, 1) + day.days();
        if date == existing {
            continue;
        }
        for n in 0..100 {
            let cell = cell(date, &format!("t{:02}", n / 5), &format!("type{}", n % 5));
            let midnight = i64::from(days_of_date(date)) * 86_400_000_000;
            let ts = KeyRange { min: midnight + n, max: midnight + 1_000_000 + n };
            files.push(new_file(layout.data_file(&cell, files.len()), &cell, ts, 10, 1000, 400));
        }
    }
    let snapshot = commit(&ctx, Some(&first), &layout, &schema, files).await;
    (ctx, snapshot)
}

#[tokio::test]
async fn one_tenant_and_one_day_of_a_year_open_only_that_days_files_and_list_no_data() {
    let (ctx, _) = year_archive("2026-08-24").await;
    let sql = "SELECT event_type, event_id FROM events WHERE tenant_id = 't07' AND date = '2026-08-24' ORDER BY 1";
    let (rows, report) = ask(&ctx, sql).await;
    assert_eq!(rows, "event_type | event_id\ntype0 | e35\ntype1 | e36\ntype2 | e37\ntype3 | e38\ntype4 | e39");
    assert_eq!((report.files_total, report.files_pruned, report.files_scanned), (36_500, 36_495, 5));
    // One listing, of the roots; the hint, the root, the day's leaf and the two that hold the tenant; a file is one GET.
    assert_eq!((report.requests.list, report.requests.head), (1, 0));
    assert_eq!(report.requests.get, 2 + 1 + leaves_of(&ctx, "t07").await + 5);
}

/// Leaves of the year's second commit that hold files of the tenant on the day.
async fn leaves_of(ctx: &Context, tenant: &str) -> u64 {
    let snapshot = Snapshot::open(&ctx.store).await.unwrap();
    let holds = |leaf: &&tier::catalog::LeafRef| leaf.added_version == 2 && leaf.tenants.as_text().contains(&tenant);
    let leaves = snapshot.root().leaves.iter().filter(holds).count() as u64;
    assert!((1..=2).contains(&leaves), "a tenant's 1,820 files lie in one leaf or two, not {leaves}");
    leaves
}

#[tokio::test]
async fn a_time_range_prunes_dates() {
    let (ctx, _) = year_archive("2026-08-24").await;
    let sql = "SELECT count(event_id) FROM events \
               WHERE ts >= '2026-08-24T00:00:50Z' AND ts < '2026-08-24T12:00:00Z'";
    let (rows, report) = ask(&ctx, sql).await;
    assert_eq!(rows, "count(events.event_id)\n50");
    assert_eq!((report.files_total, report.files_scanned), (36_500, 50));
}

#[tokio::test]
async fn counts_and_times_are_answered_from_the_catalog_without_reading_data() {
    // Not even the existing day's files are there to be read.
    let (ctx, snapshot) = year_archive("2026-08-24").await;
    let data = ctx.store.list("events", None).await.unwrap();
    assert_eq!(data.len(), 100);
    ctx.store.delete(data.into_iter().map(|object| object.path).collect()).await.unwrap();
    let leaves = snapshot.root().leaves.len() as u64;
    for (sql, expected) in [
        ("SELECT count(*) AS n FROM events", "n\n364100"),
        ("SELECT count(*) AS n FROM events WHERE date = '2026-08-24'", "n\n100"),
        ("SELECT count(*) AS n FROM events WHERE date >= '2026-08-01' AND date < '2026-09-01'", "n\n30100"),
        ("SELECT count(*) AS n FROM events WHERE date BETWEEN '2025-09-01' AND '2025-09-02'", "n\n2000"),
        ("SELECT count(*) AS n FROM events WHERE date IN ('2025-09-01', '2025-09-03')", "n\n2000"),
        ("SELECT count(*) AS n FROM events WHERE tenant_id = 't00' AND event_type <> 'type1'", "n\n14564"),
        ("SELECT count(*) AS n FROM events WHERE tenant_id LIKE 't1%'", "n\n182050"),
        ("SELECT count(*) AS n FROM events WHERE date = '1999-01-01'", "n\n0"),
        (
            "SELECT min(ts) AS a, max(ts) AS z FROM events WHERE date = '2026-08-24'",
            "a | z\n2026-08-24T00:00:00Z | 2026-08-24T00:01:39Z",
        ),
        ("SELECT min(ts) AS a, count(*) AS n FROM events", "a | n\n2025-09-01T00:00:00Z | 364100"),
        ("SELECT min(date) AS a, max(date) AS z FROM events WHERE tenant_id = 't03'", "a | z\n2025-09-01 | 2026-08-31"),
        (
            "SELECT date_trunc('quarter', date)::date AS q, tenant_id, count(*) AS n, count(event_type) AS m, \
             min(event_type) AS a, max(date) AS z FROM events WHERE tenant_id IN ('t01', 't02') GROUP BY 1, 2 \
             HAVING count(*) > 4550 ORDER BY 1, 2",
            "q | tenant_id | n | m | a | z\n\
             2025-10-01 | t01 | 4600 | 4600 | type0 | 2025-12-31\n\
             2025-10-01 | t02 | 4600 | 4600 | type0 | 2025-12-31",
        ),
        ("SELECT DISTINCT event_type AS t FROM events WHERE date > '2026-08-01' ORDER BY t LIMIT 2", "t\ntype0\ntype1"),
        ("SELECT count(DISTINCT date) AS days FROM events WHERE tenant_id = 't03'", "days\n365"),
        (
            "SELECT event_type AS t, count(*) FILTER (WHERE tenant_id = 't03') AS n FROM events \
             WHERE date = '2026-08-23' GROUP BY 1 ORDER BY 1 LIMIT 1",
            "t | n\ntype0 | 10",
        ),
        (
            "SELECT tenant_id AS t, event_type AS e, count(*) AS n FROM events WHERE date = '2026-08-23' \
             AND tenant_id <= 't01' GROUP BY ROLLUP (tenant_id, event_type) ORDER BY 1 NULLS FIRST, 2 NULLS FIRST LIMIT 3",
            "t | e | n\n |  | 100\nt00 |  | 50\nt00 | type0 | 10",
        ),
    ] {
        let (rows, report) = ask(&ctx, sql).await;
        assert_eq!(rows, expected, "{sql}");
        assert_eq!(report.files_scanned, 0, "{sql}");
        assert!(report.requests.get <= 2 + leaves, "{sql}: {report:?}");
    }
    // More files than a plan holds: their leaves are read once more.
    let sql = "SELECT event_type AS t, count(*) AS n FROM events GROUP BY 1 ORDER BY 1 LIMIT 2";
    let (rows, report) = ask(&ctx, sql).await;
    assert_eq!(rows, "t | n\ntype0 | 72820\ntype1 | 72820");
    assert!(report.files_scanned == 0 && report.requests.get <= 2 + 2 * leaves, "{report:?}");
}

#[tokio::test]
async fn groups_of_keys_have_one_row_for_each_cell_and_not_for_each_event() {
    let (ctx, _) = year_archive("2026-08-24").await;
    let sql = "EXPLAIN SELECT tenant_id, count(*) FROM events WHERE date >= '2026-08-23' GROUP BY 1";
    let (plan, _) = ask(&ctx, sql).await;
    assert!(plan.contains("counted by [tenant_id, count(Int64(1))[count]]"), "{plan}");
    assert_eq!(plan.matches("AggregateExec").count(), 1, "{plan}");
}

#[tokio::test]
async fn a_limit_ends_at_the_file_that_has_enough_rows() {
    let ctx = week_archive().await;
    for (limit, files) in [(1, 1), (3, 3)] {
        let (rows, report) = ask(&ctx, &format!("SELECT event_id FROM events LIMIT {limit}")).await;
        assert_eq!(rows.lines().count(), 1 + limit);
        assert_eq!((report.files_scanned, report.requests.get), (files, 2 + 1 + files));
    }
}

#[tokio::test]
async fn a_small_file_is_one_get_even_with_bloom_filter_and_page_index() {
    let ctx = week_archive().await;
    let sql = "SELECT tenant_id, userId FROM events WHERE event_id = 'acme-click-1' AND amount > 1";
    let (rows, report) = ask(&ctx, sql).await;
    assert_eq!(rows, "tenant_id | userId\nacme | 2");
    assert_eq!(report.files_scanned, 8);
    assert_eq!(report.requests.get, 2 + 1 + 8);
}

/// An archive of one file of twenty row groups, most of which is noise that no question reads.
async fn large_file_archive() -> (Context, Snapshot) {
    let ctx = context(Store::memory());
    let mut random = Dice(5);
    let rows: Vec<Row> = (0..20_000)
        .map(|n| {
            let noise: String = (0..8).map(|_| format!("{:016x}", random.below(u64::MAX))).collect();
            let row = row("2026-08-24", "acme", "login", &format!("{n:06}"), n / 10);
            Row { payload: Some(noise), amount: Some(0.5), ..row }
        })
        .collect();
    let snapshot = append(&ctx, None, &full_schema(), &rows).await;
    (ctx, snapshot)
}

#[tokio::test]
async fn of_a_large_file_only_the_end_and_the_needed_columns_are_read() {
    let (ctx, snapshot) = large_file_archive().await;
    let size = snapshot.root().leaves[0].size_bytes;
    let (answer, report) = ask(&ctx, "SELECT sum(amount) AS total FROM events").await;
    assert_eq!(answer, "total\n10000.0");
    // Hint, root, leaf; the end with footer and page index; twenty row groups' columns lie apart.
    assert!(report.requests.get <= 3 + 1 + 20, "{report:?}");
    assert!(size > 2_500_000 && report.bytes_read < size / 5, "{report:?} of {size}");
    let (answer, report) = ask(&ctx, "SELECT userId, length(payload) AS n FROM events WHERE event_id = '012345'").await;
    assert_eq!(answer, "userId | n\n | 128");
    assert!(report.requests.get <= 3 + 8 && report.bytes_read < size / 4, "{report:?} of {size}");
}

#[tokio::test]
async fn the_footer_of_a_large_file_is_read_once_in_a_session() {
    let (ctx, _) = large_file_archive().await;
    for sql in ["SELECT sum(amount) FROM events", "SELECT payload FROM events WHERE event_id = '012345'"] {
        let mut engine = Engine::open(&ctx, &QuerySettings::default()).await.unwrap();
        let mut read = Vec::new();
        for _ in 0..3 {
            let before = ctx.store.requests();
            engine = engine.again().await.unwrap();
            let statement = engine.parse(sql).unwrap().remove(0).unwrap();
            let mut answer = engine.run(statement).await.unwrap();
            answer.collect().await.unwrap();
            let Requests { get, bytes_read, .. } = ctx.store.requests().since(&before);
            read.push((get, bytes_read));
        }
        let [first, second, third] = read[..] else { panic!("{read:?}") };
        assert!(second.0 <= first.0 && second.1 + (64 << 10) < first.1, "{sql}: {read:?}");
        assert_eq!(second, third, "{sql}");
    }
}

#[tokio::test]
async fn a_pruned_answer_is_the_answer_of_a_full_scan() {
    let (ctx, schema) = (context(Store::memory()), full_schema());
    let mut random = Dice(11);
    let rows: Vec<Row> = (0..240).map(|n| random_row(&mut random, n)).collect();
    let mut snapshot = None;
    for some in rows.chunks(120) {
        snapshot = Some(append(&ctx, snapshot.as_ref(), &schema, some).await);
    }
    let config = SessionConfig::new();
    let full_scan = SessionContext::new_with_config(config);
    let batch = whole_batch(&schema, &rows);
    let memory = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    full_scan.register_table("events", Arc::new(memory)).unwrap();
    let mut engine = Engine::open(&ctx, &QuerySettings::default()).await.unwrap();
    let (mut pruned, mut with_rows) = (0, 0);
    for _ in 0..200 {
        let predicate = random_predicate(&mut random, 2);
        let sql = format!(r#"SELECT event_id, count(*) AS n FROM events WHERE {predicate} GROUP BY 1 ORDER BY 1"#);
        let expected = full_scan.sql(&sql).await.unwrap();
        let schema = Arc::new(expected.schema().as_arrow().clone());
        let expected = expected.collect().await.unwrap();
        let statement = engine.parse(&sql).unwrap().remove(0).unwrap();
        let mut answer = engine.run(statement).await.unwrap();
        let rows = answer.collect().await.unwrap();
        let report = answer.report();
        assert_eq!(table(answer.schema(), &rows), table(schema, &expected), "{predicate}");
        pruned += u64::from(report.files_pruned > 0);
        with_rows += u64::from(expected.iter().any(|batch| batch.num_rows() > 0));
    }
    assert!(pruned > 50 && with_rows > 50, "the predicates test little: {pruned} pruned, {with_rows} found rows");
}

pub fn random_row(random: &mut Dice, number: usize) -> Row {
    let date = date(2026, 8, 1) + (random.below(3) as i64).days();
    let tenant = format!("t{}", random.below(2));
    let event_type = random.pick(&["click", "a b"]);
    let row = row(&date.to_string(), &tenant, event_type, &format!("e{number:03}"), random.below(86_400) as i64);
    Row {
        user_id: (random.below(3) > 0).then(|| random.below(5) as i64),
        amount: (random.below(4) > 0).then(|| random.below(100) as f64 / 4.0),
        payload: (random.below(2) > 0).then(|| random.pick(&["x", "", "y"]).to_owned()),
        ok: (random.below(3) > 0).then(|| random.below(2) == 0),
        ..row
    }
}

pub fn random_predicate(random: &mut Dice, depth: u32) -> String {
    if depth > 0 && random.below(3) > 0 {
        let (left, right) = (random_predicate(random, depth - 1), random_predicate(random, depth - 1));
        return match random.below(5) {
            0 => format!("NOT ({left})"),
            1 | 2 => format!("({left} OR {right})"),
            _ => format!("({left} AND {right})"),
        };
    }
    let day = format!("2026-08-0{}", 1 + random.below(4));
    let hour = random.below(24);
    let compare = random.pick(&["=", "<>", "<", "<=", ">", ">="]);
    let tenant = random.pick(&["t0", "t1", "t9", ""]);
    match random.below(14) {
        0 | 1 => format!("date {compare} '{day}'"),
        2 => format!("date BETWEEN '{day}' AND '2026-08-02'"),
        3 => format!("date IN ('{day}', '2026-08-02')"),
        4 | 5 => format!("ts {compare} '{day}T{hour:02}:30:00Z'"),
        6 => format!("tenant_id {compare} '{tenant}'"),
        7 => format!("tenant_id NOT IN ('{tenant}', 't1')"),
        8 => format!("event_type LIKE '{}'", random.pick(&["c%", "%i%", "a b", "_ _"])),
        9 => format!(r#""userId" {compare} {}"#, random.below(5)),
        10 => format!("{} IS NULL", random.pick(&["payload", "ok", "date", "ts", r#""userId""#])),
        11 => random.pick(&["ok", "NOT ok", "ok IS NOT TRUE", "payload = ''"]).to_owned(),
        12 => format!("amount {compare} {} OR upper(tenant_id) = 'T1'", random.below(25)),
        _ => format!("coalesce(date = '{day}', true) AND event_id {compare} 'e{:03}'", random.below(240)),
    }
}

#[tokio::test]
async fn unquoted_names_find_their_column_whatever_the_case() {
    let ctx = week_archive().await;
    let sql = "SELECT USERID, e.UserId + 1 AS userid2 FROM events e WHERE UserID = 2 ORDER BY userid LIMIT 1";
    assert_eq!(ask(&ctx, sql).await.0, "userId | userid2\n2 | 3");
    let error = fail(&ctx, r#"SELECT "userid" FROM events"#).await;
    assert_eq!(error.hint_text(), Some("did you mean `userId`?"));
}

#[tokio::test]
async fn an_unknown_column_is_shown_with_its_place_and_near_names() {
    let ctx = week_archive().await;
    let error = fail(&ctx, "SELECT count(*)\nFROM events\nWHERE tenent_id = 'acme'").await;
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(
        error.to_string(),
        "there is no column `tenent_id`\n  3 | WHERE tenent_id = 'acme'\n    |       ^^^^^^^^^"
    );
    assert_eq!(error.hint_text(), Some("did you mean `tenant_id`?"));
    let error = fail(&ctx, "SELECT zzz FROM events").await;
    assert_eq!(
        error.hint_text(),
        Some(
            "the columns are `date`, `tenant_id`, `event_type`, `event_id`, `ts`, `userId`, `amount`, `payload`, `ok`"
        )
    );
}

#[tokio::test]
async fn an_unknown_table_and_bad_syntax_are_shown_with_their_place() {
    let ctx = week_archive().await;
    let error = fail(&ctx, "SELECT * FROM evnts").await;
    assert_eq!(error.to_string(), "there is no table `evnts`\n  1 | SELECT * FROM evnts\n    |               ^^^^^");
    assert_eq!((error.kind(), error.hint_text()), (Kind::Usage, Some("the only table is `events`")));
    let error = fail(&ctx, "SELECT 1,\nFROM WHERE").await;
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("2 | FROM WHERE\n    |      ^"), "{error}");
    let error = fail(&ctx, "SELECT 'open").await;
    assert!(error.to_string().contains("1 | SELECT 'open\n    |        ^"), "{error}");
}

#[tokio::test]
async fn whatever_would_change_something_is_refused() {
    let ctx = week_archive().await;
    for (sql, what) in [
        ("CREATE TABLE t AS SELECT * FROM events", "CREATE TABLE"),
        ("INSERT INTO events SELECT * FROM events", "INSERT"),
        ("COPY events TO 'x.csv'", "COPY"),
        ("SET datafusion.execution.batch_size = 1", "SET"),
        ("SELECT * INTO t FROM events", "CreateMemoryTable"),
    ] {
        let error = fail(&ctx, sql).await;
        assert_eq!(error.to_string(), format!("tier query is read-only: {what} is refused"), "{sql}");
        assert_eq!(error.kind(), Kind::Usage);
    }
    let error = fail(&ctx, "SELECT * FROM '/etc/passwd'").await;
    assert_eq!(error.stable_code(), "unknown-table");
}

#[tokio::test]
async fn an_older_version_answers_as_it_was() {
    let ctx = context(Store::memory());
    let rows = week();
    let first = append(&ctx, None, &full_schema(), &rows[..4]).await;
    append(&ctx, Some(&first), &full_schema(), &rows[4..]).await;
    let count = "SELECT count(*) AS n FROM events";
    let as_of = |as_of| QuerySettings { as_of: Some(as_of), ..QuerySettings::default() };
    assert_eq!(ask(&ctx, count).await.0, "n\n8");
    let (rows, report) = ask_with(&ctx, &as_of(AsOf::Version(1)), count).await;
    assert_eq!((rows.as_str(), report.version), ("n\n4", 1));
    let (rows, report) = ask_with(&ctx, &as_of(AsOf::Time(ctx.now())), count).await;
    assert_eq!((rows.as_str(), report.version), ("n\n8", 2));
    let error = query::run(&ctx, &as_of(AsOf::Version(9)), count).await.err().unwrap();
    assert_eq!(error.stable_code(), "no-such-version");
}

#[tokio::test]
async fn explain_ends_with_the_files_of_each_level() {
    let ctx = week_archive().await;
    let (rows, _) = ask(&ctx, "EXPLAIN SELECT * FROM events WHERE date = '2026-08-24' AND tenant_id = 'acme'").await;
    let last = rows.lines().last().unwrap();
    assert!(last.starts_with("archive | files 8 → root 8 → leaf 2 → scanned 2 ("), "{rows}");
    let (rows, _) = ask(&ctx, "EXPLAIN SELECT count(*) FROM events").await;
    assert!(rows.ends_with("archive | files 8 → root 8 → leaf 8 → scanned 0 (0 B)"), "{rows}");
    let (rows, report) = ask(&ctx, "EXPLAIN ANALYZE SELECT event_id FROM events WHERE amount > 100").await;
    assert!(rows.lines().last().unwrap().starts_with("archive | files 8 → root 8 → leaf 8 → scanned 8 ("), "{rows}");
    assert_eq!(report.files_scanned, 8);
}

#[tokio::test]
async fn a_column_added_later_is_null_in_older_files() {
    let ctx = context(Store::memory());
    let rows = week();
    let first = append(&ctx, None, &Schema::default(), &rows[..4]).await;
    append(&ctx, Some(&first), &full_schema(), &rows[4..]).await;
    let sql = "SELECT date, event_type, amount, userId FROM events WHERE tenant_id = 'acme' ORDER BY date, event_type";
    assert_eq!(
        ask(&ctx, sql).await.0,
        "date | event_type | amount | userId\n2026-08-24 | click |  |\n2026-08-24 | login |  |\n\
         2026-08-25 | click | 1.5 | 2\n2026-08-25 | login | 1.5 |"
    );
    assert_eq!(ask(&ctx, "SELECT count(*) AS n FROM events WHERE amount IS NULL").await.0, "n\n4");
    assert_eq!(ask(&ctx, "SELECT count(*) AS n FROM events WHERE amount > 1").await.0, "n\n4");
}

#[tokio::test]
async fn json_text_is_read_with_json_functions() {
    let ctx = week_archive().await;
    let sql = "SELECT json_get_str(payload, 'ip') AS ip, payload->>'ip' AS again, json_length(payload, 'tags') AS n \
               FROM events WHERE tenant_id = 'acme' AND event_type = 'login' ORDER BY ts";
    assert_eq!(ask(&ctx, sql).await.0, "ip | again | n\n10.0.0.0 | 10.0.0.0 | 2\n10.0.0.1 | 10.0.0.1 | 2");
}

#[tokio::test]
async fn sql_is_whole() {
    let ctx = week_archive().await;
    let sql = "WITH daily AS (SELECT date, tenant_id, count(*) AS n, sum(amount) AS total FROM events GROUP BY 1, 2) \
               SELECT a.date, a.tenant_id, a.total, rank() OVER (PARTITION BY a.date ORDER BY a.tenant_id) AS place \
               FROM daily a JOIN daily b ON a.date = b.date AND a.tenant_id = b.tenant_id \
               WHERE a.date = (SELECT max(date) FROM events) ORDER BY a.tenant_id";
    assert_eq!(
        ask(&ctx, sql).await.0,
        "date | tenant_id | total | place\n2026-08-25 | acme | 3.0 | 1\n2026-08-25 | globex | 3.0 | 2"
    );
}

#[tokio::test]
async fn the_table_describes_itself_in_sql_names() {
    let ctx = week_archive().await;
    let (rows, _) = ask(&ctx, "DESCRIBE events").await;
    assert_eq!(
        rows,
        "column_name | data_type | is_nullable\ndate | DATE | false\ntenant_id | VARCHAR | false\n\
         event_type | VARCHAR | false\nevent_id | VARCHAR | false\nts | TIMESTAMP | false\nuserId | BIGINT | true\n\
         amount | DOUBLE | true\npayload | VARCHAR | true\nok | BOOLEAN | true"
    );
    let (rows, _) = ask(&ctx, "SHOW TABLES").await;
    assert!(rows.contains("tier | archive | events | BASE TABLE"), "{rows}");
}

#[tokio::test]
async fn now_is_the_contexts_time() {
    let ctx = week_archive().await;
    assert_eq!(ask(&ctx, "SELECT now() AS t, current_date() AS d").await.0, "t | d\n2026-11-22T12:00:00Z | 2026-11-22");
    assert_eq!(ask(&ctx, "SELECT count(*) AS n FROM events WHERE ts > now() - INTERVAL '90 days'").await.0, "n\n4");
}

#[tokio::test]
async fn times_far_away_compare_with_strings() {
    let ctx = week_archive().await;
    for (predicate, expected) in [
        ("ts < '9999-12-31T23:59:59Z'", 8),
        ("ts > '0001-01-01T00:00:00Z'", 8),
        ("ts BETWEEN '2026-08-24' AND '2026-08-24T01:00:00.000000Z'", 2),
        ("ts IN ('2026-08-24T01:00:00Z', '9999-01-01')", 2),
        ("ts >= '2026-08-25 00:00:00'", 4),
    ] {
        let (rows, _) = ask(&ctx, &format!("SELECT count(event_id) AS n FROM events WHERE {predicate}")).await;
        assert_eq!(rows, format!("n\n{expected}"), "{predicate}");
    }
}

#[tokio::test]
async fn a_version_without_files_answers_with_no_rows() {
    let ctx = context(Store::memory());
    let layout = layout(&ctx, None);
    commit(&ctx, None, &layout, &Schema::default(), Vec::new()).await;
    assert_eq!(ask(&ctx, "SELECT event_id FROM events WHERE date > '2026-01-01'").await.0, "event_id");
    assert_eq!(ask(&ctx, "SELECT count(*) AS n, max(ts) AS t FROM events").await.0, "n | t\n0 |");
}

#[tokio::test]
async fn a_lost_data_file_is_named() {
    let ctx = week_archive().await;
    let data = ctx.store.list("events", None).await.unwrap();
    ctx.store.delete(vec![data[0].path.clone()]).await.unwrap();
    let error = fail(&ctx, "SELECT sum(amount) FROM events").await;
    assert!(full(&error).contains(&data[0].path), "{}", full(&error));
}

#[tokio::test]
async fn a_query_over_its_memory_spills_or_says_what_to_do() {
    let ctx = context(Store::memory());
    let long = "x".repeat(200);
    let rows: Vec<Row> = (0..40_000)
        .map(|n| {
            let row = row("2026-08-24", &format!("t{}", n % 4), "login", &format!("{:08}", (n * 7919) % 40_000), n);
            Row { payload: Some(format!("{long}{n}")), ..row }
        })
        .collect();
    append(&ctx, None, &full_schema(), &rows).await;
    let settings = |memory_bytes| QuerySettings { memory_bytes, ..QuerySettings::default() };
    let sql =
        "SELECT event_id FROM (SELECT event_id, payload FROM events ORDER BY payload, event_id) LIMIT 1 OFFSET 39999";
    assert_eq!(ask_with(&ctx, &settings(64 << 20), sql).await.0, "event_id\n00032081");
    let error = match query::run(&ctx, &settings(1 << 16), "SELECT array_agg(payload) FROM events").await {
        Err(error) => error,
        Ok(mut answer) => answer.collect().await.expect_err("64 KiB hold no 8 MB array"),
    };
    assert_eq!(error.stable_code(), "out-of-memory");
    assert!(error.hint_text().unwrap().contains("--memory"));
}
