//! The lifecycle's plan: what moves, what stays, why, and for how much. Pure, so prices are recomputed by hand here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use tier::catalog::{LiveFile, Snapshot};
use tier::lifecycle::{
    self, ActionKind, Decider, Finding, Layout, Place, Plan, Planning, Policy, Rule, Target, Transitions,
};
use tier::model::{FileView, Hold, Prices, StorageClass, Usd};

use crate::support::events::{in_class, live_file};
use crate::support::lab::context;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: f64 = (1_u64 << 30) as f64;

fn file(tenant: &str, day: Date, size_bytes: u64) -> LiveFile {
    live_file(tenant, day, 0, size_bytes)
}

struct Case {
    policy: Policy,
    holds: Vec<Hold>,
    now: Timestamp,
}

impl Case {
    fn at(now: &str) -> Self {
        Case { policy: Policy::standard(), holds: Vec::new(), now: now.parse().unwrap() }
    }

    fn plan(&self, files: Vec<LiveFile>) -> Plan {
        let prices = Prices::built_in();
        let Case { policy, holds, now } = self;
        lifecycle::plan_files(Planning { policy, holds, prices: &prices, now: *now }, &files)
    }

    /// Of each file, in the order of their paths: its path, why it moves or stays, and its place in the plan.
    fn decisions(&self, plan: &Plan, mut files: Vec<LiveFile>) -> Vec<(String, String, Option<Place>)> {
        let prices = Prices::built_in();
        let Case { policy, holds, now } = self;
        let mut decider = Decider::new(Planning { policy, holds, prices: &prices, now: *now });
        files.sort_by(|a, b| a.file.path.cmp(&b.file.path));
        let mut decision = |live: &LiveFile| {
            let (reason, place) = plan.place(&mut decider, &FileView::from(&live.file), None);
            (live.file.path.clone(), reason.to_string(), place)
        };
        files.iter().map(&mut decision).collect()
    }

    fn reasons(&self, files: Vec<LiveFile>) -> Vec<String> {
        let decisions = self.decisions(&self.plan(files.clone()), files);
        decisions.into_iter().map(|(_, reason, _)| reason).collect()
    }
}

fn rule(after: &str, class: StorageClass, layout: Layout) -> Rule {
    Rule {
        name: format!("to-{class}"),
        event_types: Vec::new(),
        tenants: Vec::new(),
        after: after.parse().unwrap(),
        target: Target::Move { class, layout },
    }
}

fn near(actual: Usd, by_hand: f64) {
    assert!((actual.0 - by_hand).abs() <= by_hand.abs() * 1e-9, "{actual:?} is not {by_hand}");
}

#[test]
fn a_month_is_old_enough_when_its_last_day_is() {
    let files = || vec![file("acme", date(2025, 8, 1), 10 * MIB)];
    let young = Case::at("2026-08-30T23:00:00Z").reasons(files());
    assert_eq!(young, ["stays: too young for rule default until 2026-08-31"]);
    let old = Case::at("2026-08-31T00:00:00Z").reasons(files());
    assert_eq!(old, ["moves: to DEEP_ARCHIVE by rule default, pays back after month 1 of 72"]);
}

#[test]
fn a_bundle_costs_its_requests_and_saves_what_its_cells_cost() {
    // 31 days of 20 tenants, 64 KiB each: one bundle of 38.75 MiB.
    let files: Vec<_> = (1..=31)
        .flat_map(|day| (0..20).map(move |tenant| file(&format!("t{tenant}"), date(2025, 8, day), 64 * KIB)))
        .collect();
    let plan = Case::at("2026-10-01T00:00:00Z").plan(files);
    let [action] = &plan.actions[..] else { panic!("{plan:#?}") };
    assert_eq!((action.files, action.objects_after(), action.month), (620, 1, date(2025, 8, 1)));
    let bytes = 620.0 * 65_536.0;
    // 620 GETs at $0.0004 and one PUT at $0.05 per thousand.
    near(action.gate.one_off, 620.0 * 0.0004 / 1e3 + 0.05 / 1e3);
    near(action.gate.monthly_before, bytes / GIB * 0.023);
    // 32 KiB beside it at the class's price, 8 KiB at STANDARD's.
    near(action.gate.monthly_after, (bytes + 32_768.0) / GIB * 0.00099 + 8_192.0 / GIB * 0.023);
    assert_eq!(action.gate.pays_back_month(), Some(1));
    near(plan.totals.one_off_usd, 620.0 * 0.0004 / 1e3 + 0.05 / 1e3);
}

