//! What is remembered of one object that is not in STANDARD, and how time changes it. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::model::{ObjectState, RestoreState, Retrieval, StorageClass};
use crate::store::RestoreOutcome;

/// Of the record's JSON.
const FORMAT_VERSION: u32 = 1;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// The time that simulated classes live in.
#[derive(Debug, Clone, Copy)]
pub struct ClassTime {
    pub clock: Clock,
    /// How many times faster than the clock restores become ready and windows pass; 1 is real. Above zero.
    pub speed: f64,
}

impl Default for ClassTime {
    fn default() -> Self {
        ClassTime { clock: Clock::System, speed: 1.0 }
    }
}

impl ClassTime {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time at which so many simulated seconds have passed since `from`; the end of time, where that is later.
    fn after(&self, from: Timestamp, seconds: f64) -> Timestamp {
        let passed = SignedDuration::try_from_secs_f64(seconds / self.speed).unwrap_or(SignedDuration::MAX);
        from.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

/// How long a restore takes: the upper ends of what S3 says,
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>.
/// `None` where the tier is not offered.
pub fn ready_after_seconds(class: StorageClass, retrieval: Retrieval) -> Option<f64> {
    match (class, retrieval) {
        (StorageClass::Glacier, Retrieval::Expedited) => Some(5.0 * MINUTE),
        (StorageClass::Glacier, Retrieval::Standard) => Some(5.0 * HOUR),
        (StorageClass::Glacier, Retrieval::Bulk) => Some(12.0 * HOUR),
        (StorageClass::DeepArchive, Retrieval::Standard) => Some(12.0 * HOUR),
        (StorageClass::DeepArchive, Retrieval::Bulk) => Some(48.0 * HOUR),
        _ => None,
    }
}

/// The days an object is billed for at least,
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html>
fn minimum_days(class: StorageClass) -> f64 {
    match class {
        StorageClass::Standard => 0.0,
        StorageClass::StandardIa => 30.0,
        StorageClass::GlacierIr | StorageClass::Glacier => 90.0,
        StorageClass::DeepArchive => 180.0,
    }
}

/// The truth about an object that is not in STANDARD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    format_version: u32,
    pub class: StorageClass,
    /// When it came into that class: what S3 calls last modified.
    pub since: Timestamp,
    pub size_bytes: u64,
    /// The last restore that was asked for; whether its copy is there, time tells.
    restore: Option<Restore>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Restore {
    requested: Timestamp,
    retrieval: Retrieval,
    days: u32,
    /// From here …
    ready: Timestamp,
    /// … to here the copy can be read.
    until: Timestamp,
}

impl Record {
    pub fn new(class: StorageClass, since: Timestamp, size_bytes: u64) -> Self {
        Record { format_version: FORMAT_VERSION, class, since, size_bytes, restore: None }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let record: Record = serde_json::from_slice(bytes)
            .map_err(|error| Error::failed("the record of a simulated class is damaged").with_source(error))?;
        if record.format_version != FORMAT_VERSION {
            return Err(Error::failed(format!("the record has format {}", record.format_version))
                .hint("a newer tier wrote it: update this one"));
        }
        Ok(record)
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data")
    }

    pub fn restore_state(&self, now: Timestamp) -> RestoreState {
        match &self.restore {
            Some(restore) if now < restore.ready => RestoreState::Running,
            Some(restore) if now < restore.until => RestoreState::Restored { until: restore.until },
            _ => RestoreState::None,
        }
    }

    pub fn is_readable(&self, now: Timestamp) -> bool {
        !self.class.is_archived() || matches!(self.restore_state(now), RestoreState::Restored { .. })
    }

    /// What HEAD and listings say.
    pub fn object_state(&self, path: String, now: Timestamp) -> ObjectState {
        ObjectState {
            path,
            size_bytes: self.size_bytes,
            storage_class: self.class,
            restore: self.restore_state(now),
            modified: self.since,
        }
    }

    /// Takes a request to restore, as S3 would: see [`RestoreOutcome`].
    pub fn restore(&mut self, days: u32, retrieval: Retrieval, time: ClassTime) -> Result<RestoreOutcome> {
        if days == 0 {
            return Err(Error::usage("a restore lasts one day at least"));
        }
        if !self.class.is_archived() {
            return Ok(RestoreOutcome::NotArchived);
        }
        let Some(seconds) = ready_after_seconds(self.class, retrieval) else {
            return Err(
                Error::usage(format!("{} has no {retrieval} retrieval", self.class)).hint("ask for standard or bulk")
            );
        };
        let now = time.now();
        let state = self.restore_state(now);
        match (&mut self.restore, state) {
            (Some(restore), RestoreState::Restored { .. }) => {
                restore.days = days;
                restore.until = time.after(now, f64::from(days) * DAY);
                Ok(RestoreOutcome::Extended)
            }
            (Some(running), RestoreState::Running) => {
                if retrieval >= running.retrieval {
                    return Ok(RestoreOutcome::AlreadyRunning);
                }
                // A faster tier never makes it later, and the days stay as they were.
                running.retrieval = retrieval;
                running.ready = running.ready.min(time.after(now, seconds));
                running.until = time.after(running.ready, f64::from(running.days) * DAY);
                Ok(RestoreOutcome::Started)
            }
            (restore, _) => {
                let ready = time.after(now, seconds);
                let until = time.after(ready, f64::from(days) * DAY);
                *restore = Some(Restore { requested: now, retrieval, days, ready, until });
                Ok(RestoreOutcome::Started)
            }
        }
    }

    /// The bytes times the days that are billed although the object leaves its class now; begun days count whole.
    pub fn early_byte_days(&self, now: Timestamp) -> u64 {
        let stayed = now.duration_since(self.since).as_secs_f64() / DAY;
        let missing_days = (minimum_days(self.class) - stayed).max(0.0).ceil();
        self.size_bytes.saturating_mul(missing_days as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> ClassTime {
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        ClassTime { clock: Clock::Fixed(start + SignedDuration::from_hours(hours)), speed: 1.0 }
    }

    fn archived(class: StorageClass) -> Record {
        Record::new(class, at(0).now(), 10)
    }

    #[test]
    fn a_restore_is_ready_after_the_time_of_its_class_and_tier_and_ends_after_its_days() {
        for (class, retrieval, hours) in [
            (StorageClass::Glacier, Retrieval::Standard, 5),
            (StorageClass::Glacier, Retrieval::Bulk, 12),
            (StorageClass::DeepArchive, Retrieval::Standard, 12),
            (StorageClass::DeepArchive, Retrieval::Bulk, 48),
        ] {
            let mut record = archived(class);
            assert_eq!(record.restore(2, retrieval, at(0)).unwrap(), RestoreOutcome::Started);
            let state = |hour| record.restore_state(at(hour).now());
            let until = at(hours + 48).now();
            assert_eq!(
                [state(0), state(hours - 1), state(hours), state(hours + 47), state(hours + 48)],
                [
                    RestoreState::Running,
                    RestoreState::Running,
                    RestoreState::Restored { until },
                    RestoreState::Restored { until },
                    RestoreState::None
                ],
                "{class} {retrieval}"
            );
        }
    }

    #[test]
    fn speed_divides_waiting_and_windows() {
        let mut record = archived(StorageClass::DeepArchive);
        let fast = |hours| ClassTime { speed: 12.0, ..at(hours) };
        record.restore(1, Retrieval::Standard, fast(0)).unwrap();
        assert_eq!(record.restore_state(at(0).now()), RestoreState::Running);
        assert_eq!(record.restore_state(at(1).now()), RestoreState::Restored { until: at(3).now() });
        assert_eq!(record.restore_state(at(3).now()), RestoreState::None);
        let mut frozen = archived(StorageClass::Glacier);
        frozen.restore(1, Retrieval::Bulk, ClassTime { speed: f64::MIN_POSITIVE, ..at(0) }).unwrap();
        assert_eq!(frozen.restore_state(at(1_000_000).now()), RestoreState::Running);
    }

    #[test]
    fn only_a_faster_tier_changes_a_running_restore_and_never_its_days() {
        let mut record = archived(StorageClass::Glacier);
        record.restore(3, Retrieval::Bulk, at(0)).unwrap();
        assert_eq!(record.restore(9, Retrieval::Bulk, at(1)).unwrap(), RestoreOutcome::AlreadyRunning);
        assert_eq!(record.restore(9, Retrieval::Standard, at(1)).unwrap(), RestoreOutcome::Started);
        assert_eq!(record.restore(9, Retrieval::Bulk, at(1)).unwrap(), RestoreOutcome::AlreadyRunning);
        assert_eq!(record.restore_state(at(6).now()), RestoreState::Restored { until: at(6 + 72).now() });
        // Asked for faster when it is nearly done: it does not begin anew.
        let mut late = archived(StorageClass::Glacier);
        late.restore(1, Retrieval::Bulk, at(0)).unwrap();
        late.restore(1, Retrieval::Standard, at(11)).unwrap();
        assert!(late.is_readable(at(12).now()));
    }

    #[test]
    fn a_readable_copy_has_its_end_moved_from_now() {
        let mut record = archived(StorageClass::Glacier);
        record.restore(3, Retrieval::Standard, at(0)).unwrap();
        for (hour, days) in [(6, 9), (7, 1)] {
            assert_eq!(record.restore(days, Retrieval::Bulk, at(hour)).unwrap(), RestoreOutcome::Extended);
            let until = at(hour + i64::from(days) * 24).now();
            assert_eq!(record.restore_state(at(hour).now()), RestoreState::Restored { until });
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut deep = archived(StorageClass::DeepArchive);
        let kind = |result: Result<RestoreOutcome>| result.unwrap_err().kind();
        assert_eq!(kind(deep.restore(1, Retrieval::Expedited, at(0))), crate::error::Kind::Usage);
        assert_eq!(kind(deep.restore(0, Retrieval::Bulk, at(0))), crate::error::Kind::Usage);
        for class in [StorageClass::StandardIa, StorageClass::GlacierIr] {
            assert_eq!(archived(class).restore(1, Retrieval::Bulk, at(0)).unwrap(), RestoreOutcome::NotArchived);
        }
    }

    #[test]
    fn leaving_a_class_early_is_billed_for_the_days_that_are_missing() {
        let early = |class, days: i64| archived(class).early_byte_days(at(days * 24).now());
        assert_eq!(early(StorageClass::DeepArchive, 0), 1_800);
        assert_eq!(early(StorageClass::Glacier, 60), 300);
        assert_eq!(archived(StorageClass::StandardIa).early_byte_days(at(29 * 24 + 1).now()), 10);
        assert_eq!(early(StorageClass::GlacierIr, 90), 0);
        assert_eq!(early(StorageClass::Standard, 0), 0);
    }
}
