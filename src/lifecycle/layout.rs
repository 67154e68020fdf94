//! Which cells of a month share a bundle.
//!
//! A tenant that fills a bundle by itself gets its own, so that restoring it restores nothing else. The others, in
//! the order of their names, fill as few bundles as the size allows: neighbours share one, so the range of tenants that
//! the catalog keeps of a bundle is narrow, and each tenant of a month lies in one bundle.

use std::collections::BTreeMap;

use crate::catalog::LiveFile;

/// Files of one month, in bundles of at most about `bundle_bytes`. A tenant is split only when it is larger than that.
pub fn bundles(files: Vec<LiveFile>, own_bundle_bytes: u64, bundle_bytes: u64) -> Vec<Vec<LiveFile>> {
    let mut tenants: BTreeMap<String, Vec<LiveFile>> = BTreeMap::new();
    for live in files {
        tenants.entry(live.file.tenants.min.clone()).or_default().push(live);
    }
    let (mut bundles, mut shared, mut small) = (Vec::new(), Shared::default(), Vec::new());
    for (_, mut files) in tenants {
        files.sort_by(|a, b| order(a).cmp(&order(b)));
        match size(&files) {
            bytes if bytes < own_bundle_bytes => small.push(files),
            _ => bundles.extend(split(files, bundle_bytes)),
        }
    }
    let total: u64 = small.iter().map(|files| size(files)).sum();
    // Of equal size rather than full ones and a rest: no bundle is needlessly small.
    let fair = total.div_ceil(total.div_ceil(bundle_bytes).max(1));
    for files in small {
        shared.add(files, fair);
    }
    bundles.extend(shared.finish());
    bundles.sort_by(|a, b| order(&a[0]).cmp(&order(&b[0])));
    bundles
}

fn order(live: &LiveFile) -> (&str, &str, jiff::civil::Date, i64, &str) {
    let file = &live.file;
    (&file.tenants.min, &file.event_types.min, file.dates.min, file.ts.min, &file.path)
}

fn size(files: &[LiveFile]) -> u64 {
    files.iter().map(|live| live.file.size_bytes).sum()
}

/// One tenant's files in order, cut where the next would make a bundle too large.
fn split(files: Vec<LiveFile>, bundle_bytes: u64) -> Vec<Vec<LiveFile>> {
    let mut parts: Vec<Vec<LiveFile>> = Vec::new();
    let mut open_bytes = u64::MAX;
    for live in files {
        let bytes = live.file.size_bytes;
        // A cell's files must stay together: its rows are one sorted run.
        let same_cell = |other: &LiveFile| other.file.partition() == live.file.partition();
        let fits = open_bytes.saturating_add(bytes) <= bundle_bytes;
        match parts.last_mut() {
            Some(part) if fits || part.last().is_some_and(same_cell) => {
                part.push(live);
                open_bytes = open_bytes.saturating_add(bytes);
            }
            _ => {
                parts.push(vec![live]);
                open_bytes = bytes;
            }
        }
    }
    parts
}

#[derive(Default)]
struct Shared {
    full: Vec<Vec<LiveFile>>,
    open: Vec<LiveFile>,
}

impl Shared {
    fn add(&mut self, files: Vec<LiveFile>, fair_bytes: u64) {
        let bytes = size(&self.open);
        // The nearer border: before this tenant or after it.
        if bytes > 0 && bytes + size(&files) / 2 > fair_bytes {
            self.full.push(std::mem::take(&mut self.open));
        }
        self.open.extend(files);
    }

    fn finish(mut self) -> Vec<Vec<LiveFile>> {
        if !self.open.is_empty() {
            self.full.push(self.open);
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataFile, KeyRange, StorageClass};

    fn file(tenant: &str, day: i8, size_bytes: u64) -> LiveFile {
        LiveFile {
            leaf: "leaf".into(),
            position: 0,
            file: DataFile {
                path: format!("events/{tenant}/{day}"),
                tenants: KeyRange::one(tenant.to_owned()),
                event_types: KeyRange::one("login".to_owned()),
                dates: KeyRange::one(jiff::civil::date(2026, 8, day)),
                ts: KeyRange::one(0),
                rows: 1,
                size_bytes,
                footer_bytes: 100,
                schema_id: 1,
                storage_class: StorageClass::Standard,
                class_since: None,
                pack: None,
            },
        }
    }

    fn sizes(bundles: &[Vec<LiveFile>]) -> Vec<(String, u64)> {
        bundles.iter().map(|files| (files[0].file.tenants.min.clone(), size(files))).collect()
    }

    #[test]
    fn small_tenants_share_as_few_bundles_as_the_size_allows() {
        let files: Vec<_> =
            (0..100).flat_map(|tenant| (1..=3).map(move |day| file(&format!("t{tenant:02}"), day, 1))).collect();
        assert_eq!(sizes(&bundles(files.clone(), 128, 512)), [("t00".to_owned(), 300)]);
        let cut = bundles(files, 30, 100);
        assert_eq!(cut.len(), 3);
        assert!(cut.iter().all(|bundle| (95..=105).contains(&size(bundle))), "{:?}", sizes(&cut));
        let ends = |bundle: &Vec<LiveFile>| {
            (bundle[0].file.tenants.min.clone(), bundle.last().unwrap().file.tenants.min.clone())
        };
        let all: Vec<_> = cut.iter().map(ends).collect();
        assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].0), "no tenant lies in two bundles: {all:?}");
    }

    #[test]
    fn a_large_tenant_has_its_own_and_a_huge_one_is_split() {
        let mut files = vec![file("a", 1, 10), file("c", 1, 10), file("b", 1, 200)];
        files.extend((1..=6).map(|day| file("h", day, 200)));
        assert_eq!(
            sizes(&bundles(files, 128, 512)),
            [("a", 20), ("b", 200), ("h", 400), ("h", 400), ("h", 400)].map(|(t, s)| (t.to_owned(), s))
        );
    }
}
