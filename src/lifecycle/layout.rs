//! Which cells of a month share a bundle.
//!
//! A tenant that fills a bundle by itself gets its own, so that restoring it restores nothing else. The others, in
//! the order of their names, fill as few bundles as the size allows: neighbours share one, so the range of tenants that
//! the catalog keeps of a bundle is narrow, and each tenant of a month lies in one bundle.

use jiff::civil::Date;

use super::gate::Gate;
use crate::model::{FileView, StorageClass, short_digest};

/// Files in a bundle at most, but for those of one cell: a bundle's list of cells is made in memory, and a question reads
/// all of it. Smaller files than this leaves room for count as if they were larger.
const MAX_FILES: u64 = 32_768;

/// Sums over files that go the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub files: u64,
    pub bytes: u64,
    /// Of their paths, whatever the order.
    pub digest: u128,
    /// What each costs, added up.
    pub gate: Gate,
    /// The coldest class among theirs.
    pub from: StorageClass,
}

impl Default for Part {
    fn default() -> Self {
        // The neutral element of `Gate::and`.
        let gate = Gate { months_left: u32::MAX, ..Gate::default() };
        Part { files: 0, bytes: 0, digest: 0, gate, from: StorageClass::Standard }
    }
}

impl Part {
    pub fn of(file: &FileView<'_>, gate: Gate) -> Self {
        let digest = u128::from_be_bytes(short_digest(&file.path()));
        Part { files: 1, bytes: file.size_bytes, digest, gate, from: file.storage_class }
    }

    pub fn add(&mut self, other: &Part) {
        self.files += other.files;
        self.bytes += other.bytes;
        // A sum is the same in every order, and unlike an exclusive or it tells two of a file from none.
        self.digest = self.digest.wrapping_add(other.digest);
        self.gate = self.gate.and(&other.gate);
        self.from = self.from.max(other.from);
    }

    /// What they fill of a bundle.
    fn room(&self, bundle_bytes: u64) -> u64 {
        self.bytes.max(self.files.saturating_mul(bundle_bytes) / MAX_FILES)
    }

    /// Whether so much of one tenant is cut between its cells.
    pub fn needs_cells(&self, own_bundle_bytes: u64, bundle_bytes: u64) -> bool {
        let room = self.room(bundle_bytes);
        room >= own_bundle_bytes && room > bundle_bytes
    }
}

/// A cell of a tenant's month.
pub type Cell = (String, Date);

/// What a tenant brings to a month.
#[derive(Debug, Clone, Default)]
pub struct TenantMonth {
    pub name: String,
    pub part: Part,
    /// All of it in the order of a bundle, where it [needs cells](Part::needs_cells).
    pub cells: Vec<(Cell, Part)>,
}

/// Cells that become one object: from the first one on, those of the tenant, or of all tenants without a bundle of their
/// own, up to the next such bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    pub tenant: String,
    /// `None`: from the tenant's first cell on.
    first: Option<Cell>,
    /// Whether the tenant has it alone.
    pub is_own: bool,
    pub part: Part,
}

impl Bundle {
    pub fn first_cell(&self) -> (&str, &str, Date) {
        let (event_type, date) = self.first.as_ref().map_or(("", Date::MIN), |(event_type, date)| (event_type, *date));
        (&self.tenant, event_type, date)
    }
}

/// What the tenants, in the order of their names, bring to a month, in bundles of at most about `bundle_bytes`. A tenant
/// is split only when it is larger than that.
pub fn bundles(tenants: Vec<TenantMonth>, own_bundle_bytes: u64, bundle_bytes: u64) -> Vec<Bundle> {
    let (mut bundles, mut small) = (Vec::new(), Vec::new());
    for tenant in tenants {
        match tenant.part.room(bundle_bytes) {
            _ if tenant.part.needs_cells(own_bundle_bytes, bundle_bytes) => bundles.extend(split(tenant, bundle_bytes)),
            room if room < own_bundle_bytes => small.push(tenant),
            _ => bundles.push(Bundle { tenant: tenant.name, first: None, is_own: true, part: tenant.part }),
        }
    }
    let total: u64 = small.iter().map(|tenant| tenant.part.room(bundle_bytes)).sum();
    // Of equal size rather than full ones and a rest: no bundle is needlessly small.
    let fair = total.div_ceil(total.div_ceil(bundle_bytes).max(1));
    let mut shared = Shared { bundle_bytes, fair, full: Vec::new(), open: None };
    small.into_iter().for_each(|tenant| shared.add(tenant));
    bundles.extend(shared.finish());
    bundles.sort_by(|a, b| a.first_cell().cmp(&b.first_cell()));
    bundles
}

/// One tenant's cells in order, cut where the next would make a bundle too large. A cell stays together: its rows are one
/// sorted run.
fn split(tenant: TenantMonth, bundle_bytes: u64) -> Vec<Bundle> {
    let mut parts: Vec<Bundle> = Vec::new();
    for (cell, part) in tenant.cells {
        match parts.last_mut() {
            Some(open) if open.part.room(bundle_bytes) + part.room(bundle_bytes) <= bundle_bytes => {
                open.part.add(&part)
            }
            _ => parts.push(Bundle { tenant: tenant.name.clone(), first: Some(cell), is_own: true, part }),
        }
    }
    parts
}

