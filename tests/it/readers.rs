//! Other programs read the tree of cells as it is: DuckDB, Polars and pyarrow count what the catalog counts.

use std::collections::BTreeMap;
use std::process::Command;

use tier::catalog::Snapshot;
use tier::store::{ClassTime, Location, Store};

use crate::support::lab::{ODD_NAMES, line, lines_of_names};
use crate::support::tier::{Tier, sample_data};

type Cells = BTreeMap<String, u64>;

/// Rows by `date/type/tenant`.
async fn of_the_catalog(tier: &Tier) -> Cells {
    let store = Store::open(&Location::Local(tier.path("archive")), ClassTime::default()).await.unwrap();
    let mut cells = Cells::new();
    for file in Snapshot::open(&store).await.unwrap().files(|_| true).await.unwrap() {
        let name = format!("{}/{}/{}", file.dates.min, file.event_types.min, file.tenants.min);
        *cells.entry(name).or_default() += file.rows;
    }
    cells
}

/// The same as each reader sees it.
fn of_the_readers(tier: &Tier) -> BTreeMap<String, Cells> {
    let python = std::env::var("TIER_TEST_READERS").expect("no readers to test with: run the tests with infra/test.sh");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/infra/read_tree.py");
    let output = Command::new(python).arg(script).arg(tier.path("archive")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn all_agree(tier: &Tier) -> Cells {
    let expected = of_the_catalog(tier).await;
    let readers = of_the_readers(tier);
    assert_eq!(readers.keys().collect::<Vec<_>>(), ["duckdb", "polars", "pyarrow"]);
    for (reader, cells) in readers {
        assert_eq!(cells, expected, "{reader}");
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_counts_the_sample_week_as_the_catalog_does() {
    let tier = Tier::new();
    tier.ok(&["archive", &sample_data(), "--archive", "archive"]);
    let cells = all_agree(&tier).await;
    assert_eq!(cells.values().sum::<u64>(), 1_500);
    // A second run adds files to cells that have some, and a column that the others lack.
    tier.write("late.ndjson", line("late", "2026-08-24T12:00:00Z", r#""brand_new":1.5"#));
    tier.ok(&["archive", "late.ndjson", "--archive", "archive"]);
    assert_eq!(all_agree(&tier).await.values().sum::<u64>(), 1_501);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_finds_odd_tenants_and_types_under_their_own_names() {
    let tier = Tier::new();
    tier.write("odd.ndjson", lines_of_names(&ODD_NAMES, |_, _| String::new()));
    tier.ok(&["archive", "odd.ndjson", "--archive", "archive"]);
    let expected: Cells =
        (1..).zip(ODD_NAMES).map(|(rows, name)| (format!("2026-08-24/{name}/{name}"), rows)).collect();
    assert_eq!(all_agree(&tier).await, expected);
}

/// Runs Python lines with the readers.
fn python(script: &str) -> String {
    let python = std::env::var("TIER_TEST_READERS").expect("no readers to test with: run the tests with infra/test.sh");
    let output = Command::new(python).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn duckdb_and_polars_run_what_publish_ddl_prints() {
    let tier = Tier::new();
    tier.ok(&["archive", &sample_data(), "--archive", "archive"]);
    let odd = line("late", "2026-08-24T12:00:00Z", r#""brand \"new\"":1.5"#).replace("acme", "007:%2e");
    tier.write("late.ndjson", odd);
    tier.ok(&["archive", "late.ndjson", "--archive", "archive"]);
    // A column that no file has any more.
    tier.write("gone.ndjson", line("gone", "2026-08-24T12:00:00Z", r#""gone":true"#));
    tier.ok(&["archive", "gone.ndjson", "--archive", "archive"]);
    tier.ok(&["revert", "3", "--yes", "--archive", "archive"]);
    tier.ok(&["vacuum", "--yes", "--grace", "0s", "--archive", "archive"]);
    let asked = "SELECT count(*), count(\"gone\"), max(\"brand \"\"new\"\"\"), \
                 count(*) FILTER (tenant_id = '007:%2e' AND date = DATE '2026-08-24') FROM t";
    tier.write(
        "view.sql",
        tier.ok(&["publish", "ddl", "--for", "duckdb", "--table", "t", "--archive", "archive"]).stdout,
    );
    let script = format!(
        "import duckdb\nduckdb.execute(open({:?}).read())\nprint(duckdb.sql({asked:?}).fetchall())\n\
         print([t for n, t, *_ in duckdb.sql('DESCRIBE t').fetchall() if n in ('ts', 'date', 'tenant_id')])",
        tier.path("view.sql")
    );
    let types = "['TIMESTAMP WITH TIME ZONE', 'DATE', 'VARCHAR']";
    assert_eq!(python(&script), format!("[(1501, 0, 1.5, 1)]\n{types}\n"));
    let scan = tier.ok(&["publish", "ddl", "--for", "polars", "--table", "t", "--archive", "archive"]).stdout;
    let counted = "print(t.filter(pl.col('tenant_id') == '007:%2e').collect().height, t.collect().height)";
    assert_eq!(python(&format!("{scan}\n{counted}")), "1 1501\n");
    for engine in ["trino", "hive", "spark", "clickhouse"] {
        let statements = tier.ok(&["publish", "ddl", "--for", engine, "--archive", "archive"]).stdout;
        assert!(statements.contains("CREATE ") && statements.contains("brand "), "{engine}: {statements}");
    }
    let athena = tier.run(&["publish", "ddl", "--for", "athena", "--archive", "archive"]);
    assert_eq!(athena.code, Some(2), "Athena reads no folder: {athena:#?}");
}
