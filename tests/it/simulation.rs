//! Random runs against a model: whatever the order of archiving, repeating, conflicting, failing, reverting, replaying and
//! vacuuming, the archive holds exactly the events that the model says, and every record is accounted for.
//!
//! A seed repeats a run: `TIER_SIMULATION_SEED=7 cargo test --test it simulation`.

use std::collections::{BTreeMap, BTreeSet};

use tier::archive;
use tier::clock::Clock;
use tier::context::Context;
use tier::error::Kind;
use tier::model::Reason;

use crate::support::dice::Dice;
use crate::support::fault::{Fault, FaultStore, Plan};
use crate::support::lab::{Lab, check_sums, check_versions, context, full, line, request};

const SEEDS: u64 = 12;
const STEPS: usize = 25;
const IDS: u64 = 60;

/// What the archive must hold: the row of each id, and the version that brought it.
#[derive(Default)]
struct Model {
    events: BTreeMap<u64, (u64, u64)>,
    exports: Vec<String>,
    /// Versions that appended and are not reverted.
    versions: BTreeSet<u64>,
    conflicts: u64,
}

/// The content of an event is a number; another number is a conflict. Its date follows from its id alone.
fn record(id: u64, content: u64) -> String {
    let day = 20 + id % 4;
    line(&format!("e{id}"), &format!("2026-08-{day:02}T12:00:00Z"), &format!(r#""n":{content}"#)) + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn random_runs_agree_with_the_model() {
    let seeds = match std::env::var("TIER_SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect(),
    };
    for seed in seeds {
        simulate(seed).await;
    }
}

async fn simulate(seed: u64) {
    let (lab, mut dice, mut model) = (Lab::new(), Dice(seed), Model::default());
    for step in 0..STEPS {
        let what = match dice.below(10) {
            0..=4 => archive_new(&lab, &mut dice, &mut model, step).await,
            5 => archive_again(&lab, &mut dice, &mut model).await,
            6 => archive_with_a_fault(&lab, &mut dice, &mut model, step).await,
            7 | 8 => revert_one(&lab, &mut dice, &mut model).await,
            _ => vacuum(&lab).await,
        };
        let expected: Vec<String> = model.events.iter().map(|(id, (content, _))| format!("e{id}={content}")).collect();
        assert_eq!(held(&lab).await, expected.into_iter().collect(), "seed {seed}, after step {step}: {what}");
    }
    check_versions(&lab.ctx.store).await;
    assert!(model.versions.len() > 3 && model.conflicts > 0, "seed {seed} did not try much");
}

/// `id=content` of every event, each once.
async fn held(lab: &Lab) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    for row in lab.rows().await {
        let (_, json) = row.split_once(' ').unwrap();
        let event: serde_json::Value = serde_json::from_str(json).unwrap();
        let (id, content) = (event["event_id"].as_str().unwrap(), event["n"].as_u64().unwrap());
        assert!(held.insert(format!("{id}={content}")), "{id} is there twice");
    }
    held
}

/// An export of some ids, a few of them with other content.
fn new_export(lab: &Lab, dice: &mut Dice, model: &mut Model, step: usize) -> (String, Vec<(u64, u64)>) {
    let first = dice.below(IDS);
    let records: Vec<(u64, u64)> =
        (0..12).map(|n| ((first + n) % IDS, u64::from(dice.below(12) == 0) * (1 + dice.below(3)))).collect();
    let name = format!("{step}.ndjson");
    let text: String = records.iter().map(|(id, content)| record(*id, *content)).collect();
    lab.write(&name, text);
    model.exports.push(name.clone());
    (name, records)
}

/// What archiving these records adds to the model; returns new, duplicate, conflict.
fn expect(model: &mut Model, records: &[(u64, u64)], version: u64) -> (u64, u64, u64) {
    let (mut new, mut duplicate, mut conflict) = (0, 0, 0);
    for (id, content) in records {
        match model.events.get(id) {
            None => {
                model.events.insert(*id, (*content, version));
                new += 1;
            }
            Some((held, _)) if held == content => duplicate += 1,
            Some(_) => conflict += 1,
        }
    }
    model.conflicts += conflict;
    (new, duplicate, conflict)
}

async fn archive_new(lab: &Lab, dice: &mut Dice, model: &mut Model, step: usize) -> String {
    let (name, records) = new_export(lab, dice, model, step);
    let report = lab.archive(&[&name]).await;
    let Some(version) = report.version.filter(|_| !report.committed.is_empty()) else {
        // The same bytes as an earlier export.
        assert_eq!(report.read, 0);
        return format!("{name} was known");
    };
    let expected = expect(model, &records, version);
    assert_eq!((report.accepted, report.duplicate, report.dead_letter), expected, "{name}");
    assert_eq!(report.reasons.get(&Reason::Conflict).copied().unwrap_or(0), expected.2, "{name}");
    model.versions.insert(version);
    format!("archived {name} as version {version}")
}

async fn archive_again(lab: &Lab, dice: &mut Dice, model: &mut Model) -> String {
    if model.exports.is_empty() {
        return "nothing to repeat".to_owned();
    }
    let name = model.exports[dice.below(model.exports.len() as u64) as usize].clone();
    let records = records_of(lab, &name);
    let report = lab.archive(&[&name]).await;
    if let [version] = report.committed[..] {
        // It was reverted since: its events come back.
        let expected = expect(model, &records, version);
        assert_eq!((report.accepted, report.duplicate, report.dead_letter), expected, "{name}");
        model.versions.insert(version);
    }
    format!("archived {name} again")
}

fn records_of(lab: &Lab, name: &str) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(lab.path(name)).unwrap();
    let record = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        (event["event_id"].as_str().unwrap()[1..].parse().unwrap(), event["n"].as_u64().unwrap())
    };
    text.lines().map(record).collect()
}

