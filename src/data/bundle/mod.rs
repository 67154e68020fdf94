//! The re-layout of a month: the files of many cells become one bundle.
//!
//! A bundle is a Parquet file with the keys inside, sorted by (tenant_id, event_type, date, ts, event_id). Its row groups
//! are aligned to tenants that are large enough to have one of their own; small tenants share some, and the page index
//! narrows within.
//!
//! # Flow
//! [`sources`] fetches the cells' files ahead; the files of a cell are merged; [`mod@write`] encodes into a local temporary
//! file. That is read back: its bytes must be those written, and [`verify`] decodes them and compares every row with what
//! was read from the cells. Putting it on the store is the caller's.
//!
//! # Crash
//! Nothing is on the store yet, and the temporary file is gone with the process.

pub(super) mod digest;
pub(super) mod sources;
mod verify;
mod write;

pub use self::write::BUNDLE_KEY;

use std::collections::HashMap;

use bytes::Bytes;
use jiff::civil::Date;

use self::digest::RowDigests;
use self::verify::WrittenCell;
use super::encode::Target;
use super::footer::{self, Hashing};
use super::pack::Packed;
use super::threads;
use crate::catalog::{Covered, FileAudit, NewFile};
use crate::error::{Context, Error, Result};
use crate::model::{DataFile, KeyRange, Partition, Schema, StorageClass};
use crate::store::{Layout, Store, TempFile};

/// Key columns in front of those of a cell's file.
const KEYS: usize = 3;

/// What a bundle is made of.
#[derive(Debug, Clone)]
pub struct BundlePlan<'a> {
    /// Its first day.
    pub month: Date,
    pub bucket: usize,
    pub class: StorageClass,
    /// In their order; each with at least one file, all of them readable now.
    pub cells: &'a [(Partition, Vec<DataFile>)],
    /// That of `target.schema_id`.
    pub schema: &'a Schema,
}

/// A bundle on this machine, verified.
#[derive(Debug)]
pub struct BuiltBundle {
    pub file: TempFile,
    /// Where it belongs on the store.
    pub path: String,
    /// `class_since` and `pack` are the caller's to fill in.
    pub new: NewFile,
    pub packed: Packed,
}

/// Builds a bundle in a temporary file. For threads outside the runtime.
pub fn build(plan: &BundlePlan<'_>, target: &Target<'_>) -> Result<BuiltBundle> {
    let phrase = || format!("bundle {} cells of {}", plan.cells.len(), plan.month.strftime("%Y-%m"));
    let digests = RowDigests::default();
    let draft = write::write(plan, target, &digests).with_context(phrase)?;
    finish(plan, target, draft, &digests).with_context(phrase)
}

/// A bundle that is written but not verified.
#[derive(Debug)]
struct Draft {
    file: TempFile,
    /// Where it belongs on the store.
    path: String,
    sha256: String,
    cells: Vec<WrittenCell>,
    ids: KeyRange<String>,
}

fn finish(plan: &BundlePlan<'_>, target: &Target<'_>, draft: Draft, digests: &RowDigests) -> Result<BuiltBundle> {
    let Draft { file, path, sha256, cells, ids } = draft;
    let decode = || {
        let rows = cells.iter().map(|cell| cell.rows.rows).sum();
        let footer = footer_of_draft(&file, rows).context("read its footer back")?;
        verify::verify(&file, &cells, digests).context("verify it")?;
        Ok::<_, Error>(footer)
    };
    let (on_disk, decoded) = std::thread::scope(|scope| {
        let on_disk = scope.spawn(|| sha256_of(&file));
        let decoded = decode();
        (threads::outcome(on_disk.join()), decoded)
    });
    // Bytes that changed are the cause of whatever they decode to.
    if on_disk.context("read it back")? != sha256 {
        return Err(verify::differs("its bytes changed on the disk"));
    }
    let footer = decoded?;
    let covered = Covered::all(cells.iter().map(|cell| Covered::from(&cell.rows)));
    let Covered { tenants, event_types, dates, ts, rows } = covered.expect("a bundle has cells");
    let data_file = DataFile {
        path: path.clone(),
        tenants: tenants.to_text(),
        event_types: event_types.to_text(),
        dates,
        ts,
        rows,
        size_bytes: file.size_bytes(),
        footer_bytes: footer.len() as u32,
        schema_id: target.schema_id,
        storage_class: plan.class,
        class_since: None,
        pack: None,
    };
    let audit = FileAudit { sha256, min_event_id: ids.min, max_event_id: ids.max };
    let files: HashMap<&Partition, &Vec<DataFile>> = plan.cells.iter().map(|(cell, files)| (cell, files)).collect();
    let names = |cell: &WrittenCell| -> Vec<String> {
        let files = files.get(&cell.rows.cell).into_iter().copied().flatten();
        files.filter_map(|file| Layout::name(&file.path)).map(str::to_owned).collect()
    };
    let replaces = cells.iter().map(names).collect();
    let packed = Packed { cells: cells.into_iter().map(|cell| cell.rows).collect(), footer, replaces };
    Ok(BuiltBundle { file, path, new: NewFile { file: data_file, audit }, packed })
}

