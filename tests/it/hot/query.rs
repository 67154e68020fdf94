//! Questions over archive and hot tier together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::Value;
use tier::catalog::{self, Change, NewSeal, Operation, Outcome, Snapshot};
use tier::clock::{Clock, Stopwatch};
use tier::context::Context;
use tier::error::Kind;
use tier::hot::{CassandraSettings, HotSettings, Place};
use tier::model::{ColumnType, HotRead, Schema};
use tier::query::{AsOf, Engine, OnHotError, QuerySettings};
use tier::store::Store;

use super::settings;
use crate::query::random_predicate;
use crate::support::ask::{ask_with, fail_with, table};
use crate::support::cassandra::{Keyspace, Node, contact_point};
use crate::support::dice::Dice;
use crate::support::events::{self, Row, append, layout, row, whole_batch};
use crate::support::tier::Tier;

/// Noon of the last of four days.
const NOW: &str = "2026-08-04T12:00:00Z";

const TENANT_DAY: &str = "((tenant_id, day), event_id)";

/// An archive and a table.
struct Both {
    ctx: Context,
    keyspace: Keyspace,
    newest: Option<Snapshot>,
    /// Of the archive.
    schema: Schema,
    settings: QuerySettings,
}

impl Both {
    async fn new(key: &str) -> Self {
        let keyspace = Keyspace::fresh().await;
        keyspace.create_events("events", key, 0).await;
        let ctx = Context { clock: Clock::Fixed(NOW.parse().unwrap()), ..events::context(Store::memory()) };
        let settings = QuerySettings { hot: Some(hot(settings(&keyspace, "events"))), ..QuerySettings::default() };
        Both { ctx, keyspace, newest: None, schema: schema(), settings }
    }

    async fn archive(&mut self, rows: &[Row]) {
        self.newest = Some(append(&self.ctx, self.newest.as_ref(), &self.schema, rows).await);
    }

    async fn insert(&self, rows: &[Row]) {
        self.keyspace.insert("events", rows, None).await;
    }

    async fn seal(&mut self, day: i8, is_mirror: bool) {
        let read = HotRead { at: Timestamp::UNIX_EPOCH, rows: 0, is_mirror };
        let seal = NewSeal { incomplete: false, read: Some(read) };
        self.seal_all(BTreeMap::from([(date(2026, 8, day), seal)])).await;
    }

    async fn seal_all(&mut self, seals: BTreeMap<Date, NewSeal>) {
        let newest = self.newest.as_ref().expect("something is archived");
        let mut change = Change::new(Operation::new("seal", newest.version()));
        change.seals = seals;
        match catalog::commit(&self.ctx, Some(newest), &layout(&self.ctx, Some(newest)), change).await.unwrap() {
            Outcome::Committed(snapshot) => self.newest = Some(snapshot),
            Outcome::Conflict(why) => panic!("nobody else commits here, but: {why}"),
        }
    }

    async fn ask(&self, sql: &str) -> String {
        ask_with(&self.ctx, &self.settings, sql).await.0
    }

    /// The line of the plan that reads the hot tier, and whether the plan reads the archive too.
    async fn route(&self, sql: &str) -> (String, bool) {
        let plan = self.ask(&format!("EXPLAIN {sql}")).await;
        let line = plan.lines().find(|line| line.contains("HotExec")).unwrap_or_default();
        let hot = line.split("HotExec: ").nth(1).unwrap_or_default().replace(&self.keyspace.name, "ks");
        (hot.trim().to_owned(), plan.contains("DataSourceExec") || plan.contains("KeysExec"))
    }

    fn down(&self) -> QuerySettings {
        let nobody = CassandraSettings { contact_points: vec!["127.0.0.1:1".to_owned()], ..self.cassandra() };
        QuerySettings { hot: Some(hot(nobody)), ..self.settings.clone() }
    }

    fn cassandra(&self) -> CassandraSettings {
        settings(&self.keyspace, "events")
    }
}

fn hot(cassandra: CassandraSettings) -> HotSettings {
    HotSettings {
        place: Place::Cassandra(Box::new(cassandra)),
        ttl_days: 30,
        closes_after: Duration::from_secs(7_200),
        warn_days: 7,
    }
}

