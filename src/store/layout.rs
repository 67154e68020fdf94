//! The names of things on the store; see the crate docs for the picture.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::model::{self, KeyRange, Partition};

/// Names for one run. They are fresh for every attempt and never used again: a replay must not adopt a file that a
/// vacuum is about to delete.
#[derive(Debug, Clone)]
pub struct Layout {
    base_version: u64,
    run: String,
}

impl Layout {
    pub const TABLE: &'static str = "_tier/table.json";
    pub const HINT: &'static str = "_tier/hint";
    pub const ROOTS: &'static str = "_tier/root";
    pub const LEAVES: &'static str = "_tier/leaf";
    pub const LEDGERS: &'static str = "_tier/ledger";
    pub const DEAD_LETTERS: &'static str = "_tier/dead-letter";
    pub const PACKS: &'static str = "_tier/pack";
    pub const RESTORES: &'static str = "_tier/restore";
    pub const VAULT_COPIES: &'static str = "_tier/vault";
    pub const LEASES: &'static str = "_tier/lease";
    pub const RUNS: &'static str = "_tier/run";
    pub const CATALOG: &'static str = "_tier";
    pub const EVENTS: &'static str = model::EVENTS;
    pub const DELTA_LOG: &'static str = "_delta_log";
    pub const BUNDLES: &'static str = model::BUNDLES;

    /// Names for a run begun at `base_version`; `id` is 32 random hex digits.
    pub fn for_run(base_version: u64, id: &str) -> Self {
        Layout { base_version, run: id[..16].to_owned() }
    }

    /// The commit point of a version.
    pub fn root(version: u64) -> String {
        format!("{}/{version:020}.parquet", Self::ROOTS)
    }

    /// The durable record of a restore.
    pub fn restore_job(id: &str) -> String {
        format!("{}/{id}.json", Self::RESTORES)
    }

    /// The id in a restore job's path.
    pub fn restore_job_id(path: &str) -> Option<&str> {
        path.strip_prefix(Self::RESTORES)?.strip_prefix('/')?.strip_suffix(".json")
    }

    /// The lease of the nightly job after `number - 1` others.
    pub fn lease(number: u64) -> String {
        format!("{}/{number:012}.json", Self::LEASES)
    }

    pub fn lease_number(path: &str) -> Option<u64> {
        path.strip_prefix(Self::LEASES)?.strip_prefix('/')?.strip_suffix(".json")?.parse().ok()
    }

    /// The record of a run of the nightly job; names sort by the run's beginning.
    pub fn run_record(began: Timestamp, id: &str) -> String {
        format!("{}/{}-{}.json", Self::RUNS, began.strftime("%Y%m%dT%H%M%SZ"), &id[..8])
    }

    /// The durable record of a data file's copy in a vault.
    pub fn vault_copy(path: &str) -> String {
        format!("{}/{}.json", Self::VAULT_COPIES, &model::sha256(path.as_bytes())[..16])
    }

    /// The version of a root's path.
    pub fn root_version(path: &str) -> Option<u64> {
        path.strip_prefix(Self::ROOTS)?.strip_prefix('/')?.strip_suffix(".parquet")?.parse().ok()
    }

    pub fn data_file(&self, cell: &Partition, number: usize) -> String {
        cell.file(&self.run_name(), number as u64)
    }

    /// A bundle of the month that `first_day` begins; `bucket` numbers the bundles of one month and run.
    pub fn bundle(&self, first_day: Date, bucket: usize, number: usize) -> String {
        format!("{}/bucket={bucket:04}/{}.parquet", Self::bundles_of(first_day), self.stem(number))
    }

    /// The folder of the bundles of the month that `day` is in.
    pub fn bundles_of(day: Date) -> String {
        format!("{}/month={}", Self::BUNDLES, day.strftime("%Y-%m"))
    }

    /// Footers of archived files.
    pub fn pack(&self, number: usize) -> String {
        format!("{}/{}.pack", Self::PACKS, self.stem(number))
    }

    /// A leaf, and the file of its audit columns beside it.
    pub fn leaf(&self, number: usize) -> (String, String) {
        let leaf = format!("{}/{}.parquet", Self::LEAVES, self.stem(number));
        let audit = Self::audit_of(&leaf);
        (leaf, audit)
    }

    /// The file of a leaf's audit columns.
    pub fn audit_of(leaf: &str) -> String {
        leaf.replace(".parquet", ".audit.parquet")
    }

