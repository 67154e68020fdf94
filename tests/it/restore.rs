//! Restores on the simulated store: what they cost, when they are ready, and that they survive being killed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tier::catalog::{Change, Operation, Outcome, Snapshot, commit};
use tier::clock::Clock;
use tier::context::Context;
use tier::error::Kind;
use tier::model::StorageClass::{DeepArchive, Glacier, Standard};
use tier::model::{ArchivedFile, Prices, Retrieval, StorageClass, Usd};
use tier::restore::{self, Choice, Count, JobState, Limits, Needed, StartReport, Terms};
use tier::store::{ClassTime, Layout, Location, Store};

use crate::support::events;
use crate::support::fault::{Fault, FaultStore, Plan};
use crate::support::lab::{context, full, line};
use crate::support::temp_file;
use crate::support::tier::{Outcome as Ran, Tier};

const START: &str = "2026-11-22T00:00:00Z";
const BODY: &str = "0123456789";
const GB: u64 = 1 << 30;

fn hour(hours: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

fn at(store: &Store, hours: i64) -> Context {
    let clock = Clock::Fixed(hour(hours));
    Context { clock, ..context(store.at(ClassTime { clock, speed: 1.0 })) }
}

/// A store with these objects; numbers are their names.
async fn store_of(classes: &[StorageClass]) -> Store {
    let (ctx, file) = (at(&Store::memory(), 0), temp_file(BODY));
    for (number, class) in classes.iter().enumerate() {
        ctx.store.classes().put_file(&path(number), &file, *class, &[]).await.unwrap();
    }
    ctx.store
}

fn path(number: usize) -> String {
    format!("_bundles/month=2019-03/bucket={number:04}/1.parquet")
}

fn needed(sql: &str, files: &[(usize, StorageClass)]) -> Needed {
    let file = |&(number, storage_class): &(usize, StorageClass)| ArchivedFile {
        path: path(number),
        size_bytes: BODY.len() as u64,
        storage_class,
    };
    Needed { version: 7, sql: sql.to_owned(), files: files.iter().map(file).collect() }
}

fn terms<'a>(ctx: &Context, prices: &'a Prices) -> Terms<'a> {
    Terms { prices, pays_egress: true, now: ctx.now(), speed: 1.0 }
}

async fn try_start(ctx: &Context, needed: &Needed, days: u32, tier: Retrieval) -> tier::error::Result<StartReport> {
    let prices = Prices::built_in();
    let terms = terms(ctx, &prices);
    let plan = restore::plan(ctx, needed, days, &terms).await?;
    restore::start(ctx, needed, &plan, plan.offer(tier), tier, &terms).await
}

async fn start(ctx: &Context, needed: &Needed, days: u32, tier: Retrieval) -> StartReport {
    try_start(ctx, needed, days, tier).await.unwrap_or_else(|error| panic!("{}", full(&error)))
}

async fn status(ctx: &Context, job: &str) -> restore::JobStatus {
    let prices = Prices::built_in();
    let job = restore::read_job(&ctx.store, job).await.unwrap();
    restore::status(ctx, &job, &terms(ctx, &prices)).await.unwrap()
}

fn files(files: u64) -> Count {
    Count { files, bytes: files * BODY.len() as u64 }
}

