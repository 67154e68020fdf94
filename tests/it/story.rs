//! The whole story on a local folder, as its user would live it: archive, plan, apply, refused with a price, restore,
//! the same rows, and refused again when the window is over.

use serde_json::Value;

use crate::support::tier::{Outcome, Tier, sample_data};

const QUESTION: &str = "SELECT event_type, count(*) AS n, min(event_id) AS first, max(ts) AS last \
                        FROM events WHERE tenant_id = 'acme' GROUP BY 1 ORDER BY 1";

/// Tells the time of the next command; everything else is the same.
struct Teller {
    tier: Tier,
}

impl Teller {
    fn at(&self, now: &str, args: &[&str]) -> Outcome {
        self.tier.run(&[&["--archive", "archive", "--now", now], args].concat())
    }

    fn ok(&self, now: &str, args: &[&str]) -> Outcome {
        let outcome = self.at(now, args);
        assert_eq!(outcome.code, Some(0), "{args:?} at {now}: {outcome:#?}");
        outcome
    }

    fn json(&self, now: &str, args: &[&str]) -> Value {
        let outcome = self.ok(now, &[&["--json"], args].concat());
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))
    }
}

#[test]
fn a_month_is_archived_moved_restored_and_archived_again() {
    let tell = Teller { tier: Tier::new() };
    tell.ok("2026-09-01T03:00:00Z", &["archive", &sample_data()]);
    let answer = tell.ok("2026-09-01T04:00:00Z", &["query", QUESTION]).stdout;
    assert!(answer.lines().count() > 2, "{answer}");

    // Before its time nothing moves.
    let early = tell.at("2027-08-30T00:00:00Z", &["lifecycle", "plan", "--exit-code"]);
    assert_eq!(early.code, Some(0), "{early:#?}");
    assert!(early.stdout.contains("stays: too young for rule default until 2027-08-31"), "{early:#?}");

    let plan = tell.at("2027-09-01T00:00:00Z", &["lifecycle", "plan", "--out", "sep.plan", "--exit-code"]);
    assert_eq!(plan.code, Some(7), "{plan:#?}");
    assert!(plan.stdout.contains("bundle into DEEP_ARCHIVE"), "{plan:#?}");
    let again = plan.stderr.lines().find(|line| line.starts_with("to do exactly this")).unwrap_or_default().to_owned();
    assert!(again.starts_with("to do exactly this: tier lifecycle apply sep.plan --max-cost 0.0"), "{plan:#?}");
    let unasked = tell.at("2027-09-01T00:00:00Z", &["lifecycle", "apply", "sep.plan"]);
    assert_eq!(unasked.code, Some(2), "nobody was asked: {unasked:#?}");
    let dear =
        tell.at("2027-09-01T00:00:00Z", &["lifecycle", "apply", "sep.plan", "--yes", "--max-cost", "0.00000001"]);
    assert_eq!(dear.code, Some(5), "{dear:#?}");
    let report = tell.json("2027-09-01T00:00:00Z", &["lifecycle", "apply", "sep.plan", "--yes"]);
    assert_eq!((&report["bundles"], &report["simulated"]), (&1.into(), &true.into()), "{report:#?}");
    let nothing = tell.ok("2027-09-01T00:00:00Z", &["lifecycle", "apply", "--yes"]);
    assert!(nothing.stderr.contains("nothing to do"), "{nothing:#?}");
    let status = tell.json("2027-09-01T00:00:00Z", &["status"]);
    assert_eq!(status["tiers"]["DEEP_ARCHIVE"]["files"], 1, "{status:#?}");

    // The catalog still counts, and what needs data is refused with a price before anything is read.
    let counted = tell.ok("2027-09-02T00:00:00Z", &["query", "SELECT count(*) FROM events"]);
    let total: u64 = counted.stdout.lines().last().unwrap().parse().unwrap();
    assert_eq!(Value::from(total), status["rows"]);
    let refused = tell.at("2027-09-02T00:00:00Z", &["query", QUESTION]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""), "{refused:#?}");
    assert!(refused.stderr.contains("tier restore start --query"), "{refused:#?}");
    assert!(refused.stderr.contains("$0.0"), "{refused:#?}");
    let skipped = tell.at("2027-09-02T00:00:00Z", &["query", "--on-archived", "skip", QUESTION]);
    assert_eq!(skipped.code, Some(3), "{skipped:#?}");
    let last = skipped.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("incomplete: ") && last.contains("2026-08"), "{skipped:#?}");

    let started = tell.ok("2027-09-02T00:00:00Z", &["restore", "start", "--query", QUESTION, "--yes"]);
    assert!(started.stderr.contains("simulated"), "{started:#?}");
    assert_eq!(tell.at("2027-09-02T06:00:00Z", &["restore", "status"]).code, Some(4));
    assert_eq!(tell.at("2027-09-02T06:00:00Z", &["query", QUESTION]).code, Some(4));
    let ready = tell.ok("2027-09-02T13:00:00Z", &["restore", "status"]);
    let said = ready.stdout.clone() + &ready.stderr;
    assert!(said.contains("tier query --as-of"), "{ready:#?}");
    assert_eq!(
        tell.ok("2027-09-02T13:00:00Z", &["query", QUESTION]).stdout,
        answer,
        "the same rows as before the move"
    );

    let over = tell.at("2027-09-10T13:00:00Z", &["query", QUESTION]);
    assert_eq!((over.code, over.stdout.as_str()), (Some(4), ""), "the window is over: {over:#?}");

    // The replaced cells go with a vacuum; the answer does not need them.
    tell.ok("2027-09-20T00:00:00Z", &["vacuum", "--yes"]);
    assert_eq!(std::fs::read_dir(tell.tier.path("archive/events")).map_or(0, files_below), 0);
    tell.ok("2027-09-21T00:00:00Z", &["restore", "start", "--query", QUESTION, "--retrieval", "bulk", "--yes"]);
    assert_eq!(tell.ok("2027-09-23T01:00:00Z", &["query", QUESTION]).stdout, answer);
    let before = tell.at("2027-09-23T01:00:00Z", &["query", "--as-of", "1", QUESTION]);
    assert_eq!(before.code, Some(2), "version 1 has expired: {before:#?}");
}

