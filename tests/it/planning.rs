//! What a plan says that it takes, where its files are too many to hold.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::date;
use tier::catalog::{self, Outcome};
use tier::catalog::{Change, NewFile, Operation, Snapshot};
use tier::context::Context;
use tier::model::{KeyRange, Schema, StorageClass, days_of_date};
use tier::query::{Engine, QuerySettings};
use tier::scan::{PlannedFiles, Taken};
use tier::store::Store;

use crate::support::events::{cell, commit, context, layout, new_file};

/// Files of one tenant, of which none exists: more than are held, in several leaves.
const FILES: usize = 9_000;

/// A twentieth is large. `class` says in which class the file of a number is.
fn files(ctx: &Context, class: impl Fn(usize) -> StorageClass) -> Vec<NewFile> {
    let layout = layout(ctx, None);
    let file = |number: usize| {
        let day = date(2024, 1, 1) + (number as i64 / 10).days();
        let cell = cell(day, "acme", &format!("type{}", number % 10));
        let midnight = i64::from(days_of_date(day)) * 86_400_000_000;
        let size_bytes = if number.is_multiple_of(20) { 100 << 20 } else { 1_000 + number as u64 };
        let ts = KeyRange { min: midnight, max: midnight + number as i64 };
        let mut new = new_file(layout.data_file(&cell, number), &cell, ts, number as u64 + 1, size_bytes, 400);
        new.file.storage_class = class(number);
        new
    };
    (0..FILES).map(file).collect()
}

async fn planned(ctx: &Context, sql: &str) -> PlannedFiles {
    let mut engine = Engine::open(ctx, &QuerySettings::default()).await.unwrap();
    // What is only explained is not looked for.
    let statement = engine.parse(&format!("EXPLAIN {sql}")).unwrap().remove(0).unwrap();
    engine.plan(statement).await.unwrap().ladder().planned.clone()
}

/// What reading these files whole takes.
fn expected<'a>(files: impl Iterator<Item = &'a NewFile>) -> PlannedFiles {
    let mut sum = PlannedFiles::default();
    for NewFile { file, .. } in files {
        let requests = if file.size_bytes > 1 << 20 { 1 + file.size_bytes.div_ceil(32 << 20) } else { 1 };
        let class = sum.by_class.entry(file.storage_class).or_default();
        *class =
            Taken { files: class.files + 1, requests: class.requests + requests, bytes: class.bytes + file.size_bytes };
        sum.files += 1;
        sum.requests += requests;
        sum.bytes += file.size_bytes;
        sum.rows += file.rows;
        sum.dates.insert(file.dates.min);
        sum.months.insert(file.dates.min.first_of_month());
    }
    sum
}

async fn remove(ctx: &Context, base: &Snapshot, paths: &BTreeSet<&str>) {
    let mut change = Change::new(Operation::new("compact", base.version()));
    change.remove = base.pick_files(|_| true, |file| paths.contains(file.path().as_ref())).await.unwrap();
    assert_eq!(change.remove.len(), paths.len());
    let outcome = catalog::commit(ctx, Some(base), &layout(ctx, Some(base)), change).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "nobody else commits");
}

#[tokio::test]
async fn many_files_are_counted_as_they_would_be_if_each_were_looked_at() {
    use StorageClass::{DeepArchive, GlacierIr, Standard};
    let sql = "SELECT sum(length(event_id)) FROM events WHERE tenant_id = 'acme' AND date >= '2024-01-03'";
    let wanted = |new: &&NewFile| new.file.dates.min >= date(2024, 1, 3);
    let readable = |number: usize| if number < 3_000 { GlacierIr } else { Standard };
    // An archived file is named: one is enough for its leaf to be looked at file by file.
    let archived = |number: usize| if number == 5_000 { DeepArchive } else { readable(number) };
    for is_archived in [false, true] {
        let ctx = context(Store::memory());
        let files = files(&ctx, |number| if is_archived { archived(number) } else { readable(number) });
        let snapshot = commit(&ctx, None, &layout(&ctx, None), &Schema::default(), files.clone()).await;
        let mut sum = planned(&ctx, sql).await;
        let named: Vec<String> = std::mem::take(&mut sum.archived).into_keys().collect();
        assert_eq!(sum, expected(files.iter().filter(wanted)));
        assert_eq!(
            named,
            files[5_000..5_001].iter().filter(|_| is_archived).map(|new| new.file.path.clone()).collect::<Vec<_>>()
        );

        // Files that are gone do not count.
        let gone: BTreeSet<&str> = files.iter().step_by(7).map(|new| new.file.path.as_str()).collect();
        remove(&ctx, &snapshot, &gone).await;
        let mut sum = planned(&ctx, sql).await;
        sum.archived.clear();
        let left = files.iter().filter(|new| !gone.contains(new.file.path.as_str()));
        assert_eq!(sum, expected(left.filter(wanted)));
    }
}
