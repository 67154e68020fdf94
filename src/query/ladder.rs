//! The pruning ladder: how many files each level left over.

use std::fmt;

use super::live::{PlannedHot, Tiers};
use crate::scan::{PlannedFiles, ScanReport};

/// What pruning did for one query, and what remains to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    pub pruned: ScanReport,
    pub planned: PlannedFiles,
    pub hot: HotPart,
    pub tiers: Tiers,
}

/// What is read of the hot tier, and what has been so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HotPart {
    pub planned: PlannedHot,
    pub rows: u64,
    /// Of these rows, those that are no events.
    pub refused: u64,
}

impl fmt::Display for Ladder {
    /// `files 36,500 → root 3,100 → leaf 12 → scanned 12 (1.2 MiB)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanReport { files_total, files_after_root, files_after_leaf } = self.pruned;
        write!(
            f,
            "files {} → root {} → leaf {} → scanned {} ({})",
            count(files_total),
            count(files_after_root),
            count(files_after_leaf),
            count(self.planned.files),
            size(self.planned.bytes)
        )?;
        match self.planned.archived.len() as u64 {
            0 => {}
            archived => write!(f, " · {} archived ({})", count(archived), size(self.planned.archived_bytes()))?,
        }
        if !self.hot.planned.is_empty() {
            write!(f, " · {}", self.hot)?;
        }
        match self.tiers {
            Tiers::ALL => Ok(()),
            tiers => write!(f, " · only the tiers {tiers}"),
        }
    }
}

impl fmt::Display for HotPart {
    /// `hot 3 partitions, 1,200 rows, 2 of them no events`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hot {}", self.planned)?;
        if self.rows > 0 {
            write!(f, ", {} rows", count(self.rows))?;
        }
        match self.refused {
            0 => Ok(()),
            refused => write!(f, ", {} of them no events", count(refused)),
        }
    }
}

/// With a comma between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In powers of 1024.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut amount, mut unit) = (bytes as f64, "B");
    for larger in UNITS {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_reads_from_all_files_to_those_scanned() {
        let ladder = Ladder {
            pruned: ScanReport { files_total: 1_036_500, files_after_root: 3100, files_after_leaf: 12 },
            planned: PlannedFiles { files: 12, bytes: 1_258_291, ..PlannedFiles::default() },
            hot: HotPart::default(),
            tiers: Tiers::ALL,
        };
        assert_eq!(ladder.to_string(), "files 1,036,500 → root 3,100 → leaf 12 → scanned 12 (1.2 MiB)");
        let planned = PlannedHot { partitions: 3, ..PlannedHot::default() };
        let ladder = Ladder {
            hot: HotPart { planned, rows: 1200, refused: 2 },
            tiers: Tiers { deep: false, ..Tiers::ALL },
            ..ladder
        };
        assert_eq!(
            ladder.to_string(),
            "files 1,036,500 → root 3,100 → leaf 12 → scanned 12 (1.2 MiB) · \
             hot 3 partitions, 1,200 rows, 2 of them no events · only the tiers hot,cold"
        );
    }

    #[test]
    fn small_numbers_stay_plain() {
        assert_eq!((count(0), count(999), count(1000)), ("0".into(), "999".into(), "1,000".into()));
        assert_eq!((size(0), size(1023), size(1024)), ("0 B".into(), "1023 B".into(), "1.0 KiB".into()));
    }
}
