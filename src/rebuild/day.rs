//! The files of one day's cells: what they were made of goes, and what repeats others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::Run;
use super::choose::{NameDigest, Shared, Sharer, repeated, superfluous};
use super::files::{Item, Looked, look_at_cell_file};
use super::ids::{self, CellIds, Compared, Wanted};
use super::month::{Month, name_overlaps};
use super::packs::digest;
use super::report::ProblemKind;
use crate::catalog::NewFile;
use crate::data::footer_facts::IdRange;
use crate::data::id_bounds::IdBounds;
use crate::error::Result;
use crate::model::{ObjectState, Partition};
use crate::store::Layout;

/// Footers read side by side.
const LOOKS_IN_FLIGHT: usize = 64;

/// Marks the number of a bundle among those of a day's files.
pub const BUNDLE: u32 = 1 << 31;

/// The number that stands for any file that is no bundle.
pub const OTHER_FILES: u32 = BUNDLE - 1;

/// A day's files, oldest first.
pub struct Day {
    items: Vec<Item>,
}

impl Day {
    /// Finds the day's files and hands them to the run.
    pub async fn rebuild(run: &mut Run<'_>, month: &mut Month, folder: &str) -> Result<()> {
        let mut day = Day { items: find(run, month, folder).await? };
        day.leave_out_replaced(run, month);
        let compared = day.compare(run, month).await?;
        let path = |number: u32| day.item(month, number).file.path.clone();
        let doubts: Vec<(String, String)> = compared.perhaps.iter().map(|(a, b)| (path(*a), path(*b))).collect();
        day.leave_out_repeated(run, month, &compared);
        day.name_doubtful(run, month, &doubts);
        let kept = day.items.iter().map(|item| (NewFile { file: item.file.clone(), audit: item.audit() }, item));
        run.add(folder, kept.collect()).await
    }

    /// What a bundle or a merged file was made of goes; so does what was made twice.
    fn leave_out_replaced(&mut self, run: &mut Run<'_>, month: &Month) {
        let name = |item: &Item| digest(item.name());
        let listed: HashSet<NameDigest> = self.items.iter().map(name).collect();
        let made = self.items.iter().map(|item| item.replaces.as_slice());
        let twice = superfluous(made, |name| month.made_of.contains(name), |name| listed.contains(name));
        let stays = |index: &usize| !twice.contains(index);
        let outputs = self.items.iter().enumerate().filter(|(index, _)| stays(index));
        let replaced: HashSet<NameDigest> = outputs.flat_map(|(_, item)| item.replaces.iter().copied()).collect();
        let mut index = 0;
        self.items.retain(|item| {
            let is_twice = twice.contains(&index);
            index += 1;
            let is_replaced = replaced.contains(&name(item)) || month.made_of.contains(&name(item));
            let left_out = &mut run.report.left_out;
            match (is_replaced, is_twice) {
                (true, _) => left_out.replaced.add(item.file.size_bytes),
                (false, true) => left_out.repeated.add(item.file.size_bytes),
                (false, false) => {}
            }
            !is_replaced && !is_twice
        });
    }

    /// Reads the ids of what shares a cell.
    async fn compare(&self, run: &Run<'_>, month: &Month) -> Result<Compared> {
        let mut cells: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
        for (number, item) in (0..).zip(&self.items) {
            cells.entry(item.file.partition().expect("a cell's file")).or_default().push(number);
        }
        cells.retain(|cell, files| self.may_share(files, month.bundled(cell)));
        let bounds = self.bounds(run, month, &cells).await?;
        let mut wanted: BTreeMap<u32, Vec<CellIds>> = BTreeMap::new();
        for (cell, files) in &cells {
            for (number, rows) in self.members(files, month.bundled(cell)) {
                let item = self.item(month, number);
                if !item.is_readable {
                    continue;
                }
                let out_of_reach = match is_in_doubt(run, month, item) {
                    true => bounds.get(cell).cloned().unwrap_or_default(),
                    false => Vec::new(),
                };
                wanted.entry(number).or_default().push(CellIds { cell: cell.clone(), rows, out_of_reach });
            }
        }
        let wanted = wanted.into_iter().map(|(number, mut cells)| {
            cells.sort_by_key(|run| run.rows.start);
            Wanted { number, file: self.item(month, number).file.clone(), cells }
        });
        ids::compare(run.ctx, wanted.collect()).await
    }

