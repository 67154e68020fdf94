//! Does what a plan says: many groups side by side, one commit for many.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::plan::{Group, Plan};
use crate::catalog::{Change, LiveFile, NewFile, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::data::encode::Target;
use crate::data::pack::{PackBuilder, Packed};
use crate::data::rewrite::{RewritePlan, Rewritten, rewrite};
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, StorageClass};
use crate::progress::{Task, Unit};
use crate::store::Layout;

/// What one commit replaces at most: a kill loses no more work than that.
const GROUPS_PER_COMMIT: usize = 4096;
const BYTES_PER_COMMIT: u64 = 8 << 30;

/// Groups merged at once, and what they may take in memory together.
const GROUPS_IN_FLIGHT: usize = 16;
const MEMORY_MIB: u32 = 256;

/// A group takes this much beside its files: a row group and what is decoded of each file.
const GROUP_OVERHEAD_MIB: u64 = 16;

/// Conflicts after which a batch gives up: each means that somebody replaced some of its files.
const MAX_CONFLICTS: usize = 8;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// The newest version.
    pub version: u64,
    pub commits: u64,
    pub files_before: u64,
    pub files_after: u64,
    pub rows: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Files of groups that another run replaced, moved or put under a hold meanwhile.
    pub given_up: u64,
}

/// Merges the plan's groups. Safe to run twice: files that are gone are left out.
pub async fn apply(ctx: &Ctx, plan: &Plan) -> Result<CompactReport> {
    let mut newest = Snapshot::open(&ctx.store).await?;
    let run = Run {
        ctx,
        layout: Layout::for_run(newest.version(), &ctx.random.id()),
        base_version: newest.version(),
        next_file: Arc::new(AtomicUsize::new(0)),
        memory: Semaphore::new(MEMORY_MIB as usize),
        task: ctx.progress.task("compact", Unit::Bytes, Some(plan.totals.bytes)),
    };
    let mut report = CompactReport::default();
    let mut groups = plan.groups.as_slice();
    while !groups.is_empty() {
        ctx.stop.check()?;
        let (batch, rest) = groups.split_at(batch_length(groups));
        newest = run.batch(newest, batch, &mut report).await?;
        groups = rest;
    }
    report.version = newest.version();
    Ok(report)
}

/// How many of the groups one commit takes; one at least.
fn batch_length(groups: &[Group]) -> usize {
    let mut bytes = 0;
    let fits = groups.iter().take(GROUPS_PER_COMMIT).take_while(|group| {
        bytes += group.bytes();
        bytes <= BYTES_PER_COMMIT
    });
    fits.count().max(1)
}

struct Run<'a> {
    ctx: &'a Ctx,
    layout: Layout,
    base_version: u64,
    next_file: Arc<AtomicUsize>,
    memory: Semaphore,
    task: Arc<dyn Task>,
}

/// A group whose merged file is on the store.
struct Merged<'a> {
    group: &'a Group,
    new: NewFile,
    footer: Option<Packed>,
}