pub(super) fn sha256_of(file: &TempFile) -> Result<String> {
    let mut sink = Hashing::new(std::io::sink());
    std::io::copy(&mut file.reader(), &mut sink).context("read a temporary file")?;
    Ok(sink.finish().1)
}

/// The file's end as it is to be packed.
pub(super) fn footer_of_draft(file: &TempFile, rows: u64) -> Result<Bytes> {
    let size_bytes = file.size_bytes();
    let suffix = |length: u64| file.bytes(size_bytes - length, length as usize).context("read a temporary file");
    let footer_bytes = footer::read_back(size_bytes, rows, suffix)?;
    suffix(u64::from(footer_bytes))
}

/// What is to be packed of a cell's file that is archived where it lies.
pub async fn footer_of(store: &Store, file: &DataFile) -> Result<Packed> {
    let phrase = || format!("read the footer of {}", store.address(&file.path));
    let length = u64::from(file.footer_bytes);
    let footer = store.get_suffix(&file.path, file.size_bytes, length).await.with_context(phrase)?;
    if footer.len() as u64 != length {
        return Err(Error::failed("the file is shorter than the catalog says").code("corrupt-file"))
            .with_context(phrase);
    }
    footer::decode(&footer, file.rows).with_context(phrase)?;
    Ok(Packed { cells: Vec::new(), footer, replaces: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::AtomicUsize;

    use super::super::encode::CellWriter;
    use super::super::row::{self, RowWriter};
    use super::super::typed::Typed;
    use super::*;
    use crate::model::{Key, micros_of_timestamp};

    fn cell(tenant: &str) -> Partition {
        let key = |text| Key::parse(text).unwrap();
        Partition { tenant_id: key(tenant), event_type: key("login"), date: Date::constant(2026, 8, 24) }
    }

    fn write_cell(cell: &Partition, rows: u64, target: &Target<'_>) -> Vec<DataFile> {
        let typed = Typed::new(&Schema::default());
        let noon = micros_of_timestamp("2026-08-24T12:00:00Z".parse().unwrap());
        let mut bytes = RowWriter::default();
        for row in 0..rows {
            bytes.end(row, noon + row as i64, &format!("{}-{row:04}", cell.tenant_id));
        }
        let mut writer = CellWriter::new(cell, &typed, rows, target);
        writer.write(&row::rows(&bytes.take()).collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap().into_iter().map(|new| new.file).collect()
    }

    /// What is said of a draft of two cells after `spoil`; empty when it is accepted.
    fn verdict(spoil: impl FnOnce(&mut Draft)) -> String {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (store, layout) = (Store::memory(), Layout::for_run(0, "0123456789abcdef"));
        let (runtime, next_file) = (runtime.handle().clone(), &AtomicUsize::new(0));
        let target = Target { store: &store, layout: &layout, runtime, next_file, schema_id: 1 };
        let cells: Vec<_> = [("a", 3), ("b", 500)]
            .map(|(tenant, rows)| (cell(tenant), write_cell(&cell(tenant), rows, &target)))
            .into();
        let (month, schema) = (Date::constant(2026, 8, 1), &Schema::default());
        let plan = BundlePlan { month, bucket: 0, class: StorageClass::DeepArchive, cells: &cells, schema };
        let digests = RowDigests::default();
        let mut draft = write::write(&plan, &target, &digests).unwrap();
        spoil(&mut draft);
        match finish(&plan, &target, draft, &digests) {
            Ok(_) => String::new(),
            Err(error) => format!("{error}: {}", error.causes().join(": ")),
        }
    }

    #[test]
    fn a_bundle_that_is_not_what_was_read_is_never_handed_out() {
        assert_eq!(verdict(|_| {}), "");
        // Of other bytes: a draft is complete and not written to.
        let with = |draft: &mut Draft, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = draft.file.whole().unwrap().to_vec();
            change(&mut bytes);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            draft.file = TempFile::new(file).unwrap();
        };
        for part in 1..20 {
            let spoilt = verdict(|draft| {
                with(draft, &|bytes| {
                    let at = bytes.len() * part / 20;
                    bytes[at] ^= 1;
                });
            });
            assert!(spoilt.contains("its bytes changed on the disk"), "part {part}: {spoilt}");
        }
        let cut = verdict(|draft| with(draft, &|bytes| bytes.truncate(bytes.len() / 2)));
        assert!(cut.contains("its bytes changed on the disk"), "{cut}");
        let other_content = verdict(|draft| draft.cells[1].digest = draft.cells[0].digest);
        assert!(other_content.contains("tenant_id=b have other content"), "{other_content}");
        let other_keys = verdict(|draft| draft.cells[1].rows.cell = cell("c"));
        assert!(other_keys.contains("rows of another cell lie in"), "{other_keys}");
        let moved = verdict(|draft| {
            draft.cells[0].rows.rows += 1;
            draft.cells[1].rows.rows -= 1;
        });
        assert!(moved.contains("rows of another cell lie in"), "{moved}");
        let lost = verdict(|draft| drop(draft.cells.pop()));
        assert!(lost.contains("the footer is not what was written"), "{lost}");
        let other_times = verdict(|draft| draft.cells[0].rows.ts.max += 1);
        assert!(other_times.contains("tenant_id=a have other times"), "{other_times}");
    }
}
