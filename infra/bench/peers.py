"""What one would write instead of `tier archive`: peers.py duckdb|polars FORMAT SRC OUT [check]

Reads one day of events, drops repeated ids, sorts, and writes zstd Parquet into date/type/tenant folders. Nothing is
validated, no bad row is kept, nothing is compared with what is there already, and a kill leaves half of it. With `check`
the files are read once more, and their rows and ids counted.
"""

import shutil
import sys


def by_duckdb(format, src, out, check):
    import duckdb

    con = duckdb.connect()
    con.execute("set memory_limit = '4GB'; set preserve_insertion_order = false")
    read = {"ndjson": "read_json('{}', format = 'newline_delimited')", "csv": "read_csv('{}')", "parquet": "'{}'"}
    con.execute(f"""
        copy (
            select * exclude (rn) from (
                select *, ts::date as date, row_number() over (partition by event_id) rn from {read[format].format(src)}
            ) where rn = 1 order by event_type, tenant_id, ts
        ) to '{out}' (format parquet, compression zstd, partition_by (date, event_type, tenant_id))""")
    if check:
        files = f"read_parquet('{out}/**/*.parquet')"
        rows, ids = con.execute(f"select count(*), count(distinct event_id) from {files}").fetchone()
        assert rows == ids, (rows, ids)


def by_polars(format, src, out, check):
    import polars as pl

    events = {"ndjson": pl.scan_ndjson, "csv": pl.scan_csv, "parquet": pl.scan_parquet}[format](src)
    if format != "parquet":
        events = events.with_columns(pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ"))
    events = events.unique(subset="event_id").with_columns(pl.col("ts").dt.date().alias("date"))
    cells = pl.PartitionBy(out, key=["date", "event_type", "tenant_id"], include_key=False)
    events.sort("event_type", "tenant_id", "ts").sink_parquet(cells, compression="zstd", mkdir=True, engine="streaming")
    if check:
        written = pl.scan_parquet(f"{out}/**/*.parquet").select(pl.len(), ids=pl.col("event_id").n_unique())
        rows, ids = written.collect(engine="streaming").row(0)
        assert rows == ids, (rows, ids)


peer, format, src, out, *check = sys.argv[1:]
shutil.rmtree(out, ignore_errors=True)
{"duckdb": by_duckdb, "polars": by_polars}[peer](format, src, out, bool(check))
