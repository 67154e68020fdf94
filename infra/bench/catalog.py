"""Asks `catalog_bench` its questions, and delta-rs and DuckLake two of them about the same files; see catalog.sh."""

import json
import os
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import measure

RUNS = 5
LATENCY_MS = 40
QUESTIONS = ["tenant-3y", "tenant-30d", "largest-3y", "largest-limit", "type-1y", "day", "count"]
COLUMNS = ["requests", "bytes", "ms", "cpu_ms", "again_ms", "again_cpu_ms", "memory_mb", "program_mb", "files"]
# What tenant-3y may take, however many files there are.
MOST = {"requests": 25, "bytes": 5_000_000, "ms": 200, "cpu_ms": 20, "memory_mb": 64}
# The most files that a peer is asked about: beyond it takes minutes and most of this machine's memory to load them.
DELTA_RS_BEARS = 1_000_000
DUCKLAKE_BEARS = 10_000_000
TENANT, SINCE = "t_00977", "2023-11-26"


def ask(bench, folder, question, cache=None):
    command = [bench, "ask", folder, question, str(LATENCY_MS)] + ([cache] if cache else [])
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def medians(answers):
    return {column: statistics.median(answer[column] for answer in answers) for column in COLUMNS}


def show(name, figures):
    numbers = "".join(f"{figures[column]:13,.0f}" if column in figures else " " * 13 for column in COLUMNS)
    print(f"{name:20}{numbers}", flush=True)


def our_side(tools, folder):
    bench = tools / "catalog_bench"
    print(f"{'':20}" + "".join(f"{column.replace('_', ' '):>13}" for column in COLUMNS))
    # In turn, so that a slow moment of the machine meets all of them.
    rounds = [[ask(bench, folder, question) for question in QUESTIONS] for _ in range(RUNS)]
    figures = {question: medians(answers) for question, answers in zip(QUESTIONS, zip(*rounds))}
    for question in QUESTIONS:
        show(question, figures[question])
    got = figures["tenant-3y"]
    measure.judge("targets of tenant-3y", [
        (f"at most {most:,} {column.replace('_', ' ')}", f"{got[column]:,}", got[column] <= most)
        for column, most in MOST.items()
    ])
    cache = folder.with_suffix(".cache")
    ask(bench, folder, "tenant-3y", cache)
    show("tenant-3y, cached", medians([ask(bench, folder, "tenant-3y", cache) for _ in range(RUNS)]))
    # Last: it adds a version.
    answer = ask(bench, folder, "append")
    show("append", answer)
    print(f"{'':20}of the append's requests {answer['puts']} are PUTs: a leaf and its audit each {4096:,} files, and the root")


def timed(name, command):
    figures = [measure.run(command) for _ in range(RUNS)]
    wall, cpu, peak = (statistics.median(column) for column in zip(*figures))
    print(f"{name:20}{wall * 1000:12,.0f} ms{cpu * 1000:12,.0f} ms of CPU{peak:10,.0f} MiB in all", flush=True)


def delta_rs(tools, folder):
    started = time.monotonic()
    subprocess.run([tools / "tier", "publish", "delta", "--archive", folder, "--quiet"], check=True)
    print(f"delta-rs, local: a Delta table of it, published by tier in {time.monotonic() - started:.0f} s")
    code = f"""
import deltalake
table = deltalake.DeltaTable({str(folder)!r})
files = table.file_uris([("tenant_id", "=", {TENANT!r}), ("date", ">=", {SINCE!r})])
assert files, "no file"
"""
    timed("  tenant-3y", [sys.executable, "-c", code])
    code = f"""
import deltalake
assert deltalake.DeltaTable({str(folder)!r}).count() > 0
"""
    timed("  count", [sys.executable, "-c", code])


def ducklake_session(catalog):
    return f"""
import duckdb, duckdb_extensions
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")
duckdb_extensions.import_extension("ducklake", con=db)
db.execute("LOAD ducklake")
db.execute("ATTACH 'ducklake:{catalog}' AS lake (DATA_PATH '{catalog}.data')")
"""