#[test]
fn what_does_not_pay_back_in_time_stays() {
    // By hand: 30 KiB cost 30/2^20 × 0.023 = $6.58e-7 a month in STANDARD, and (30 + 32)/2^20 × 0.00099 + 8/2^20 × 0.023
    // = $2.34e-7 in DEEP_ARCHIVE. The move costs $5.04e-5, and 5.04e-5 / 4.24e-7 = 118.8 months.
    let one = || vec![file("acme", date(2025, 8, 1), 30 * KIB)];
    assert_eq!(Case::at("2026-10-01T00:00:00Z").reasons(one()), ["stays: pays back after month 119 of 70"]);
    assert_eq!(
        Case::at("2026-10-01T00:00:00Z").reasons(vec![file("acme", date(2025, 8, 1), 8 * KIB)]),
        ["stays: a move never pays back"]
    );
    let mut patient = Case::at("2026-10-01T00:00:00Z");
    patient.policy.horizon = "20y".parse().unwrap();
    assert!(patient.reasons(one())[0].starts_with("moves: "));
}

#[test]
fn the_minimum_duration_of_the_old_class_is_paid_or_waited_for() {
    let mut case = Case::at("2026-10-01T00:00:00Z");
    case.policy.rules = vec![rule("90d", StorageClass::DeepArchive, Layout::InPlace)];
    case.policy.horizon = "16mo".parse().unwrap();
    let of_june = || file("acme", date(2026, 6, 1), 30 * MIB);
    // Put into GLACIER_IR 30 days ago, at least 90: 60 days are left to pay, and with them it takes 14 months of 12.
    let fresh = in_class(of_june(), StorageClass::GlacierIr, "2026-09-01T00:00:00Z");
    assert_eq!(case.reasons(vec![fresh.clone()]), ["stays: inside minimum duration of GLACIER_IR"]);
    let long = in_class(of_june(), StorageClass::GlacierIr, "2026-06-15T00:00:00Z");
    let plan = case.plan(vec![long]);
    let [action] = &plan.actions[..] else { panic!("{plan:#?}") };
    let gigabytes = 30.0 * MIB as f64 / GIB;
    // Retrieval, one GET for the footer at GLACIER_IR's price, one COPY into DEEP_ARCHIVE.
    near(action.gate.one_off, gigabytes * 0.03 + 0.01 / 1e3 + 0.05 / 1e3);
    assert!(matches!(action.kind, ActionKind::InPlace { class: StorageClass::DeepArchive, .. }));
    // With a year more the rest of the minimum duration is worth paying: 60 of 30 days at $0.004 a GB.
    case.policy.horizon = "7y".parse().unwrap();
    let plan = case.plan(vec![fresh]);
    near(plan.actions[0].gate.early_delete, gigabytes * 0.004 * 2.0);
}

#[test]
fn nothing_moves_up_and_archived_files_need_a_restore_first() {
    let mut case = Case::at("2026-10-01T00:00:00Z");
    case.policy.rules = vec![rule("1y", StorageClass::GlacierIr, Layout::Bundle)];
    let deep = in_class(file("acme", date(2024, 8, 1), 3 * MIB), StorageClass::DeepArchive, "2025-09-01T00:00:00Z");
    assert_eq!(case.reasons(vec![deep]), ["stays: is in DEEP_ARCHIVE"]);
    case.policy = Policy::standard();
    let flexible = in_class(file("acme", date(2024, 8, 1), 3 * MIB), StorageClass::Glacier, "2025-09-01T00:00:00Z");
    assert_eq!(case.reasons(vec![flexible]), ["stays: archived in GLACIER, moving it needs a restore"]);
}