struct Shared {
    bundle_bytes: u64,
    /// What each of them is to fill.
    fair: u64,
    full: Vec<Bundle>,
    open: Option<Bundle>,
}

impl Shared {
    fn add(&mut self, TenantMonth { name, part, .. }: TenantMonth) {
        let (bundle_bytes, fair) = (self.bundle_bytes, self.fair);
        // The nearer border: before this tenant or after it.
        let is_full = |open: &mut Bundle| open.part.room(bundle_bytes) + part.room(bundle_bytes) / 2 > fair;
        self.full.extend(self.open.take_if(is_full));
        match &mut self.open {
            Some(open) => open.part.add(&part),
            None => self.open = Some(Bundle { tenant: name, first: None, is_own: false, part }),
        }
    }

    fn finish(mut self) -> Vec<Bundle> {
        self.full.extend(self.open);
        self.full
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Sizes<'a> = Vec<(&'a str, i8, u64)>;

    /// What the files of tenants, days and sizes become.
    fn laid(files: &Sizes<'_>, own_bundle_bytes: u64, bundle_bytes: u64) -> Vec<(String, u64)> {
        let mut tenants: BTreeMap<&str, BTreeMap<Cell, Part>> = BTreeMap::new();
        for &(tenant, day, bytes) in files {
            let cell = ("login".to_owned(), jiff::civil::date(2026, 8, day));
            let part = Part { files: 1, bytes, ..Part::default() };
            tenants.entry(tenant).or_default().entry(cell).or_default().add(&part);
        }
        let tenant = |(name, cells): (&str, BTreeMap<Cell, Part>)| {
            let mut part = Part::default();
            cells.values().for_each(|cell| part.add(cell));
            TenantMonth { name: name.to_owned(), part, cells: cells.into_iter().collect() }
        };
        let bundles = bundles(tenants.into_iter().map(tenant).collect(), own_bundle_bytes, bundle_bytes);
        bundles.into_iter().map(|bundle| (bundle.tenant, bundle.part.bytes)).collect()
    }

    #[test]
    fn small_tenants_share_as_few_bundles_as_the_size_allows() {
        let names: Vec<String> = (0..100).map(|tenant| format!("t{tenant:02}")).collect();
        let files: Sizes = names.iter().flat_map(|name| (1..=3).map(move |day| (name.as_str(), day, 1))).collect();
        assert_eq!(laid(&files, 128, 512), [("t00".to_owned(), 300)]);
        let cut = laid(&files, 30, 100);
        assert_eq!(cut.len(), 3);
        assert!(cut.iter().all(|(_, bytes)| (95..=105).contains(bytes)), "{cut:?}");
        assert!(cut.windows(2).all(|pair| pair[0].0 < pair[1].0), "no tenant lies in two bundles: {cut:?}");
    }

    #[test]
    fn a_large_tenant_has_its_own_and_a_huge_one_is_split() {
        let mut files = vec![("a", 1, 10), ("c", 1, 10), ("b", 1, 200)];
        files.extend((1..=6).map(|day| ("h", day, 200)));
        assert_eq!(
            laid(&files, 128, 512),
            [("a", 20), ("b", 200), ("h", 400), ("h", 400), ("h", 400)].map(|(t, s)| (t.to_owned(), s))
        );
        // The cell of the second day stays in one piece.
        let files = vec![("h", 1, 300), ("h", 2, 200), ("h", 2, 300)];
        assert_eq!(laid(&files, 128, 512), [("h", 300), ("h", 500)].map(|(t, s)| (t.to_owned(), s)));
    }

    #[test]
    fn a_bundle_of_tiny_files_has_only_so_many() {
        let tenant = |number: u64, files: u64| TenantMonth {
            name: format!("t{number:04}"),
            part: Part { files, bytes: files * 100, ..Part::default() },
            cells: (1..=28)
                .map(|day| {
                    (
                        ("login".to_owned(), jiff::civil::date(2026, 8, day)),
                        Part { files: files / 28, ..Part::default() },
                    )
                })
                .collect(),
        };
        let files = |tenants: Vec<TenantMonth>| -> Vec<u64> {
            bundles(tenants, 128 << 20, 512 << 20).into_iter().map(|bundle| bundle.part.files).collect()
        };
        let shared = files((0..1_000).map(|number| tenant(number, 100)).collect());
        assert_eq!((shared.len(), shared.iter().sum::<u64>()), (4, 100_000));
        assert!(shared.iter().all(|&files| files <= MAX_FILES), "{shared:?}");
        let alone = files(vec![tenant(0, 280_000)]);
        assert_eq!(alone.iter().sum::<u64>(), 280_000);
        assert!(alone.iter().all(|&files| files <= MAX_FILES), "{alone:?}");
    }
}
