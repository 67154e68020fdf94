//! What the README shows is run: its shell lines on `sample-data/`, its Python lines, its settings file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::cassandra::{Keyspace, contact_point};
use crate::support::events::row;
use crate::support::tier::{Tier, sample_data};

const README: &str = include_str!("../../README.md");

/// The fenced blocks of a language below a heading, up to the next heading.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let section = README.split("\n## ").find(|section| section.starts_with(heading)).expect(heading);
    let fence = format!("```{language}\n");
    let blocks = section.split(fence.as_str()).skip(1);
    let found: Vec<_> = blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect();
    assert!(!found.is_empty(), "no {language} block below {heading}");
    found
}

/// Runs a script as the README's reader would, with `tier` and `cargo run` being the binary under test.
fn run(tier: &Tier, script: &str) -> (String, String) {
    let functions = format!(
        "set -euo pipefail\ntier() {{ '{0}' \"$@\"; }}\ncargo() {{ shift 3; '{0}' \"$@\"; }}\n",
        env!("CARGO_BIN_EXE_tier")
    );
    let output = Command::new("bash")
        .args(["-c", &(functions + script)])
        .current_dir(tier.path(""))
        .env("HOME", tier.folder.path().join("home"))
        .env_remove("TIER_ARCHIVE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{script}\nended with {}\n{stdout}\n{stderr}", output.status);
    (stdout, stderr)
}

/// A working folder with the files that the README's examples name.
fn folder() -> Tier {
    let tier = Tier::new();
    for entry in fs::read_dir(sample_data()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        tier.write(&format!("sample-data/{name}"), fs::read(&path).unwrap());
    }
    let sample = |name: &str| fs::read(Path::new(&sample_data()).join(name)).unwrap();
    tier.write("exports/2026-08-28.csv.gz", sample("2026-08-28.csv.gz"));
    tier.write("day.gz", sample("2026-08-25.ndjson.gz"));
    tier.write("access.csv", "request_id,customer,logged_at,path\n1,acme,2026-08-24 12:00:00,/\n");
    tier
}

#[test]
fn the_first_command_ends_with_an_answer() {
    let tier = folder();
    let [first, ..] = &blocks("Try it", "sh")[..] else { unreachable!() };
    let (stdout, stderr) = run(&tier, first);
    let [shown, ..] = &blocks("Try it", "text")[..] else { unreachable!() };
    assert!(stderr.contains(shown.trim()), "{shown}\nis not in\n{stderr}");
    assert_eq!(stdout.lines().next(), Some("tenant_id,events,amount"), "{stdout}");
    assert!(stdout.contains("acme,1147,"), "{stdout}");
}

#[test]
fn the_examples_of_archive_and_query_run() {
    let tier = folder();
    let [examples, mapped] = &blocks("Archive", "sh")[..] else { panic!("two blocks") };
    run(&tier, examples);
    // The mapping is remembered by an archive, so the second example has one of its own.
    run(&tier, &mapped.replace("./archive", "./mapped"));
    run(&tier, "tier archive sample-data --archive ./archive");
    let [queries, costs] = &blocks("Query", "sh")[..] else { panic!("two blocks") };
    let (stdout, stderr) = run(&tier, costs);
    assert!(stdout.contains(" files · ") && stdout.contains("(prices of "), "{stdout}");
    assert!(stderr.contains("scanned") && stderr.contains("estimated"), "{stderr}");
    // The last line opens the shell.
    let lines: Vec<&str> = queries.lines().filter(|line| line.contains('"')).collect();
    assert_eq!(lines.len(), 3, "{queries}");
    let (stdout, _) = run(&tier, &lines.join("\n"));
    assert!(stdout.contains("event_type,count(*)"), "{stdout}");
}

#[test]
fn events_come_back_out_as_shown() {
    let tier = folder();
    run(&tier, "tier archive sample-data --archive ./archive");
    let [commands] = &blocks("Back out again", "sh")[..] else { panic!("one block") };
    let (_, stderr) = run(&tier, commands);
    let shown = ["1,147 events of 7 days in out/", "1,500 events of 7 days in log/", "next: --since 1", "0 events"];
    assert!(shown.iter().all(|words| stderr.contains(words)), "{stderr}");
    let (_, stderr) = run(&tier, "tier archive out/ --archive ./again");
    assert!(stderr.contains("1,147 new"), "{stderr}");
}

#[test]
fn the_deep_tier_is_rehearsed_on_a_folder() {
    let tier = folder();
    run(&tier, "tier archive sample-data --archive ./archive --now 2026-09-01");
    let [commands] = &blocks("The deep tier", "sh")[..] else { panic!("one block") };
    let (stdout, stderr) = run(&tier, commands);
    assert!(stdout.contains("bundle into DEEP_ARCHIVE") && stdout.contains("standard"), "{stdout}");
    assert!(stderr.contains("became 1 bundle,"), "{stderr}");
    let [policy] = &blocks("The deep tier", "toml")[..] else { panic!("one block") };
    tier.write("tier.toml", policy);
    run(&tier, "tier archive sample-data --archive ./ruled --now 2026-09-01");
    let (stdout, _) = run(&tier, "tier lifecycle plan --archive ./ruled --now 2027-09-01");
    assert!(stdout.contains("bundle into DEEP_ARCHIVE") && stdout.contains("stays: is in STANDARD"), "{stdout}");
}