fn files_below(folder: std::fs::ReadDir) -> usize {
    folder
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files_below(std::fs::read_dir(&path).unwrap()) } else { 1 })
        .sum()
}

#[test]
fn a_stale_plan_is_refused_with_the_command_that_plans_again() {
    let tell = Teller { tier: Tier::new() };
    tell.ok("2026-09-01T03:00:00Z", &["archive", &sample_data()]);
    tell.ok("2027-09-01T00:00:00Z", &["lifecycle", "plan", "--out", "sep.plan"]);
    tell.ok("2027-09-01T00:00:00Z", &["hold", "add", "--tenant", "acme", "--reason", "case 17", "--id", "h-17"]);
    let stale = tell.at("2027-09-01T00:00:00Z", &["lifecycle", "apply", "sep.plan", "--yes"]);
    assert_eq!(stale.code, Some(6), "{stale:#?}");
    assert!(stale.stderr.contains("planned at version 1, the archive is at 2 (hold)"), "{stale:#?}");
    assert!(stale.stderr.contains("tier lifecycle plan --out sep.plan"), "{stale:#?}");

    // The hold beats the policy, and lifting it does not.
    let why = tell.ok("2027-09-01T00:00:00Z", &["lifecycle", "why", "date=2026-08-24"]);
    assert!(why.stdout.contains("tenant_id=acme") && why.stdout.contains("stays: legal hold h-17"), "{why:#?}");
    let held = tell.json("2027-09-01T00:00:00Z", &["lifecycle", "plan", "--files"]);
    let of_acme = held["files"].as_array().unwrap().iter().filter(|file| file["hold"] == "h-17").count();
    assert!(of_acme > 0 && held["totals"]["stays"].as_u64().unwrap() >= of_acme as u64, "{held:#?}");
    tell.ok("2027-09-01T00:00:00Z", &["hold", "remove", "h-17"]);
    assert_eq!(tell.json("2027-09-01T00:00:00Z", &["lifecycle", "plan"])["totals"]["stays"], 0);
    assert_eq!(tell.at("2027-09-01T00:00:00Z", &["hold", "remove", "h-17"]).code, Some(2));
}

#[test]
fn expiry_needs_a_rule_and_a_confirmation_and_is_never_under_a_hold() {
    let tell = Teller { tier: Tier::new() };
    tell.ok("2026-09-01T03:00:00Z", &["archive", &sample_data()]);
    tell.tier.write("tier.toml", "[[lifecycle.rules]]\nname = \"end\"\nafter = \"7y\"\nexpire = true\n");
    let (then, rows) = ("2034-01-01T00:00:00Z", "SELECT tenant_id, count(*) AS n FROM events GROUP BY 1 ORDER BY 1");
    tell.ok(then, &["hold", "add", "--tenant", "acme", "--reason", "case 17"]);
    let before = tell.ok(then, &["query", rows]).stdout;
    let plan = tell.json(then, &["lifecycle", "plan"]);
    let expires = plan["totals"]["expires"].as_u64().unwrap();
    assert!(expires > 0, "{plan:#?}");
    let unconfirmed = tell.at(then, &["lifecycle", "apply", "--yes"]);
    assert_eq!(unconfirmed.code, Some(2), "{unconfirmed:#?}");
    assert!(unconfirmed.stderr.contains(&format!("--confirm {expires}")), "{unconfirmed:#?}");
    let report = tell.json(then, &["lifecycle", "apply", "--yes", "--confirm", &expires.to_string()]);
    assert_eq!(report["expired"], expires);
    let after = tell.ok(then, &["query", rows]).stdout;
    let acme = before.lines().find(|line| line.starts_with("acme,")).unwrap();
    assert_eq!(after.lines().skip(1).collect::<Vec<_>>(), [acme], "only what is held is left");
    tell.ok("2034-01-10T00:00:00Z", &["vacuum", "--yes"]);
    assert_eq!(tell.ok("2034-01-10T00:00:00Z", &["query", rows]).stdout, after);
    let held = tell.tier.path("archive/events");
    let left = files_below(std::fs::read_dir(held).unwrap());
    assert_eq!(Value::from(left), tell.json("2034-01-10T00:00:00Z", &["status"])["files"]);
}