/// What both have beside the keys.
fn schema() -> Schema {
    let mut schema = Schema::default();
    schema.add("amount", ColumnType::Double).unwrap();
    schema.add("payload", ColumnType::Varchar).unwrap();
    schema
}

fn event(day: i8, tenant: &str, event_type: &str, id: &str, amount: f64) -> Row {
    let row = row(&format!("2026-08-{day:02}"), tenant, event_type, id, i64::from(day) * 3_600);
    Row { amount: Some(amount), ..row }
}

/// Day 2 is sealed; of day 3 an export is archived, and the hot tier has more; day 4 is in the hot tier alone.
async fn three_days() -> Both {
    let mut both = Both::new(TENANT_DAY).await;
    let of_2 =
        [event(2, "acme", "click", "a", 1.0), event(2, "acme", "login", "b", 2.0), event(2, "zeta", "click", "c", 4.0)];
    let of_3 = [event(3, "acme", "click", "d", 8.0), event(3, "acme", "click", "e", 16.0)];
    both.archive(&[&of_2[..], &of_3[..]].concat()).await;
    both.seal(2, true).await;
    // Days before there was anything.
    let before = date(2026, 7, 1).series(1.day()).take_while(|day| *day < date(2026, 8, 2));
    both.seal_all(before.map(|day| (day, NewSeal::default())).collect()).await;
    both.insert(&of_2).await;
    both.insert(&[
        // Also archived, with another amount there.
        event(3, "acme", "click", "e", 1_000.0),
        // The same id is another event where the type is another.
        event(3, "acme", "login", "d", 32.0),
        event(3, "zeta", "click", "f", 64.0),
        event(4, "acme", "click", "g", 128.0),
    ])
    .await;
    both
}

#[tokio::test]
async fn an_event_counts_once_and_as_the_archive_has_it() {
    let both = three_days().await;
    for (sql, expected) in [
        ("SELECT sum(amount) AS total, count(*) AS n FROM events", "total | n\n255.0 | 8"),
        ("SELECT count(*) AS n FROM events WHERE date >= '2026-08-03'", "n\n5"),
        ("SELECT count(*) AS n FROM events WHERE date = '2026-08-04'", "n\n1"),
        // The archive's event does not match, so the hot tier's does not count.
        ("SELECT count(*) AS n FROM events WHERE amount > 500", "n\n0"),
        ("SELECT amount FROM events WHERE event_id = 'e'", "amount\n16.0"),
        (
            "SELECT event_type, amount FROM events WHERE event_id = 'd' ORDER BY 1",
            "event_type | amount\nclick | 8.0\nlogin | 32.0",
        ),
        ("SELECT event_id FROM events ORDER BY ts DESC, event_id LIMIT 2", "event_id\ng\nd"),
        ("SELECT DISTINCT tenant_id FROM events WHERE date = '2026-08-03' ORDER BY 1", "tenant_id\nacme\nzeta"),
        ("SELECT max(ts) AS last, min(date) AS first FROM events", "last | first\n2026-08-04T04:00:00Z | 2026-08-02"),
        (
            "SELECT date, sum(amount) AS total FROM events GROUP BY 1 ORDER BY 1",
            "date | total\n2026-08-02 | 7.0\n2026-08-03 | 120.0\n2026-08-04 | 128.0",
        ),
        ("SELECT count(*) AS n FROM (SELECT * FROM events LIMIT 5)", "n\n5"),
        (
            "SELECT a.event_id FROM events a JOIN events b ON a.amount = 2 * b.amount WHERE b.event_id = 'f'",
            "event_id\ng",
        ),
        (
            "SELECT * FROM events WHERE date = '2026-08-04'",
            "date | tenant_id | event_type | event_id | ts | amount | payload\n\
             2026-08-04 | acme | click | g | 2026-08-04T04:00:00Z | 128.0 |",
        ),
    ] {
        assert_eq!(both.ask(sql).await, expected, "{sql}");
    }
    let (_, report) = ask_with(&both.ctx, &both.settings, "SELECT sum(amount) FROM events").await;
    assert_eq!((report.hot_partitions, report.hot_rows, report.hot_refused, report.complete), (3, 4, 0, true));
}

