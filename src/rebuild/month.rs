//! One month: its bundles, then its days one at a time. What lies in one month shares no event with another.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;

use super::Run;
use super::choose::{NameDigest, Shared, Sharer, repeated, superfluous};
use super::day::{BUNDLE, Day, OTHER_FILES};
use super::files::{Item, Looked, look_at_bundle};
use super::ids::{self, CellIds, Wanted};
use super::packs::MonthParts;
use super::report::ProblemKind;
use crate::catalog::NewFile;
use crate::context::Context as Ctx;
use crate::data::pack::{CellRows, PackBuilder, Packed};
use crate::error::Result;
use crate::model::{ObjectState, Partition, short_digest};
use crate::store::Layout;

/// Bundles looked at side by side; each has a list of cells.
const LOOKS_IN_FLIGHT: usize = 8;

/// What the days of a month need to know of its bundles.
pub struct Month {
    pub parts: MonthParts,
    pub bundles: Vec<Item>,
    /// What the bundles were made of.
    pub made_of: HashSet<NameDigest>,
    /// Of each cell its rows in bundles.
    cells: HashMap<[u8; 16], Vec<Bundled>>,
    /// Cells whose rows in bundles were compared with those of their files.
    pub compared: HashSet<[u8; 16]>,
    /// Events that bundles share with each other, or with [`OTHER_FILES`].
    pub shared: Shared,
}

/// The rows of a cell in a bundle.
#[derive(Debug, Clone)]
pub struct Bundled {
    /// The bundle's place in the month.
    pub number: u32,
    pub rows: Range<u64>,
    /// The files that they come from; empty where nothing says it.
    pub made_of: Vec<NameDigest>,
}

/// The folders of a month.
#[derive(Debug, Default)]
pub struct Folders {
    pub days: Vec<String>,
    pub bundles: Option<String>,
}

/// Finds the month's files and hands them to the run.
pub async fn rebuild(run: &mut Run<'_>, month: Date, folders: &Folders) -> Result<()> {
    let parts = run.packs.of_month(month)?;
    let mut this = Month {
        parts,
        bundles: Vec::new(),
        made_of: HashSet::new(),
        cells: HashMap::new(),
        compared: HashSet::new(),
        shared: Shared::new(),
    };
    if let Some(folder) = &folders.bundles {
        this.find_bundles(run, month, folder, &folders.days).await?;
    }
    for folder in &folders.days {
        run.ctx.stop.check()?;
        Day::rebuild(run, &mut this, folder).await?;
    }
    match &folders.bundles {
        Some(folder) => this.finish(run, folder).await,
        None => Ok(()),
    }
}

impl Month {
    /// The rows of this cell in each bundle.
    pub fn bundled(&self, cell: &Partition) -> &[Bundled] {
        self.cells.get(&short_digest(&cell.folder())).map_or(&[], Vec::as_slice)
    }

