//! The story of a month again, on servers that speak S3: one of the tests' own whose clock moves, and moto.

use jiff::{SignedDuration, Timestamp};
use tier::clock::Clock;

use crate::support::glacier::GlacierServer;
use crate::support::tier::{Outcome, Tier};

const QUESTION: &str = "SELECT tenant_id, count(*) AS n, sum(amount) AS amount FROM events GROUP BY 1 ORDER BY 1";

/// June of 2025: three tenants, each day one event in each of two types.
fn june() -> String {
    let mut text = String::new();
    for day in 1..=30 {
        for (number, tenant) in ["acme", "globex", "initech"].into_iter().enumerate() {
            for event_type in ["login", "order"] {
                let amount = day * (number + 1);
                text.push_str(&format!(
                    "{{\"event_id\":\"{tenant}-{event_type}-{day}\",\"event_type\":\"{event_type}\",\"tenant_id\":\
                     \"{tenant}\",\"ts\":\"2025-06-{day:02}T12:00:00Z\",\"amount\":{amount},\"payload\":\"{}\"}}\n",
                    "x".repeat(400)
                ));
            }
        }
    }
    text
}

/// Runs the binary at one time after the other.
struct Teller {
    tier: Tier,
    archive: String,
}

impl Teller {
    fn at(&self, now: Timestamp, args: &[&str]) -> Outcome {
        self.tier.run(&[&["--archive", &self.archive, "--now", &now.to_string()], args].concat())
    }

    fn ends(&self, code: i32, now: Timestamp, args: &[&str]) -> Outcome {
        let outcome = self.at(now, args);
        assert_eq!(outcome.code, Some(code), "{args:?} at {now}: {outcome:#?}");
        outcome
    }

    /// Archives June, moves it, and asks; returns the answer from before the move.
    fn until_refused(&self, now: Timestamp) -> String {
        self.tier.write("june.ndjson", june());
        self.ends(0, now, &["archive", "june.ndjson"]);
        let answer = self.ends(0, now, &["query", QUESTION]).stdout;
        assert_eq!(answer, "tenant_id,n,amount\nacme,60,930\nglobex,60,1860\ninitech,60,2790\n");
        let ahead = now + SignedDuration::from_hours(24 * 365 * 50);
        let rehearsed = self.ends(2, ahead, &["lifecycle", "apply", "--yes"]);
        assert!(rehearsed.stderr.contains("has not come yet"), "{rehearsed:#?}");
        let moved = self.ends(0, now, &["lifecycle", "apply", "--yes", "--max-cost", "1"]);
        assert!(
            moved.stderr.contains("180 cell files became 1 bundle,") && !moved.stderr.contains("simulated"),
            "{moved:#?}"
        );
        let refused = self.ends(4, now, &["query", QUESTION]);
        assert_eq!(refused.stdout, "");
        assert!(refused.stderr.contains("$") && refused.stderr.contains("tier restore start"), "{refused:#?}");
        // Nobody spends without having been told to.
        self.ends(2, now, &["restore", "start", "--query", QUESTION]);
        let started = self.ends(0, now, &["restore", "start", "--query", QUESTION, "--max-cost", "1", "--yes"]);
        assert!(!started.stderr.contains("simulated"), "{started:#?}");
        answer
    }
}

#[test]
fn a_month_goes_to_glacier_and_comes_back_for_a_while() {
    let server = GlacierServer::start();
    // A request now and then is answered with 503: nobody notices.
    server.bucket().faults = 2;
    let tell = Teller { tier: server.tier(), archive: server.address() };
    let answer = tell.until_refused(server.now());
    let classes: Vec<String> =
        server.bucket().objects.values().flatten().map(|version| version.class.clone()).collect();
    assert_eq!(classes.iter().filter(|class| *class == "DEEP_ARCHIVE").count(), 1, "{classes:?}");
    let is_restore = |line: &&String| line.starts_with("POST ") && line.ends_with("?restore");
    let posts = |server: &GlacierServer| server.bucket().log.iter().filter(is_restore).count();
    assert_eq!(posts(&server), 1, "{:#?}", server.bucket().log);
    // Asked for again while it runs: 409 is no error, and nothing is paid twice.
    tell.ends(0, server.now(), &["restore", "start", "--query", QUESTION, "--max-cost", "1", "--yes"]);
    server.advance(SignedDuration::from_hours(6));
    tell.ends(4, server.now(), &["restore", "status"]);
    tell.ends(4, server.now(), &["query", QUESTION]);
    server.advance(SignedDuration::from_hours(7));
    let ready = tell.ends(0, server.now(), &["restore", "status"]);
    assert!((ready.stdout + &ready.stderr).contains("tier query --as-of"));
    assert_eq!(tell.ends(0, server.now(), &["query", QUESTION]).stdout, answer);
    assert!(posts(&server) <= 2, "{:#?}", server.bucket().log);
    server.advance(SignedDuration::from_hours(24 * 9));
    assert_eq!(tell.ends(4, server.now(), &["query", QUESTION]).stdout, "");
    // Deleting on a versioned bucket deletes versions.
    server.bucket().versioned = true;
    let later = Clock::System.now() + SignedDuration::from_hours(24 * 30);
    tell.ends(0, later, &["vacuum", "--yes"]);
    let events = server.bucket().objects.iter().filter(|(key, _)| key.contains("/events/")).count();
    assert_eq!(events, 0, "the replaced cells are gone");
}

#[test]
fn a_month_goes_to_moto_and_comes_back() {
    let server = super::moto::start();
    let mut tier = Tier::new();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", server.endpoint().as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("NO_PROXY", "127.0.0.1"),
    ] {
        tier.set(name, value);
    }
    let tell = Teller { tier, archive: format!("s3://{}/a", super::moto::BUCKET) };
    let now: Timestamp = "2026-08-24T00:00:00Z".parse().unwrap();
    let answer = tell.until_refused(now);
    // moto moves a restore on each time that the object is asked for.
    let ended = (0..10).map(|_| tell.at(now, &["restore", "status"]).code).find(|code| *code == Some(0));
    assert_eq!(ended, Some(Some(0)));
    assert_eq!(tell.ends(0, now, &["query", QUESTION]).stdout, answer);
}