def ducklake(folder):
    """The files go straight into DuckLake's own tables: there is no data that it could read."""
    started = time.monotonic()
    catalog = folder.with_suffix(".ducklake")
    make = ducklake_session(catalog) + f"""
from pathlib import Path
db.execute("CREATE TABLE lake.events(amount DOUBLE, ts TIMESTAMP, date DATE, event_type VARCHAR, tenant_id VARCHAR)")
db.execute("ALTER TABLE lake.events SET PARTITIONED BY (date, event_type, tenant_id)")
db.execute("DETACH lake")
db.execute("ATTACH '{catalog}' AS meta")
leaves = [str(leaf) for leaf in Path({str(folder)!r}, "_tier/leaf").glob("*.parquet") if ".audit." not in leaf.name]
db.execute("CREATE TABLE files AS SELECT row_number() OVER () - 1 AS id, * FROM read_parquet(?, union_by_name=true)", [leaves])
version, table, partition = db.execute('''SELECT max(snapshot_id), (SELECT max(table_id) FROM meta.ducklake_table),
    (SELECT max(partition_id) FROM meta.ducklake_partition_info) FROM meta.ducklake_snapshot''').fetchone()
db.execute('''INSERT INTO meta.ducklake_data_file SELECT id, $table, $version, NULL, NULL,
    format('events/date={{}}/event_type={{}}/tenant_id={{}}/{{}}-{{}}.parquet', date_min, event_type_min, tenant_min, run, number), true, 'parquet', rows,
    size_bytes, footer_bytes, 0, $partition, NULL, NULL, NULL FROM files''',
    dict(table=table, version=version, partition=partition))
for index, value in enumerate(["date_min", "event_type_min", "tenant_min"]):
    db.execute(f"INSERT INTO meta.ducklake_file_partition_value SELECT id, $table, $index, {{value}}::VARCHAR FROM files",
        dict(table=table, index=index))
columns = dict(db.execute("SELECT column_name, column_id FROM meta.ducklake_column").fetchall())
# Every file is of one cell: its least keys are its greatest ones.
for column, low, high in [("ts", "ts_min", "ts_max"), ("date", "date_min", "date_min"),
                          ("event_type", "event_type_min", "event_type_min"), ("tenant_id", "tenant_min", "tenant_min")]:
    db.execute(f'''INSERT INTO meta.ducklake_file_column_stats SELECT id, $table, $column, 0, rows, 0, {{low}}::VARCHAR,
        {{high}}::VARCHAR, NULL, NULL FROM files''', dict(table=table, column=columns[column]))
db.execute('''INSERT INTO meta.ducklake_table_stats SELECT $table, sum(rows), sum(rows), sum(size_bytes) FROM files''',
    dict(table=table))
db.execute("UPDATE meta.ducklake_snapshot SET next_file_id = (SELECT count(*) FROM files)")
"""
    subprocess.run([sys.executable, "-c", make], check=True)
    print(f"DuckLake, local: a catalog of it, filled in {time.monotonic() - started:.0f} s")
    plan = f"""
rows = db.execute('''EXPLAIN SELECT sum(amount) FROM lake.events WHERE tenant_id = '{TENANT}' AND date >= DATE '{SINCE}' ''')
assert "events" in str(rows.fetchall()).lower()
"""
    timed("  tenant-3y, EXPLAIN", [sys.executable, "-c", ducklake_session(catalog) + plan])
    listed = f"""
files = db.execute('''SELECT count(*) FROM __ducklake_metadata_lake.ducklake_file_partition_value t
    JOIN __ducklake_metadata_lake.ducklake_file_partition_value d USING (data_file_id)
    WHERE t.partition_key_index = 2 AND t.partition_value = '{TENANT}'
      AND d.partition_key_index = 0 AND d.partition_value >= '{SINCE}' ''').fetchone()[0]
assert files > 0
"""
    timed("  its files, by SQL", [sys.executable, "-c", ducklake_session(catalog) + listed])


def main():
    tools, work, sizes = Path(sys.argv[1]), Path(sys.argv[2]), [int(size) for size in sys.argv[3:]]
    print(f"{date.today()}; {measure.machine()}; {LATENCY_MS} ms a request to tier, none to the peers; medians of {RUNS}")
    print("again: the same question to the same process, with everything read anew")
    print("memory: the process's own, without the program's pages, which stand beside it; a peer's is all of its own")
    for files in sizes:
        for tenants in ["uniform", "zipf"]:
            folder = work / f"{files}-{tenants}"
            made = subprocess.run([tools / "catalog_bench", "make", folder, str(files), tenants], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout.strip()
            print(f"\n{tenants}: {made}")
            if tenants == "uniform":
                # The generator's largest tenant is like the others here.
                print("(largest-3y is one tenant more)")
            # The system would write it to the disk while questions are timed.
            os.sync()
            our_side(tools, folder)
            if tenants == "uniform" and files <= DELTA_RS_BEARS:
                delta_rs(tools, folder)
            if tenants == "uniform" and files <= DUCKLAKE_BEARS:
                ducklake(folder)
            subprocess.run(["rm", "-rf", folder, folder.with_suffix(".cache"), folder.with_suffix(".ducklake")], check=True)


main()
