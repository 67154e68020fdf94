"""Checks that independent readers see the same events: DuckDB, Polars and pyarrow count an archive's cold tier.

    read_tree.py ARCHIVE_DIR

Reads every column of ARCHIVE_DIR/events, as the Hive data set it is, and counts the rows of each cell. Prints the counts to stdout as JSON,
{"duckdb": {"2026-08-24/login/acme": 12, …}, "polars": {…}, "pyarrow": {…}}; exits 1 with a diff when they differ.
Run it with the Python of `infra/tools.sh readers`.
"""

import argparse
import json
import pathlib
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

KEYS = ["date", "event_type", "tenant_id"]


def count_with_duckdb(events: pathlib.Path) -> list[tuple]:
    duckdb.execute(
        """
        CREATE TEMP TABLE events AS FROM read_parquet(?, hive_partitioning = true, union_by_name = true,
            hive_types = {'date': DATE, 'event_type': VARCHAR, 'tenant_id': VARCHAR})
        """,
        [f"{events}/**/*.parquet"],
    )
    return duckdb.sql("SELECT date, event_type, tenant_id, count(*) FROM events GROUP BY ALL").fetchall()


def count_with_polars(events: pathlib.Path) -> list[tuple]:
    schema = {}
    for file in events.rglob("*.parquet"):
        schema.update(pl.read_parquet_schema(file))
    tree = pl.scan_parquet(
        f"{events}/**/*.parquet",
        schema=schema,
        hive_partitioning=True,
        hive_schema={"date": pl.Date, "event_type": pl.String, "tenant_id": pl.String},
        missing_columns="insert",
    )
    return tree.collect().group_by(KEYS).len().rows()


def count_with_pyarrow(events: pathlib.Path) -> list[tuple]:
    keys = pa.schema([("date", pa.date32()), ("event_type", pa.string()), ("tenant_id", pa.string())])
    tree = ds.dataset(events, format="parquet", partitioning=ds.partitioning(keys, flavor="hive"))
    schemas = [file.physical_schema for file in tree.get_fragments()]
    tree = tree.replace_schema(pa.unify_schemas([*schemas, keys]))
    cells = tree.to_table().group_by(KEYS).aggregate([([], "count_all")])
    return [tuple(row[name] for name in [*KEYS, "count_all"]) for row in cells.to_pylist()]


READERS = {"duckdb": count_with_duckdb, "polars": count_with_polars, "pyarrow": count_with_pyarrow}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=pathlib.Path)
    events = parser.parse_args().archive / "events"
    if next(events.rglob("*.parquet"), None) is None:
        sys.exit(f"read_tree: {events} holds no Parquet files")

    counts = {}
    for reader, count in READERS.items():
        counts[reader] = {f"{date}/{kind}/{tenant}": rows for date, kind, tenant, rows in sorted(count(events))}
    json.dump(counts, sys.stdout, indent=2, ensure_ascii=False)
    print()

    differ = False
    for cell in sorted(set().union(*counts.values())):
        rows = {reader: counts[reader].get(cell, 0) for reader in counts}
        if len(set(rows.values())) > 1:
            differ = True
            print(f"read_tree: {cell}: " + ", ".join(f"{name} {n}" for name, n in rows.items()), file=sys.stderr)
    sys.exit(differ)


main()
