//! The border between the tiers, while it moves and events keep coming: nothing is lost and nothing counts twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::night::{DAYS, KEY, NEXT_NIGHT, NIGHT, Night, rows_of};
use crate::support::cassandra::{Keyspace, contact_point};
use crate::support::events::row;

const BEFORE: u64 = 1_600;

/// Events that were sent and that have arrived, by day.
#[derive(Default)]
struct Written {
    sent: [AtomicU64; 4],
    arrived: [AtomicU64; 4],
}

impl Written {
    fn now(counts: &[AtomicU64; 4]) -> [u64; 4] {
        [0, 1, 2, 3].map(|day| BEFORE + counts[day].load(Ordering::SeqCst))
    }
}

/// Adds events of today, and every fifth time a late one of a closed day, until it is told to stop.
async fn write(keyspace: Arc<Keyspace>, written: Arc<Written>, stop: Arc<AtomicBool>) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let day = if number % 5 == 4 { (number / 5) % 3 } else { 3 };
        let event = row(DAYS[day], ["acme", "globex"][number % 2], "view", &format!("written-{number}"), number as i64);
        written.sent[day].fetch_add(1, Ordering::SeqCst);
        keyspace.insert("events", &[event], None).await;
        written.arrived[day].fetch_add(1, Ordering::SeqCst);
        number += 1;
    }
}

/// By day: how many events, and how many ids.
fn counts(night: &Night, now: &str) -> BTreeMap<String, (u64, u64)> {
    let sql = "SELECT date, count(*), count(DISTINCT tenant_id || event_id) FROM events GROUP BY date";
    let answer = night.tier.ok(&["query", "--allow-hot-scan", "--now", now, sql]).stdout;
    let line = |line: &str| {
        let [date, events, ids] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (date.to_owned(), (events.parse().unwrap(), ids.parse().unwrap()))
    };
    answer.lines().skip(1).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_counts_once_before_while_and_after_its_day_is_sealed() {
    let night = Night::new(KEY).await;
    night.settings("page_size = 200\n");
    night.insert(&rows_of(&DAYS, &["acme", "globex"], BEFORE as i64 / 2)).await;
    let (written, stop) = (Arc::new(Written::default()), Arc::new(AtomicBool::new(false)));
    let keyspace = Keyspace { name: night.keyspace.name.clone(), session: session().await };
    let writer = tokio::spawn(write(Arc::new(keyspace), written.clone(), stop.clone()));
    let check = || {
        let arrived = Written::now(&written.arrived);
        let counted = counts(&night, NIGHT);
        let sent = Written::now(&written.sent);
        for (day, date) in DAYS.iter().enumerate() {
            let (events, ids) = counted[*date];
            assert_eq!(events, ids, "{date}: an event counts twice");
            // A late event of a day that is sealed waits for the day to be read again.
            let least = if day == 3 { arrived[day] } else { BEFORE };
            assert!(least <= events && events <= sent[day], "{date}: {least} ≤ {events} ≤ {}", sent[day]);
        }
    };
    check();
    let (mut runs, mut delay) = (0, Duration::from_millis(250));
    loop {
        let mut child = night.tier.spawn(&["archive", "--from-hot", "--now", NIGHT]);
        tokio::time::sleep(delay).await;
        check();
        if child.try_wait().unwrap().is_none() && runs < 6 {
            kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        }
        let ended = child.wait_with_output().unwrap();
        check();
        runs += 1;
        // A run whose last partition keeps growing gives up on that day and says so.
        if ended.status.code() == Some(0) {
            break;
        }
        assert!(runs < 20, "{}", String::from_utf8_lossy(&ended.stderr));
        delay += Duration::from_millis(150);
    }
    check();
    stop.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    night.archive(NEXT_NIGHT, &[]);
    let all = Written::now(&written.arrived);
    assert!(all.iter().all(|events| *events > BEFORE), "no event was late: {all:?}");
    let expected: BTreeMap<String, (u64, u64)> =
        DAYS.iter().zip(all).map(|(date, events)| ((*date).to_owned(), (events, events))).collect();
    assert_eq!(counts(&night, NEXT_NIGHT), expected);
}

async fn session() -> scylla::client::session::Session {
    scylla::client::session_builder::SessionBuilder::new().known_node(contact_point()).build().await.unwrap()
}
