//! The questions in `tests/slt/` have one answer, wherever the rows lie: that of a full scan of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use tier::context::Context;
use tier::model::StorageClass;
use tier::store::Store;

use crate::support::ask::{ask, table};
use crate::support::bundles::bundle;
use crate::support::events::{Row, append, context, full_schema, whole_batch};
use crate::support::placements::{Shape, append_bundles, append_cells, later, restore_all, two_months};

/// Each question's name and text.
pub fn questions() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut questions: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    questions.sort();
    assert!(questions.len() >= 25, "only {} questions found", questions.len());
    questions
}

/// Small row groups and pages, three tenants to a bundle: slices end in the middle of both.
fn shape(class: StorageClass) -> Shape {
    Shape { tenants_per_bundle: 3, row_group_rows: 40, page_rows: 10, class }
}

/// The archive as it stands, a day after everything in it was asked to be restored.
async fn restored(ctx: Context) -> Context {
    restore_all(&ctx).await;
    later(&ctx, 24)
}

/// The same rows in every place that they can be read in.
async fn everywhere(rows: &[Row]) -> Vec<(&'static str, Context)> {
    let schema = full_schema();
    let empty = || later(&context(Store::memory()), 0);
    let mut places = Vec::new();

    let ctx = empty();
    append(&ctx, None, &schema, rows).await;
    places.push(("cells", ctx));

    let ctx = empty();
    let (some, others): (Vec<Row>, Vec<Row>) = rows.iter().cloned().partition(|row| row.ts % 2_000_000 == 0);
    let first = append(&ctx, None, &schema, &some).await;
    append_bundles(&ctx, Some(&first), &schema, &others, shape(StorageClass::Standard)).await;
    places.push(("half in bundles", ctx));

    let ctx = empty();
    append_bundles(&ctx, None, &schema, rows, shape(StorageClass::DeepArchive)).await;
    places.push(("bundles restored from DEEP_ARCHIVE", restored(ctx).await));

    let ctx = empty();
    append_bundles(&ctx, None, &schema, rows, shape(StorageClass::GlacierIr)).await;
    places.push(("bundles in GLACIER_IR", ctx));

    let ctx = empty();
    append(&ctx, None, &schema, rows).await;
    for month in [8, 9] {
        bundle(&ctx, StorageClass::DeepArchive, |file| file.dates.min.month() == month).await;
    }
    places.push(("cells moved to bundles, restored from DEEP_ARCHIVE", restored(ctx).await));

    let ctx = empty();
    append_cells(&ctx, None, &schema, rows, StorageClass::Glacier).await;
    places.push(("cells restored from GLACIER", restored(ctx).await));
    places
}

/// A session over the rows in memory, without an archive.
fn full_scan(rows: &[Row]) -> SessionContext {
    let mut session = SessionContext::new_with_config(SessionConfig::new());
    datafusion_functions_json::register_all(&mut session).unwrap();
    let batch = whole_batch(&full_schema(), rows);
    let memory = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    session.register_table("events", Arc::new(memory)).unwrap();
    session
}

#[tokio::test]
async fn every_question_has_one_answer_wherever_the_rows_lie() {
    let rows = two_months();
    let full_scan = full_scan(&rows);
    let places = everywhere(&rows).await;
    for (name, sql) in questions() {
        let expected = full_scan.sql(&sql).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let schema = Arc::new(expected.schema().as_arrow().clone());
        let expected = table(schema, &expected.collect().await.unwrap());
        for (place, ctx) in &places {
            let (answer, report) = ask(ctx, &sql).await;
            assert_eq!(answer, expected, "{name}, {place}");
            assert!(report.complete, "{name}, {place}");
        }
    }
}
