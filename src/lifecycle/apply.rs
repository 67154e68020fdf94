//! Does what a plan says, one commit for each portion of an action's files: memory is that of a portion, or of two
//! small ones whose bundles are being made.
//!
//! # Crash
//! Objects are complete and confirmed by the store before the commit that names them, so a kill leaves orphans and
//! nothing else. The next run finds done what was committed, and does the rest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures::stream::{self, FuturesOrdered};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::decide::Planning;
use super::plan::{Action, ActionKind, Plan};
use super::policy::Transitions;
use super::taken::{self, Portion};
use crate::catalog::{Change, Covered, LeafRef, LiveFile, NewFile, Operation, Outcome, Snapshot, commit};
use crate::context::Context as Ctx;
use crate::data::bundle::{BuiltBundle, BundlePlan, build, footer_of};
use crate::data::encode::Target;
use crate::data::pack::{PackBuilder, Packed};
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DataFile, ObjectState, Partition, StorageClass, Usd};
use crate::progress::{Task, Unit};
use crate::store::Layout;

/// Objects moved in place by one commit: a query that reads one meanwhile is refused by the store, so the time between
/// the first move and the commit is kept short.
const IN_PLACE_PER_COMMIT: usize = 500;

/// Bundles in the making at a time, at most. Of one the last column of a row group keeps one core busy, its bytes are read
/// back by one, and while the store takes it there is nothing to do: another fills that time.
const BUNDLES_AT_ONCE: usize = 2;

/// A portion of more files is committed before the next is looked for.
const FILES_BESIDE_OTHERS: usize = 8_192;

/// The tag by which a bucket's rule finds what it is to move.
pub const CLASS_TAG: &str = "tier-class";

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ApplyReport {
    /// The newest version.
    pub version: u64,
    pub commits: u64,
    pub bundles: u64,
    pub cells_bundled: u64,
    pub moved_in_place: u64,
    pub expired: u64,
    /// Objects whose new class the store has confirmed since the last run.
    pub confirmed: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Done by an earlier run of the same plan.
    pub already_done: u64,
    pub one_off_usd: Usd,
    pub monthly_saving_usd: Usd,
    pub simulated: bool,
}

/// Applies the actions in order. `plan` was made of `planned`, with `planning`; that is the newest version, or one after
/// which only the plan's own commits came.
pub async fn apply(ctx: &Ctx, planning: Planning<'_>, planned: &Snapshot, plan: &Plan) -> Result<ApplyReport> {
    let total = plan.actions.iter().map(|action| action.bytes).sum();
    let mut newest = Snapshot::open(&ctx.store).await?;
    let run = Run {
        ctx,
        digest: &plan.digest,
        transitions: planning.policy.transitions,
        layout: Layout::for_run(newest.version(), &ctx.random.id()),
        base_version: newest.version(),
        next_file: Arc::new(AtomicUsize::new(0)),
        next_pack: AtomicUsize::new(0),
        may_bundle: Semaphore::new(BUNDLES_AT_ONCE),
        task: ctx.progress.task("move", Unit::Bytes, Some(total)),
    };
    let mut report = ApplyReport { simulated: ctx.store.classes().is_simulated(), ..ApplyReport::default() };
    let mut bundling = FuturesOrdered::new();
    let outcome = async {
        for (index, action) in plan.actions.iter().enumerate() {
            ctx.stop.check()?;
            let take = async |portion: Portion| {
                let done = match action.kind {
                    ActionKind::InPlace { class } => run.in_place(newest.clone(), class, portion, &mut report).await,
                    ActionKind::Expire => run.expire(newest.clone(), portion, &mut report).await,
                    ActionKind::Bundle { class, .. } => {
                        // Two lists of 32,000 files in memory took 540 MiB instead of 290.
                        let at_once = if portion.files() > FILES_BESIDE_OTHERS { 1 } else { BUNDLES_AT_ONCE };
                        bundling.push_back(run.bundles(newest.clone(), action, class, portion));
                        while bundling.len() >= at_once {
                            newest = run.commit_bundles(newest.clone(), &mut bundling, &mut report).await?;
                        }
                        return Ok(());
                    }
                };
                newest = done.with_context(|| phrase(action))?;
                Ok(())
            };
            taken::portions(planning, planned, plan, index, take).await?;
            report.one_off_usd += action.gate.one_off;
            report.monthly_saving_usd += action.gate.monthly_saving();
        }
        Ok(())
    };
    let outcome = outcome.await;
    // What is bundled already is kept, whatever ended the rest.
    while !bundling.is_empty() {
        match run.commit_bundles(newest, &mut bundling, &mut report).await {
            Ok(snapshot) => newest = snapshot,
            Err(error) => return outcome.and(Err(error)),
        }
    }
    outcome?;
    report.version = newest.version();
    Ok(report)
}