#[tokio::test]
async fn dates_that_are_sealed_are_answered_with_the_hot_tier_down() {
    let mut both = three_days().await;
    let down = both.down();
    for (sql, expected) in [
        ("SELECT sum(amount) AS total FROM events WHERE date = '2026-08-02'", "total\n7.0"),
        ("SELECT count(*) AS n FROM events WHERE ts < '2026-08-03T00:00:00Z'", "n\n3"),
        // It could be asked of the hot tier, which would be cheaper.
        ("SELECT sum(amount) AS total FROM events WHERE date = '2026-08-02' AND tenant_id = 'acme'", "total\n3.0"),
        ("SELECT count(*) AS n FROM events WHERE extract(day FROM date) = 2", "n\n3"),
        ("SELECT count(*) AS n FROM events WHERE date < '2020-01-01'", "n\n0"),
    ] {
        let (answer, report) = ask_with(&both.ctx, &down, sql).await;
        assert_eq!((answer.as_str(), report.complete), (expected, true), "{sql}");
    }
    // An older version is the archive's alone.
    both.seal(3, false).await;
    let as_of = QuerySettings { as_of: Some(AsOf::Version(1)), ..down };
    assert_eq!(ask_with(&both.ctx, &as_of, "SELECT count(*) AS n FROM events").await.0, "n\n5");
}

#[tokio::test]
async fn a_hot_tier_that_is_down_fails_the_question_or_is_skipped_and_said_to_be() {
    let both = three_days().await;
    let sql = "SELECT count(*) AS n FROM events";
    let error = fail_with(&both.ctx, &both.down(), sql).await;
    assert_eq!((error.kind(), error.stable_code()), (Kind::TryAgain, "hot-down"));
    assert!(error.to_string().starts_with("the hot tier does not answer: cassandra test_"), "{error}");
    assert!(error.hint_text().unwrap().contains("--on-hot-error skip"), "{error:?}");
    let skip = QuerySettings { on_hot_error: OnHotError::Skip, ..both.down() };
    let (answer, report) = ask_with(&both.ctx, &skip, sql).await;
    assert_eq!((answer.as_str(), report.complete), ("n\n5", false));
    let missing = report.hot_missing.unwrap();
    assert!(missing.first <= date(2026, 8, 3) && missing.last >= date(2026, 8, 4), "{missing:?}");
    let cold = QuerySettings { tiers: "cold,deep".parse().unwrap(), ..both.down() };
    let (answer, report) = ask_with(&both.ctx, &cold, sql).await;
    assert_eq!((answer.as_str(), report.complete), ("n\n5", true));
}

#[tokio::test]
async fn a_node_that_dies_while_rows_are_flowing_is_noticed() {
    let mut node = Node::start().await;
    let keyspace = Keyspace::create(node.session().await, 1).await;
    keyspace.create_events("events", TENANT_DAY, 0).await;
    let rows: Vec<Row> = (0..5_000).map(|n| event(4, "acme", "click", &format!("e{n:04}"), 1.0)).collect();
    keyspace.insert("events", &rows, None).await;
    let cassandra = CassandraSettings {
        contact_points: vec![node.contact_point()],
        page_rows: 100,
        // So that it takes some seconds.
        rows_per_second: Some(1_000),
        timeout: Duration::from_secs(2),
        ..settings(&keyspace, "events")
    };
    let ctx = Context { clock: Clock::Fixed(NOW.parse().unwrap()), ..events::context(Store::memory()) };
    let fail = QuerySettings { hot: Some(hot(cassandra)), ..QuerySettings::default() };
    let skip = QuerySettings { on_hot_error: OnHotError::Skip, ..fail.clone() };
    let mut engines = [Engine::open(&ctx, &fail).await.unwrap(), Engine::open(&ctx, &skip).await.unwrap()];
    let mut answers = Vec::new();
    for engine in &mut engines {
        let statement =
            engine.parse("SELECT event_id FROM events WHERE tenant_id = 'acme'").unwrap().remove(0).unwrap();
        let mut answer = engine.run(statement).await.unwrap();
        // Rows are handed out by the thousand, and are on their way now.
        tokio::time::timeout(Duration::from_millis(300), answer.next()).await.expect_err("it takes some seconds");
        assert!(answer.report().hot_rows > 0 && answer.incomplete().is_none());
        answers.push(answer);
    }
    node.kill();
    let error = answers[0].collect().await.unwrap_err();
    assert_eq!((error.kind(), error.stable_code()), (Kind::TryAgain, "hot-down"), "{error:?}");
    answers[1].collect().await.unwrap();
    let incomplete = answers[1].incomplete().unwrap().to_string();
    assert!(incomplete.starts_with("incomplete: the hot tier did not answer ("), "{incomplete}");
    assert!(incomplete.contains("that are not archived yet are missing"), "{incomplete}");
}

