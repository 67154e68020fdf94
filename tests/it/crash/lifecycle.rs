//! A fault at every change that a lifecycle run makes, in turn.

use jiff::Timestamp;
use tier::catalog::Snapshot;
use tier::clock::Clock;
use tier::context::Context;
use tier::lifecycle::{self, Layout, Plan, Planning, Policy, Rule, Target};
use tier::model::{Prices, StorageClass};
use tier::store::{ClassTime, Store};

use super::faults::at_every_change;
use crate::support::lab::{Lab, check_versions, context, full, line, rows};

/// Old enough for every rule below.
pub const LATER: &str = "2028-01-01T00:00:00Z";

pub fn at(store: Store, now: &str) -> Context {
    let clock = Clock::Fixed(now.parse::<Timestamp>().unwrap());
    Context { clock, ..context(store.at(ClassTime { clock, speed: 1.0 })) }
}

pub fn policy(target: Target) -> Policy {
    let rule =
        Rule { name: "r".into(), event_types: Vec::new(), tenants: Vec::new(), after: "1y".parse().unwrap(), target };
    // The cells of a test are small: they are given the time to pay back.
    Policy { rules: vec![rule], horizon: "9000y".parse().unwrap(), ..Policy::standard() }
}

/// Two months, two tenants, two days each.
pub async fn archive() -> Store {
    let lab = Lab::new();
    let mut text = String::new();
    for (number, day) in ["2026-07-30", "2026-07-31", "2026-08-01", "2026-08-02"].into_iter().enumerate() {
        for tenant in ["acme", "globex"] {
            let event = line(&format!("{number}-{tenant}"), &format!("{day}T12:00:00Z"), r#""n":1"#);
            text.push_str(&event.replace("acme\",\"ts", &format!("{tenant}\",\"ts")));
            text.push('\n');
        }
    }
    lab.write("a.ndjson", text);
    lab.archive(&["a.ndjson"]).await;
    lab.ctx.store
}

/// Of a world without a smallest billed object, and without anything stored beside one.
fn prices() -> Prices {
    let text = include_str!("../../../src/model/prices/prices.toml");
    let free = text.replace("minimum_billed_bytes = 131_072", "minimum_billed_bytes = 0");
    let free = free.replace("overhead_bytes = 32_768", "overhead_bytes = 0");
    let free = free.replace("overhead_standard_bytes = 8_192", "overhead_standard_bytes = 0");
    assert_ne!(text, free);
    Prices::parse(&free).unwrap()
}

async fn plan(ctx: &Context, policy: &Policy) -> Plan {
    let (snapshot, prices) = (Snapshot::open(&ctx.store).await.unwrap(), prices());
    let holds = &snapshot.root().document.holds;
    lifecycle::plan(Planning { policy, holds, prices: &prices, now: ctx.now() }, &snapshot).await.unwrap()
}

pub async fn run(store: Store, policy: &Policy) -> Result<(), String> {
    let ctx = at(store, LATER);
    let (snapshot, prices) = (Snapshot::open(&ctx.store).await.unwrap(), prices());
    let planning = Planning { policy, holds: &snapshot.root().document.holds, prices: &prices, now: ctx.now() };
    let plan = lifecycle::plan(planning, &snapshot).await.unwrap();
    let report = lifecycle::apply(&ctx, planning, &snapshot, &plan).await;
    report.map(|_| ()).map_err(|error| full(&error))
}

async fn survives(policy: Policy, expected: impl Fn(&[String]) -> Vec<String>) {
    let before = rows(&archive().await).await;
    assert_eq!(before.len(), 8);
    let (after, policy) = (expected(&before), &policy);
    at_every_change(
        async || archive().await,
        async |store| run(store, policy).await.is_ok(),
        async |store, finished, place| {
            let store = at(store.clone(), LATER).store;
            check_versions(&store).await;
            let found = rows(&store).await;
            let is_between =
                found.iter().all(|row| before.contains(row)) && after.iter().all(|row| found.contains(row));
            assert!(is_between, "{place}: {found:#?}");
            assert!(!finished || found == after, "{place}: done, and yet not");
            run(store.clone(), policy).await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(rows(&store).await, after, "{place}");
            check_versions(&store).await;
            let left = plan(&at(store, LATER), policy).await;
            assert!(left.actions.is_empty(), "{place}: {left:#?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundling_that_fails_anywhere_is_made_whole_by_the_next_run() {
    let bundled = policy(Target::Move { class: StorageClass::GlacierIr, layout: Layout::Bundle });
    // Both tenants in one bundle, and each in its own: a commit has one of a month, or two.
    let apart = Policy { own_bundle_bytes: 1, ..bundled.clone() };
    for (policy, bundles) in [(bundled, 2), (apart, 4)] {
        let store = at(archive().await, LATER).store;
        run(store.clone(), &policy).await.unwrap();
        assert_eq!(store.list(tier::store::Layout::BUNDLES, None).await.unwrap().len(), bundles);
        survives(policy, <[String]>::to_vec).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_in_place_that_fails_anywhere_is_made_whole_by_the_next_run() {
    survives(policy(Target::Move { class: StorageClass::GlacierIr, layout: Layout::InPlace }), <[String]>::to_vec)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_fails_anywhere_is_made_whole_by_the_next_run() {
    survives(policy(Target::Expire), |_| Vec::new()).await;
}
