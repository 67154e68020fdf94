//! Which tier answers for dates that both can answer for.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::window::Window;
use crate::model::Seals;
use crate::scan::PlannedFiles;

/// The days of a question by who answers for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Days {
    /// That the hot tier may have and the question may mean.
    pub all: BTreeSet<Date>,
    /// Of these, those that the archive is not sealed for.
    pub open: BTreeSet<Date>,
    pub sealed: BTreeSet<Date>,
}

impl Days {
    pub fn new(all: BTreeSet<Date>, seals: &Seals) -> Self {
        let (sealed, open) = all.iter().partition(|date| seals.contains(**date));
        Days { all, open, sealed }
    }

    /// Whether the hot tier has every event of all these days that the archive has: nothing has expired, and of sealed
    /// days both had the same events when the hot tier was last read.
    pub fn are_whole_in_hot(&self, window: &Window, seals: &Seals) -> bool {
        let is_mirror =
            |date: &Date| seals.get(*date).and_then(|seal| seal.read.as_ref()).is_some_and(|read| read.is_mirror);
        self.all.first().is_some_and(|first| *first >= window.first_whole) && self.sealed.iter().all(is_mirror)
    }
}

/// Whether `requests` of the hot tier are cheaper than what the archive plans. What cannot be read now is always dearer.
pub fn is_cheaper(requests: u64, archive: &PlannedFiles) -> bool {
    requests < archive.requests || !archive.archived.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HotRead;
    use jiff::Timestamp;
    use jiff::civil::date;

    fn window() -> Window {
        Window::new("2026-11-25T12:00:00Z".parse().unwrap(), 30, std::time::Duration::from_secs(86_400))
    }

    fn seals(is_mirror: bool) -> Seals {
        let mut seals = Seals::default();
        for day in 1..=23 {
            let read = HotRead { at: Timestamp::UNIX_EPOCH, rows: 1, is_mirror };
            seals.set(date(2026, 11, day), false, Some(read));
        }
        seals.set(date(2026, 11, 2), false, None);
        seals
    }

    fn days(days: &[(i8, i8)]) -> BTreeSet<Date> {
        days.iter().map(|&(month, day)| date(2026, month, day)).collect()
    }

    #[test]
    fn days_are_open_until_they_are_sealed() {
        let days = Days::new(days(&[(11, 23), (11, 24)]), &seals(true));
        assert_eq!((days.sealed.len(), days.open.first()), (1, Some(&date(2026, 11, 24))));
    }

    #[test]
    fn the_hot_tier_answers_for_sealed_days_that_it_mirrors_and_that_are_not_about_to_expire() {
        let is_whole = |all: &[(i8, i8)], is_mirror| {
            let seals = seals(is_mirror);
            Days::new(days(all), &seals).are_whole_in_hot(&window(), &seals)
        };
        assert!(is_whole(&[(11, 20), (11, 24)], true));
        assert!(!is_whole(&[(11, 20), (11, 24)], false));
        assert!(!is_whole(&[(11, 2)], true), "sealed by hand");
        assert!(!is_whole(&[], true));
        // Thirty days before the 25th is the 26th of October.
        assert!(is_whole(&[(10, 28)], true));
        assert!(!is_whole(&[(10, 27), (11, 20)], true));
    }

    #[test]
    fn fewer_requests_are_cheaper_and_archived_files_dearest() {
        let mut archive = PlannedFiles { requests: 3, ..PlannedFiles::default() };
        assert!(is_cheaper(2, &archive) && !is_cheaper(3, &archive));
        archive.archived.insert(
            "x".to_owned(),
            crate::scan::ArchivedShare {
                path: "x".to_owned(),
                size_bytes: 1,
                storage_class: crate::model::StorageClass::DeepArchive,
                dates: crate::model::KeyRange::one(date(2026, 11, 1)),
                tenants: BTreeSet::new(),
                rows: 1,
                bytes: 1,
            },
        );
        assert!(is_cheaper(300, &archive));
    }
}
