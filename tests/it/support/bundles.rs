//! Cells moved by hand: into bundles, or to another class where they lie.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use jiff::civil::Date;
use tier::catalog::{Change, FileAudit, LiveFile, NewFile, Operation, Outcome, Snapshot, commit};
use tier::context::Context;
use tier::data::bundle::{BuiltBundle, BundlePlan, build, footer_of};
use tier::data::encode::Target;
use tier::data::pack::{PackBuilder, Packed};
use tier::error::Result;
use tier::model::{DataFile, Partition, Schema, StorageClass};
use tier::store::{Layout, Store};
use tokio::runtime::Handle;

/// Files of cells, by cell, in the order of a bundle.
pub fn by_cell(files: impl IntoIterator<Item = DataFile>) -> Vec<(Partition, Vec<DataFile>)> {
    let mut cells: BTreeMap<Partition, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        cells.entry(file.partition().expect("a cell's file")).or_default().push(file);
    }
    cells.into_iter().collect()
}

/// Builds the bundle of these cells.
pub async fn build_bundle(
    store: &Store,
    layout: &Layout,
    schema: &Schema,
    cells: &[(Partition, Vec<DataFile>)],
    class: StorageClass,
) -> Result<BuiltBundle> {
    let (store, layout, schema, cells) = (store.clone(), layout.clone(), schema.clone(), cells.to_vec());
    let runtime = Handle::current();
    let work = move || {
        let target = Target { store: &store, layout: &layout, runtime, next_file: &AtomicUsize::new(0), schema_id: 1 };
        let month = cells.first().map_or(Date::constant(2026, 8, 1), |(cell, _)| cell.date.first_of_month());
        build(&BundlePlan { month, bucket: 0, class, cells: &cells, schema: &schema }, &target)
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Moves the cells' files that `pick` chooses into one bundle of this class and commits.
pub async fn bundle(ctx: &Context, class: StorageClass, pick: impl Fn(&DataFile) -> bool) -> Snapshot {
    let (base, remove) = cells_files(ctx, pick).await;
    let cells = by_cell(remove.iter().map(|live| live.file.clone()));
    let layout = Layout::for_run(base.version(), &ctx.random.id());
    let built = build_bundle(&ctx.store, &layout, base.schema(), &cells, class).await.unwrap();
    let state = ctx.store.classes().put_file(&built.path, &built.file, class, &[]).await.unwrap();
    assert_eq!((state.size_bytes, state.storage_class), (built.new.file.size_bytes, class));
    replace(ctx, &base, &layout, remove, vec![(built.new, built.packed)]).await
}

/// Moves the cells' files that `pick` chooses to this class where they lie and commits.
pub async fn move_in_place(ctx: &Context, class: StorageClass, pick: impl Fn(&DataFile) -> bool) -> Snapshot {
    let (base, remove) = cells_files(ctx, pick).await;
    let layout = Layout::for_run(base.version(), &ctx.random.id());
    let mut add = Vec::new();
    for live in &remove {
        let packed = footer_of(&ctx.store, &live.file).await.unwrap();
        ctx.store.classes().change_class(&live.file.path, class).await.unwrap();
        let file = DataFile { storage_class: class, ..live.file.clone() };
        let audit = FileAudit { sha256: String::new(), min_event_id: String::new(), max_event_id: String::new() };
        add.push((NewFile { file, audit }, packed));
    }
    replace(ctx, &base, &layout, remove, add).await
}

async fn cells_files(ctx: &Context, pick: impl Fn(&DataFile) -> bool) -> (Snapshot, Vec<LiveFile>) {
    let base = Snapshot::open(&ctx.store).await.unwrap();
    let live: Vec<LiveFile> = base.live_files(|_| true).await.unwrap();
    let picked = live.into_iter().filter(|live| !live.file.is_bundle() && pick(&live.file)).collect();
    (base, picked)
}

async fn replace(
    ctx: &Context,
    base: &Snapshot,
    layout: &Layout,
    remove: Vec<LiveFile>,
    add: Vec<(NewFile, Packed)>,
) -> Snapshot {
    let mut pack = PackBuilder::new(layout.pack(0));
    let mut change = Change::new(Operation::new("bundle", base.version()));
    for (mut new, packed) in add {
        new.file.pack = Some(pack.add(&packed).unwrap());
        new.file.class_since = (new.file.storage_class != StorageClass::Standard).then(|| ctx.now());
        change.add.push(new);
    }
    pack.write(&ctx.store).await.unwrap();
    change.remove = remove;
    match commit(ctx, Some(base), layout, change).await.unwrap() {
        Outcome::Committed(snapshot) => snapshot,
        Outcome::Conflict(why) => panic!("nobody else commits here, but: {why}"),
    }
}