#[tokio::test]
async fn a_restore_lives_from_its_plan_to_the_end_of_its_window() {
    let store = store_of(&[DeepArchive, DeepArchive, Glacier]).await;
    let needed = needed("SELECT 1", &[(0, DeepArchive), (1, DeepArchive), (2, Glacier)]);
    let report = start(&at(&store, 0), &needed, 2, Retrieval::Standard).await;
    assert_eq!((report.requested, report.is_known, report.simulated), (files(3), false, true));
    assert_eq!((report.ready_by, report.until), (hour(12), hour(12 + 48)));
    assert_eq!((report.spent.restores, report.spent.restored_bytes), (3, 30));
    let job = report.job.as_str();
    assert_eq!((job.len(), store.get_opt(&Layout::restore_job(job)).await.unwrap().is_some()), (12, true));

    let seen = status(&at(&store, 4), job).await;
    assert_eq!((seen.state, seen.running, seen.ready_by), (JobState::Running, files(3), Some(hour(12))));
    let seen = status(&at(&store, 6), job).await;
    assert_eq!((seen.state, seen.running, seen.readable), (JobState::Running, files(2), files(1)));
    let seen = status(&at(&store, 12), job).await;
    assert_eq!((seen.state, seen.readable, seen.ready_by), (JobState::Readable, files(3), None));
    assert_eq!(seen.readable_until, Some(hour(5 + 48)));
    assert_eq!(store.at(ClassTime { clock: Clock::Fixed(hour(12)), speed: 1.0 }).get(&path(0)).await.unwrap(), BODY);
    // The first file's window ends before the job's does.
    assert_eq!(status(&at(&store, 55), job).await.state, JobState::Incomplete);
    let seen = status(&at(&store, 60), job).await;
    assert_eq!((seen.state, seen.archived), (JobState::Over, files(3)));

    let again = start(&at(&store, 70), &needed, 2, Retrieval::Bulk).await;
    assert_eq!((again.job.as_str(), again.is_known, again.requested), (job, true, files(3)));
    assert_eq!(status(&at(&store, 71), job).await.ready_by, Some(hour(70 + 48)));
}

#[tokio::test]
async fn starting_again_asks_for_nothing_more_while_it_runs_and_while_it_is_readable() {
    let store = store_of(&[DeepArchive, Glacier]).await;
    let needed = needed("SELECT 1", &[(0, DeepArchive), (1, Glacier)]);
    let first = start(&at(&store, 0), &needed, 2, Retrieval::Standard).await;
    let mut backwards = needed.clone();
    backwards.files.reverse();
    for hours in [0, 1, 6, 13, 40, 52] {
        let again = start(&at(&store, hours), &backwards, 2, Retrieval::Standard).await;
        assert_eq!((again.job.as_str(), again.is_known), (first.job.as_str(), true), "{hours}");
        assert_eq!((again.requested.files, again.extended.files, again.spent.restores), (0, 0, 0), "{hours}");
    }
    let jobs = restore::jobs(&store).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), [first.job.as_str()]);
    let other = start(&at(&store, 1), &Needed { version: 8, ..needed }, 2, Retrieval::Standard).await;
    assert_ne!(other.job, first.job, "another version is another question");
}

#[tokio::test]
async fn a_start_killed_at_any_step_is_finished_by_the_next() {
    let classes = [DeepArchive, Glacier, DeepArchive, Glacier];
    let needed = needed("SELECT 1", &[(0, DeepArchive), (1, Glacier), (2, DeepArchive), (3, Glacier)]);
    for fault in Fault::ALL {
        for step in 1.. {
            let store = store_of(&classes).await;
            let plan = Plan::new(fault, step);
            let faulty = store.decorated(|inner| FaultStore::over(inner, plan.clone()));
            let killed = try_start(&at(&faulty, 0), &needed, 3, Retrieval::Standard).await;
            let place = format!("{fault:?} at step {step}");
            if !plan.was_reached() {
                assert!(killed.is_ok() && step > 5, "{place}: {killed:?}");
                break;
            }
            assert!(killed.is_err(), "{place}");
            // No request goes out before the job is there to be found.
            let begun = restore::jobs(&store).await.unwrap();
            let states = store.states(needed.files.iter().map(|file| file.path.as_str())).await.unwrap();
            let running = states.values().filter(|state| !state.is_readable(hour(0)) && is_running(state)).count();
            assert!(!begun.is_empty() || running == 0, "{place}");
            let again = start(&at(&store, 1), &needed, 3, Retrieval::Standard).await;
            assert_eq!(again.requested.files as usize, classes.len() - running, "{place}");
            assert_eq!(again.is_known, !begun.is_empty(), "{place}");
            assert_eq!(status(&at(&store, 13), &again.job).await.state, JobState::Readable, "{place}");
            let third = start(&at(&store, 1), &needed, 3, Retrieval::Standard).await;
            assert_eq!(third.spent.restores, 0, "{place}");
        }
    }
}

fn is_running(state: &tier::model::ObjectState) -> bool {
    state.restore == tier::model::RestoreState::Running
}