    async fn find_bundles(&mut self, run: &mut Run<'_>, month: Date, folder: &str, days: &[String]) -> Result<()> {
        let (ctx, parts) = (run.ctx, &self.parts);
        let objects = run.list(folder).await?;
        let looks = objects.into_iter().map(|object| async move {
            let looked = look_at_bundle(ctx, parts, &object, month).await?;
            Ok::<_, crate::error::Error>((object, looked))
        });
        let mut looks = futures::stream::iter(looks).buffered(LOOKS_IN_FLIGHT);
        let mut items = Vec::new();
        while let Some((object, looked)) = looks.try_next().await? {
            items.extend(run.looked(&object, looked));
        }
        drop(looks);
        items.sort_by(|a, b| (a.modified, &a.file.path).cmp(&(b.modified, &b.file.path)));
        let mut seen = HashSet::new();
        let is_any_shared = items.iter().flat_map(|item| &item.replaces).any(|name| !seen.insert(*name));
        let listed = if is_any_shared { names_below(ctx, days).await? } else { HashSet::new() };
        let names = items.iter().map(|item| item.replaces.as_slice());
        let goes = superfluous(names, |_| false, |name| listed.contains(name), |_| false);
        let mut kept: Vec<Box<Item>> = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match goes.contains(&index) {
                true => run.report.left_out.repeated.add(item.file.size_bytes),
                false => kept.push(item),
            }
        }
        if is_any_shared {
            doubt_shared(run, &mut kept);
        }
        for mut item in kept {
            let number = self.bundles.len() as u32;
            let mut made_of = std::mem::take(&mut item.made_of).into_iter();
            for cell in &item.cells {
                let rows = cell.first_row..cell.first_row + cell.rows;
                let bundled = Bundled { number, rows, made_of: made_of.next().unwrap_or_default() };
                self.cells.entry(short_digest(&cell.cell.folder())).or_default().push(bundled);
            }
            self.made_of.extend(&item.replaces);
            // Of the others what they were made of is known: no two of them share an event.
            if item.has_record {
                item.cells = Vec::new();
            }
            self.bundles.push(*item);
        }
        Ok(())
    }

    /// Compares what only bundles have, where one of them does not say what it was made of.
    async fn compare_bundles(&mut self, run: &mut Run<'_>) -> Result<()> {
        let mut wanted: BTreeMap<u32, Vec<CellIds>> = BTreeMap::new();
        for doubtful in self.bundles.iter().filter(|bundle| bundle.is_readable) {
            for CellRows { cell, .. } in &doubtful.cells {
                let members = self.bundled(cell).to_vec();
                if members.len() < 2 || !self.compared.insert(short_digest(&cell.folder())) {
                    continue;
                }
                let (readable, other): (Vec<_>, Vec<_>) =
                    members.into_iter().partition(|of| self.bundles[of.number as usize].is_readable);
                let mut out_of_reach = Vec::new();
                for Bundled { number, rows, .. } in other {
                    let file = &self.bundles[number as usize].file;
                    let bounds = ids::bounds(run.ctx, file, std::slice::from_ref(&rows)).await?;
                    out_of_reach.extend(bounds.into_iter().map(|bounds| (number, bounds)));
                }
                for Bundled { number, rows, .. } in readable {
                    let is_doubtful = !self.bundles[number as usize].has_record;
                    let out_of_reach = if is_doubtful { out_of_reach.clone() } else { Vec::new() };
                    wanted.entry(number).or_default().push(CellIds { cell: cell.clone(), rows, out_of_reach });
                }
            }
        }
        let wanted = wanted.into_iter().map(|(number, mut cells)| {
            cells.sort_by_key(|run| run.rows.start);
            Wanted { number, file: self.bundles[number as usize].file.clone(), cells }
        });
        let compared = ids::compare(run.ctx, wanted.collect()).await?;
        for (set, events) in compared.shared {
            *self.shared.entry(set.into_iter().map(|number| number | BUNDLE).collect()).or_default() += events;
        }
        for (number, other) in compared.perhaps {
            let path = |number: u32| &self.bundles[number as usize].file.path;
            let what = format!("its events may be those in {}, which cannot be read now", path(other));
            run.report.problem(ProblemKind::Undecided, path(number), what);
        }
        Ok(())
    }

    /// Decides about bundles that share events, and hands the others on.
    async fn finish(mut self, run: &mut Run<'_>, folder: &str) -> Result<()> {
        self.compare_bundles(run).await?;
        let mut files: BTreeMap<u32, Sharer> = BTreeMap::new();
        for number in self.shared.keys().flatten() {
            let sharer = match number {
                &OTHER_FILES => Sharer { rows: u64::MAX, may_go: false },
                number => Sharer { rows: self.bundles[(number & !BUNDLE) as usize].file.rows, may_go: true },
            };
            files.insert(*number, sharer);
        }
        let mut order: Vec<u32> = files.keys().copied().collect();
        // Those without a pack first: their run was killed before it wrote one.
        let has_pack =
            |number: &u32| *number == OTHER_FILES || self.bundles[(number & !BUNDLE) as usize].file.pack.is_some();
        order.sort_by_key(|number| (has_pack(number), *number));
        let goes = repeated(&files, &order, &self.shared);
        let path = |number: &u32| match number {
            &OTHER_FILES => "files of its cells".to_owned(),
            number => self.bundles[(number & !BUNDLE) as usize].file.path.clone(),
        };
        name_overlaps(run, &self.shared, &goes, path);
        let mut kept = Vec::new();
        for (number, bundle) in (0..).zip(&self.bundles) {
            if goes.contains(&(number | BUNDLE)) {
                run.report.left_out.repeated.add(bundle.file.size_bytes);
                continue;
            }
            let mut new = NewFile { file: bundle.file.clone(), audit: bundle.audit() };
            if bundle.file.pack.is_none() && run.writes() {
                new.file.pack = Some(pack(run, bundle).await?);
            }
            kept.push((new, bundle));
        }
        run.add(folder, kept).await
    }
}

