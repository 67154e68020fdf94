//! A Cassandra table, a `tier` that archives it, and nights that a test may choose.

use serde_json::Value;

use crate::support::cassandra::{Keyspace, contact_point};
use crate::support::events::{Row, row};
use crate::support::tier::{Outcome, Tier};

pub const DAYS: [&str; 4] = ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23"];
/// The first three days are closed, the fourth is today.
pub const NIGHT: &str = "2026-11-23T03:00:00Z";
pub const NEXT_NIGHT: &str = "2026-11-24T03:00:00Z";
/// Ninety days and an hour, so that nothing expires while a test that lives in the past runs.
pub const TTL_SECONDS: u32 = 90 * 86_400 + 3600;
pub const KEY: &str = "((tenant_id, day), event_id)";

/// A table and a `tier` that archives it.
pub struct Night {
    pub keyspace: Keyspace,
    pub tier: Tier,
    contact_point: String,
}

impl Night {
    pub async fn new(key: &str) -> Self {
        Self::over(Keyspace::fresh().await, contact_point(), key).await
    }

    /// Of a keyspace on nodes of the test's own.
    pub async fn over(keyspace: Keyspace, contact_point: String, key: &str) -> Self {
        keyspace.create_events("events", key, TTL_SECONDS).await;
        let night = Night { keyspace, tier: Tier::new(), contact_point };
        night.settings("");
        night
    }

    pub fn settings(&self, more: &str) {
        let (point, name) = (&self.contact_point, &self.keyspace.name);
        let text = format!(
            "[archive]\nurl = \"archive\"\n[hot]\ncontact_points = [\"{point}\"]\nkeyspace = \"{name}\"\ntable = \
             \"events\"\n{more}"
        );
        self.tier.write("tier.toml", text);
    }

    pub async fn insert(&self, rows: &[Row]) {
        self.keyspace.insert("events", rows, None).await;
    }

    pub fn archive(&self, now: &str, more: &[&str]) -> Value {
        self.tier.json(&[&["archive", "--from-hot", "--now", now], more].concat())
    }

    pub fn run(&self, now: &str, more: &[&str]) -> Outcome {
        self.tier.run(&[&["archive", "--from-hot", "--now", now], more].concat())
    }

    /// The lines of an answer from the archive alone.
    pub fn ask(&self, sql: &str) -> Vec<String> {
        let outcome = self.tier.ok(&["query", "--as-of", &self.version().to_string(), sql]);
        outcome.stdout.lines().skip(1).map(str::to_owned).collect()
    }

    pub fn version(&self) -> u64 {
        self.tier.json(&["status", "--now", NIGHT])["version"].as_u64().unwrap()
    }

    pub fn counts(&self) -> Vec<String> {
        self.ask("SELECT tenant_id, date, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2")
    }
}

pub fn rows_of(days: &[&str], tenants: &[&str], per_cell: i64) -> Vec<Row> {
    let mut rows = Vec::new();
    for day in days {
        for tenant in tenants {
            for number in 0..per_cell {
                let event_type = if number % 3 == 0 { "login" } else { "view" };
                let mut one = row(day, tenant, event_type, &format!("{day}-{tenant}-{number}"), number * 7);
                one.amount = (number % 2 == 0).then_some(number as f64 / 4.0);
                one.payload = Some(format!("{{\"n\":{number}}}"));
                rows.push(one);
            }
        }
    }
    rows
}

/// What the report says of each day: date, why, read, accepted, duplicate, dead letter, counted.
pub fn days_of(report: &Value) -> Vec<(String, String, [u64; 5])> {
    let number = |day: &Value, name: &str| day[name].as_u64().unwrap();
    let days = report["days"].as_array().unwrap().iter();
    let counts =
        |day: &Value| ["read", "accepted", "duplicate", "dead_letter", "counted"].map(|name| number(day, name));
    let text = |day: &Value, name: &str| day[name].as_str().unwrap().to_owned();
    days.map(|day| (text(day, "date"), text(day, "why"), counts(day))).collect()
}

pub fn day(date: &str, why: &str, counts: [u64; 5]) -> (String, String, [u64; 5]) {
    (date.to_owned(), why.to_owned(), counts)
}
