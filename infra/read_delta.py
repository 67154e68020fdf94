"""Checks that independent readers see the same events in an archive's Delta table: DuckDB, Polars and delta-rs.

    read_delta.py ARCHIVE [--refuse]

ARCHIVE is a folder or s3://bucket/prefix with `_delta_log` in it; for S3 the usual AWS_* variables say where and who.
Reads every column of every row and prints to stdout, as JSON, for each reader and cell the rows, the distinct ids, and a
sum over all values that does not depend on their order:

    {"delta-rs": {"2026-08-24/login/acme": [12, 12, "9f…"], …}, "duckdb": {…}, "polars": {…}}

A reader that does not know the table's protocol has null instead, and says why on stderr. Exits 1 with a diff when the
others differ. With --refuse it tries what only the archive's owner may do instead, through
delta-rs: to append, delete, vacuum and compact; it prints how each was refused, and exits 1 when one was not.
Run it with the Python of `infra/tools.sh delta-readers`.
"""

import argparse
import datetime
import hashlib
import json
import os
import struct
import sys

import deltalake
import duckdb
import duckdb_extensions
import polars as pl
from deltalake.exceptions import DeltaProtocolError

KEYS = ("date", "event_type", "tenant_id")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def storage_options(archive: str) -> dict:
    if not archive.startswith("s3://"):
        return {}
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    options = {name: os.environ[name] for name in names if name in os.environ}
    return options | {"AWS_ALLOW_HTTP": "true"}


def rows_of_delta_rs(archive: str, options: dict):
    table = deltalake.DeltaTable(archive, storage_options=options)
    batches = deltalake.QueryBuilder().register("events", table).execute("SELECT * FROM events")
    return pl.DataFrame(batches.read_all()).iter_rows(named=True)


def rows_of_duckdb(archive: str, options: dict):
    db = duckdb.connect(config={"autoinstall_known_extensions": False})
    for extension in ("httpfs", "delta"):
        duckdb_extensions.import_extension(extension, con=db)
        db.load_extension(extension)
    if options:
        scheme, _, host = options["AWS_ENDPOINT_URL"].partition("://")
        db.execute(
            f"""CREATE SECRET (TYPE s3, KEY_ID '{options["AWS_ACCESS_KEY_ID"]}',
            SECRET '{options["AWS_SECRET_ACCESS_KEY"]}', ENDPOINT '{host}', URL_STYLE 'path',
            USE_SSL {scheme == "https"}, REGION '{options.get("AWS_REGION", "us-east-1")}')"""
        )
    # As a number: Python's driver wants another package for a time with a zone.
    result = db.execute("SELECT * REPLACE (epoch_us(ts) AS ts) FROM delta_scan(?)", [archive])
    names = [column[0] for column in result.description]
    while row := result.fetchone():
        yield dict(zip(names, row))


def rows_of_polars(archive: str, options: dict):
    return pl.scan_delta(archive, storage_options=options).collect().iter_rows(named=True)


READERS = {"delta-rs": rows_of_delta_rs, "duckdb": rows_of_duckdb, "polars": rows_of_polars}


def text(value) -> str:
    """A value in a form that no reader's formatting changes."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return struct.pack(">d", value).hex()
        case datetime.datetime():
            return str((value - EPOCH) // datetime.timedelta(microseconds=1))
        case _:
            return str(value)


def cells(rows) -> dict:
    found = {}
    for row in rows:
        cell = "/".join(str(row[key]) for key in KEYS)
        values = sorted((name, text(value)) for name, value in row.items() if name not in KEYS and value is not None)
        digest = hashlib.sha256("\x1f".join(f"{name}={value}" for name, value in values).encode()).digest()
        count, ids, total = found.get(cell, (0, set(), 0))
        ids.add(row["event_id"])
        found[cell] = (count + 1, ids, (total + int.from_bytes(digest[:8], "big")) % 2**64)
    return {cell: [count, len(ids), f"{total:016x}"] for cell, (count, ids, total) in sorted(found.items())}


def refuse(archive: str, options: dict) -> None:
    def table():
        return deltalake.DeltaTable(archive, storage_options=options)

    attempts = {
        "append": lambda: deltalake.write_deltalake(table(), one_row(table()), mode="append"),
        "delete": lambda: table().delete("tenant_id = 'acme'"),
        "vacuum": lambda: table().vacuum(0, dry_run=False, enforce_retention_duration=False, full=True),
        "compact": lambda: table().optimize.compact(),
    }
    outcomes = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            outcomes[name] = None
        except Exception as error:  # any refusal will do; the caller looks at the words
            outcomes[name] = str(error)
    json.dump(outcomes, sys.stdout, indent=2)
    print()
    sys.exit(None in outcomes.values())


def one_row(table) -> pl.DataFrame:
    rows = deltalake.QueryBuilder().register("events", table).execute("SELECT * FROM events LIMIT 1").read_all()
    return pl.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    parser.add_argument("--refuse", action="store_true", help="try to write instead")
    args = parser.parse_args()
    options = storage_options(args.archive)
    if args.refuse:
        refuse(args.archive, options)

    seen = {}
    for name, rows in READERS.items():
        try:
            seen[name] = cells(rows(args.archive, options))
        except DeltaProtocolError as error:
            seen[name] = None
            print(f"read_delta: {name}: {error}", file=sys.stderr)
    json.dump(seen, sys.stdout, indent=2, ensure_ascii=False)
    print()
    differ = False
    seen = {name: found for name, found in seen.items() if found is not None}
    for cell in sorted(set().union(*seen.values())):
        found = {name: seen[name].get(cell) for name in seen}
        if len({str(value) for value in found.values()}) > 1:
            differ = True
            print(f"read_delta: {cell}: {found}", file=sys.stderr)
    sys.exit(differ)


main()