#[tokio::test]
async fn one_tenant_of_a_day_or_one_event_is_asked_of_the_hot_tier_where_that_is_cheaper() {
    let mut both = three_days().await;
    for (sql, expected) in [
        // Two files of the archive, one partition of the hot tier.
        (
            "SELECT sum(amount) AS total FROM events WHERE tenant_id = 'acme' AND date = '2026-08-02'",
            ("cassandra ks.events, 1 partition (acme, 2026-08-02), instead of 2 files of the archive", false),
        ),
        (
            "SELECT amount FROM events WHERE tenant_id = 'acme' AND date = '2026-08-02' AND event_id = 'b'",
            (
                "cassandra ks.events, 1 partition (acme, 2026-08-02), by event_id, instead of 2 files of the archive",
                false,
            ),
        ),
        // One file.
        ("SELECT sum(amount) FROM events WHERE tenant_id = 'zeta' AND date = '2026-08-02'", ("", true)),
        // The catalog knows.
        ("SELECT count(*) FROM events WHERE tenant_id = 'acme' AND date = '2026-08-02'", ("", false)),
        // Dates that the hot tier does not have any more may match too.
        ("SELECT sum(amount) FROM events WHERE tenant_id = 'acme' AND date <= '2026-08-02'", ("", true)),
        (
            "SELECT sum(amount) FROM events WHERE date >= '2026-08-04'",
            ("cassandra ks.events, 1 partition (acme, 2026-08-04 to 2026-08-05)", false),
        ),
    ] {
        let (line, reads_archive) = both.route(sql).await;
        assert_eq!((line.as_str(), reads_archive), expected, "{sql}");
    }
    let sql = "SELECT sum(amount) AS total FROM events WHERE tenant_id = 'acme' AND date = '2026-08-02'";
    assert_eq!(both.ask(sql).await, "total\n3.0");
    let (answer, report) = ask_with(&both.ctx, &both.settings, sql).await;
    assert_eq!((answer.as_str(), report.files_scanned, report.hot_partitions), ("total\n3.0", 0, 1));
    // The archive has other events of the day now: only it knows them all.
    both.archive(&[event(2, "acme", "logout", "z", 0.5)]).await;
    assert_eq!(both.route(sql).await, (String::new(), true));
    assert_eq!(both.ask(sql).await, "total\n3.5");
}

#[tokio::test]
async fn what_would_scan_the_hot_tier_has_to_be_allowed() {
    let mut both = Both::new(TENANT_DAY).await;
    both.archive(&[event(1, "acme", "click", "z", 0.5)]).await;
    let rows: Vec<Row> = (1..=4).map(|day| event(day, "acme", "click", &format!("e{day}"), 1.0)).collect();
    both.insert(&rows).await;
    let sql = "SELECT count(event_id) AS n FROM events WHERE date >= '2026-08-01'";
    let error = fail_with(&both.ctx, &both.settings, sql).await;
    assert_eq!((error.kind(), error.stable_code()), (Kind::Usage, "hot-scan"));
    assert_eq!(
        error.to_string(),
        "the query would scan 4 days of the hot tier, 2026-08-01 to 2026-08-04, which the archive is not sealed for"
    );
    let allowed = QuerySettings { allow_hot_scan: true, ..both.settings.clone() };
    assert_eq!(ask_with(&both.ctx, &allowed, sql).await.0, "n\n5");
    assert_eq!(both.ask(&format!("{sql} AND tenant_id = 'acme'")).await, "n\n5");
    assert_eq!(both.ask("SELECT count(event_id) AS n FROM events WHERE date >= '2026-08-02'").await, "n\n3");
    both.seal(1, false).await;
    assert_eq!(both.ask(sql).await, "n\n4");
}