/// Bundles that were made of the same file, though neither can go: what they were made of proves nothing then.
fn doubt_shared(run: &mut Run<'_>, bundles: &mut [Box<Item>]) {
    let mut first_with: HashMap<NameDigest, usize> = HashMap::new();
    let mut pairs = BTreeSet::new();
    for (index, bundle) in bundles.iter().enumerate() {
        for name in &bundle.replaces {
            let first = *first_with.entry(*name).or_insert(index);
            if first != index {
                pairs.insert((first, index));
            }
        }
    }
    for (first, second) in pairs {
        let (one, two) = (&bundles[first], &bundles[second]);
        if !one.is_readable || !two.is_readable {
            let other = if one.is_readable { &one.file.path } else { &two.file.path };
            let path = if one.is_readable { &two.file.path } else { &one.file.path };
            let what = format!("it cannot be read now, and was made of a file that {other} was made of too");
            run.report.problem(ProblemKind::Undecided, path, what);
        }
        bundles[first].has_record = false;
        bundles[second].has_record = false;
    }
}

/// Names the pairs of files that still share events.
pub fn name_overlaps(run: &mut Run<'_>, shared: &Shared, goes: &BTreeSet<u32>, path: impl Fn(&u32) -> String) {
    let mut pairs: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for (set, events) in shared {
        let stay: Vec<u32> = set.iter().filter(|number| !goes.contains(number)).copied().collect();
        for (at, first) in stay.iter().enumerate() {
            for second in &stay[at + 1..] {
                *pairs.entry((*first, *second)).or_default() += events;
            }
        }
    }
    for ((first, second), events) in pairs {
        let what = format!("{events} of its events, and not all, are in {} too", path(&second));
        run.report.problem(ProblemKind::Overlap, &path(&first), what);
    }
}

/// Writes a pack for a bundle that has none.
async fn pack(run: &mut Run<'_>, bundle: &Item) -> Result<crate::model::PackRef> {
    let mut builder = PackBuilder::new(run.next_pack());
    let length = u64::from(bundle.file.footer_bytes);
    let footer = run.ctx.store.get_suffix(&bundle.file.path, bundle.file.size_bytes, length).await?;
    let part = builder.add(&Packed { cells: bundle.cells.clone(), footer, replaces: Vec::new() })?;
    builder.write(&run.ctx.store).await?;
    Ok(part)
}

/// The names of all files below some folders.
async fn names_below(ctx: &Ctx, folders: &[String]) -> Result<HashSet<NameDigest>> {
    let mut names = HashSet::new();
    for folder in folders {
        let listed: Vec<ObjectState> = ctx.store.classes().list(folder).await?;
        names.extend(listed.iter().filter_map(|object| Layout::name(&object.path)).map(short_digest));
    }
    Ok(names)
}

impl Run<'_> {
    /// What a look made of an object, unless that is a problem.
    pub fn looked(&mut self, object: &ObjectState, looked: Looked) -> Option<Box<Item>> {
        match looked {
            Looked::Item(mut item) => {
                self.columns.share(&mut item.columns);
                Some(item)
            }
            Looked::Problem(kind, what) => {
                self.report.problem(kind, &object.path, what);
                None
            }
        }
    }
}