impl Run<'_> {
    async fn batch(&self, newest: Snapshot, groups: &[Group], report: &mut CompactReport) -> Result<Snapshot> {
        let live = Live::of(&newest, groups).await?;
        let due: Vec<&Group> = groups.iter().filter(|group| live.inputs(group).is_some()).collect();
        let skipped = groups.iter().filter(|group| live.inputs(group).is_none());
        report.given_up += skipped.map(|group| group.files.len() as u64).sum::<u64>();
        let merges: Vec<_> = due.into_iter().map(|group| self.merge(&newest, group)).collect();
        let merged: Vec<Merged<'_>> = futures::stream::iter(merges).buffered(GROUPS_IN_FLIGHT).try_collect().await?;
        self.commit(newest, merged, report).await
    }

    async fn merge<'g>(&self, newest: &Snapshot, group: &'g Group) -> Result<Merged<'g>> {
        let weight = (group.bytes() >> 20) + GROUP_OVERHEAD_MIB;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX).min(MEMORY_MIB);
        let _memory = self.memory.acquire_many(weight).await.context("wait for memory")?;
        self.ctx.stop.check()?;
        let Rewritten { file, mut new, footer } = self.rewrite(newest, group).await?;
        let classes = self.ctx.store.classes();
        let phrase = || format!("put {}", self.ctx.store.address(&new.file.path));
        let state = classes.put_file(&new.file.path, &file, group.class, &[]).await.with_context(phrase)?;
        if (state.size_bytes, state.storage_class) != (new.file.size_bytes, group.class) {
            let message = format!(
                "the store holds {} bytes in {}, and {} bytes in {} were asked for",
                state.size_bytes, state.storage_class, new.file.size_bytes, group.class
            );
            return Err(Error::failed(message).code("not-confirmed").hint("nothing was committed; run it again"))
                .with_context(phrase);
        }
        new.file.class_since = (group.class != StorageClass::Standard).then(|| self.ctx.now());
        self.task.advance(group.bytes());
        // Where footers were kept hot, they stay so.
        let is_packed = group.files.iter().any(|live| live.file.pack.is_some());
        Ok(Merged {
            group,
            new,
            footer: is_packed.then_some(Packed { cells: Vec::new(), footer, replaces: Vec::new() }),
        })
    }

    async fn rewrite(&self, newest: &Snapshot, group: &Group) -> Result<Rewritten> {
        let (store, layout, next_file) = (self.ctx.store.clone(), self.layout.clone(), self.next_file.clone());
        let (schema, schema_id) = (newest.schema().clone(), newest.version() as u32);
        let (cell, class) = (group.cell.clone(), group.class);
        let files: Vec<DataFile> = group.files.iter().map(|live| live.file.clone()).collect();
        let runtime = Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            let target = Target { store: &store, layout: &layout, runtime, next_file: &next_file, schema_id };
            rewrite(&RewritePlan { cell: &cell, files: &files, class, schema: &schema }, &target)
        });
        work.await.context("wait for a merge")?
    }

    /// Commits what is still as it was read; after a conflict decides again on the newest version.
    async fn commit(
        &self,
        mut newest: Snapshot,
        mut merged: Vec<Merged<'_>>,
        report: &mut CompactReport,
    ) -> Result<Snapshot> {
        let mut pack = PackBuilder::new(self.layout.pack(self.next_file.fetch_add(1, Ordering::Relaxed)));
        for Merged { new, footer, .. } in &mut merged {
            new.file.pack = footer.as_ref().map(|footer| pack.add(footer)).transpose()?;
        }
        pack.write(&self.ctx.store).await.context("write the pack of footers")?;
        let mut why = String::new();
        for _ in 0..MAX_CONFLICTS {
            let groups: Vec<Group> = merged.iter().map(|merged| merged.group.clone()).collect();
            let live = Live::of(&newest, &groups).await?;
            let (kept, lost): (Vec<_>, Vec<_>) =
                merged.into_iter().partition(|merged| live.inputs(merged.group).is_some());
            report.given_up += lost.iter().map(|lost| lost.group.files.len() as u64).sum::<u64>();
            merged = kept;
            if merged.is_empty() {
                return Ok(newest);
            }
            // Leaves have names of their own for every attempt.
            let layout = Layout::for_run(self.base_version, &self.ctx.random.id());
            match commit(self.ctx, Some(&newest), &layout, self.change(&merged, &live)).await? {
                Outcome::Committed(snapshot) => {
                    count(&merged, report);
                    return Ok(snapshot);
                }
                Outcome::Conflict(conflict) => why = conflict,
            }
            newest = Snapshot::open(&self.ctx.store).await?;
        }
        Err(Error::new(Kind::TryAgain, why).hint("nothing was lost; run it again when fewer writers are at work"))
    }

    fn change(&self, merged: &[Merged<'_>], live: &Live) -> Change {
        let mut operation = Operation::new("compact", self.base_version);
        operation.files = merged.len() as u64;
        operation.bytes = merged.iter().map(|merged| merged.new.file.size_bytes).sum();
        let mut change = Change::new(operation);
        change.heeds_holds = true;
        change.keeps_events = true;
        change.add = merged.iter().map(|merged| merged.new.clone()).collect();
        change.remove = merged.iter().filter_map(|merged| live.inputs(merged.group)).flatten().collect();
        change
    }
}

fn count(merged: &[Merged<'_>], report: &mut CompactReport) {
    report.commits += 1;
    for Merged { group, new, .. } in merged {
        report.files_before += group.files.len() as u64;
        report.files_after += 1;
        report.rows += new.file.rows;
        report.bytes_before += group.bytes();
        report.bytes_after += new.file.size_bytes;
    }
}

/// The files of groups as one version has them.
struct Live {
    files: HashMap<String, LiveFile>,
    newest: Snapshot,
}

impl Live {
    async fn of(newest: &Snapshot, groups: &[Group]) -> Result<Self> {
        let dates: BTreeSet<Date> = groups.iter().map(|group| group.cell.date).collect();
        let wanted: HashMap<&str, &DataFile> =
            groups.iter().flat_map(|group| &group.files).map(|live| (live.file.path.as_str(), &live.file)).collect();
        let files = newest
            .pick_files(|leaf| leaf.may_hold_any(&dates), |file| wanted.contains_key(file.path().as_ref()))
            .await?;
        // A file that changed its class meanwhile is another one to us.
        let found = files.into_iter().filter(|live| wanted.get(live.file.path.as_str()) == Some(&&live.file));
        Ok(Live { files: found.map(|live| (live.file.path.clone(), live)).collect(), newest: newest.clone() })
    }

    /// A group's files, unless one is gone or came under a hold.
    fn inputs(&self, group: &Group) -> Option<Vec<LiveFile>> {
        let holds = &self.newest.root().document.holds;
        let files: Option<Vec<LiveFile>> =
            group.files.iter().map(|live| self.files.get(&live.file.path).cloned()).collect();
        files.filter(|files| !files.iter().any(|live| holds.iter().any(|hold| hold.may_cover(&live.file))))
    }
}
