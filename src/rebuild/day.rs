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
use super::report::ProblemKind;
use crate::catalog::NewFile;
use crate::data::id_bounds::IdBounds;
use crate::error::Result;
use crate::model::{ObjectState, Partition, short_digest};
use crate::store::Layout;

/// Footers read side by side.
const LOOKS_IN_FLIGHT: usize = 64;

/// Marks the number of a bundle among those of a day's files.
pub const BUNDLE: u32 = 1 << 31;

/// The number that stands for any file that is no bundle.
pub const OTHER_FILES: u32 = BUNDLE - 1;

/// What is known of a cell's ids in files that cannot be read, by their numbers.
type OutOfReach = Vec<(u32, Arc<IdBounds>)>;

/// Rows of a cell: a file of its own, or a part of a bundle.
struct Member {
    number: u32,
    rows: Range<u64>,
    made_of: Vec<NameDigest>,
}

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
        let name = |item: &Item| short_digest(item.name());
        let listed: HashSet<NameDigest> = self.items.iter().map(name).collect();
        let made = self.items.iter().map(|item| item.replaces.as_slice());
        let named: HashSet<NameDigest> = self.items.iter().flat_map(|item| item.replaces.iter().copied()).collect();
        let is_named = |index: usize| {
            let name = name(&self.items[index]);
            named.contains(&name) || month.made_of.contains(&name)
        };
        let elsewhere = |name: &NameDigest| month.made_of.contains(name);
        let twice = superfluous(made, elsewhere, |name| listed.contains(name), is_named);
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

    /// Reads the ids of what may share an event.
    async fn compare(&self, run: &Run<'_>, month: &mut Month) -> Result<Compared> {
        let mut cells: BTreeMap<Partition, Vec<Member>> = BTreeMap::new();
        for (number, item) in (0..).zip(&self.items) {
            let cell = item.file.partition().expect("a cell's file");
            cells.entry(cell).or_default().push(Member {
                number,
                rows: 0..item.file.rows,
                made_of: item.replaces.clone(),
            });
        }
        for (cell, members) in &mut cells {
            members.extend(month.bundled(cell).iter().map(|bundled| Member {
                number: bundled.number | BUNDLE,
                rows: bundled.rows.clone(),
                made_of: bundled.made_of.clone(),
            }));
        }
        cells.retain(|_, members| self.may_any_share(month, members));
        let is_bundled = |members: &Vec<Member>| members.iter().any(|member| member.number & BUNDLE != 0);
        let bundled = cells.iter().filter(|(_, members)| is_bundled(members));
        let bundled: Vec<_> = bundled.map(|(cell, _)| short_digest(&cell.folder())).collect();
        month.compared.extend(bundled);
        let bounds = self.bounds(run, month, &cells).await?;
        let mut wanted: BTreeMap<u32, Vec<CellIds>> = BTreeMap::new();
        for (cell, members) in &cells {
            for member in members.iter().filter(|member| self.item(month, member.number).is_readable) {
                let known = bounds.get(cell).into_iter().flatten();
                let doubtful = known.filter(|(other, _)| {
                    let other = members.iter().find(|member| member.number == *other);
                    other.is_some_and(|other| self.is_in_doubt(run, month, member, other))
                });
                let out_of_reach = doubtful.cloned().collect();
                let ids = CellIds { cell: cell.clone(), rows: member.rows.clone(), out_of_reach };
                wanted.entry(member.number).or_default().push(ids);
            }
        }
        let wanted = wanted.into_iter().map(|(number, mut cells)| {
            cells.sort_by_key(|run| run.rows.start);
            Wanted { number, file: self.item(month, number).file.clone(), cells }
        });
        ids::compare(run.ctx, wanted.collect()).await
    }

    /// Whether two of a cell's members may have an event in common.
    fn may_any_share(&self, month: &Month, members: &[Member]) -> bool {
        let pairs =
            members.iter().enumerate().flat_map(|(at, one)| members[at + 1..].iter().map(move |two| (one, two)));
        pairs.into_iter().any(|(one, two)| !self.are_apart(month, one, two))
    }

    /// Whether it is known that the two share no event: by their ids, or because one was compared with the other, or
    /// with all that it was made of, before it was written.
    fn are_apart(&self, month: &Month, one: &Member, two: &Member) -> bool {
        let (first, second) = (self.item(month, one.number), self.item(month, two.number));
        let are_bundles = first.file.is_bundle() && second.file.is_bundle();
        if are_bundles {
            // Of files that were committed together.
            return first.has_record && second.has_record;
        }
        let was_compared = |part: &Vec<NameDigest>, other: &Item, made_of: &[NameDigest]| {
            let with_all = !made_of.is_empty() && made_of.iter().all(|name| part.contains(name));
            with_all || part.contains(&short_digest(other.name()))
        };
        let were_compared = |item: &Item, other: &Item, made_of: &[NameDigest]| {
            !item.beside.is_empty() && item.beside.iter().all(|part| was_compared(part, other, made_of))
        };
        let are_files = !first.file.is_bundle() && !second.file.is_bundle();
        (are_files && !first.ids.overlaps(&second.ids))
            || were_compared(first, second, &two.made_of)
            || were_compared(second, first, &one.made_of)
    }

    /// Whether the one, which can be read, may have events of the other, which cannot, as far as is known without its ids.
    fn is_in_doubt(&self, run: &Run<'_>, month: &Month, one: &Member, other: &Member) -> bool {
        let (item, out_of_reach) = (self.item(month, one.number), self.item(month, other.number));
        if run.keeps(&item.file.path) || self.are_apart(month, one, other) {
            return false;
        }
        if item.file.is_bundle() {
            return !item.has_record;
        }
        // What it was made of is in another file too: it cannot be part of the archive together with that.
        if item.replaces.iter().any(|name| month.made_of.contains(name) || other.made_of.contains(name)) {
            return true;
        }
        // What was moved where it lies, or merged, was committed; so was each run of appends that something was made of.
        let is_committed = match item.replaces.is_empty() {
            true => run.packs.runs.contains(Layout::run_of(item.name())),
            false => !out_of_reach.file.is_bundle(),
        };
        !is_committed && !item.file.storage_class.is_archived()
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
        cells: &BTreeMap<Partition, Vec<Member>>,
    ) -> Result<HashMap<Partition, OutOfReach>> {
        let mut by_file: BTreeMap<u32, Vec<(&Partition, Range<u64>)>> = BTreeMap::new();
        for (cell, members) in cells {
            let (readable, others): (Vec<&Member>, Vec<&Member>) =
                members.iter().partition(|member| self.item(month, member.number).is_readable);
            for other in others {
                if readable.iter().any(|member| self.is_in_doubt(run, month, member, other)) {
                    by_file.entry(other.number).or_default().push((cell, other.rows.clone()));
                }
            }
        }
        let mut known: HashMap<Partition, OutOfReach> = HashMap::new();
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
        let is_bundle = |number: &u32| number & BUNDLE != 0;
        // One without a pack is decided about with all of the month's days; until then nothing goes because of it.
        let waits = |number: &u32| is_bundle(number) && self.item(month, *number).file.pack.is_none();
        let waiting: BTreeSet<u32> = compared.shared.keys().flatten().copied().filter(|number| waits(number)).collect();
        let mut shared = Shared::new();
        for (set, events) in &compared.shared {
            let set: Vec<u32> = set.iter().copied().filter(|number| !waiting.contains(number)).collect();
            if set.len() > 1 {
                *shared.entry(set).or_default() += events;
            }
        }
        let numbers: BTreeSet<u32> = shared.keys().flatten().copied().collect();
        let sharer = |number: &u32| Sharer { rows: self.item(month, *number).file.rows, may_go: !is_bundle(number) };
        let files: BTreeMap<u32, Sharer> = numbers.iter().map(|number| (*number, sharer(number))).collect();
        let order: Vec<u32> = numbers.iter().copied().filter(|number| !is_bundle(number)).collect();
        let goes = repeated(&files, &order, &shared);
        let mut left: Shared = Shared::new();
        for (set, events) in &compared.shared {
            let stay: BTreeSet<u32> = set.iter().filter(|number| !goes.contains(number)).copied().collect();
            if stay.len() < 2 {
                continue;
            }
            let is_decided_later = stay.iter().all(is_bundle) || stay.iter().any(|number| waiting.contains(number));
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