#[tokio::test]
async fn windows_are_shared_between_jobs_and_extended_only_as_needed() {
    let store = store_of(&[Glacier, Glacier, Glacier]).await;
    start(&at(&store, 0), &needed("a", &[(0, Glacier), (1, Glacier)]), 30, Retrieval::Standard).await;
    // One readable for long enough, one that nobody has asked for.
    let both = needed("b", &[(1, Glacier), (2, Glacier)]);
    let report = start(&at(&store, 6), &both, 7, Retrieval::Standard).await;
    assert_eq!((report.requested, report.extended, report.readable), (files(1), files(0), files(1)));
    // Readable until hour 725: too early for another 30 days.
    let longer = needed("c", &[(0, Glacier), (1, Glacier)]);
    let report = start(&at(&store, 48), &longer, 30, Retrieval::Standard).await;
    assert_eq!((report.requested, report.extended, report.spent.restored_bytes), (files(0), files(2), 0));
    assert_eq!(status(&at(&store, 49), &report.job).await.readable_until, Some(hour(48 + 30 * 24)));
    let again = start(&at(&store, 60), &longer, 30, Retrieval::Standard).await;
    assert_eq!(again.extended, files(0));
    // Still running for another job: nothing to pay.
    let running = needed("d", &[(2, Glacier)]);
    let report = start(&at(&store, 7), &running, 7, Retrieval::Standard).await;
    assert_eq!((report.requested, report.running, report.cost_usd), (files(0), files(1), Usd(0.0)));
}

#[tokio::test]
async fn a_faster_tier_hastens_what_a_slower_one_is_fetching() {
    let store = store_of(&[Glacier, DeepArchive]).await;
    let both = needed("a", &[(0, Glacier), (1, DeepArchive)]);
    start(&at(&store, 0), &both, 7, Retrieval::Bulk).await;
    let slower = start(&at(&store, 1), &both, 7, Retrieval::Bulk).await;
    assert_eq!((slower.hastened, slower.running), (files(0), files(2)));
    let faster = start(&at(&store, 1), &both, 7, Retrieval::Expedited).await;
    assert_eq!((faster.hastened, faster.ready_by), (files(2), hour(13)));
    let seen = status(&at(&store, 2), &faster.job).await;
    assert_eq!((seen.readable, seen.running), (files(1), files(1)));
    assert_eq!(status(&at(&store, 13), &faster.job).await.state, JobState::Readable);
}

#[tokio::test]
async fn an_offer_names_price_and_time_and_leaves_out_what_is_readable() {
    let store = store_of(&[DeepArchive, DeepArchive, Glacier]).await;
    let ctx = at(&store, 0);
    let mut all = needed("a", &[(0, DeepArchive), (1, DeepArchive), (2, Glacier)]);
    start(&ctx, &needed("b", &[(2, Glacier)]), 30, Retrieval::Expedited).await;
    for file in &mut all.files {
        file.size_bytes = GB;
    }
    let prices = Prices::built_in();
    let later = at(&store, 1);
    let plan = restore::plan(&later, &all, 6, &terms(&later, &prices)).await.unwrap();
    assert_eq!((plan.needed.files, plan.readable.files, plan.archived.files), (3, 1, 2));
    assert_eq!(plan.offer(Retrieval::Expedited), None, "DEEP_ARCHIVE has none");
    let offers: Vec<_> = plan.offers.iter().map(|o| (o.retrieval, o.requests, o.ready_by, o.until)).collect();
    assert_eq!(
        offers,
        [(Retrieval::Standard, 2, hour(13), hour(13 + 144)), (Retrieval::Bulk, 2, hour(49), hour(49 + 144))]
    );
    let standard = plan.offer(Retrieval::Standard).unwrap();
    // 2 GB × 0.02; 2 × 0.10 / 1,000; 2 GB × 0.023 × 6 / 30; 2 GB × 0.09.
    let close = |amount: Usd, by_hand: f64| assert!((amount.0 - by_hand).abs() < 1e-9, "{amount} {by_hand}");
    close(standard.quote.data, 0.04);
    close(standard.quote.requests, 0.0002);
    close(standard.quote.temporary_copy, 0.0092);
    close(standard.quote.egress, 0.18);
    close(standard.cost_usd, 0.0494);

    let chosen = |by, max_cost| match plan.choose(Limits { by, max_cost }) {
        Choice::Fits(offer) => Ok(offer.retrieval),
        Choice::Nothing { in_time, in_budget } => Err((in_time.map(|o| o.retrieval), in_budget.map(|o| o.retrieval))),
    };
    assert_eq!(chosen(None, None), Ok(Retrieval::Bulk), "the cheapest");
    assert_eq!(chosen(Some(hour(48)), None), Ok(Retrieval::Standard));
    assert_eq!(chosen(Some(hour(49)), Some(Usd(0.03))), Ok(Retrieval::Bulk));
    let (standard, bulk) = (Some(Retrieval::Standard), Some(Retrieval::Bulk));
    assert_eq!(chosen(Some(hour(48)), Some(Usd(0.03))), Err((standard, bulk)));
    assert_eq!(chosen(Some(hour(2)), Some(Usd(0.001))), Err((None, None)));
}