#[test]
fn the_bill_is_added_up_with_the_prices_that_are_named() {
    let tier = folder();
    let ([settings], [commands]) = (&blocks("What it costs", "toml")[..], &blocks("What it costs", "sh")[..]) else {
        panic!("one block each")
    };
    tier.write("tier.toml", settings);
    tier.write("prices.toml", include_str!("../../src/model/prices/prices.toml"));
    let (stdout, _) = run(&tier, commands);
    assert!(stdout.contains("DEEP_ARCHIVE; prices of 2026-09-26"), "{stdout}");
    let totals: Vec<&str> = stdout.lines().filter(|line| line.starts_with("total")).collect();
    assert!(["$2,745", "$8,997", "$7,614"].iter().all(|total| totals[0].contains(total)), "{stdout}");
    assert_eq!(totals.len(), 2, "{stdout}");
}

#[test]
fn the_settings_file_is_understood() {
    let tier = folder();
    let [settings] = &blocks("Every night", "toml")[..] else { panic!("one block") };
    tier.write("tier.toml", settings.replace("s3://events/prod", "./nightly").replace("\"5m\"", "\"0s\""));
    let (_, stderr) = run(&tier, "tier archive access.csv");
    assert!(stderr.contains("1 records: 1 new"), "{stderr}");
}

#[test]
fn other_engines_read_the_tree_as_shown() {
    let python = std::env::var("TIER_TEST_READERS").expect("no readers to test with: run the tests with infra/test.sh");
    let tier = folder();
    run(&tier, "tier archive sample-data --archive ./archive");
    let [lines, delta] = &blocks("Other engines", "python")[..] else { panic!("two blocks") };
    let script = lines
        .replace("duckdb.sql(", "a = duckdb.sql(")
        .replace("polars.scan_parquet(", "b = polars.scan_parquet(")
        .replace("pyarrow.dataset.dataset(", "c = pyarrow.dataset.dataset(");
    let script = format!(
        "import duckdb, polars, pyarrow, pyarrow.dataset\n{script}\nprint(sum(n for _, n in a.fetchall()), \
         b.select(polars.len()).collect().item(), c.count_rows())"
    );
    let output = Command::new(python).args(["-c", &script]).current_dir(tier.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1500 1500 1500");

    let [commands] = &blocks("Other engines", "sh")[..] else { panic!("one block") };
    let (stdout, stderr) = run(&tier, commands);
    assert!(stdout.contains("the table shows version 1, the newest") && stderr.contains("1,500 events"), "{stderr}");
    // Spark is asked by infra/delta_engines.sh.
    let lines: Vec<&str> = delta.lines().filter(|line| !line.starts_with("spark.")).collect();
    let [polars, duckdb] = lines[..] else { panic!("{delta}") };
    let script = format!(
        "import duckdb, duckdb_extensions, polars\nduckdb_extensions.import_extension('delta')\n\
         duckdb.load_extension('delta')\nb = {polars}\na = {duckdb}\n\
         print(sum(n for _, n in a.fetchall()), b.select(polars.len()).collect().item())"
    );
    let python =
        std::env::var("TIER_TEST_DELTA_READERS").expect("no readers to test with: run the tests with infra/test.sh");
    let output = Command::new(python).args(["-c", &script]).current_dir(tier.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1500 1500");
}

/// Against the tests' Cassandra, which asks for no password and speaks no TLS.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_hot_tier_run() {
    let keyspace = Keyspace::fresh().await;
    keyspace.create_events("events", "((tenant_id, day), event_id)", 90 * 86_400).await;
    keyspace.insert("events", &[row("2026-08-24", "acme", "login", "1", 5)], None).await;
    let [settings] = &blocks("From Cassandra", "toml")[..] else { panic!("one block") };
    let of_this_cluster = |line: &str| match line.split(" = ").next().unwrap() {
        "contact_points" => format!("contact_points = [\"{}\"]\n", contact_point()),
        "keyspace" => format!("keyspace = \"{}\"\n", keyspace.name),
        "user" | "tls" | "datacenter" => String::new(),
        _ => format!("{line}\n"),
    };
    let tier = Tier::new();
    let settings: String = settings.lines().map(of_this_cluster).collect();
    tier.write("tier.toml", format!("[archive]\nurl = \"archive\"\n{settings}"));
    let [commands] = &blocks("From Cassandra", "sh")[..] else { panic!("one block") };
    let (stdout, stderr) = run(&tier, &format!("export TIER_NOW=2026-08-26T03:00:00Z\n{commands}"));
    assert!(stdout.contains("sealed    2026-08-24 to 2026-08-25"), "{stdout}");
    assert!(stderr.contains("2026-08-24 sealed: 1 rows, counted 1 · 1 new"), "{stderr}");
}

#[test]
fn what_looks_at_an_archive_runs() {
    let tier = folder();
    run(&tier, "tier archive exports --archive ./archive && tier archive sample-data --archive ./archive");
    let [verify, look, rebuild] = &blocks("Is it whole?", "sh")[..] else { panic!("three blocks") };
    let (stdout, stderr) = run(&tier, verify);
    assert_eq!(stdout, "", "{stderr}");
    assert_eq!(stderr.matches("no problem").count(), 3, "{stderr}");
    let (stdout, _) = run(&tier, look);
    assert!(stdout.contains("version 1 of ") && stdout.contains("_tier/root/"), "{stdout}");
    // Roots and leaves that are replaced lie there until a vacuum: what nobody names wants a look.
    let (_, stderr) = run(&tier, rebuild);
    assert!(stderr.contains("the catalog says the same") && stderr.contains("no problem"), "{stderr}");
    assert!(stderr.contains("1,500 rows in") && stderr.contains("tier hold add"), "{stderr}");
}
