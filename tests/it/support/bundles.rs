//! Cells moved into bundles by hand: built, put, packed, committed.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use jiff::civil::Date;
use tier::catalog::{Change, LiveFile, Operation, Outcome, Snapshot, commit};
use tier::context::Context;
use tier::data::bundle::{BuiltBundle, BundlePlan, build};
use tier::data::encode::Target;
use tier::data::pack::PackBuilder;
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
        build(&BundlePlan { month, bucket: 0, class, cells: &cells, schema: &schema }, &target, None)
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Moves the cells' files that `pick` chooses into one bundle of this class and commits.
pub async fn bundle(ctx: &Context, class: StorageClass, pick: impl Fn(&DataFile) -> bool) -> Snapshot {
    let base = Snapshot::open(&ctx.store).await.unwrap();
    let live: Vec<LiveFile> = base.live_files(|_| true).await.unwrap();
    let remove: Vec<LiveFile> = live.into_iter().filter(|live| !live.file.is_bundle() && pick(&live.file)).collect();
    let cells = by_cell(remove.iter().map(|live| live.file.clone()));
    let layout = Layout::for_run(base.version(), &ctx.random.id());
    let built = build_bundle(&ctx.store, &layout, base.schema(), &cells, class).await.unwrap();
    let state = ctx.store.classes().put_file(&built.path, &built.file, class, &[]).await.unwrap();
    assert_eq!((state.size_bytes, state.storage_class), (built.new.file.size_bytes, class));
    let mut pack = PackBuilder::new(layout.pack(0));
    let mut new = built.new;
    new.file.pack = Some(pack.add(&built.packed).unwrap());
    new.file.class_since = (class != StorageClass::Standard).then(|| ctx.now());
    pack.write(&ctx.store).await.unwrap();
    let mut change = Change::new(Operation::new("bundle", base.version()));
    change.add = vec![new];
    change.remove = remove;
    match commit(ctx, Some(&base), &layout, change).await.unwrap() {
        Outcome::Committed(snapshot) => snapshot,
        Outcome::Conflict(why) => panic!("nobody else commits here, but: {why}"),
    }
}