#[tokio::test]
async fn a_file_that_is_gone_and_a_job_that_is_unknown_are_named() {
    let store = store_of(&[Glacier]).await;
    let ctx = at(&store, 0);
    let gone = try_start(&ctx, &needed("a", &[(0, Glacier), (9, Glacier)]), 1, Retrieval::Bulk).await.unwrap_err();
    assert_eq!((gone.kind(), gone.stable_code()), (Kind::Failed, "missing-object"));
    assert!(gone.to_string().contains("bucket=0009"), "{gone}");
    assert_eq!(restore::jobs(&store).await.unwrap(), []);
    let none = restore::read_job(&store, "nonsense").await.unwrap_err();
    assert!(none.hint_text().unwrap().contains("tier restore plan"), "{none:?}");
    let job = start(&ctx, &needed("a", &[(0, Glacier)]), 1, Retrieval::Bulk).await.job;
    for unknown in ["000000000000", "../root/x", ""] {
        let error = restore::read_job(&store, unknown).await.unwrap_err();
        assert_eq!((error.kind(), error.stable_code()), (Kind::Usage, "no-such-job"), "{unknown}");
        assert!(error.hint_text().unwrap().contains(&job), "{error:?}");
    }
}

#[tokio::test]
async fn extending_asks_for_what_ends_too_early_and_only_once() {
    let store = store_of(&[Glacier, Glacier, DeepArchive]).await;
    let prices = Prices::built_in();
    start(&at(&store, 0), &needed("long", &[(0, Glacier)]), 30, Retrieval::Standard).await;
    let all = needed("all", &[(0, Glacier), (1, Glacier), (2, DeepArchive)]);
    let job = start(&at(&store, 0), &all, 3, Retrieval::Standard).await.job;
    for (hours, extended, enough, running) in [(6, 1, 1, 1), (6, 0, 2, 1), (13, 2, 1, 0), (13, 0, 3, 0)] {
        let ctx = at(&store, hours);
        let job = restore::read_job(&store, &job).await.unwrap();
        let plan = restore::plan_extend(&ctx, &job, 10, &terms(&ctx, &prices)).await.unwrap();
        let counts = (plan.extended.files, plan.long_enough.files, plan.running.files, plan.archived.files);
        assert_eq!(counts, (extended, enough, running, 0), "hour {hours}");
        assert_eq!(plan.cost_usd > Usd(0.0), extended > 0);
        restore::extend(&ctx, &job, &plan).await.unwrap();
    }
    let seen = status(&at(&store, 14), &job).await;
    assert_eq!((seen.state, seen.readable_until), (JobState::Readable, Some(hour(13 + 240))));
}

#[tokio::test]
async fn a_cancelled_job_is_shown_as_such_and_starting_it_revives_it() {
    let store = store_of(&[Glacier]).await;
    let needed = needed("a", &[(0, Glacier)]);
    let ctx = at(&store, 0);
    let job = start(&ctx, &needed, 3, Retrieval::Standard).await.job;
    for _ in 0..2 {
        let job = restore::read_job(&store, &job).await.unwrap();
        let cancelled = restore::cancel(&at(&store, 1), &job).await.unwrap();
        assert_eq!(cancelled.cancelled, Some(hour(1)));
    }
    let seen = status(&at(&store, 2), &job).await;
    assert_eq!((seen.state, seen.running), (JobState::Cancelled, files(1)));
    let again = start(&at(&store, 2), &needed, 3, Retrieval::Standard).await;
    assert_eq!((again.job.as_str(), again.requested), (job.as_str(), files(0)));
    assert_eq!(status(&at(&store, 2), &job).await.state, JobState::Running);
}

