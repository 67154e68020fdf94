//! Cells re-laid as bundles: nothing is lost, everything is where the list says.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use tier::catalog::Snapshot;
use tier::data::bundle::{BuiltBundle, footer_of};
use tier::data::pack::CellRows;
use tier::model::{ColumnType, DataFile, KeyRange, Partition, Schema, StorageClass, date_of_days, sha256};
use tier::store::{Layout, Store};

use crate::support::bundles::{build_bundle, by_cell};
use crate::support::dice::Dice;
use crate::support::events::{self, Row, append, cell, context, full_schema, row};
use crate::support::lab::{Lab, full, line, rows_of};

async fn build_all(snapshot: &Snapshot) -> (Vec<(Partition, Vec<DataFile>)>, BuiltBundle) {
    let cells = by_cell(snapshot.files(|_| true).await.unwrap());
    let layout = Layout::for_run(snapshot.version(), "fedcba9876543210");
    let built = build_bundle(snapshot.store(), &layout, snapshot.schema(), &cells, StorageClass::DeepArchive).await;
    (cells, built.unwrap_or_else(|error| panic!("{}", full(&error))))
}

async fn rows_of_cells(store: &Store, cells: &[(Partition, Vec<DataFile>)]) -> Vec<String> {
    let mut rows = Vec::new();
    for file in cells.iter().flat_map(|(_, files)| files) {
        rows.extend(rows_of(file, store.get(&file.path).await.unwrap()));
    }
    rows.sort();
    rows
}

/// (tenant, type, date, ts, event id) of every row, in the order of the file.
fn keys_of(bytes: &Bytes) -> Vec<(Partition, i64, String)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap().build().unwrap();
    let mut keys = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = |name| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (tenants, types, ids) = (text("tenant_id"), text("event_type"), text("event_id"));
        let dates = batch.column_by_name("date").unwrap().as_primitive::<Date32Type>();
        let times = batch.column_by_name("ts").unwrap().as_primitive::<TimestampMicrosecondType>();
        keys.extend((0..batch.num_rows()).map(|row| {
            let date = date_of_days(dates.value(row)).unwrap();
            (cell(date, tenants.value(row), types.value(row)), times.value(row), ids.value(row).to_owned())
        }));
    }
    keys
}

