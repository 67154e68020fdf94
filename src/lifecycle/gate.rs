//! The break-even gate: a move must earn back what it costs before the data's time is over.

use jiff::Timestamp;
use serde::Serialize;

use super::policy::Transitions;
use crate::model::{FileView, Prices, StorageClass, Usd, pays_back_after};

/// What a move costs once, and what the objects cost by the month before and after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Gate {
    /// Reading the objects out of their class, the early-delete part included, and writing the new ones.
    pub one_off: Usd,
    /// Of that, what the old class charges because its minimum duration is not over.
    pub early_delete: Usd,
    pub monthly_before: Usd,
    pub monthly_after: Usd,
    /// Until the horizon.
    pub months_left: u32,
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    PaysBack {
        month: u32,
    },
    TooLate {
        month: u32,
    },
    Never,
    /// It would pay back if the minimum duration were over.
    InsideMinimumDuration,
}

impl Gate {
    pub fn monthly_saving(&self) -> Usd {
        self.monthly_before - self.monthly_after
    }

    /// The month at whose end the savings have covered the cost.
    pub fn pays_back_month(&self) -> Option<u32> {
        pays_back_after(self.one_off, self.monthly_saving())
    }

    pub fn verdict(&self) -> Verdict {
        let in_time = |month: &u32| *month <= self.months_left;
        match self.pays_back_month() {
            Some(month) if in_time(&month) => Verdict::PaysBack { month },
            late => {
                let later = pays_back_after(self.one_off - self.early_delete, self.monthly_saving());
                match (later, late) {
                    (Some(month), _) if self.early_delete > Usd::default() && in_time(&month) => {
                        Verdict::InsideMinimumDuration
                    }
                    (_, Some(month)) => Verdict::TooLate { month },
                    (_, None) => Verdict::Never,
                }
            }
        }
    }

    /// The sum of two moves; of their horizons the nearer one counts.
    pub fn and(&self, other: &Gate) -> Gate {
        Gate {
            one_off: self.one_off + other.one_off,
            early_delete: self.early_delete + other.early_delete,
            monthly_before: self.monthly_before + other.monthly_before,
            monthly_after: self.monthly_after + other.monthly_after,
            months_left: self.months_left.min(other.months_left),
        }
    }
}

/// What moves are judged by.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    pub prices: &'a Prices,
    pub now: Timestamp,
    pub transitions: Transitions,
}

impl Judge<'_> {
    /// Of one of the files that are written anew as one object: what it costs to take it out of where it is.
    pub fn join(&self, file: &FileView<'_>) -> Gate {
        let mut gate = self.leave(file);
        gate.one_off += self.prices.get(file.storage_class, 1);
        gate
    }

    /// Files that are written anew as one object of about the same size; `joined` is the sum of what each costs.
    pub fn bundle(&self, joined: Gate, size_bytes: u64, class: StorageClass, months_left: u32) -> Gate {
        Gate {
            months_left,
            one_off: joined.one_off + self.enter(class),
            monthly_after: self.prices.storage_month(class, size_bytes),
            ..joined
        }
    }

    /// One object copied onto itself in another class. Its footer is read once when it goes out of reach.
    pub fn in_place(&self, file: &FileView<'_>, class: StorageClass, months_left: u32) -> Gate {
        let mut gate = self.leave(file);
        gate.months_left = months_left;
        if class.is_archived() && !file.is_packed {
            gate.one_off += self.prices.get(file.storage_class, 1);
        }
        gate.one_off += self.enter(class);
        gate.monthly_after = self.prices.storage_month(class, file.size_bytes);
        gate
    }

    /// Objects that are deleted.
    pub fn expire(&self, file: &FileView<'_>) -> Gate {
        let gate = self.leave(file);
        // Deleting reads nothing: only the rest of the minimum duration is paid.
        Gate { one_off: gate.early_delete, ..gate }
    }

    fn leave(&self, file: &FileView<'_>) -> Gate {
        let class = file.storage_class;
        let early_delete = self.prices.early_delete(class, file.size_bytes, self.days_stored(file));
        Gate {
            early_delete,
            one_off: early_delete + self.prices.instant_retrieval(class, file.size_bytes),
            monthly_before: self.prices.storage_month(class, file.size_bytes),
            ..Gate::default()
        }
    }

    fn enter(&self, class: StorageClass) -> Usd {
        match self.transitions {
            Transitions::Put => self.prices.put(class, 1),
            Transitions::Rules => self.prices.put(StorageClass::Standard, 1) + self.prices.transition(class, 1),
        }
    }

    /// Whole days in the class; of STANDARD, which has no minimum, it does not matter.
    fn days_stored(&self, file: &FileView<'_>) -> u32 {
        let stored = file.class_since.map_or(i64::MAX, |since| self.now.duration_since(since).as_hours() / 24);
        u32::try_from(stored.max(0)).unwrap_or(u32::MAX)
    }
}