    /// Whether files of a cell may have an event in common.
    fn may_share(&self, files: &[u32], bundled: &[(u32, Range<u64>)]) -> bool {
        if !bundled.is_empty() {
            return true;
        }
        let mut ranges: Vec<_> = files.iter().map(|number| &self.items[*number as usize].ids).collect();
        ranges.sort_by(|a, b| a.min.cmp(&b.min));
        let mut last = None;
        ranges.into_iter().any(|ids| {
            let is_shared = last.is_some_and(|last: &IdRange| last.overlaps(ids));
            last = Some(last.filter(|last| last.max > ids.max).unwrap_or(ids));
            is_shared
        })
    }

    /// The files of a cell and the rows of it in bundles, by number.
    fn members(&self, files: &[u32], bundled: &[(u32, Range<u64>)]) -> Vec<(u32, Range<u64>)> {
        let files = files.iter().map(|number| (*number, 0..self.items[*number as usize].file.rows));
        files.chain(bundled.iter().map(|(number, rows)| (number | BUNDLE, rows.clone()))).collect()
    }

    fn item<'a>(&'a self, month: &'a Month, number: u32) -> &'a Item {
        match number & BUNDLE {
            0 => &self.items[number as usize],
            _ => &month.bundles[(number & !BUNDLE) as usize],
        }
    }

    /// Of each cell what is known of its ids in files that cannot be read. Each footer is read once.
    async fn bounds(
        &self,
        run: &Run<'_>,
        month: &Month,
        cells: &BTreeMap<Partition, Vec<u32>>,
    ) -> Result<HashMap<Partition, Vec<(u32, Arc<IdBounds>)>>> {
        let mut by_file: BTreeMap<u32, Vec<(&Partition, Range<u64>)>> = BTreeMap::new();
        for (cell, files) in cells {
            let members = self.members(files, month.bundled(cell));
            let doubtful = |(number, _): &(u32, Range<u64>)| {
                let item = self.item(month, *number);
                item.is_readable && is_in_doubt(run, month, item)
            };
            if !members.iter().any(doubtful) {
                continue;
            }
            for (number, rows) in members.into_iter().filter(|(number, _)| !self.item(month, *number).is_readable) {
                by_file.entry(number).or_default().push((cell, rows));
            }
        }
        let mut known: HashMap<Partition, Vec<(u32, Arc<IdBounds>)>> = HashMap::new();
        for (number, runs) in by_file {
            let rows: Vec<Range<u64>> = runs.iter().map(|(_, rows)| rows.clone()).collect();
            let bounds = ids::bounds(run.ctx, &self.item(month, number).file, &rows).await?;
            for ((cell, _), bounds) in runs.into_iter().zip(bounds) {
                known.entry(cell.clone()).or_default().push((number, bounds));
            }
        }
        Ok(known)
    }