#[test]
fn a_hold_beats_every_rule_and_expiry_needs_one_of_its_own() {
    let mut case = Case::at("2034-01-01T00:00:00Z");
    let files = || vec![file("acme", date(2025, 8, 1), 3 * MIB), file("globex", date(2025, 8, 1), 3 * MIB)];
    assert!(case.reasons(files()).iter().all(|reason| reason.starts_with("stays: older than `[lifecycle] horizon`")));
    case.policy.rules.insert(
        0,
        Rule { name: "end".into(), target: Target::Expire, ..rule("7y", StorageClass::Glacier, Layout::Bundle) },
    );
    case.holds.push(Hold {
        id: "h-1".into(),
        tenants: vec!["acme".into()],
        event_types: Vec::new(),
        from: None,
        to: Some(date(2025, 8, 1)),
        reason: "case 17".into(),
        since: case.now,
    });
    let plan = case.plan(files());
    assert_eq!(case.reasons(files()), ["stays: legal hold h-1", "expires: by rule end"]);
    assert_eq!((plan.totals.expires, plan.totals.stays), (1, 1));
    case.holds[0].to = Some(date(2025, 7, 31));
    assert_eq!(case.plan(files()).totals.expires, 2);
}

#[test]
fn tenants_with_different_futures_do_not_share_a_bundle() {
    let mut case = Case::at("2026-10-01T00:00:00Z");
    let short = Rule {
        name: "short".into(),
        tenants: vec![lifecycle::glob("eu-*").unwrap()],
        target: Target::Expire,
        ..rule("3y", StorageClass::Glacier, Layout::Bundle)
    };
    case.policy.rules.insert(0, short);
    let files = ["eu-1", "eu-2", "us-1"].map(|tenant| file(tenant, date(2025, 8, 1), 3 * MIB)).to_vec();
    let plan = case.plan(files.clone());
    let decisions = case.decisions(&plan, files.clone());
    let of_action = |action: usize| {
        let taken = files.iter().filter(|live| {
            let decision = decisions.iter().find(|(path, ..)| *path == live.file.path);
            decision.is_some_and(|(_, _, place)| place.is_some_and(|place| place.action == action))
        });
        taken.map(|live| &*live.file.tenants.min).collect::<Vec<_>>()
    };
    let tenants: Vec<Vec<&str>> = (0..plan.actions.len()).map(of_action).collect();
    assert_eq!(tenants.len(), 2, "{plan:#?}");
    assert!(tenants.contains(&vec!["eu-1", "eu-2"]) && tenants.contains(&vec!["us-1"]));
}

#[test]
fn a_plan_depends_on_nothing_but_its_input() {
    let case = Case::at("2026-10-01T00:00:00Z");
    let files: Vec<_> = (1..=28).map(|day| file("acme", date(2025, 8, day), MIB)).collect();
    let reversed: Vec<_> = files.iter().rev().cloned().collect();
    let (one, other) = (case.plan(files.clone()), case.plan(reversed.clone()));
    assert_eq!(one.digest, other.digest);
    assert_eq!(case.decisions(&one, files.clone()), case.decisions(&other, reversed));
    assert_ne!(case.plan(files[1..].to_vec()).digest, one.digest);
    let mut by_rules = Case::at("2026-10-01T00:00:00Z");
    by_rules.policy.transitions = Transitions::Rules;
    let gate = by_rules.plan(files).actions[0].gate;
    // A PUT into STANDARD, then a transition.
    near(gate.one_off, 28.0 * 0.0004 / 1e3 + 0.005 / 1e3 + 0.05 / 1e3);
}