/// A run that dies or errs at a random write, and the run after it.
async fn archive_with_a_fault(lab: &Lab, dice: &mut Dice, model: &mut Model, step: usize) -> String {
    let (name, records) = new_export(lab, dice, model, step);
    let path = lab.path(&name).to_string_lossy().into_owned();
    let fault = Fault::ALL[dice.below(3) as usize];
    let at = 1 + dice.below(20);
    let store = lab.ctx.store.decorated(|inner| FaultStore::over(inner, Plan::new(fault, at)));
    match archive::archive(&context(store), &request(vec![path])).await {
        Ok(report) => check_sums(report),
        Err(_) => lab.archive(&[&name]).await,
    };
    // Whether the failed run had committed all the same or the second one did, the ledger knows; it has no entry of this
    // name where the bytes were known under another.
    let entries =
        lab.snapshot().await.find_exports(|entry| entry.stamp.path.ends_with(&format!("/{name}"))).await.unwrap();
    if let [entry] = &entries[..] {
        let expected = expect(model, &records, entry.version);
        assert_eq!((entry.accepted, entry.duplicate, entry.dead_letter), expected, "{name}");
        model.versions.insert(entry.version);
    }
    assert!(entries.len() <= 1, "{name} is in the ledger twice");
    format!("archived {name} with {fault:?} at write {at}")
}

async fn revert_one(lab: &Lab, dice: &mut Dice, model: &mut Model) -> String {
    let versions: Vec<u64> = model.versions.iter().copied().collect();
    if versions.is_empty() {
        return "nothing to revert".to_owned();
    }
    let version = versions[dice.below(versions.len() as u64) as usize];
    match archive::revert(&lab.ctx, version).await {
        Ok(report) => {
            let before = model.events.len();
            model.events.retain(|_, (_, brought_by)| *brought_by != version);
            assert_eq!(report.rows, (before - model.events.len()) as u64, "revert of {version}");
            model.versions.remove(&version);
            format!("reverted version {version}")
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Usage, "{}", full(&error));
            format!("version {version} stays: {error}")
        }
    }
}

async fn vacuum(lab: &Lab) -> String {
    if tier::catalog::Snapshot::latest(&lab.ctx.store).await.unwrap().is_none() {
        return "nothing to vacuum".to_owned();
    }
    // Later than every file, whatever the clock of the machine says.
    let later =
        Context { clock: Clock::Fixed("2200-01-01T00:00:00Z".parse().unwrap()), ..context(lab.ctx.store.clone()) };
    let plan = tier::vacuum::plan(&later, &tier::vacuum::Retention::of(std::time::Duration::ZERO)).await.unwrap();
    let report = tier::vacuum::apply(&later, &plan).await.unwrap();
    format!("vacuumed {} files", report.deleted)
}