#[tokio::test]
async fn waiting_ends_when_all_is_readable() {
    let store = store_of(&[Glacier]).await;
    // Five hours are two tenths of a second.
    let time = ClassTime { clock: Clock::System, speed: 90_000.0 };
    let ctx = Context { clock: Clock::System, ..context(store.at(time)) };
    let prices = Prices::built_in();
    let terms = || Terms { prices: &prices, pays_egress: false, now: ctx.now(), speed: time.speed };
    let needed = needed("a", &[(0, Glacier)]);
    let plan = restore::plan(&ctx, &needed, 365, &terms()).await.unwrap();
    let offer = plan.offer(Retrieval::Standard);
    let report = restore::start(&ctx, &needed, &plan, offer, Retrieval::Standard, &terms()).await.unwrap();
    let job = restore::read_job(&ctx.store, &report.job).await.unwrap();
    let status = restore::wait(&ctx, &job, Duration::from_millis(20), terms).await.unwrap();
    assert_eq!((status.state, status.readable), (JobState::Readable, files(1)));
}

#[tokio::test]
async fn many_states_come_by_listing_and_few_by_asking() {
    let store = store_of(&[Glacier; 40]).await;
    let states = async |numbers: &[usize]| {
        let before = store.requests();
        let paths: Vec<String> = numbers.iter().map(|number| path(*number)).collect();
        let states = store.states(paths.iter().map(String::as_str)).await.unwrap();
        let spent = store.requests().since(&before);
        (states.len(), spent.list, spent.head)
    };
    assert_eq!(states(&(0..40).collect::<Vec<_>>()).await, (40, 1, 0));
    assert_eq!(states(&[1, 2, 2, 77]).await, (2, 0, 3));
    assert_eq!(states(&[]).await, (0, 0, 0));
}

/// An archive in the folder `archive` whose files of March 2019 are in DEEP_ARCHIVE.
async fn archive_with_a_deep_month() -> Tier {
    let mut tier = Tier::new();
    tier.set("TIER_ARCHIVE", "archive").set("TIER_NOW", START);
    let days = ["2019-03-01", "2019-03-02", "2026-11-01"];
    let text: String = days.iter().map(|day| line(day, &format!("{day}T12:00:00Z"), "") + "\n").collect();
    tier.write("all.ndjson", text);
    tier.ok(&["archive", "all.ndjson"]);
    let time = ClassTime { clock: Clock::Fixed(hour(0)), speed: 1.0 };
    let store = Store::open(&Location::Local(tier.path("archive")), time).await.unwrap();
    let ctx = Context { clock: Clock::Fixed(hour(0)), ..context(store) };
    let base = Snapshot::open(&ctx.store).await.unwrap();
    let mut change = Change::new(Operation::new("state", base.version()));
    let layout = events::layout(&ctx, Some(&base));
    for live in base.live_files(|_| true).await.unwrap() {
        if live.file.dates.max.year() > 2019 {
            continue;
        }
        let mut deep =
            events::new_file(live.file.path.clone(), &live.file.partition().unwrap(), live.file.ts.clone(), 1, 0, 0);
        deep.file =
            tier::model::DataFile { storage_class: DeepArchive, class_since: Some(hour(0)), ..live.file.clone() };
        ctx.store.classes().change_class(&live.file.path, DeepArchive).await.unwrap();
        change.remove.push(live);
        change.add.push(deep);
    }
    assert_eq!(change.add.len(), 2);
    assert!(matches!(commit(&ctx, Some(&base), &layout, change).await.unwrap(), Outcome::Committed(_)));
    tier
}

const MARCH: [&str; 6] = ["--tenant", "acme", "--from", "2019-03-01", "--to", "2019-03-31"];