/// The union of the cells' rows, in order, with the facts about it right.
async fn check(store: &Store, cells: &[(Partition, Vec<DataFile>)], built: &BuiltBundle) {
    let bytes = built.file.whole().unwrap();
    let file = &built.new.file;
    let mut rows = rows_of(file, bytes.clone());
    rows.sort();
    assert_eq!(rows, rows_of_cells(store, cells).await);

    let keys = keys_of(&bytes);
    assert!(keys.is_sorted(), "{keys:#?}");
    let mut expected: Vec<CellRows> = Vec::new();
    for (position, (cell, ts, _)) in keys.iter().enumerate() {
        match expected.last_mut() {
            Some(last) if last.cell == *cell => {
                last.rows += 1;
                last.ts.extend(&KeyRange::one(*ts));
            }
            _ => expected.push(CellRows {
                cell: cell.clone(),
                first_row: position as u64,
                rows: 1,
                ts: KeyRange::one(*ts),
            }),
        }
    }
    assert_eq!(built.packed.cells, expected);

    assert_eq!((file.rows, file.size_bytes), (keys.len() as u64, bytes.len() as u64));
    assert_eq!(file.ts.min, keys.iter().map(|key| key.1).min().unwrap());
    assert_eq!(file.ts.max, keys.iter().map(|key| key.1).max().unwrap());
    assert!(expected.iter().all(|rows| file.covers(&rows.cell)));
    assert_eq!((&file.path, file.storage_class), (&built.path, StorageClass::DeepArchive));
    assert_eq!((&file.pack, file.class_since), (&None, None));
    let ids: BTreeSet<&String> = keys.iter().map(|key| &key.2).collect();
    let audit = &built.new.audit;
    assert_eq!((Some(&&audit.min_event_id), Some(&&audit.max_event_id)), (ids.first(), ids.last()));
    assert_eq!(audit.sha256, sha256(&bytes));

    let footer = &built.packed.footer;
    assert_eq!(footer.len(), file.footer_bytes as usize);
    assert_eq!(footer[..], bytes[bytes.len() - footer.len()..]);
    // Every index lies in the packed bytes: the reader asks for nothing before them.
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.try_parse_sized(footer, file.size_bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_holds_every_row_of_its_cells_in_order() {
    let ctx = context(Store::memory());
    let mut old = Schema::default();
    old.add("userId", ColumnType::BigInt).unwrap();
    let keys = ["acme", "007", "a=b", "名前", "a/b", "100%"];
    let mut first = Vec::new();
    for (number, tenant) in (0..).zip(keys) {
        for event_type in ["login", "a=b", "名前"] {
            for date in ["2026-08-01", "2026-08-31"] {
                first.push(Row { user_id: Some(number), ..row(date, tenant, event_type, "b", 60 * number) });
            }
        }
    }
    // A cell of several rows, then more files for it: before, between and after them, at the same time too.
    first.extend((0..50).map(|n| row("2026-08-12", "acme", "login", &format!("{n:03}-first"), 100 * n)));
    let mut second: Vec<Row> =
        (0..50).map(|n| row("2026-08-12", "acme", "login", &format!("{n:03}-second"), 50 * n)).collect();
    for row in &mut second {
        (row.amount, row.payload, row.ok) = (Some(0.1), Some("{\"a\":[1,2]}".to_owned()), Some(true));
    }
    let third = vec![row("2026-08-12", "acme", "login", "", 0), row("2026-08-12", "acme", "login", "zzz", 86_399)];
    let v1 = append(&ctx, None, &old, &first).await;
    let v2 = append(&ctx, Some(&v1), &full_schema(), &second).await;
    let v3 = append(&ctx, Some(&v2), &full_schema(), &third).await;
    let (cells, built) = build_all(&v3).await;
    assert_eq!(cells.iter().find(|(_, files)| files.len() == 3).unwrap().0.event_type.as_str(), "login");
    check(&ctx.store, &cells, &built).await;
    assert!(built.path.starts_with("_bundles/month=2026-08/bucket=0000/0000"), "{}", built.path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_describes_itself() {
    let ctx = context(Store::memory());
    let rows = [row("2026-08-01", "acme", "login", "1", 0), row("2026-08-02", "名前", "logout", "2", 0)];
    let snapshot = append(&ctx, None, &full_schema(), &rows).await;
    let (_, built) = build_all(&snapshot).await;
    let bytes = built.file.whole().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let facts = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let facts: Vec<_> = facts.iter().map(|fact| (fact.key.as_str(), fact.value.as_deref().unwrap())).collect();
    let name = tier::store::Layout::name(&built.path).unwrap();
    let expected = format!(r#"{{"cells":2,"file":"{name}","month":"2026-08","tenants":["acme","名前"]}}"#);
    assert_eq!(facts, [("tier.bundle", expected.as_str())]);
    let columns = reader.schema().fields().iter();
    let columns: Vec<String> = columns
        .map(|f| {
            format!("{} {} {} {}", f.metadata()[PARQUET_FIELD_ID_META_KEY], f.name(), f.data_type(), f.is_nullable())
        })
        .collect();
    assert_eq!(
        columns,
        [
            "1000000001 date Date32 false",
            "1000000002 tenant_id Utf8 false",
            "1000000003 event_type Utf8 false",
            "1 event_id Utf8 false",
            "2 ts Timestamp(µs, \"UTC\") false",
            "3 userId Int64 true",
            "4 amount Float64 true",
            "5 payload Utf8 true",
            "6 ok Boolean true",
        ]
    );
    let group = reader.metadata().row_group(0);
    let order = group.sorting_columns().unwrap().iter().map(|column| column.column_idx);
    let order: Vec<_> = order.map(|column| reader.schema().field(column as usize).name().as_str()).collect();
    assert_eq!(order, ["tenant_id", "event_type", "date", "ts", "event_id"]);
    let with_filter: Vec<_> = (0..9).filter(|&column| group.column(column).bloom_filter_offset().is_some()).collect();
    assert_eq!(with_filter, [3], "only the ids have a bloom filter");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_tenants_have_row_groups_of_their_own_and_small_ones_share() {
    let ctx = context(Store::memory());
    let mut rows = Vec::new();
    let mut dice = Dice(4);
    for (tenant, events) in [("a", 30), ("b", 60_000), ("c", 20), ("d", 10), ("e", 60_000), ("f", 60_000), ("g", 5)] {
        for n in 0..events {
            let event_type = if n % 3 == 0 { "login" } else { "view" };
            let id = format!("{:016x}{:016x}", dice.below(u64::MAX), dice.below(u64::MAX));
            rows.push(row(["2026-08-03", "2026-08-04"][n % 2], tenant, event_type, &id, (n % 86_400) as i64));
        }
    }
    let snapshot = append(&ctx, None, &full_schema(), &rows).await;
    let (_, built) = build_all(&snapshot).await;
    let bytes = built.file.whole().unwrap();
    let keys = keys_of(&bytes);
    assert!(keys.is_sorted());
    let metadata = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = metadata.parse_and_finish(&bytes).unwrap();
    let mut start = 0;
    let mut tenants = Vec::new();
    for group in metadata.row_groups() {
        let end = start + group.num_rows() as usize;
        let inside: BTreeSet<&str> = keys[start..end].iter().map(|key| key.0.tenant_id.as_str()).collect();
        tenants.push(inside.into_iter().collect::<Vec<_>>().join(""));
        start = end;
    }
    assert_eq!(tenants, ["a", "b", "cd", "e", "f", "g"]);
    let pages = metadata.offset_index().unwrap()[1][3].page_locations();
    assert!(
        pages.windows(2).all(|pair| pair[1].first_row_index - pair[0].first_row_index < 10_000 + 2 * 1_024),
        "{pages:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_archiver_wrote_is_bundled_with_its_page_index() {
    let lab = Lab::new();
    let noon = "2026-08-24T12:00:00Z";
    lab.write("a.ndjson", line("1", noon, r#""n":1"#) + "\n" + &line("3", noon, "") + "\n");
    lab.write("b.ndjson", line("2", noon, r#""n":2,"new":"x""#) + "\n" + &line("0", "2026-08-24T23:00:00Z", "") + "\n");
    lab.archive(&["a.ndjson"]).await;
    lab.archive(&["b.ndjson"]).await;
    let snapshot = lab.snapshot().await;
    let (cells, built) = build_all(&snapshot).await;
    check(&lab.ctx.store, &cells, &built).await;
    assert_eq!(cells[0].1.len(), 2);
    for file in &cells[0].1 {
        let packed = footer_of(&lab.ctx.store, file).await.unwrap();
        assert!(packed.cells.is_empty());
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        reader.try_parse_sized(&packed.footer, file.size_bytes).unwrap();
        let wrong = DataFile { rows: file.rows + 1, ..file.clone() };
        let error = footer_of(&lab.ctx.store, &wrong).await.unwrap_err();
        assert!(full(&error).contains("the footer is not what was written"), "{}", full(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_the_catalog_says_is_named() {
    let ctx = context(Store::memory());
    let rows = [row("2026-08-01", "acme", "login", "1", 0), row("2026-08-01", "acme", "login", "2", 0)];
    let snapshot = append(&ctx, None, &full_schema(), &rows).await;
    let cells = by_cell(snapshot.files(|_| true).await.unwrap());
    let layout = events::layout(&ctx, Some(&snapshot));
    let path = cells[0].1[0].path.clone();
    type Spoil = fn(&mut DataFile);
    let spoilt: [(&str, Spoil); 3] = [
        ("it holds 2 rows, the catalog says 3", |file| file.rows += 1),
        ("bytes, the catalog says 5", |file| file.size_bytes = 5),
        ("does not exist", |file| file.path += ".gone"),
    ];
    for (expected, spoil) in spoilt {
        let mut cells = cells.clone();
        spoil(&mut cells[0].1[0]);
        let built = build_bundle(&ctx.store, &layout, snapshot.schema(), &cells, StorageClass::Standard).await;
        let error = full(&built.unwrap_err());
        assert!(error.contains(expected) && error.contains(&path), "{error}");
    }
    let none = build_bundle(&ctx.store, &layout, snapshot.schema(), &[], StorageClass::Standard).await;
    assert!(full(&none.unwrap_err()).contains("a bundle needs at least one cell"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_or_made_whatever_the_cells() {
    for seed in 0..25 {
        let mut dice = Dice(seed);
        let ctx = context(Store::memory());
        let mut snapshot = None;
        let mut schema = Schema::default();
        let mut ids = BTreeMap::new();
        for _ in 0..=dice.below(4) {
            if dice.below(2) == 0 {
                schema = full_schema();
            }
            let mut rows = Vec::new();
            for _ in 0..=dice.below(300) {
                let date = dice.pick(&["2026-02-01", "2026-02-14", "2026-02-28"]).to_owned();
                let tenant = dice.pick(&["acme", "007", "名前", "A"]).to_owned();
                let event_type = dice.pick(&["login", "a=b", "x y"]).to_owned();
                let next: &mut u32 = ids.entry((date.clone(), tenant.clone(), event_type.clone())).or_default();
                *next += 1;
                let mut row = row(&date, &tenant, &event_type, &next.to_string(), dice.below(100) as i64);
                row.user_id = (dice.below(2) == 0).then(|| dice.below(1 << 40) as i64);
                row.amount = (dice.below(2) == 0).then(|| dice.below(1 << 40) as f64 / 3.0);
                row.payload = (dice.below(2) == 0).then(|| "é".repeat(dice.below(40) as usize));
                rows.push(row);
            }
            snapshot = Some(append(&ctx, snapshot.as_ref(), &schema, &rows).await);
        }
        let (cells, built) = build_all(&snapshot.unwrap()).await;
        check(&ctx.store, &cells, &built).await;
    }
}