/// Small tenants that share bundles, one that has its own, and one that needs several, over three months.
fn of_all_sizes() -> Vec<LiveFile> {
    let months = [date(2025, 6, 1), date(2025, 7, 1), date(2025, 8, 1)];
    let day = |month: Date, number: i64| month.saturating_add(jiff::Span::new().days(number));
    let sizes = [("a-small", 3), ("b-own", 40), ("c-small", 4), ("d-huge", 400), ("e-small", 5), ("f-tiny", 0)];
    let mut files = Vec::new();
    for (month, (tenant, mib)) in months.into_iter().flat_map(|month| sizes.map(|size| (month, size))) {
        for number in 0..28 {
            // Three files of each cell, of which some are of a size that the borders must heed.
            let size = |part: u64| mib * MIB / 30 + part * 7 * KIB + number * KIB + 1;
            files.extend((0..3).map(|part| live_file(tenant, day(month, number as i64), part as i64, size(part))));
        }
    }
    files
}

#[test]
fn every_file_has_the_place_that_the_sums_have_counted_it_at() {
    let mut case = Case::at("2027-10-01T00:00:00Z");
    (case.policy.own_bundle_bytes, case.policy.bundle_bytes) = (40 * MIB, 128 * MIB);
    let files = of_all_sizes();
    let plan = case.plan(files.clone());
    let mut counted: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
    let mut cells: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    let sizes: BTreeMap<&str, u64> = files.iter().map(|l| (l.file.path.as_str(), l.file.size_bytes)).collect();
    for (path, reason, place) in case.decisions(&plan, files.clone()) {
        let place = place.unwrap_or_else(|| panic!("{path} {reason}"));
        let sum = counted.entry((place.action, place.bundle)).or_default();
        *sum = (sum.0 + 1, sum.1 + sizes[path.as_str()]);
        cells.entry(path.rsplit_once('/').unwrap().0.to_owned()).or_default().push(place);
    }
    assert!(cells.values().all(|places| places.len() == 3 && places.iter().all(|place| *place == places[0])));
    let mut planned = BTreeMap::new();
    for (number, action) in plan.actions.iter().enumerate() {
        let ActionKind::Bundle { bundles, .. } = &action.kind else { panic!("{action:#?}") };
        assert_eq!(bundles.iter().map(|bundle| bundle.files).sum::<u64>(), action.files);
        planned.extend(bundles.iter().enumerate().map(|(at, bundle)| ((number, at), (bundle.files, bundle.bytes))));
    }
    assert_eq!(counted, planned);
    // Of each month one that is shared, one of its own, and ten that the huge one needs: three cells of 40 MiB in each.
    assert_eq!((plan.actions.len(), planned.len()), (3, 36), "{planned:#?}");
    assert!(planned.values().all(|(_, bytes)| *bytes <= 128 * MIB), "{planned:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_names_what_is_missing_replaced_and_not_ours() {
    let ctx = context(crate::compact::scattered().await);
    let found = async || {
        let drift = lifecycle::drift(&ctx, &Policy::standard()).await.unwrap();
        (drift.objects, drift.findings)
    };
    assert_eq!(found().await, (5, vec![]));
    let live = Snapshot::open(&ctx.store).await.unwrap().live_files(|_| true).await.unwrap();
    let (missing, replaced) = (live[1].file.path.clone(), live[4].file.clone());
    let bytes = [ctx.store.get(&replaced.path).await.unwrap().as_ref(), b"more"].concat();
    ctx.store.delete(vec![missing.clone()]).await.unwrap();
    ctx.store.put(&replaced.path, bytes).await.unwrap();
    for path in ["events/theirs.parquet", "events/date=1999-01-01/theirs.parquet"] {
        ctx.store.put(path, "theirs").await.unwrap();
    }
    let unmanaged = |path: &str| Finding::Unmanaged { path: path.to_owned(), size_bytes: 6 };
    let expected = vec![
        Finding::OtherSize { path: replaced.path, catalog: replaced.size_bytes, store: replaced.size_bytes + 4 },
        Finding::Missing { path: missing },
        unmanaged("events/date=1999-01-01/theirs.parquet"),
        unmanaged("events/theirs.parquet"),
    ];
    let (objects, mut findings) = found().await;
    // The first two are of two days or of one, whichever files they are.
    findings[..2].sort_by_key(|finding| matches!(finding, Finding::Missing { .. }));
    assert_eq!((objects, findings), (6, expected));
}