fn restore_verb(tier: &Tier, verb: &[&str], more: &[&str]) -> Ran {
    tier.run(&[&["restore"], verb, more].concat())
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
}

#[tokio::test]
async fn the_command_line_plans_starts_watches_and_answers() {
    let mut tier = archive_with_a_deep_month().await;
    let plan = restore_verb(&tier, &["plan"], &MARCH);
    assert_eq!((plan.code, plan.stderr.as_str()), (Some(0), ""), "{plan:#?}");
    assert!(plan.stdout.contains("2026-11-22 12:00Z (in 12 h)") && plan.stdout.contains("bulk"), "{}", plan.stdout);
    let command = plan.stdout.lines().last().unwrap().trim().to_owned();
    assert!(
        command.starts_with("tier restore start --as-of 2 --query ") && command.contains("--max-cost "),
        "{command}"
    );
    for line in plan.stdout.lines().filter(|line| line.contains("files") || line.contains("ready")) {
        assert!(line.starts_with("retrieval") || line.contains("simulated") || line.contains("tier "), "{line}");
    }

    let start = restore_verb(&tier, &["start"], &[&MARCH[..], &["--days", "2"]].concat());
    assert_eq!((start.code, start.stdout.as_str()), (Some(0), ""), "{start:#?}");
    let job = start.stderr.split_whitespace().nth(2).unwrap().trim_end_matches(':').to_owned();
    assert!(start.stderr.contains(&format!("tier restore status {job} --archive ")), "{start:#?}");
    assert!(start.stderr.contains("asked for: 2 files") && start.stderr.contains("simulated"), "{start:#?}");

    let running = restore_verb(&tier, &["status"], &[&job]);
    assert_eq!(running.code, Some(4), "{running:#?}");
    assert!(
        running.stdout.contains("running") && running.stdout.contains("ready by 2026-11-22 12:00Z"),
        "{running:#?}"
    );
    let waiting = restore_verb(&tier, &["status"], &[&job, "--wait"]);
    assert_eq!(waiting.code, Some(2), "{waiting:#?}");
    assert!(waiting.stderr.contains("fixed --now"), "{waiting:#?}");

    tier.set("TIER_NOW", "2026-11-22T12:00:00Z");
    let readable = restore_verb(&tier, &["status"], &[]);
    assert_eq!(readable.code, Some(0), "{readable:#?}");
    let query = "tier query --as-of 2 'SELECT * FROM events WHERE tenant_id = ";
    assert!(readable.stdout.contains(query), "{readable:#?}");
    let status = document(&tier.ok(&["--json", "restore", "status", &job]));
    assert_eq!(status["jobs"][0]["state"], json!("readable"));
    assert_eq!(status["jobs"][0]["readable"], json!({"files": 2, "bytes": status["jobs"][0]["files"]["bytes"]}));

    let extended = restore_verb(&tier, &["extend"], &[&job, "--days", "9"]);
    assert_eq!(extended.code, Some(0), "{extended:#?}");
    assert!(extended.stderr.contains("readable until 2026-12-01 12:00Z (in 9 d)"), "{extended:#?}");
    tier.set("TIER_NOW", "2026-12-24T12:00:00Z");
    let over = restore_verb(&tier, &["status"], &[&job]);
    assert_eq!(over.code, Some(4), "{over:#?}");
    assert!(over.stdout.contains("over") && over.stdout.contains("tier restore start --as-of 2 --query"), "{over:#?}");
    assert_eq!(restore_verb(&tier, &["status"], &[]).code, Some(0), "what is over waits for nobody");
    let cancelled = restore_verb(&tier, &["cancel"], &[&job]);
    assert!(cancelled.stderr.contains("cancelled: nothing more is asked for (simulated)"), "{cancelled:#?}");
}