    pub fn ledger(&self, number: usize) -> String {
        format!("{}/{}.parquet", Self::LEDGERS, self.stem(number))
    }

    pub fn dead_letters(&self, number: usize) -> String {
        format!("{}/{}.ndjson.zst", Self::DEAD_LETTERS, self.stem(number))
    }

    /// The base version of the run that wrote `path`; `None` for names this layout does not make.
    pub fn base_version(path: &str) -> Option<u64> {
        let stem = path.rsplit('/').next()?.split('.').next()?;
        let mut parts = stem.split('-');
        let version = parts.next()?;
        let (run, number) = (parts.next()?, parts.next()?);
        let made_here =
            version.len() == 20 && run.len() == 16 && number.parse::<u64>().is_ok() && parts.next().is_none();
        made_here.then(|| version.parse().ok())?
    }

    /// The name by which other objects speak of one that a run of ours wrote: `<base version>-<run>-<number>`.
    pub fn name(path: &str) -> Option<&str> {
        Self::base_version(path)?;
        path.rsplit('/').next()?.split('.').next()
    }

    /// The part of such a name that all objects of a run share.
    pub fn run_of(name: &str) -> &str {
        name.rsplit_once('-').map_or(name, |(run, _)| run)
    }

    /// The folder that is listed for a data file: that of its day or month.
    pub fn listed_folder(path: &str) -> &str {
        path.match_indices('/').nth(1).map_or(path, |(end, _)| &path[..end])
    }

    /// The days of which a data file of this path, or in this folder of a day or month, may hold events; `None` of a path
    /// that is neither.
    pub fn dates_of(path: &str) -> Option<KeyRange<Date>> {
        let (top, below) = path.split_once('/')?;
        let folder = below.split('/').next()?;
        match top {
            Self::EVENTS => folder.strip_prefix("date=")?.parse().ok().map(KeyRange::one),
            Self::BUNDLES => {
                let first: Date = format!("{}-01", folder.strip_prefix("month=")?).parse().ok()?;
                Some(KeyRange { min: first, max: first.last_of_month() })
            }
            _ => None,
        }
    }

    fn stem(&self, number: usize) -> String {
        format!("{}-{number}", self.run_name())
    }

    /// What the names of all objects of the run begin with: see [`Layout::run_of`].
    fn run_name(&self) -> String {
        format!("{:020}-{}", self.base_version, self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_version_their_run_began_at() {
        let layout = Layout::for_run(41, "0123456789abcdef0123456789abcdef");
        let (leaf, audit) = layout.leaf(3);
        assert_eq!(leaf, "_tier/leaf/00000000000000000041-0123456789abcdef-3.parquet");
        assert_eq!(Layout::base_version(&leaf), Some(41));
        assert_eq!(Layout::base_version(&audit), Some(41));
        assert_eq!(Layout::base_version("events/somebody-elses.parquet"), None);
        let name = Layout::name(&audit).unwrap();
        assert_eq!((name, Layout::run_of(name)), ("00000000000000000041-0123456789abcdef-3", &name[..37]));
        assert_eq!(Layout::root_version(&Layout::root(7)), Some(7));
        assert_eq!(Layout::root_version("_tier/root/.tmp"), None);
    }

    #[test]
    fn a_data_files_path_tells_its_days() {
        let cell = Partition::parse_folder("date=2026-08-24/event_type=a/tenant_id=b").unwrap();
        let layout = Layout::for_run(41, "0123456789abcdef0123456789abcdef");
        let (first, last) = (Date::constant(2026, 8, 1), Date::constant(2026, 8, 31));
        assert_eq!(Layout::dates_of(&layout.data_file(&cell, 1)), Some(KeyRange::one(cell.date)));
        assert_eq!(Layout::dates_of(&layout.bundle(first, 0, 1)), Some(KeyRange { min: first, max: last }));
        assert_eq!(Layout::dates_of(&layout.leaf(1).0), None);
        assert_eq!(Layout::dates_of("events/date=today/1.parquet"), None);
        assert_eq!(Layout::dates_of("events/month=2026-08/1.parquet"), None);
    }

    #[test]
    fn a_day_and_a_month_are_listed_by_themselves() {
        assert_eq!(
            Layout::listed_folder("events/date=2026-08-24/event_type=a/tenant_id=b/1.parquet"),
            "events/date=2026-08-24"
        );
        assert_eq!(Layout::listed_folder("_bundles/month=2026-08/bucket=0001/1.parquet"), "_bundles/month=2026-08");
    }
}