#[tokio::test]
async fn a_table_without_days_is_read_in_ranges_where_that_is_allowed() {
    let mut both = Both::new("((tenant_id), ts, event_id)").await;
    both.archive(&[event(2, "acme", "click", "a", 1.0), event(3, "acme", "click", "b", 2.0)]).await;
    both.seal(2, false).await;
    both.insert(&[
        event(2, "acme", "click", "late", 4.0),
        event(3, "acme", "click", "b", 8.0),
        event(3, "zeta", "click", "c", 16.0),
        event(4, "acme", "click", "d", 32.0),
    ])
    .await;
    let sql = "SELECT sum(amount) AS total FROM events WHERE tenant_id = 'acme'";
    let error = fail_with(&both.ctx, &both.settings, sql).await;
    assert!(error.to_string().ends_with("events is not partitioned by day"), "{error}");
    both.settings.allow_hot_scan = true;
    assert_eq!(both.ask(sql).await, "total\n35.0");
    assert_eq!(both.ask("SELECT sum(amount) AS total FROM events WHERE date >= '2026-08-03'").await, "total\n50.0");
    assert_eq!(both.ask("SELECT sum(amount) AS total FROM events WHERE date = '2026-08-02'").await, "total\n1.0");
}

#[tokio::test]
async fn before_anything_is_archived_the_hot_tier_answers_with_its_own_columns() {
    let both = Both::new(TENANT_DAY).await;
    both.insert(&[event(3, "acme", "click", "a", 1.0), event(4, "zeta", "click", "b", 2.0)]).await;
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'events' ORDER BY 1";
    assert_eq!(both.ask(columns).await, "column_name\namount\ndate\nevent_id\nevent_type\npayload\ntenant_id\nts");
    assert_eq!(both.ask("SELECT sum(amount) AS total FROM events WHERE date > '2026-08-02'").await, "total\n3.0");
    assert_eq!(both.ask("SELECT payload FROM events WHERE tenant_id = 'zeta'").await, "payload\n");
    let cold = QuerySettings { tiers: "cold".parse().unwrap(), ..both.settings.clone() };
    let error = fail_with(&both.ctx, &cold, "SELECT 1").await;
    assert_eq!(error.stable_code(), "no-archive");
    let hot = |settings: QuerySettings| QuerySettings { tiers: "hot".parse().unwrap(), ..settings };
    let error = fail_with(&both.ctx, &hot(QuerySettings::default()), "SELECT 1").await;
    assert_eq!(error.to_string(), "there is no hot tier to ask");
    let as_of = QuerySettings { as_of: Some(AsOf::Version(1)), ..both.settings.clone() };
    let error = fail_with(&both.ctx, &hot(as_of), "SELECT 1").await;
    assert_eq!(error.to_string(), "an older version is the archive's alone");
}

#[tokio::test]
async fn only_the_tiers_that_are_named_are_asked() {
    let both = three_days().await;
    let ask = async |tiers: &str, sql: &str| {
        let settings = QuerySettings { tiers: tiers.parse().unwrap(), ..both.settings.clone() };
        ask_with(&both.ctx, &settings, sql).await.0
    };
    let sql = "SELECT sum(amount) AS total, count(*) AS n FROM events WHERE date >= '2026-08-02'";
    assert_eq!(ask("hot,cold", sql).await, "total | n\n255.0 | 8");
    assert_eq!(ask("cold", sql).await, "total | n\n31.0 | 5");
    assert_eq!(ask("deep", sql).await, "total | n\n | 0");
    // Of all dates, as the hot tier has them.
    assert_eq!(ask("hot", sql).await, "total | n\n1231.0 | 7");
    assert_eq!(ask("hot,deep", sql).await, "total | n\n1224.0 | 4");
}

#[tokio::test]
async fn rows_that_are_no_events_are_left_out_and_counted() {
    let both = Both::new(TENANT_DAY).await;
    let misplaced = Row { date: date(2026, 8, 3), ..event(4, "acme", "click", "misplaced", 1.0) };
    let no_type = event(4, "acme", "", "no type", 1.0);
    let future = Row {
        ts: event(5, "acme", "click", "", 1.0).ts + 12 * 3_600_000_000,
        ..event(5, "acme", "click", "future", 1.0)
    };
    both.insert(&[misplaced, no_type, future, event(4, "acme", "click", "good", 1.0)]).await;
    let sql = "SELECT event_id FROM events WHERE tenant_id = 'acme'";
    let (answer, report) = ask_with(&both.ctx, &both.settings, sql).await;
    assert_eq!(answer, "event_id\ngood");
    assert_eq!((report.hot_rows, report.hot_refused, report.complete), (4, 3, true));
}