#[tokio::test]
async fn every_restore_verb_has_a_json_document() {
    let tier = archive_with_a_deep_month().await;
    let plan = document(&tier.ok(&[&["--json", "restore", "plan"], &MARCH[..]].concat()));
    assert_eq!(
        (&plan["simulated"], &plan["chosen"], &plan["needed"]["files"]),
        (&json!(true), &json!("standard"), &json!(2))
    );
    assert_eq!(plan["offers"].as_array().unwrap().len(), 2);
    assert!(plan["command"].as_str().unwrap().starts_with("tier restore start"));
    let start = document(&tier.ok(&[&["--json", "restore", "start"], &MARCH[..]].concat()));
    assert_eq!((&start["requested"]["files"], &start["format_version"]), (&json!(2), &json!("1.0")));
    let job = start["job"].as_str().unwrap();
    let status = restore_verb(&tier, &["status"], &[job, "--json"]);
    assert_eq!((status.code, &document(&status)["jobs"][0]["state"]), (Some(4), &json!("running")));
    let extend = document(&tier.ok(&["--json", "restore", "extend", job, "--days", "3"]));
    assert_eq!(extend["running"]["files"], json!(2));
    let cancel = document(&tier.ok(&["--json", "restore", "cancel", job]));
    assert_eq!(cancel["state"], json!("cancelled"));
    let nothing = document(&tier.ok(&["--json", "restore", "start", "--from", "2026-01-01"]));
    assert_eq!((&nothing["job"], &nothing["files"]["files"]), (&Value::Null, &json!(0)));
}

#[tokio::test]
async fn limits_and_slips_have_their_exit_codes() {
    let tier = archive_with_a_deep_month().await;
    let march = |more: &[&str]| -> Vec<String> { MARCH.iter().chain(more).map(|part| (*part).to_owned()).collect() };
    for (verb, args, code, words) in [
        ("plan", march(&["--by", "2026-11-22T01:00:00Z"]), 5, "the soonest: standard"),
        ("plan", march(&["--by", "2026-11-23", "--max-cost", "0"]), 5, "the cheapest in time: standard"),
        ("start", march(&["--max-cost", "0"]), 5, "would pass"),
        ("start", march(&["--retrieval", "expedited"]), 2, "no expedited"),
        ("start", march(&["--retrieval", "quick"]), 2, "quick"),
        ("start", march(&["--days", "0"]), 2, "0"),
        ("start", march(&["--max-cost", "much"]), 2, "much"),
        ("plan", vec![], 2, "restore what?"),
        ("status", vec!["unknown".into()], 2, "there are no restore jobs yet"),
        ("extend", vec!["unknown".into(), "--days".into(), "1".into()], 2, "unknown"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = restore_verb(&tier, &[verb], &args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{verb} {args:?}: {ran:#?}");
        assert!(ran.stderr.contains(words), "{verb} {args:?}: {ran:#?}");
    }
    assert_eq!(document(&tier.ok(&["--json", "restore", "status"]))["jobs"], json!([]), "nothing was begun");
    let in_time = document(&tier.ok(&[&["--json", "restore", "plan", "--by", "2026-11-25"], &MARCH[..]].concat()));
    assert_eq!(in_time["chosen"], json!("bulk"));
}

#[test]
fn real_money_needs_a_limit_a_yes_or_a_terminal_before_any_work() {
    let mut tier = Tier::new();
    // Nobody listens there: what is refused is refused before the first request.
    tier.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1").set("AWS_REGION", "us-east-1");
    tier.set("AWS_ACCESS_KEY_ID", "x").set("AWS_SECRET_ACCESS_KEY", "x");
    for (args, words) in [
        (vec!["start", "--tenant", "acme"], "--max-cost"),
        (vec!["extend", "0123456789ab", "--days", "1"], "--max-cost"),
        (vec!["start", "--tenant", "acme", "--yes", "--now", "2100-01-01"], "has not come yet"),
    ] {
        let ran = tier.run(&[&["restore"], &args[..], &["--archive", "s3://events/a"]].concat());
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains(words), "{args:?}: {ran:#?}");
    }
}

#[tokio::test]
async fn what_was_taken_out_of_the_archive_meanwhile_needs_no_restore() {
    let store = store_of(&[Standard]).await;
    let report = start(&at(&store, 0), &needed("a", &[(0, DeepArchive)]), 1, Retrieval::Bulk).await;
    assert_eq!((report.readable, report.requested), (files(1), files(0)));
    assert_eq!(status(&at(&store, 0), &report.job).await.state, JobState::Readable);
}