fn phrase(action: &Action) -> String {
    format!("{} of {}", action.what(), action.month.strftime("%Y-%m"))
}

struct Run<'a> {
    ctx: &'a Ctx,
    digest: &'a str,
    transitions: Transitions,
    layout: Layout,
    base_version: u64,
    next_file: Arc<AtomicUsize>,
    next_pack: AtomicUsize,
    /// Of [`BUNDLES_AT_ONCE`].
    may_bundle: Semaphore,
    task: Arc<dyn Task>,
}

/// A portion whose bundles are on the store and not yet committed.
struct Bundled<'a> {
    action: &'a Action,
    pack: PackBuilder,
    change: Change,
    /// Files that an earlier run of the plan has bundled.
    already_done: u64,
}

impl<'a> Run<'a> {
    /// Builds the bundles of a portion and puts them on the store.
    async fn bundles(
        &self,
        newest: Snapshot,
        action: &'a Action,
        class: StorageClass,
        portion: Portion,
    ) -> Result<Bundled<'a>> {
        let mut live = Live::of(&newest, &portion.lists).await?;
        let mut pack = PackBuilder::new(self.layout.pack(self.next_pack()));
        let mut change = self.change("replace");
        let files = portion.files();
        let due = (portion.first..).zip(portion.lists).filter_map(|(bucket, bundle)| {
            if live.is_done(&bundle) {
                return None;
            }
            let (newest, members) = (&newest, live.take(&bundle));
            Some(async move {
                let members = members?;
                let _turn = self.may_bundle.acquire().await.context("wait to bundle")?;
                self.ctx.stop.check()?;
                let built = self.build(newest, action.month, bucket, class, &members).await?;
                self.place(built, class, members).await
            })
        });
        let mut placed = stream::iter(due).buffered(BUNDLES_AT_ONCE);
        while let Some(Placed { mut new, packed, members }) = placed.try_next().await.with_context(|| phrase(action))? {
            new.file.pack = Some(pack.add(&packed)?);
            self.task.advance(members.iter().map(|member| member.file.size_bytes).sum());
            change.add.push(new);
            change.remove.extend(members);
        }
        Ok(Bundled { action, pack, already_done: (files - change.remove.len()) as u64, change })
    }

    /// Waits for the first of these portions and commits it.
    async fn commit_bundles(
        &self,
        newest: Snapshot,
        bundling: &mut FuturesOrdered<impl Future<Output = Result<Bundled<'a>>>>,
        report: &mut ApplyReport,
    ) -> Result<Snapshot> {
        let Some(Bundled { action, pack, change, already_done }) = bundling.try_next().await? else {
            return Ok(newest);
        };
        report.already_done += already_done;
        report.bundles += change.add.len() as u64;
        report.cells_bundled += change.remove.len() as u64;
        report.bytes_after += change.add.iter().map(|new| new.file.size_bytes).sum::<u64>();
        report.bytes_before += change.remove.iter().map(|member| member.file.size_bytes).sum::<u64>();
        self.commit(newest, pack, change, report).await.with_context(|| phrase(action))
    }

    /// Puts a bundle where it belongs.
    async fn place(&self, built: BuiltBundle, class: StorageClass, members: Vec<LiveFile>) -> Result<Placed> {
        let BuiltBundle { file, path, mut new, packed } = built;
        let (now_in, tags) = match self.transitions {
            Transitions::Put => (class, Vec::new()),
            Transitions::Rules => (StorageClass::Standard, vec![(CLASS_TAG.to_owned(), class.to_string())]),
        };
        let state = self.ctx.store.classes().put_file(&path, &file, now_in, &tags).await;
        let state = state.with_context(|| format!("put {}", self.ctx.store.address(&path)))?;
        confirm(&state, &new.file, now_in)?;
        new.file.storage_class = now_in;
        new.file.class_since = self.since(now_in);
        Ok(Placed { new, packed, members })
    }

    async fn build(
        &self,
        newest: &Snapshot,
        month: Date,
        bucket: usize,
        class: StorageClass,
        members: &[LiveFile],
    ) -> Result<BuiltBundle> {
        let cells = cells(members)?;
        let (store, layout, next_file) = (self.ctx.store.clone(), self.layout.clone(), self.next_file.clone());
        let (schema, schema_id) = (newest.schema().clone(), newest.version() as u32);
        let runtime = Handle::current();
        let built = tokio::task::spawn_blocking(move || {
            let target = Target { store: &store, layout: &layout, runtime, next_file: &next_file, schema_id };
            build(&BundlePlan { month, bucket, class, cells: &cells, schema: &schema }, &target)
        });
        built.await.context("wait for the bundle")?
    }

    async fn in_place(
        &self,
        mut newest: Snapshot,
        class: StorageClass,
        portion: Portion,
        report: &mut ApplyReport,
    ) -> Result<Snapshot> {
        let mut live = Live::of(&newest, &portion.lists).await?;
        for some in portion.lists.iter().flat_map(|list| list.chunks(IN_PLACE_PER_COMMIT)) {
            newest = self.move_some(newest, class, some, &mut live, report).await?;
        }
        Ok(newest)
    }

    async fn move_some(
        &self,
        newest: Snapshot,
        class: StorageClass,
        files: &[LiveFile],
        live: &mut Live,
        report: &mut ApplyReport,
    ) -> Result<Snapshot> {
        let mut pack = PackBuilder::new(self.layout.pack(self.next_pack()));
        let mut change = self.change("state");
        let (done, due): (Vec<_>, Vec<_>) =
            files.iter().partition(|planned| live.is_done(std::slice::from_ref(*planned)));
        report.already_done += done.len() as u64;
        let members = live.take(due)?;
        let audits = newest.audits(&members).await?;
        for (member, audit) in members.into_iter().zip(audits) {
            self.ctx.stop.check()?;
            let file = self.move_one(&member.file, class, &mut pack).await;
            let file = file.with_context(|| format!("move {}", self.ctx.store.address(&member.file.path)))?;
            report.moved_in_place += 1;
            report.bytes_before += file.size_bytes;
            report.bytes_after += file.size_bytes;
            self.task.advance(file.size_bytes);
            change.add.push(NewFile { file, audit });
            change.remove.push(member);
        }
        self.commit(newest, pack, change, report).await
    }

    /// The footer is kept hot first; then the object moves, unless an earlier run has moved it already.
    async fn move_one(&self, file: &DataFile, class: StorageClass, pack: &mut PackBuilder) -> Result<DataFile> {
        let store = &self.ctx.store;
        let mut moved = file.clone();
        let before = store.classes().look(&file.path).await?.ok_or_else(|| Error::failed("it does not exist"))?;
        // Of one that a run moved and died before its commit, the footer is out of reach: it is read after a restore.
        if file.pack.is_none() && before.is_readable(self.ctx.now()) {
            moved.pack = Some(pack.add(&footer_of(store, file).await?)?);
        }
        let after = match before.storage_class == class {
            true => before,
            false => store.classes().change_class(&file.path, class).await?,
        };
        confirm(&after, file, class)?;
        moved.storage_class = class;
        moved.class_since = self.since(class);
        Ok(moved)
    }

    /// The entries go first; the objects are deleted by a vacuum, when no reader can still need them.
    async fn expire(&self, newest: Snapshot, portion: Portion, report: &mut ApplyReport) -> Result<Snapshot> {
        let mut live = Live::of(&newest, &portion.lists).await?;
        let mut change = self.change("expire");
        for planned in portion.lists.into_iter().flatten() {
            if live.is_done(std::slice::from_ref(&planned)) {
                report.already_done += 1;
                continue;
            }
            let members = live.take([&planned])?;
            report.expired += members.len() as u64;
            let bytes = members.iter().map(|member| member.file.size_bytes).sum::<u64>();
            report.bytes_before += bytes;
            self.task.advance(bytes);
            change.remove.extend(members);
        }
        self.commit(newest, PackBuilder::new(self.layout.pack(self.next_pack())), change, report).await
    }

    fn change(&self, kind: &str) -> Change {
        let mut operation = Operation::new(kind, self.base_version);
        operation.plan = Some(self.digest.to_owned());
        let mut change = Change::new(operation);
        change.heeds_holds = true;
        change
    }

    async fn commit(
        &self,
        newest: Snapshot,
        pack: PackBuilder,
        mut change: Change,
        report: &mut ApplyReport,
    ) -> Result<Snapshot> {
        if change.remove.is_empty() {
            return Ok(newest);
        }
        change.operation.files = change.add.len() as u64;
        change.operation.bytes = change.add.iter().map(|new| new.file.size_bytes).sum();
        pack.write(&self.ctx.store).await.context("write the pack of footers")?;
        // Leaves and packs have names of their own for every commit of the run.
        let layout = Layout::for_run(self.base_version, &self.ctx.random.id());
        match commit(self.ctx, Some(&newest), &layout, change).await? {
            Outcome::Committed(snapshot) => {
                report.commits += 1;
                Ok(snapshot)
            }
            Outcome::Conflict(why) => Err(Error::new(Kind::TryAgain, why)
                .code("stale-plan")
                .hint("nothing was lost; plan again")
                .command("tier lifecycle plan")),
        }
    }

    fn since(&self, class: StorageClass) -> Option<Timestamp> {
        (class != StorageClass::Standard).then(|| self.ctx.now())
    }

    fn next_pack(&self) -> usize {
        self.next_pack.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

/// A bundle on the store; its pack is not yet known.
struct Placed {
    new: NewFile,
    packed: Packed,
    /// What it holds.
    members: Vec<LiveFile>,
}

/// The files of a portion as the newest version has them.
struct Live(HashMap<String, LiveFile>);

impl Live {
    async fn of(newest: &Snapshot, files: &[Vec<LiveFile>]) -> Result<Self> {
        let wanted: HashSet<&str> = files.iter().flatten().map(|live| live.file.path.as_str()).collect();
        let covered = Covered::all(files.iter().flatten().map(|live| Covered::from(&live.file)));
        let may_hold =
            |leaf: &LeafRef| covered.as_ref().is_some_and(|covered| covered.may_share_a_cell(&Covered::from(leaf)));
        let found = newest.pick_files(may_hold, |file| wanted.contains(file.path().as_ref())).await?;
        Ok(Live(found.into_iter().map(|live| (live.file.path.clone(), live)).collect()))
    }

    /// Whether an earlier run has done it: the files are gone, or have changed their class.
    fn is_done(&self, planned: &[LiveFile]) -> bool {
        planned.iter().all(|planned| {
            self.0.get(&planned.file.path).is_none_or(|live| live.file.storage_class != planned.file.storage_class)
        })
    }

    /// Each is taken once.
    fn take<'a>(&mut self, planned: impl IntoIterator<Item = &'a LiveFile>) -> Result<Vec<LiveFile>> {
        let take = |planned: &LiveFile| {
            self.0.remove(&planned.file.path).ok_or_else(|| {
                Error::new(Kind::TryAgain, format!("another run replaced {}", planned.file.path))
                    .code("stale-plan")
                    .hint("plan again")
                    .command("tier lifecycle plan")
            })
        };
        planned.into_iter().map(take).collect()
    }
}

/// The files by cell, in the order of a bundle.
fn cells(members: &[LiveFile]) -> Result<Vec<(Partition, Vec<DataFile>)>> {
    let mut cells: BTreeMap<Partition, Vec<DataFile>> = BTreeMap::new();
    for member in members {
        let cell = member.file.partition();
        let cell = cell.ok_or_else(|| Error::failed(format!("{} is a bundle already", member.file.path)))?;
        cells.entry(cell).or_default().push(member.file.clone());
    }
    Ok(cells.into_iter().collect())
}

/// What the store says must be what was asked for, before the catalog says it too.
fn confirm(state: &ObjectState, file: &DataFile, class: StorageClass) -> Result<()> {
    if state.size_bytes == file.size_bytes && state.storage_class == class {
        return Ok(());
    }
    let message = format!(
        "the store holds {} bytes in {}, and {} bytes in {class} were asked for",
        state.size_bytes, state.storage_class, file.size_bytes
    );
    Err(Error::failed(message).code("not-confirmed").hint("nothing was committed; run it again"))
}