#[tokio::test]
async fn an_estimate_counts_partitions_and_reads_none() {
    let both = three_days().await;
    let mut engine = Engine::open(&both.ctx, &both.settings).await.unwrap();
    let statement = engine.parse("SELECT sum(amount) FROM events WHERE tenant_id = 'acme'").unwrap().remove(0).unwrap();
    let plan = engine.plan(statement).await.unwrap();
    assert!(plan.ladder().to_string().contains(" · hot "), "{}", plan.ladder());
    assert_eq!(plan.ladder().hot.rows, 0);
}

#[tokio::test]
async fn a_point_query_is_quick() {
    let both = three_days().await;
    let mut engine = Engine::open(&both.ctx, &both.settings).await.unwrap();
    let sql = "SELECT amount FROM events WHERE tenant_id = 'acme' AND date = '2026-08-04' AND event_id = 'g'";
    let mut took = Vec::new();
    for _ in 0..20 {
        let watch = Stopwatch::start();
        let statement = engine.parse(sql).unwrap().remove(0).unwrap();
        let mut answer = engine.run(statement).await.unwrap();
        let rows = answer.collect().await.unwrap();
        assert_eq!(table(answer.schema(), &rows), "amount\n128.0");
        took.push(watch.elapsed_ms());
    }
    println!("point queries took {took:?} ms; the first connects");
}

/// Where an event lies.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Hot,
    Archive,
    Both,
}