    /// A file goes when all of its events are in others. Bundles are decided about at the end of the month.
    fn leave_out_repeated(&mut self, run: &mut Run<'_>, month: &mut Month, compared: &Compared) {
        let mut files: BTreeMap<u32, Sharer> = BTreeMap::new();
        for number in compared.shared.keys().flatten() {
            let item = self.item(month, *number);
            let is_bundle = number & BUNDLE != 0;
            let may_cover = !is_bundle || item.file.pack.is_some();
            files.insert(*number, Sharer { rows: item.file.rows, may_go: !is_bundle, may_cover });
        }
        let order: Vec<u32> = files.keys().filter(|number| *number & BUNDLE == 0).copied().collect();
        let goes = repeated(&files, &order, &compared.shared);
        let mut left: Shared = Shared::new();
        for (set, events) in &compared.shared {
            let stay: BTreeSet<u32> = set.iter().filter(|number| !goes.contains(number)).copied().collect();
            if stay.len() < 2 {
                continue;
            }
            // What only bundles share, or one without a pack, is decided with all of the month's days.
            let waits = |number: &u32| *number & BUNDLE != 0 && !files[number].may_cover;
            let is_decided_later = stay.iter().all(|number| number & BUNDLE != 0) || stay.iter().any(waits);
            match is_decided_later {
                true => {
                    let as_one = |number: u32| if number & BUNDLE == 0 { OTHER_FILES } else { number };
                    let set: BTreeSet<u32> = stay.into_iter().map(as_one).collect();
                    *month.shared.entry(set.into_iter().collect()).or_default() += events;
                }
                false => *left.entry(stay.into_iter().collect()).or_default() += events,
            }
        }
        name_overlaps(run, &left, &goes, |number| self.item(month, *number).file.path.clone());
        let mut number = 0;
        self.items.retain(|item| {
            let is_gone = goes.contains(&number);
            number += 1;
            if is_gone {
                run.report.left_out.repeated.add(item.file.size_bytes);
            }
            !is_gone
        });
    }

    /// Names the files whose events may be in one that cannot be read.
    fn name_doubtful(&self, run: &mut Run<'_>, month: &Month, doubts: &[(String, String)]) {
        let stays: HashSet<&str> =
            self.items.iter().chain(&month.bundles).map(|item| item.file.path.as_str()).collect();
        for (file, other) in doubts {
            if stays.contains(file.as_str()) {
                let what = format!("its events may be those in {other}, which cannot be read now");
                run.report.problem(ProblemKind::Undecided, file, what);
            }
        }
    }
}

/// Whether nothing says that a commit named the file: then its events may be anywhere else too.
fn is_in_doubt(run: &Run<'_>, month: &Month, item: &Item) -> bool {
    if run.keeps(&item.file.path) {
        return false;
    }
    if item.file.is_bundle() {
        return !item.has_record;
    }
    let is_committed = item.file.storage_class.is_archived() || run.packs.runs.contains(Layout::run_of(item.name()));
    // What it was made of is also in a bundle: it cannot be part of the archive together with that.
    !is_committed || item.replaces.iter().any(|name| month.made_of.contains(name))
}

async fn find(run: &mut Run<'_>, month: &Month, folder: &str) -> Result<Vec<Item>> {
    let (ctx, parts) = (run.ctx, &month.parts);
    let objects: Vec<(ObjectState, Partition)> = run
        .list(folder)
        .await?
        .into_iter()
        .filter_map(|object| Some((object.clone(), cell_of(&object.path)?)))
        .collect();
    let looks = objects.into_iter().map(|(object, cell)| async move {
        let looked: Looked = look_at_cell_file(ctx, parts, &object, &cell).await?;
        Ok::<_, crate::error::Error>((object, looked))
    });
    let mut looks = futures::stream::iter(looks).buffer_unordered(LOOKS_IN_FLIGHT);
    let mut items = Vec::new();
    while let Some((object, looked)) = looks.try_next().await? {
        items.extend(run.looked(&object, looked).map(|item| *item));
    }
    items.sort_by(|a, b| (a.modified, &a.file.path).cmp(&(b.modified, &b.file.path)));
    Ok(items)
}

/// The cell in a data file's path.
pub fn cell_of(path: &str) -> Option<Partition> {
    let (folder, _) = path.strip_prefix(Layout::EVENTS)?.strip_prefix('/')?.rsplit_once('/')?;
    Partition::parse_folder(folder)
}