#[tokio::test]
async fn random_events_and_questions_agree_with_a_plain_model() {
    let mut dice = Dice(23);
    let mut both = Both::new(TENANT_DAY).await;
    both.schema = model_schema();
    let (mut hot, mut archive, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..240 {
        let row = random_event(&mut dice, number);
        let day = row.date.day();
        let place = match dice.below(3) {
            // Day 1 is the same in both.
            _ if day == 1 => Kept::Both,
            0 => Kept::Hot,
            1 => Kept::Archive,
            _ => Kept::Both,
        };
        if place != Kept::Archive {
            let is_changed = place == Kept::Both && day > 1 && dice.below(2) == 0;
            let changed = Row { amount: Some(7_777.0), payload: Some("changed".to_owned()), ..row.clone() };
            hot.push(if is_changed { changed } else { row.clone() });
        }
        if place != Kept::Hot {
            archive.push(row.clone());
        }
        // Days 1 and 2 are sealed.
        if place != Kept::Hot || day > 2 {
            expected.push(row);
        }
    }
    for some in archive.chunks(80) {
        both.archive(some).await;
    }
    both.seal(1, true).await;
    both.seal(2, false).await;
    both.insert(&hot).await;
    both.settings.allow_hot_scan = true;

    let batch = whole_batch(&model_schema(), &expected);
    let model = SessionContext::new();
    let memory = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    model.register_table("events", Arc::new(memory)).unwrap();
    let mut engine = Engine::open(&both.ctx, &both.settings).await.unwrap();
    let mut routes = BTreeSet::new();
    let mut with_rows = 0;
    for number in 0..250 {
        let mut predicate = random_predicate(&mut dice, 2);
        if number % 3 == 0 {
            // So that some questions name a tenant and a day.
            let (tenant, day) = (dice.below(2), 1 + dice.below(4));
            predicate = format!("tenant_id = 't{tenant}' AND date = '2026-08-0{day}' AND ({predicate})");
        }
        let select = dice.pick(&[
            "SELECT event_id, amount, payload, date FROM events WHERE {} ORDER BY event_id",
            "SELECT count(*) AS n FROM events WHERE {}",
            "SELECT tenant_id, event_type, count(*) AS n, sum(amount) AS total FROM events WHERE {} GROUP BY 1, 2 ORDER BY 1, 2",
            "SELECT min(ts) AS a, max(ts) AS z, count(payload) AS n FROM events WHERE {}",
            "SELECT event_id FROM events WHERE {} ORDER BY ts DESC, event_id LIMIT 7",
        ]);
        let sql = select.replace("{}", &predicate);
        let expected = model.sql(&sql).await.unwrap();
        let schema = Arc::new(expected.schema().as_arrow().clone());
        let expected = expected.collect().await.unwrap();
        let statement = engine.parse(&sql).unwrap().remove(0).unwrap();
        let mut answer = engine.run(statement).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = answer.collect().await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(table(answer.schema(), &rows), table(schema, &expected), "{sql}");
        let report = answer.report();
        routes.insert((report.hot_partitions > 0, report.files_scanned > 0));
        with_rows += u64::from(expected.iter().any(|batch| batch.num_rows() > 0));
    }
    let all = BTreeSet::from([(false, false), (false, true), (true, false), (true, true)]);
    assert!(routes == all && with_rows > 100, "the questions test little: {routes:?}, {with_rows} found rows");
}

/// As [`schema`], with the other columns that random predicates name.
fn model_schema() -> Schema {
    let mut schema = schema();
    schema.add("userId", ColumnType::BigInt).unwrap();
    schema.add("ok", ColumnType::Boolean).unwrap();
    schema
}

fn random_event(dice: &mut Dice, number: usize) -> Row {
    let day: Date = date(2026, 8, 1 + dice.below(4) as i8);
    let (tenant, event_type) = (format!("t{}", dice.below(2)), dice.pick(&["click", "a b"]));
    let row = row(&day.to_string(), &tenant, event_type, &format!("e{number:03}"), dice.below(40_000) as i64);
    Row {
        amount: (dice.below(4) > 0).then(|| dice.below(100) as f64 / 4.0),
        payload: (dice.below(2) > 0).then(|| dice.pick(&["x", "", "y"]).to_owned()),
        ..row
    }
}

#[tokio::test]
async fn the_command_says_which_tier_answered_and_what_is_missing() {
    let both = three_days().await;
    let (mut tier, exports) = (Tier::new(), "export.ndjson");
    tier.set("TIER_NOW", NOW);
    let settings = |contact_point: &str| {
        format!(
            "[archive]\nurl = \"a\"\n[hot]\ncontact_points = \"{contact_point}\"\nkeyspace = \"{}\"\n\
             table = \"events\"\nday = \"day\"\nttl = \"30d\"\n",
            both.keyspace.name
        )
    };
    tier.write("tier.toml", settings(&contact_point()));
    let line = |id: &str, amount: f64| {
        format!(
            "{{\"event_id\":\"{id}\",\"tenant_id\":\"acme\",\"event_type\":\"click\",\"ts\":\"2026-08-03T01:00:00Z\",\
             \"amount\":{amount:?}}}\n"
        )
    };
    tier.write(exports, line("e", 16.0) + &line("d", 8.0));
    tier.ok(&["archive", exports]);
    let sql = "SELECT sum(amount) AS total FROM events WHERE tenant_id = 'acme' AND date >= '2026-08-03'";
    let outcome = tier.ok(&["query", "--stats", sql]);
    assert_eq!(outcome.stdout, "total\n184.0\n");
    assert!(outcome.stderr.contains(" · hot 3 partitions, 3 rows"), "{}", outcome.stderr);
    let outcome = tier.ok(&["query", "--tiers", "cold,deep", "--stats", sql]);
    assert_eq!(outcome.stdout, "total\n24.0\n");
    assert!(outcome.stderr.contains(" · only the tiers cold,deep"), "{}", outcome.stderr);
    let estimate = tier.json(&["query", "--estimate", sql]);
    assert_eq!((&estimate["hot_partitions"], &estimate["hot_missing"]), (&3.into(), &Value::Null));

    tier.write("tier.toml", settings("127.0.0.1:1"));
    let outcome = tier.run(&["query", sql]);
    assert_eq!(outcome.code, Some(6), "{outcome:#?}");
    assert!(outcome.stderr.contains("the hot tier does not answer: cassandra test_"), "{}", outcome.stderr);
    let outcome = tier.run(&["query", "--on-hot-error", "skip", "--report", "report.json", sql]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), "total\n24.0\n"), "{outcome:#?}");
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("incomplete: the hot tier did not answer ("), "{last}");
    assert!(last.ends_with("events of 2026-08-03 to 2026-08-05 that are not archived yet are missing"), "{last}");
    let report: Value = serde_json::from_slice(&std::fs::read(tier.path("report.json")).unwrap()).unwrap();
    assert_eq!((&report["complete"], &report["hot_missing"]["last"]), (&false.into(), &"2026-08-05".into()));
}
